"""What all sensors of one stack share: the poller, the store, the ways to people. And what each of them looks at.

May import `aws`, `catalog`, `history.store`, `stack` and telemetry. No Dagster: the sensors are shells over the functions here.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from dr_assets import utc
from dr_assets.alerting.channels import open_channels
from dr_assets.alerting.channels.channel import Channel
from dr_assets.alerting.delivery import DeliveryLog, deliver
from dr_assets.alerting.message import compose
from dr_assets.aws import Aws, explain
from dr_assets.core.model import Resource
from dr_assets.errors import UnansweredError
from dr_assets.failover.vote import DEFAULT_VOTE, OWN_PROBE_VOTE, Recommendation, Vote, recommend
from dr_assets.history.store import Store, open_store
from dr_assets.monitoring.evaluate import State
from dr_assets.monitoring.event_conditions import meaning
from dr_assets.monitoring.incidents import Breach, Transition, open_incident
from dr_assets.monitoring.lag_recorder import Remember
from dr_assets.monitoring.rule import Rule
from dr_assets.monitoring.rules import SQL_VARIABLE, event_rule, is_unread, rules_for, sources_for
from dr_assets.monitoring.samples import Message, Sample, Snapshot
from dr_assets.monitoring.sources.cloudwatch import ALARM_METRICS
from dr_assets.monitoring.sources.poller import Poller
from dr_assets.monitoring.topics import TOPICS, WRITER
from dr_assets.resources import names
from dr_assets.resources.catalog import catalog
from dr_assets.stack import SITES, Site, Stack
from dr_assets.ticks import event_queue as queues
from dr_assets.ticks.tick import Ticked, Watch

SHARE_SECONDS = 3.0
EVENT_LONGEST_SECONDS = 24 * 3600.0
SEEN = 500
LINK_VARIABLE = "DR_DAGSTER_URL"

log = logging.getLogger(__name__)


@dataclass
class Station:
    """One stack's post of observation. Made lazily: loading definitions calls nothing.

    Args:
        preconditions: evaluates those of the failover that is recommended, as a record has them; None: automatic failover
            is refused.
    """

    stack: Stack
    store: Store = field(default_factory=open_store)
    poller: Poller | None = None
    aws: Aws | None = None
    transports: Sequence[Channel] | None = None
    link: str = field(default_factory=lambda: os.environ.get(LINK_VARIABLE, ""))
    preconditions: Callable[[Recommendation], Sequence[Mapping[str, Any]]] | None = None
    clock: Callable[[], datetime] = utc.now
    vote: Vote = DEFAULT_VOTE

    def __post_init__(self) -> None:
        self.resources: Mapping[str, Resource] = {resource.key: resource for resource in catalog(self.stack)}
        self.rules = rules_for(self.stack)
        self.ledger = DeliveryLog(self.store)
        self._aws = self.aws or Aws(read_timeout=4.0, attempts=2)
        self._poller = self.poller or Poller([self.stack], sources_for([self.stack], self._aws))
        if self.poller is None and os.environ.get(SQL_VARIABLE) == "publish":
            self.vote = OWN_PROBE_VOTE
        self._transports = list(open_channels(self.stack, os.environ) if self.transports is None else self.transports)
        self._queues = queues.Queues(self.stack, self._aws)
        self._watches = {sensor: self._watch(sensor) for sensor in sorted({topic.sensor for topic in TOPICS.values()})}
        self._remember = Remember(self.store, self.stack.environment_suffix)
        self._problems: dict[str, str] = {}

    def _watch(self, sensor: str) -> Watch:
        return Watch(
            sensor, self.stack.environment_suffix, self.store, self.ledger, self._transports, self.resources, self.link
        )

    def watch(self, sensor: str) -> Watch:
        return self._watches[sensor]

    def poll(self) -> Snapshot:
        """This tick's snapshot; sensors that tick within a few seconds share one. Alerts leave from a region that answers."""
        snapshot = self._poller.tick(SHARE_SECONDS)
        self._remember.take(snapshot)
        silent = {s.site for s in snapshot.extra if s.metric == "answers" and s.value == 0.0}
        for transport in self._transports:
            if hasattr(transport, "sites"):
                transport.sites = tuple(sorted(SITES, key=lambda site: (site in silent, site)))
        problems = {
            reading.name: f"{reading.status}: {reading.problem}" for reading in snapshot.readings if reading.problem
        }
        for name, problem in problems.items():
            if name not in self._problems:
                log.warning("%s %s", name, problem)
        self._problems = problems
        return snapshot

    @property
    def problems(self) -> list[str]:
        """Which sources of the last snapshot did not answer, in their own words."""
        return [f"{name} {problem}" for name, problem in self._problems.items()]

    def look(self, sensor: str, cursor: str | None) -> Ticked:
        """A tick of `replication_lag` or `health_checks`. Raises DrError when an alert could not be delivered."""
        watch, now = self.watch(sensor), self.clock()
        snapshot = self.poll()
        state = watch.settle(watch.load(cursor), now)
        samples = [*snapshot.samples, *self._unknowns(snapshot), self._store_sample(watch, now)]

        def advice(decided: State, transition: Transition) -> Sequence[str]:
            if transition.incident.topic != WRITER or transition.step == "resolved":
                return ()
            return self.advise(decided, snapshot).lines(self.link)

        return watch.tick(state, samples, self.clock(), self.rules, advice)

    def _unknowns(self, snapshot: Snapshot) -> Iterator[Sample]:
        """For each subject whose source did not answer a reading without a value, so that the evidence says why."""
        for reading in snapshot.readings:
            for rule in self.rules if reading.problem else ():
                if is_unread(rule, reading, self.stack):
                    note = f"{reading.status}: {reading.problem}"[:200]
                    yield Sample(reading.at, rule.stack, rule.site, rule.source, rule.metric, None, rule.unit, note)

    def _store_sample(self, watch: Watch, now: datetime) -> Sample:
        """Whether the history store answers, as a reading like any other."""
        trouble = watch.trouble or self._remember.trouble
        s = self.stack.environment_suffix
        return Sample(now, s, "global", "store", "answers", 0.0 if trouble else 1.0, "bool", trouble[:200])

    def judge(
        self,
        sensor: str,
        cursor: str | None,
        samples: Iterable[Sample],
        rule_of: Callable[[str], Rule],
        more: Mapping[str, Any] | None = None,
    ) -> Ticked:
        """A tick over samples whose subjects are not known beforehand (runs, checks, drills): each has the rule that
        `rule_of(subject)` gives. Raises DrError as `look` does."""
        watch, now, samples = self.watch(sensor), self.clock(), list(samples)
        state = watch.settle(watch.load(cursor), now)
        if more is not None:
            state = replace(state, more={**state.more, **more})
        subjects = sorted({*state.tracks, *(sample.subject for sample in samples), *_open(state)})
        return watch.tick(state, samples, now, [rule_of(subject) for subject in subjects])

    # --- the event queue -------------------------------------------------------------------------------------------

    def drain(self, cursor: str | None) -> tuple[Ticked, list[Message]]:
        """A tick of `event_queue`: what was dealt with in the last tick is deleted, then the queues are read.

        Deleting waits for the next tick because only then the cursor, in which the message's meaning is, is known to be
        kept. Raises DrError when an alert could not be delivered (then nothing is received either).
        """
        watch, now = self.watch("event_queue"), self.clock()
        snapshot = self.poll()
        state = watch.settle(watch.load(cursor), now)
        messages, unread = self._exchange(state.more.get("delete", {}))
        events: dict[str, Any] = dict(state.more.get("events", {}))
        seen: dict[str, float] = dict(state.more.get("seen", {}))
        delete: dict[str, list[str]] = {}
        ended: list[str] = []
        extra: list[Sample] = []
        alarms = {site: {names.alarm(self.stack, site, m): m for m in ALARM_METRICS} for site in SITES}
        for message in sorted(messages, key=lambda message: message.at):
            if message.kind == "poison":
                events[f"{message.site}/poison"] = {
                    "since": message.at.timestamp(),
                    "at": now.timestamp(),
                    "note": message.id,
                }
                continue
            delete.setdefault(message.site, []).append(message.receipt)
            if message.id in seen:
                continue
            seen[message.id] = now.timestamp()
            if message.kind == "own":
                self.ledger.confirm_echo(self.stack.environment_suffix, str(message.body["key"]), now)
            elif message.kind == "alarm":
                sample = queues.alarm_sample(message, alarms[_site(message.site)])
                extra += [sample] if sample else []
            else:
                ended += self._event(message, events)
        for site in SITES:
            for what in ("unread", "unanswered"):
                name = f"{site}/{what}"
                if what in unread.get(site, {}):
                    since = events.get(name, {}).get("since", now.timestamp())
                    events[name] = {"since": since, "at": now.timestamp(), "note": unread[site][what][:200]}
                elif events.pop(name, None):
                    ended.append(name)
        for name in [name for name, event in events.items() if _over(name, event, now.timestamp())]:
            del events[name]
            ended.append(name)
        more = {"delete": delete, "events": events, "seen": dict(list(seen.items())[-SEEN:])}
        state = replace(state, more=more)
        return self._events_tick(watch, state, snapshot, extra, events, ended), messages

    def _event(self, message: Message, events: dict[str, Any]) -> list[str]:
        """Begin or end what an RDS event says; messages may come in any order."""
        ended = []
        at = message.at.timestamp()
        for what, begins in meaning(queues.event_id(message)):
            name = f"{message.site}/{what}"
            last = events.get(name)
            if begins:
                note = f"{queues.event_id(message)}: {message.body.get('Event Message', '')}"[:200]
                if last is None or last.get("at", 0.0) < at:
                    events[name] = {"since": at, "at": at, "note": note}
            elif last is not None and last["at"] <= at:
                # Kept a while as ended, so that a beginning that arrives late does not begin it again.
                events[name] = {**last, "at": at, "done": True}
                ended.append(name)
            elif last is None:
                events[name] = {"since": at, "at": at, "done": True, "note": ""}
        return ended

    def _events_tick(
        self,
        watch: Watch,
        state: State,
        snapshot: Snapshot,
        extra: list[Sample],
        events: Mapping[str, Any],
        ended: list[str],
    ) -> Ticked:
        s, now = self.stack.environment_suffix, self.clock()
        samples = [*snapshot.samples, *extra]
        names = {name for name, event in events.items() if not event.get("done")}
        for name in names | set(ended):
            site, what = name.split("/", 1)
            samples.append(
                Sample(
                    now,
                    s,
                    site,
                    "events",
                    what,
                    0.0 if name in names else 1.0,
                    "bool",
                    str(events.get(name, {}).get("note", "")),
                )
            )
        known = {key for key in state.tracks if "/events/" in key} | {
            f"{s}/{n.replace('/', '/events/')}" for n in names
        }
        rules = [event_rule(key) for key in sorted(known)]
        return watch.tick(state, samples, now, [*self.rules, *rules])

    def _exchange(self, delete: Mapping[str, Sequence[str]]) -> tuple[list[Message], dict[Site, dict[str, str]]]:
        """Both sites at once, each with a deadline. A site that does not answer gives nothing, and loses nothing: which one
        that was, and whether it refused (`unread`) or was silent (`unanswered`), comes second."""
        found: dict[Site, list[Message]] = {}
        said: dict[Site, dict[str, str]] = {}

        def one(site: Site) -> None:
            try:
                self._queues.delete(site, delete.get(site, ()))
                found[site] = self._queues.receive(site)
            except Exception as error:
                problem = explain(error, "sqs", "receive_message", self.stack.region(site))
                said[site] = {"unanswered" if isinstance(problem, UnansweredError) else "unread": str(problem)}

        threads = [threading.Thread(target=one, args=(site,), daemon=True) for site in SITES]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(queues.DEADLINE_SECONDS)
        late = {"unanswered": f"no answer within {queues.DEADLINE_SECONDS:g} s"}
        unread = {site: said.get(site, late) for site in SITES if site not in found}
        return [message for site in SITES for message in found.get(site, [])], unread

    # --- the decision ----------------------------------------------------------------------------------------------

    def advise(self, state: State, snapshot: Snapshot) -> Recommendation:
        site = state.roles.get(self.stack.environment_suffix, ("primary", 0.0))[0]
        return recommend(self.stack, snapshot.samples, self.clock(), _site(site), self.vote)

    @property
    def lag_gate_ms(self) -> float:
        """The most lag at which it may act by itself: what the objective allows to lose. While the writer is down the lag
        grows with the clock, so a rehearsal's gate of a second would refuse every real outage."""
        return self.stack.rpo_seconds * 1000.0

    def failover_conditions(self, advice: Recommendation) -> list[Mapping[str, Any]]:
        """The preconditions of the failover that is recommended, asked of AWS and of the target's database now.

        Raises DrError where nobody can say who the writer is, or it has moved meanwhile.
        """
        from dr_assets.drills import runner
        from dr_assets.drills.request import Request

        settings = {"lag_gate_ms": self.lag_gate_ms}
        request = Request("failover", "automatic failover", "armed", settings=settings, from_site=advice.writer)
        return [item.as_json() for item in runner.prepare(self.stack, request).conditions]

    def test_alert(self, by: str) -> dict[str, str]:
        """Send a test through every transport, PagerDuty included. Raises DrError when one does not take it."""
        now = self.clock()
        breach = Breach(
            "test",
            "test",
            self.stack.environment_suffix,
            "global",
            "test",
            "test",
            now.timestamp(),
            f"Test alert asked for by {by}: nothing is wrong",
            "nothing",
            None,
            "",
            "to be read",
            "critical",
            "",
        )
        incident = open_incident(breach, int(now.timestamp() * 1000), now.timestamp(), 0.0, True)
        results: dict[str, str] = {}
        for step, ended in (("opened", None), ("resolved", now.timestamp())):
            transition = Transition(step, incident.updated(ended=ended), now.timestamp())  # type: ignore[arg-type]
            alert = compose(transition, self.resources, self.link)
            results = {**deliver(self.ledger, self._transports, alert, now)}
        return results


def _site(text: str) -> Site:
    return "secondary" if text == "secondary" else "primary"


def _open(state: State) -> set[str]:
    return {key.rstrip("?") for incident in state.incidents.values() for key in incident.breaches}


def _over(name: str, event: Mapping[str, Any], now: float) -> bool:
    # A poisonous message is in the dead-letter queue after three receives, about three minutes.
    longest = 600.0 if name.endswith("/poison") else 3600.0 if event.get("done") else EVENT_LONGEST_SECONDS
    return now - float(event["at"]) > longest
