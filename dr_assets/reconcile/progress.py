"""Memory of one resource's reconciliation between attempts: what AWS accepted, what it does not show, how long was waited."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dr_assets.core.compare import compare
from dr_assets.core.expressions import canonical
from dr_assets.core.model import Call, Drift, Kind, Observed

# Reads again while AWS does not answer, or does not show yet what it has just accepted: about 6 s in all.
MAX_RETRIES = 5
# The same call is accepted this often without effect; no further one is made.
MAX_WRITES = 3
# How long AWS may take to show what it accepted: services are eventually consistent within seconds, at times minutes
# (terraform-provider-aws waits two minutes for most: propagationTimeout). A third of it passes before a call is repeated.
SHOW_SECONDS = 120.0
# How long a creation that was not answered may take to show, where making it again would make a second resource.
LOST_SECONDS = 30.0
# How long AWS may leave a change pending that it was asked to make at once, before its status shows that it is being made.
PENDING_SECONDS = 600.0


@dataclass
class Progress:
    """Of one resource, while it is not stable. Times are seconds of the state's clock.

    drift: as first observed; calls: made so far; created: AWS accepted the creation; before: the drift that the last accepted
    update was to remove; written_at: when; lost_at: a call was not answered; refused_at: the first "not yet" in a row; pending: changes that waited already when
    it was first observed, and that no call of ours has asked AWS to make.
    """

    drift: tuple[Drift, ...] = ()
    calls: list[str] = field(default_factory=list)
    created: bool = False
    before: tuple[Drift, ...] = ()
    written_at: float = 0.0
    lost_at: float | None = None
    refused_at: float | None = None
    pending: frozenset[str] = frozenset()
    accepted: Counter[str] = field(default_factory=Counter)

    def accept(self, call: Call, drift: Sequence[Drift], now: float) -> None:
        """AWS accepted `call`, which was to remove `drift` (empty: to create or delete)."""
        self.accepted[fingerprint(call)] += 1
        self.before, self.written_at, self.refused_at, self.lost_at = tuple(drift), now, None, None
        if call.params.get("ApplyImmediately"):
            self.pending = frozenset()  # RDS makes all that is pending then

    def exhausted(self, call: Call) -> bool:
        """Whether AWS has accepted this very call as often as it may be made."""
        return self.accepted[fingerprint(call)] >= MAX_WRITES

    def waited(self, now: float) -> float:
        """Seconds since the first "not yet" in a row, this one included."""
        self.refused_at = now if self.refused_at is None else self.refused_at
        return now - self.refused_at


def fingerprint(call: Call) -> str:
    """Equal for calls that are the same to AWS. Secrets are left out."""
    return f"{call.service}.{call.operation} {call.region} {canonical(call.params)}"


def differences(
    kind: Kind, desired: Mapping[str, Any], observed: Observed
) -> tuple[tuple[Drift, ...], Sequence[str]] | None:
    """What differs, and the changes that AWS is carrying out; None where the answer is garbled and cannot be compared."""
    try:
        return compare(kind.refine(desired, observed), observed, kind.owned), sorted(kind.pending(observed))
    except (AttributeError, LookupError, TypeError, ValueError):
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
