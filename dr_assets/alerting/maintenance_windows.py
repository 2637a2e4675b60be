"""Maintenance windows: for a while nobody is told, and that is written down. May import `history.store` and `errors`.

A window always ends. What begins under it and goes on after it is told of then; what ends under it leaves its trace only.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from dr_assets import utc
from dr_assets.errors import DrError, RefusedError
from dr_assets.history.store import Store
from dr_assets.monitoring.incidents import Transition

LONGEST = timedelta(hours=24)


@dataclass(frozen=True)
class Window:
    """Silence for one stack. `topic` is one topic or `*`. Times are UTC; `until` is exclusive."""

    id: str
    stack: str
    topic: str
    start: datetime
    until: datetime
    by: str
    why: str

    def silences(self, now: datetime) -> bool:
        return self.start <= now < self.until


def open_window(
    store: Store, stack: str, start: datetime, until: datetime, by: str, why: str, topic: str = "*"
) -> Window:
    """Announce a window. Raises RefusedError without an end within 24 hours, a person and a reason."""
    if not start < until <= start + LONGEST:
        raise RefusedError("A maintenance window ends after it begins and within 24 hours. Give another end.")
    if not by.strip() or not why.strip():
        raise RefusedError("A maintenance window needs a person and a reason. Give both.")
    window = Window(f"{start:%Y%m%dT%H%M%S}-{topic.replace('*', 'all')}", stack, topic, start, until, by, why)
    document = {
        "schema": "dr-assets/maintenance/1",
        "id": window.id,
        "stack": stack,
        "topic": topic,
        "from": utc.to_text(start),
        "until": utc.to_text(until),
        "by": by,
        "why": why,
    }
    store.create(_key(stack, window.id), _bytes(document))
    return window


def close_window(store: Store, window: Window, now: datetime) -> None:
    """End a window before its time."""
    document = json.loads(store.read(_key(window.stack, window.id)))
    store.write(
        _key(window.stack, window.id),
        _bytes({**document, "until": utc.to_text(now), "planned_until": utc.to_text(window.until)}),
    )


def windows(store: Store, stack: str, since: datetime | None = None) -> list[Window]:
    """The stack's windows; with `since` those only that may last until then. Raises DrError where one cannot be read."""
    found = []
    # A window's name begins with its start, and none is longer than LONGEST: old ones need not be read.
    oldest = f"{since - LONGEST:%Y%m%dT%H%M%S}" if since else ""
    for key in store.list(f"maintenance/{stack}/window/"):
        if key.rsplit("/", 1)[1] < oldest:
            continue
        try:
            data = json.loads(store.read(key))
            found.append(
                Window(
                    data["id"],
                    stack,
                    data["topic"],
                    utc.parse(data["from"]),
                    utc.parse(data["until"]),
                    data["by"],
                    data["why"],
                )
            )
        except KeyError:
            continue  # removed since it was listed
        except ValueError as error:
            raise DrError(
                f"The maintenance window {key} in {store.uri} cannot be read: {error}. Correct it."
            ) from error
    return found


def silenced(store: Store, stack: str, now: datetime) -> frozenset[str]:
    """What is silent now, as `stack/topic` or `stack/*`."""
    return frozenset(f"{stack}/{window.topic}" for window in windows(store, stack, now) if window.silences(now))


def leave_trace(store: Store, transition: Transition, now: datetime) -> None:
    """Write down what nobody was told."""
    incident = transition.incident
    phase = "ended" if incident.ended else "begun"
    document = {"at": utc.to_text(now), "transition": transition.key, "incident": incident.as_json()}
    store.write(f"maintenance/{incident.stack}/trace/{incident.id}.{phase}.json", _bytes(document))


def _key(stack: str, window: str) -> str:
    return f"maintenance/{stack}/window/{window}.json"


def _bytes(document: dict[str, Any]) -> bytes:
    return json.dumps(document, indent=1, sort_keys=True).encode()
