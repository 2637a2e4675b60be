"""One drill at a time on a stack: a lock in the history store, held by a lease that a crash cannot leave stuck.

Leases are numbered and the highest number counts. Taking the lock means creating the next number, which only one of several
takers can do; a holder that stops renewing loses it when its lease expires.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from types import TracebackType

from dr_assets import utc
from dr_assets.documents import Part, UtcTime
from dr_assets.errors import DrError, RefusedError
from dr_assets.history.store import Store

LEASE_SECONDS = 20.0
RENEW_SECONDS = 5.0


class LockLostError(DrError):
    """Another process took the lock: this one must not act any more."""


class Lease(Part):
    """The stored lease (`leases/{stack}/{number}.json`): who holds the lock, since when, and until when unless renewed."""

    drill: str
    host: str
    pid: int
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
        self._store, self._stack, self.drill, self._clock = store, stack, drill, clock
        self._number = 0
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._lost: str | None = None

    def __enter__(self) -> DrillLock:
        return self.take()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def take(self) -> DrillLock:
        """Take the lock. Raises RefusedError naming the holder while another drill has it."""
        number, holder = self._highest()
        if holder is not None and not self._expired(holder):
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
        """The drill that holds the lock now. Raises DrError where the lease cannot be read."""
        _, lease = self._highest()
        return None if lease is None or self._expired(lease) else lease.drill

    def check(self) -> None:
        """Raises LockLostError when the right to act is gone. Called before every step that writes."""
        if self._lost:
            raise LockLostError(self._lost)
        number, holder = self._highest()
        if holder is None or number != self._number:
            self._lost = (
                f"This drill lost the lock on stack {self._stack}: {holder.drill if holder else 'no drill'} holds it. "
                "Nothing more was done. Check that drill, then resume or abort this one."
            )
            raise LockLostError(self._lost)

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

    def _highest(self) -> tuple[int, Lease | None]:
        keys = self._store.list(f"leases/{self._stack}/")
        if not keys:
            return 0, None
        try:
            number = int(keys[-1].rsplit("/", 1)[1].removesuffix(".json"))
            return number, Lease.model_validate_json(self._store.read(keys[-1]))
        except KeyError:
            return number, None
        except ValueError as error:  # pydantic's ValidationError is one
            raise DrError(
                f"{keys[-1]} in {self._store.uri} is not a lease. Remove it when no drill is running."
            ) from error

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
