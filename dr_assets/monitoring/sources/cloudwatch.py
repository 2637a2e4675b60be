"""Sources `metric` and `alarm`: CloudWatch's newest datapoints and alarm states, for all stacks of a region together."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from dr_assets.aws import Aws
from dr_assets.monitoring.samples import CONNECTIONS, CONNECTIVITY, CPU, REPLICATION_LAG, RPO_LAG, Sample
from dr_assets.monitoring.sources.source import Answer, Ask, regions_of
from dr_assets.resources import names
from dr_assets.resources.alarms.rows import PROBE_METRIC, PROBE_NAMESPACE
from dr_assets.stack import Site, Stack

# GetMetricData takes 500 queries; two calls a tick and region, however many stacks.
QUERIES, CALLS = 500, 2
ALARMS_PER_CALL = 100
# Datapoints may be this much later than their own period, and our clock may be this far behind theirs.
SKEW_SECONDS = 120


@dataclass(frozen=True)
class CloudWatchMetric:
    """How one metric is read. Seconds: its period, how old a datapoint may be, how often it is asked for."""

    name: str
    namespace: str
    metric: str
    statistic: str
    unit: str
    period: int = 60
    max_age: int = 300
    every: float = 60.0


METRICS: tuple[CloudWatchMetric, ...] = (
    CloudWatchMetric(CONNECTIVITY, PROBE_NAMESPACE, PROBE_METRIC, "Minimum", "bool", period=10, max_age=60, every=1.0),
    CloudWatchMetric(REPLICATION_LAG, "AWS/RDS", "AuroraGlobalDBReplicationLag", "Maximum", "ms", every=5.0),
    CloudWatchMetric(RPO_LAG, "AWS/RDS", "AuroraGlobalDBRPOLag", "Maximum", "ms", every=5.0),
    CloudWatchMetric(CPU, "AWS/RDS", "CPUUtilization", "Average", "percent"),
    CloudWatchMetric(CONNECTIONS, "AWS/RDS", "DatabaseConnections", "Maximum", "count"),
)
ALARM_METRICS = (REPLICATION_LAG, RPO_LAG, CPU, CONNECTIONS, CONNECTIVITY)


@dataclass(frozen=True)
class _Query:
    stack: Stack
    site: Site
    metric: CloudWatchMetric
    body: Mapping[str, Any]

    @property
    def key(self) -> str:
        return f"{self.stack.environment_suffix}/{self.site}/{self.metric.name}"


def metric_asks(stacks: Sequence[Stack], aws: Aws) -> Iterator[tuple[str, Ask]]:
    for region in regions_of(stacks):
        yield region, MetricSource(stacks, aws, region)


def alarm_asks(stacks: Sequence[Stack], aws: Aws) -> Iterator[tuple[str, Ask]]:
    for region in regions_of(stacks):
        yield region, AlarmSource(stacks, aws, region)


class MetricSource:
    """GetMetricData for what is due. What finds no room in this tick's calls is asked first in the next one."""

    def __init__(self, stacks: Sequence[Stack], aws: Aws, region: str) -> None:
        self._aws, self._region = aws, region
        self.queries = list(_queries(stacks, region))
        self.asked: dict[str, float] = {}  # query key -> when it was asked last (monotonic)

    def _due(self) -> list[_Query]:
        """What is due, the longest overdue first, as many as this tick's calls take."""
        now = time.monotonic()
        overdue = [(now - self.asked.get(query.key, -1e9)) / query.metric.every for query in self.queries]
        ranked = sorted(zip(overdue, self.queries, strict=True), key=lambda item: -item[0])
        return [query for ratio, query in ranked if ratio >= 0.5][: QUERIES * CALLS]

    def __call__(self, at: datetime) -> Answer:
        due, samples, calls = self._due(), [], 0
        client = self._aws.client("cloudwatch", self._region)
        for start in range(0, len(due), QUERIES):
            batch = due[start : start + QUERIES]
            page: dict[str, Any] = {}
            values: dict[str, tuple[datetime, float]] = {}
            while True:
                answer = client.get_metric_data(
                    MetricDataQueries=[
                        {"Id": f"q{n}", "MetricStat": query.body, "ReturnData": True} for n, query in enumerate(batch)
                    ],
                    StartTime=at - timedelta(seconds=max(query.metric.max_age for query in batch)),
                    EndTime=at + timedelta(seconds=SKEW_SECONDS),
                    ScanBy="TimestampDescending",
                    **page,
                )
                calls += 1
                for result in answer["MetricDataResults"]:
                    for when, value in zip(result["Timestamps"], result["Values"], strict=True):
                        if result["Id"] not in values or when > values[result["Id"]][0]:
                            values[result["Id"]] = (when, float(value))
                if not answer.get("NextToken"):
                    break
                page = {"NextToken": answer["NextToken"]}
            for n, query in enumerate(batch):
                self.asked[query.key] = time.monotonic()
                samples.append(_metric_sample(query, values.get(f"q{n}"), at))
        return samples, calls


def _queries(stacks: Sequence[Stack], region: str) -> Iterator[_Query]:
    for stack in stacks:
        site = stack.site_in(region)
        if site is None:
            continue
        cluster = [{"Name": "DBClusterIdentifier", "Value": names.cluster(stack, site)}]
        probe = [{"Name": "Stack", "Value": stack.environment_suffix}, {"Name": "Site", "Value": site}]
        for metric in METRICS:
            body = {
                "Metric": {
                    "Namespace": metric.namespace,
                    "MetricName": metric.metric,
                    "Dimensions": probe if metric.namespace == PROBE_NAMESPACE else cluster,
                },
                "Period": metric.period,
                "Stat": metric.statistic,
            }
            yield _Query(stack, site, metric, body)


def _metric_sample(query: _Query, found: tuple[datetime, float] | None, at: datetime) -> Sample:
    metric, s = query.metric, query.stack.environment_suffix
    if found is None or (at - found[0]).total_seconds() > metric.max_age + SKEW_SECONDS:
        note = f"no data in {metric.max_age} s"
        return Sample(at, s, query.site, "metric", metric.name, None, metric.unit, note)
    return Sample(found[0], s, query.site, "metric", metric.name, found[1], metric.unit)


class AlarmSource:
    """DescribeAlarms by name, a hundred in each call."""

    def __init__(self, stacks: Sequence[Stack], aws: Aws, region: str) -> None:
        self._aws, self._region = aws, region
        self._wanted: dict[str, tuple[Stack, Site, str]] = {
            names.alarm(stack, site, metric): (stack, site, metric)
            for stack in stacks
            if (site := stack.site_in(region)) is not None
            for metric in ALARM_METRICS
        }

    def __call__(self, at: datetime) -> Answer:
        ordered, calls = sorted(self._wanted), 0
        found: dict[str, Any] = {}
        client = self._aws.client("cloudwatch", self._region)
        for start in range(0, len(ordered), ALARMS_PER_CALL):
            batch = ordered[start : start + ALARMS_PER_CALL]
            answer = client.describe_alarms(AlarmNames=batch, AlarmTypes=["MetricAlarm"], MaxRecords=ALARMS_PER_CALL)
            calls += 1
            found |= {alarm["AlarmName"]: alarm for alarm in answer["MetricAlarms"]}
        samples = []
        for name, (stack, site, metric) in self._wanted.items():
            alarm = found.get(name, {"StateValue": "ABSENT", "StateReason": f"there is no alarm {name}"})
            value = {"OK": 1.0, "ALARM": 0.0}.get(alarm["StateValue"])
            note = f"{alarm['StateValue']}: {str(alarm.get('StateReason', ''))[:160]}"
            samples.append(Sample(at, stack.environment_suffix, site, "alarm", metric, value, "bool", note))
        return samples, calls
