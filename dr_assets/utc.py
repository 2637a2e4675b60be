"""Time in one format: aware UTC datetimes inside, ISO 8601 with milliseconds and a Z in every document."""

from __future__ import annotations

import re
from datetime import datetime, timezone

UTC = timezone.utc
# A fraction of any length and an offset without a colon: AWS writes both, Python 3.10 reads neither.
_FRACTION = re.compile(r"\.(\d+)")
_OFFSET = re.compile(r"([+-]\d\d)(\d\d)$")
# Beyond these years a time is damaged, not old or future; within them no arithmetic or conversion of a time overflows.
FIRST_YEAR, LAST_YEAR = 2000, 2199
_LONGEST = 64


class OutOfRangeError(ValueError):
    """A time, but of a year that no clock of ours or AWS's shows."""


def now() -> datetime:
    """The wall clock, aware, UTC."""
    return datetime.now(UTC)


def clock() -> datetime:
    """`now`, looked up at each call: a default argument would keep the function that it found."""
    return now()


def to_text(at: datetime) -> str:
    """`2026-11-01T06:00:00.000Z`. Raises ValueError for a time without a zone."""
    if at.tzinfo is None:
        raise ValueError(f"{at} has no time zone")
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def now_text() -> str:
    return to_text(now())


def parse(text: object, assume_utc: bool = False) -> datetime:
    """The inverse of `to_text`; also reads AWS's `+0000` and any number of decimals.

    Raises ValueError, and nothing else, for what is no time, for a time without a zone unless `assume_utc`, and for a time outside
    the years 2000 to 2199.
    """
    if not isinstance(text, str) or len(text) > _LONGEST:
        raise ValueError("not a time in ISO 8601")
    text = re.sub("[zZ]$", "+00:00", text.strip())
    text = _OFFSET.sub(r"\1:\2", text) if "T" in text or " " in text else text
    at = datetime.fromisoformat(_FRACTION.sub(lambda found: f".{found[1]:0<6.6}", text))
    return bounded(at.replace(tzinfo=UTC) if at.tzinfo is None and assume_utc else at)


def bounded(at: datetime) -> datetime:
    """The time in UTC. Raises ValueError without a zone, OutOfRangeError outside the years 2000 to 2199."""
    if at.tzinfo is None:
        raise ValueError(f"{at} has no time zone")
    try:
        at = at.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"the year {at.year} is out of range") from None
    if not FIRST_YEAR <= at.year <= LAST_YEAR:
        raise OutOfRangeError(f"the year {at.year} is out of range")
    return at


def from_epoch(seconds: float) -> datetime:
    """Seconds since 1970 as an aware datetime. Raises ValueError for what is no time."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, OSError):
        raise ValueError(f"{seconds:g} s since 1970 is out of range") from None
