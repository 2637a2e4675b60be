"""Build every alert rule of a stack, and the table of sources that the rules read."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from dr_assets.aws import Aws
from dr_assets.monitoring.rule import AT_ONCE, HOLD_SECONDS, Rule
from dr_assets.monitoring.samples import (
    CONNECTIONS,
    CONNECTIVITY,
    COUNT,
    CPU,
    MEMBER,
    NAMED_WRITERS,
    REACHABLE,
    REPLICATION_LAG,
    ROLE,
    RPO_LAG,
    SINGLE_WRITER,
    SQL_LAG,
    TRANSITION,
    WRITER_INSIDE,
    Reading,
)
from dr_assets.monitoring.sources import cloudwatch, health_checks, keys, topology
from dr_assets.monitoring.sources.source import Ask, Metric, Source, SourceKind
from dr_assets.monitoring.topics import (
    CAPACITY,
    KEYS,
    REPLICATION,
    SOURCES,
    TWO_WRITERS,
    UNPROTECTED,
    WRITER,
    WRITER_OUTSIDE,
    divided,
)
from dr_assets.stack import SITES, Site, Stack

# CloudWatch's one-minute metrics arrive up to two minutes late, so the first one after a change of roles up to three minutes after
# its minute began; the probe writes every few seconds.
LATE_SECONDS, PROBE_LATE_SECONDS = 300.0, 90.0
# Two periods of the connectivity alarm, the delay of Route 53's metric, and its own period.
SETTLE_SECONDS = 300.0
# How old the last proof of a scenario may be, in days.
DRILL_DAYS: Mapping[str, float] = {"switchover": 35.0, "failover": 100.0, "failback": 100.0}
DRILL_JOBS = tuple(f"{scenario}_drill" for scenario in DRILL_DAYS)
# No drill ended in the middle and waits to be resumed or aborted.
UNFINISHED = "unfinished"
# `view`: ask the databases too; `publish`: and publish the answer as the probe's metric. Only where they can be reached from here:
# a process that cannot reach them would report every writer as down.
SQL_VARIABLE = "DR_TELEMETRY_SQL"


def _sql_asks(stacks: Sequence[Stack], aws: Aws) -> Iterator[tuple[str, Ask]]:
    mode = os.environ.get(SQL_VARIABLE, "")
    if mode in ("view", "publish"):
        from dr_assets.monitoring.sources.sql import sql_asks  # psycopg is loaded only where it is used

        yield from sql_asks(stacks, aws, publish=mode == "publish")


_EVALUATED_ITSELF = "the metric itself is evaluated; the alarm's notification is evidence"
SOURCE_KINDS: tuple[SourceKind, ...] = (
    SourceKind(
        name="metric",
        metrics=tuple(Metric(metric.name, metric.quantity) for metric in cloudwatch.METRICS),
        build=cloudwatch.metric_asks,
        actions=("cloudwatch:GetMetricData", "cloudwatch:ListMetrics"),
        scope="region",
    ),
    SourceKind(
        name="alarm",
        metrics=tuple(
            Metric(metric, without_rule=_EVALUATED_ITSELF if metric in (CPU, CONNECTIONS) else "")
            for metric in cloudwatch.ALARM_METRICS
        ),
        build=cloudwatch.alarm_asks,
        actions=("cloudwatch:DescribeAlarms",),
        scope="region",
    ),
    SourceKind(
        name="topology",
        metrics=(
            Metric(ROLE, without_rule="decides which rules apply to a site"),
            Metric(MEMBER),
            Metric(WRITER_INSIDE),
            Metric(TRANSITION, without_rule="explains two writers and missing members while it lasts"),
            Metric(NAMED_WRITERS, COUNT, without_rule="the source `writers` is evaluated"),
        ),
        build=topology.topology_asks,
        actions=("rds:DescribeDBClusters", "rds:DescribeGlobalClusters"),
        scope="region",
    ),
    SourceKind(
        name="health-check",
        metrics=(
            Metric("health-check", health_checks.STATUS),
            Metric("health-check-lag", health_checks.STATUS, without_rule="decides DNS at the reader's site"),
        ),
        build=health_checks.health_check_asks,
        actions=("route53:ListHealthChecks", "cloudwatch:GetMetricData"),
        scope="global",
    ),
    SourceKind(
        name="key",
        metrics=tuple(Metric(name, keys.USABLE) for name in keys.METRICS),
        build=keys.key_asks,
        actions=("kms:DescribeKey", "rds:DescribeDBClusters"),
    ),
    SourceKind(
        name="sql",
        metrics=(
            Metric(CONNECTIVITY),
            Metric(REACHABLE, without_rule="the source `readers` is evaluated"),
            Metric(REPLICATION_LAG, SQL_LAG, of_other_site=True),
            Metric(RPO_LAG, SQL_LAG, of_other_site=True),
        ),
        build=_sql_asks,
        actions=("secretsmanager:GetSecretValue", "cloudwatch:PutMetricData"),
    ),
    # Not polled: the poller derives `region`, `writers` and `readers` from the other readings; the monitor yields `store` and `host`.
    SourceKind(name="region", metrics=(Metric("answers"),)),
    SourceKind(name="writers", metrics=(Metric(SINGLE_WRITER),)),
    SourceKind(name="readers", metrics=(Metric(REACHABLE),)),
    SourceKind(name="store", metrics=(Metric("answers"),)),
    SourceKind(name="host", metrics=(Metric("clock"),)),
)


def sources_for(stacks: Sequence[Stack], aws: Aws) -> list[Source]:
    """Every source to poll for these stacks, as the environment sets them."""
    return [source for kind in SOURCE_KINDS for source in kind.sources(stacks, aws)]


def is_unread(rule: Rule, reading: Reading, stack: Stack) -> bool:
    """Whether the subject of `rule` is unknown because of a reading that failed."""
    kind = next((kind for kind in SOURCE_KINDS if kind.name == rule.source == reading.source), None)
    if kind is None or any(metric.name == rule.metric and metric.of_other_site for metric in kind.metrics):
        return False
    return kind.scope == "global" or any(rule.site == site and reading.region == stack.region(site) for site in SITES)


def rules_for(stack: Stack) -> tuple[Rule, ...]:
    """Every rule of a stack that is known beforehand; those for events, runs, checks and drills are built as they appear."""
    store = Rule(
        stack=stack.environment_suffix,
        site="global",
        source="store",
        metric="answers",
        topic=divided(SOURCES, "store"),
        text="The history store refuses: alerts go out without a delivery log, maintenance windows are not applied",
        below=1.0,
        hold=30.0,
        anchor="the-history-store-refuses",
    )
    host = Rule(
        stack=stack.environment_suffix,
        site="global",
        source="host",
        metric="clock",
        topic=divided(SOURCES, "host"),
        text="The clock of the sensors' host was set: ages of readings around that moment are uncertain",
        below=1.0,
        hold=0.0,
        clear_hold=60.0,
    )
    two_writers = Rule(
        stack=stack.environment_suffix,
        site="global",
        source="writers",
        metric=SINGLE_WRITER,
        topic=TWO_WRITERS,
        text="Both sites accept writes: their data diverge",
        below=1.0,
        severity="critical",
        resource="global/aurora/global-cluster",
        escalate_after=float(stack.rto_seconds),
    )
    outside = replace(
        two_writers,
        source="topology",
        metric=WRITER_INSIDE,
        topic=WRITER_OUTSIDE,
        text="The writer is outside both sites: do not fail over, switch the global database over to a site of the stack",
    )
    rules = (*(rule for site in SITES for rule in _site_rules(stack, site)), two_writers, outside, store, host)
    quantities = {(kind.name, metric.name): metric.quantity for kind in SOURCE_KINDS for metric in kind.metrics}
    return tuple(replace(rule, quantity=quantities[rule.source, rule.metric]) for rule in rules)


def _site_rules(stack: Stack, site: Site) -> Iterator[Rule]:
    yield Rule(
        stack=stack.environment_suffix,
        site=site,
        source="topology",
        metric=MEMBER,
        topic=divided(UNPROTECTED, site),
        text=f"{site} is not a member of the global cluster: unprotected",
        below=1.0,
        unknown_after=LATE_SECONDS,
        observed_first=True,
        severity="critical",
        resource=f"{site}/aurora/cluster",
        escalate_after=float(stack.rto_seconds),
    )
    yield Rule(
        stack=stack.environment_suffix,
        site=site,
        source="readers",
        metric=REACHABLE,
        topic=divided(UNPROTECTED, site),
        text=f"The reader at {site} accepts no connections: nothing to fail over to",
        below=1.0,
        role="reader",
        unknown_after=LATE_SECONDS,
        observed_first=True,
        severity="critical",
        resource=f"{site}/aurora/cluster",
        escalate_after=float(stack.rto_seconds),
    )
    yield from _replication_rules(stack, site)
    yield from _writer_rules(stack, site)
    yield from _capacity_rules(stack, site)
    yield from _key_rules(stack, site)


def _replication_rules(stack: Stack, site: Site) -> Iterator[Rule]:
    limit = float(stack.alarm_thresholds.replication_lag_ms)
    for metric, text in (
        (REPLICATION_LAG, "Replication is behind"),
        (RPO_LAG, "A failover now would lose more commits than the objective allows"),
    ):
        sql = Rule(
            stack=stack.environment_suffix,
            site=site,
            source="sql",
            metric=metric,
            topic=REPLICATION,
            text=text,
            above=limit,
            clear=limit * 0.8,
            unit="ms",
            role="reader",
            severity="critical",
            resource=f"{site}/aurora/cluster",
            covered_by=(WRITER, divided(UNPROTECTED, site)),
            escalate_after=float(stack.rto_seconds),
        )
        # Two data points of one minute each: one spike of a second fills the whole of its minute's maximum.
        yield replace(sql, source="metric", hold=60.0, clear_hold=0.0, unknown_after=LATE_SECONDS)
        yield sql
        yield replace(
            sql,
            source="alarm",
            text=f"{text} (alarm)",
            above=None,
            below=1.0,
            clear=None,
            unit="",
            hold=0.0,
            unknown_after=900.0,
            resource=f"{site}/monitoring/alarm-{metric}",
        )


def _writer_rules(stack: Stack, site: Site) -> Iterator[Rule]:
    refused = "The writer does not accept writes"
    for source, metric, text, hold, unknown in (
        ("metric", CONNECTIVITY, refused, HOLD_SECONDS, PROBE_LATE_SECONDS),
        ("sql", CONNECTIVITY, refused, HOLD_SECONDS, None),
        # The alarm and the health check have waited already.
        ("alarm", CONNECTIVITY, f"{refused} (alarm)", 0.0, None),
        ("health-check", "health-check", "The writer's health check fails", 0.0, None),
        ("region", "answers", "The writer's region does not answer", HOLD_SECONDS, None),
    ):
        yield Rule(
            stack=stack.environment_suffix,
            site=site,
            source=source,
            metric=metric,
            topic=WRITER,
            text=text,
            below=1.0,
            role="writer",
            # Both need minutes to notice that the site, which took no writes as a reader, takes them now.
            settles=SETTLE_SECONDS if source in ("alarm", "health-check") else 0.0,
            hold=hold,
            unknown_after=unknown,
            severity="critical",
            resource=f"{site}/aurora/cluster",
            escalate_after=float(stack.rto_seconds),
        )


def _capacity_rules(stack: Stack, site: Site) -> Iterator[Rule]:
    limits = stack.alarm_thresholds
    for metric, limit, unit in ((CPU, limits.cpu_percent, "percent"), (CONNECTIONS, limits.connections, "count")):
        yield Rule(
            stack=stack.environment_suffix,
            site=site,
            source="metric",
            metric=metric,
            topic=divided(CAPACITY, metric),
            text=f"{metric} is above its limit",
            above=float(limit),
            clear=limit * 0.9,
            unit=unit,
            role="writer",
            hold=120.0,
            clear_hold=60.0,
            unknown_after=900.0,
            resource=f"{site}/aurora/cluster",
            covered_by=(WRITER,),
        )


def _key_rules(stack: Stack, site: Site) -> Iterator[Rule]:
    for metric in keys.METRICS:
        yield Rule(
            stack=stack.environment_suffix,
            site=site,
            source="key",
            metric=metric,
            topic=divided(KEYS, site, metric),
            text=f"The {metric.replace('-', ' ')} cannot be used; scheduled for deletion, it takes what it encrypts with it",
            below=1.0,
            unknown_after=LATE_SECONDS,
            observed_first=True,
            severity="critical",
            resource=f"{site}/aurora/cluster" if metric == keys.CLUSTER_KEY else f"{site}/encryption/{metric}",
            **AT_ONCE,
        )
