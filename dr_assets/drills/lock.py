"""One drill at a time on a stack: a lease in the history store that a crash cannot leave stuck.

May import `errors` and `history.store`. Leases are numbered; the highest number counts. Taking one means creating the next
number, which only one of several takers can do; a holder that stops renewing loses it when its time is over.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any

from dr_assets import utc
from dr_assets.errors import DrError, RefusedError
from dr_assets.history.store import Store

LEASE_SECONDS = 20.0
RENEW_SECONDS = 5.0


class LostLeaseError(DrError):
    """Somebody else took the lease: this process must not act any more."""


class Lease:
    """The exclusive right to act on one stack, renewed by a thread until released. A context manager.

    Args:
        store: where leases are kept (`leases/{stack}/{number}.json`).
        stack: the stack's suffix.
        drill: id of the drill; the same drill takes over its own dead lease at once when its process is gone.
    """

    def __init__(self, store: Store, stack: str, drill: str, clock: Callable[[], datetime] | None = None) -> None:
        self._store, self._stack, self.drill = store, stack, drill
        self._clock = clock or utc.now
        self._key = ""
        self._end = threading.Event()
        self._thread: threading.Thread | None = None
        self._lost: str | None = None

    def __enter__(self) -> Lease:
        return self.take()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def take(self) -> Lease:
        """Take the lease. Raises RefusedError naming the holder while another drill has it."""
        number, holder = self._highest()
        if holder is not None and not self._over(holder):
            raise RefusedError(
                f"Another drill is running on stack {self._stack}: {holder['drill']} (process {holder['pid']} on "
                f"{holder['host']}, since {holder['since']}). Wait for it, or end that process; its lease is over "
                f"{LEASE_SECONDS:.0f} s later."
            )
        self._key = f"leases/{self._stack}/{number + 1:08d}.json"
        self._since = utc.to_text(self._clock())
        try:
            self._store.create(self._key, self._document())
        except FileExistsError:
            raise RefusedError(
                f"Another drill has just begun on stack {self._stack}. Wait for it to end; then start again."
            ) from None
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)
        self._thread.start()
        if number:
            with suppress(Exception):  # tidiness only: a leftover number is harmless
                self._store.delete(f"leases/{self._stack}/{number:08d}.json")
        return self

    def check(self) -> None:
        """Raises LostLeaseError when the right to act is gone. Called before every step that writes."""
        if self._lost:
            raise LostLeaseError(self._lost)
        number, holder = self._highest()
        if holder is None or f"leases/{self._stack}/{number:08d}.json" != self._key:
            self._lost = (
                f"The lease on stack {self._stack} is not ours any more: {holder['drill'] if holder else 'nobody'} holds "
                "it. Nothing more was done. Look at that drill, then resume or abort this one."
            )
            raise LostLeaseError(self._lost)

    def release(self) -> None:
        """Give it back. Harmless when it was lost or never taken."""
        self._end.set()
        if self._thread:
            self._thread.join(RENEW_SECONDS)
        if self._key and not self._lost:
            self._store.write(self._key, self._document(released=True))
        self._key = ""

    def _renew(self) -> None:
        while not self._end.wait(RENEW_SECONDS):
            try:
                self.check()
                self._store.write(self._key, self._document())
            except LostLeaseError:
                return
            except Exception:  # noqa: S112 (the store did not answer: the next round, or the next check, tells)
                continue

    def _document(self, released: bool = False) -> bytes:
        return json.dumps(
            {
                "drill": self.drill,
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "since": self._since,
                "until": utc.to_text(self._clock() + timedelta(seconds=LEASE_SECONDS)),
                "released": released,
            }
        ).encode()

    def _highest(self) -> tuple[int, dict[str, Any] | None]:
        keys = self._store.list(f"leases/{self._stack}/")
        if not keys:
            return 0, None
        number = int(keys[-1].rsplit("/", 1)[1].removesuffix(".json"))
        try:
            document: dict[str, Any] = json.loads(self._store.read(keys[-1]))
        except KeyError:
            return number, None
        except ValueError as error:
            raise DrError(
                f"{keys[-1]} in {self._store.uri} is not a lease. Remove it when no drill is running."
            ) from error
        return number, document

    def _over(self, holder: dict[str, Any]) -> bool:
        if holder["released"] or utc.parse(holder["until"]) < self._clock():
            return True
        # A process that is gone cannot renew: no need to wait for its time to be over.
        return bool(holder["host"] == socket.gethostname() and not _alive(int(holder["pid"])))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
