"""What is watched and from when on it is bad: one rule for each subject, made from the stack file. Pure.

May import `stack`, `core` and `catalog` (names). A rule's key is the subject of the samples it judges.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from dr_assets.core.expressions import Role
from dr_assets.monitoring.samples import CONNECTIONS, CONNECTIVITY, CPU, REPLICATION_LAG, RPO_LAG
from dr_assets.stack import SITES, Site, Stack

Severity = Literal["critical", "warning"]

# Topics: an incident is one topic of one stack, and each topic belongs to exactly one sensor.
WRITER, REPLICATION, CAPACITY, SOURCES = "writer", "replication", "capacity", "sources"
EVENTS, DRIFT, RUNS, DRILLS = "events", "drift", "runs", "drills"
OWNER: dict[str, str] = {
    WRITER: "health_checks",
    SOURCES: "health_checks",
    REPLICATION: "replication_lag",
    CAPACITY: "replication_lag",
    EVENTS: "event_queue",
    DRIFT: "drift",
    RUNS: "run_failure",
    DRILLS: "drill_overdue",
}
TEAM: dict[str, str] = {CAPACITY: "database", DRIFT: "platform", RUNS: "platform", SOURCES: "platform"}

# CloudWatch's one-minute metrics arrive up to two minutes late; the probe writes every few seconds.
LATE_SECONDS, PROBE_LATE_SECONDS = 240.0, 90.0
# The daemon ticks every 5 to 10 s: a hold of 8 s is two bad readings in a row at either pace, and one at neither.
HOLD_SECONDS, CLEAR_SECONDS = 8.0, 20.0


@dataclass(frozen=True)
class Rule:
    """When a subject is in breach. Durations in seconds.

    above/below    breach beyond this value (exclusive); one of them is set, or neither where only silence matters
    clear          the value that ends a breach (inclusive): hysteresis. None: the threshold itself
    role           the role its site must have for the rule to apply; None: always
    hold           how long a breach lasts, by the source's own clock, before it is one
    clear_hold     how long the values are good before it is over
    unknown_after  silence that is itself worth an alert; None: silence is of no interest
    resource       the catalogue's key by which the blast radius is read from the lineage
    covered_by     topics that explain this breach: while one of them is open it is evidence there, not an alert of its own
    """

    stack: str
    site: str
    source: str
    metric: str
    topic: str
    text: str
    runbook: str
    above: float | None = None
    below: float | None = None
    clear: float | None = None
    unit: str = ""
    role: Role | None = None
    hold: float = HOLD_SECONDS
    clear_hold: float = CLEAR_SECONDS
    unknown_after: float | None = None
    severity: Severity = "warning"
    resource: str = ""
    covered_by: tuple[str, ...] = ()
    escalate_after: float = 3600.0

    @property
    def key(self) -> str:
        return f"{self.stack}/{self.site}/{self.source}/{self.metric}"

    @property
    def objective(self) -> str:
        if self.above is not None:
            return f"at most {self.above:g} {self.unit}".strip()
        return f"at least {self.below:g} {self.unit}".strip() if self.below is not None else "a reading"

    def breached(self, value: float, raised: bool) -> bool | None:
        """True: bad. False: good. None: between the two thresholds, which changes nothing."""
        if (self.above is not None and value > self.above) or (self.below is not None and value < self.below):
            return True
        if raised and self.clear is not None and (value > self.clear if self.above is not None else value < self.clear):
            return None
        return False


def rules_for(stack: Stack) -> tuple[Rule, ...]:
    """Every rule of a stack that can be known beforehand; those for events, runs and resources are made as they appear."""
    store = Rule(
        stack.environment_suffix,
        "global",
        "store",
        "answers",
        SOURCES,
        "The history store refuses: alerts go out without a ledger, maintenance windows are not seen",
        "docs/runbooks.md#the-history-store-refuses",
        below=1.0,
        hold=30.0,
    )
    return (*(rule for site in SITES for rule in _site_rules(stack, site)), store)


def _site_rules(stack: Stack, site: Site) -> Iterator[Rule]:
    s, limits = stack.environment_suffix, stack.alarm_thresholds
    lag, soon = float(limits.replication_lag_ms), float(stack.rto_seconds)
    fail = "docs/runbooks.md#the-writer-is-down"
    behind = "docs/runbooks.md#replication-is-behind"
    for metric, told in (
        (REPLICATION_LAG, "Replication is behind"),
        (RPO_LAG, "A failover now would lose more commits than the objective allows"),
    ):
        cluster = f"{site}/aurora/cluster"
        # Two data points of one minute each: one spike of a second fills the whole of its minute's maximum.
        yield Rule(
            s,
            site,
            "metric",
            metric,
            REPLICATION,
            told,
            behind,
            above=lag,
            clear=lag * 0.8,
            unit="ms",
            role="reader",
            hold=60.0,
            clear_hold=0.0,
            unknown_after=LATE_SECONDS,
            severity="critical",
            resource=cluster,
            covered_by=(WRITER,),
            escalate_after=soon,
        )
        yield Rule(
            s,
            site,
            "sql",
            metric,
            REPLICATION,
            told,
            behind,
            above=lag,
            clear=lag * 0.8,
            unit="ms",
            role="reader",
            severity="critical",
            resource=cluster,
            covered_by=(WRITER,),
            escalate_after=soon,
        )
        yield Rule(
            s,
            site,
            "alarm",
            metric,
            REPLICATION,
            f"{told} (alarm)",
            behind,
            below=1.0,
            role="reader",
            hold=0.0,
            unknown_after=900.0,
            severity="critical",
            resource=f"{site}/monitoring/alarm-{metric}",
            covered_by=(WRITER,),
            escalate_after=soon,
        )
    for source, metric, told, hold, unknown in (
        ("metric", CONNECTIVITY, "The writer does not accept writes", HOLD_SECONDS, PROBE_LATE_SECONDS),
        ("sql", CONNECTIVITY, "The writer does not accept writes", HOLD_SECONDS, None),
        # The alarm and the health check have waited already.
        ("alarm", CONNECTIVITY, "The writer does not accept writes (alarm)", 0.0, None),
        ("health-check", "health-check", "The writer's health check fails", 0.0, None),
        ("region", "answers", "The writer's region does not answer", HOLD_SECONDS, None),
    ):
        yield Rule(
            s,
            site,
            source,
            metric,
            WRITER,
            told,
            fail,
            below=1.0,
            unit="",
            role="writer",
            hold=hold,
            unknown_after=unknown,
            severity="critical",
            resource=f"{site}/aurora/cluster",
            escalate_after=soon,
        )
    for metric, limit, unit in ((CPU, limits.cpu_percent, "percent"), (CONNECTIONS, limits.connections, "count")):
        yield Rule(
            s,
            site,
            "metric",
            metric,
            CAPACITY,
            f"{metric} is above its limit",
            "docs/runbooks.md#capacity",
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


def owner_of(topic: str) -> str:
    """The sensor that tells of a topic; none for a test alert. Topics may be divided further, as in `runs.verify_stack`."""
    return OWNER.get(topic.split(".", maxsplit=1)[0], "")


def team_of(topic: str) -> str:
    """Who is told first."""
    return TEAM.get(topic.split(".", maxsplit=1)[0], "on-call")


def by_key(rules: Sequence[Rule]) -> dict[str, Rule]:
    return {rule.key: rule for rule in rules}
