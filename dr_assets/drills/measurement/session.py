"""Everything that measures during a drill, begun and ended together: the ledger, the probes, the watch on DNS.

May import its neighbours. In a recovery nothing here asks AWS: names are resolved, and PostgreSQL is spoken to.
"""

from __future__ import annotations

import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

from dr_assets import utc
from dr_assets.drills.aws_view import Scene
from dr_assets.drills.journal import Journal
from dr_assets.drills.measurement.client_probe import Probe, Verdict, write_once
from dr_assets.drills.measurement.commit_ledger import LedgerWriter, survivors
from dr_assets.drills.measurement.rpo_rto import Rto, recovered_at, rpo, rto
from dr_assets.drills.plan import Plan
from dr_assets.errors import DrError
from dr_assets.history.store import FolderStore, Store
from dr_assets.postgres.connection import connect
from dr_assets.postgres.endpoints import Address, Resolver

WORK = Path(".dr") / "work"
WATCH_SECONDS = 0.05
# An old writer is fenced within moments of the new one's first write, or not at all.
SPLIT_SECONDS = 5.0


class NotSteadyError(DrError):
    """The ledger or the probe could not write before the drill began."""


class Measurement:
    """The measuring of one drill. `old_address` is where the writer endpoint led before anything was done."""

    def __init__(self, scene: Scene, plan: Plan, journal: Journal, store: Store) -> None:
        self._plan, self._journal, self._store = plan, journal, store
        self._credentials = scene.credentials
        self._endpoint, self._port = scene.writer_endpoint, scene.credentials.port
        self._plain = scene.resolver
        self.target = scene.target_address()
        known = journal.result("baseline").get("from_address")
        self.old_address = Address(*known) if known else scene.writer_address()
        folder = store.root / "work" if isinstance(store, FolderStore) else WORK
        self._folder = folder / journal.drill
        self._ledger_file = self._folder / "ledger.jsonl"
        cached = Resolver(cache=True)
        secret = lambda: self._credentials  # noqa: E731
        through_dns = partial(self._plain.resolve, self._endpoint, self._port)
        as_application = partial(cached.resolve, self._endpoint, self._port)
        self._ledger = LedgerWriter(journal.drill, self._ledger_file, through_dns, secret, plan.rate)
        self._client = Probe(
            journal.drill, "client", as_application, secret, plan.probe_interval, self._folder / "client.jsonl"
        )
        self._at_target = Probe(
            journal.drill, "target", lambda: self.target, secret, plan.probe_interval / 2, self._folder / "target.jsonl"
        )
        self._ending = threading.Event()
        self._watch = threading.Thread(target=self._watch_dns, name="dns-watch", daemon=True)
        self._resolved_at: float | None = None

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
            try:
                found = self._plain.resolve(self._endpoint, self._port)
                if (found.ip, found.port) == (self.target.ip, self.target.port):
                    self._resolved_at = time.time()
            except DrError:
                pass
            self._ending.wait(WATCH_SECONDS)

    def steady(self, seconds: float, patience: float) -> None:
        """Return when ledger and client have written without failure for `seconds`.

        Raises NotSteadyError when they have not after `patience` more.
        """
        deadline = time.monotonic() + patience + seconds
        while time.monotonic() < deadline:
            recent = [a for a in self._client.attempts if a.begun > time.time() - seconds]
            long_enough = bool(recent) and recent[-1].ended - recent[0].begun > seconds * 0.8
            if self._ledger.acknowledged and long_enough and all(attempt.good for attempt in recent):
                return
            time.sleep(0.05)
        problem = self._ledger.last_error or next((a.error for a in reversed(self._client.attempts) if a.error), None)
        raise NotSteadyError(f"Writing through {self._endpoint} is not steady: {problem or 'too few rows'}.")

    def acknowledged(self) -> int:
        return self._ledger.acknowledged

    def target_writable(self) -> bool:
        """Whether PostgreSQL at the target says that it is not in recovery."""
        try:
            with connect(self.target, self._credentials, read_only=True) as connection:
                row = connection.execute("select pg_is_in_recovery()").fetchone()
        except DrError:
            return False
        return bool(row) and row is not None and row[0] is False

    def recovered(self, seconds: float) -> str | None:
        """Wait until the client has written N times in a row at the target; None then, else why it has not.

        A client that the old writer goes on serving after the new one has taken writes will never come: that ends the wait.
        """
        deadline = time.monotonic() + seconds
        while recovered_at(self._client.attempts, self.target.ip, self._plan.good_probes) is None:
            taken = next((attempt.ended for attempt in self._at_target.attempts if attempt.good), None)
            served = [a for a in self._client.attempts if a.good and a.ip == self.old_address.ip]
            if taken is not None and served and served[-1].begun > taken + SPLIT_SECONDS:
                return f"the old writer at {self.old_address.ip} still takes writes: clients stay there"
            if time.monotonic() > deadline:
                return f"the endpoint did not take {self._plan.good_probes} writes in a row within {seconds:.0f} s"
            time.sleep(0.02)
        return None

    def figures(self) -> dict[str, Any]:
        """RTO as the client saw it, with the marks on the timeline; `rto` is None where it was not seen from both sides."""
        called = next((e["at"] for e in self._journal.data["timeline"] if e["mark"] == "T3"), None)
        marks: dict[str, float] = {}
        if called:
            marks["T3"] = utc.parse(called).timestamp()
        taken = [attempt.ended for attempt in self._at_target.attempts if attempt.good]
        if taken:
            marks["T4"] = taken[0]
        if self._resolved_at is not None:
            marks["T5"] = self._resolved_at
        measured = rto(self._client.attempts, self.target.ip, self._plan.good_probes, marks)
        if measured is None:
            return {"rto": None}
        self._mark(measured)
        document = measured.as_json()
        if self._client.interrupted:
            # Nothing was seen while no process ran, so the gap may have been shorter than what lies between two sights.
            document["low_seconds"] = min(0.0, measured.low_seconds)
        return {"rto": document}

    def _mark(self, measured: Rto) -> None:
        told = {
            "T0": ("last write accepted by the old writer", "client"),
            "T1": ("first failed write", "client"),
            "T4": ("the new writer took a write", "probe at the target"),
            "T5": ("the writer endpoint leads to the target", "dns"),
            "T6": (f"first of {self._plan.good_probes} good writes in a row at the new writer", "client"),
        }
        for mark, (text, source) in told.items():
            if mark in measured.marks and not (mark == "T1" and measured.parts["detect"] == 0):
                at = utc.from_epoch(measured.marks[mark])
                self._journal.note(text, source, mark, at)

    def old_writer(self) -> tuple[Verdict, str]:
        """Try a write where the writer was."""
        return write_once(self.old_address, self._credentials, self._journal.drill)

    def finish(self) -> dict[str, Any]:
        """End the measuring and count: what was acknowledged against what the new writer holds."""
        self.stop()
        fates = self._ledger.stop()
        with connect(self.target, self._credentials, read_only=True) as connection:
            found = survivors(connection, self._journal.drill)
        counted = rpo(fates.acknowledged, found)
        key = f"drills/{self._plan.stack}/{self._journal.drill}-ledger.jsonl"
        self._store.write(key, self._ledger_file.read_bytes())
        return counted.as_json() | {"ledger": key, "unknown": len(fates.unknown), "refused": len(fates.refused)}
