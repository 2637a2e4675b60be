"""Tables shown on the evidence page, as typed cells; the wider CSV tables come from `sections`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dr_assets.reports.analysis.report import StackReport
from dr_assets.reports.pack import formatting

_ROWS = 400  # the page shows no more; the CSV has all
_FOLD = 12  # longer lists of intervals are folded


@dataclass(frozen=True)
class Link:
    """A value of a DataFrame that links to an anchor of the page."""

    text: str
    anchor: str


@dataclass(frozen=True)
class Cell:
    """`sort_key`: what the page's script sorts by, empty for unknown. `style`: n(umber), t(ime), u(nknown) or empty."""

    text: str
    sort_key: str
    style: str = ""
    anchor: str = ""


@dataclass(frozen=True)
class Table:
    """`file`: name of the CSV; `total`: its number of rows; `summary`: what the page shows while the table is folded."""

    file: str
    headings: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    total: int
    summary: str = ""


def table(file: str, frame: Any, shown: Any = None, empty: Mapping[str, str] | None = None, fold: str = "") -> Table:
    """The table of a DataFrame.

    Args:
        shown: the DataFrame for the page, where the CSV (`frame`) has more columns.
        empty: the text for a missing value of a column, where that is not "unknown".
        fold: plural noun for the rows; a table of more than 12 is folded under their number and `duration_seconds`.
    """
    view = (frame if shown is None else shown).head(_ROWS)
    columns = [_cells(view[name].tolist(), name, (empty or {}).get(name, formatting.UNKNOWN)) for name in view.columns]
    summary = ""
    if fold and len(frame) > _FOLD:
        all_, longest = (formatting.clock(float(x)) for x in frame["duration_seconds"].agg(["sum", "max"]))
        summary = f"{len(frame)} {fold}, {all_} in all, the longest {longest}"
    headings = tuple(formatting.heading(name) for name in view.columns)
    return Table(file, headings, tuple(zip(*columns, strict=True)), len(frame), summary)


def _cells(values: Sequence[Any], column: str, empty: str) -> list[Cell]:
    numbers = [value for value in values if formatting.is_number(value) and not formatting.missing(value)]
    whole = all(float(value).is_integer() for value in numbers)
    return [_cell(value, column, empty, whole) for value in values]


def _cell(value: Any, column: str, empty: str, whole: bool) -> Cell:
    if isinstance(value, Link):
        return Cell(value.text, value.text, anchor=value.anchor)
    if formatting.missing(value):
        return Cell(empty, "", "u")
    if isinstance(value, dt.datetime):
        return Cell(f"{value:%Y-%m-%d %H:%M:%S}", str(value.timestamp()), "t")
    if formatting.is_number(value):
        return Cell(formatting.number(float(value), column, whole), repr(float(value)), "n")
    return Cell(str(value), str(value))


def scenario_and_kind(event: Any) -> str:
    """`failover (drill)`."""
    return f"{event['scenario']} ({event['kind']})"


def breaches(report: StackReport) -> Any:
    """The breaches, with the incidents' ids without the stack's name."""
    frame, prefix = report.rpo.breaches, f"{report.subject.name}-"
    return frame.assign(during=[str(names).replace(prefix, "") for names in frame["during"]])


def losses(report: StackReport) -> Any:
    """What drills and incidents lost."""
    frame = report.rpo.drills
    commits = [
        None if formatting.missing(lost) else f"{lost:.0f} of {total:.0f}"
        for lost, total in zip(frame["lost_commits"], frame["acknowledged"], strict=True)
    ]
    return _view(
        frame,
        {
            "record": _links(frame),
            "what": [scenario_and_kind(row) for _, row in frame.iterrows()],
            "status": frame["status"],
            "telemetry_seconds": frame["telemetry_seconds"],
            "lost_seconds": _bounded(frame["lost_seconds"], frame["lost_at_least_seconds"]),
            "commits lost": commits,
            "in doubt": frame["in_doubt"],
            "target_seconds": frame["target_seconds"],
            "met": frame["met"],
        },
    )


def recovery_times(report: StackReport) -> Any:
    """The RTO of drills and incidents. `basis`: how many earlier ones the prediction rests on."""
    frame = report.rto.events
    return _view(
        frame,
        {
            "record": _links(frame),
            "what": [scenario_and_kind(row) for _, row in frame.iterrows()],
            "status": frame["status"],
            "measured (s)": _intervals(frame["low_seconds"], frame["high_seconds"]),
            **{f"{part}_seconds": frame[f"{part}_seconds"] for part in ("detect", "decide", "database", "traffic")},
            "target_seconds": frame["target_seconds"],
            "met": frame["met"],
            "predicted p50 to p95 (s)": _pairs(frame["predicted_p50_seconds"], frame["predicted_p95_seconds"]),
            "basis": frame["basis"],
            "slower than predicted": frame["regression"],
        },
    )


def exposure_intervals(report: StackReport) -> Any:
    """Exposure, interval by interval."""
    frame, known = report.exposure.intervals, set(report.rto.events["id"])
    sources = [Link(str(name), f"record-{name}") if name in known else name for name in frame["source"]]
    both = zip(frame["open"], frame["end"], strict=True)
    ends = ["still open" if opened == "yes" else f"{end:%Y-%m-%d %H:%M:%S}" for opened, end in both]
    return _view(
        frame,
        {
            "source": sources,
            "start": frame["start"],
            "end (UTC)": ends,
            "seconds_in_period": frame["seconds_in_period"],
            "evidence for the end": frame["end_told_by"],
        },
    )


def incidents(report: StackReport) -> Any:
    """The sensors' incidents, with ids without the stack's name."""
    frame, prefix = report.incidents, f"{report.subject.name}-"
    return frame.drop(columns=["topic"]).assign(id=[str(each).removeprefix(prefix) for each in frame["id"]])


def _links(frame: Any) -> list[Link]:
    return [Link(str(name), f"record-{name}") for name in frame["id"]]


def _view(frame: Any, columns: Mapping[str, Any]) -> Any:
    import pandas as pd

    return pd.DataFrame(dict(columns), index=frame.index)


def _bounded(values: Any, at_least: Any) -> list[Any]:
    """The values; for an unknown one its lower bound, where there is one."""
    both = zip(values, at_least, strict=True)
    return [f"at least {b:.3f}" if formatting.missing(a) and not formatting.missing(b) else a for a, b in both]


def _intervals(low: Any, high: Any) -> list[str | None]:
    """Like `_pairs`; a lower bound alone is shown as such."""
    found = zip(_pairs(low, high), low, high, strict=True)
    return [
        f"at least {a:.1f}" if formatting.missing(b) and not formatting.missing(a) else pair for pair, a, b in found
    ]


def _pairs(low: Any, high: Any) -> list[str | None]:
    both = zip(low, high, strict=True)
    return [None if formatting.missing(a) or formatting.missing(b) else f"{a:.1f} to {b:.1f}" for a, b in both]
