"""Alert status of a stack, read from the history store: what is armed, suppressed, open and undelivered.

Reads only what the sensors wrote; does not query AWS.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dr_assets import escape, utc
from dr_assets.alerting.delivery import DeliveryLog
from dr_assets.alerting.maintenance_windows import Window, windows
from dr_assets.core.freshness import Unknown, elapsed
from dr_assets.documents import DocumentError, quoted
from dr_assets.failover.arming import Arming, Unarmed, read_arming
from dr_assets.history.documents import Incident, SuppressedIncident
from dr_assets.history.quarantine import quarantined
from dr_assets.history.reading import Found, read_all
from dr_assets.history.store import Store
from dr_assets.monitoring.state import OutboxEntry

STUCK_SECONDS = 60.0
# The folders of the sensors themselves, whose damaged objects they set aside.
QUARANTINED = ("alerts", "maintenance", "outbox", "cursor")


@dataclass(frozen=True)
class AlertStatus:
    """The state at one moment.

    unarmed      why no arming is in force
    windows      open maintenance windows
    open         open incidents whose alert was delivered
    suppressed   open incidents whose alert a maintenance window suppresses
    undelivered  transitions in the outbox that no channel took, or that stayed there too long
    set_aside    objects that are not what belongs at their keys, each with its reason: not used here, or quarantined
    """

    stack: str
    at: datetime
    arming: Arming | None
    unarmed: str | None
    windows: tuple[Window, ...]
    open: tuple[Incident, ...]
    suppressed: tuple[Incident, ...]
    undelivered: tuple[str, ...]
    set_aside: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {
            "stack": self.stack,
            "at": utc.to_text(self.at),
            "armed": self.arming.model_dump(mode="json", exclude={"caller"}) if self.arming else None,
            "unarmed": self.unarmed,
            "silenced": [
                window.model_dump(mode="json", exclude={"planned_until", "caller", "closed_by"})
                for window in self.windows
            ],
            "open": [_summary(incident) for incident in self.open],
            "untold": [_summary(incident) for incident in self.suppressed],
            "undelivered": list(self.undelivered),
            "set_aside": list(self.set_aside),
        }


def alert_status(store: Store, stack: str, now: datetime) -> AlertStatus:
    """Raises DrError where the store does not answer."""
    deliveries = DeliveryLog(store, writes=False)
    delivered = deliveries.delivered(stack)
    latest = deliveries.latest(stack)
    arming = read_arming(store, stack, now)
    found = windows(store, stack, now)
    entries = read_all(store, f"outbox/{stack}/", OutboxEntry.from_bytes)
    traces = _open_traces(store, stack, delivered)
    unarmed = arming if isinstance(arming, Unarmed) else None
    refused = [*found.refused, *entries.refused, *traces.refused]
    notes = [*deliveries.notes, *refused, *([unarmed.reason] if unarmed and unarmed.damaged else [])]
    quarantine = [
        f"{key}: quarantined as {place}"
        for folder in QUARANTINED
        for key, place in quarantined(store, f"{folder}/{stack}/")
    ]
    return AlertStatus(
        stack=stack,
        at=now,
        arming=None if isinstance(arming, Unarmed) else arming,
        unarmed=escape.line(unarmed.reason) if unarmed else None,
        windows=tuple(window for window in found.items.values() if window.is_open(now)),
        open=tuple(each.incident for each in latest.values() if each.incident is not None),
        suppressed=tuple(trace.incident for trace in traces.items.values()),
        undelivered=tuple(_undelivered(entries, now, delivered)),
        set_aside=tuple(map(escape.line, [*notes, *quarantine])),
    )


def _undelivered(entries: Found[OutboxEntry], now: datetime, delivered: set[str]) -> Iterator[str]:
    """An outbox entry goes once the next tick finds it in its cursor. One that is unconfirmed, or that stays, is stuck."""
    # One of the future has no age: it would never be stuck.
    ages = {key: elapsed(utc.from_epoch(entry.at), now) for key, entry in entries.items.items()}
    ages.update({each.key: STUCK_SECONDS for each in entries.refused})
    for key, age in sorted(ages.items()):
        name = key.rsplit("/", 1)[1].removesuffix(".json")
        if name not in delivered or isinstance(age, Unknown) or age >= STUCK_SECONDS:
            yield escape.line(name)


def _open_traces(store: Store, stack: str, delivered: set[str]) -> Found[SuppressedIncident]:
    """Incidents that began under a maintenance window, are open, and have not been delivered since."""
    prefix = f"maintenance/{stack}/trace/"
    names = {key.removeprefix(prefix) for key in store.list(prefix)}
    known = {transition.rpartition(".")[0] for transition in delivered}

    def is_open(key: str) -> bool:
        incident, _, phase = key.removeprefix(prefix).removesuffix(".json").rpartition(".")
        return phase != "ended" and f"{incident}.ended.json" not in names and incident not in known

    def read(data: bytes, key: str) -> SuppressedIncident:
        trace = SuppressedIncident.from_bytes(data, key)
        if trace.incident.stack != stack or key != f"{prefix}{trace.incident.id}.begun.json":
            raise DocumentError(f"{key} is about {quoted(trace.incident.id)}.")
        return trace

    return read_all(store, prefix, read, is_open)


def _summary(incident: Incident) -> dict[str, Any]:
    kept = {"topic", "severity", "site", "escalated", "runbook", "evidence"}
    return {
        "id": incident.id,
        "since": utc.to_text(utc.from_epoch(incident.since)),
        "what": incident.text,
        **incident.model_dump(mode="json", include=kept),
    }
