"""One tick of one sensor: remember, decide, tell, and only then forget. What the Dagster sensors are shells over.

May import `history.store`, `errors` and telemetry. No Dagster.

A transition that people must hear of is written to the outbox *before* it is sent and stays there until a later tick finds it
in its cursor. So a tick that dies anywhere, or that fails because nobody takes the alert, loses nothing even when the breach
has passed by then; and the ledger of `alerts` sees to it that nothing is told twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from dr_assets.core.model import Resource
from dr_assets.errors import DrError
from dr_assets.history.store import Store
from dr_assets.telemetry.alerts import Ledger, Transport, compose, deliver
from dr_assets.telemetry.decide import WAIT_SECONDS, Decision, Observation, State, decide
from dr_assets.telemetry.incidents import TOLD, Incident, Transition
from dr_assets.telemetry.maintenance import leave_trace, silenced
from dr_assets.telemetry.rules import Rule, owner_of
from dr_assets.telemetry.samples import Sample


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
    ledger: Ledger
    transports: Sequence[Transport]
    resources: Mapping[str, Resource]
    link: str = ""

    def load(self, cursor: str | None) -> State:
        """The state of the cursor, brought up to what has been told since. Raises DrError where it cannot be read."""
        state = State.loads(cursor)
        if not cursor:
            for topic, (number, incident, ended) in self.ledger.told(self.stack).items():
                if self._mine(topic):
                    # Its breach must be seen anew before anything is known: until then it is not over.
                    found = incident and replace(incident, wait=max(incident.wait, WAIT_SECONDS), calm=None)
                    state = _with(state, f"{self.stack}/{topic}", number, found, ended)
        return state

    def settle(self, cursor: State, now: datetime) -> State:
        """Tell what an earlier tick wrote into the outbox and may not have told; the state with that in it.

        `cursor` is the state as `load` gave it. Raises DrError when an alert cannot be delivered.
        """
        state = cursor
        for key, transition in self._outbox():
            if _reflected(cursor, transition):
                self.store.delete(key)
                continue
            self._tell(transition, now)
            incident = transition.incident
            current = None if incident.ended else incident
            state = _with(state, f"{self.stack}/{incident.topic}", incident.number, current, incident.ended)
        return state

    def tick(self, state: State, samples: Iterable[Sample], now: datetime, rules: Sequence[Rule]) -> Ticked:
        """Decide and tell; `state` is what `settle` gave. Raises DrError when an alert could not be delivered: then the
        cursor must not advance."""
        told: list[str] = []
        samples, quiet = list(samples), silenced(self.store, self.stack, now)
        decision = decide(state, samples, now, rules, quiet)
        behind = self._behind(decision)
        if behind:
            state = replace(state, numbers={**state.numbers, **behind})
            decision = decide(state, samples, now, rules, quiet)
        mine = tuple(step for step in decision.transitions if self._mine(step.incident.topic))
        for transition in mine:
            if transition.step in TOLD:
                self._keep(transition)
        for transition in mine:
            if transition.step in TOLD:
                told += self._tell(transition, now)
            elif transition.step == "silenced":
                leave_trace(self.store, transition, now)
        return Ticked(decision.state.dumps(), decision.state, mine, decision.observations, tuple(told))

    def _tell(self, transition: Transition, now: datetime) -> list[str]:
        alert = compose(transition, self.resources, self.link)
        results = deliver(self.ledger, self.transports, alert, now)
        incident = transition.incident
        document = {
            "schema": "dr-assets/incident/1",
            "id": incident.id,
            "last": transition.step,
            "lost": list(alert.lost),
        }
        self.store.write(
            f"incidents/{incident.stack}/{incident.id}.json",
            json.dumps({**document, **incident.as_json()}, indent=1, sort_keys=True).encode(),
        )
        return [transition.key] if "delivered" in results.values() else []

    def _mine(self, topic: str) -> bool:
        return owner_of(topic) == self.sensor

    def _behind(self, decision: Decision) -> dict[str, int]:
        """Topics whose new incident has a number that was used and is over: our cursor is older than the ledger."""
        opened = [t.incident for t in decision.transitions if t.step == "opened" and self._mine(t.incident.topic)]
        if not opened:
            return {}
        told = self.ledger.told(self.stack)
        found = {}
        for incident in opened:
            number, _, ended = told.get(incident.topic, (0, None, None))
            # The same breach seen by another daemon keeps its number and is not told again.
            if number >= incident.number and ended is not None and ended < incident.since:
                found[f"{self.stack}/{incident.topic}"] = number
        return found

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
                raise DrError(
                    f"The outbox entry {key} in {self.store.uri} cannot be read: {error}. Remove it."
                ) from error
        return sorted(found, key=lambda item: (item[1].incident.number, TOLD.index(item[1].step)))


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
    return current is None or current.told


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
