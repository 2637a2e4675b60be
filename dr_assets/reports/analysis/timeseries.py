"""The RPO as a step function of time, computed from samples, with unknown time as NaN; and its time-weighted statistics.

Pure numpy. A signal tiles its period with segments [start, end) of one value each; NaN is unknown time.

A reading holds from its own time until the next reading of the same site and source, at most for `hold` (two periods); after
that the value is unknown. A reading without a value (null) makes the time after it unknown at once. Of several sites or
sources that are known at the same moment the largest value counts: replication is as far behind as the worst of them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dr_assets import utc
from dr_assets.errors import DrError

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

DAY_MS = 86_400_000
MINUTE_MS = 60_000
_SECONDS = {"ms": 1000.0, "s": 1.0, "seconds": 1.0}  # what a value is divided by
PERCENTILES = (50, 95, 99)


@dataclass(frozen=True)
class Signal:
    """Segments that tile [start, end): `starts` and `ends` in ms since 1970 UTC, `values` in seconds, NaN for unknown.

    `known_at` and `known_values` are the readings themselves, in order of time, unknown ones left out.
    """

    starts: Ints
    ends: Ints
    values: Floats
    known_at: Ints
    known_values: Floats

    @property
    def lengths(self) -> Ints:
        return self.ends - self.starts

    @property
    def known(self) -> Bools:
        return ~np.isnan(self.values)

    def at(self, times: Ints) -> Floats:
        """The value at each time of the period, NaN where unknown."""
        if not len(self.starts):
            return np.full(len(times), np.nan)
        return self.values[np.searchsorted(self.starts, times, side="right") - 1]


def to_ms(at: dt.datetime) -> int:
    """Milliseconds since 1970 UTC. Raises DrError for a time without a zone."""
    if at.tzinfo is None:
        raise DrError(f"{at} has no zone: give times in UTC.")
    return (at - dt.datetime(1970, 1, 1, tzinfo=utc.UTC)) // dt.timedelta(milliseconds=1)


def to_time(ms: int) -> dt.datetime:
    """The inverse of `to_ms`."""
    return dt.datetime(1970, 1, 1, tzinfo=utc.UTC) + dt.timedelta(milliseconds=int(ms))


def parse_utc(text: Any) -> dt.datetime | None:
    """A record's time ("…Z"); None where there is none or it cannot be read."""
    if not isinstance(text, str) or not text:
        return None
    try:
        return utc.parse(text, assume_utc=True)
    except ValueError:
        return None


@dataclass(frozen=True)
class Series:
    """The readings of one site and one source, in order of time, each time once: values in seconds, NaN for unknown."""

    site: str
    source: str
    at: Ints
    values: Floats


def series_of(table: Any, metric: str) -> list[Series]:
    """The readings of `metric`, one series for each site and source; any order and repetitions allowed.

    Of readings at the same time the known one counts, of two known ones the larger. Raises DrError for a unit that is no
    time.
    """
    if not table.num_rows:
        return []
    metrics, names = _codes(table, "metric")
    if metric not in names:
        return []
    rows: Any = slice(None)
    if len(names) > 1:
        rows = np.flatnonzero(metrics == names.index(metric))
    at = table["at"].cast("int64").to_numpy()[rows]
    values = table["value"].to_numpy()[rows].astype(np.float64, copy=True)
    values[~(np.isfinite(values) & (values >= 0))] = (
        np.nan
    )  # a lag below zero is a mark: -1 stands for "not replicating"
    units, unit_names = _codes(table, "unit")
    if len(unit_names) == 1:
        values /= _divisor(unit_names[0], metric)
    elif len(values):
        units = units[rows]
        for code in np.unique(units):
            values[units == code] /= _divisor(unit_names[code], metric)
    sites, site_names = _codes(table, "site")
    sources, source_names = _codes(table, "source")
    both = (sites.astype(np.int64) * len(source_names) + sources)[rows]
    found = []
    groups = np.unique(both) if len(site_names) * len(source_names) > 1 else both[:1]
    for group in groups:
        mine: Any = both == group if len(groups) > 1 else slice(None)
        times, readings = _ordered(at[mine], values[mine])
        site, source = divmod(int(group), len(source_names))
        found.append(Series(site_names[site], source_names[source], times, readings))
    return sorted(found, key=lambda series: (series.site, series.source))


def _codes(table: Any, name: str) -> tuple[Any, list[str]]:
    column = table[name].unify_dictionaries().combine_chunks()
    if not hasattr(column, "dictionary"):
        column = column.dictionary_encode()
    return column.indices.to_numpy(), column.dictionary.to_pylist()


def _divisor(unit: str, metric: str) -> float:
    if unit not in _SECONDS:
        raise DrError(f"{metric} is given in {unit!r}, which is no unit of time here; store it in ms or s.")
    return _SECONDS[unit]


def _ordered(at: Ints, values: Floats) -> tuple[Ints, Floats]:
    if len(at) < 2 or bool(np.all(at[1:] > at[:-1])):
        return at, values
    # lexsort puts NaN last, so the first of equal times is the largest known value.
    order = np.lexsort((-values, at))
    at, values = at[order], values[order]
    first = np.ones(len(at), dtype=bool)
    first[1:] = at[1:] != at[:-1]
    return at[first], values[first]


def signal_of(series: Sequence[Series], start: int, end: int, hold: int) -> Signal:
    """What was known of the period [start, end) ms from these series; `hold` in ms. Readings before `start` still hold."""
    if end <= start:
        raise DrError(f"The period ends at {to_time(end)}, which is not after its beginning {to_time(start)}.")
    tracks = [track for one in series if (track := _track(one, start, end, hold)) is not None]
    known_at, known_values = _known(series, end)
    if not tracks:
        empty = np.array([start], np.int64)
        return Signal(empty, np.array([end], np.int64), np.array([np.nan]), known_at, known_values)
    starts, values = tracks[0]
    if len(tracks) > 1:
        starts = np.unique(np.concatenate([track[0] for track in tracks]))
        values = np.full(len(starts), np.nan)
        for points, readings in tracks:
            values = np.fmax(values, readings[np.searchsorted(points, starts, side="right") - 1])
    return Signal(starts, np.append(starts[1:], end), values, known_at, known_values)


def _track(series: Series, start: int, end: int, hold: int) -> tuple[Ints, Floats] | None:
    """A step function over the period: the points where it changes (the first is `start`) and the values from there."""
    low = max(int(np.searchsorted(series.at, start, side="right")) - 1, 0)
    high = int(np.searchsorted(series.at, end, side="left"))
    at, values = series.at[low:high], series.values[low:high]
    if not len(at):
        return None
    until = at + hold
    gaps = np.flatnonzero(until[:-1] < at[1:])
    if until[-1] < end:
        gaps = np.append(gaps, len(at) - 1)
    points, readings = at, values
    if len(gaps):
        points = np.insert(at, gaps + 1, until[gaps])
        readings = np.insert(values, gaps + 1, np.nan)
    if points[0] > start:
        points, readings = np.insert(points, 0, start), np.insert(readings, 0, np.nan)
    else:
        first = int(np.searchsorted(points, start, side="right")) - 1
        points, readings = points[first:].copy(), readings[first:]
        points[0] = start
    return points, readings


def _known(series: Sequence[Series], end: int) -> tuple[Ints, Floats]:
    parts = [(one.at[keep], one.values[keep]) for one in series for keep in [~np.isnan(one.values) & (one.at < end)]]
    if not parts:
        return np.empty(0, np.int64), np.empty(0)
    if len(parts) == 1:
        return parts[0]
    return _ordered(np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts]))


def split(signal: Signal, points: Ints) -> Signal:
    """The same signal with a boundary at each of `points` (sorted) that lies within it."""
    inside = points[(points > signal.starts[0]) & (points < signal.ends[-1])]
    where = np.searchsorted(signal.starts, inside)
    there = np.zeros(len(inside), dtype=bool)
    within = where < len(signal.starts)
    there[within] = signal.starts[where[within]] == inside[within]
    where, inside = where[~there], inside[~there]
    starts = np.insert(signal.starts, where, inside)
    values = np.insert(signal.values, where, signal.values[where - 1])
    return Signal(starts, np.append(starts[1:], signal.ends[-1]), values, signal.known_at, signal.known_values)


def midnights(start: int, end: int) -> Ints:
    """Every midnight (UTC) within [start, end), in ms."""
    return np.arange(-(-start // DAY_MS) * DAY_MS, end, DAY_MS, dtype=np.int64)


@dataclass(frozen=True)
class Runs:
    """Maximal stretches of neighbouring segments for which something holds: indices of the first and of the last one."""

    first: Ints
    last: Ints


def runs_of(mask: Bools) -> Runs:
    edges = np.diff(np.concatenate([[0], mask.astype(np.int8), [0]]))
    return Runs(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) - 1)


@dataclass(frozen=True)
class Grouped:
    """Figures for each group. Times in ms; values in seconds, NaN where nothing was known."""

    known: Ints
    unknown: Ints
    within: Ints
    mean: Floats
    percentiles: dict[int, Floats]
    maximum: Floats


def grouped(
    values: Floats, lengths: Ints, groups: Ints, count: int, objective: float, order: Ints | None = None
) -> Grouped:
    """Time-weighted figures of each of `count` groups.

    Percentile p: the smallest value v such that at least p % of the group's known time had a value <= v. Within: the
    time with a value < objective. `order`: what `np.argsort(values)` gave, where there is one already.
    """
    order = np.argsort(values) if order is None else order
    order = order[: len(values) - int(np.isnan(values).sum())]  # NaN sorts last
    small = np.int16 if count < 32_000 else np.int64  # numpy sorts 16-bit integers by radix
    total = _sums(groups, lengths, count)
    order = order[np.argsort(groups[order].astype(small), kind="stable")]
    group, value, weight = groups[order], values[order], lengths[order]
    known = _sums(group, weight, count)
    within = _sums(group, np.where(value < objective, weight, 0), count)
    weighted = np.bincount(group, weights=value * weight, minlength=count)
    running = np.cumsum(weight)
    before = np.cumsum(known) - known
    some = known > 0

    def pick(position: Ints) -> Floats:
        found = np.full(count, np.nan)
        found[some] = value[position[some]] if len(value) else np.nan
        return found

    percentiles = {}
    for p in PERCENTILES:
        # Whole numbers throughout: at least p % means 100 * running >= p * known.
        needed = before + -(-p * known // 100)
        percentiles[p] = pick(np.minimum(np.searchsorted(running, needed, side="left"), max(len(value) - 1, 0)))
    last = np.searchsorted(running, before + known, side="left")
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(some, weighted / known, np.nan)
    return Grouped(known, total - known, within, mean, percentiles, pick(np.minimum(last, max(len(value) - 1, 0))))


def consecutive(values: Floats, lengths: Ints, edges: Ints, objective: float) -> Grouped:
    """As `grouped`, for groups that follow one another: group i is the segments edges[i] to edges[i + 1].

    Readings come at regular intervals, so most lengths are multiples of one unit: each value is repeated as often as its length
    holds the unit, and plain sorting is several times faster than sorting with weights.
    """
    count = len(edges) - 1
    keep = ~np.isnan(values)
    ahead = np.concatenate([[0], np.cumsum(keep)])  # how many known segments lie before each
    unit = int(np.gcd.reduce(lengths[keep])) if ahead[-1] else 1
    times = lengths[keep] // unit
    if times.sum() > 4 * len(values):
        groups = np.repeat(np.arange(count), np.diff(edges))
        return grouped(values, lengths, groups, count, objective)
    reach = np.concatenate([[0], np.cumsum(times)])[ahead[edges]]
    beats = np.repeat(values[keep], times)
    span = np.concatenate([[0], np.cumsum(lengths)])[edges]
    known, within = np.diff(reach), np.zeros(count, dtype=np.int64)
    mean, maximum = np.full(count, np.nan), np.full(count, np.nan)
    percentiles = {p: np.full(count, np.nan) for p in PERCENTILES}
    for group in np.flatnonzero(known).tolist():
        value = np.sort(beats[reach[group] : reach[group + 1]])
        within[group] = np.searchsorted(value, objective)
        mean[group], maximum[group] = value.mean(), value[-1]
        for p in PERCENTILES:
            percentiles[p][group] = value[-(-p * len(value) // 100) - 1]
    known = known * unit
    return Grouped(known, np.diff(span) - known, within * unit, mean, percentiles, maximum)


def _sums(groups: Ints, lengths: Ints, count: int) -> Ints:
    # bincount adds in float64: exact for whole numbers below 2**53 ms.
    return np.bincount(groups, weights=lengths, minlength=count).astype(np.int64)


def union(intervals: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Intervals in ms, merged where they touch or overlap, in order; empty ones left out."""
    merged: list[tuple[int, int]] = []
    for begin, end in sorted(intervals):
        if end <= begin:
            continue
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((begin, end))
    return merged
