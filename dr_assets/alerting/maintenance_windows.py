"""Maintenance windows: suppress a stack's alerts for a while and keep a trace of each suppressed incident.

A window always ends. An incident that opens during it and outlasts it is delivered when it ends; one that is over by then leaves
its trace alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta

from pydantic import Field

from dr_assets import utc
from dr_assets.caller import CallerIdentity
from dr_assets.documents import DocumentError, UtcTime, quoted, storable
from dr_assets.errors import RefusedError
from dr_assets.history.documents import SuppressedIncident, Upgradable
from dr_assets.history.reading import Found, read_all
from dr_assets.history.store import Store
from dr_assets.monitoring.incidents import Transition
from dr_assets.monitoring.topics import TOPIC_LENGTH, TOPICS, topic_of

LONGEST = timedelta(hours=24)
_TOPIC = re.compile(rf"[A-Za-z0-9_.-]{{1,{TOPIC_LENGTH}}}")


class Window(Upgradable):
    """`maintenance/STACK/window/ID.json`: `topic` is one topic with all its parts, or `*`; `until` is exclusive.

    `planned_until`: the end it was opened with, where it was closed earlier, by `closed_by`. `caller`: the AWS identity of whoever opened
    it, beside the name given. All three are None in windows of earlier versions.
    """

    SCHEMA = "dr-assets/maintenance-window/1"
    EARLIER = "dr-assets/maintenance/1"

    id: str
    stack: str
    topic: str
    start: UtcTime = Field(validation_alias="from", serialization_alias="from")
    until: UtcTime
    by: str
    why: str
    planned_until: UtcTime | None = None
    caller: CallerIdentity | None = None
    closed_by: CallerIdentity | None = None

    def is_open(self, now: datetime) -> bool:
        return self.start <= now < self.until


def open_window(
    store: Store,
    stack: str,
    start: datetime,
    until: datetime,
    by: str,
    why: str,
    topic: str = "*",
    caller: CallerIdentity | None = None,
) -> Window:
    """Announce a window. Raises RefusedError without an end within 24 hours, a person and a reason, or for an unknown topic."""
    if topic != "*" and not (_TOPIC.fullmatch(topic) and topic_of(topic)):
        raise RefusedError(f"There is no topic {storable(topic)}. Give one of {', '.join(TOPICS)}, or a part of one.")
    if not start < until <= start + LONGEST:
        raise RefusedError("A maintenance window ends after it begins and within 24 hours. Give another end.")
    if not by.strip() or not why.strip():
        raise RefusedError("A maintenance window needs a person and a reason. Give both.")
    name = f"{start:%Y%m%dT%H%M%S}-{topic.replace('*', 'all')}"
    by, why = storable(by), storable(why)
    window = Window(id=name, stack=stack, topic=topic, start=start, until=until, by=by, why=why, caller=caller)
    try:
        store.create(_key(stack, name), window.to_bytes())
    except FileExistsError:
        raise RefusedError(f"The maintenance window {name} exists already. See `dr alert status`.") from None
    return window


def close_window(store: Store, window: Window, now: datetime, by: CallerIdentity | None = None) -> None:
    """End a window early."""
    until = now.astimezone(utc.UTC)
    closed = window.model_copy(update={"until": until, "planned_until": window.until, "closed_by": by})
    store.write(_key(window.stack, window.id), closed.to_bytes())


def windows(store: Store, stack: str, since: datetime | None = None) -> Found[Window]:
    """The stack's windows, and what cannot be used among them; with `since` those only that may last until then.

    Raises DrError where the store does not answer.
    """
    # A window's name begins with its start, and none is longer than LONGEST: old ones need not be read.
    oldest = f"{since - LONGEST:%Y%m%dT%H%M%S}" if since else ""
    prefix = f"maintenance/{stack}/window/"

    def read(data: bytes, key: str) -> Window:
        window = Window.from_bytes(data, f"The maintenance window {key}")
        if window.stack != stack or key != _key(stack, window.id):
            raise DocumentError(
                f"The maintenance window {key} is of the stack {quoted(window.stack)} or has another name."
            )
        if window.until > window.start + LONGEST or not window.by.strip() or not window.why.strip():
            raise DocumentError(
                f"The maintenance window {key} is longer than 24 hours, or without a person or a reason."
            )
        return window

    return read_all(store, prefix, read, lambda key: key.removeprefix(prefix) >= oldest)


def suppressed(found: Iterable[Window], now: datetime) -> frozenset[str]:
    """What open windows suppress, as `stack/topic` or `stack/*`."""
    return frozenset(f"{window.stack}/{window.topic}" for window in found if window.is_open(now))


def trace_suppressed(store: Store, transition: Transition, now: datetime) -> None:
    """Keep a trace of an incident whose alert is suppressed: one when it begins, one when it ends."""
    incident = transition.incident
    phase = "ended" if incident.ended else "begun"
    trace = SuppressedIncident(at=now, transition=transition.key, incident=incident)
    store.write(f"maintenance/{incident.stack}/trace/{incident.id}.{phase}.json", trace.to_bytes())


def _key(stack: str, window: str) -> str:
    return f"maintenance/{stack}/window/{window}.json"
