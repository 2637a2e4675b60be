"""Incidents: a breach opens one, time escalates it, and a period without a breach resolves it. Pure.

One incident is one topic of one stack. Its number counts up, so that two daemons that see the same breach give it the same id.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dr_assets import utc
from dr_assets.history.documents import Incident, IncidentStep
from dr_assets.monitoring.rule import Severity

# The steps that are delivered to people.
NOTIFIED_STEPS: tuple[IncidentStep, ...] = ("opened", "escalated", "resolved")
EVIDENCE_LIMIT = 20


@dataclass(frozen=True)
class Breach:
    """A rule in breach, or a subject that has been unknown for too long. `since`: epoch seconds, UTC."""

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
    covered_by: tuple[str, ...] = ()
    escalate_after: float = 3600.0
    note: str = ""

    @property
    def line(self) -> str:
        """One line of evidence: what, where, value against objective, since when."""
        value = "unknown" if self.value is None else f"{self.value:g} {self.unit}".strip()
        at = utc.from_epoch(self.since).strftime("%H:%M:%S")
        note = f" ({self.note})" if self.note else ""
        return f"{self.source} at {self.site}: {self.text}: {value}, objective {self.objective}, since {at} UTC{note}"


@dataclass(frozen=True)
class Transition:
    """A step of an incident. `key` is its idempotency key: the same for every daemon that takes the step."""

    step: IncidentStep
    incident: Incident
    at: float

    @property
    def key(self) -> str:
        return f"{self.incident.id}.{self.step}"


def open_incident(breach: Breach, number: int, now: float, resolve_after: float, notified: bool) -> Incident:
    return Incident(
        stack=breach.stack,
        topic=breach.topic,
        number=number,
        severity=breach.severity,
        opened=now,
        since=breach.since,
        breaches=(breach.key,),
        evidence=(breach.line,),
        text=breach.text,
        runbook=breach.runbook,
        value=breach.value,
        unit=breach.unit,
        objective=breach.objective,
        resource=breach.resource,
        site=breach.site,
        escalate_after=breach.escalate_after,
        resolve_after=resolve_after,
        notified=notified,
    )


def follow(incident: Incident, breaches: Iterable[Breach], now: float) -> tuple[Incident, list[IncidentStep]]:
    """The incident after one tick and its steps: joined, escalated, resolved. `breaches`: all of this tick, explained ones too."""
    current = {breach.key: breach for breach in breaches}
    steps: list[IncidentStep] = []
    new = [breach for key, breach in current.items() if key not in incident.breaches]
    evidence = (*incident.evidence, *(breach.line for breach in new))[:EVIDENCE_LIMIT]
    rises = incident.severity == "warning" and any(
        breach.severity == "critical" and breach.topic == incident.topic for breach in current.values()
    )
    if new:
        steps.append("joined")
    own = any(breach.topic == incident.topic for breach in current.values())
    clear_since = None if own else incident.clear_since if incident.clear_since is not None else now
    keys = tuple(dict.fromkeys((*incident.breaches, *current)))
    after = incident.updated(breaches=keys, evidence=evidence, clear_since=clear_since)
    if not incident.escalated and own and (rises or now - incident.opened >= incident.escalate_after):
        after = after.updated(escalated=True, severity="critical")
        steps.append("escalated")
    if clear_since is not None and now - clear_since >= incident.resolve_after:
        after = after.updated(ended=now)
        steps.append("resolved")
    return after, steps
