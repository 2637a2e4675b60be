"""Tables as they stand on the evidence pack's page, where that is narrower than the CSV behind them. May import its neighbours;
pandas inside functions only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dr_assets.reports.analysis.report import Figures
from dr_assets.reports.pack import html


def what(event: Any) -> str:
    """`failover (drill)`."""
    return f"{event['scenario']} ({event['kind']})"


def breaches(found: Figures) -> Any:
    """The breaches, with the incidents' ids short."""
    frame, prefix = found.rpo.breaches, f"{found.subject.name}-"
    return frame.assign(during=[str(names).replace(prefix, "") for names in frame["during"]])


def lost(found: Figures) -> Any:
    """What drills and incidents lost."""
    frame = found.rpo.drills
    commits = [
        None if html.missing(gone) else f"{gone:.0f} of {total:.0f}"
        for gone, total in zip(frame["lost_commits"], frame["acknowledged"], strict=True)
    ]
    return _view(
        frame,
        {
            "record": _links(frame),
            "what": [what(row) for _, row in frame.iterrows()],
            "status": frame["status"],
            "telemetry_seconds": frame["telemetry_seconds"],
            "lost_seconds": frame["lost_seconds"],
            "commits lost": commits,
            "in doubt": frame["in_doubt"],
            "target_seconds": frame["target_seconds"],
            "met": frame["met"],
        },
    )


def took(found: Figures) -> Any:
    """What drills and incidents took. `basis`: how many earlier ones the prediction rests on."""
    frame = found.rto.events
    return _view(
        frame,
        {
            "record": _links(frame),
            "what": [what(row) for _, row in frame.iterrows()],
            "status": frame["status"],
            "measured (s)": _pairs(frame["low_seconds"], frame["high_seconds"]),
            **{f"{part}_seconds": frame[f"{part}_seconds"] for part in ("detect", "decide", "database", "traffic")},
            "target_seconds": frame["target_seconds"],
            "met": frame["met"],
            "predicted p50 to p95 (s)": _pairs(frame["predicted_p50_seconds"], frame["predicted_p95_seconds"]),
            "basis": frame["basis"],
            "slower than predicted": frame["regression"],
        },
    )


def exposed(found: Figures) -> Any:
    """Exposure, interval by interval."""
    frame, known = found.exposure.intervals, set(found.rto.events["id"])
    sources = [html.Link(str(name), f"record-{name}") if name in known else name for name in frame["source"]]
    both = zip(frame["open"], frame["end"], strict=True)
    ends = ["still open" if opened == "yes" else f"{end:%Y-%m-%d %H:%M:%S}" for opened, end in both]
    return _view(
        frame,
        {
            "source": sources,
            "start": frame["start"],
            "end (UTC)": ends,
            "seconds_in_period": frame["seconds_in_period"],
            "end told by": frame["end_told_by"],
        },
    )


def incidents(found: Figures) -> Any:
    """The sensors' incidents; the stack's name, which is the same for all, left out."""
    frame, prefix = found.incidents, f"{found.subject.name}-"
    return frame.drop(columns=["topic"]).assign(id=[str(each).removeprefix(prefix) for each in frame["id"]])


def _links(frame: Any) -> list[html.Link]:
    return [html.Link(str(name), f"record-{name}") for name in frame["id"]]


def _view(frame: Any, columns: Mapping[str, Any]) -> Any:
    import pandas as pd

    return pd.DataFrame(dict(columns), index=frame.index)


def _pairs(low: Any, high: Any) -> list[str | None]:
    both = zip(low, high, strict=True)
    return [None if html.missing(a) or html.missing(b) else f"{a:.1f} to {b:.1f}" for a, b in both]
