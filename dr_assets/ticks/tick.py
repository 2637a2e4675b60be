"""One tick of one sensor: remember, decide, tell, and only then forget. What the Dagster sensors are shells over.

May import `history.store`, `errors` and telemetry. No Dagster.

A transition that people must hear of is written to the outbox *before* it is sent and stays there until a later tick finds it
in its cursor. So a tick that dies anywhere, or that fails because nobody takes the alert, loses nothing even when the breach
has passed by then; and the ledger of `alerts` sees to it that nothing is told twice. While the store does not answer there is
no outbox and no maintenance window: what is to be told is told, and `trouble` says what the store said.
"""

from __future__ import annotations

import json
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
from dr_assets.history.documents import Incident, StoredIncident
from dr_assets.history.store import Store
from dr_assets.monitoring.evaluate import WAIT_SECONDS, Decision, Observation, State, decide
from dr_assets.monitoring.incidents import TOLD, Transition
from dr_assets.monitoring.rule import Rule
from dr_assets.monitoring.samples import Sample
from dr_assets.monitoring.topics import owner_of

T = TypeVar("T")
# What the state just decided suggests, as lines of evidence for a transition that people hear of.
Advice = Callable[[State, Transition], Sequence[str]]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ticked:
    """What a tick gave. `told`: keys of the transitions that were delivered by it (not those delivered before)."""

    cursor: str
    state: State
    transitions: tuple[Transition, ...] = ()
    observations: tuple[Observation, ...] = ()
    told: tuple[str, ...] = ()


@dataclass
class Watch:
    """A sensor's memory and voice. One for each sensor and stack; all its lasting state is the cursor and the store."""

    sensor: str
    stack: str
    store: Store
    ledger: DeliveryLog
    transports: Sequence[Channel]
    resources: Mapping[str, Resource]
    link: str = ""
    trouble: str = field(default="", init=False)

    def load(self, cursor: str | None) -> State:
        """The state of the cursor, brought up to what has been told since. Raises DrError where it cannot be read."""
        self.trouble = ""
        state = State.loads(cursor)
        if not cursor:
            told: dict[str, Latest]
            told = self._ask(lambda: self.ledger.latest(self.stack), {})
            for topic, (number, incident, ended) in told.items():
                if self._mine(topic):
                    # Its breach must be seen anew before anything is known: until then it is not over.
                    found = incident and incident.updated(
                        resolve_after=max(incident.resolve_after, WAIT_SECONDS), clear_since=None
                    )
                    state = _with(state, f"{self.stack}/{topic}", number, found, ended)
        return state

    def settle(self, cursor: State, now: datetime) -> State:
        """Tell what an earlier tick wrote into the outbox and may not have told; the state with that in it.

        `cursor` is the state as `load` gave it. Raises DrError when an alert cannot be delivered.
        """
        state = cursor
        waiting: list[tuple[str, Transition]] = self._ask(self._outbox, [])
        for key, transition in waiting:
            if _reflected(cursor, transition):
                self._do(self.store.delete, key)
                continue
            self._tell(transition, now)
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
    ) -> Ticked:
        """Decide and tell; `state` is what `settle` gave. Raises DrError when an alert could not be delivered: then the
        cursor must not advance."""
        told: list[str] = []
        quiet: frozenset[str] = self._ask(lambda: suppressed(self.store, self.stack, now), frozenset())
        samples = list(samples)
        decision = decide(state, samples, now, rules, quiet)
        behind = self._behind(decision)
        if behind:
            state = replace(state, numbers={**state.numbers, **behind})
            decision = decide(state, samples, now, rules, quiet)
        mine = tuple(
            _advised(step, advice, decision.state) for step in decision.transitions if self._mine(step.incident.topic)
        )
        for transition in mine:
            if transition.step in TOLD:
                self._do(self._keep, transition)
        for transition in mine:
            if transition.step in TOLD:
                told += self._tell(transition, now)
            elif transition.step == "silenced":
                self._do(trace_suppressed, self.store, transition, now)
        return Ticked(decision.state.dumps(), decision.state, mine, decision.observations, tuple(told))

    def _tell(self, transition: Transition, now: datetime) -> list[str]:
        alert = compose(transition, self.resources, self.link)
        results = deliver(self.ledger, self.transports, alert, now)
        incident = transition.incident
        written = StoredIncident.of(incident, transition.step, alert.lost).to_bytes()
        self._do(self.store.write, f"incidents/{incident.stack}/{incident.id}.json", written)
        return [transition.key] if "delivered" in results.values() else []

    def _mine(self, topic: str) -> bool:
        return owner_of(topic) == self.sensor

    def _behind(self, decision: Decision) -> dict[str, int]:
        """Topics whose new incident has a number that was used and is over: our cursor is older than the ledger."""
        opened = [t.incident for t in decision.transitions if t.step == "opened" and self._mine(t.incident.topic)]
        if not opened:
            return {}
        told: dict[str, Latest] = self._ask(lambda: self.ledger.latest(self.stack), {})
        found = {}
        for incident in opened:
            number, _, ended = told.get(incident.topic, Latest(0, None, None))
            # The same breach seen by another daemon keeps its number and is not told again.
            if number >= incident.number and ended is not None and ended < incident.since:
                found[f"{self.stack}/{incident.topic}"] = number
        return found

    def _ask(self, question: Callable[[], T], otherwise: T) -> T:
        """What the store says, or `otherwise` with the trouble noted: it must not stand between a breach and people."""
        try:
            return question()
        except STORE_TROUBLE as error:
            if not self.trouble:
                log.warning("%s goes on without the store %s: %s", self.sensor, self.store.uri, error)
            self.trouble = str(error) or type(error).__name__
            return otherwise

    def _do(self, action: Callable[..., None], *values: object) -> None:
        self._ask(lambda: action(*values), None)

    # --- the outbox ------------------------------------------------------------------------------------------------

    def _keep(self, transition: Transition) -> None:
        document = {"step": transition.step, "at": transition.at, "incident": transition.incident.as_json()}
        key = f"outbox/{self.stack}/{self.sensor}/{transition.key}.json"
        self.store.write(key, json.dumps(document, sort_keys=True).encode())

    def _outbox(self) -> list[tuple[str, Transition]]:
        found = []
        for key in self.store.list(f"outbox/{self.stack}/{self.sensor}/"):
            try:
                data = json.loads(self.store.read(key))
                incident = Incident.from_json(data["incident"])
                found.append((key, Transition(data["step"], incident, data["at"])))
            except KeyError:
                continue  # another daemon was faster
            except (ValueError, TypeError) as error:
                # It keeps no other entry back, and is told of until somebody removes it.
                self.trouble = f"The outbox entry {key} in {self.store.uri} cannot be read: {error}. Remove it."
                log.warning("%s", self.trouble)
        return sorted(found, key=lambda item: (item[1].incident.number, TOLD.index(item[1].step)))


def _advised(transition: Transition, advice: Advice | None, state: State) -> Transition:
    lines = tuple(advice(state, transition)) if advice and transition.step in TOLD else ()
    if not lines:
        return transition
    incident = transition.incident
    return replace(transition, incident=incident.updated(evidence=(*incident.evidence, *lines)))


def _reflected(state: State, transition: Transition) -> bool:
    """Whether the cursor already knows of this step."""
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
    """The state with what is known to have been told of one topic."""
    incidents = {k: v for k, v in state.incidents.items() if k != key}
    if incident is not None:
        incidents[key] = incident
    times = (*state.ended.get(key, ()), ended) if incident is None and ended is not None else state.ended.get(key, ())
    return replace(
        state,
        incidents=incidents,
        numbers={**state.numbers, key: max(number, state.numbers.get(key, 0))},
        ended={**state.ended, key: times},
    )
