"""The commit ledger: sequenced commits through the writer endpoint, with a durable record of what was acknowledged.

What is on the client's disk counts, not what is in memory: a commit is acknowledged once its line has reached the disk. No
sequence number is ever used twice, so no fate is ever ambiguous.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from dr_assets import files, utc
from dr_assets.clock import STEP_SECONDS, Timeline, clock_id
from dr_assets.documents import DocumentError, parse
from dr_assets.drills.measurement.rpo_rto import Row
from dr_assets.errors import DrError
from dr_assets.postgres.connection import Credentials, impatient, is_read_only, open_connection
from dr_assets.postgres.endpoints import Address

SCHEMA = """
create schema if not exists dr_drill;
create table if not exists dr_drill.dr_ledger (
    drill text, writer int, seq bigint, committed_at timestamptz not null default clock_timestamp(),
    primary key (drill, writer, seq));
create table if not exists dr_drill.dr_probe (
    drill text, probe text, n bigint, written_at timestamptz not null default clock_timestamp(), primary key (drill, probe));
"""
INSERT = "insert into dr_drill.dr_ledger (drill, writer, seq) values (%s, %s, %s) returning committed_at"
RETRY_SECONDS = 0.05
# So many rows before and after tell a step of the database's clock from a late answer.
_ROWS = 3


@dataclass
class Fates:
    """What became of the rows. `acknowledged` maps (writer, seq) to the commit time by the server's wall clock (seconds of the
    epoch), `received` to when the client had the acknowledgement (seconds on the drill's timeline; none in older files).

    `clocks`: the monotonic clock by which each writer timed its rows.
    """

    acknowledged: dict[Row, float] = field(default_factory=dict)
    received: dict[Row, float] = field(default_factory=dict)
    clocks: dict[int, str] = field(default_factory=dict)
    unknown: set[Row] = field(default_factory=set)
    refused: set[Row] = field(default_factory=set)

    writers: set[int] = field(default_factory=set)

    @property
    def next_writer(self) -> int:
        """A writer number that no row has had."""
        return max(self.writers, default=0) + 1

    def commit_times(self) -> tuple[dict[Row, float], str | None]:
        """When each acknowledged row was committed, as times that may be subtracted; and what is to be known about them.

        By the client's monotonic clock where one clock timed every row, else by the server's wall clock (PostgreSQL's
        clock_timestamp(), which may be set at any time). The two differ by the time of the answer's way.
        """
        timed = self.received.keys() == self.acknowledged.keys()
        one_clock = len({self.clocks.get(writer) for writer, _ in self.acknowledged}) <= 1
        if not (timed and one_clock):
            return (
                self.acknowledged,
                "Commits were timed by the database's clock: no one clock of the client timed them all.",
            )
        skews = [self.acknowledged[row] - at for row, at in sorted(self.received.items())]
        # An answer that was late for once is no step: of several rows, the one with the fastest answer counts.
        steps = [max(skews[n : n + _ROWS]) - max(skews[n - _ROWS : n]) for n in range(_ROWS, len(skews) - _ROWS + 1)]
        step = max(steps, key=abs, default=0.0)
        if abs(step) <= STEP_SECONDS:
            return self.received, None
        return (
            self.received,
            f"The database's clock stepped by {step:+.1f} s: commits were timed by the client's clock.",
        )


def read_fates(path: Path) -> Fates:
    """The fates on disk. A line torn by a crash was never acknowledged; it is left out. No file: no fates."""
    fates = Fates()
    if not path.exists():
        return fates
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        with suppress(DocumentError, ValueError, KeyError, TypeError):
            entry = parse(line)
            row, fate = (int(entry["w"]), int(entry["s"])), entry["fate"]
            if fate == "acknowledged":
                fates.acknowledged[row] = utc.parse(entry["at"]).timestamp()
                if "received" in entry:
                    fates.received[row] = float(entry["received"])
            elif fate == "unknown":
                fates.unknown.add(row)
            elif fate == "refused":
                fates.refused.add(row)
            elif "clock" in entry:
                fates.clocks[row[0]] = str(entry["clock"])
            fates.writers.add(row[0])
    return fates


class CommitLedger:
    """A thread that commits `rate` rows a second through `where` (resolved at every connection) until stopped.

    After an error it resolves the writer again; it disconnects from a standby at once. Rows are timed on `timeline`.
    """

    def __init__(
        self,
        drill: str,
        path: Path,
        where: Callable[[], Address],
        credentials: Callable[[], Credentials],
        rate: float,
        timeline: Timeline | None = None,
    ) -> None:
        self._drill, self._path, self._where, self._credentials = drill, path, where, credentials
        self._interval = 1.0 / rate
        self._timeline = timeline or Timeline()
        self._writer = read_fates(path).next_writer
        self._seq = 0
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
        self._acknowledged = 0
        self._last_error: str | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> Fates:
        """End the thread and return every fate on disk, those of earlier writers included."""
        self._ending.set()
        if self._thread.ident:
            self._thread.join(10)
        return read_fates(self._path)

    @property
    def acknowledged(self) -> int:
        """Rows this writer has on disk as acknowledged."""
        return self._acknowledged

    @property
    def last_error(self) -> str | None:
        return self._last_error

    def _run(self) -> None:
        try:
            self._write_rows()
        except OSError as error:  # a row that cannot be recorded must not be written: it would have no fate
            self._last_error = f"the ledger's file {self._path} cannot be written ({error.strerror})"

    def _write_rows(self) -> None:
        connection: psycopg.Connection[Any] | None = None
        with files.append(self._path, below=self._path.parent.parent) as file:
            if file.tell():
                file.write("\n")  # an earlier writer may have died within a line
            # On disk before the first row is sent: the writer after a crash takes another number.
            self._append(file, {"w": self._writer, "s": 0, "fate": "begun", "clock": clock_id()})
            while not self._ending.is_set():
                if connection is None:
                    connection = self._connect()
                    if connection is None:
                        self._ending.wait(RETRY_SECONDS)
                        continue
                begun = time.monotonic()
                if not self._write(connection, file):
                    with suppress(psycopg.Error):
                        connection.close()
                    connection = None
                    continue
                self._ending.wait(max(0.0, self._interval - (time.monotonic() - begun)))
        if connection is not None:
            connection.close()

    def _connect(self) -> psycopg.Connection[Any] | None:
        connection = None
        try:
            connection = open_connection(self._where(), self._credentials(), "dr-ledger")
            with impatient(connection, 2.0):
                row = connection.execute("select pg_is_in_recovery()").fetchone()
                if row and row[0]:
                    connection.close()
                    return None
                connection.execute(SCHEMA)
            return connection
        except (psycopg.Error, DrError) as error:
            self._last_error = str(error).strip()
            if connection is not None:
                connection.close()
            return None

    def _write(self, connection: psycopg.Connection[Any], file: Any) -> bool:
        self._seq += 1
        entry: dict[str, Any] = {"w": self._writer, "s": self._seq}
        try:
            with impatient(connection):
                row = connection.execute(INSERT, (self._drill, self._writer, self._seq)).fetchone()
        except psycopg.Error as error:
            self._last_error = str(error).strip()
            # A server that refuses writes has committed none; silence may hide a commit.
            entry["fate"] = "refused" if is_read_only(error) and not _ending_server(error) else "unknown"
            self._append(file, entry)
            return False
        assert row is not None
        entry |= {"at": row[0].astimezone(utc.UTC).isoformat(), "received": self._timeline.now()}
        self._append(file, entry | {"fate": "acknowledged"})
        self._acknowledged += 1
        return True

    def _append(self, file: Any, entry: dict[str, Any]) -> None:
        file.write(json.dumps(entry) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _ending_server(error: psycopg.Error) -> bool:
    """A server that is shutting down may have committed before it reported that."""
    return error.sqlstate in ("57P01", "57P02")


def survivors(connection: psycopg.Connection[Any], drill: str) -> set[Row]:
    """The drill's rows that this server holds; none where not even the table has reached it."""
    there = connection.execute("select to_regclass('dr_drill.dr_ledger')").fetchone()
    if there is None or there[0] is None:
        return set()
    rows = connection.execute("select writer, seq from dr_drill.dr_ledger where drill = %s", (drill,))
    return {(int(writer), int(seq)) for writer, seq in rows}
