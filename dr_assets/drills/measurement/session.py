"""Start and stop a drill's measurement: commit ledger, client probes and DNS watch.

During a recovery nothing here calls AWS: names are resolved, and PostgreSQL is queried.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from itertools import cycle
from pathlib import Path

import psycopg

from dr_assets import utc
from dr_assets.clock import STEP_SECONDS, suspended
from dr_assets.drills.aws_view import AwsView
from dr_assets.drills.journal import Baseline, Count, Journal, RtoInterval
from dr_assets.drills.measurement.client_probe import ClientProbe, Verdict, write_once
from dr_assets.drills.measurement.commit_ledger import CommitLedger, survivors
from dr_assets.drills.measurement.rpo_rto import (
    Lookups,
    MeasuredRto,
    gap_at_least,
    last_refused,
    recovered_at,
    rpo,
    rto,
)
from dr_assets.drills.parts import Mark, MeasuringClient, RtoParts
from dr_assets.drills.plan import Plan
from dr_assets.errors import DrError
from dr_assets.history.store import FolderStore, Store
from dr_assets.postgres.connection import Credentials, connect
from dr_assets.postgres.endpoints import Address, Resolver

WORK = Path(".dr") / "work"
WATCH_SECONDS = 0.05
# An old writer is fenced within moments of the new one's first write, or not at all.
SPLIT_SECONDS = 5.0


class NotSteadyError(DrError):
    """The ledger or the probe could not write before the drill began."""


class MeasurementSession:
    """The measuring of one drill. `old_address` is where the writer endpoint led before anything was done."""

    def __init__(self, view: AwsView, plan: Plan, journal: Journal, store: Store) -> None:
        self._plan, self._journal, self._store = plan, journal, store
        self._good_probes = int(plan.good_probes)
        self._credentials = view.credentials
        self._endpoint, self._port = view.writer_endpoint, view.credentials.port
        self._plain = view.resolver
        self._target_hosts = view.target_hosts()
        self._target = cycle(self._target_hosts)
        self._writer: Address | None = None
        baseline = journal.result(Baseline)
        # The journal keeps the old writer's own name, where there is one: its region may not answer when the drill is resumed.
        old = (baseline.from_address[0],) if baseline else view.old_writer_names()
        self._names = (*view.cluster_endpoints, *old)
        found = Address(*baseline.from_address) if baseline else view.writer_address()
        self.old_address = replace(found, host=(*old, found.host)[0], also=(*self._names, found.host))
        folder = store.root / "work" if isinstance(store, FolderStore) else WORK
        self._folder = folder / journal.drill
        self._ledger_file = self._folder / "ledger.jsonl"
        self._cached = cached = Resolver(cache=True)
        # Everything is timed on the drill's timeline, also what an earlier process has measured.
        self._timeline = line = journal.timeline

        def secret() -> Credentials:
            return self._credentials

        through_dns, as_application = partial(self._through, self._plain), partial(self._through, cached)
        self._ledger = CommitLedger(journal.drill, self._ledger_file, through_dns, secret, plan.rate, line)
        self._client = ClientProbe(
            journal.drill, "client", as_application, secret, plan.probe_interval, self._folder / "client.jsonl", line
        )
        self._at_target = ClientProbe(
            journal.drill,
            "target",
            self._next_target,
            secret,
            plan.probe_interval / 2,
            self._folder / "target.jsonl",
            line,
        )
        self._suspended = suspended()
        self._ending = threading.Event()
        self._watch = threading.Thread(target=self._watch_dns, name="dns-watch", daemon=True)
        self._resolved_at: float | None = None
        # The begin of the last lookup that led to the old writer; who answered, and the largest time to live.
        self._led_to_old: float | None = None
        self._answered: Address | None = None

    def _through(self, resolver: Resolver) -> Address:
        return replace(resolver.resolve(self._endpoint, self._port), also=self._names)

    def start(self) -> None:
        self._ledger.start()
        self._client.start()
        self._at_target.start()
        self._watch.start()

    def stop(self) -> None:
        self._ending.set()
        for one in (self._ledger, self._client, self._at_target):
            one.stop()
        if self._watch.ident:
            self._watch.join(5)

    def _watch_dns(self) -> None:
        """T5: when the writer endpoint first leads to the target."""
        while not self._ending.is_set() and self._resolved_at is None:
            begun = self._timeline.now()
            with suppress(DrError):
                found = self._plain.resolve(self._endpoint, self._port)
                # The largest: a recursive resolver gives what is left of the time to live.
                if self._answered is None or found.ttl > self._answered.ttl:
                    self._answered = found
                if found.ip in self._target_ips():
                    self._resolved_at = self._timeline.now()
                elif found.ip == self.old_address.ip:
                    self._led_to_old = begun
            self._ending.wait(WATCH_SECONDS)

    def steady(self, seconds: float, timeout: float) -> None:
        """Return when ledger and client have written without failure for `seconds`.

        Raises NotSteadyError when they have not after `timeout` more.
        """
        deadline = time.monotonic() + timeout + seconds
        while time.monotonic() < deadline:
            recent = [a for a in self._client.attempts if a.begun > self._timeline.now() - seconds]
            long_enough = bool(recent) and recent[-1].ended - recent[0].begun > seconds * 0.8
            if self._ledger.acknowledged and long_enough and all(attempt.good for attempt in recent):
                return
            time.sleep(0.05)
        problem = self._ledger.last_error or next((a.error for a in reversed(self._client.attempts) if a.error), None)
        raise NotSteadyError(f"Writing through {self._endpoint} is not steady: {problem or 'too few rows'}.")

    def arrived(self, seconds: float) -> str | None:
        """Wait until a row of the ledger has reached the target, so that what is lost can be counted from there.

        None once one has; else why not. Asks at least once, whatever `seconds`.
        """
        deadline = time.monotonic() + seconds
        while True:
            try:
                with connect(self._next_target(), self._credentials, read_only=True) as connection:
                    if survivors(connection, self._journal.drill):
                        return None
                    reason = "the target holds none of them"
            except DrError as error:
                reason = str(error)
            except psycopg.Error as error:
                reason = f"the target could not be read: {str(error).strip()[:200]}"
            if time.monotonic() >= deadline:
                return f"None of the ledger's rows has reached the target ({reason})."
            time.sleep(0.05)

    def acknowledged(self) -> int:
        return self._ledger.acknowledged

    def _next_target(self) -> Address:
        """The target's instances in turn: AWS may promote any of them."""
        return self._plain.resolve(next(self._target), self._port)

    def _target_ips(self) -> set[str]:
        """Addresses of the target's instances, and where the probe there was served."""
        found = {attempt.ip for attempt in self._at_target.attempts if attempt.good and attempt.ip}
        for host in self._target_hosts:
            with suppress(DrError):
                found.add(self._cached.resolve(host, self._port).ip)
        return found

    def why_not_writable(self) -> str | None:
        """None once PostgreSQL at one of the target's instances reports that it is not in recovery; else the reason."""
        reasons = []
        for host in self._target_hosts:
            try:
                address = self._plain.resolve(host, self._port)
                with connect(address, self._credentials, read_only=True) as connection:
                    row = connection.execute("select pg_is_in_recovery()").fetchone()
            except DrError as error:
                reasons.append(str(error))
                continue
            if row is not None and row[0] is False:
                self._writer = address
                return None
            reasons.append(f"{host} is in recovery")
        return "; ".join(reasons)

    def recovered(self, seconds: float) -> str | None:
        """Wait until the client has written N times in a row at the target; None then, else why it has not.

        A client that the old writer still serves after the new one has accepted writes will never move: that ends the wait.
        """
        deadline = time.monotonic() + seconds
        while recovered_at(self._client.attempts, self._target_ips(), self._good_probes) is None:
            taken = next((attempt.ended for attempt in self._at_target.attempts if attempt.good), None)
            served = [a for a in self._client.attempts if a.good and a.ip == self.old_address.ip]
            if taken is not None and served and served[-1].begun > taken + SPLIT_SECONDS:
                return f"the old writer at {self.old_address.ip} still accepts writes: clients stay there"
            if time.monotonic() > deadline:
                return f"the endpoint did not accept {self._good_probes} writes in a row within {seconds:.0f} s"
            self._journal.check_clock()
            time.sleep(0.02)
        return None

    def interval(self) -> RtoInterval | None:
        """RTO as the client measured it, with the marks on the timeline; None where it was not measured from both sides."""
        if not self._one_timeline():
            self._journal.deviate(
                "RTO is unknown: the clock of this process is behind what an earlier one has measured."
            )
            return None
        called = self._journal.marked("T3")
        marks: dict[str, float] = {}
        if called:
            marks["T3"] = utc.parse(called).timestamp()
        taken = [attempt.ended for attempt in self._at_target.attempts if attempt.good]
        if taken:
            marks["T4"] = taken[0]
        if self._resolved_at is not None:
            marks["T5"] = self._resolved_at
        answered = self._answered
        lookups = Lookups(
            ttl=answered.ttl if answered else 0.0,
            interval=self._plan.probe_interval,
            led_to_old=self._led_to_old,
            refused=last_refused(self._at_target.attempts),
        )
        cached = answered.ttl if answered and answered.source != "system" else None
        if cached is None:
            self._journal.deviate(
                "The DNS time to live of the endpoint is unknown: the RTO is that of the measuring client, and others may take longer."
            )
        known = (self._client.attempts, self._target_ips(), self._good_probes)
        measured = rto(*known, marks, lookups)
        client = MeasuringClient(
            dns=answered.source if answered else None,
            dns_ttl_seconds=cached,
            probe_interval_seconds=self._plan.probe_interval,
            low_seconds=measured.client_low_seconds if measured else None,
            high_seconds=measured.client_high_seconds if measured else None,
        )
        if measured is None:
            low = None if self._client.interrupted else gap_at_least(*known, lookups)
            if low is None:
                return None
            unknown = RtoParts(detect=None, decide=None, database=None, traffic=None)
            return RtoInterval(low_seconds=low, high_seconds=None, parts=unknown, client=client)
        self._mark(measured)
        slept = suspended() - self._suspended
        if slept > STEP_SECONDS:
            self._journal.deviate(
                f"The host slept for {slept:.1f} s, which no clock of the drill counts: RTO is a lower bound."
            )
            unknown = RtoParts(detect=None, decide=None, database=None, traffic=None)
            return RtoInterval(low_seconds=measured.low_seconds, high_seconds=None, parts=unknown, client=client)
        # Nothing was measured while no process ran, so the gap may have been shorter than the time between two attempts.
        low = min(0.0, measured.low_seconds) if self._client.interrupted else measured.low_seconds
        return RtoInterval(
            low_seconds=low, high_seconds=measured.high_seconds, parts=RtoParts(**measured.parts), client=client
        )

    def _one_timeline(self) -> bool:
        """Whether the attempts of all processes are in order on one timeline."""
        before = [attempt.ended for attempt in self._client.attempts_before]
        return not before or not self._journal.measured_by_two_clocks or max(before) < self._timeline.anchor.wall

    def _mark(self, measured: MeasuredRto) -> None:
        texts: dict[Mark, tuple[str, str]] = {
            "T0": ("last write accepted by the old writer", "client"),
            "T1": ("first failed write", "client"),
            "T4": ("the new writer accepted a write", "probe at the target"),
            "T5": ("the writer endpoint leads to the target", "dns"),
            "T6": (f"first of {self._good_probes} good writes in a row at the new writer", "client"),
        }
        for mark, (text, source) in texts.items():
            if mark in measured.marks and not (mark == "T1" and measured.parts["detect"] == 0):
                at = utc.from_epoch(measured.marks[mark])
                self._journal.note(text, source, mark, at)

    def write_at_old_writer(self) -> tuple[Verdict, str]:
        """Try a write where the writer was."""
        return write_once(self.old_address, self._credentials, self._journal.drill)

    def finish(self) -> Count:
        """End the measuring and count: what was acknowledged against what the new writer holds."""
        self.stop()
        fates = self._ledger.stop()
        if self._writer is None and (why_not := self.why_not_writable()):
            raise DrError(f"The new writer's rows cannot be counted: {why_not}.")
        assert self._writer is not None
        with connect(self._writer, self._credentials, read_only=True) as connection:
            found = survivors(connection, self._journal.drill)
        times, problem = fates.commit_times()
        if problem:
            self._journal.deviate(problem)
        counted = rpo(times, found)
        key = f"drills/{self._plan.stack}/{self._journal.drill}-ledger.jsonl"
        self._store.write(key, self._ledger_file.read_bytes())
        figures = asdict(counted)
        if figures["lost_at_least_seconds"] is None:
            del figures["lost_at_least_seconds"]  # a field that earlier versions of the journal do not have
        return Count(**figures, ledger=key, unknown=len(fates.unknown), refused=len(fates.refused))
