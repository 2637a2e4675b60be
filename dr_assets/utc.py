"""Time in one format: aware UTC datetimes inside, ISO 8601 with milliseconds and a Z in every document."""

from __future__ import annotations

import re
from datetime import datetime, timezone

UTC = timezone.utc
# A fraction of any length and an offset without a colon: AWS writes both, Python 3.10 reads neither.
_FRACTION = re.compile(r"\.(\d+)")
_OFFSET = re.compile(r"([+-]\d\d)(\d\d)$")


def now() -> datetime:
    """The wall clock, aware, UTC."""
    return datetime.now(UTC)


def to_text(at: datetime) -> str:
    """`2026-11-01T06:00:00.000Z`. Raises ValueError for a time without a zone."""
    if at.tzinfo is None:
        raise ValueError(f"{at} has no time zone")
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def now_text() -> str:
    return to_text(now())


def parse(text: str, assume_utc: bool = False) -> datetime:
    """The inverse of `to_text`; also reads AWS's `+0000` and any number of decimals.

    Raises ValueError for what is no time, and for a time without a zone unless `assume_utc`.
    """
    text = re.sub("[zZ]$", "+00:00", text.strip())
    text = _OFFSET.sub(r"\1:\2", text) if "T" in text or " " in text else text
    at = datetime.fromisoformat(_FRACTION.sub(lambda found: f".{found[1]:0<6.6}", text))
    if at.tzinfo is None:
        if not assume_utc:
            raise ValueError(f"{text!r} has no time zone")
        return at.replace(tzinfo=UTC)
    return at.astimezone(UTC)


def from_epoch(seconds: float) -> datetime:
    """Seconds since 1970 as an aware datetime."""
    return datetime.fromtimestamp(seconds, UTC)
