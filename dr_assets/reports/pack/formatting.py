"""Text for numbers, shares, durations, times and missing values, as the report's page, its CSV files and the command line show them."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np

from dr_assets import escape, utc

UNKNOWN = "unknown"

# Columns shown as clock time, and as a percentage; all other columns of seconds are shown to the millisecond.
_CLOCK = (
    "known_seconds",
    "unknown_seconds",
    "duration_seconds",
    "breach_seconds",
    "seconds_in_period",
    "exposure_seconds",
)
_SHARES = ("unknown_share", "compliance", "within_objective")
_HEADINGS = {
    "start": "start (UTC)",
    "end": "end (UTC)",
    "started_at": "started (UTC)",
    "last": "last (UTC)",
    "hour_utc": "hour (UTC)",
    "weekday_utc": "weekday (UTC)",
    "seconds_in_period": "in the period (h:mm:ss)",
    "during": "drill or incident",
    "told": "notified",
    "trend_seconds_per_30_days": "trend (s in 30 days)",
}


def missing(value: Any) -> bool:
    """Whether a value is None, NaN or NaT, that is, unknown."""
    import pandas as pd

    return bool(pd.isna(value))


def is_number(value: Any) -> bool:
    """Whether a cell holds a number; a boolean is none."""
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def heading(column: str) -> str:
    """A column's heading with its unit."""
    if column in _HEADINGS:
        return _HEADINGS[column]
    if column.endswith("_seconds"):
        return f"{column.removesuffix('_seconds').replace('_', ' ')} ({'h:mm:ss' if column in _CLOCK else 's'})"
    return column.replace("_", " ")


def number(value: float, column: str, whole: bool) -> str:
    """A number of a column. `whole`: all numbers of the column are integers, so none needs decimals."""
    if column in _SHARES:
        return share(value)
    if column in _CLOCK:
        return clock(value)
    if whole and abs(value) < 1e15:
        return f"{int(value):,}".replace(",", "\u202f")
    return f"{value:.3f}" if column.endswith("_seconds") else f"{value:.2f}"


def plain(value: Any) -> str:
    """Any value of a list of facts."""
    if value is None or value == "":
        return UNKNOWN if value is None else "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def moment(at: dt.datetime) -> str:
    """A time to the minute."""
    return f"{at:%Y-%m-%d %H:%M}"


def seconds(value: float) -> str:
    """Four significant digits with the unit, or unknown."""
    return UNKNOWN if missing(value) else f"{value:.4g} s"


def share(value: float) -> str:
    """A share as a percentage that never rounds up to 100 % or down to 0 %."""
    for digits in (2, 4, 6):
        text = f"{100 * value:.{digits}f}"
        if value in (0.0, 1.0) or float(text) not in (0.0, 100.0):
            return f"{text} %"
    return "less than 100 %, by less than a millionth" if value > 0.5 else "more than 0 %, by less than a millionth"


def clock(duration: float) -> str:
    """Seconds as `13:24:00`, with days and milliseconds where there are any."""
    whole, ms = divmod(round(duration * 1000), 1000)
    days, rest = divmod(whole, 86_400)
    begin = f"{days} d " if days else ""
    return f"{begin}{rest // 3600}:{rest % 3600 // 60:02d}:{rest % 60:02d}" + (f".{ms:03d}" if ms else "")


def csv(frame: Any) -> bytes:
    """A DataFrame as UTF-8 CSV: times as ISO 8601 with Z, unknown as an empty cell, no text that a spreadsheet evaluates."""
    import pandas as pd

    cells = frame.copy()
    for name in cells.columns:
        if not np.issubdtype(np.asarray(cells[name].to_numpy()).dtype, np.number):
            cells[name] = pd.Series(
                [_csv_value(value) for value in cells[name].tolist()], index=cells.index, dtype=object
            )
    cells.columns = [escape.csv_cell(name) for name in cells.columns]
    found: str = cells.to_csv(index=False, lineterminator="\n", float_format="%.9g")
    return found.encode()


def _csv_value(value: Any) -> Any:
    if missing(value):
        return ""
    if isinstance(value, dt.datetime):
        return utc.to_text(value)
    return value if is_number(value) else escape.csv_cell(value)
