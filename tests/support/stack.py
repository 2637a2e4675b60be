"""Provision the whole stack in the embedded AWS, and list the mutating calls that reached it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dr_assets.aws import PROVISIONING_SILENCE, Aws
from dr_assets.cli.demo import environment, subscribe_on_call
from dr_assets.cli.run_job import provision_config, run_job
from dr_assets.core.freshness import Known
from dr_assets.drills.aws_view import AwsView
from dr_assets.emulator import EmbeddedAws
from dr_assets.emulator.answers import Answers
from dr_assets.reconcile.service import JobResult
from dr_assets.reconcile.stack_state import StackState
from dr_assets.stack import Stack, load_stack


def provision(stack: Stack, **options: Any) -> JobResult:
    """Run the Dagster job, as a user does."""
    return run_job(stack, "provision_stack", provision_config(poll_seconds=0.05, **options))


def build(stack: Stack) -> None:
    """Provision without Dagster: a tenth of the time, for tests whose subject is not the job."""
    state, deadline = StackState(stack, Aws(silence=PROVISIONING_SILENCE)), time.monotonic() + 400
    state.snapshot()
    for resource in state.resources.values():
        while not (outcome := state.reconcile(resource)).good:
            # A slow answer on a busy machine is waited out, within the deadline of the whole.
            assert outcome.status in ("waiting", "unknown"), outcome
            assert time.monotonic() < deadline, outcome
            time.sleep(0.02)
            state.invalidate(resource.key)


def build_replicating(aws: EmbeddedAws, stack: Stack) -> None:
    """`build`, and again once AWS shows the lag metric, where its dimensions are others than the alarms were made with.

    No document says which they are (docs/aws-facts.md, 4): until the metric is there, one shape is assumed.
    """
    build(stack)
    if aws.control.answers()["lag_dimensions"] == Answers().lag_dimensions:
        return
    view = AwsView(stack, Aws(), "switchover", "primary", "secondary")
    deadline = time.monotonic() + 400
    while not isinstance(view.lag(), Known):
        assert time.monotonic() < deadline, "the lag metric does not appear"
        time.sleep(0.2)
    build(stack)


def mutating(aws: EmbeddedAws) -> list[dict[str, Any]]:
    """The mutating calls that reached the embedded AWS, in order."""
    return [call for call in aws.control.calls() if call["mutating"]]


@contextmanager
def provisioned_stack() -> Iterator[tuple[EmbeddedAws, Stack]]:
    """An embedded AWS with databases, the whole stack and a recipient of its alerts, which boto3 finds by itself."""
    with EmbeddedAws(databases=True) as aws, environment(aws.env()):
        aws.control.answers(metric_delay_seconds=0.0)  # no minute to wait in every test: see test_late_metrics
        stack = load_stack()
        build_replicating(aws, stack)
        subscribe_on_call(stack)
        yield aws, stack
