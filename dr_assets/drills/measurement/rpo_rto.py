"""RPO and RTO of a drill, computed from commits and attempts exactly as docs/records.md defines them.

Times are seconds on one timeline (`clock.Timeline`) where not said otherwise: they may be subtracted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class MeasuredRpo:
    """What was lost. `lost_seconds` is None where it is unknown: nothing was acknowledged, or nothing survived to count from, or
    the times contradict the order of the rows.

    With A the acknowledged commits and S those found on the new writer: `lost_commits` = |A without S|, `in_doubt` =
    |S without A| (committed, though never acknowledged), `lost_seconds` = newest commit time in A minus newest commit time of
    the contiguous surviving prefix of A (0 when all of A survived). For the times, A ends with the last lost row: what the
    new writer acknowledged after the outage is safe there, and would add the outage itself to the loss.

    `lost_at_least_seconds`: a lower bound where `lost_seconds` is None because nothing of before the loss survived: the
    newest lost commit minus the first acknowledged one. None where there is no such bound above zero.
    """

    lost_commits: int
    lost_seconds: float | None
    in_doubt: int
    acknowledged: int
    survived: int
    lost_at_least_seconds: float | None = None


Row = tuple[int, int]  # (writer number, sequence number): sequence numbers are never used twice


def rpo(acknowledged: Mapping[Row, float], survived: Iterable[Row]) -> MeasuredRpo:
    """From the acknowledged rows (row -> commit time) and those found on the new writer.

    Rows are in the order in which they were written: writers follow one another, and each counts upwards.
    """
    found = set(survived)
    lost = [row for row in acknowledged if row not in found]
    seconds: float | None = 0.0 if acknowledged else None
    at_least: float | None = None
    if lost:
        prefix = [row for row in acknowledged if row < min(lost)]
        begin = max(prefix) if prefix else min(acknowledged)
        elapsed = acknowledged[max(lost)] - acknowledged[begin]
        # A commit cannot be older than one before it: the clock was set between the two. Unknown, not zero.
        seconds = elapsed if prefix and elapsed >= 0 else None
        # Where nothing before it survived, the loss began before the first commit: unknown, not zero.
        at_least = elapsed if not prefix and elapsed > 0 else None
    return MeasuredRpo(
        lost_commits=len(lost),
        lost_seconds=seconds,
        in_doubt=len(found - set(acknowledged)),
        acknowledged=len(acknowledged),
        survived=len(found & set(acknowledged)),
        lost_at_least_seconds=at_least,
    )


@dataclass(frozen=True)
class Attempt:
    """One end-to-end write through the writer endpoint: begun and ended at, accepted or not, by which address."""

    begun: float
    ended: float
    good: bool
    ip: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class MeasuredRto:
    """The gap of a client, as an interval, and its parts (which add up to `high_seconds`).

    With L the last good attempt at the old writer, F the first of N consecutive good ones at the new, X the first failed
    attempt between them and Y the last: the outage began after L begun and before X ended, and it was over after Y begun and
    before F ended. So the true gap lies between (Y begun - X ended), or 0, and (F ended - L begun). L's end and F's begin
    bound nothing: between two attempts another client may still have been served.

    That is the measuring client's own gap, (`client_low_seconds`, `client_high_seconds`). Another one, which writes as often and
    respects the DNS time to live as well, may have looked the name up at another moment: where T5, the time to live and the
    interval are given, (`low_seconds`, `high_seconds`) holds for each such client. It is served by the new writer not before
    that accepts writes and the name leads to it, and at the latest one attempt after F, or after an old answer that was cached at
    T5 has expired. It may have written last an interval before L, and may try again an interval late.

    A negative `low_seconds` means that both wrote at once: it is (F begun - end of the old writer's last good attempt).
    """

    low_seconds: float
    high_seconds: float
    parts: Mapping[str, float]
    marks: Mapping[str, float]
    client_low_seconds: float
    client_high_seconds: float


@dataclass(frozen=True)
class Lookups:
    """What a client that respects DNS may have met: the largest time to live (seconds) of the endpoint's name, how often a client
    writes (seconds); and, on the timeline, the begin of the last lookup that led to the old writer, and of the last write that
    the new one refused. None: unknown."""

    ttl: float
    interval: float
    led_to_old: float | None = None
    refused: float | None = None

    def served_after(self) -> float | None:
        """A time before which no client can have been served by the new writer; None where there is none."""
        return max((at for at in (self.led_to_old, self.refused) if at is not None), default=None)


def split_brain(low_seconds: float) -> bool:
    """Whether the old writer accepted a write after the new one had, from the lower bound of the gap."""
    return low_seconds < 0


def recovered_at(attempts: Sequence[Attempt], new_ips: Collection[str], good: int) -> Attempt | None:
    """The first of `good` consecutive good attempts at the target's addresses, or None while there are none.

    Any instance of the target may have been promoted, so it can have several addresses.
    """
    run: list[Attempt] = []
    for attempt in attempts:
        run = [*run, attempt] if attempt.good and attempt.ip in new_ips else []
        if len(run) == good:
            return run[0]
    return None


def last_refused(attempts: Sequence[Attempt]) -> float | None:
    """The begin of the last write that the new writer refused as a reader, before it first accepted one."""
    taken = next((each for each in attempts if each.good), None)
    refused = [
        each.begun
        for each in attempts
        # Silence may be the network's, and another instance of the target may stay a reader.
        if taken and each.ip == taken.ip and each.begun < taken.begun and "ReadOnly" in (each.error or "")
    ]
    return max(refused, default=None)


def gap_at_least(
    attempts: Sequence[Attempt], new_ips: Collection[str], good: int, lookups: Lookups | None
) -> float | None:
    """A lower bound (seconds) of a gap whose begin was not measured: the writer was gone before the first attempt ended.

    None where nothing is known: clients have not recovered, or one was served by the old writer.
    """
    first, served_after = recovered_at(attempts, new_ips, good), lookups.served_after() if lookups else None
    if first is None or not attempts or any(each.good and each.ip not in new_ips for each in attempts):
        return None
    failed = [each for each in attempts if not each.good and each.begun < first.begun]
    if not failed:
        return None
    until = max(failed[-1].begun, min(served_after or 0.0, first.ended))
    return max(0.0, until - failed[0].ended)


def rto(
    attempts: Sequence[Attempt],
    new_ips: Collection[str],
    good: int,
    marks: Mapping[str, float],
    lookups: Lookups | None = None,
) -> MeasuredRto | None:
    """From the attempts in the order in which they began, and the marks T3 (called), T4 (first write taken by the new writer)
    and T5 (name resolves to it), each where known.

    None where the gap was not measured from both sides: unknown. The parts run from mark to mark, clamped into the gap: what was
    decided before the first failure took nothing from the client. detect = T1 - T0, decide = T3 - T1, database = T4 - T3,
    traffic = T6 - T4; with T0 the begin of the last good attempt at the old writer and T6 the end of the first good one. With
    `lookups`, the interval is that of any client which respects the DNS time to live; what it adds belongs to `traffic`.
    """
    first = recovered_at(attempts, new_ips, good)
    if first is None:
        return None
    before = [each for each in attempts if each.good and each.ip not in new_ips and each.begun < first.begun]
    if not before:
        return None
    last = before[-1]
    start, end = last.begun, first.ended
    failed = [a for a in attempts if not a.good and last.begun <= a.begun <= first.begun]
    noticed = failed[0].ended if failed else end
    low = max(0.0, failed[-1].begun - failed[0].ended) if failed else 0.0
    own = low
    longest = max(each.ended - each.begun for each in attempts if last.begun <= each.begun <= first.begun)
    high = end
    if lookups:
        served_after = lookups.served_after()
        low = 0.0 if served_after is None else max(0.0, min(served_after, end) - noticed)
        high = max(end, marks.get("T5", end) + lookups.ttl) + 2 * lookups.interval + longest
    both = [a.ended for a in attempts if a.good and a.ip not in new_ips and a.begun > first.ended]
    if both:
        low = own = first.begun - max(both)
    called = marks.get("T3", noticed)
    # A change called before anything failed took no time to be noticed or decided.
    t1, t3 = (start, start) if called < noticed else (noticed, min(called, end))
    t4 = min(max(marks.get("T4", end), t3), end)
    parts = {"detect": t1 - start, "decide": t3 - t1, "database": t4 - t3, "traffic": high - t4}
    known = {"T0": start, "T1": t1, "T3": t3, "T4": t4, "T6": first.begun}
    if "T5" in marks:
        known["T5"] = marks["T5"]
    return MeasuredRto(low, high - start, parts, known, own, end - start)
