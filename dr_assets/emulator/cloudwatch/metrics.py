"""Bounded in-memory store of metric samples, by series and sorted by time, and CloudWatch's statistics over them.

moto keeps one list of all samples, scans it for every request, and keeps a second copy for its dashboard: too slow and too large
for a server that runs for hours, publishes several times a second and evaluates alarms.
"""

import math
import re
import time
from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

KEPT_SECONDS = 15 * 86_400  # CloudWatch: samples of a minute for 15 days (and coarser ones for longer)
LISTED_SECONDS = 14 * 86_400  # ListMetrics: metrics with data of the last two weeks
KEPT = 30_000  # of one series: more than 15 days of minutes; faster samples are kept for less long
STATISTIC = re.compile(r"Average|Maximum|Minimum|Sum|SampleCount|p\d{1,2}(\.\d+)?|p100")

_at = attrgetter("at")


@dataclass(frozen=True)
class Series:
    """Identity of a metric: namespace, name and dimensions."""

    namespace: str
    metric: str
    dimensions: frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Datum:
    """One sample at a moment (seconds since the epoch): one value, or statistics that the sender aggregated."""

    at: float
    low: float
    high: float
    total: float
    count: float
    unit: str | None = None

    @classmethod
    def single(cls, at: float, value: float, unit: str | None = None) -> "Datum":
        """One value."""
        return cls(at, value, value, value, 1.0, unit)


class Store:
    """The samples of one account and region."""

    def __init__(self) -> None:
        self._data: dict[Series, list[Datum]] = {}
        self._published: dict[Series, Datum] = {}
        self._known_since: dict[Series, float] = {}
        self.high_resolution: set[Series] = set()

    def add(self, series: Series, datum: Datum) -> None:
        """Keep a sample, whatever its time."""
        self._known_since.setdefault(series, time.time())
        data = self._data.setdefault(series, [])
        if data and datum.at < data[-1].at:
            insort(data, datum, key=_at)
        else:
            data.append(datum)
        if len(data) > KEPT or data[-1].at - data[0].at > KEPT_SECONDS:
            del data[: max(len(data) - KEPT, bisect_left(data, data[-1].at - KEPT_SECONDS, key=_at))]

    def publish(self, series: Series, datum: Datum, begun: float) -> None:
        """Keep a sample in place of the last one that was published in the period that began at `begun`."""
        last, data = self._published.get(series), self._data.get(series, [])
        if last is not None and last.at >= begun:
            place = bisect_left(data, last.at, key=_at)
            while place < len(data) and data[place].at == last.at:
                if data[place] is last:
                    del data[place]
                    break
                place += 1
        self._published[series] = datum
        self.add(series, datum)

    def between(self, series: Series, since: float, until: float = math.inf) -> list[Datum]:
        """The samples of a series from a moment to another, which does not belong to it."""
        data = self._data.get(series, [])
        return data[bisect_left(data, since, key=_at) : bisect_left(data, until, key=_at)]

    def is_published(self, series: Series) -> bool:
        """Whether it is one of AWS's own metrics."""
        return series in self._published

    def series(self) -> list[Series]:
        """The series that have samples."""
        return [series for series, data in self._data.items() if data]

    def listed(self, now: float, delay: float) -> list[Series]:
        """The series that ListMetrics shows: known for `delay` seconds, with data of the last two weeks."""
        return [
            series
            for series, data in self._data.items()
            if data and self._known_since[series] <= now - delay and data[-1].at >= now - LISTED_SECONDS
        ]


def statistic(name: str, data: Sequence[Datum]) -> float | None:
    """One period's data as one number; `None` where there is none to be had. ValueError for a statistic not known here."""
    if not STATISTIC.fullmatch(name):
        raise ValueError(f"the statistic {name} is not emulated")
    if name.startswith("p"):  # percentiles need single values, as at AWS
        values = sorted(datum.total for datum in data if datum.count == 1)
        if not values:
            return None
        place = (len(values) - 1) * float(name[1:]) / 100
        low = math.floor(place)
        high = min(low + 1, len(values) - 1)
        return values[low] + (values[high] - values[low]) * (place - low)
    total, count = sum(datum.total for datum in data), sum(datum.count for datum in data)
    if not count:
        return None
    return {
        "Maximum": max(datum.high for datum in data),
        "Minimum": min(datum.low for datum in data),
        "Sum": total,
        "SampleCount": count,
        "Average": total / count,
    }[name]
