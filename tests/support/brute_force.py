"""The definitions a second time, second by second and without numpy: what the reports are held against."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from typing import Any

HOLD = 120
Row = dict[str, Any]


def values_of(rows: Sequence[Row], start: int, length: int, every: int = 1) -> list[float | None]:
    """The RPO in seconds at each second (or every so many) from `start` (since 1970) on; None is unknown. Readings lie on whole
    seconds."""
    series: dict[tuple[str, str], dict[int, list[float]]] = {}
    for row in rows:
        # Not the times themselves: Python compares two of the same zone by the wall clock, which repeats in one night.
        second = int(row["at"].timestamp())
        readings = series.setdefault((row["site"], row["source"]), {}).setdefault(second, [])
        if row["value"] is not None:
            readings.append(float(row["value"]) / (1000 if row["unit"] == "ms" else 1))
    return [_value_at(series, second) for second in range(start, start + length, every)]


def _value_at(series: dict[tuple[str, str], dict[int, list[float]]], t: int) -> float | None:
    worst: list[float] = []
    for readings in series.values():
        latest = max((second for second in readings if second <= t), default=None)
        if latest is not None and t - latest < HOLD:
            worst += readings[latest]
    return max(worst, default=None)


def figures(values: Sequence[float | None], objective: float) -> dict[str, float | None]:
    known = sorted(value for value in values if value is not None)
    return {
        "known_seconds": len(known),
        "unknown_seconds": len(values) - len(known),
        "compliance": sum(value < objective for value in known) / len(known) if known else None,
        "mean_seconds": sum(known) / len(known) if known else None,
        "p50_seconds": percentile(known, 50),
        "p95_seconds": percentile(known, 95),
        "p99_seconds": percentile(known, 99),
        "max_seconds": known[-1] if known else None,
    }


def percentile(ordered: Sequence[float], p: int) -> float | None:
    for place, value in enumerate(ordered, 1):
        if place * 100 >= p * len(ordered):
            return value
    return None


def stretches(values: Sequence[float | None], holds: Callable[[float | None], bool]) -> list[tuple[int, int]]:
    """Maximal runs [first, last + 1) of places for which it holds."""
    found: list[tuple[int, int]] = []
    for place, value in enumerate(values):
        if holds(value):
            if found and found[-1][1] == place:
                found[-1] = (found[-1][0], place + 1)
            else:
                found.append((place, place + 1))
    return found


def by(
    values: Sequence[float | None], start: dt.datetime, name: Callable[[dt.datetime], str]
) -> dict[str, list[float | None]]:
    groups: dict[str, list[float | None]] = {}
    for place, value in enumerate(values):
        groups.setdefault(name(start + dt.timedelta(seconds=place)), []).append(value)
    return groups


def total(intervals: Iterable[tuple[int, int]]) -> int:
    return len({second for begin, end in intervals for second in range(begin, end)})
