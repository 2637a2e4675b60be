"""One embedded AWS for a test process; every test starts with an empty one, or with the whole stack in it."""

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dr_assets.aws import Aws
from dr_assets.cli.run_job import JobResult, provision_config, run_job
from dr_assets.emulator import EmbeddedAws
from dr_assets.reconcile.stack_state import StackState
from dr_assets.stack import Stack, load_stack


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


@pytest.fixture
def built(built_aws: EmbeddedAws, monkeypatch: pytest.MonkeyPatch) -> EmbeddedAws:
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


def provision(stack: Stack, **options: Any) -> JobResult:
    """Provision with the Dagster job, as a user does."""
    return run_job(stack, "provision_stack", provision_config(poll_seconds=0.05, **options))


def build(stack: Stack) -> None:
    """Provision through `StackState.reconcile` without Dagster, ten times as fast, for tests of something else."""
    state, deadline = StackState(stack, Aws()), time.monotonic() + 400
    state.snapshot()
    for resource in state.resources.values():
        while not (outcome := state.reconcile(resource)).good:
            # A slow answer on a busy machine is waited out, within the deadline of the whole.
            assert outcome.status in ("waiting", "unknown"), outcome
            assert time.monotonic() < deadline, outcome
            time.sleep(0.02)
            state.invalidate(resource.key)


def mutating(aws: EmbeddedAws) -> list[dict[str, Any]]:
    """The mutating calls that reached the embedded AWS, in order."""
    return [call for call in aws.control.calls() if call["mutating"]]
