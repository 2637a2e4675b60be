"""Alert status of a stack, read from the history store: what is armed, suppressed, open and undelivered.

Reads only what the sensors wrote; does not query AWS.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dr_assets import utc
from dr_assets.alerting.delivery import DeliveryLog
from dr_assets.alerting.maintenance_windows import Window, windows
from dr_assets.documents import DocumentError
from dr_assets.errors import DrError
from dr_assets.failover.arming import Arming, armed
from dr_assets.history.documents import Incident, SuppressedIncident
from dr_assets.history.store import Store
from dr_assets.monitoring.state import OutboxEntry

STUCK_SECONDS = 60.0


@dataclass(frozen=True)
class AlertStatus:
    """The state at one moment.

    windows      open maintenance windows
    open         open incidents whose alert was delivered
    suppressed   open incidents whose alert a maintenance window suppresses
    undelivered  transitions in the outbox that no channel took, or that stayed there too long
    """

    stack: str
    at: datetime
    arming: Arming | None
    windows: tuple[Window, ...]
    open: tuple[Incident, ...]
    suppressed: tuple[Incident, ...]
    undelivered: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "stack": self.stack,
            "at": utc.to_text(self.at),
            "armed": self.arming.model_dump(mode="json") if self.arming else None,
            "silenced": [window.model_dump(mode="json", exclude={"planned_until"}) for window in self.windows],
            "open": [_summary(incident) for incident in self.open],
            "untold": [_summary(incident) for incident in self.suppressed],
            "undelivered": list(self.undelivered),
        }


def alert_status(store: Store, stack: str, now: datetime) -> AlertStatus:
    """Raises DrError where the store does not answer or holds a document that cannot be read."""
    deliveries = DeliveryLog(store)
    delivered = deliveries.delivered(stack)
    problems: list[str] = []
    latest = deliveries.latest(stack, problems)
    if problems:
        raise DrError(" ".join(problems))
    return AlertStatus(
        stack=stack,
        at=now,
        arming=armed(store, stack, now),
        windows=tuple(window for window in windows(store, stack, now) if window.is_open(now)),
        open=tuple(each.incident for each in latest.values() if each.incident is not None),
        suppressed=tuple(_suppressed(store, stack, delivered)),
        undelivered=tuple(_undelivered(store, stack, now, delivered)),
    )


def _undelivered(store: Store, stack: str, now: datetime, delivered: set[str]) -> Iterator[str]:
    """An outbox entry goes once the next tick finds it in its cursor. One that is unconfirmed, or that stays, is stuck."""
    for key in store.list(f"outbox/{stack}/"):
        name = key.rsplit("/", 1)[1].removesuffix(".json")
        try:
            age = now.timestamp() - OutboxEntry.from_bytes(store.read(key), key).at
        except KeyError:
            continue  # removed since it was listed
        except DocumentError:
            age = STUCK_SECONDS
        if name not in delivered or age >= STUCK_SECONDS:
            yield name


def _suppressed(store: Store, stack: str, delivered: set[str]) -> Iterator[Incident]:
    """Incidents that began under a maintenance window, are open, and have not been delivered since."""
    names = {key.rsplit("/", 1)[1] for key in store.list(f"maintenance/{stack}/trace/")}
    known = {transition.rpartition(".")[0] for transition in delivered}
    for name in sorted(names):
        incident, _, phase = name.removesuffix(".json").rpartition(".")
        if phase == "begun" and f"{incident}.ended.json" not in names and incident not in known:
            key = f"maintenance/{stack}/trace/{name}"
            try:
                yield SuppressedIncident.from_bytes(store.read(key), f"{key} in {store.uri}").incident
            except KeyError:
                continue  # removed since it was listed
            except DocumentError as error:
                raise DrError(error.with_remedy("Remove it.")) from error


def _summary(incident: Incident) -> dict[str, Any]:
    kept = {"topic", "severity", "site", "escalated", "runbook", "evidence"}
    return {
        "id": incident.id,
        "since": utc.to_text(utc.from_epoch(incident.since)),
        "what": incident.text,
        **incident.model_dump(mode="json", include=kept),
    }
