"""Readings as types: a value is known only with its time, age and range; else it is unknown, with the reason.

A reading that is absent, too old, ahead of the clock, outside its range or no number is `Unknown`: never good, never bad. Neither type
orders, converts to a number or has a truth, so that nothing is compared by accident; ask `isinstance(assessed, Known)` first.

CloudWatch takes datapoints up to two hours ahead of its own clock (PutMetricData), and SigV4 lets a clock be minutes off: a source's
time proves nothing by itself. A datapoint's time is the beginning of its period (GetMetricStatistics).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, NoReturn

# Clocks that NTP keeps differ by less. A time further ahead than this is wrong, or ours is.
SKEW_SECONDS = 10.0


class Quantity(NamedTuple):
    """What is read, and which readings of it can be believed.

    unit       `ms`, `percent`, `count`, `bool`, `days`
    low, high  the range of its values, inclusive
    age_limit  seconds after which a reading says nothing about now; `math.inf` for a state that is reported once, when it changes
    covers     seconds after its time for which a reading speaks: a minute's maximum is stamped with the minute's beginning
    """

    unit: str
    low: float
    high: float
    age_limit: float
    covers: float = 0.0


@dataclass(frozen=True)
class Known:
    """A reading that can be believed. `at`: its own time (UTC). `age`: seconds since the end of what it covers, never negative."""

    value: float
    at: datetime
    age: float

    def __bool__(self) -> NoReturn:
        raise TypeError("a reading has no truth: compare its value")


@dataclass(frozen=True)
class Unknown:
    """No reading that can be believed, and why."""

    reason: str

    def __str__(self) -> str:
        return self.reason

    def __bool__(self) -> NoReturn:
        raise TypeError(f"unknown is neither true nor false: {self.reason}")


Assessed = Known | Unknown


def assess(value: float | None, at: datetime, now: datetime, quantity: Quantity, limit: float = math.inf) -> Assessed:
    """The reading as it can be believed at `now`. `limit`: an age limit in seconds that is stricter than the quantity's."""
    if value is None:
        return Unknown("no reading")
    if not quantity.low <= value <= quantity.high or (quantity.unit == "bool" and value not in (0.0, 1.0)):
        return Unknown(f"{value:g} is no value of {_range(quantity)}")
    if not math.isfinite(value):
        return Unknown(f"{value:g} is no reading")
    ahead = (at - now).total_seconds()
    if ahead > SKEW_SECONDS:
        return Unknown(_ahead(ahead))
    age = max(0.0, -ahead - quantity.covers)
    if age > min(limit, quantity.age_limit):
        return Unknown(f"{value:g} is {age:.0f} s old")
    return Known(float(value), at, age)


def newest(
    points: Iterable[tuple[datetime, float | None]], now: datetime, quantity: Quantity, limit: float = math.inf
) -> Assessed:
    """The latest of (time, value) as `assess` takes it. Those of the future are left out first, so that they displace no present one."""
    every = list(points)
    present = [point for point in every if not is_future(point[0], now)]
    if not every:
        return Unknown("no reading")
    at, value = max(reversed(present or every), key=lambda point: point[0])  # of equal times the last one
    return assess(value, at, now, quantity, limit)


def is_future(at: datetime, now: datetime) -> bool:
    """Whether a time is further ahead than clocks differ."""
    return (at - now).total_seconds() > SKEW_SECONDS


def elapsed(since: datetime | None, now: datetime) -> float | Unknown:
    """Seconds since an event (a proof, a claim, an evaluation, an approval), never negative. None: it never happened."""
    if since is None:
        return Unknown("never")
    age = (now - since).total_seconds()
    return Unknown(_ahead(-age)) if age < -SKEW_SECONDS else max(0.0, age)


def _ahead(seconds: float) -> str:
    return f"in the future by {seconds:.0f} s: check the clocks of the source and of this host"


def _range(quantity: Quantity) -> str:
    if quantity.unit == "bool":
        return "0 or 1"
    if math.isinf(quantity.high):
        return f"at least {quantity.low:g} {quantity.unit}".rstrip()
    return f"{quantity.low:g} to {quantity.high:g} {quantity.unit}".rstrip()
