"""`Monitor`, what the Dagster sensors call: wires one stack's sources, rules, store and channels together.

One Monitor serves all sensors of its stack; the Dagster sensors only call it and report what it returns.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from dr_assets import escape, utc
from dr_assets.alerting.channels import open_channels
from dr_assets.alerting.channels.channel import Channel
from dr_assets.alerting.delivery import DeliveryLog, deliver
from dr_assets.alerting.message import compose
from dr_assets.aws import Aws
from dr_assets.core.freshness import elapsed
from dr_assets.core.model import Resource
from dr_assets.documents import storable
from dr_assets.failover.arming import Precondition
from dr_assets.failover.vote import DEFAULT_VOTE, OWN_PROBE_VOTE, Recommendation, Vote, recommend
from dr_assets.history.store import Store, open_store
from dr_assets.monitoring.evaluate import remembered
from dr_assets.monitoring.incidents import Breach, Transition, open_incident
from dr_assets.monitoring.lag_recorder import LagRecorder
from dr_assets.monitoring.rule import Rule
from dr_assets.monitoring.rules import SQL_VARIABLE, is_unread, rules_for, sources_for
from dr_assets.monitoring.samples import STATE, Message, Sample, Snapshot
from dr_assets.monitoring.sources.poller import Poller
from dr_assets.monitoring.state import OUTSIDE, SensorMemory, State
from dr_assets.monitoring.subject_rules import channel_rule, event_rule
from dr_assets.monitoring.topics import TOPICS, WRITER
from dr_assets.resources.catalog import catalog
from dr_assets.stack import SITES, Site, Stack
from dr_assets.ticks.event_queue import Queues
from dr_assets.ticks.event_states import process
from dr_assets.ticks.heartbeat import Heartbeats
from dr_assets.ticks.tick import Ticker, TickResult

SHARE_SECONDS = 3.0
# A dark region must be recognized within one source's deadline: after one read without an answer.
READ_SECONDS = 4.0
LINK_VARIABLE = "DR_DAGSTER_URL"

log = escape.logger(__name__)


@dataclass
class Monitor:
    """Monitors one stack: polls sources, evaluates rules, delivers alerts. Calls nothing until its first tick.

    Args:
        preconditions: evaluates those of the recommended failover; None: automatic failover is refused.
    """

    stack: Stack
    store: Store = field(default_factory=open_store)
    poller: Poller | None = None
    aws: Aws | None = None
    channels: Sequence[Channel] | None = None
    link: str = field(default_factory=lambda: os.environ.get(LINK_VARIABLE, ""))
    preconditions: Callable[[Recommendation], Sequence[Precondition]] | None = None
    clock: Callable[[], datetime] = utc.clock
    vote: Vote = DEFAULT_VOTE
    heartbeats: Heartbeats | None = None

    def __post_init__(self) -> None:
        self.resources: Mapping[str, Resource] = {resource.key: resource for resource in catalog(self.stack)}
        self.deliveries = DeliveryLog(self.store)
        self._aws = self.aws or Aws(read_timeout=READ_SECONDS, attempts=2, silence=READ_SECONDS)
        self._poller = self.poller or Poller([self.stack], sources_for([self.stack], self._aws))
        if self.poller is None and os.environ.get(SQL_VARIABLE) == "publish":
            self.vote = OWN_PROBE_VOTE
        self._channels = list(open_channels(self.stack, os.environ) if self.channels is None else self.channels)
        own = (channel_rule(self.stack.environment_suffix, channel.name) for channel in self._channels)
        self.rules = (*rules_for(self.stack), *own)
        self._queues = Queues(self.stack, self._aws)
        self._tickers = {topic.sensor: self._ticker(topic.sensor) for topic in TOPICS.values()}
        self._recorder = LagRecorder(self.store, self.stack.environment_suffix)
        self._problems: dict[str, str] = {}
        self._heartbeats = self.heartbeats or Heartbeats(self.stack)

    def _ticker(self, sensor: str) -> Ticker:
        return Ticker(
            sensor=sensor,
            stack=self.stack.environment_suffix,
            store=self.store,
            deliveries=self.deliveries,
            channels=self._channels,
            resources=self.resources,
            link=self.link,
        )

    def ticker(self, sensor: str) -> Ticker:
        return self._tickers[sensor]

    def state(self, sensor: str, cursor: str | None) -> State:
        """What the sensor's cursor remembers. Raises DrError where it cannot be read."""
        return self.ticker(sensor).load(cursor)

    def beat(self, sensor: str, daemon_runs: Callable[[], bool]) -> None:
        """Note a completed tick of a sensor: `Heartbeats.beat`."""
        self._heartbeats.beat(sensor, daemon_runs)

    def poll(self) -> Snapshot:
        """This tick's snapshot; sensors that tick within a few seconds share one. Alerts leave from a region that answers."""
        snapshot = self._poller.tick(SHARE_SECONDS)
        self._recorder.record(snapshot)
        silent = {s.site for s in snapshot.extra if s.metric == "answers" and s.is_known_as(0.0, snapshot.at)}
        for channel in self._channels:
            channel.sites = sorted(SITES, key=lambda site: (site in silent, site))
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
        """The sources of the last snapshot that did not answer, each with its error."""
        return [f"{name} {problem}" for name, problem in self._problems.items()]

    def observe(self, sensor: str, cursor: str | None) -> TickResult:
        """A tick of `replication_lag` or `health_checks`. Raises DrError when an alert is lost (`Ticker.tick`)."""
        ticker, now = self.ticker(sensor), self.clock()
        snapshot = self.poll()
        state = ticker.deliver_outbox(ticker.load(cursor), now)
        samples = [
            *snapshot.samples,
            *self._unknowns(snapshot),
            self._store_sample(ticker, now),
            self._clock_sample(ticker, now),
            *self._channel_samples(now),
        ]

        def advice(decided: State, transition: Transition) -> Sequence[str]:
            if transition.incident.topic != WRITER or transition.step == "resolved":
                return ()
            return self.advise(decided, snapshot).lines(self.link)

        return ticker.tick(state, samples, self.clock(), self.rules, advice)

    def _unknowns(self, snapshot: Snapshot) -> Iterator[Sample]:
        """A sample without a value for each subject whose source failed, so that the evidence holds the error."""
        for reading in snapshot.readings:
            for rule in self.rules if reading.problem else ():
                if is_unread(rule, reading, self.stack):
                    note = f"{reading.status}: {reading.problem}"[:200]
                    yield Sample(reading.at, rule.stack, rule.site, rule.source, rule.metric, None, note=note)

    def _store_sample(self, ticker: Ticker, now: datetime) -> Sample:
        """Whether the history store answers, as a reading like any other."""
        problem = ticker.store_problem or self._recorder.problem
        s = self.stack.environment_suffix
        return Sample(now, s, "global", "store", "answers", 0.0 if problem else 1.0, STATE, problem[:200])

    def _clock_sample(self, ticker: Ticker, now: datetime) -> Sample:
        """Whether our clock ran on since the sensor's last tick, or was set."""
        step = ticker.clock_step
        note = f"set {'back' if step < 0 else 'ahead'} by {abs(step):.1f} s" if step else ""
        s = self.stack.environment_suffix
        return Sample(now, s, "global", "host", "clock", 0.0 if step else 1.0, STATE, note)

    def _channel_samples(self, now: datetime) -> Iterator[Sample]:
        """Whether each channel took the last alert it was given, by any sensor. One that was given none yields nothing."""
        s = self.stack.environment_suffix
        for name, problem in sorted(self.deliveries.answered.items()):
            yield Sample(now, s, "global", "channel", name, 0.0 if problem else 1.0, STATE, problem[:200])

    def evaluate(
        self,
        sensor: str,
        cursor: str | None,
        samples: Sequence[Sample],
        rule_of: Callable[[str], Rule],
        memory: SensorMemory | None = None,
    ) -> TickResult:
        """A tick over subjects that are not known beforehand (runs, checks, drills); `rule_of(subject)` builds their rules.

        `memory`: up to where runs were read, for the cursor. Raises DrError as `observe` does.
        """
        ticker, now = self.ticker(sensor), self.clock()
        state = ticker.deliver_outbox(ticker.load(cursor), now)
        if memory is not None:
            state = state.updated(memory=memory)
        breached = {key.rstrip("?") for incident in state.incidents.values() for key in incident.breaches}
        subjects = sorted({*remembered(state, now.timestamp()), *(sample.subject for sample in samples), *breached})
        return ticker.tick(state, samples, now, [rule_of(subject) for subject in subjects])

    def process_events(self, cursor: str | None) -> tuple[TickResult, list[Message]]:
        """A tick of `event_queue`: delete what the last tick processed, then receive and process.

        A message is deleted one tick later, because only then the cursor that holds its meaning is known to be stored. Raises
        DrError when an alert is lost (`Ticker.tick`); what was received is then received again.
        """
        ticker = self.ticker("event_queue")
        snapshot = self.poll()
        state = ticker.deliver_outbox(ticker.load(cursor), self.clock())
        messages, failures = self._queues.exchange(state.memory.receipts)
        processed = process(self.stack, state.memory, messages, failures, self.clock())
        ticker.confirm_echoes(processed.confirmed, self.clock())
        state = state.updated(memory=processed.memory)
        subjects = {key for key in remembered(state, self.clock().timestamp()) if "/events/" in key}
        for name in processed.open:
            site, condition = name.split("/", 1)
            subjects.add(f"{self.stack.environment_suffix}/{site}/events/{condition}")
        rules = [*self.rules, *(event_rule(subject) for subject in sorted(subjects))]
        samples = [*snapshot.samples, *processed.samples]
        return ticker.tick(state, samples, self.clock(), rules), messages

    def advise(self, state: State, snapshot: Snapshot) -> Recommendation:
        """Whether to fail over, from the snapshot; `state` knows the writer's site, and when that was read."""
        site, read = state.roles.get(self.stack.environment_suffix, ("primary", None))
        writer: Site = "secondary" if site == "secondary" else "primary"
        now = self.clock()
        found = recommend(self.stack, snapshot.samples, now, writer, self.vote)
        if site == OUTSIDE:
            return found.held(
                "the writer is outside both sites: switch the global database over to a site of the stack"
            )
        return found.with_role_read(elapsed(None if read is None else utc.from_epoch(read), now))

    @property
    def lag_gate_ms(self) -> float:
        """The lag gate of an automatic failover: the widest, which is the RPO. While the writer is down the lag grows with the clock,
        so a drill's gate of a second would refuse every real outage."""
        from dr_assets.drills.plan import widest_lag_gate_ms

        return widest_lag_gate_ms(self.stack)

    def failover_conditions(self, advice: Recommendation) -> list[Precondition]:
        """Evaluate the preconditions of the recommended failover against AWS and the target's database. Its wider lag gate is none of
        them: whoever arms it overrides the default.

        Raises DrError where the writer is not known or has moved meanwhile.
        """
        from dr_assets.drills import runner
        from dr_assets.drills.preconditions import WIDENED
        from dr_assets.drills.request import Request

        settings = {"lag_gate_ms": self.lag_gate_ms}
        request = Request("failover", "automatic failover", "armed", settings=settings, from_site=advice.writer)
        conditions = runner.prepare(self.stack, request).conditions
        return [Precondition(each.name, each.passed, each.reason) for each in conditions if each.name not in WIDENED]

    def test_alert(self, by: str) -> dict[str, str]:
        """Send a test alert through every channel, PagerDuty included. Raises DrError when one does not accept it."""
        now = self.clock()
        breach = Breach(
            key="test",
            topic="test",
            stack=self.stack.environment_suffix,
            site="global",
            source="test",
            metric="test",
            since=now.timestamp(),
            text=f"Test alert asked for by {storable(by)}: nothing is wrong",
            runbook="nothing",
            value=None,
            unit="",
            objective="to be read",
            severity="critical",
            resource="",
        )
        incident = open_incident(breach, int(now.timestamp() * 1000), now.timestamp(), 0.0, True)
        results: dict[str, str] = {}
        for step, ended in (("opened", None), ("resolved", now.timestamp())):
            transition = Transition(step, incident.updated(ended=ended), now.timestamp())  # type: ignore[arg-type]
            alert = compose(transition, self.resources, self.link)
            results = {**deliver(self.deliveries, self._channels, alert, now)}
        return results
