"""Interface by which a switchover or failover moves the writer: a timer by default, else the PostgreSQL pair.

RDS calls `driver().begin(change)` when SwitchoverGlobalCluster or FailoverGlobalCluster has been
accepted, asks `finished(change)` at every later request until it is true (then the roles swap; if it `failed`, they stay), and asks
`resynchronised(change)` for as long as the old writer of a failover is being rebuilt. None of them may block for
long: they run inside an API request.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from dr_assets.emulator.clock import clock


@dataclass(frozen=True)
class RoleChange:
    """One accepted change of the global writer.

    Attributes:
        kind: `switchover` loses nothing, `failover` may (AllowDataLoss).
        global_cluster: identifier of the global cluster.
        from_arn / to_arn: ARN of the cluster that is the writer now, and of the one that becomes it.
        started: monotonic seconds of the accepted call.
        request: number of the request that began it.
    """

    kind: Literal["switchover", "failover"]
    global_cluster: str
    from_arn: str
    to_arn: str
    started: float
    request: int

    @property
    def status(self) -> str:
        """The status of the global cluster and its members meanwhile."""
        return "switching-over" if self.kind == "switchover" else "failing-over"


class RoleDriver(Protocol):
    """Moves the writer behind the API."""

    def begin(self, change: RoleChange) -> None:
        """Start moving. Raise to have the API call refused with an internal failure."""

    def finished(self, change: RoleChange) -> bool:
        """Whether the target accepts writes, so that the roles may swap."""

    def failed(self, change: RoleChange) -> BaseException | None:
        """Why the writer stays where it was, once that is known."""

    def resynchronised(self, change: RoleChange) -> bool:
        """Whether the old writer replicates from the new one again (only asked after a failover)."""

    def observe(self, global_clusters: Iterable[Any]) -> None:
        """Called before every request with the clusters that there are."""


class TimedDriver:
    """Without databases: a change takes one settle time, rebuilding the old writer one more."""

    def observe(self, global_clusters: Iterable[Any]) -> None:
        """There is nothing behind the clusters."""

    def failed(self, change: RoleChange) -> BaseException | None:
        """A timed change does not fail."""
        return None

    def begin(self, change: RoleChange) -> None:
        """Nothing to start."""

    def finished(self, change: RoleChange) -> bool:
        """After one settle time, and never within the request that began it."""
        return clock.request != change.request and clock.now() >= change.started + clock.settle_seconds

    def resynchronised(self, change: RoleChange) -> bool:
        """After two settle times."""
        return clock.now() >= change.started + 2 * clock.settle_seconds


_drivers: list[RoleDriver] = [TimedDriver()]


def driver() -> RoleDriver:
    """The driver in use."""
    return _drivers[-1]


def attach(new: RoleDriver | None) -> None:
    """Use another driver; `None` goes back to the timed one."""
    _drivers[1:] = [] if new is None else [new]
