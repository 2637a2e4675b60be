"""The lag metric in each shape of its dimensions: provision, verify, sensors, a drill's gate, the import of a day."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dr_assets import utc
from dr_assets.aws import Aws
from dr_assets.cli.demo import environment
from dr_assets.core.freshness import Assessed, Known
from dr_assets.drills import preconditions
from dr_assets.drills.aws_view import AwsView
from dr_assets.emulator import EmbeddedAws
from dr_assets.history.cloudwatch_import import import_day
from dr_assets.history.store import FolderStore
from dr_assets.monitoring.sources.cloudwatch import MetricSource
from dr_assets.reconcile.stack_state import StackState
from dr_assets.stack import SITES, Site, Stack, load_stack
from tests.support.stack import build

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

READER = {
    "cluster+source-region": {"DBClusterIdentifier": "aurora-secondary-l6p3z2w4", "SourceRegion": "us-east-1"},
    "source-region": {"SourceRegion": "us-east-1"},
    "cluster": {"DBClusterIdentifier": "aurora-secondary-l6p3z2w4"},
}


def until(done: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)


@pytest.fixture(scope="module", params=READER)
def built(request: pytest.FixtureRequest) -> Iterator[tuple[EmbeddedAws, str]]:
    """The whole stack with databases; its metrics have one shape, as those of an account have."""
    with EmbeddedAws(databases=True) as aws, environment(aws.env()):
        aws.control.alarms(pace=60)
        aws.control.answers(lag_dimensions=request.param, list_metrics_seconds=0.0)
        build(load_stack())
        until(lambda: isinstance(lag(load_stack()), Known))
        yield aws, request.param


@pytest.fixture
def shape(built: tuple[EmbeddedAws, str], monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in built[0].env().items():
        monkeypatch.setenv(name, value)
    return built[1]


def lag(stack: Stack, reader: Site = "secondary") -> Assessed:
    return view(stack, reader).lag()


def view(stack: Stack, reader: Site) -> AwsView:
    return AwsView(stack, Aws(), "switchover", "primary" if reader == "secondary" else "secondary", reader)


def alarms(state: StackState) -> dict[str, tuple[str, str]]:
    keys = [f"{site}/monitoring/alarm-{metric}" for site in SITES for metric in ("replication-lag", "rpo-lag")]
    checks = [f"{site}/dns/health-check-lag" for site in SITES]
    return {outcome.key: (outcome.status, outcome.reason) for outcome in state.verify([*keys, *checks])}


def test_aws_04_the_metric_is_published_with_exactly_these_dimensions(shape: str, stack: Stack) -> None:
    client = Aws().client("cloudwatch", stack.secondary_region)
    for metric in ("AuroraGlobalDBReplicationLag", "AuroraGlobalDBRPOLag"):
        (found,) = client.list_metrics(Namespace="AWS/RDS", MetricName=metric)["Metrics"]
        assert {each["Name"]: each["Value"] for each in found["Dimensions"]} == READER[shape]
    assert Aws().client("cloudwatch", stack.primary_region).list_metrics(Namespace="AWS/RDS")["Metrics"] == []


def test_aws_04_verify_names_the_shape_and_provision_heals_alarms_and_health_checks(shape: str, stack: Stack) -> None:
    state = StackState(stack, Aws())
    before = alarms(state)
    if shape == "cluster+source-region":
        assert {status for status, _ in before.values()} == {"in_sync"}
        return
    wrong = {key: reason for key, (status, reason) in before.items() if status == "drifted"}
    # The alarms that were made before the metric existed; those made later were put right at once.
    assert {"primary/monitoring/alarm-replication-lag", "primary/monitoring/alarm-rpo-lag"} <= set(wrong)
    assert not [key for key in wrong if "/dns/" in key]
    assert all(reason.startswith("differs in Dimensions: AWS publishes AuroraGlobalDB") for reason in wrong.values())
    for key in before:
        assert state.reconcile(state.resources[key]).good
    assert {status for status, _ in alarms(StackState(stack, Aws())).values()} == {"in_sync"}
    check = next(
        each
        for each in Aws().client("route53", "us-east-1").list_health_checks()["HealthChecks"]
        if each["HealthCheckConfig"].get("AlarmIdentifier", {}).get("Name")
        == "aurora-replication-lag-secondary-l6p3z2w4"
    )
    copied = check["CloudWatchAlarmConfiguration"]["Dimensions"]
    assert {each["Name"]: each["Value"] for each in copied} == READER[shape]


def test_aws_04_sensors_drill_and_import_read_it(shape: str, stack: Stack, tmp_path: Path) -> None:
    source = MetricSource([stack], Aws(), stack.secondary_region)
    for _ in range(2):  # the second time the shape is known
        source.asked.clear()
        samples, _ = source(utc.now())
        found = {sample.metric: sample.raw for sample in samples if sample.metric.endswith("-lag")}
        assert all(value is not None and value >= 0 for value in found.values()), found
    assert preconditions.lag(view(stack, "secondary")) is None
    imported = import_day([stack], FolderStore(tmp_path), utc.now().date(), Aws(), utc.now())[0]
    assert imported.known_minutes > 0
    assert imported.problems == ()


def test_aws_04_at_the_writers_site_there_is_no_such_metric(shape: str, stack: Stack) -> None:
    samples, _ = MetricSource([stack], Aws(), stack.primary_region)(utc.now())
    found = {sample.metric: (sample.raw, sample.note) for sample in samples if sample.metric.endswith("-lag")}
    assert found["rpo-lag"] == (
        None,
        "CloudWatch lists no metric AuroraGlobalDBRPOLag with known dimensions in us-east-1",
    )


def test_aws_04_after_a_switchover_the_metric_moves_and_its_source_region_with_it(
    built: tuple[EmbeddedAws, str], shape: str, stack: Stack
) -> None:
    rds = Aws().client("rds", stack.primary_region, writing=True)
    members = rds.describe_global_clusters()["GlobalClusters"][0]["GlobalClusterMembers"]
    away = next(member["DBClusterArn"] for member in members if not member["IsWriter"])
    rds.switchover_global_cluster(GlobalClusterIdentifier=stack.global_cluster_name, TargetDbClusterIdentifier=away)
    until(lambda: built[0].control.database()["writer"] == "secondary")
    until(lambda: isinstance(lag(stack, "primary"), Known))
    source = MetricSource([stack], Aws(), stack.primary_region)
    samples, _ = source(utc.now())
    assert [s.raw is not None for s in samples if s.metric.endswith("-lag")] == [True, True]
    listed = Aws().client("cloudwatch", stack.primary_region).list_metrics(Namespace="AWS/RDS")["Metrics"]
    sources = {each["Value"] for metric in listed for each in metric["Dimensions"] if each["Name"] == "SourceRegion"}
    assert sources == (set() if shape == "cluster" else {"us-west-2"})
    assert {status for status, _ in alarms(StackState(stack, Aws())).values()} == {"in_sync"}
