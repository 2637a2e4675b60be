"""What is armed, silenced and open now, read from the history store: for `dr alert status`.

May import `history.store` and telemetry. Reads only. It says what the sensors told and wrote, not how things stand in AWS.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from dr_assets import utc
from dr_assets.alerting.delivery import Ledger
from dr_assets.alerting.maintenance_windows import Window, windows
from dr_assets.errors import DrError
from dr_assets.failover.vote import Arming, armed
from dr_assets.history.documents import Incident
from dr_assets.history.store import Store

STUCK_SECONDS = 60.0


@dataclass(frozen=True)
class Overview:
    """`open`: incidents that somebody was told of; `untold`: those that a maintenance window keeps quiet; `undelivered`:
    steps of incidents, in the outbox, that no tick has seen delivered yet."""

    stack: str
    at: datetime
    arming: Arming | None
    silences: tuple[Window, ...]
    open: tuple[Incident, ...]
    untold: tuple[Incident, ...]
    undelivered: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "stack": self.stack,
            "at": utc.to_text(self.at),
            "armed": _plain(self.arming) if self.arming else None,
            "silenced": [_plain(each) for each in self.silences],
            "open": [_told(each) for each in self.open],
            "untold": [_told(each) for each in self.untold],
            "undelivered": list(self.undelivered),
        }


def overview(store: Store, stack: str, now: datetime) -> Overview:
    """Raises DrError where the store does not answer or holds what cannot be read."""
    return Overview(
        stack,
        now,
        armed(store, stack, now),
        tuple(window for window in windows(store, stack, now) if window.silences(now)),
        tuple(incident for _, incident, _ in Ledger(store).told(stack).values() if incident is not None),
        tuple(_untold(store, stack)),
        tuple(_undelivered(store, stack, now)),
    )


def _undelivered(store: Store, stack: str, now: datetime) -> Iterator[str]:
    """An outbox entry goes when the next tick finds it in its cursor. One that nobody confirmed, or that stays, is stuck."""
    delivered = {key.rsplit("/", 1)[1].rsplit(".", 2)[0] for key in _confirmed(store, stack)}
    for key in store.list(f"outbox/{stack}/"):
        name = key.rsplit("/", 1)[1].removesuffix(".json")
        try:
            age = now.timestamp() - float(json.loads(store.read(key))["at"])
        except KeyError:
            continue  # gone since it was listed
        except (ValueError, TypeError):
            age = STUCK_SECONDS
        if name not in delivered or age >= STUCK_SECONDS:
            yield name


def _confirmed(store: Store, stack: str) -> list[str]:
    return [key for key in store.list(f"alerts/{stack}/") if ".claim-" not in key]


def _untold(store: Store, stack: str) -> list[Incident]:
    """What began under a maintenance window, has not ended and was not told of since."""
    names = {key.rsplit("/", 1)[1] for key in store.list(f"maintenance/{stack}/trace/")}
    told = {key.rsplit("/", 1)[1].rsplit(".", 3)[0] for key in _confirmed(store, stack)}
    found = []
    for name in sorted(names):
        incident, _, phase = name.removesuffix(".json").rpartition(".")
        if phase == "begun" and f"{incident}.ended.json" not in names and incident not in told:
            key = f"maintenance/{stack}/trace/{name}"
            try:
                found.append(Incident.from_json(json.loads(store.read(key))["incident"]))
            except (KeyError, ValueError, TypeError) as error:
                raise DrError(f"{key} in {store.uri} cannot be read: {error}. Remove it.") from error
    return found


def _told(incident: Incident) -> dict[str, Any]:
    since = utc.from_epoch(incident.since)
    return {
        "id": incident.id,
        "topic": incident.topic,
        "severity": incident.severity,
        "since": utc.to_text(since),
        "site": incident.site,
        "what": incident.text,
        "escalated": incident.escalated,
        "runbook": incident.runbook,
        "evidence": list(incident.evidence),
    }


def _plain(each: Arming | Window) -> dict[str, Any]:
    return {name: utc.to_text(value) if isinstance(value, datetime) else value for name, value in asdict(each).items()}
