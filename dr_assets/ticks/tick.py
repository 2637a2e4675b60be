"""Run one sensor tick: load the cursor, evaluate, write the outbox, deliver, return the next cursor.

A transition is written to the outbox *before* it is delivered, and stays there until a later tick finds it in its cursor and every
channel has taken it. So a tick that dies anywhere loses nothing, even when the breach has ended by then; the delivery log prevents
duplicates. A channel that fails stops neither the evaluation nor the other channels: what it did not take is tried again from the
outbox at every tick, critical alerts first. While the store does not answer there is no outbox and no maintenance window: alerts are
delivered all the same, `store_problem` holds the store's error, and a transition that no channel took fails the tick, so that the
cursor does not pass it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import TypeVar

from dr_assets import clock, escape, utc
from dr_assets.alerting.channels.channel import AlertRefused, Channel
from dr_assets.alerting.delivery import STORE_TROUBLE, AlertPending, DeliveryLog, Latest, Result, attempt_all
from dr_assets.alerting.maintenance_windows import suppressed, trace_suppressed, windows
from dr_assets.alerting.message import compose
from dr_assets.core.model import Resource
from dr_assets.documents import DocumentError
from dr_assets.errors import DrError
from dr_assets.history.documents import Incident, StoredIncident
from dr_assets.history.reading import Refused, read_all, set_aside
from dr_assets.history.store import Store
from dr_assets.monitoring.clock_steps import follow_clock
from dr_assets.monitoring.evaluate import WAIT_SECONDS, Decision, Observation, decide
from dr_assets.monitoring.incidents import NOTIFIED_STEPS, Transition
from dr_assets.monitoring.rule import Rule
from dr_assets.monitoring.samples import Sample
from dr_assets.monitoring.state import OutboxEntry, State, WallClock
from dr_assets.monitoring.topics import owner_of

T = TypeVar("T")
# A channel that hangs costs a tick this long and one more attempt, however many alerts wait for it.
PATIENCE_SECONDS = 5.0
GIVEN_UP_SECONDS = 24 * 3600.0
# Lines of evidence that the new state adds to a transition before it is delivered.
Advice = Callable[[State, Transition], Sequence[str]]

log = escape.logger(__name__)


@dataclass(frozen=True)
class TickResult:
    """What a tick returns. `delivered`: keys of the transitions that it delivered (not those delivered before)."""

    cursor: str
    state: State
    transitions: tuple[Transition, ...] = ()
    observations: tuple[Observation, ...] = ()
    delivered: tuple[str, ...] = ()


@dataclass
class Ticker:
    """Runs one sensor's ticks for one stack. All its lasting state is the cursor and the store."""

    sensor: str
    stack: str
    store: Store
    deliveries: DeliveryLog
    channels: Sequence[Channel]
    resources: Mapping[str, Resource]
    link: str = ""
    # Of the present tick: the store's last error; what was set aside, by name; transitions that not every channel took, and why;
    # whether there is one that no channel took.
    store_problem: str = field(default="", init=False)
    set_aside: list[str] = field(default_factory=list, init=False)
    undelivered: dict[str, str] = field(default_factory=dict, init=False)
    unheard: bool = field(default=False, init=False)
    # By how many seconds our clock was set between the last tick and this one.
    clock_step: float = field(default=0.0, init=False)
    # Seconds that a channel's failures took in this tick.
    _spent: dict[str, float] = field(default_factory=dict, init=False)
    # (channel, incident) of the steps that a channel did not take in this tick.
    _behind: set[tuple[str, str]] = field(default_factory=set, init=False)
    # What some channel took and the outbox does not hold, because the store failed.
    _unstored: dict[str, Transition] = field(default_factory=dict, init=False)

    def load(self, cursor: str | None) -> State:
        """The state of the cursor. Without one, or with one that cannot be read, what has been delivered."""
        self.store_problem, self.set_aside, self.undelivered, self.unheard = "", [], {}, False
        self._spent, self._behind = {}, set()
        state = self._read(cursor)
        if state is None:
            state = State.empty()
            for topic, (number, incident, ended) in self._latest().items():
                if self._owns(topic):
                    # Until a source reads its subject again, nothing is known: it must not be resolved at once.
                    found = incident and incident.updated(
                        resolve_after=max(incident.resolve_after, WAIT_SECONDS), clear_since=None
                    )
                    state = _with(state, f"{self.stack}/{topic}", number, found, ended)
        identity, offset = clock.wall_offset()
        state, self.clock_step = follow_clock(state, WallClock(id=identity, offset=offset), utc.now().timestamp())
        if self.clock_step:
            log.warning("The clock of this host was set by %+.1f s since the last tick", self.clock_step)
        return state

    def _read(self, cursor: str | None) -> State | None:
        """The cursor's state. One that cannot be read must not end every tick until a person resets it: it is kept in quarantine."""
        if not cursor:
            return None
        try:
            return State.loads(cursor)
        except DrError as error:
            data = cursor.encode("utf-8", "backslashreplace")
            key = f"quarantine/cursor/{self.stack}/{self.sensor}.{hashlib.sha256(data).hexdigest()[:12]}"
            self._do(self.store.write, key, data)
            self.set_aside.append(
                f"{error} It is kept as {key}; open incidents are read from the record of deliveries."
            )
            log.warning("%s", self.set_aside[-1])
            return None

    def deliver_outbox(self, cursor: State, now: datetime) -> State:
        """Deliver what earlier ticks left in the outbox; the state with that in it. `cursor` is the state as `load` gave it."""
        state = cursor
        for key, transition in self._waiting():
            in_cursor = _is_in_cursor(cursor, transition)
            attempts = self._deliver(transition, now, stored=in_cursor)
            done = not _failures(attempts)
            if done or _is_given_up(transition, attempts, now):
                self._unstored.pop(transition.key, None)
                if in_cursor:
                    self._do(self.store.delete, key)
            if not in_cursor:
                incident = transition.incident
                current = None if incident.ended else incident
                state = _with(state, f"{self.stack}/{incident.topic}", incident.number, current, incident.ended)
        return state

    def tick(
        self,
        state: State,
        samples: Iterable[Sample],
        now: datetime,
        rules: Sequence[Rule],
        advice: Advice | None = None,
    ) -> TickResult:
        """Evaluate and deliver; `state`: from `deliver_outbox`. Raises DrError when an alert was taken by no channel and the
        outbox does not hold it: then the cursor must not advance."""
        delivered: list[str] = []
        quiet: frozenset[str] = self._try(lambda: self._suppressed(now), frozenset())
        samples = list(samples)
        decision = decide(state, samples, now, rules, quiet)
        used = self._numbers_used(decision)
        if used:
            state = state.updated(numbers={**state.numbers, **used})
            decision = decide(state, samples, now, rules, quiet)
        own = tuple(
            _advised(step, advice, decision.state) for step in decision.transitions if self._owns(step.incident.topic)
        )
        # Each step is delivered for itself; the critical ones do not wait for the others.
        notified = sorted(
            (step for step in own if step.step in NOTIFIED_STEPS), key=lambda step: step.incident.severity != "critical"
        )
        held = {step.key for step in notified if self._try(partial(self._enqueue, step), False)}
        lost: list[DrError] = []
        for transition in notified:
            attempts = self._deliver(transition, now)
            failures = _failures(attempts)
            if "delivered" in attempts.values():
                delivered.append(transition.key)
            if failures and transition.key not in held:
                if len(failures) == len(attempts):
                    lost += failures
                else:
                    self._unstored[transition.key] = transition
        for transition in own:
            if transition.step == "silenced":
                self._do(trace_suppressed, self.store, transition, now)
        while self.deliveries.notes:
            self.set_aside.append(self.deliveries.notes.pop())
        if lost:
            raise lost[0] if len(lost) == 1 else DrError(" ".join(map(str, lost)))
        return TickResult(decision.state.dumps(), decision.state, own, decision.observations, tuple(delivered))

    def confirm_echoes(self, names: Iterable[str], now: datetime) -> None:
        """Confirm what came back through the event queue. One that fails is sent again at worst."""
        for name in names:
            self._do(self.deliveries.confirm_echo, self.stack, name, now)

    def _deliver(self, transition: Transition, now: datetime, stored: bool = False) -> dict[str, Result | DrError]:
        """Deliver through every channel; by channel its result or its failure. `stored`: the incident is in the history already."""
        alert = compose(transition, self.resources, self.link)
        incident = transition.incident
        attempts: dict[str, Result | DrError] = {}
        ready = []
        for channel in self.channels:
            if self._spent.get(channel.name, 0.0) >= PATIENCE_SECONDS:
                attempts[channel.name] = AlertRefused(f"{channel.name} failed before in this tick.")
            elif (channel.name, incident.id) in self._behind:  # a resolution before its beginning would resolve nothing
                attempts[channel.name] = AlertRefused(f"{channel.name} has not taken the step before this one.")
            else:
                ready.append(channel)
        for name, attempt in attempt_all(self.deliveries, ready, alert, now).items():
            attempts[name] = attempt.result
            if isinstance(attempt.result, DrError):
                self._spent[name] = self._spent.get(name, 0.0) + attempt.seconds
        self._behind |= {(name, incident.id) for name, result in attempts.items() if isinstance(result, DrError)}
        failures = _failures(attempts)
        if failures:
            self.undelivered[transition.key] = " ".join(map(str, failures))
            # What another process is delivering, or may have delivered, is not unheard.
            certain = [failure for failure in failures if not isinstance(failure, AlertPending)]
            self.unheard = self.unheard or len(certain) == len(attempts)
        if not stored:
            written = StoredIncident.of(incident, transition.step, alert.lost).to_bytes()
            self._do(self.store.write, f"incidents/{incident.stack}/{incident.id}.json", written)
        return attempts

    def _owns(self, topic: str) -> bool:
        return owner_of(topic) == self.sensor

    def _numbers_used(self, decision: Decision) -> dict[str, int]:
        """Topics whose new incident has the number of one that is over: the cursor is older than the record of deliveries."""
        opened = [t.incident for t in decision.transitions if t.step == "opened" and self._owns(t.incident.topic)]
        if not opened:
            return {}
        latest, found = self._latest(), {}
        for incident in opened:
            number, _, ended = latest.get(incident.topic, Latest(0, None, None))
            # The same breach, found by another daemon too, keeps its number and is not delivered again.
            if number >= incident.number and ended is not None and ended < incident.since:
                found[f"{self.stack}/{incident.topic}"] = number
        return found

    def _latest(self) -> dict[str, Latest]:
        return self._try(lambda: self.deliveries.latest(self.stack), {})

    def _try(self, action: Callable[[], T], otherwise: T) -> T:
        """The store's answer, or `otherwise` with its error kept: a store that fails must not keep an alert back."""
        try:
            return action()
        except STORE_TROUBLE as error:
            if not self.store_problem:
                log.warning("%s continues without the store %s: %s", self.sensor, self.store.uri, error)
            self.store_problem = str(error) or type(error).__name__
            return otherwise

    def _do(self, action: Callable[..., None], *values: object) -> None:
        self._try(lambda: action(*values), None)

    # --- the outbox ------------------------------------------------------------------------------------------------

    def _enqueue(self, transition: Transition) -> bool:
        entry = OutboxEntry(step=transition.step, at=transition.at, incident=transition.incident)
        self.store.write(self._key(transition), entry.to_bytes())
        return True

    def _key(self, transition: Transition) -> str:
        return f"outbox/{self.stack}/{self.sensor}/{transition.key}.json"

    def _waiting(self) -> list[tuple[str, Transition]]:
        """What is to be delivered still: critical incidents first, each incident's steps in their order."""
        entries: dict[str, Transition] = self._try(self._outbox, {})
        for transition in self._unstored.values():
            entries.setdefault(self._key(transition), transition)
        critical = {each.incident.id for each in entries.values() if each.incident.severity == "critical"}
        return sorted(
            entries.items(),
            key=lambda item: (
                item[1].incident.id not in critical,
                item[1].incident.number,
                NOTIFIED_STEPS.index(item[1].step),
            ),
        )

    def _outbox(self) -> dict[str, Transition]:
        def read(data: bytes, key: str) -> Transition:
            entry = OutboxEntry.from_bytes(data, key)
            transition = Transition(entry.step, entry.incident, entry.at)
            if (
                key != self._key(transition)
                or entry.incident.stack != self.stack
                or not self._owns(entry.incident.topic)
                or entry.step not in NOTIFIED_STEPS
            ):
                raise DocumentError(f"{key} is no transition of this sensor and stack.")
            return transition

        found = read_all(self.store, f"outbox/{self.stack}/{self.sensor}/", read)
        self._refuse(found.refused, "it is not delivered")
        return found.items

    def _suppressed(self, now: datetime) -> frozenset[str]:
        found = windows(self.store, self.stack, now)
        self._refuse(found.refused, "it suppresses nothing")
        return suppressed(found.items.values(), now)

    def _refuse(self, refused: Iterable[Refused], until: str) -> None:
        """Set aside what is damaged; what stays where it is remains a problem of the store."""
        for each in refused:
            self.set_aside.append(set_aside(self.store, each, until))
            if each.kind != "damaged":
                self.store_problem = str(each)


def _failures(attempts: Mapping[str, Result | DrError]) -> list[DrError]:
    return [attempt for attempt in attempts.values() if isinstance(attempt, DrError)]


def _is_given_up(transition: Transition, attempts: Mapping[str, Result | DrError], now: datetime) -> bool:
    """Whether a channel has failed for so long that what the others took is not kept for it any longer."""
    taken = any(isinstance(attempt, str) for attempt in attempts.values())
    return taken and now.timestamp() - transition.at > GIVEN_UP_SECONDS


def _advised(transition: Transition, advice: Advice | None, state: State) -> Transition:
    lines = tuple(advice(state, transition)) if advice and transition.step in NOTIFIED_STEPS else ()
    if not lines:
        return transition
    incident = transition.incident
    return replace(transition, incident=incident.updated(evidence=(*incident.evidence, *lines)))


def _is_in_cursor(state: State, transition: Transition) -> bool:
    """Whether the cursor already reflects this step."""
    incident = transition.incident
    key = f"{incident.stack}/{incident.topic}"
    number, current = state.numbers.get(key, 0), state.incidents.get(key)
    if number != incident.number:
        return number > incident.number
    if transition.step == "resolved":
        return current is None
    if transition.step == "escalated":
        return current is None or current.escalated
    return current is None or current.notified


def _with(state: State, key: str, number: int, incident: Incident | None, ended: float | None) -> State:
    """The state with what was delivered for one topic."""
    incidents = {k: v for k, v in state.incidents.items() if k != key}
    if incident is not None:
        incidents[key] = incident
    times = (*state.ended.get(key, ()), ended) if incident is None and ended is not None else state.ended.get(key, ())
    return state.updated(
        incidents=incidents,
        numbers={**state.numbers, key: max(number, state.numbers.get(key, 0))},
        ended={**state.ended, key: times},
    )
