"""Incidents: opened, escalated, resolved; each with evidence and with what is lost, read from the lineage. Pure.

May import `core`, `catalog`, `stack` and `telemetry`'s nouns. One incident is one topic of one stack; its number counts up,
so that two who see the same thing give it the same name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from dr_assets import utc
from dr_assets.monitoring.rules import Severity

Step = Literal["opened", "escalated", "resolved", "silenced", "joined"]
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
class Incident:
    """One topic of one stack gone wrong. Times are epoch seconds, UTC.

    told   whether anybody was told (not while a maintenance window silences it)
    calm   since when nothing of it is in breach any more; None while something is
    wait   seconds of calm before it is resolved: grows with every time it came back, so that flapping alerts once
    """

    stack: str
    topic: str
    number: int
    severity: Severity
    opened: float
    since: float
    breaches: tuple[str, ...]
    evidence: tuple[str, ...]
    text: str
    runbook: str
    value: float | None
    unit: str
    objective: str
    resource: str
    site: str
    escalate_after: float
    wait: float = 0.0
    calm: float | None = None
    told: bool = True
    escalated: bool = False
    ended: float | None = None

    @property
    def id(self) -> str:
        return f"{self.stack}-{self.topic}-{self.number:06d}"

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Incident:
        return cls(**{**data, "breaches": tuple(data["breaches"]), "evidence": tuple(data["evidence"])})


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
        wait=wait,
        told=told,
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
    calm = None if own else incident.calm if incident.calm is not None else now
    seen = tuple(dict.fromkeys((*incident.breaches, *current)))
    after = replace(incident, breaches=seen, evidence=evidence, calm=calm)
    if not incident.escalated and own and (rises or now - incident.opened >= incident.escalate_after):
        after = replace(after, escalated=True, severity="critical")
        steps.append("escalated")
    if calm is not None and now - calm >= incident.wait:
        after = replace(after, ended=now)
        steps.append("resolved")
    return after, steps
