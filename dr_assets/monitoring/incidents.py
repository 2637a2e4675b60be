"""Incidents: opened, escalated, resolved; each with evidence and with what is lost, read from the lineage. Pure.

May import `core`, `catalog`, `stack` and `telemetry`'s nouns. One incident is one topic of one stack; its number counts up,
so that two who see the same thing give it the same name.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dr_assets import utc
from dr_assets.history.documents import Incident, Step
from dr_assets.monitoring.rule import Severity

TOLD: tuple[Step, ...] = ("opened", "escalated", "resolved")
EVIDENCE_LIMIT = 20


@dataclass(frozen=True)
class Breach:
    """A rule that is in breach (or whose source has been silent too long). `since`: epoch seconds, UTC."""

    key: str
    topic: str
    stack: str
    site: str
    source: str
    metric: str
    since: float
    text: str
    runbook: str
    value: float | None
    unit: str
    objective: str
    severity: Severity
    resource: str
    silent: bool = False
    covered_by: tuple[str, ...] = ()
    escalate_after: float = 3600.0
    note: str = ""

    @property
    def words(self) -> str:
        """One line of evidence: what, where, value against objective, since when."""
        value = "unknown" if self.value is None else f"{self.value:g} {self.unit}".strip()
        at = utc.from_epoch(self.since).strftime("%H:%M:%S")
        said = f" ({self.note})" if self.note else ""
        return f"{self.source} at {self.site}: {self.text}: {value}, objective {self.objective}, since {at} UTC{said}"


@dataclass(frozen=True)
class Transition:
    """A step of an incident. `key` is its idempotency key: the same for whoever sees the same step."""

    step: Step
    incident: Incident
    at: float

    @property
    def key(self) -> str:
        return f"{self.incident.id}.{self.step}"


def open_incident(breach: Breach, number: int, now: float, wait: float, told: bool) -> Incident:
    return Incident(
        stack=breach.stack,
        topic=breach.topic,
        number=number,
        severity=breach.severity,
        opened=now,
        since=breach.since,
        breaches=(breach.key,),
        evidence=(breach.words,),
        text=breach.text,
        runbook=breach.runbook,
        value=breach.value,
        unit=breach.unit,
        objective=breach.objective,
        resource=breach.resource,
        site=breach.site,
        escalate_after=breach.escalate_after,
        resolve_after=wait,
        notified=told,
    )


def follow(incident: Incident, breaches: Iterable[Breach], now: float) -> tuple[Incident, list[Step]]:
    """One tick further with what is in breach now (explained ones included). Steps: joined, escalated, resolved."""
    current = {breach.key: breach for breach in breaches}
    steps: list[Step] = []
    new = [breach for key, breach in current.items() if key not in incident.breaches]
    evidence = (*incident.evidence, *(breach.words for breach in new))[:EVIDENCE_LIMIT]
    rises = incident.severity == "warning" and any(
        breach.severity == "critical" and breach.topic == incident.topic for breach in current.values()
    )
    if new:
        steps.append("joined")
    own = any(breach.topic == incident.topic for breach in current.values())
    calm = None if own else incident.clear_since if incident.clear_since is not None else now
    seen = tuple(dict.fromkeys((*incident.breaches, *current)))
    after = incident.updated(breaches=seen, evidence=evidence, clear_since=calm)
    if not incident.escalated and own and (rises or now - incident.opened >= incident.escalate_after):
        after = after.updated(escalated=True, severity="critical")
        steps.append("escalated")
    if calm is not None and now - calm >= incident.resolve_after:
        after = after.updated(ended=now)
        steps.append("resolved")
    return after, steps
