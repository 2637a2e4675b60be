"""Run one sensor tick: load the cursor, evaluate, write the outbox, deliver, return the next cursor.

A transition is written to the outbox *before* it is delivered, and stays there until a later tick finds it in its cursor. So a
tick that dies anywhere, or that fails because no channel accepts the alert, loses nothing, even when the breach has ended by
then; and the record of deliveries prevents duplicates. While the store does not answer there is no outbox and no maintenance
window: alerts are delivered all the same, and `store_problem` holds the store's error.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeVar

from dr_assets.alerting.channels.channel import Channel
from dr_assets.alerting.delivery import STORE_TROUBLE, DeliveryLog, Latest, deliver
from dr_assets.alerting.maintenance_windows import suppressed, trace_suppressed
from dr_assets.alerting.message import compose
from dr_assets.core.model import Resource
from dr_assets.documents import DocumentError
from dr_assets.history.documents import Incident, StoredIncident
from dr_assets.history.store import Store
from dr_assets.monitoring.evaluate import WAIT_SECONDS, Decision, Observation, decide
from dr_assets.monitoring.incidents import NOTIFIED_STEPS, Transition
from dr_assets.monitoring.rule import Rule
from dr_assets.monitoring.samples import Sample
from dr_assets.monitoring.state import OutboxEntry, State
from dr_assets.monitoring.topics import owner_of

T = TypeVar("T")
# Lines of evidence that the new state adds to a transition before it is delivered.
Advice = Callable[[State, Transition], Sequence[str]]

log = logging.getLogger(__name__)


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
    store_problem: str = field(default="", init=False)

    def load(self, cursor: str | None) -> State:
        """The state of the cursor; without one, what has been delivered. Raises DrError where it cannot be read."""
        self.store_problem = ""
        state = State.loads(cursor)
        if not cursor:
            for topic, (number, incident, ended) in self._latest().items():
                if self._owns(topic):
                    # Until a source reads its subject again, nothing is known: it must not be resolved at once.
                    found = incident and incident.updated(
                        resolve_after=max(incident.resolve_after, WAIT_SECONDS), clear_since=None
                    )
                    state = _with(state, f"{self.stack}/{topic}", number, found, ended)
        return state

    def deliver_outbox(self, cursor: State, now: datetime) -> State:
        """Deliver what an earlier tick left in the outbox; the state with that in it.

        `cursor` is the state as `load` gave it. Raises DrError when an alert cannot be delivered.
        """
        state = cursor
        waiting: list[tuple[str, Transition]] = self._try(self._outbox, [])
        for key, transition in waiting:
            if _is_in_cursor(cursor, transition):
                self._do(self.store.delete, key)
                continue
            self._deliver(transition, now)
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
        """Evaluate and deliver; `state`: from `deliver_outbox`. Raises DrError when an alert could not be delivered: then the
        cursor must not advance."""
        delivered: list[str] = []
        quiet: frozenset[str] = self._try(lambda: suppressed(self.store, self.stack, now), frozenset())
        samples = list(samples)
        decision = decide(state, samples, now, rules, quiet)
        used = self._numbers_used(decision)
        if used:
            state = state.updated(numbers={**state.numbers, **used})
            decision = decide(state, samples, now, rules, quiet)
        own = tuple(
            _advised(step, advice, decision.state) for step in decision.transitions if self._owns(step.incident.topic)
        )
        for transition in own:
            if transition.step in NOTIFIED_STEPS:
                self._do(self._enqueue, transition)
        for transition in own:
            if transition.step in NOTIFIED_STEPS:
                delivered += self._deliver(transition, now)
            elif transition.step == "silenced":
                self._do(trace_suppressed, self.store, transition, now)
        return TickResult(decision.state.dumps(), decision.state, own, decision.observations, tuple(delivered))

    def _deliver(self, transition: Transition, now: datetime) -> list[str]:
        alert = compose(transition, self.resources, self.link)
        results = deliver(self.deliveries, self.channels, alert, now)
        incident = transition.incident
        written = StoredIncident.of(incident, transition.step, alert.lost).to_bytes()
        self._do(self.store.write, f"incidents/{incident.stack}/{incident.id}.json", written)
        return [transition.key] if "delivered" in results.values() else []

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

    def _enqueue(self, transition: Transition) -> None:
        entry = OutboxEntry(step=transition.step, at=transition.at, incident=transition.incident)
        key = f"outbox/{self.stack}/{self.sensor}/{transition.key}.json"
        self.store.write(key, entry.to_bytes())

    def _outbox(self) -> list[tuple[str, Transition]]:
        found = []
        for key in self.store.list(f"outbox/{self.stack}/{self.sensor}/"):
            try:
                entry = OutboxEntry.from_bytes(self.store.read(key), f"The outbox entry {key} in {self.store.uri}")
                found.append((key, Transition(entry.step, entry.incident, entry.at)))
            except KeyError:
                continue  # another daemon was faster
            except DocumentError as error:
                # It keeps no other entry back, and is reported until it is removed.
                self.store_problem = error.with_remedy("Remove it.")
                log.warning("%s", self.store_problem)
        return sorted(found, key=lambda item: (item[1].incident.number, NOTIFIED_STEPS.index(item[1].step)))


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
