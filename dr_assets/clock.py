"""Durations by a monotonic clock, marks by the wall clock: instants that may be subtracted, and the timeline of a drill.

`utc.now` is the one wall clock of the product and is looked up at each call. The wall clock may be set at any time, so no
duration is a difference of two of its readings.
"""

from __future__ import annotations

import threading
import time
import uuid
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path

from dr_assets import utc
from dr_assets.errors import DrError

# CLOCK_REALTIME and CLOCK_MONOTONIC are slewed alike (clock_gettime(2)), so that their difference changes by steps, leap seconds
# and suspension only.
STEP_SECONDS = 0.5
# Two clocks cannot be read at once: a reading during which the thread was suspended is repeated.
_READ_SECONDS, _READS = 0.05, 20


def suspended() -> float:
    """Seconds that the host slept since it was booted: CLOCK_BOOTTIME counts them and CLOCK_MONOTONIC does not (clock_gettime(2)).

    0.0 where there is no such clock, so that a sleep is only known as a step of the wall clock.
    """
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return 0.0 if boot is None else time.clock_gettime(boot) - time.monotonic()


def wall_offset() -> tuple[str, float]:
    """The monotonic clock's id, and how far the wall clock is ahead of it in seconds. Sleep does not change that; a step does."""
    now = instant()
    return now.clock, now.wall - now.monotonic - suspended()


class OtherClockError(DrError):
    """Two instants of different monotonic clocks: the time between them is unknown."""


@cache
def clock_id() -> str:
    """Names the monotonic clock of this process. Processes with the same id may compare their readings.

    `time.monotonic` is system-wide (Python documentation, since 3.5). On Linux it starts anew at each boot and has an offset of
    its own in each time namespace (time_namespaces(7)): the id is made of both. Elsewhere it is unique to the process.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{Path('/proc/self/ns/time').readlink()}"
    except (OSError, ValueError):
        return uuid.uuid4().hex


@dataclass(frozen=True)
class Instant:
    """A moment: the reading of the monotonic clock named `clock` (seconds), and of the wall clock (seconds of the epoch).

    Instants of one clock can be subtracted (seconds) and ordered; those of two raise OtherClockError.
    """

    clock: str
    monotonic: float
    wall: float

    def __sub__(self, earlier: Instant) -> float:
        if self.clock != earlier.clock:
            raise OtherClockError(
                "Two monotonic clocks cannot be compared: the time between their readings is unknown."
            )
        return self.monotonic - earlier.monotonic

    def __lt__(self, other: Instant) -> bool:
        return self - other < 0

    def step_since(self, earlier: Instant) -> float | None:
        """By how many seconds the wall clock was set between the two (negative: back); None across two clocks.

        Where the host slept meanwhile, the monotonic clock may have stood still: that reads as a step ahead.
        """
        return self.wall - earlier.wall - (self - earlier) if self.clock == earlier.clock else None


def instant() -> Instant:
    """Now, by both clocks."""
    for _ in range(_READS):
        before = time.monotonic()
        wall = utc.now().timestamp()
        after = time.monotonic()
        if after - before < _READ_SECONDS:
            break
    return Instant(clock_id(), (before + after) / 2, wall)


def age(earlier: Instant) -> float:
    """Seconds since `earlier`, an instant of this process, by the clock that counts more: one may have been set back, the other may
    have stood still while the host slept."""
    now = instant()
    return max(now - earlier, now.wall - earlier.wall)


class Timeline:
    """One time axis for everything that a drill measures: seconds that pass with the monotonic clock, counted from the wall
    clock's reading at `anchor`.

    Its times look like seconds of the epoch and may be subtracted, whatever happens to the wall clock meanwhile. Thread-safe.
    A process that goes on with the drill continues the same timeline while `anchor.clock` is its own clock.
    """

    def __init__(self, anchor: Instant | None = None) -> None:
        self.anchor = anchor or instant()
        if self.anchor.clock != clock_id():
            raise OtherClockError(
                "This timeline was begun by another monotonic clock: the host was restarted, or it is another."
            )
        self._latest = self.anchor
        self._lock = threading.Lock()

    def now(self) -> float:
        """Seconds on this timeline."""
        return self.anchor.wall + time.monotonic() - self.anchor.monotonic

    def mark(self, at: float | None = None) -> datetime:
        """A time of this timeline (default: now) as an aware datetime, for people."""
        return utc.from_epoch(self.now() if at is None else at)

    def step(self) -> float:
        """By how many seconds the wall clock was set since this was last asked; 0.0 for less than STEP_SECONDS."""
        with self._lock:
            latest = instant()
            step = latest.step_since(self._latest)
            self._latest = latest
        return step if step is not None and abs(step) > STEP_SECONDS else 0.0
