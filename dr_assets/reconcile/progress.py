"""Memory of one resource's reconciliation between attempts: what AWS accepted, what it does not show, how long was waited."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dr_assets.core.compare import compare
from dr_assets.core.converge import shown
from dr_assets.core.expressions import canonical
from dr_assets.core.model import Call, Drift, Kind, Observed
from dr_assets.core.unreadable import UNREADABLE
from dr_assets.errors import NoEffectError, NotYetError

# Reads again while AWS does not answer, or does not show yet what it has just accepted: about 6 s in all.
MAX_RETRIES = 5
# The same call is accepted this often without effect; no further one is made.
MAX_WRITES = 3
# How long AWS may take to show what it accepted: services are eventually consistent within seconds, at times minutes
# (terraform-provider-aws waits two minutes for most: propagationTimeout). A third of it passes before a call is repeated.
SHOW_SECONDS = 120.0
# How long a creation that was not answered may take to show, where making it again would make a second resource: CreateVpc,
# CreateVpcPeeringConnection and CreateKey take no idempotency token that would name the first.
LOST_SECONDS = SHOW_SECONDS
# Parameters by which AWS recognises the others when they are sent again (EC2 API reference, CreateRouteTable, "Ensuring idempotency";
# Route 53 API, CreateHealthCheck and CreateHostedZone). Two minutes pass all the same: the answer may name what is not shown yet.
_TOKENS = ("CallerReference", "ClientToken")
# How long AWS may leave a change pending that it was asked to make at once, before its status shows that it is being made.
PENDING_SECONDS = 600.0


@dataclass
class Progress:
    """Of one resource, while it is not stable. Times are seconds of the state's clock.

    drift: as first observed; calls: made so far; created: AWS accepted the creation; existed: or answered with this text that the
    resource exists; before: the drift that the last accepted update was to remove; written_at: when; lost_at: a call was not
    answered (lost: that call); refused_at: the first "not yet" in a row; pending: changes that waited already when it was first observed, and that no
    call of ours has asked AWS to make; deleting: it is to be deleted.
    """

    drift: tuple[Drift, ...] = ()
    calls: list[str] = field(default_factory=list)
    created: bool = False
    existed: str = ""
    deleting: bool = False
    before: tuple[Drift, ...] = ()
    written_at: float = 0.0
    lost_at: float | None = None
    lost: Call | None = None
    refused_at: float | None = None
    pending: frozenset[str] = frozenset()
    accepted: Counter[str] = field(default_factory=Counter)

    def accept(self, call: Call, drift: Sequence[Drift], now: float) -> None:
        """AWS accepted `call`, which was to remove `drift` (empty: to create or delete)."""
        self.accepted[fingerprint(call)] += 1
        self.before, self.written_at, self.refused_at, self.lost_at = tuple(drift), now, None, None
        self.lost = None
        if call.params.get("ApplyImmediately"):
            self.pending = frozenset()  # RDS makes all that is pending then

    def lose(self, call: Call, now: float) -> None:
        """Remember `call`, which AWS may have carried out (`aws_errors.fate`: unknown)."""
        self.lost_at, self.lost = now, call

    def as_before(self, call: Call) -> Call:
        """`call` with the idempotency token of the same call that was not answered, so that AWS carries it out once only."""
        if self.lost is None or self.lost.operation != call.operation:
            return call
        tokens = {name: self.lost.params[name] for name in _TOKENS if name in self.lost.params}
        return replace(call, params={**call.params, **tokens})

    def check_repetition(self, key: str, call: Call, drift: Sequence[Drift], now: float) -> None:
        """No identical call is made more than MAX_WRITES times, and no deletion again before AWS had time to show the first.

        Raises:
            NotYetError: AWS has just accepted this very deletion.
            NoEffectError: AWS accepted this very call MAX_WRITES times, to remove `drift` or to delete.
        """
        times, name = self.accepted[fingerprint(call)], f"{call.service}.{call.operation}"
        if self.deleting and times and now - self.written_at < SHOW_SECONDS / MAX_WRITES:
            raise NotYetError(f"{key}: AWS accepted {name} and still shows the resource", SHOW_SECONDS)
        if times >= MAX_WRITES and self.deleting:
            raise NoEffectError(
                f"{key}: AWS accepted {name} {times} times, and it is still there. Find in the console what keeps it."
            )
        if times >= MAX_WRITES and drift:
            raise NoEffectError(
                f"{key}: AWS accepted {name} {times} times, and it still shows no change: {shown(drift)}. Compare with the "
                "console; something else may set it, or AWS does not apply it."
            )

    def waited(self, now: float) -> float:
        """Seconds since the first "not yet" in a row, this one included."""
        self.refused_at = now if self.refused_at is None else self.refused_at
        return now - self.refused_at


def fingerprint(call: Call) -> str:
    """Equal for calls that do the same. Secrets and idempotency tokens are left out."""
    params = {name: value for name, value in call.params.items() if name not in _TOKENS}
    return f"{call.service}.{call.operation} {call.region} {canonical(params)}"


def differences(
    kind: Kind, desired: Mapping[str, Any], observed: Observed
) -> tuple[tuple[Drift, ...], Sequence[str]] | None:
    """What differs, and the changes that AWS is carrying out; None where the answer is garbled and cannot be compared."""
    try:
        return compare(kind.refine(desired, observed), observed, kind.owned), sorted(kind.pending(observed))
    except UNREADABLE:
        return None


class Backoff:
    """Backs off before the next attempt: about 0.1, 0.3, 0.6 … s with jitter, MAX_RETRIES times."""

    def __init__(self) -> None:
        self._retries = 0

    def exhausted(self) -> bool:
        """True at once when there are no retries left; else sleeps, then False."""
        self._retries += 1
        if self._retries > MAX_RETRIES:
            return True
        time.sleep(0.1 * 2**self._retries * random.uniform(0.5, 1.0))
        return False
