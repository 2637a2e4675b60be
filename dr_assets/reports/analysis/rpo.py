"""The RPO report: compliance with the objective, the share of unknown time, percentiles, and every breach and gap.

pandas is imported inside functions only. Formulas (docs/reports.md, "The figures"). With the signal r(t) of `timeseries.py` over a period of length P, K its known time:
- compliance = time with r(t) < objective / K. An RPO of exactly the objective is not under it.
- unknown share = (P - K) / P, always beside the compliance; where K = 0 the compliance is unknown (NaN), never 1.
- p50, p95, p99 = the smallest v with (time with r(t) <= v) >= p % of K; max = the largest r(t).
- breach = a maximal stretch of known time with r(t) >= objective; depth = its largest r(t).
- gap = a maximal stretch of unknown time; within it the RPO is at most the last reading + its age.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dr_assets.history.documents import StoredIncident
from dr_assets.reports.analysis import timeseries as sig
from dr_assets.reports.analysis.timeseries import Grouped, Ints, Series, Signal

METRIC = "rpo-lag"
PERIOD_SECONDS = 60.0
PERIODS_HELD = 2
# Of a period more than this share unknown leaves open whether the objective was met in it, however good the known time was.
UNKNOWN_SHARE = 0.01
_NOT_DATABASE = ("drift", "drills", "runs")  # topics of the sensors that are unrelated to replication
_FIGURES = (
    "known_seconds",
    "unknown_seconds",
    "unknown_share",
    "compliance",
    "mean_seconds",
    "p50_seconds",
    "p95_seconds",
    "p99_seconds",
    "max_seconds",
)


@dataclass(frozen=True)
class RpoReport:
    """All tables are pandas DataFrames; durations in seconds, shares from 0 to 1, times in UTC.

    summary   one row for the stack (`scope` = "stack") and one for each site and source
    days, weeks, months   the same figures for each UTC day, ISO week and month of the period
    breaches  start, end, duration, depth, how it ended, drills and incidents during it
    gaps      start, end, duration, last reading before it, the bound of the RPO at its end
    drills    each drill and incident: lost by count and by time beside the telemetry just before the fault
    """

    stack: str
    start: dt.datetime
    end: dt.datetime
    objective_seconds: float
    signal: Signal
    sites: Mapping[str, Signal]
    summary: Any
    days: Any
    weeks: Any
    months: Any
    breaches: Any
    gaps: Any
    drills: Any
    problems: Sequence[str] = field(default=())

    @property
    def compliance(self) -> float | None:
        """The stack's compliance, None where nothing is known."""
        value = float(self.summary.iloc[0]["compliance"])
        return None if np.isnan(value) else value

    @property
    def unknown_share(self) -> float:
        return float(self.summary.iloc[0]["unknown_share"])


def hold_ms(period_seconds: float = PERIOD_SECONDS) -> int:
    """How long a reading holds at most: two periods."""
    return round(PERIODS_HELD * period_seconds * 1000)


def rpo_report(
    stack: str,
    table: Any,
    start: dt.datetime,
    end: dt.datetime,
    objective_seconds: float,
    records: Sequence[Mapping[str, Any]] = (),
    metric: str = METRIC,
    period_seconds: float = PERIOD_SECONDS,
    problems: Sequence[str] = (),
    incidents: Sequence[StoredIncident] = (),
) -> RpoReport:
    """The report of one stack over [start, end).

    Args:
        table: samples (pyarrow, the columns of `history.samples`), in any order, repetitions allowed; those of up to two
            periods before `start` count, too.
        records: drills and incidents; those that began within the period are set beside the telemetry.
        period_seconds: how often readings come.
        incidents: the sensors' (`history.documents`); breaches name those that were open.

    Raises DrError for a period that is empty or times without a zone.
    """
    begin, until = sig.to_ms(start), sig.to_ms(end)
    series = sig.series_of(table, metric)
    whole = sig.signal_of(series, begin, until, hold_ms(period_seconds))
    sites = _by_site(series, whole, begin, until, hold_ms(period_seconds))
    by_day = sig.split(whole, sig.midnights(begin, until))
    lengths = by_day.lengths
    day = by_day.starts // sig.DAY_MS
    first, last = begin // sig.DAY_MS, (until - 1) // sig.DAY_MS

    def by(names: list[str], groups: Ints) -> Any:
        edges = np.searchsorted(groups, np.arange(len(names) + 1))
        figures = sig.consecutive(by_day.values, lengths, edges, objective_seconds)
        return frame({"period": names}, figures)

    # Not arange(…, dtype="datetime64[D]"): that takes the end for a distance from the beginning.
    all_days = np.arange(first, last + 1).astype("datetime64[D]")
    months = day.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    first_month = int(np.datetime64(int(first), "D").astype("datetime64[M]").astype(np.int64))
    last_month = int(np.datetime64(int(last), "D").astype("datetime64[M]").astype(np.int64))
    # Day 0 (1970-01-01) was a Thursday: weeks begin on Mondays.
    weeks, first_week, last_week = (day + 3) // 7, (first + 3) // 7, (last + 3) // 7
    return RpoReport(
        stack,
        start,
        end,
        objective_seconds,
        whole,
        sites,
        summary=_summary(whole, sites, objective_seconds),
        days=by([str(each) for each in all_days], day - first),
        weeks=by([_week(int(number)) for number in range(first_week, last_week + 1)], weeks - first_week),
        months=by(
            [str(np.datetime64(number, "M")) for number in range(first_month, last_month + 1)], months - first_month
        ),
        breaches=breaches(whole, objective_seconds, records, incidents),
        gaps=gaps(whole),
        drills=drill_rpo(records, whole, start, end),
        problems=tuple(problems),
    )


def _by_site(series: Sequence[Series], whole: Signal, begin: int, until: int, hold: int) -> dict[str, Signal]:
    """A signal for each site and source; the stack's own where there is only one."""
    if len(series) == 1:
        return {f"{series[0].site}/{series[0].source}": whole}
    return {f"{one.site}/{one.source}": sig.signal_of([one], begin, until, hold) for one in series}


def _week(number: int) -> str:
    year, week, _ = (dt.date(1970, 1, 1) + dt.timedelta(days=number * 7 - 3)).isocalendar()
    return f"{year}-W{week:02d}"


def frame(names: Mapping[str, list[str]], figures: Grouped) -> Any:
    """A DataFrame with the figures of `_FIGURES` beside `names`."""
    import pandas as pd

    total = figures.known + figures.unknown
    with np.errstate(invalid="ignore", divide="ignore"):
        columns = {
            "known_seconds": figures.known / 1000,
            "unknown_seconds": figures.unknown / 1000,
            "unknown_share": np.where(total > 0, figures.unknown / total, np.nan),
            "compliance": np.where(figures.known > 0, figures.within / figures.known, np.nan),
            "mean_seconds": figures.mean,
            **{f"p{p}_seconds": figures.percentiles[p] for p in sig.PERCENTILES},
            "max_seconds": figures.maximum,
        }
    return pd.DataFrame({**names, **columns})


def _summary(whole: Signal, sites: Mapping[str, Signal], objective: float) -> Any:
    import pandas as pd

    scopes = {"stack": whole, **sites}
    rows = []
    done: dict[int, Any] = {}  # with one site and one source the stack's figures are the site's
    for scope, signal in scopes.items():
        if id(signal) not in done:
            edges = np.array([0, len(signal.starts)])
            done[id(signal)] = sig.consecutive(signal.values, signal.lengths, edges, objective)
        row = frame({"scope": [scope]}, done[id(signal)])
        bad = signal.values >= objective
        row["breaches"] = len(sig.runs_of(bad).first)
        row["breach_seconds"] = float(signal.lengths[bad].sum()) / 1000
        rows.append(row)
    return pd.concat(rows, ignore_index=True)


def breaches(
    signal: Signal,
    objective: float,
    records: Sequence[Mapping[str, Any]] = (),
    incidents: Sequence[StoredIncident] = (),
) -> Any:
    """Every breach, oldest first.

    `ended_by`: "recovered" (a reading under the objective), "readings stopped" (what came then is unknown) or "period
    ended". `began`: "reading", "after unknown time" or "before the period", where the true beginning may lie earlier.
    """
    import pandas as pd

    runs = sig.runs_of(signal.values >= objective)
    count = len(signal.values)
    depth = _largest(signal, runs)
    times = _record_times(records) + _incident_times(incidents)
    rows = []
    for number, (first, last) in enumerate(zip(runs.first.tolist(), runs.last.tolist(), strict=True)):
        begin, end = int(signal.starts[first]), int(signal.ends[last])
        after = (
            "period ended"
            if last == count - 1
            else "readings stopped"
            if np.isnan(signal.values[last + 1])
            else "recovered"
        )
        before = (
            "before the period"
            if first == 0
            else "after unknown time"
            if np.isnan(signal.values[first - 1])
            else "reading"
        )
        rows.append(
            {
                "start": sig.to_time(begin),
                "end": sig.to_time(end),
                "duration_seconds": (end - begin) / 1000,
                "depth_seconds": float(depth[number]),
                "over_objective_seconds": float(depth[number]) - objective,
                "began": before,
                "ended_by": after,
                "during": ", ".join(name for name, low, high in times if low < end and begin < high),
            }
        )
    columns = [
        "start",
        "end",
        "duration_seconds",
        "depth_seconds",
        "over_objective_seconds",
        "began",
        "ended_by",
        "during",
    ]
    return pd.DataFrame(rows, columns=columns)


def _largest(signal: Signal, runs: sig.Runs) -> sig.Floats:
    if not len(runs.first):
        return np.empty(0)
    edges = np.stack([runs.first, runs.last + 1], axis=1).ravel()
    padded = np.append(signal.values, -np.inf)  # reduceat needs an end that exists
    return np.asarray(np.maximum.reduceat(padded, edges)[::2])


def _record_times(records: Sequence[Mapping[str, Any]]) -> list[tuple[str, int, int]]:
    found = []
    for record in records:
        begin, end = sig.parse_utc(record.get("started_at")), sig.parse_utc(record.get("ended_at"))
        if begin and end:
            found.append((str(record.get("id")), sig.to_ms(begin), sig.to_ms(end)))
    return found


def _incident_times(incidents: Sequence[StoredIncident]) -> list[tuple[str, int, int]]:
    """Incidents about the database and its replication: id, start and end in ms. An open one has no end within reach."""
    found = []
    for each in incidents:
        if each.topic.split(".")[0] in _NOT_DATABASE:
            continue
        over = each.ended if each.ended is not None else 2.0**53 / 1000
        found.append((each.id, int(each.since * 1000), int(over * 1000)))
    return found


def gaps(signal: Signal) -> Any:
    """Every stretch of unknown time, oldest first.

    bound_seconds = last known reading + its age at the end of the gap: the RPO was never more than that. NaN where there
    was no reading before.
    """
    import pandas as pd

    runs = sig.runs_of(~signal.known)
    begin, end = signal.starts[runs.first], signal.ends[runs.last]
    where = np.searchsorted(signal.known_at, begin, side="right") - 1
    some = where >= 0
    last, bound = np.full(len(begin), np.nan), np.full(len(begin), np.nan)
    last[some] = signal.known_values[where[some]]
    bound[some] = last[some] + (end[some] - signal.known_at[where[some]]) / 1000
    return pd.DataFrame(
        {
            "start": [sig.to_time(ms) for ms in begin.tolist()],
            "end": [sig.to_time(ms) for ms in end.tolist()],
            "duration_seconds": (end - begin) / 1000,
            "last_reading_seconds": last,
            "bound_seconds": bound,
        }
    )


def drill_rpo(records: Sequence[Mapping[str, Any]], signal: Signal, start: dt.datetime, end: dt.datetime) -> Any:
    """Drills and incidents that began in the period beside telemetry.

    lost_at_least_seconds = a lower bound, where lost_seconds is unknown. telemetry_seconds = r(t) at the last acknowledged write before the fault (T0; the record's start where there is none), the
    loss to expect; NaN where it was unknown.
    """
    import pandas as pd

    rows = []
    for record in sorted(records, key=lambda each: str(each.get("started_at"))):
        begun = sig.parse_utc(record.get("started_at"))
        if begun is None or not start <= begun < end:
            continue
        rpo = record.get("rpo") or {}
        marks = {entry.get("mark"): entry.get("at") for entry in record.get("timeline") or ()}
        fault = sig.parse_utc(marks.get("T0")) or begun
        inside = start <= fault < end
        lag = float(signal.at(np.array([sig.to_ms(fault)], np.int64))[0]) if inside else float("nan")
        rows.append(
            {
                "id": record.get("id"),
                "kind": record.get("kind"),
                "scenario": record.get("scenario"),
                "started_at": begun,
                "status": record.get("status"),
                "telemetry_seconds": lag,
                "lost_seconds": number(rpo.get("lost_seconds")),
                "lost_at_least_seconds": number(rpo.get("lost_at_least_seconds")),
                "lost_commits": number(rpo.get("lost_commits")),
                "in_doubt": number(rpo.get("in_doubt")),
                "acknowledged": number(rpo.get("acknowledged")),
                "target_seconds": number(rpo.get("target_seconds")),
                "met": yes_no_unknown(rpo.get("met")),
            }
        )
    columns = ["id", "kind", "scenario", "started_at", "status", "telemetry_seconds", "lost_seconds"]
    columns += ["lost_at_least_seconds", "lost_commits", "in_doubt", "acknowledged", "target_seconds", "met"]
    return pd.DataFrame(rows, columns=columns)


def number(value: Any) -> float:
    """A figure of a record; NaN where it is unknown."""
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else float("nan")


def yes_no_unknown(met: Any) -> str:
    """yes, no or unknown: unknown is never compliant."""
    return "yes" if met is True else "no" if met is False else "unknown"


def combined(reports: Sequence[RpoReport]) -> Any:
    """The stacks side by side: the rows of each one's summary, with its objective and how many files could not be used."""
    import pandas as pd

    if not reports:
        return pd.DataFrame(
            columns=["stack", "scope", "objective_seconds", *_FIGURES, "breaches", "breach_seconds", "problems"]
        )
    rows = [
        each.summary.assign(stack=each.stack, objective_seconds=each.objective_seconds, problems=len(each.problems))
        for each in reports
    ]
    found = pd.concat(rows, ignore_index=True)
    first = ["stack", "scope", "objective_seconds"]
    return found[[*first, *(name for name in found.columns if name not in first)]]
