"""Deliver one alert through every channel at least once, deduplicated by a delivery log of claims and confirmations.

The log holds one claim for each attempt and one confirmation for each delivery. Both are created only where none exists, so of
two processes one wins. The guarantees:
- confirmed: never sent again, by any process, after any number of restarts;
- refused by the channel: the claim is withdrawn, the next tick retries from the outbox;
- the store does not answer: sent without a claim, once by this process, and the sensor's cursor records it; only a process that
  dies within that tick, or a second daemon, notifies twice. Twice is better than never;
- claimed but not confirmed (the process died in between, or the answer was lost): unknown. Once the claim is older than its lease
  the alert is sent again. PagerDuty drops the repetition by its key. SNS and Slack have no such key; SNS's own copy of the alert
  returns through the site's event queue and confirms the claim before the lease ends. So: PagerDuty exactly once; SNS once, but
  twice where the process died within milliseconds of publishing *and* the queue was not read for a whole lease; Slack at least
  once, with the key in its text.
"""

from __future__ import annotations

import contextlib
import math
import re
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, Literal, NamedTuple, TypeVar

from dr_assets import escape, utc
from dr_assets.alerting.channels.channel import HTTP_SECONDS, AlertRefused, AlertUnknown, Channel
from dr_assets.alerting.message import Alert
from dr_assets.core.freshness import is_future
from dr_assets.documents import DocumentError, UtcTime, parse, quoted
from dr_assets.errors import DrError
from dr_assets.history.documents import Incident, Upgradable
from dr_assets.history.reading import Refused, read_one, set_aside
from dr_assets.history.store import Store
from dr_assets.monitoring.incidents import NOTIFIED_STEPS

LEASE_SECONDS = 60.0
# Seconds by which a clock that was set may have been wrong.
LARGEST_STEP = 86400.0
STORE_TROUBLE = (DrError, OSError)
Result = Literal["delivered", "already"]
# INCIDENT.STEP.CHANNEL, and the attempt's number of a claim.
_NAME = re.compile(
    rf"(?P<incident>[^/]+-(?P<number>[0-9]{{6,15}}))\.(?P<step>{'|'.join(NOTIFIED_STEPS)})\.(?P<channel>[^./]+)"
    r"(\.claim-(?P<attempt>[0-9]{3,6}))?\.json"
)

log = escape.logger(__name__)


class AlertPending(DrError):
    """Another process is delivering this alert right now, or died while doing so."""


class DeliveryClaim(Upgradable):
    """`alerts/STACK/TRANSITION.CHANNEL.claim-NNN.json`: process `by` is about to send; `attempt` counts from 1.

    In a confirmation 0 means that it was sent without a claim, or that its claim is not known any more.
    """

    SCHEMA = "dr-assets/delivery-claim/1"

    by: str
    step: str
    text: str
    incident: Incident
    at: UtcTime
    attempt: int = 0


class Delivery(DeliveryClaim):
    """`alerts/STACK/TRANSITION.CHANNEL.json`: the channel took the alert. `confirmed_by`: its echo, where the sender died."""

    SCHEMA = "dr-assets/delivery/1"

    confirmed_by: Literal["echo"] | None = None

    @classmethod
    def of(cls, claim: DeliveryClaim, **changes: Any) -> Delivery:
        return cls(**{**dict(claim), **changes})


C = TypeVar("C", bound=DeliveryClaim)


class Latest(NamedTuple):
    """The last delivered incident of a topic: its number, itself while it is open, else when it ended (epoch seconds)."""

    number: int
    incident: Incident | None
    ended: float | None


class DeliveryLog:
    """Which alert each channel has taken, kept in the history store below `alerts/STACK/`."""

    def __init__(self, store: Store, lease_seconds: float = LEASE_SECONDS, writes: bool = True) -> None:
        """`writes`: set aside what is not what belongs at its key; otherwise it is named in `notes` alone."""
        self.store, self._lease, self._writes = store, lease_seconds, writes
        self._process = uuid.uuid4().hex
        self._first_read: dict[str, datetime] = {}  # claims without a time that this version can read
        self._first_observed: dict[str, float] = {}  # claims ahead of our clock: when we read them first (monotonic)
        self.notes: list[str] = []  # what was set aside, or is left out, by name: for the tick's report
        self._delivered: set[str] = set()  # by this process: known even while the store does not answer
        self.answered: dict[str, str] = {}  # channel -> what was wrong with its last attempt; empty: it took the alert

    def deliver(self, alert: Alert, channel: Channel, now: datetime) -> Result:
        """Claim, send, confirm. Raises AlertRefused, AlertUnknown or AlertPending: then it is tried again."""
        base = f"alerts/{alert.incident.stack}/{alert.key}.{channel.name}"
        claim = DeliveryClaim(by=self._process, step=alert.step, text=alert.text, incident=alert.incident, at=now)
        if base in self._delivered:
            self._attempt("confirm", lambda: self._confirm(base, Delivery.of(claim)))
            return "already"
        attempt: int | None = 0  # without a claim
        try:
            attempt = None if self._is_confirmed(base) else self._claim(base, channel, claim)
        except AlertPending:
            raise
        except STORE_TROUBLE as error:
            log.warning("%s is sent without a claim: the store %s failed: %s", base, self.store.uri, error)
        if attempt is None:
            return "already"
        try:
            channel.send(alert)
        except AlertRefused:
            if attempt:
                self._attempt("withdraw a claim", lambda: self.store.delete(f"{base}.claim-{attempt:03d}.json"))
            raise
        self._delivered.add(base)
        self._attempt("confirm", lambda: self._confirm(base, Delivery.of(claim, attempt=attempt)))
        return "delivered"

    def note(self, channel: str, result: Result | DrError) -> None:
        """Keep whether a channel takes alerts. An attempt that was not made (pending, delivered before) says nothing."""
        if result == "delivered":
            self.answered[channel] = ""
        elif isinstance(result, DrError) and not isinstance(result, AlertPending):
            self.answered[channel] = str(result)

    def confirm_echo(self, stack: str, name: str, at: datetime) -> None:
        """Confirm the open claim of `name` (TRANSITION.CHANNEL), whose alert came back through the channel."""
        base = f"alerts/{stack}/{name}"
        if not _named(stack, f"{base}.json"):
            return
        number, key = self._last_claim(base)
        if number and not self._is_confirmed(base):
            claim = read_one(self.store, key, _reader(DeliveryClaim))
            if isinstance(claim, Refused):
                self._refuse(claim)
            elif claim is not None:  # None: withdrawn since it was listed
                self._confirm(base, Delivery.of(claim, at=at, confirmed_by="echo"))

    def latest(self, stack: str) -> dict[str, Latest]:
        """The last delivered incident of each topic: how a sensor without a cursor, or with an old one, catches up.

        A confirmation that cannot be read counts as an incident that is over: the next one gets a number of its own, so that its
        alert is delivered. A number for which no confirmation can be read was never delivered.
        """
        keys: dict[str, dict[int, dict[str, list[str]]]] = {}
        foreign = []
        for key in self.store.list(f"alerts/{stack}/"):
            name = _named(stack, key)
            if not name:
                foreign.append(key)
            elif not name["attempt"]:
                topic = name["incident"].removeprefix(f"{stack}-").rpartition("-")[0]
                steps = keys.setdefault(topic, {}).setdefault(int(name["number"]), {})
                steps.setdefault(name["step"], []).append(key)
        for key in foreign:
            self._delivery(key)
        found: dict[str, Latest] = {}
        for topic, numbers in keys.items():
            last = next(
                filter(None, (self._latest_of(number, numbers[number]) for number in sorted(numbers)[::-1])), None
            )
            if last is not None:
                found[topic] = last
        return found

    def _latest_of(self, number: int, steps: dict[str, list[str]]) -> Latest | None:
        """What was delivered of one incident. None: none of its confirmations is one."""
        several = [steps[step] for step in reversed(NOTIFIED_STEPS) if step in steps]
        last = [self._delivery(key) for key in several[0]]
        for each in last:
            if isinstance(each, Delivery):
                ended = each.incident.ended
                return Latest(number, each.incident if ended is None else None, ended)
        others = (self._delivery(key) for keys in several[1:] for key in keys)
        kept = any(isinstance(each, Refused) and each.kind != "damaged" for each in last)
        return Latest(number, None, 0.0) if kept or any(isinstance(each, Delivery) for each in others) else None

    def _delivery(self, key: str) -> Delivery | Refused | None:
        found = read_one(self.store, key, _reader(Delivery))
        if isinstance(found, Refused):
            self._refuse(found)
        return found

    def _refuse(self, refused: Refused) -> None:
        """Set aside what is not what belongs at its key. The alert is then not known to be delivered: twice is better than never."""
        text = set_aside(self.store, refused, "it proves no delivery") if self._writes else str(refused)
        if text not in self.notes:
            self.notes.append(text)

    def delivered(self, stack: str) -> set[str]:
        """The keys of all transitions that at least one channel took."""
        names = (_named(stack, key) for key in self.store.list(f"alerts/{stack}/"))
        return {f"{name['incident']}.{name['step']}" for name in names if name and not name["attempt"]}

    def _claim(self, base: str, channel: Channel, claim: DeliveryClaim) -> int | None:
        number, key = self._last_claim(base)
        claimed_at = self._claimed_at(key, claim.at) if number else None
        age = (claim.at - claimed_at).total_seconds() if claimed_at else math.inf
        if age < -LARGEST_STEP:  # no clock was set by so much: the claim is damaged
            age = math.inf
        elif age < 0:  # our clock or the other daemon's was set: how long we have known the claim is all that is known
            age = time.monotonic() - self._first_observed.setdefault(key, time.monotonic())
        # Where the channel drops a repetition there is nothing to wait for but an attempt that is under way.
        lease = HTTP_SECONDS if channel.deduplicates else self._lease
        if age < lease:
            raise AlertPending(
                f"{base} was claimed {age:.0f} s ago and is not confirmed; it is sent again after {self._lease:.0f} s."
            )
        for attempt in range(number + 1, number + 4):
            key = f"{base}.claim-{attempt:03d}.json"
            try:
                self.store.create(key, claim.model_copy(update={"attempt": attempt}).to_bytes())
            except FileExistsError:
                there = read_one(self.store, key, _reader(DeliveryClaim))
                if not isinstance(there, Refused):
                    raise AlertPending(f"Another daemon is delivering {base} right now.") from None
                self._refuse(there)  # a folder, say
            else:
                # The holder of the claim before may have confirmed since the first check.
                return None if self._is_confirmed(base) else attempt
        raise DrError(f"{base} cannot be claimed: {there}")

    def _last_claim(self, base: str) -> tuple[int, str]:
        """Number and key of the latest claim; (0, "") where there is none. Other objects beside the claims are ignored."""
        stack = base.split("/")[1]
        found = ((_named(stack, key), key) for key in self.store.list(f"{base}.claim-"))
        return max(((int(name["attempt"]), key) for name, key in found if name and name["attempt"]), default=(0, ""))

    def _claimed_at(self, key: str, now: datetime) -> datetime | None:
        """When the claim was made. None: withdrawn since it was listed, or damaged; neither holds an alert back.

        A claim of a later version is as valid as ours: without a time that can be read, its lease begins when it is first read.
        """
        found = read_one(self.store, key, _reader(DeliveryClaim))
        if not isinstance(found, Refused):
            return found.at if found else None
        self._refuse(found)
        if found.kind == "damaged":
            return None
        with contextlib.suppress(ValueError, DocumentError):
            at = utc.parse(parse(found.data or b"", key).get("at"), assume_utc=True)
            if not is_future(at, now):
                return at
        return self._first_read.setdefault(key, now)

    def _is_confirmed(self, base: str) -> bool:
        """Whether the channel took it. Raises DrError where the store keeps that back."""
        found = self._delivery(f"{base}.json")
        if isinstance(found, Refused) and found.kind == "unreadable":
            raise DrError(str(found))
        return found is not None and not (isinstance(found, Refused) and found.kind == "damaged")

    def _confirm(self, base: str, delivery: Delivery) -> None:
        with contextlib.suppress(FileExistsError):  # the echo was faster
            self.store.create(f"{base}.json", delivery.to_bytes())

    def _attempt(self, action: str, run: Callable[[], None]) -> None:
        """Run it; a store that refuses neither holds an alert back nor causes a second one."""
        try:
            run()
        except STORE_TROUBLE as error:
            log.warning("the store %s failed to %s: %s", self.store.uri, action, error)


def _named(stack: str, key: str) -> re.Match[str] | None:
    """The parts of a claim's or a confirmation's key; None for any other."""
    prefix = f"alerts/{stack}/"
    match = _NAME.fullmatch(key, len(prefix)) if key.startswith(prefix) else None
    return match if match and match["incident"].startswith(f"{stack}-") else None


def _reader(model: type[C]) -> Callable[[bytes, str], C]:
    """Reads a claim or confirmation that is what its key says."""

    def read(data: bytes, key: str) -> C:
        stack = key.split("/")[1]
        name = _named(stack, key)
        if not name:
            raise DocumentError(f"{key} is the name of no claim and no confirmation.")
        found = model.from_bytes(data, key)
        if (found.incident.stack, found.incident.id, found.step) != (stack, name["incident"], name["step"]):
            raise DocumentError(f"{key} is about {quoted(f'{found.incident.id}.{found.step}')}.")
        if found.step == "resolved" and found.incident.ended is None:  # it would stay open for whoever has no cursor
            raise DocumentError(f"{key} is of an incident that has not ended.")
        return found

    return read


class Attempt(NamedTuple):
    """What one channel did with an alert, and how long that took."""

    result: Result | DrError
    seconds: float


def attempt_all(
    deliveries: DeliveryLog, channels: Sequence[Channel], alert: Alert, now: datetime
) -> dict[str, Attempt]:
    """Deliver through every channel that accepts it, all at the same time: none waits for another that hangs or fails.

    Raises nothing. `deliveries.answered` then holds what each channel answered last.
    """

    def attempt(channel: Channel) -> Attempt | None:
        begun = time.monotonic()
        try:
            if not channel.accepts(alert):
                return None
            result: Result | DrError = deliveries.deliver(alert, channel, now)
        except DrError as error:
            result = error
        except Exception as error:  # its text and traceback may hold a secret of the channel
            result = AlertUnknown(f"{channel.name} failed ({type(error).__name__}).")
        deliveries.note(channel.name, result)
        return Attempt(result, time.monotonic() - begun)

    with ThreadPoolExecutor(max(1, len(channels)), thread_name_prefix="channel") as pool:
        attempts = zip((channel.name for channel in channels), pool.map(attempt, channels), strict=True)
        return {name: each for name, each in attempts if each is not None}


def deliver(deliveries: DeliveryLog, channels: Sequence[Channel], alert: Alert, now: datetime) -> dict[str, Result]:
    """Deliver through every channel that accepts it (`attempt_all`).

    Raises, after all have ended, AlertRefused where each that failed has refused; otherwise AlertUnknown, or the failure itself
    where it is the only one. The text names every failure.
    """
    results = {name: each.result for name, each in attempt_all(deliveries, channels, alert, now).items()}
    failures = [result for result in results.values() if isinstance(result, DrError)]
    if len(failures) == 1:
        raise failures[0]
    if failures:
        kind = AlertRefused if all(isinstance(failure, AlertRefused) for failure in failures) else AlertUnknown
        raise kind(" ".join(map(str, failures)))
    return {name: result for name, result in results.items() if isinstance(result, str)}
