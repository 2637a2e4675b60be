"""Exposure report: time without a usable reader, and the age of the last proven failover and restore.

pandas is imported inside functions only. Exposure is the length of the union of all exposure intervals within the
period: what overlaps is counted once, and one that has not ended counts until now.

Where intervals come from: the records of drills and incidents, and the sensors' incidents of a rebuild after a failover. A drill
that was aborted has no end of its exposure; the first of these after its start ends it:
- the end of the exposure of a later record;
- the start of 15 minutes of lag readings under the objective: only a reader that replicates has a lag.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dr_assets import utc
from dr_assets.errors import DrError
from dr_assets.history.documents import StoredIncident
from dr_assets.monitoring.topics import within
from dr_assets.reports.analysis import timeseries as sig
from dr_assets.reports.analysis.rto import SCENARIOS

PROVEN_MS = 15 * 60_000  # how long readings must go on to prove a usable reader
# The sensors' topic for "the old primary is being rebuilt: the stack is unprotected".
REBUILD = "events.resynchronizing"


@dataclass(frozen=True)
class ExposureReport:
    """DataFrames; times in UTC.

    intervals  source, start, end, seconds in the period, whether it is open, the evidence for its end
    days       exposure in seconds of each UTC day of the period
    proofs     when each scenario last met both objectives, and when a restore was last verified; NaN/NaT for never
    """

    seconds: float
    open_since: dt.datetime | None
    intervals: Any
    days: Any
    proofs: Any


def exposure_report(
    records: Sequence[Mapping[str, Any]],
    start: dt.datetime,
    end: dt.datetime,
    now: dt.datetime | None = None,
    restores: Sequence[dt.datetime] = (),
    intervals: Sequence[tuple[dt.datetime, dt.datetime | None, str]] = (),
    signal: sig.Signal | None = None,
    objective_seconds: float = float("inf"),
) -> ExposureReport:
    """Exposure within [start, end), up to `now` (by default `end`).

    Args:
        records: drills and incidents with their `exposure`.
        restores: when backups were restored and verified.
        intervals: exposure known from elsewhere: from, until (None: still) and source.
        signal: the RPO by telemetry over the period; its stretches of known time under `objective_seconds` end what a
            record left open.
    """
    import pandas as pd

    now = min(now or end, end)
    begin, until = sig.to_ms(start), sig.to_ms(now)
    rows, spans, opened = [], [], []
    proven = _proven(signal, objective_seconds)
    for source, since, until_, by in _all(records, intervals):
        ended, evidence = (until_, by) if until_ is not None else _end(records, since, proven)
        if since >= now or (ended is not None and ended <= start):
            continue
        low, high = max(begin, sig.to_ms(since)), min(until, sig.to_ms(ended or now))
        spans.append((low, high))
        if ended is None:
            opened.append(since)
        rows.append(
            {
                "source": source,
                "start": since,
                "end": ended,
                "seconds_in_period": max(high - low, 0) / 1000,
                "open": "yes" if ended is None else "no",
                "end_told_by": evidence,
            }
        )
    merged = sig.union(spans)
    frame = pd.DataFrame(rows, columns=["source", "start", "end", "seconds_in_period", "open", "end_told_by"])
    return ExposureReport(
        seconds=sum(high - low for low, high in merged) / 1000,
        open_since=min(opened, default=None),
        intervals=frame.sort_values("start", ignore_index=True),
        days=_days(merged, begin, sig.to_ms(end)),
        proofs=_proofs(records, restores, now),
    )


def _all(
    records: Sequence[Mapping[str, Any]], intervals: Sequence[tuple[dt.datetime, dt.datetime | None, str]]
) -> list[tuple[str, dt.datetime, dt.datetime | None, str]]:
    found = [(source, since, until, "" if until is None else "the sensors") for since, until, source in intervals]
    for record in records:
        exposure = record.get("exposure") or {}
        since, until = sig.parse_utc(exposure.get("from")), sig.parse_utc(exposure.get("until"))
        if since is not None:
            if until is not None and until < since:
                until = None  # by two clocks: when it ended is not known
            found.append((str(record.get("id")), since, until, "" if until is None else "the record"))
    for source, since, until, _ in found:
        if since.tzinfo is None or (until is not None and until.tzinfo is None):
            raise DrError(f"The exposure of {source} has no time zone: give times in UTC.")
    return found


def of_incidents(incidents: Sequence[StoredIncident]) -> list[tuple[dt.datetime, dt.datetime | None, str]]:
    """Exposure from the sensors' incidents, as `intervals`: a rebuild ends when it cleared, or when its incident was resolved."""
    found = []
    for incident in incidents:
        if within(incident.topic, REBUILD):
            over = incident.ended is not None
            until = incident.clear_since if over and incident.clear_since is not None else incident.ended
            ended = dt.datetime.fromtimestamp(until, utc.UTC) if until is not None else None
            found.append((dt.datetime.fromtimestamp(incident.since, utc.UTC), ended, incident.id))
    return found


def _proven(signal: sig.Signal | None, objective: float) -> list[tuple[int, int]]:
    """The stretches [begin, end) ms of readings under the objective that are long enough."""
    if signal is None:
        return []
    runs = sig.runs_of(signal.values < objective)  # NaN, unknown, is not
    stretches = zip(signal.starts[runs.first].tolist(), signal.ends[runs.last].tolist(), strict=True)
    return [(begin, end) for begin, end in stretches if end - begin >= PROVEN_MS]


def _end(
    records: Sequence[Mapping[str, Any]], since: dt.datetime, proven: Sequence[tuple[int, int]]
) -> tuple[dt.datetime | None, str]:
    """The end of an exposure that its own source leaves open, and the evidence for it."""
    found: list[tuple[dt.datetime, str]] = []
    for record in records:
        until = sig.parse_utc((record.get("exposure") or {}).get("until"))
        if until is not None and until > since:
            found.append((until, f"the record {record.get('id')}"))
    for begin, end in proven:
        start = max(begin, sig.to_ms(since))
        if end - start >= PROVEN_MS:
            found.append((sig.to_time(start), "readings of the lag"))
            break
    return min(found, default=(None, ""))


def _days(merged: Sequence[tuple[int, int]], begin: int, end: int) -> Any:
    import pandas as pd

    first, last = begin // sig.DAY_MS, (end - 1) // sig.DAY_MS
    totals = np.zeros(last - first + 1)
    for low, high in merged:
        for day in range(low // sig.DAY_MS, (high - 1) // sig.DAY_MS + 1):
            totals[day - first] += min(high, (day + 1) * sig.DAY_MS) - max(low, day * sig.DAY_MS)
    names = [str(np.datetime64(int(day), "D")) for day in range(first, last + 1)]
    return pd.DataFrame({"period": names, "exposure_seconds": totals / 1000})


def _proofs(records: Sequence[Mapping[str, Any]], restores: Sequence[dt.datetime], now: dt.datetime) -> Any:
    import pandas as pd

    rows = []
    for scenario in SCENARIOS:
        times = [
            at
            for each in records
            if each.get("scenario") == scenario and proves(each) and (at := proven_at(each)) and at <= now
        ]
        rows.append(_proof(f"{scenario} within RTO and RPO", times, now))
    rows.append(_proof("verified restore", [at for at in restores if at <= now], now))
    return pd.DataFrame(rows)


def _proof(what: str, times: Sequence[dt.datetime], now: dt.datetime) -> dict[str, Any]:
    last = max(times, default=None)
    return {"proof": what, "last": last, "days_ago": (now - last).total_seconds() / 86_400 if last else float("nan")}


def proves(record: Mapping[str, Any]) -> bool:
    """A record is a proof when it succeeded and met both objectives; unknown is not met."""
    met = [(record.get(name) or {}).get("met") is True for name in ("rto", "rpo")]
    return record.get("status") == "succeeded" and all(met)


def proven_at(record: Mapping[str, Any]) -> dt.datetime | None:
    return sig.parse_utc(record.get("ended_at"))
