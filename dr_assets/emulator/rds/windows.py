"""Validation of backup and maintenance windows: format, length and overlap. No I/O.

moto calls windows that merely touch (03:00-04:00 and mon:04:00-mon:05:00) overlapping; AWS takes them.
"""

import re

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY, _WEEK = 24 * 60, 7 * 24 * 60
_BACKUP = re.compile(r"^(\d\d):(\d\d)-(\d\d):(\d\d)$")
_MAINTENANCE = re.compile(r"^([a-z]{3}):(\d\d):(\d\d)-([a-z]{3}):(\d\d):(\d\d)$")


def window_error(backup: str | None, maintenance: str | None) -> str | None:
    """AWS's error message for these windows, `None` when they are valid. Times are UTC."""
    weekly: tuple[int, int] | None = None
    daily: tuple[int, int] | None = None
    if backup is not None:
        match = _BACKUP.match(backup)
        if match is None:
            return f"Invalid backup window format: {backup}. Should be specified as a range hh24:mi-hh24:mi (24H Clock UTC)."
        hours = [int(part) for part in match.groups()]
        start, end = hours[0] * 60 + hours[1], hours[2] * 60 + hours[3]
        daily = (start, end if end > start else end + _DAY)
        if daily[1] - daily[0] < 30:
            return "The backup window must be at least 30 minutes."
    if maintenance is not None:
        match = _MAINTENANCE.match(maintenance.lower())
        if match is None or match[1] not in _DAYS or match[4] not in _DAYS:
            return f"Invalid maintenance window format: {maintenance}. Should be specified as ddd:hh24:mi-ddd:hh24:mi."
        start = _DAYS.index(match[1]) * _DAY + int(match[2]) * 60 + int(match[3])
        end = _DAYS.index(match[4]) * _DAY + int(match[5]) * 60 + int(match[6])
        weekly = (start, end if end > start else end + _WEEK)
        if not 30 <= weekly[1] - weekly[0] < _DAY:
            return "The maintenance window must be at least 30 minutes and less than 24 hours."
    if daily is None or weekly is None:
        return None
    for day in range(-1, 9):  # the day before and after, for windows that cross midnight or the end of the week
        if daily[0] + day * _DAY < weekly[1] and weekly[0] < daily[1] + day * _DAY:
            return "The backup window and maintenance window must not overlap."
    return None
