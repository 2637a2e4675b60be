"""One drill at a time on a stack: a lock in the history store, held by a lease that a crash cannot leave stuck.

Leases are numbered and the highest number counts. Taking the lock means creating the next number, which only one of several
takers can do; a holder that stops renewing loses it when its lease expires. Whatever else lies in the folder is named in the log and
neither takes the lock nor loses it: a holder's own lease is known by its number, and only a lease of a higher number ends its right.
"""

from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from types import TracebackType

from pydantic import Field

from dr_assets import escape, utc
from dr_assets.core.freshness import SKEW_SECONDS
from dr_assets.documents import DocumentError, Part, UtcTime, parse, storable
from dr_assets.errors import DrError, RefusedError, UnansweredError
from dr_assets.history.store import Store

LEASE_SECONDS = 20.0
RENEW_SECONDS = 5.0
# A lease that is good for longer than one renewal makes it was written by a clock that is ahead, or by hand.
LONGEST_SECONDS = LEASE_SECONDS + SKEW_SECONDS

log = escape.logger(__name__)


_NAME = re.compile(r"([0-9]{8})\.json")


class LockLostError(DrError):
    """Another process took the lock: this one must not act any more."""


class Lease(Part):
    """The stored lease (`leases/{stack}/{number}.json`): who holds the lock, since when, and until when unless renewed."""

    drill: str
    host: str
    pid: int = Field(ge=1, lt=2**31)
    since: UtcTime
    until: UtcTime
    released: bool


class DrillLock:
    """The exclusive right to act on one stack, renewed by a thread until released. A context manager.

    Args:
        store: where leases are kept.
        stack: the stack's suffix.
        drill: id of the drill that holds the lock.
        clock: the time (UTC); replaceable in tests.
    """

    def __init__(self, store: Store, stack: str, drill: str, clock: Callable[[], datetime] = utc.clock) -> None:
        self._store, self._stack, self.drill, self._clock = store, stack, storable(drill), clock
        self._number = 0
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._lost: str | None = None
        self._named: set[str] = set()

    def __enter__(self) -> DrillLock:
        return self.take()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def take(self) -> DrillLock:
        """Take the lock. Raises RefusedError naming the holder while another drill has it."""
        number, data = self._highest()
        holder = None if data is None else self._parse(number, data)
        if holder is not None and not self._expired(holder) and not self._abandoned(number, data, holder):
            raise RefusedError(
                f"Another drill is running on stack {self._stack}: {holder.drill} (process {holder.pid} on "
                f"{holder.host}, since {utc.to_text(holder.since)}). Wait for it, or end that process; its lease expires "
                f"{LEASE_SECONDS:.0f} s later."
            )
        self._since = self._clock()
        try:
            self._store.create(self._key(number + 1), self._lease())
        except FileExistsError:
            raise RefusedError(
                f"Another drill has just begun on stack {self._stack}. Wait for it to end; then start again."
            ) from None
        self._number = number + 1
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)
        self._thread.start()
        if number:
            with suppress(Exception):  # tidiness only: a leftover number is harmless
                self._store.delete(self._key(number))
        return self

    def holder(self) -> str | None:
        """The drill that provably holds the lock now; None also where the newest lease cannot be understood, or is good for too long.

        Raises DrError where the store does not answer.
        """
        number, data = self._highest()
        try:
            lease = None if data is None else self._parse(number, data)
        except DrError as error:
            log.warning("%s", error)
            return None
        return None if lease is None or self._expired(lease) or self._too_long(lease) else lease.drill

    def check(self) -> None:
        """Raises LockLostError when the right to act is gone. Called before every step that writes."""
        if self._lost:
            raise LockLostError(self._lost)
        numbers = self._numbers()
        other = ""
        for number in reversed([n for n in numbers if n >= self._number]):
            if (data := self._read(number)) is None:
                continue
            if (other := self._taker(number, data)) or number == self._number:
                break
        if other or self._number not in numbers:
            self._lost = (
                f"This drill lost the lock on stack {self._stack}: {other or 'no drill'} holds it. "
                "Nothing more was done. Check that drill, then resume or abort this one."
            )
            raise LockLostError(self._lost)

    def _taker(self, number: int, data: bytes) -> str:
        """The drill that took the lock with this lease; empty: this one did, or it is no lease at all."""
        try:
            drill = self._parse(number, data).drill
        except DrError as error:
            # Leases are created whole. What names no drill was not written by one, of this version or another.
            try:
                content = parse(data)
            except DocumentError:
                content = None
            if not isinstance(content, dict) or "drill" not in content:
                self._name(self._key(number), str(error))
                return ""
            drill = str(content["drill"])
        return "" if number == self._number and drill == self.drill else escape.line(drill)[:200] or "another drill"

    def release(self) -> None:
        """Give it back. Harmless when it was lost or never taken."""
        self._ending.set()
        if self._thread:
            self._thread.join(RENEW_SECONDS)
        if self._number and not self._lost:
            self._store.write(self._key(self._number), self._lease(released=True))
        self._number = 0

    def _renew(self) -> None:
        while not self._ending.wait(RENEW_SECONDS):
            try:
                self.check()
                self._store.write(self._key(self._number), self._lease())
            except LockLostError:
                return
            except Exception:  # noqa: S112 (the store did not answer: the next renewal, or the next check, decides)
                continue

    def _key(self, number: int) -> str:
        return f"leases/{self._stack}/{number:08d}.json"

    def _lease(self, released: bool = False) -> bytes:
        lease = Lease(
            drill=self.drill,
            host=socket.gethostname(),
            pid=os.getpid(),
            since=self._since,
            until=self._clock() + timedelta(seconds=LEASE_SECONDS),
            released=released,
        )
        return lease.model_dump_json().encode()

    def _numbers(self) -> list[int]:
        """The numbers of the leases, in order. Other names are named in the log, once."""
        found = []
        for key in self._store.list(f"leases/{self._stack}/"):
            match = _NAME.fullmatch(key.removeprefix(f"leases/{self._stack}/"))
            if match:
                found.append(int(match[1]))
            else:
                self._name(key, f"{key} is not the name of a lease: move it elsewhere.")
        return sorted(found)

    def _name(self, key: str, text: str) -> None:
        if key not in self._named:
            self._named.add(key)
            log.warning("%s", escape.line(text))

    def _read(self, number: int) -> bytes | None:
        """None: it was removed since it was listed. Raises LockLostError where a later lease is there and cannot be read."""
        try:
            return self._store.read(self._key(number))
        except KeyError:
            return None
        except UnansweredError:
            raise
        except DrError as error:
            if number <= self._number or not self._number:
                raise
            self._lost = f"This drill may have lost the lock on stack {self._stack}: {self._key(number)}: {error}"
            raise LockLostError(self._lost) from error

    def _highest(self) -> tuple[int, bytes | None]:
        number = max(self._numbers(), default=0)
        return number, self._read(number) if number else None

    def _parse(self, number: int, data: bytes) -> Lease:
        try:
            return Lease.model_validate_json(data)
        except ValueError as error:  # pydantic's ValidationError is one
            raise DrError(
                f"{self._key(number)} in {self._store.uri} is not a lease. Remove it when no drill is running."
            ) from error

    def _too_long(self, holder: Lease) -> bool:
        return (holder.until - self._clock()).total_seconds() > LONGEST_SECONDS

    def _abandoned(self, number: int, data: bytes | None, holder: Lease) -> bool:
        """Whether a lease that is good for too long is renewed no more. Waits for as long as a lease lasts."""
        if not self._too_long(holder):
            return False
        threading.Event().wait(LEASE_SECONDS)
        return self._read(number) == data

    def _expired(self, holder: Lease) -> bool:
        if holder.released or holder.until < self._clock():
            return True
        # A process that is gone cannot renew: no need to wait until its lease expires.
        return holder.host == socket.gethostname() and not _alive(holder.pid)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
