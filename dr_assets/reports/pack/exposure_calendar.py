"""Chart of the exposure: a calendar with the minutes of each day on which no usable reader protected the data."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np

from dr_assets.reports.analysis.exposure import ExposureReport
from dr_assets.reports.analysis.what_if import WEEKDAYS
from dr_assets.reports.pack.drawing import Picture, render

_WEEKS = 27  # in a row of the calendar


def exposure_calendar(report: ExposureReport, stack: str) -> Picture:
    """A square for each day, a column for each week, a row of squares for each half year; exposed days are dark and carry their
    minutes, from two hours on their hours."""
    days = [(dt.date.fromisoformat(row.period), float(row.exposure_seconds) / 60) for row in report.days.itertuples()]
    exposed = sum(minutes > 0 for _, minutes in days)
    title = f"Time without a usable reader, stack {stack}"
    alt = f"{title}: {report.seconds / 60:.1f} minutes of exposure on {exposed} of {len(days)} days."
    monday = days[0][0] - dt.timedelta(days=days[0][0].weekday())
    weeks = (days[-1][0] - monday).days // 7 + 1
    bands = [monday + dt.timedelta(weeks=first) for first in range(0, weeks, _WEEKS)]

    def draw(figure: Any) -> None:
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import LogNorm

        colours = ScalarMappable(LogNorm(1, 1440), "cividis_r")
        rows = figure.subplots(len(bands), 1, squeeze=False)[:, 0]
        for axes, first in zip(rows, bands, strict=True):
            after = first + dt.timedelta(weeks=_WEEKS)
            _band(axes, first, min(max(weeks, 8), _WEEKS), [each for each in days if first <= each[0] < after], colours)
        bar = figure.colorbar(colours, ax=list(rows), label="minutes of exposure in a day", pad=0.01)
        bar.set_ticks([1, 10, 100, 1440], labels=["1", "10", "100", "1440"])

    across = min(max(weeks, 8), _WEEKS)
    return render("exposure-calendar", title, alt, 1.6 + 0.31 * across, 0.8 + 2.5 * len(bands), draw)


def _lines(segments: list[Any], **style: Any) -> Any:
    from matplotlib.collections import LineCollection

    return LineCollection(segments, **style)


def _band(axes: Any, first: dt.date, across: int, days: list[tuple[dt.date, float]], colours: Any) -> None:
    """Up to half a year, `across` weeks wide; `first` is its first Monday."""

    def column(day: dt.date) -> int:
        return (day - first).days // 7

    faces = np.zeros((7, across, 4))  # transparent where the period has no day
    for day, minutes in days:
        face = colours.to_rgba(max(minutes, 1.0)) if minutes > 0 else (1.0, 1.0, 1.0, 1.0)
        faces[day.weekday(), column(day)] = face
        if minutes > 0:
            text = "<1" if minutes < 1 else f"{minutes:.0f}" if minutes < 120 else f"{minutes / 60:.0f} h"
            axes.text(
                column(day) + 0.5,
                day.weekday() + 0.5,
                text,
                ha="center",
                va="center",
                fontsize=7,
                color="white" if sum(face[:3]) < 1.5 else "black",
            )
    axes.pcolormesh(np.arange(across + 1), np.arange(8), faces, edgecolor="none")
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]])
    edges = [np.add(square, (column(day), day.weekday())) for day, _ in days]
    axes.add_collection(_lines(edges, colors="#999999", linewidths=0.5))
    axes.set_xlim(-0.3, across + 0.3)
    axes.set_ylim(7.1, -0.2)
    axes.set_aspect("equal", anchor="W")
    weeks = sorted({column(day) for day, _ in days})
    axes.set_xticks([week + 0.5 for week in weeks], [f"{first + dt.timedelta(weeks=week):%d\n%b}" for week in weeks])
    axes.set_yticks(np.arange(7) + 0.5, WEEKDAYS)
    axes.tick_params(length=0, labelsize=7)
    axes.set_xlabel(f"week of Monday, {first:%Y} (UTC)" if weeks else "", fontsize=8, loc="left")
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
