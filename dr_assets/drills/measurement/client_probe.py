"""The client probe: writes end to end through an endpoint, as an application would, and records every attempt.

One row is overwritten again and again, so a probe does not grow the database.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import psycopg
from pydantic import TypeAdapter, ValidationError

from dr_assets import files
from dr_assets.clock import Timeline
from dr_assets.documents import DocumentError, parse
from dr_assets.drills.measurement.rpo_rto import Attempt
from dr_assets.errors import DrError
from dr_assets.postgres.connection import Credentials, TlsError, impatient, is_read_only, open_connection
from dr_assets.postgres.endpoints import Address

WRITE = (
    "insert into dr_drill.dr_probe (drill, probe, n) values (%s, %s, %s)"
    " on conflict (drill, probe) do update set n = excluded.n, written_at = clock_timestamp()"
)
# "unknown": a server answered, but neither accepted nor refused the write (a wrong password or certificate, for example).
Verdict = Literal["accepted", "refused", "unreachable", "unknown"]
# While it connects, libpq reports a server's refusal as text only.
_NOT_SERVING = (
    "starting up",
    "shutting down",
    "in recovery mode",
    "not yet accepting connections",
    "not accepting commands",
)


class ClientProbe:
    """A thread that writes through `where` every `interval` seconds, over a pooled connection that it keeps while it is good.

    A connection that fails is dropped, and the name is resolved again (as far as its resolver's cache allows). Attempts are
    appended to `path` as JSON lines, so that they outlive the process. Their times are those of `timeline`, which a clock that
    is set meanwhile does not change.
    """

    def __init__(
        self,
        drill: str,
        name: str,
        where: Callable[[], Address],
        credentials: Callable[[], Credentials],
        interval: float,
        path: Path | None = None,
        timeline: Timeline | None = None,
    ) -> None:
        self._drill, self._name, self._where, self._credentials = drill, name, where, credentials
        self._interval, self._path = interval, path
        self._before = read_attempts(path) if path else []
        self._attempts: list[Attempt] = []
        self._connection: psycopg.Connection[Any] | None = None
        self._at: Address | None = None
        self._now = (timeline or Timeline()).now
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"probe-{name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ending.set()
        if self._thread.ident:
            self._thread.join(10)

    @property
    def attempts(self) -> list[Attempt]:
        """Every attempt so far, those of an earlier process first, in the order in which they began."""
        return [*self._before, *self._attempts]

    @property
    def attempts_before(self) -> list[Attempt]:
        """Those of earlier processes."""
        return self._before

    @property
    def interrupted(self) -> bool:
        """Whether an earlier process began the series: between the two nothing was measured."""
        return bool(self._before)

    def _run(self) -> None:
        number = 0
        if self._path and self._path.exists():
            with files.append(self._path, below=self._path.parent.parent) as file:
                file.write("\n")  # an earlier process may have died within a line
        while not self._ending.is_set():
            number += 1
            attempt = self._try(number)
            self._attempts.append(attempt)
            if self._path:
                with files.append(self._path, below=self._path.parent.parent) as file:
                    file.write(json.dumps(asdict(attempt)) + "\n")
            self._ending.wait(max(0.0, self._interval - (attempt.ended - attempt.begun)))
        self._drop()

    def _try(self, number: int) -> Attempt:
        begun = self._now()
        try:
            if self._connection is None:
                self._at = None
                self._at = self._where()
                self._connection = open_connection(self._at, self._credentials(), f"dr-probe-{self._name}")
            with impatient(self._connection):
                self._connection.execute(WRITE, (self._drill, self._name, number))
        except (psycopg.Error, DrError) as error:
            self._drop()
            ip = self._at.ip if self._at else None
            return Attempt(begun, self._now(), False, ip, f"{type(error).__name__}: {str(error).strip()[:200]}")
        assert self._at is not None
        return Attempt(begun, self._now(), True, self._at.ip)

    def _drop(self) -> None:
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.close()
        self._connection = None


_ATTEMPT = TypeAdapter(Attempt)


def read_attempts(path: Path) -> list[Attempt]:
    """The attempts on disk; a torn line is left out. No file: none."""
    found = []
    if path.exists():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(DocumentError, ValidationError):
                parse(line)  # no NaN, no key twice
                found.append(_ATTEMPT.validate_json(line, strict=True))
    return found


def write_once(address: Address, credentials: Credentials, drill: str) -> tuple[Verdict, str]:
    """Try one write at that very address. An old writer that accepts it means two writers.

    Only "refused" proves that it accepts no writes; "unreachable" proves no more than that this client cannot reach it.
    """
    try:
        with open_connection(address, credentials, "dr-fence") as connection, impatient(connection, 2.0):
            connection.execute(WRITE, (drill, "fence", 1))
    except TlsError as error:
        return "unknown", str(error)
    except psycopg.Error as error:
        if is_read_only(error) or any(words in str(error) for words in _NOT_SERVING):
            return "refused", f"{address.ip} accepts no writes: {str(error).strip()[:200]}"
        if error.sqlstate or "FATAL:" in str(error):
            return (
                "unknown",
                f"{address.ip} answers, but neither accepted nor refused the write: {str(error).strip()[:200]}",
            )
        return "unreachable", f"{address.ip} does not answer: {str(error).strip()[:200]}"
    return "accepted", f"{address.ip} accepted a write"
