"""AWS's metrics come up to two minutes late, as CloudWatch's user guide says: what the rules decide by them meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from dr_assets.monitoring.sources.cloudwatch import MetricSource
from dr_assets.monitoring.sources.topology import TopologySource
from dr_assets.stack import Stack
from tests.support.monitoring import START, Run, S, at, sample

CLUSTER = f"aurora-secondary-{S}"
DELAYS = pytest.mark.parametrize("delay", [60.0, 120.0])
HEALTHY = 80.0


class LateAws:
    """us-west-2. `lag`: minute -> milliseconds or nothing; each is readable `delay` seconds after the minute ended."""

    def __init__(self, delay: float, lag: Callable[[int], float | None]) -> None:
        self.delay, self.lag, self.second = delay, lag, 0.0
        self.members: list[tuple[str, str, bool]] = [("us-east-1", "primary", True), ("us-west-2", "secondary", False)]

    def client(self, service: str, region: str) -> LateAws:
        return self

    def list_metrics(self, **_: Any) -> dict[str, Any]:
        return {"Metrics": []}

    def describe_global_clusters(self, **_: Any) -> dict[str, Any]:
        members = [
            {"DBClusterArn": f"arn:aws:rds:{region}:123456789012:cluster:aurora-{site}-{S}", "IsWriter": writer}
            for region, site, writer in self.members
        ]
        cluster = {"GlobalClusterIdentifier": f"aurora-global-{S}", "GlobalClusterMembers": members}
        return {"GlobalClusters": [cluster]}

    def get_metric_data(
        self, MetricDataQueries: list[dict[str, Any]], StartTime: datetime, EndTime: datetime, **_: Any
    ) -> dict[str, Any]:
        results = []
        for query in MetricDataQueries:
            metric = query["MetricStat"]["Metric"]
            shape = {each["Name"]: each["Value"] for each in metric["Dimensions"]}
            points: list[tuple[datetime, float]] = []
            if shape == {"DBClusterIdentifier": CLUSTER, "SourceRegion": "us-east-1"}:
                for minute in range(int((self.second - self.delay) // 60)):
                    value, begun = self.lag(minute), START + timedelta(minutes=minute)
                    if value is not None and StartTime - timedelta(seconds=60) < begun < EndTime:
                        points.append((begun, value))
            results.append({"Id": query["Id"], "Timestamps": [t for t, _ in points], "Values": [v for _, v in points]})
        return {"MetricDataResults": results}


class Monitor:
    """The metrics and the topology of us-west-2 and the rules, ticking every five seconds; the writer's own readings are good."""

    def __init__(self, stack: Stack, aws: LateAws, monkeypatch: pytest.MonkeyPatch) -> None:
        any_aws: Any = aws
        self.aws, self.run = aws, Run(stack)
        self.metrics = MetricSource([stack], any_aws, "us-west-2")
        self.topology = TopologySource([stack], any_aws, "us-west-2")
        monkeypatch.setattr("dr_assets.monitoring.sources.cloudwatch.time.monotonic", lambda: 1000.0 + self.aws.second)

    def until(self, begin: int, end: int) -> list[tuple[float, str]]:
        """The alerts of these seconds that concern replication or the reader."""
        first = len(self.run.steps)
        for second in range(begin, end, 5):
            self.aws.second = second
            samples = [*self.metrics(at(second))[0], *self.topology(at(second))[0]]
            samples += [sample(second, 1.0), sample(second, 1.0, source="sql")]
            for metric in ("replication-lag", "rpo-lag"):
                samples.append(sample(second, 1.0, metric, "secondary", "alarm"))
            for metric in ("cpu", "connections"):
                samples.append(sample(second, 5.0, metric))
            self.run.tick(second, samples)
        return self.run.steps[first:]


@DELAYS
def test_aws_05_a_healthy_reader_is_never_unknown_though_its_metrics_are_late(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, delay: float
) -> None:
    monitor = Monitor(stack, LateAws(delay, lambda _: HEALTHY), monkeypatch)
    assert monitor.until(0, 3600) == []


@DELAYS
def test_aws_05_a_lag_breach_is_alerted_as_soon_as_cloudwatch_shows_its_second_minute(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, delay: float
) -> None:
    behind = 2.0 * stack.alarm_thresholds.replication_lag_ms
    aws = LateAws(delay, lambda minute: behind if 20 <= minute < 30 else HEALTHY)
    monitor = Monitor(stack, aws, monkeypatch)
    assert monitor.until(0, 1200) == []
    found = monitor.until(1200, 1800)
    opened = found[0][0]
    assert [step for _, step in found] == ["replication opened", "replication escalated"]
    assert 0 <= opened - (1200 + 120 + delay) <= 10
    ((resolved, step),) = monitor.until(1800, 2400)
    assert step == "replication resolved"
    assert resolved >= 1800 + 60 + delay  # not before CloudWatch shows a good minute


@DELAYS
def test_aws_05_a_lost_reader_is_alerted_at_once_and_late_good_lags_of_before_do_not_clear_it(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, delay: float
) -> None:
    """The lag of the last minutes still arrives after RemoveFromGlobalCluster; then the metric ends."""
    aws = LateAws(delay, lambda minute: HEALTHY if minute < 20 else None)
    monitor = Monitor(stack, aws, monkeypatch)
    assert monitor.until(0, 1200) == []
    aws.members = aws.members[:1]
    found = monitor.until(1200, 3000)
    assert found[0][1] == "unprotected.secondary opened"
    assert found[0][0] - 1200 <= 30
    assert "unprotected.secondary resolved" not in [step for _, step in found]
    assert [step for _, step in found if step.endswith("opened")] == ["unprotected.secondary opened"]


@DELAYS
def test_aws_05_a_metric_that_ends_becomes_unknown_and_that_is_alerted(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, delay: float
) -> None:
    aws = LateAws(delay, lambda minute: HEALTHY if minute < 20 else None)
    monitor = Monitor(stack, aws, monkeypatch)
    assert monitor.until(0, 1200) == []
    ((opened, step),) = monitor.until(1200, 1200 + 900)
    assert step == "sources.secondary opened"
    assert opened <= 1200 + delay + 300 + 60
