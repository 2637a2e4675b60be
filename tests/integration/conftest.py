"""One embedded AWS for a test process; every test starts with an empty one, or with the whole stack in it."""

import os
from collections.abc import Callable, Iterator

import pytest

from dr_assets.aws import Aws
from dr_assets.emulator import EmbeddedAws
from dr_assets.reconcile.stack_state import StackState
from dr_assets.resources.parity import compare_pair, pairs
from dr_assets.stack import Stack, load_stack
from tests.support.drills import aws, pair_aws
from tests.support.stack import build

__all__ = ["aws", "pair_aws"]  # fixtures of other files' tests


@pytest.fixture(scope="session")
def embedded() -> Iterator[EmbeddedAws]:
    with EmbeddedAws() as aws:
        yield aws


@pytest.fixture
def cloud(embedded: EmbeddedAws, monkeypatch: pytest.MonkeyPatch) -> EmbeddedAws:
    """An empty AWS that boto3 finds by itself."""
    embedded.control.clear_faults()
    embedded.control.reset()
    embedded.control.clear_calls()
    embedded.control.settle(0.0)
    for name, value in embedded.env().items():
        monkeypatch.setenv(name, value)
    return embedded


@pytest.fixture(scope="session")
def built_aws() -> Iterator[EmbeddedAws]:
    """An embedded AWS of the test process's own with the whole stack provisioned in it."""
    with EmbeddedAws() as aws:
        before = dict(os.environ)
        os.environ.update(aws.env())
        try:
            build(load_stack())
        finally:
            os.environ.clear()
            os.environ.update(before)
        yield aws


@pytest.fixture(scope="module")
def restored(built_aws: EmbeddedAws) -> Iterator[None]:
    """After each module: what it changed is as it was, or the modules that follow in this process would fail in its place."""
    yield
    with pytest.MonkeyPatch.context() as patch:
        for name, value in built_aws.env().items():
            patch.setenv(name, value)
        built_aws.control.clear_faults()
        state = StackState(load_stack(), Aws())
        left = {outcome.key: outcome.reason for outcome in state.verify() if outcome.status != "in_sync"}
        for second, first in pairs(state.resources.values()):
            parity = compare_pair(second, first, state.observe(second), state.observe(first))
            if not parity.equal:
                left[second.key] = f"is not as {first.key}: {parity}"
    assert not left, f"this module left the shared stack changed: {left}"


@pytest.fixture
def built(built_aws: EmbeddedAws, restored: None, monkeypatch: pytest.MonkeyPatch) -> EmbeddedAws:
    """The provisioned stack; a test that changes it restores it."""
    for name, value in built_aws.env().items():
        monkeypatch.setenv(name, value)
    built_aws.control.clear_faults()
    built_aws.control.clear_calls()
    return built_aws


@pytest.fixture
def state(stack: Stack) -> Callable[[], StackState]:
    """A new StackState each time it is called."""
    return lambda: StackState(stack, Aws())
