"""Source `metric`: which series is this cluster's lag, and how often lag metrics are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest

from dr_assets.monitoring.sources.cloudwatch import MetricSource
from dr_assets.stack import Stack
from tests.support.monitoring import S, at, known

CLUSTER, SOURCE = {"DBClusterIdentifier": f"aurora-secondary-{S}"}, {"SourceRegion": "us-east-1"}
BOTH, FOREIGN = {**CLUSTER, **SOURCE}, {"DBClusterIdentifier": "another-teams", **SOURCE}
LAG = "AuroraGlobalDBReplicationLag"
Key = frozenset[tuple[str, str]]


class CloudWatch:
    """us-west-2. `data`: dimensions of the lag metrics -> value of their newest datapoint; `listed`: dimensions in ListMetrics."""

    def __init__(self, data: Mapping[Key, float], *listed: Mapping[str, str]) -> None:
        self.data, self.listed, self.now = dict(data), list(listed), at(0)
        self.asked: list[tuple[str, Key]] = []
        self.lists = 0
        self.age = timedelta(minutes=2)  # of the newest datapoint
        self.fails = False
        self.future: list[tuple[datetime, float]] = []  # of each series that has data, the newest first

    def client(self, service: str, region: str) -> CloudWatch:
        return self

    def list_metrics(self, Namespace: str, MetricName: str) -> dict[str, Any]:
        self.lists += 1
        if self.fails:
            raise RuntimeError("throttled")
        shown = [[{"Name": name, "Value": value} for name, value in each.items()] for each in self.listed]
        return {"Metrics": [{"Namespace": Namespace, "MetricName": MetricName, "Dimensions": d} for d in shown]}

    def get_metric_data(self, MetricDataQueries: list[dict[str, Any]], EndTime: datetime, **_: Any) -> dict[str, Any]:
        results = []
        for query in MetricDataQueries:
            metric = query["MetricStat"]["Metric"]
            key = frozenset((item["Name"], item["Value"]) for item in metric["Dimensions"])
            self.asked.append((metric["MetricName"], key))
            value = self.data.get(key) if metric["MetricName"].startswith("AuroraGlobalDB") else None
            points = [] if value is None else [(self.now - self.age, value)]
            points = [*self.future, *points] if points else points
            results.append({"Id": query["Id"], "Timestamps": [t for t, _ in points], "Values": [v for _, v in points]})
        return {"MetricDataResults": results}


def key(dimensions: Mapping[str, str]) -> Key:
    return frozenset(dimensions.items())


class Ticks:
    """The source on a clock set by hand."""

    def __init__(self, stack: Stack, cloud: CloudWatch, monkeypatch: pytest.MonkeyPatch) -> None:
        aws: Any = cloud
        self.cloud, self.source, self.second = cloud, MetricSource([stack], aws, "us-west-2"), 0.0
        monkeypatch.setattr("dr_assets.monitoring.sources.cloudwatch.time.monotonic", lambda: 1000.0 + self.second)

    def lag(self, second: float) -> tuple[float | None, str] | None:
        """(value, "") or (None, why it is unknown) of the replication lag at this second; None: it was not due."""
        self.second, self.cloud.now = second, at(second)
        samples, _ = self.source(at(second))
        return next((known(s, second) for s in samples if s.metric == "replication-lag"), None)

    def asked_in(self, begin: int, seconds: int) -> int:
        """How many series of the replication lag were asked for in these seconds, with a tick every five."""
        self.cloud.asked.clear()
        for second in range(begin, begin + seconds, 5):
            self.lag(second)
        return sum(name == LAG for name, _ in self.cloud.asked)


@pytest.mark.parametrize("shape", [CLUSTER, BOTH], ids=["cluster", "both"])
@pytest.mark.parametrize("is_listed", [True, False])
def test_aws_04_a_silent_series_of_the_cluster_is_not_replaced_by_one_with_source_region_alone(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, shape: dict[str, str], is_listed: bool
) -> None:
    """SourceRegion alone mixes every global database of the region: ours is silent, another team's is not."""
    cloud = CloudWatch({key(shape): 20.0, key(SOURCE): 70_000.0}, *([shape] if is_listed else []), SOURCE)
    ticks = Ticks(stack, cloud, monkeypatch)
    assert ticks.lag(0) == (20.0, "")
    del cloud.data[key(shape)]
    for second in range(60, 1200, 60):
        found = ticks.lag(second)
        assert found is None or found[0] is None


@pytest.mark.parametrize(
    ("listed", "configured", "expected"),
    [
        ([], "cluster+source-region", 30.0),
        ([SOURCE], "cluster+source-region", 30.0),
        ([SOURCE, FOREIGN], "cluster+source-region", None),
        ([SOURCE, FOREIGN], "source-region", 30.0),
        ([SOURCE, BOTH], "cluster+source-region", None),
        ([SOURCE, CLUSTER], "source-region", None),
    ],
)
def test_aws_04_source_region_alone_counts_where_aws_lists_no_cluster_or_the_stack_file_names_it(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, listed: list[dict[str, str]], configured: str, expected: float | None
) -> None:
    cloud = CloudWatch({key(SOURCE): 30.0}, *listed)
    ticks = Ticks(stack.model_copy(update={"lag_metric_dimensions": configured}), cloud, monkeypatch)
    found = ticks.lag(0)
    assert found is not None
    assert found[0] == expected
    assert bool(found[1]) == (expected is None)


def test_aws_04_source_region_alone_is_unknown_while_the_list_cannot_be_read(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud = CloudWatch({key(SOURCE): 30.0}, SOURCE)
    cloud.fails = True
    ticks = Ticks(stack, cloud, monkeypatch)
    found = ticks.lag(0)
    assert found is not None
    assert found[0] is None
    assert "list_metrics in us-west-2" in found[1]
    cloud.fails = False
    assert ticks.lag(60) == (30.0, "")


def test_a_lag_without_data_is_asked_for_once_a_minute_and_one_with_data_every_five_seconds(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = Ticks(stack, CloudWatch({}), monkeypatch)
    assert ticks.asked_in(0, 300) == 5 * 3  # in each shape
    ticks.cloud.data[key(BOTH)] = 20.0
    ticks.asked_in(300, 60)
    assert ticks.asked_in(360, 300) == 60


def test_a_lag_is_asked_for_at_once_after_a_change_of_roles_and_often_where_it_is_expected(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = Ticks(stack, CloudWatch({}), monkeypatch)
    ticks.source.follow_roles({S: "secondary"})
    assert ticks.lag(0) is not None
    assert ticks.lag(5) is None
    ticks.source.follow_roles({S: "primary"})
    assert ticks.lag(10) is not None
    assert ticks.lag(15) is not None  # the reader's first datapoint is minutes late
    ticks.source.follow_roles({})  # no answer from RDS changes nothing
    assert ticks.lag(20) is not None
    ticks.source.follow_roles({S: "secondary"})
    assert ticks.lag(25) is not None
    assert ticks.lag(30) is None


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), -1.0])
def test_case_a4_a_datapoint_that_is_no_lag_is_unknown(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, odd: float
) -> None:
    found = Ticks(stack, CloudWatch({key(BOTH): odd}, BOTH), monkeypatch).lag(0)
    assert found is not None and found[0] is None and "is no" in found[1]


@pytest.mark.parametrize("ahead", [11, 55, 110, 7200])
def test_case_a8_a_datapoint_of_the_future_is_unknown(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, ahead: int
) -> None:
    """CloudWatch takes datapoints up to two hours ahead (PutMetricData)."""
    cloud = CloudWatch({key(BOTH): 12.0}, BOTH)
    cloud.age = timedelta(seconds=-ahead)
    found = Ticks(stack, cloud, monkeypatch).lag(0)
    assert found is not None and found[0] is None and "in the future" in found[1]


def test_case_a8_a_future_datapoint_does_not_displace_the_present_one(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ScanBy=TimestampDescending gives the future one first."""
    cloud = CloudWatch({key(BOTH): 90_000.0}, BOTH)
    cloud.future = [(at(7200), 2.0), (at(110), 1.0)]
    assert Ticks(stack, cloud, monkeypatch).lag(0) == (90_000.0, "")


def test_case_a8_a_future_series_does_not_displace_the_present_one(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cluster's metric has two shapes of dimensions, and one of them is ahead."""
    present, future = CloudWatch({key(BOTH): 90_000.0}), CloudWatch({key(CLUSTER): 1.0})
    future.age = timedelta(seconds=-110)
    cloud = CloudWatch({}, BOTH, CLUSTER)

    def both(**params: Any) -> dict[str, Any]:
        answers = [each.get_metric_data(**params)["MetricDataResults"] for each in (present, future)]
        return {
            "MetricDataResults": [
                max(pair, key=lambda result: len(result["Values"])) for pair in zip(*answers, strict=True)
            ]
        }

    monkeypatch.setattr(cloud, "get_metric_data", both)
    assert Ticks(stack, cloud, monkeypatch).lag(0) == (90_000.0, "")


@pytest.mark.parametrize("delay", [0, 60, 120])
def test_aws_05_a_lag_is_read_whatever_the_delay_of_its_datapoints_and_bears_their_time(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, delay: int
) -> None:
    """The newest datapoint began its minute, its delay, and up to a minute until the next one ago."""
    cloud = CloudWatch({key(BOTH): 90_000.0}, BOTH)
    cloud.age = timedelta(seconds=60 + delay + 60)
    assert Ticks(stack, cloud, monkeypatch).lag(0) == (90_000.0, "")
    cloud.age = timedelta(seconds=600)
    found = Ticks(stack, cloud, monkeypatch).lag(0)
    assert found == (None, "90000 is 540 s old")
