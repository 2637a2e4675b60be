"""Define the report charts: RPO over time, RTO by part, lag by hour and weekday."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np

from dr_assets import escape, utc
from dr_assets.reports.analysis import timeseries as sig
from dr_assets.reports.analysis.rpo import RpoReport
from dr_assets.reports.analysis.rto import PARTS, RtoReport
from dr_assets.reports.analysis.what_if import WEEKDAYS, WhatIf
from dr_assets.reports.pack.drawing import BLUE, GREY, ORANGE, VERMILION, Picture, no_data, render

_HATCHES = {"detect": "", "decide": "////", "database": "....", "traffic": "xxxx"}
_COLOURS = {"detect": "#F0E442", "decide": ORANGE, "database": "#56B4E9", "traffic": "#CC79A7"}
_BUCKETS = 400
_DRILLS = 24


def _dates() -> Any:
    """matplotlib.dates is only partly typed."""
    import matplotlib.dates

    return matplotlib.dates


def _time_axis(axes: Any) -> None:
    dates = _dates()
    locator = dates.AutoDateLocator(tz=utc.UTC)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator, tz=utc.UTC))
    axes.set_xlabel("time (UTC)")


# --- RPO over time ------------------------------------------------------------------------------------------------------


def rpo_over_time(report: RpoReport) -> Picture:
    """The signal (over long periods: minimum and maximum of each of 400 equal parts), objective, breaches, gaps."""
    known = float(report.summary.iloc[0]["known_seconds"])
    share = "unknown" if report.compliance is None else f"{report.compliance:.4%}"
    title = f"RPO by telemetry, stack {report.stack}"
    alt = (
        f"{title}, {_span(report.start, report.end)}. Objective {report.objective_seconds:g} s; within it {share} of the known "
        f"time, {report.unknown_share:.4%} of the time unknown; {len(report.breaches)} breaches, {len(report.gaps)} gaps."
    )

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        if not known:
            no_data(axes, "No reading in this period: the RPO is unknown throughout")
            return
        times, low, high = _envelope(report.signal)
        axes.fill_between(times, low, high, step="post", color=BLUE, alpha=0.3, linewidth=0)
        (line,) = axes.step(
            times, high, where="post", color=BLUE, linewidth=0.9, label="RPO: maximum (pale: down to the minimum)"
        )
        axes.axhline(report.objective_seconds, color="black", linestyle="--", linewidth=1.2)
        axes.annotate(
            f"objective {report.objective_seconds:g} s",
            (0.005, report.objective_seconds),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            xytext=(0, 4),
            ha="left",
            fontsize=8,
        )
        axes.set_yscale("symlog", linthresh=1.0)
        top = max(float(np.nanmax(high)), report.objective_seconds) * 4
        axes.set_ylim(0, top)
        _seconds_axis(axes)
        shown = [
            _spans(axes, report, *more)
            for more in (
                (report.breaches, VERMILION, "\\\\\\\\", "v", 0.96, "breach (one mark for neighbours)"),
                (report.gaps, GREY, "////", "^", 0.03, "unknown, no reading (likewise)"),
            )
            if len(more[0])
        ]
        axes.set_xlim(report.start, report.end)
        axes.set_ylabel("RPO (s), linear below 1 s, then logarithmic")
        axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
        axes.legend(handles=[line, *shown], loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=3, frameon=False)
        _time_axis(axes)

    return render("rpo-over-time", title, alt, 10, 4.2, draw)


def _seconds_axis(axes: Any) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axes.yaxis.set_major_locator(
        FixedLocator([0, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400])
    )
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())


def _spans(
    axes: Any, report: RpoReport, table: Any, colour: str, hatch: str, marker: str, height: float, text: str
) -> Any:
    """Draw each interval, and one mark per group of neighbours: a minute is too narrow to show in a year. Returns the legend's
    handle."""
    from matplotlib.patches import Patch

    first, last = _dates().date2num([report.start, report.end])
    starts, ends = (_dates().date2num(table[name].tolist()) for name in ("start", "end"))
    axes.broken_barh(
        list(zip(starts, ends - starts, strict=True)),
        (0, 1),
        transform=axes.get_xaxis_transform(),
        facecolor=colour,
        alpha=0.4,
        hatch=hatch,
        edgecolor="black",
        linewidth=0,
    )
    near = np.flatnonzero(np.append(True, starts[1:] - ends[:-1] > (last - first) / 150))
    middle = (starts[near] + ends[np.append(near[1:], len(starts)) - 1]) / 2
    axes.plot(
        middle,
        np.full(len(middle), height),
        transform=axes.get_xaxis_transform(),
        linestyle="none",
        marker=marker,
        markersize=7,
        color=colour,
        markeredgecolor="black",
        clip_on=False,
    )
    return Patch(facecolor=colour, hatch=hatch, edgecolor="black", linewidth=0.6, label=text)


def _envelope(signal: sig.Signal) -> tuple[list[dt.datetime], sig.Floats, sig.Floats]:
    """Times, minima and maxima; each value holds until the next time."""
    end = int(signal.ends[-1])
    if len(signal.starts) > 3 * _BUCKETS:
        edges = np.linspace(int(signal.starts[0]), end, _BUCKETS + 1).astype(np.int64)[:-1]
        divided = sig.split(signal, edges)
        first = np.searchsorted(divided.starts, edges)
        low, high = np.fmin.reduceat(divided.values, first), np.fmax.reduceat(divided.values, first)
        starts = edges
    else:
        starts, low, high = signal.starts, signal.values, signal.values
    times = [sig.to_time(ms) for ms in [*starts.tolist(), end]]
    return times, np.append(low, low[-1]), np.append(high, high[-1])


def _span(start: dt.datetime, end: dt.datetime) -> str:
    return f"{start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"


# --- RTO ------------------------------------------------------------------------------------------------------------------


def rto_parts(report: RtoReport, stack: str) -> Picture:
    """A bar for each of the latest drills and incidents, its parts stacked, its interval and what was predicted beside it."""
    events = report.events.tail(_DRILLS)
    title = f"RTO of drills and incidents, stack {stack}"
    met = events["met"].tolist()
    alt = f"{title}: {len(events)} shown, {met.count('yes')} within the target, {met.count('no')} not, {met.count('unknown')} unknown."

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        if not len(events):
            no_data(axes, "No drill and no incident in this period")
            return
        rows = np.arange(len(events))
        left = np.zeros(len(events))
        for part in PARTS:
            width = np.nan_to_num(events[f"{part}_seconds"].to_numpy(dtype=float))
            axes.barh(
                rows,
                width,
                left=left,
                height=0.5,
                color=_COLOURS[part],
                hatch=_HATCHES[part],
                edgecolor="black",
                linewidth=0.6,
                label=part,
            )
            left += width
        low, high = (events[name].to_numpy(dtype=float) for name in ("low_seconds", "high_seconds"))
        measured = ~np.isnan(low) & ~np.isnan(high)
        axes.hlines(
            rows[measured], low[measured], high[measured], color="black", linewidth=1.6, label="measured interval"
        )
        axes.plot(low[measured], rows[measured], "|", high[measured], rows[measured], "|", color="black", markersize=9)
        p50, p95 = (events[f"predicted_{name}_seconds"].to_numpy(dtype=float) for name in ("p50", "p95"))
        predicted = ~np.isnan(p50)
        axes.hlines(rows[predicted] + 0.38, p50[predicted], p95[predicted], color="black", linewidth=1.2)
        axes.plot(
            p50[predicted],
            rows[predicted] + 0.38,
            "D",
            color="white",
            markeredgecolor="black",
            markersize=4,
            label="predicted p50 to p95",
        )
        for row, (_, event) in enumerate(events.iterrows()):
            if np.isnan(event["high_seconds"]):
                axes.text(
                    left[row],
                    row,
                    f"  no figure: {escape.line(event['status'])}",
                    va="center",
                    fontsize=8,
                    fontweight="bold",
                )
            elif event["regression"] == "yes":
                axes.text(
                    event["high_seconds"], row, "  slower than predicted", va="center", fontsize=8, fontweight="bold"
                )
        _target(axes, events)
        names = [
            f"{event['started_at']:%Y-%m-%d %H:%M}  {escape.line(event['scenario'])}{' (incident)' if event['kind'] == 'incident' else ''}"
            for _, event in events.iterrows()
        ]
        axes.set_yticks(rows, names)
        axes.set_ylim(len(events) - 0.4, -0.6)
        axes.set_xlim(left=0)
        axes.set_xlabel("seconds from the last good write to recovery; row labels: start in UTC")
        axes.grid(axis="x", color="#DDDDDD", linewidth=0.6)
        axes.set_axisbelow(True)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=6, frameon=False)

    return render("rto-parts", title, alt, 10, 2.0 + 0.42 * max(len(events), 3), draw)


def _target(axes: Any, events: Any) -> None:
    """The target as a line where it lies near enough to leave the bars readable, else in words."""
    targets = sorted(set(events["target_seconds"].dropna()))
    longest = float(np.nanmax([1e-3, *events["high_seconds"].tolist()]))
    for target in targets:
        if target <= longest * 8:
            axes.axvline(target, color="black", linestyle="--", linewidth=1.2)
            axes.annotate(
                f"target {target:g} s",
                (target, 1.0),
                xycoords=("data", "axes fraction"),
                fontsize=8,
                ha="right",
                xytext=(-3, -9),
                textcoords="offset points",
            )
        else:
            axes.annotate(
                f"target {target:g} s: {target / longest:.0f} times as far to the right →",
                (1.0, 1.0),
                xycoords="axes fraction",
                fontsize=8,
                ha="right",
                xytext=(0, 2),
                textcoords="offset points",
            )


# --- lag by hour and weekday ----------------------------------------------------------------------------------------------


def lag_heat_map(found: WhatIf, stack: str) -> Picture:
    """p95 of the RPO, had the region failed, for each hour and weekday in UTC."""
    title = f"RPO had the region failed (p95), stack {stack}"
    cells = found.p95
    if np.isnan(cells).all():
        alt = f"{title}: nothing is known."
    else:
        day, hour = np.unravel_index(int(np.nanargmax(cells)), cells.shape)
        alt = f"{title}, by weekday and hour in UTC, from {np.nanmin(cells):.2f} s to {np.nanmax(cells):.2f} s, worst on {WEEKDAYS[day]} at {hour:02d}:00."

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        if np.isnan(cells).all():
            no_data(axes, "No reading in this period: nothing is known")
            return
        from matplotlib.colors import LogNorm

        axes.set_facecolor("white")
        axes.patch.set_hatch("////")
        axes.patch.set_edgecolor(GREY)
        # Logarithmic, so that one bad hour does not flatten all others; a lag of zero is drawn as a millisecond.
        low, high = max(float(np.nanmin(cells)), 1e-3), max(float(np.nanmax(cells)), 1e-3)
        scale = LogNorm(low, max(high, low * 10))
        image = axes.pcolormesh(
            np.arange(25),
            np.arange(8),
            np.ma.masked_invalid(np.maximum(cells, 1e-3)),
            cmap="cividis",
            norm=scale,
            edgecolor="white",
            linewidth=0.5,
        )
        for (row, column), value in np.ndenumerate(cells):
            if not np.isnan(value):
                axes.text(
                    column + 0.5,
                    row + 0.5,
                    _short(value),
                    ha="center",
                    va="center",
                    fontsize=6.5,
                    color="white" if scale(max(value, 1e-3)) < 0.5 else "black",
                )
        axes.set_xticks(np.arange(24) + 0.5, [f"{number:02d}" for number in range(24)])
        axes.set_yticks(np.arange(7) + 0.5, WEEKDAYS)
        axes.invert_yaxis()
        axes.tick_params(length=0)
        axes.set_xlabel("hour of the day (UTC); hatched: unknown")
        figure.colorbar(image, ax=axes, label="p95 of the RPO (s)", pad=0.01, format="%g")

    return render("lag-heat-map", title, alt, 10, 3.4, draw)


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
