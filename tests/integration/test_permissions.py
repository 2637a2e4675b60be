"""The printed policy holds what is really called: asked of the call log, not of the code that made the policy."""

import pytest

from dr_assets.cli.run_job import destroy_config, run_job
from dr_assets.emulator import EmbeddedAws
from dr_assets.reconcile import service
from dr_assets.resources.iam_policy import policy
from dr_assets.stack import Stack
from tests.support.iam import action
from tests.support.stack import build


def allowed(stack: Stack, write: bool) -> set[str]:
    return {item for statement in policy(stack, write)["Statement"] for item in statement["Action"]}


@pytest.mark.slow
def test_what_is_called_is_what_is_asked_for(cloud: EmbeddedAws, stack: Stack) -> None:
    service.verify(stack)
    build(stack)
    cloud.control.clear_calls()
    service.verify(stack)
    reading = {action(call) for call in cloud.control.calls()}
    assert reading - allowed(stack, write=False) == set()
    assert run_job(stack, "destroy_stack", destroy_config(stack.environment_suffix, poll_seconds=0.05)).success
    build(stack)
    every = {action(call) for call in cloud.control.calls()}
    assert every - allowed(stack, write=True) == set()
