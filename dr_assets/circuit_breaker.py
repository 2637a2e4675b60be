"""Circuit breaker for each region: calls to a region that has stopped answering are refused instead of waiting out their retries."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

# A refused connection or an unknown host is no sign of a slow region: waiting longer changes nothing.
REFUSED_SECONDS = 2.0
PROBE_SECONDS = 15.0


class RegionDarkError(Exception):
    """A call was not sent because its region has answered nothing for a while."""


@dataclass
class _Unanswered:
    """A region's calls since its last answer. All times are seconds of the breaker's clock.

    `waited`: how long calls have been in flight without an answer, up to `at`; `refused_at`: the first connection was
    refused; `next_probe`: the breaker is open and lets no call through before.
    """

    at: float
    in_flight: int = 0
    waited: float = 0.0
    refused_at: float | None = None
    next_probe: float | None = None


class Breaker:
    """Circuit breaker for each region: slow regions are waited for, silent ones are not.

    A region is silent when calls to it have waited for `silence` seconds and none, old or new, was answered. Any answer, an
    error or a late one included, proves that it is alive and starts the time anew: a busy region stays usable as long as one
    call in `silence` seconds is answered within its timeout. Without the breaker a dark region would cost every call all
    of its retries.

    Open, it refuses calls with RegionDarkError, except one probe every `probe_seconds` (the half-open state of Hystrix and
    resilience4j). An answered probe closes it. A probe that never comes back does not block the next one.
    """

    def __init__(
        self, silence: float, probe_seconds: float = PROBE_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._silence, self._probe_seconds, self._clock = silence, probe_seconds, clock
        self._lock = threading.Lock()
        self._unanswered: dict[str, _Unanswered] = {}

    def before_send(self, region: str) -> None:
        """Note that a call is about to be sent. Raises RegionDarkError instead while the breaker is open."""
        with self._lock:
            now = self._clock()
            calls = self._calls(region, now)
            if calls.next_probe is not None:
                if now < calls.next_probe:
                    raise RegionDarkError(
                        f"{region} has not answered for {calls.waited:.0f} s; "
                        f"it is tried again in {calls.next_probe - now:.0f} s"
                    )
                calls.next_probe = now + self._probe_seconds
            calls.in_flight += 1

    def answered(self, region: str) -> None:
        """The region answered a call, whatever it answered."""
        with self._lock:
            now = self._clock()
            self._unanswered[region] = _Unanswered(at=now, in_flight=max(0, self._calls(region, now).in_flight - 1))

    def unanswered(self, region: str, refused: bool = False) -> None:
        """A call was given up. `refused`: no connection could be made at all, so waiting longer is pointless."""
        with self._lock:
            now = self._clock()
            calls = self._calls(region, now)
            calls.in_flight = max(0, calls.in_flight - 1)
            if refused and calls.refused_at is None:
                calls.refused_at = now
            refused_long = refused and now - (calls.refused_at or now) >= min(REFUSED_SECONDS, self._silence)
            if calls.next_probe is not None or calls.waited >= self._silence or refused_long:
                calls.next_probe = now + self._probe_seconds

    def _calls(self, region: str, now: float) -> _Unanswered:
        """The region's calls, with `waited` up to now. Time without a call in flight is no silence, and a long one ends it."""
        calls = self._unanswered.setdefault(region, _Unanswered(at=now))
        if calls.in_flight:
            calls.waited += now - calls.at
        elif calls.next_probe is None and now - calls.at > max(self._silence, self._probe_seconds):
            calls.waited, calls.refused_at = 0.0, None
        calls.at = now
        return calls
