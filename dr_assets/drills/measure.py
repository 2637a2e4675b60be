"""RPO and RTO, exactly as docs/design.md defines them. Pure: from what was recorded to figures; imports nothing of the project.

Times are seconds of the Unix epoch (UTC) where not said otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Rpo:
    """What was lost. `lost_seconds` is None where nothing was acknowledged (nothing was measured).

    With A the acknowledged commits and S those found on the new writer: `lost_commits` = |A without S|, `in_doubt` =
    |S without A| (carried out, though nobody was told), `lost_seconds` = newest commit time in A minus newest commit time of
    the contiguous surviving prefix of A (0 when all of A survived).
    """

    lost_commits: int
    lost_seconds: float | None
    in_doubt: int
    acknowledged: int
    survived: int

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


Row = tuple[int, int]  # (writer number, sequence number): sequence numbers are never used twice


def rpo(acknowledged: Mapping[Row, float], survived: Iterable[Row]) -> Rpo:
    """From the acknowledged rows (row -> commit time) and those found on the new writer."""
    found = set(survived)
    lost = [row for row in acknowledged if row not in found]
    ordered = sorted(acknowledged)
    seconds: float | None = None
    if ordered:
        newest = max(acknowledged.values())
        prefix = []
        for row in ordered:
            if row not in found:
                break
            prefix.append(acknowledged[row])
        # With nothing surviving, all that was acknowledged is lost: from its first commit on, at least.
        base = max(prefix) if prefix else min(acknowledged.values())
        seconds = max(0.0, newest - base) if lost else 0.0
    return Rpo(len(lost), seconds, len(found - set(acknowledged)), len(acknowledged), len(found & set(acknowledged)))


@dataclass(frozen=True)
class Attempt:
    """One end-to-end write through the writer endpoint: begun and ended at, accepted or not, by which address."""

    begun: float
    ended: float
    good: bool
    ip: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class Rto:
    """The gap a client saw, as an interval, and its parts (which add up to `high_seconds`).

    With L the last good attempt at the old writer and F the first of N consecutive good ones at the new: the true gap lies
    between (F begun - L ended) and (F ended - L begun). A negative gap means that both wrote at once.
    """

    low_seconds: float
    high_seconds: float
    parts: Mapping[str, float]
    marks: Mapping[str, float]

    def as_json(self) -> dict[str, Any]:
        return {"low_seconds": self.low_seconds, "high_seconds": self.high_seconds, "parts": dict(self.parts)}


def recovered_at(attempts: Sequence[Attempt], new_ip: str, good: int) -> Attempt | None:
    """The first of `good` consecutive good attempts at `new_ip`, or None while there are none."""
    run: list[Attempt] = []
    for attempt in attempts:
        run = [*run, attempt] if attempt.good and attempt.ip == new_ip else []
        if len(run) == good:
            return run[0]
    return None


def rto(attempts: Sequence[Attempt], new_ip: str, good: int, marks: Mapping[str, float]) -> Rto | None:
    """From the attempts in the order in which they began, and the marks T3 (called), T4 (first write taken by the new writer)
    and T5 (name resolves to it), each where known.

    None where the gap was not seen from both sides: unknown. The parts run from mark to mark, clamped into the gap: what was
    decided before the first failure took nothing from the client. detect = T1 - T0, decide = T3 - T1, database = T4 - T3,
    traffic = T6 - T4; with T0 the begin of the last good attempt at the old writer and T6 the end of the first good one.
    """
    first = recovered_at(attempts, new_ip, good)
    if first is None:
        return None
    before = [attempt for attempt in attempts if attempt.good and attempt.ip != new_ip and attempt.begun < first.begun]
    if not before:
        return None
    last = before[-1]
    start, end = last.begun, first.ended
    noticed = min((a.ended for a in attempts if not a.good and last.begun <= a.begun <= first.begun), default=end)
    called = marks.get("T3", noticed)
    # A change called before anything failed took no time to be noticed or decided.
    t1, t3 = (start, start) if called < noticed else (noticed, min(called, end))
    t4 = min(max(marks.get("T4", end), t3), end)
    parts = {"detect": t1 - start, "decide": t3 - t1, "database": t4 - t3, "traffic": end - t4}
    known = {"T0": start, "T1": t1, "T3": t3, "T4": t4, "T6": first.begun}
    if "T5" in marks:
        known["T5"] = marks["T5"]
    return Rto(first.begun - last.ended, end - start, parts, known)
