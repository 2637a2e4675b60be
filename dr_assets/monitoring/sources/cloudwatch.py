"""Sources `metric` and `alarm`: CloudWatch's newest datapoints and alarm states, for all stacks of a region together."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from dr_assets import escape
from dr_assets.aws import Aws, explain
from dr_assets.core import metric_data
from dr_assets.core.freshness import SKEW_SECONDS, Quantity, is_future
from dr_assets.core.paging import Tokens
from dr_assets.monitoring.samples import CONNECTIONS, CONNECTIVITY, CPU, REPLICATION_LAG, RPO_LAG, STATE, Sample
from dr_assets.monitoring.sources.source import Answer, Ask, regions_of
from dr_assets.resources import names
from dr_assets.resources.alarms import lag_metric
from dr_assets.resources.alarms.rows import PROBE_METRIC, PROBE_NAMESPACE
from dr_assets.stack import LAG_SHAPES, Site, Stack

# GetMetricData takes 500 queries; two calls a tick and region, however many stacks.
QUERIES, CALLS = 500, 2
ALARMS_PER_CALL = 100

log = escape.logger(__name__)


@dataclass(frozen=True)
class CloudWatchMetric:
    """How one metric is read. Seconds: its period, how often it is asked for."""

    name: str
    namespace: str
    metric: str
    statistic: str
    quantity: Quantity
    period: int = 60
    every: float = 60.0

    @property
    def max_age(self) -> float:
        """Seconds after which a datapoint is not asked for any more."""
        return self.quantity.covers + self.quantity.age_limit


# A minute's datapoint, up to two minutes late, of a metric that is asked for once a minute.
MINUTE = Quantity("count", 0.0, math.inf, age_limit=260.0, covers=60.0)
METRICS: tuple[CloudWatchMetric, ...] = (
    CloudWatchMetric(CONNECTIVITY, PROBE_NAMESPACE, PROBE_METRIC, "Minimum", STATE, period=10, every=1.0),
    CloudWatchMetric(REPLICATION_LAG, "AWS/RDS", lag_metric.REPLICATION_LAG, "Maximum", lag_metric.LAG, every=5.0),
    CloudWatchMetric(RPO_LAG, "AWS/RDS", lag_metric.RPO_LAG, "Maximum", lag_metric.LAG, every=5.0),
    CloudWatchMetric(CPU, "AWS/RDS", "CPUUtilization", "Average", MINUTE._replace(unit="percent", high=100.0)),
    CloudWatchMetric(CONNECTIONS, "AWS/RDS", "DatabaseConnections", "Maximum", MINUTE),
)
LAGS = (REPLICATION_LAG, RPO_LAG)
# How often ListMetrics is asked which lag metrics exist at all.
LIST_SECONDS = 300.0
# A lag metric without data is asked for this rarely: the writer's site has none. The reader's is again expected for an hour after its
# last datapoint, or after the site became the reader.
ABSENT_SECONDS, EXPECTED_SECONDS = 60.0, 3600.0
# The body with SourceRegion alone.
SOURCE_ALONE = LAG_SHAPES.index(lag_metric.SOURCE_ALONE)
# A reading is due this much before its interval is over, so that a tick that comes a little early does not double it.
EARLY_SECONDS = 2.5
ONLY_FOREIGN = "the only data has SourceRegion alone and may be another cluster's (see lag_metric_dimensions)"
ALARM_METRICS = (REPLICATION_LAG, RPO_LAG, CPU, CONNECTIONS, CONNECTIVITY)


@dataclass(frozen=True)
class _Query:
    """One metric of one site. `bodies`: the MetricStats that it may be found by, the preferred first."""

    stack: Stack
    site: Site
    metric: CloudWatchMetric
    bodies: tuple[Mapping[str, Any], ...]

    @property
    def key(self) -> str:
        return f"{self.stack.environment_suffix}/{self.site}/{self.metric.name}"

    @property
    def of_lag(self) -> bool:
        return self.metric.name in LAGS


def metric_asks(stacks: Sequence[Stack], aws: Aws) -> Iterator[tuple[str, Ask]]:
    for region in regions_of(stacks):
        yield region, MetricSource(stacks, aws, region)


def alarm_asks(stacks: Sequence[Stack], aws: Aws) -> Iterator[tuple[str, Ask]]:
    for region in regions_of(stacks):
        yield region, AlarmSource(stacks, aws, region)


class MetricSource:
    """GetMetricData for what is due. What finds no room in this tick's calls is asked first in the next one.

    A lag metric is asked for in each shape of its dimensions until one has data, and again once that has none. SourceRegion alone is
    never taken once a shape with the cluster had data: the silence of that is unknown.
    """

    def __init__(self, stacks: Sequence[Stack], aws: Aws, region: str) -> None:
        self._aws, self._region = aws, region
        self.queries = list(_queries(stacks, region))
        self.asked: dict[str, float] = {}  # query key -> when it was asked last (monotonic)
        self._found: dict[str, int] = {}  # query key -> which of its bodies had data last
        self._expected: dict[str, float] = {}  # query key of a lag -> when it had data or its site became the reader
        self._by_cluster: set[str] = set()  # stacks whose lag metrics had data with DBClusterIdentifier
        self._writers: dict[str, Site] = {}
        self._listed: Sequence[Mapping[str, Any]] | None = None
        self._list_at, self._list_calls = float("-inf"), 0

    def follow_roles(self, writers: Mapping[str, Site]) -> None:
        """After a change of roles the lag metrics are at the other site: both are asked for in the next tick."""
        for query in self.queries:
            stack = query.stack.environment_suffix
            before, after = self._writers.get(stack), writers.get(stack)
            if query.of_lag and before and after and before != after:
                self.asked.pop(query.key, None)
                self._expected[query.key] = time.monotonic()
        self._writers |= writers

    def _every(self, query: _Query, now: float) -> float:
        """Seconds between two readings of the query."""
        if not query.of_lag or query.key in self._found or query.key not in self.asked:
            return query.metric.every
        is_reader = self._writers.get(query.stack.environment_suffix, query.site) != query.site
        expected = now - self._expected.get(query.key, float("-inf")) < EXPECTED_SECONDS
        return query.metric.every if is_reader and expected else ABSENT_SECONDS

    def _due(self) -> Iterator[tuple[_Query, int]]:
        """What is due, the longest overdue first, as many bodies as this tick's calls take."""
        now, room = time.monotonic(), QUERIES * CALLS
        every = [self._every(query, now) for query in self.queries]
        overdue = [
            (now - self.asked.get(query.key, -1e9)) / seconds
            for query, seconds in zip(self.queries, every, strict=True)
        ]
        ranked = sorted(zip(overdue, every, self.queries, strict=True), key=lambda item: -item[0])
        for ratio, seconds, query in ranked:
            found = self._found.get(query.key)
            bodies = range(len(query.bodies)) if found is None else (found,)
            if ratio >= 1.0 - min(0.5, EARLY_SECONDS / seconds) and len(bodies) <= room:
                room -= len(bodies)
                yield from ((query, body) for body in bodies)

    def __call__(self, at: datetime) -> Answer:
        due, calls = list(self._due()), 0
        client = self._aws.client("cloudwatch", self._region)
        values: dict[tuple[str, int], tuple[datetime, float]] = {}
        problems: dict[tuple[str, int], str] = {}
        missing = {(query.key, body) for query, body in due}
        for start in range(0, len(due), QUERIES):
            batch = due[start : start + QUERIES]
            ids = [f"q{n}" for n in range(len(batch))]
            page: dict[str, Any] = {}
            tokens = Tokens()
            while True:
                answer = client.get_metric_data(
                    MetricDataQueries=[
                        {"Id": identity, "MetricStat": query.bodies[body], "ReturnData": True}
                        for identity, (query, body) in zip(ids, batch, strict=True)
                    ],
                    StartTime=at - timedelta(seconds=max(query.metric.max_age for query, _ in batch)),
                    EndTime=at + timedelta(seconds=SKEW_SECONDS),
                    ScanBy="TimestampDescending",
                    **page,
                )
                calls += 1
                for series in metric_data.parse(answer["MetricDataResults"], ids):
                    query, body = batch[series.n]
                    missing.discard((query.key, body))
                    if series.problem:
                        problems[query.key, body] = series.problem
                    known = values.get((query.key, body))
                    for when, value in series.points:
                        # One of the future displaces no other, and what has no other is named as such.
                        if known is None or (is_future(known[0], at), when) > (is_future(when, at), known[0]):
                            known = values[query.key, body] = (when, value)
                if not answer.get("NextToken"):
                    break
                page = {"NextToken": tokens.follow(answer["NextToken"])}
        problems |= dict.fromkeys(missing, "CloudWatch gave no result for its query")
        samples = []
        for query in {query.key: query for query, _ in due}.values():
            self.asked[query.key] = time.monotonic()
            bodies = range(len(query.bodies))
            # Part of a series cannot be told from the whole of it.
            problem = next((problems[query.key, n] for n in bodies if (query.key, n) in problems), "")
            points = {n: values[query.key, n] for n in bodies if (query.key, n) in values and not problem}
            if problem:
                found = None
            elif query.of_lag:
                found, problem, more = self._lag(client, query, points, at, calls)
                calls += more
            else:
                found = points.get(0)
            samples.append(_metric_sample(query, found, at, problem))
        return samples, calls

    def _lag(
        self, client: Any, query: _Query, points: Mapping[int, tuple[datetime, float]], at: datetime, calls: int
    ) -> tuple[tuple[datetime, float] | None, str, int]:
        """The newest of this cluster's `points` by body, or None and why, where ListMetrics tells; and how many calls that took."""
        stack, more, problem = query.stack.environment_suffix, 0, ""
        found = _newest(points, at)
        if found is not None and found[0] != SOURCE_ALONE:
            self._by_cluster.add(stack)
        else:
            # What has SourceRegion alone needs the list; else it is read where the calls of the tick have left room for it.
            problem, more = "", 0
            if calls < CALLS or found is not None:
                problem, more = self._read_list(client)
        shapes, configured = lag_metric.shapes(query.stack, query.site), query.stack.lag_metric_dimensions
        if found is not None and found[0] == SOURCE_ALONE:
            is_ours = self._listed is not None and lag_metric.source_is_ours(configured, shapes, self._listed)
            if stack in self._by_cluster or not is_ours:
                found, problem = None, problem or ONLY_FOREIGN
        if found is None:
            self._found.pop(query.key, None)
            if not problem and self._listed is not None and not lag_metric.listed(configured, shapes, self._listed):
                problem = lag_metric.no_such_metric(query.metric.metric, self._region)
            return None, problem, more
        self._found[query.key] = found[0]
        self._expected[query.key] = time.monotonic()
        return found[1], "", more

    def _read_list(self, client: Any) -> tuple[str, int]:
        """Read ListMetrics where it is due; its problem, and how many calls that took. The last list is kept while it fails."""
        now = time.monotonic()
        if now < self._list_at:
            return "", 0
        before, problem, self._list_at = self._list_calls, "", now + LIST_SECONDS
        try:
            self._listed = lag_metric.list_metrics(partial(self._list, client), self._region)
        except Exception as error:  # the other readings must not depend on it
            self._list_at = now + ABSENT_SECONDS
            problem = str(explain(error, "cloudwatch", "list_metrics", self._region))
            log.warning("%s", problem)
        return problem, self._list_calls - before

    def _list(self, client: Any, _operation: str, _region: str, **params: Any) -> Mapping[str, Any]:
        self._list_calls += 1
        answer: Mapping[str, Any] = client.list_metrics(**params)
        return answer


def _queries(stacks: Sequence[Stack], region: str) -> Iterator[_Query]:
    for stack in stacks:
        site = stack.site_in(region)
        if site is None:
            continue
        cluster = {"DBClusterIdentifier": names.cluster(stack, site)}
        probe = {"Stack": stack.environment_suffix, "Site": site}
        for metric in METRICS:
            own = probe if metric.namespace == PROBE_NAMESPACE else cluster
            every = lag_metric.shapes(stack, site).values() if metric.name in LAGS else (own,)
            bodies = tuple(
                {
                    "Metric": {
                        "Namespace": metric.namespace,
                        "MetricName": metric.metric,
                        "Dimensions": [{"Name": name, "Value": value} for name, value in dimensions.items()],
                    },
                    "Period": metric.period,
                    "Stat": metric.statistic,
                }
                for dimensions in every
            )
            yield _Query(stack, site, metric, bodies)


def _newest(found: Mapping[int, tuple[datetime, float]], now: datetime) -> tuple[int, tuple[datetime, float]] | None:
    """Which body of a lag has the newest datapoint, and that; one of the future displaces no other. SourceRegion alone counts only by
    itself."""
    own = {n: point for n, point in found.items() if n != SOURCE_ALONE} or found
    return max(own.items(), key=lambda item: (not is_future(item[1][0], now), item[1][0]), default=None)


def _metric_sample(query: _Query, found: tuple[datetime, float] | None, at: datetime, problem: str = "") -> Sample:
    metric, s = query.metric, query.stack.environment_suffix
    if found is None:
        note = problem or f"no data in {metric.max_age:g} s"
        return Sample(at, s, query.site, "metric", metric.name, None, metric.quantity, note)
    return Sample(found[0], s, query.site, "metric", metric.name, found[1], metric.quantity)


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
        ordered, calls, unnamed = sorted(self._wanted), 0, 0
        found: dict[str, Mapping[str, Any]] = {}
        client = self._aws.client("cloudwatch", self._region)
        for start in range(0, len(ordered), ALARMS_PER_CALL):
            batch = ordered[start : start + ALARMS_PER_CALL]
            answer = client.describe_alarms(AlarmNames=batch, AlarmTypes=["MetricAlarm"], MaxRecords=ALARMS_PER_CALL)
            calls += 1
            for alarm in answer["MetricAlarms"]:
                name = alarm.get("AlarmName") if isinstance(alarm, Mapping) else None
                unnamed += not isinstance(name, str)
                if isinstance(name, str):
                    found[name] = alarm
        samples = []
        for name, (stack, site, metric) in self._wanted.items():
            value, note = _alarm_state(found[name]) if name in found else (None, f"ABSENT: there is no alarm {name}")
            if name not in found and unnamed:
                note = f"CloudWatch's answer has {unnamed} alarms without a name, and none {name}"
            samples.append(Sample(at, stack.environment_suffix, site, "alarm", metric, value, STATE, note))
        return samples, calls


def _alarm_state(alarm: Mapping[str, Any]) -> tuple[float | None, str]:
    """1 OK, 0 ALARM, None unknown; and why."""
    state, reason = alarm.get("StateValue"), str(alarm.get("StateReason", ""))[:160]
    if not isinstance(state, str):
        return None, "CloudWatch's answer has no StateValue for it"
    # PARTIAL_DATA, EVALUATION_ERROR, EVALUATION_FAILURE: the state is not of the data of now (CloudWatch API, MetricAlarm).
    if problem := alarm.get("EvaluationState"):
        return None, f"{str(problem)[:40]}: {reason}"
    return {"OK": 1.0, "ALARM": 0.0}.get(state), f"{state[:40]}: {reason}"
