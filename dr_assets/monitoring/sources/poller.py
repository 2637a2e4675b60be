"""One tick: every source asked once for all stacks, side by side, each with a deadline of its own.

May import `aws`, `catalog`, `core`, `stack`, `errors` and telemetry's nouns. Reads only, except for messages that were dealt
with (`delete`). What a source did not say by its deadline is silence, and a source that hangs is not asked again until it
has come back: so a dead region costs one thread, not a tick.

Calls for each tick: GetMetricData, at most two for each region however many stacks (500 queries each; what finds no room is
asked first next time); DescribeAlarms, one for each 100 alarms; DescribeGlobalClusters, one for each region;
GetHealthCheckStatus, at most four, because Route 53 takes five calls a second for the whole account.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from dr_assets import utc
from dr_assets.aws import Aws, explain
from dr_assets.core.topology import parse_topology
from dr_assets.errors import UnansweredError
from dr_assets.monitoring.samples import (
    CONNECTIONS,
    CONNECTIVITY,
    CPU,
    REPLICATION_LAG,
    ROLE,
    RPO_LAG,
    Reading,
    Sample,
    Snapshot,
    Status,
)
from dr_assets.resources import names
from dr_assets.resources.alarms.rows import PROBE_METRIC, PROBE_NAMESPACE
from dr_assets.resources.dns.rows import SITE_CHECKS
from dr_assets.resources.row import GLOBAL_REGION
from dr_assets.stack import SITES, Site, Stack

QUERIES, CALLS = 500, 2
ALARMS = 100
HEALTH_CHECKS = 4
IDENTITY_SECONDS = 600.0
SOURCE_SECONDS = 8.0
TICK_SECONDS = 15.0

# name, namespace, metric, statistic, period (s), how far back a datapoint still says something (s), asked every (s)
_METRICS: tuple[tuple[str, str, str, str, int, int, float], ...] = (
    (CONNECTIVITY, PROBE_NAMESPACE, PROBE_METRIC, "Minimum", 10, 60, 1.0),
    (REPLICATION_LAG, "AWS/RDS", "AuroraGlobalDBReplicationLag", "Maximum", 60, 300, 5.0),
    (RPO_LAG, "AWS/RDS", "AuroraGlobalDBRPOLag", "Maximum", 60, 300, 5.0),
    (CPU, "AWS/RDS", "CPUUtilization", "Average", 60, 300, 60.0),
    (CONNECTIONS, "AWS/RDS", "DatabaseConnections", "Maximum", 60, 300, 60.0),
)
_UNITS = {REPLICATION_LAG: "ms", RPO_LAG: "ms", CPU: "percent", CONNECTIONS: "count", CONNECTIVITY: "bool"}
ALARM_METRICS = (REPLICATION_LAG, RPO_LAG, CPU, CONNECTIONS, CONNECTIVITY)

Source = Callable[[datetime], "tuple[list[Sample], int]"]


@dataclass(frozen=True)
class _Query:
    stack: Stack
    site: Site
    name: str
    every: float
    body: Mapping[str, Any]
    back: int

    @property
    def key(self) -> str:
        return f"{self.stack.environment_suffix}/{self.site}/{self.name}"


@dataclass
class _Asked:
    """One question under way: its thread writes `answer` or `error`."""

    started: float
    thread: threading.Thread
    answer: tuple[list[Sample], int] | None = None
    error: BaseException | None = None


@dataclass
class Poller:
    """All stacks, polled together. Safe for threads: sensors that tick at the same moment share one snapshot.

    Args:
        stacks: what to watch.
        aws: clients with short timeouts; made when not given.
        more: further sources, as (source name, region) -> callable (the database's own view, for example).
        source_seconds: each source's deadline; a tick takes that long at most.
    """

    stacks: Sequence[Stack]
    aws: Aws = field(default_factory=lambda: Aws(read_timeout=4.0, attempts=2))
    more: Mapping[tuple[str, str], Source] = field(default_factory=dict)
    source_seconds: float = SOURCE_SECONDS

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._last: tuple[float, Snapshot] | None = None
        self._flying: dict[str, _Asked] = {}
        self._asked: dict[str, float] = {}
        self._checks: tuple[float, list[tuple[str, Sample]]] = (0.0, [])
        self._turn = 0
        self._queries = {region: list(self._build_queries(region)) for region in self.regions}

    @property
    def regions(self) -> list[str]:
        return sorted({stack.region(site) for stack in self.stacks for site in SITES})

    def tick(self, max_age: float = 0.0) -> Snapshot:
        """Ask everything now, or hand out a snapshot that is at most `max_age` seconds old. Never raises for a source."""
        with self._lock:
            if self._last and time.monotonic() - self._last[0] <= max_age:
                return self._last[1]
            snapshot = self._ask_all()
            self._last = (time.monotonic(), snapshot)
            return snapshot

    def _sources(self) -> Iterator[tuple[str, str, Source]]:
        for region in self.regions:
            yield "metric", region, lambda at, region=region: self._metrics(region, at)  # type: ignore[misc]
            yield "alarm", region, lambda at, region=region: self._alarms(region, at)  # type: ignore[misc]
            yield "topology", region, lambda at, region=region: self._topology(region, at)  # type: ignore[misc]
        yield "health-check", GLOBAL_REGION, self._health_checks
        for (name, region), source in self.more.items():
            yield name, region, source

    def _ask_all(self) -> Snapshot:
        at, started = utc.now(), time.monotonic()
        asked: dict[str, tuple[str, str]] = {}
        for name, region, source in self._sources():
            key = f"{name}@{region}"
            asked[key] = (name, region)
            flying = self._flying.get(key)
            if flying is None or not flying.thread.is_alive():
                self._flying[key] = self._start(source, at)
        deadline = started + self.source_seconds
        readings = []
        for key, (name, region) in asked.items():
            flying = self._flying[key]
            flying.thread.join(max(0.0, deadline - time.monotonic()))
            readings.append(self._reading(name, region, at, flying))
            if not flying.thread.is_alive():
                del self._flying[key]
        return Snapshot(at, tuple(readings), tuple(self._regions_answer(at, readings)))

    def _start(self, source: Source, at: datetime) -> _Asked:
        def ask() -> None:
            try:
                asked.answer = source(at)
            except Exception as error:
                asked.error = error

        asked = _Asked(time.monotonic(), threading.Thread(target=ask, daemon=True, name="dr-poll"))
        asked.thread.start()
        return asked

    def _reading(self, name: str, region: str, at: datetime, asked: _Asked) -> Reading:
        seconds = time.monotonic() - asked.started
        if asked.thread.is_alive():
            return Reading(name, region, "silent", at, seconds, f"no answer within {seconds:.1f} s")
        if asked.error is not None:
            problem = explain(asked.error, name, "poll", region)
            status: Status = "silent" if isinstance(problem, UnansweredError) else "error"
            return Reading(name, region, status, at, seconds, str(problem))
        samples, calls = asked.answer or ([], 0)
        return Reading(name, region, "answered", at, seconds, "", tuple(samples), calls)

    def _regions_answer(self, at: datetime, readings: Sequence[Reading]) -> Iterator[Sample]:
        """Whether each region's API answers at all. Route 53 lives in one region but is no region's own."""
        for region in self.regions:
            own = [r for r in readings if r.region == region and r.source in ("metric", "alarm", "topology")]
            # Who had nothing to ask (nothing was due) got no answer either.
            own = [reading for reading in own if reading.status != "answered" or reading.calls]
            silent = [reading for reading in own if reading.status == "silent"]
            for stack in self.stacks:
                site = stack.site_in(region)
                if site is not None and own:
                    value = 0.0 if len(silent) == len(own) else 1.0
                    note = f"{len(own) - len(silent)} of {len(own)} services of {region} answer"
                    yield Sample(at, stack.environment_suffix, site, "region", "answers", value, "bool", note)

    # --- CloudWatch ------------------------------------------------------------------------------------------------

    def _build_queries(self, region: str) -> Iterator[_Query]:
        for stack in self.stacks:
            site = stack.site_in(region)
            if site is None:
                continue
            s = stack.environment_suffix
            cluster = [{"Name": "DBClusterIdentifier", "Value": names.cluster(stack, site)}]
            probe = [{"Name": "Stack", "Value": s}, {"Name": "Site", "Value": site}]
            for name, namespace, metric, statistic, period, back, every in _METRICS:
                dimensions = probe if namespace == PROBE_NAMESPACE else cluster
                what = {"Namespace": namespace, "MetricName": metric, "Dimensions": dimensions}
                yield _Query(stack, site, name, every, {"Metric": what, "Period": period, "Stat": statistic}, back)

    def _due(self, region: str) -> list[_Query]:
        """What to ask in this tick: what is due, the longest overdue first, as many as two calls take."""
        now = time.monotonic()
        overdue = [(now - self._asked.get(query.key, -1e9)) / query.every for query in self._queries[region]]
        ranked = sorted(zip(overdue, self._queries[region], strict=True), key=lambda item: -item[0])
        return [query for ratio, query in ranked if ratio >= 0.5][: QUERIES * CALLS]

    def _metrics(self, region: str, at: datetime) -> tuple[list[Sample], int]:
        due, samples, calls = self._due(region), [], 0
        client = self.aws.client("cloudwatch", region)
        for start in range(0, len(due), QUERIES):
            batch = due[start : start + QUERIES]
            more: dict[str, Any] = {}
            values: dict[str, tuple[datetime, float]] = {}
            while True:
                answer = client.get_metric_data(
                    MetricDataQueries=[
                        {"Id": f"q{n}", "MetricStat": query.body, "ReturnData": True} for n, query in enumerate(batch)
                    ],
                    StartTime=at - timedelta(seconds=max(query.back for query in batch)),
                    # Ahead of our clock, in case it is behind the one that stamps the data.
                    EndTime=at + timedelta(seconds=120),
                    ScanBy="TimestampDescending",
                    **more,
                )
                calls += 1
                for result in answer["MetricDataResults"]:
                    for when, value in zip(result["Timestamps"], result["Values"], strict=True):
                        if result["Id"] not in values or when > values[result["Id"]][0]:
                            values[result["Id"]] = (when, float(value))
                if not answer.get("NextToken"):
                    break
                more = {"NextToken": answer["NextToken"]}
            for n, query in enumerate(batch):
                self._asked[query.key] = time.monotonic()
                samples.append(self._metric_sample(query, values.get(f"q{n}"), at))
        return samples, calls

    def _metric_sample(self, query: _Query, found: tuple[datetime, float] | None, at: datetime) -> Sample:
        s, unit = query.stack.environment_suffix, _UNITS[query.name]
        if found is None or (at - found[0]).total_seconds() > query.back + 120:
            return Sample(at, s, query.site, "metric", query.name, None, unit, f"no data in {query.back} s")
        return Sample(found[0], s, query.site, "metric", query.name, found[1], unit)

    def _alarms(self, region: str, at: datetime) -> tuple[list[Sample], int]:
        wanted: dict[str, tuple[Stack, Site, str]] = {}
        for stack in self.stacks:
            site = stack.site_in(region)
            if site is not None:
                wanted |= {names.alarm(stack, site, metric): (stack, site, metric) for metric in ALARM_METRICS}
        ordered, calls = sorted(wanted), 0
        found: dict[str, Any] = {}
        client = self.aws.client("cloudwatch", region)
        for start in range(0, len(ordered), ALARMS):
            some = ordered[start : start + ALARMS]
            answer = client.describe_alarms(AlarmNames=some, AlarmTypes=["MetricAlarm"], MaxRecords=ALARMS)
            calls += 1
            found |= {alarm["AlarmName"]: alarm for alarm in answer["MetricAlarms"]}
        samples = []
        for name, (stack, site, metric) in wanted.items():
            alarm = found.get(name, {"StateValue": "ABSENT", "StateReason": f"there is no alarm {name}"})
            value = {"OK": 1.0, "ALARM": 0.0}.get(alarm["StateValue"])
            note = f"{alarm['StateValue']}: {str(alarm.get('StateReason', ''))[:160]}"
            samples.append(Sample(at, stack.environment_suffix, site, "alarm", metric, value, "bool", note))
        return samples, calls

    # --- RDS and Route 53 ------------------------------------------------------------------------------------------

    def _topology(self, region: str, at: datetime) -> tuple[list[Sample], int]:
        client = self.aws.client("rds", region)
        clusters: dict[str, Any] = {}
        calls = 0
        more: dict[str, Any] = {}
        while True:
            answer = client.describe_global_clusters(**more)
            calls += 1
            clusters |= {cluster["GlobalClusterIdentifier"]: cluster for cluster in answer["GlobalClusters"]}
            if not answer.get("Marker"):
                break
            more = {"Marker": answer["Marker"]}
        samples = []
        for stack in self.stacks:
            if stack.site_in(region) is None:
                continue
            topology = parse_topology(stack, clusters.get(stack.global_cluster_name))
            if topology.writer is None:
                continue
            note = f"seen from {region}" + (f", {topology.in_transition}" if topology.in_transition else "")
            s = stack.environment_suffix
            samples += [
                Sample(at, s, site, "topology", ROLE, 1.0 if site == topology.writer else 0.0, "bool", note)
                for site in SITES
            ]
        return samples, calls

    def _health_checks(self, at: datetime) -> tuple[list[Sample], int]:
        """A few each tick, in turn. Calculated checks have no status to ask for: their children are asked."""
        client, calls = self.aws.client("route53", GLOBAL_REGION), 0
        read, known = self._checks
        if not known or time.monotonic() - read > IDENTITY_SECONDS:
            known = list(self._known_checks(client, at))
            self._checks, calls = (time.monotonic(), known), 1
        some = [known[(self._turn + n) % len(known)] for n in range(min(HEALTH_CHECKS, len(known)))]
        self._turn += len(some)
        samples = []
        for identity, sample in some:
            answer = client.get_health_check_status(HealthCheckId=identity)
            calls += 1
            reports = [each["StatusReport"]["Status"] for each in answer["HealthCheckObservations"]]
            good = sum(report.startswith("Success") for report in reports)
            # Route 53 takes a check for healthy while more than 18 % of its checkers say so.
            value = None if not reports else 1.0 if good / len(reports) > 0.18 else 0.0
            note = f"{good} of {len(reports)} checkers: {reports[0][:120]}" if reports else "no checker reports"
            samples.append(Sample(at, sample.stack, sample.site, sample.source, sample.metric, value, "bool", note))
        return samples, calls

    def _known_checks(self, client: Any, at: datetime) -> Iterator[tuple[str, Sample]]:
        # Others may read the same alarm and mean something else by its silence.
        wanted = {
            (names.alarm(stack, site, metric), stack.region(site), silence): (stack, site, name)
            for stack in self.stacks
            for site in SITES
            for name, metric, silence, _ in SITE_CHECKS
        }
        for page in client.get_paginator("list_health_checks").paginate():
            for check in page["HealthChecks"]:
                config = check["HealthCheckConfig"]
                alarm, silence = config.get("AlarmIdentifier") or {}, config.get("InsufficientDataHealthStatus")
                found = wanted.get((str(alarm.get("Name")), str(alarm.get("Region")), str(silence)))
                if found:
                    stack, site, name = found
                    yield check["Id"], Sample(at, stack.environment_suffix, site, "health-check", name, None, "bool")
