"""What if the region had failed at this minute? The distribution of the RPO over all minutes of a period.

pandas is imported inside functions only. Every whole minute (UTC) of the period is one experiment: had the
region failed then, what had not arrived would be lost, which is the signal's value at that minute. A minute whose value is
unknown counts as unknown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dr_assets.reports.analysis import timeseries as sig
from dr_assets.reports.analysis.rpo import frame
from dr_assets.reports.analysis.timeseries import Floats, Signal

WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


@dataclass(frozen=True)
class WhatIf:
    """overall, hours, weekdays: DataFrames with one row each (`minutes_known`, `minutes_unknown`, `within_objective` as a
    share of the known ones, mean and percentiles in seconds). `p95` and `maximum`: weekday x hour (7 x 24), seconds, NaN
    where nothing is known; `known_share`: the share of known minutes of each such cell."""

    objective_seconds: float
    overall: Any
    hours: Any
    weekdays: Any
    p95: Floats
    maximum: Floats
    known_share: Floats


def what_if(signal: Signal, objective_seconds: float) -> WhatIf:
    """Percentile p: the smallest value v such that at least p % of the group's known minutes had a value <= v."""
    begin, end = int(signal.starts[0]), int(signal.ends[-1])
    first = -(-begin // sig.MINUTE_MS)
    minutes = np.arange(first, -(-end // sig.MINUTE_MS), dtype=np.int64)
    values = signal.at(minutes * sig.MINUTE_MS)
    hour = (minutes // 60) % 24
    weekday = (minutes // 1440 + 3) % 7  # 1970-01-01 was a Thursday; 0 is Monday
    ones = np.ones(len(minutes), dtype=np.int64)
    order = np.argsort(values)

    def by(name: str, names: list[str], groups: sig.Ints) -> Any:
        figures = sig.grouped(values, ones, groups, len(names), objective_seconds, order)
        found = frame({name: names}, figures)
        found.insert(1, "minutes_known", figures.known)
        found.insert(2, "minutes_unknown", figures.unknown)
        return found.drop(columns=["known_seconds", "unknown_seconds"]).rename(
            columns={"compliance": "within_objective"}
        )

    cells = sig.grouped(values, ones, weekday * 24 + hour, 168, objective_seconds, order)
    total = cells.known + cells.unknown
    with np.errstate(invalid="ignore"):
        share = np.where(total > 0, cells.known / total, np.nan)
    return WhatIf(
        objective_seconds,
        overall=by("scope", ["every minute"], np.zeros(len(minutes), dtype=np.int64)),
        hours=by("hour_utc", [f"{number:02d}:00" for number in range(24)], hour),
        weekdays=by("weekday_utc", list(WEEKDAYS), weekday),
        p95=cells.percentiles[95].reshape(7, 24),
        maximum=cells.maximum.reshape(7, 24),
        known_share=share.reshape(7, 24),
    )
