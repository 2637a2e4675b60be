"""A legitimate switchover is not drift; fields keyed to the role are reversed on demand."""

from collections.abc import Iterator

import pytest

from dr_assets.aws import Aws
from dr_assets.emulator import EmbeddedAws
from dr_assets.reconcile import service
from dr_assets.reconcile.stack_state import StackState
from dr_assets.stack import SITES, Site, Stack
from tests.support.stack import build, mutating, provision


def switch_over(stack: Stack, to: Site) -> None:
    aws = Aws()
    state = StackState(stack, aws)
    writer = state.topology.writer
    assert writer is not None
    aws.client("rds", stack.region(writer), writing=True).switchover_global_cluster(
        GlobalClusterIdentifier=stack.global_cluster_name,
        TargetDbClusterIdentifier=state.field(f"{to}/aurora/cluster", "Arn"),
    )


@pytest.fixture
def away(built: EmbeddedAws, stack: Stack) -> Iterator[EmbeddedAws]:
    """The stack right after a switchover to the secondary; brought home afterwards."""
    switch_over(stack, "secondary")
    built.control.clear_calls()
    yield built
    built.control.clear_faults()
    switch_over(stack, "primary")
    build(stack)


def test_after_a_switchover_there_is_no_drift_and_the_writer_is_known(away: EmbeddedAws, stack: Stack) -> None:
    result = service.verify(stack)
    assert [(o.key, o.status, o.drift) for o in result.outcomes if o.status != "in_sync"] == []
    assert result.topology is not None
    assert (result.topology.writer, result.topology.away) == ("secondary", True)


def test_away_from_home_nothing_is_written_without_an_override(away: EmbeddedAws, stack: Stack) -> None:
    state = StackState(stack, Aws())
    key = state.field("primary/encryption/data-key", "KeyId")
    state.aws.client("kms", stack.primary_region, writing=True).disable_key_rotation(KeyId=key)
    away.control.clear_calls()
    refused = provision(stack)
    assert not refused.success
    assert any("away from home" in text for text in refused.failures)
    assert mutating(away) == []
    assert provision(stack, allow_away=True).success
    assert service.verify(stack).in_sync


def test_with_the_override_the_lag_alarms_are_reversed(away: EmbeddedAws, stack: Stack) -> None:
    assert provision(stack, allow_away=True).success
    aws = Aws()
    for site in SITES:
        name = f"aurora-replication-lag-{site}-{stack.environment_suffix}"
        (alarm,) = aws.client("cloudwatch", stack.region(site)).describe_alarms(AlarmNames=[name])["MetricAlarms"]
        assert alarm["TreatMissingData"] == ("notBreaching" if site == "secondary" else "breaching")
    result = service.verify(stack)
    assert result.in_sync
    assert not any(outcome.reason for outcome in result.outcomes)
