"""Simulated durations: how long status transitions take, and the pace of metrics, alarms and health checks.

Time is read and never waited for: a status is computed when it is read, so the server needs no timer threads.
"""

import time
from dataclasses import dataclass


class Clock:
    """The settle time, the pace, and the number of the request being answered.

    Attributes:
        settle_seconds: how long a resource stays `creating`, `modifying`, `deleting`, `switching-over`, ... (seconds).
        request: counts API requests. A transition is always visible in the answer of the request that began it, also
            with a settle time of zero, because AWS's own answers show it (CreateDBCluster answers `creating`).
        pace: how many times faster than at AWS the minutes of alarms, AWS's metrics and health checks pass.
        days: how far the calendar was moved forward, for what AWS destroys at the end of a waiting period (keys, secrets).
    """

    def __init__(self) -> None:
        self.settle_seconds = 0.0
        self.request = 0
        self.pace = 1.0
        self.days = 0.0

    def now(self) -> float:
        """Monotonic seconds."""
        return time.monotonic()

    def reset(self) -> None:
        """Forget the request count, the pace and the calendar; the settle time is a setting and stays."""
        self.request, self.pace, self.days = 0, 1.0, 0.0


clock = Clock()


@dataclass(frozen=True)
class Transition:
    """A status that holds until a moment, or until the request that began it has been answered."""

    status: str
    until: float
    request: int

    @classmethod
    def begin(cls, status: str) -> "Transition":
        """Start now and last for the settle time."""
        return cls(status, clock.now() + clock.settle_seconds, clock.request)

    @property
    def active(self) -> bool:
        """Whether the in-between status still shows."""
        return clock.request == self.request or clock.now() < self.until


class Settling:
    """Mixin: a `status` that passes through transitions. Kept apart from moto's own fields."""

    _settled_status: str = "available"
    _transition: Transition | None = None

    def begin(self, status: str) -> None:
        """Enter an in-between status for the settle time."""
        self._transition = Transition.begin(status)

    @property
    def in_transition(self) -> bool:
        """Whether an in-between status is showing."""
        return self._transition is not None and self._transition.active

    @property
    def status(self) -> str:
        """The in-between status while it lasts, then the settled one."""
        transition = self._transition
        return transition.status if transition is not None and transition.active else self._settled_status

    @status.setter
    def status(self, value: str) -> None:
        self._settled_status = value

    @property
    def gone(self) -> bool:
        """Whether deletion has run its course."""
        transition = self._transition
        return transition is not None and transition.status == "deleting" and not transition.active
