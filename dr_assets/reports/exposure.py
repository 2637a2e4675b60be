"""Exposure: how long no usable reader protected the data, and how long ago anything was last proven.

May import its neighbours; pandas inside functions only. Exposure is the length of the union of all exposure intervals within the
period: what overlaps is counted once, and one that has not ended counts until now.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dr_assets.errors import DrError
from dr_assets.reports import signal as sig
from dr_assets.reports.rto import SCENARIOS


@dataclass(frozen=True)
class ExposureReport:
    """intervals: DataFrame, one row for each (source, start, end, seconds, open); days: one row for each UTC day of the period;
    proofs: when each scenario last succeeded within both objectives, and when a restore was last verified, NaN/NaT for never.
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
) -> ExposureReport:
    """Exposure within [start, end), up to `now` (by default `end`).

    Args:
        records: drills and incidents with their `exposure`.
        restores: when backups were restored and verified.
        intervals: exposure known from elsewhere: from, until (None: still) and source.
    """
    import pandas as pd

    now = min(now or end, end)
    begin, until = sig.to_ms(start), sig.to_ms(now)
    rows, spans, opened = [], [], []
    for source, since, ended in _all(records, intervals):
        if since >= now or (ended is not None and ended <= start):
            continue
        low, high = max(begin, sig.to_ms(since)), min(until, sig.to_ms(ended or now))
        spans.append((low, high))
        if ended is None:
            opened.append(since)
        rows.append(
            {"source": source, "start": since, "end": ended, "seconds_in_period": max(high - low, 0) / 1000, "open": "yes" if ended is None else "no"}
        )  # fmt: skip
    merged = sig.union(spans)
    frame = pd.DataFrame(rows, columns=["source", "start", "end", "seconds_in_period", "open"])
    return ExposureReport(
        seconds=sum(high - low for low, high in merged) / 1000,
        open_since=min(opened, default=None),
        intervals=frame.sort_values("start", ignore_index=True),
        days=_days(merged, begin, sig.to_ms(end)),
        proofs=_proofs(records, restores, now),
    )


def _all(
    records: Sequence[Mapping[str, Any]], intervals: Sequence[tuple[dt.datetime, dt.datetime | None, str]]
) -> list[tuple[str, dt.datetime, dt.datetime | None]]:
    found = [(source, since, until) for since, until, source in intervals]
    for record in records:
        told = record.get("exposure") or {}
        since = sig.parse_utc(told.get("from"))
        if since is not None:
            found.append((str(record.get("id")), since, sig.parse_utc(told.get("until"))))
    for source, since, until in found:
        if since.tzinfo is None or (until is not None and until.tzinfo is None):
            raise DrError(f"The exposure told by {source} has no zone: give times in UTC.")
    return found


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
