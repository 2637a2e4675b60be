"""What a person reads: an alert composed from one step of an incident."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dr_assets import escape, utc
from dr_assets.core.model import Resource
from dr_assets.history.documents import Incident
from dr_assets.monitoring.incidents import Transition
from dr_assets.monitoring.topics import team_of
from dr_assets.resources.lineage import capabilities_lost, dependents

# SNS takes 262,144 bytes (API reference of Publish), of up to four for each character: so many lines of so many characters.
LINE_LIMIT, EVIDENCE_LIMIT = 1000, 50


@dataclass(frozen=True)
class Alert:
    """The message for every channel. `key` is the transition's idempotency key; `link` leads to Dagster, `""`: nowhere."""

    key: str
    step: str
    incident: Incident
    subject: str
    text: str
    team: str
    link: str
    lost: tuple[str, ...]


def compose(transition: Transition, resources: Mapping[str, Resource], link: str = "") -> Alert:
    """What, since when, value against objective, lost capabilities, runbook section, evidence, link and owning team."""
    incident = transition.incident
    known = incident.resource in resources
    lost = tuple(capabilities_lost(resources, incident.resource)) if known else ()
    radius = len(dependents(resources, incident.resource)) if known else 0
    word = incident.severity.upper() if transition.step == "opened" else transition.step.upper()
    value = "unknown" if incident.value is None else f"{incident.value:g} {incident.unit}".strip()
    until = f" until {_clock(incident.ended)}" if incident.ended else ""
    team = team_of(incident.topic)
    more = len(incident.evidence) - EVIDENCE_LIMIT
    lines = [
        f"{word}: {incident.text} (stack {incident.stack}, {incident.site})",
        f"Since: {_clock(incident.since)}{until}",
        f"Value: {value}; objective: {incident.objective}",
        *([f"Lost: {'; '.join(lost)}"] if lost else []),
        *([f"Depends on {incident.resource}: {radius} resources"] if radius else []),
        f"Do: {incident.runbook}",
        "Evidence:",
        *(f"- {line}" for line in incident.evidence[:EVIDENCE_LIMIT]),
        *([f"- … and {more} more lines"] if more > 0 else []),
        *([f"Link: {link}"] if link else []),
        f"Owner: {team}. Incident: {incident.id}. Key: {transition.key}",
    ]
    subject = escape.line(f"[{word}] {incident.stack}: {incident.text}")
    return Alert(
        key=transition.key,
        step=transition.step,
        incident=incident,
        # SNS refuses other characters, control characters, and 100 characters or more (API reference of Publish).
        subject=subject.encode("ascii", "replace").decode()[:99],
        text="\n".join(_cut(escape.line(line)) for line in lines),  # no line of the evidence passes for one of ours
        team=team,
        link=link,
        lost=lost,
    )


def _cut(line: str) -> str:
    return line if len(line) <= LINE_LIMIT else f"{line[: LINE_LIMIT - 1]}…"


def _clock(seconds: float) -> str:
    return utc.from_epoch(seconds).strftime("%Y-%m-%d %H:%M:%S UTC")
