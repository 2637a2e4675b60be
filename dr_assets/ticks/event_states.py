"""Apply queue messages to the open event conditions: open, refresh or clear them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from dr_assets import utc
from dr_assets.core.freshness import is_future
from dr_assets.monitoring.event_conditions import condition_of
from dr_assets.monitoring.samples import REPORTED, Message, Sample
from dr_assets.monitoring.state import EventState, SensorMemory
from dr_assets.stack import SITES, Site, Stack
from dr_assets.ticks.event_queue import KINDS, event_id

# Message ids that are remembered, so that a repetition changes nothing; how long an ended condition is.
HANDLED_LIMIT = 500
ENDED_SECONDS = 3600.0
# An event received so long after its time counts from when it was received.
LATE_SECONDS = 3600.0


@dataclass(frozen=True)
class Processed:
    """`confirmed`: deliveries that messages prove. `open`: conditions that last, as SITE/CONDITION."""

    memory: SensorMemory
    samples: tuple[Sample, ...]
    confirmed: tuple[str, ...]
    open: frozenset[str]


def process(
    stack: Stack,
    memory: SensorMemory,
    messages: Iterable[Message],
    failures: Mapping[Site, tuple[str, str]],
    now: datetime,
) -> Processed:
    """What the messages and the queues' own failures change. `failures`: as `Queues.exchange` gives them."""
    clock = now.timestamp()
    events = {name: event for name, event in memory.events.items() if name.split("/", 1)[0] in SITES and "/" in name}
    handled = dict(memory.handled)
    receipts: dict[str, tuple[str, ...]] = {}
    samples: list[Sample] = []
    confirmed: list[str] = []
    ended: set[str] = set()
    for message in sorted((_dated(message, now) for message in messages), key=lambda message: message.at):
        if message.kind == "poison":  # left to the dead-letter queue
            begun = message.at.timestamp()
            events[f"{message.site}/poison"] = EventState(since=begun, at=clock, note=message.id)
            continue
        if message.receipt:
            receipts[message.site] = (*receipts.get(message.site, ()), message.receipt)
        fingerprint = message.fingerprint or message.id
        if fingerprint in handled:
            continue
        handled[fingerprint] = clock
        meaning = KINDS[message.kind].meaning(stack, message)
        confirmed += meaning.confirms
        samples += meaning.samples
        there = replace(message, site=meaning.site or message.site)
        ended.update(apply(there, meaning.conditions, events, meaning.note, clock))
    for site in SITES:
        condition, problem = failures.get(site, ("", ""))
        for what in ("unread", "unanswered"):
            name = f"{site}/{what}"
            if what == condition:
                since = events[name].since if name in events else clock
                events[name] = EventState(since=since, at=clock, note=problem[:200])
            elif events.pop(name, None):
                ended.add(name)
    for name in [name for name, event in events.items() if _is_over(name, event, clock)]:
        del events[name]
        ended.add(name)
    lasting = frozenset(name for name, event in events.items() if not event.done)
    for name in sorted(lasting | ended):
        site_name, what = name.split("/", 1)
        note = events[name].note if name in events else ""
        value = 0.0 if name in lasting else 1.0
        samples.append(Sample(now, stack.environment_suffix, site_name, "events", what, value, REPORTED, note))
    kept = SensorMemory(receipts=receipts, events=events, handled=dict(list(handled.items())[-HANDLED_LIMIT:]))
    return Processed(kept, tuple(samples), tuple(confirmed), lasting)


def _dated(message: Message, now: datetime) -> Message:
    """The message with a time that orders it among the others, and what is doubtful about that."""
    if is_future(message.at, now):  # it would let no later event end what this one begins
        return replace(message, at=now, doubt=f"its time, {utc.to_text(message.at)}, is ahead of ours")
    if not message.doubt and _is_late(message, now.timestamp()):
        return replace(message, doubt=f"it is of {utc.to_text(message.at)} and arrived late")
    return replace(message, at=min(message.at, now))


def _is_late(message: Message, clock: float) -> bool:
    return clock - message.at.timestamp() > LATE_SECONDS


def apply(
    message: Message,
    conditions: Iterable[tuple[str, bool]],
    events: dict[str, EventState],
    note: str = "",
    clock: float | None = None,
) -> list[str]:
    """Begin (True) or end (False) the message's conditions in `events`; messages may come in any order. Returns what ended.

    `note`: the evidence, by default the text of the RDS event. `clock`: when it was received (epoch seconds): what nobody received
    for a week, because the daemon was down, is alerted all the same.
    """
    ended = []
    at = message.at.timestamp()
    arrived = clock if clock is not None and _is_late(message, clock) else None
    for what, begins in conditions:
        name = f"{message.site}/{what}"
        last = events.get(name)
        if begins:
            if last is None or last.at < at:
                text = note or f"{event_id(message)}: {message.body.get('Event Message', '')}"[:200]
                text = f"{text[:120]} ({message.doubt})" if message.doubt else text
                events[name] = EventState(since=at, at=at, note=text, arrived=arrived)
        elif last is None:
            events[name] = EventState(since=at, at=at, done=True, arrived=arrived)
        elif last.at <= at:
            events[name] = last.model_copy(update={"at": at, "done": True, "arrived": arrived})
            ended.append(name)
    return ended


def _is_over(name: str, event: EventState, clock: float) -> bool:
    """Ended long ago, or no event has ended it for so long that it is taken to be over."""
    longest = ENDED_SECONDS if event.done else condition_of(name.split("/", 1)[1]).longest
    return clock - max(event.at, event.arrived or event.at) > longest
