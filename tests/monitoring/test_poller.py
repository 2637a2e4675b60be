"""The poller against the embedded AWS: few calls, and each source on its own."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import boto3
import pytest

from dr_assets import utc
from dr_assets.aws import Aws
from dr_assets.emulator import EmbeddedAws
from dr_assets.monitoring.rules import sources_for
from dr_assets.monitoring.samples import Sample, Snapshot
from dr_assets.monitoring.sources.cloudwatch import MetricSource
from dr_assets.monitoring.sources.health_checks import HealthCheckSource
from dr_assets.monitoring.sources.poller import Poller
from dr_assets.monitoring.sources.source import Source
from dr_assets.resources import names
from dr_assets.resources.catalog import catalog
from dr_assets.resources.dns.rows import SITE_CHECKS
from dr_assets.stack import SITES, Stack
from tests.support.monitoring import S


def value(snapshot: Snapshot, site: str, source: str, metric: str) -> Sample | None:
    found = [s for s in snapshot.samples if (s.site, s.source, s.metric) == (site, source, metric)]
    return found[-1] if found else None


def put_probe(stack: Stack, site: str, number: float, ago: float = 0.0) -> None:
    region = stack.region("primary" if site == "primary" else "secondary")
    boto3.client("cloudwatch", region).put_metric_data(
        Namespace="DRAssets",
        MetricData=[
            {
                "MetricName": "WriterConnectivity",
                "Dimensions": [{"Name": "Stack", "Value": S}, {"Name": "Site", "Value": site}],
                "Timestamp": utc.now() - timedelta(seconds=ago),
                "Value": number,
                "StorageResolution": 1,
            }
        ],
    )


@pytest.fixture
def poller(stack: Stack, cloud: EmbeddedAws) -> Poller:
    sources = sources_for([stack], Aws(read_timeout=2.0, attempts=1))
    return Poller([stack], [replace(source, deadline_seconds=4.0) for source in sources])


def test_every_source_answers_with_as_few_calls_as_can_be(poller: Poller, stack: Stack, cloud: EmbeddedAws) -> None:
    put_probe(stack, "primary", 1.0)
    poller.tick()  # finds out the health checks' identities
    cloud.control.clear_calls()
    for key, source in poller._sources.items():
        if key.startswith("metric@"):
            assert isinstance(source.ask, MetricSource)
            source.ask.asked.clear()
        if key.startswith("health-check@"):
            assert isinstance(source.ask, HealthCheckSource)
            source.ask.asked = float("-inf")
    snapshot = poller.tick()
    assert {reading.status for reading in snapshot.readings} == {"answered"}
    by_operation: dict[tuple[str, str], int] = {}
    for call in cloud.control.calls():
        by_operation[call["region"], call["operation"]] = by_operation.get((call["region"], call["operation"]), 0) + 1
    for site in SITES:
        region = stack.region(site)
        # In us-east-1 also the health checks' metric.
        assert by_operation[region, "GetMetricData"] == (2 if region == "us-east-1" else 1)
        assert by_operation[region, "DescribeAlarms"] == 1
        assert by_operation[region, "DescribeGlobalClusters"] == 1
    assert sum(by_operation.values()) == 7
    assert not any(call["mutating"] for call in cloud.control.calls())


def test_each_source_yields_its_samples(poller: Poller, stack: Stack) -> None:
    put_probe(stack, "primary", 1.0)
    snapshot = poller.tick()
    probe = value(snapshot, "primary", "metric", "connectivity")
    assert probe is not None
    assert probe.raw == 1.0
    role = value(snapshot, "primary", "topology", "role")
    assert role is not None
    assert role.raw == 1.0
    assert value(snapshot, "primary", "health-check", "health-check") is not None
    assert value(snapshot, "secondary", "alarm", "rpo-lag") is not None
    answers = value(snapshot, "secondary", "region", "answers")
    assert answers is not None
    assert answers.raw == 1.0


def test_the_sites_own_health_checks_are_those_of_the_catalogue(stack: Stack) -> None:
    rows = {resource.key: resource.desired for resource in catalog(stack)}
    for site in SITES:
        for name, metric, silence, _ in SITE_CHECKS:
            desired = rows[f"{site}/dns/{name}"]
            assert desired["AlarmName"] == names.alarm(stack, site, metric)
            assert desired["InsufficientDataHealthStatus"] == silence


def test_another_check_on_the_same_alarm_is_not_the_site_s_own(poller: Poller, cloud: EmbeddedAws) -> None:
    """The conftest's third check of each site is unhealthy while there is no data."""
    cloud.control.answers(metric_delay_seconds=0.0)  # the health checks' own metric is read at once
    cloud.control.alarms(evaluate=True)
    checks = [s for _ in range(3) for s in poller.tick().samples if s.source == "health-check"]
    assert {s.metric for s in checks} == {"health-check", "health-check-lag"}
    assert {s.raw for s in checks} == {1.0}


def test_no_data_is_unknown_and_an_absent_alarm_too(stack: Stack, cloud: EmbeddedAws) -> None:
    other = stack.model_copy(update={"environment_suffix": "not-there"})
    snapshot = Poller([other], sources_for([other], Aws(read_timeout=2.0, attempts=1))).tick()
    for source, metric in (("metric", "rpo-lag"), ("alarm", "rpo-lag")):
        found = value(snapshot, "secondary", source, metric)
        assert found is not None
        assert found.raw is None
        assert found.note
    assert not [s for s in snapshot.samples if s.source in ("topology", "health-check")]


def test_one_dead_region_costs_its_own_sources_alone(poller: Poller, stack: Stack, cloud: EmbeddedAws) -> None:
    poller.tick()
    cloud.control.fault("dark", region=stack.secondary_region)
    started = time.monotonic()
    snapshot = poller.tick()
    assert time.monotonic() - started < 15.0  # a dark region holds a call for a minute
    by_region: dict[str, set[str]] = {}
    for reading in snapshot.readings:
        if reading.status == "answered" and not reading.calls:
            continue  # nothing was due, so nobody was asked
        by_region.setdefault(reading.region, set()).add(reading.status)
    assert by_region == {stack.primary_region: {"answered"}, stack.secondary_region: {"silent"}}
    answers = value(snapshot, "secondary", "region", "answers")
    assert answers is not None
    assert answers.raw == 0.0


def test_a_refused_source_is_an_error_and_no_silence(poller: Poller, stack: Stack, cloud: EmbeddedAws) -> None:
    cloud.control.fault("error", operation="DescribeAlarms", code="AccessDenied")
    snapshot = poller.tick()
    (reading,) = (each for each in snapshot.readings if each.name == f"alarm@{stack.primary_region}")
    assert reading.status == "error"
    assert "not permitted" in reading.problem


def test_a_source_that_hangs_is_not_asked_twice_and_delays_no_other(stack: Stack, cloud: EmbeddedAws) -> None:
    release, asked = threading.Event(), []

    def stuck(at: Any) -> tuple[list[Sample], int]:
        asked.append(at)
        release.wait(20)
        return [Sample(at, S, "primary", "sql", "connectivity", 1.0)], 1

    others = [replace(source, deadline_seconds=0.8) for source in sources_for([stack], Aws(read_timeout=2.0))]
    poller = Poller([stack], [*others, Source("sql", "us-east-1", stuck, deadline_seconds=0.8)])
    for _ in range(3):
        started = time.monotonic()
        snapshot = poller.tick()
        assert time.monotonic() - started < 10.0  # it hangs for 20 s
        (reading,) = (each for each in snapshot.readings if each.name == "sql@us-east-1")
        assert reading.status == "silent"
    assert len(asked) == 1
    release.set()
    poller.tick()
    assert len(asked) <= 2


def test_case_a4_an_answer_of_an_earlier_tick_is_no_answer_of_this_one(stack: Stack) -> None:
    """The region that answers last minute's question is not known to answer now; what it gave keeps its own time."""
    release, begun = threading.Event(), utc.now()

    def slow(at: Any) -> tuple[list[Sample], int]:
        release.wait(20)
        return [Sample(at, S, "primary", "topology", "role", 1.0)], 1

    poller = Poller([stack], [Source("topology", "us-east-1", slow, deadline_seconds=0.5, scope="region")])
    poller.tick()
    threading.Timer(0.1, release.set).start()
    snapshot = poller.tick()
    (reading,) = snapshot.readings
    assert (reading.status, reading.problem[:30]) == ("silent", "answered an earlier question a")
    assert [sample.raw for sample in snapshot.samples if sample.metric == "answers"] == [0.0]
    (role,) = reading.samples
    assert begun <= role.at < reading.at
    (reading,) = poller.tick().readings
    assert (reading.status, reading.problem) == ("answered", "")


def test_sensors_that_tick_together_share_one_snapshot(poller: Poller, cloud: EmbeddedAws) -> None:
    first = poller.tick()
    threads = [threading.Thread(target=lambda: found.append(poller.tick(10.0))) for _ in range(4)]
    found: list[Snapshot] = []
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(snapshot is first for snapshot in found)


class FakeCloudWatch:
    """Counts queries; answers nothing."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def get_metric_data(self, **request: Any) -> dict[str, Any]:
        self.sizes.append(len(request["MetricDataQueries"]))
        return {"MetricDataResults": [{"Id": "q0", "Timestamps": [], "Values": []}]}


class FakeAws:
    def __init__(self) -> None:
        self.cloudwatch = FakeCloudWatch()

    def client(self, service: str, region: str) -> FakeCloudWatch:
        return self.cloudwatch


def test_five_hundred_stacks_take_two_metric_calls_and_every_query_gets_its_turn(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    stacks = [stack.model_copy(update={"environment_suffix": f"stack{n:03d}"}) for n in range(500)]
    aws = FakeAws()
    source = MetricSource(stacks, aws, "us-west-2")  # type: ignore[arg-type]
    clock = [1000.0]
    monkeypatch.setattr("dr_assets.monitoring.sources.cloudwatch.time.monotonic", lambda: clock[0])
    asked: dict[str, int] = {}
    for _ in range(24):
        aws.cloudwatch.sizes.clear()
        samples, calls = source(utc.now())
        assert calls <= 2
        assert len(aws.cloudwatch.sizes) <= 2
        assert max(aws.cloudwatch.sizes) <= 500
        for sample in samples:
            asked[sample.metric] = asked.get(sample.metric, 0) + 1
        clock[0] += 10.0
    assert len({query.key for query in source.queries} - source.asked.keys()) == 0
    assert asked["connectivity"] == max(asked.values())
    assert min(asked.values()) >= 500
