"""The RTO report: every drill and incident with its parts, the prediction made before it, and regressions.

pandas is imported inside functions only. Formulas (docs/records.md, "RTO"). A record has an interval [low, high] of seconds and the parts of `high`.
- predicted RTO before a record = the distribution of detect + decide + database + traffic, each drawn independently from the
  values of that part in up to ten latest succeeded records of the same scenario; every combination counts once, so there is no
  randomness. Its p50 and p95 are the smallest sums that at least 50 % and 95 % of the combinations do not exceed.
- error = achieved high - predicted p50.
- regression: low > predicted p95, where the prediction rests on at least three records. The whole interval must lie above:
  a slower probe is no slower failover.
- trend = Theil-Sen slope: the median of the slopes between all pairs of records of the scenario that began before the end of
  the period, in seconds per 30 days; unknown with fewer than three figures.
- An unknown figure is never compliant, and no prediction rests on it.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dr_assets.reports.analysis import timeseries as sig
from dr_assets.reports.analysis.rpo import number, yes_no_unknown

PARTS = ("detect", "decide", "database", "traffic")
SCENARIOS = ("switchover", "failover", "failback")
WINDOW = 10
BASIS = 3


@dataclass(frozen=True)
class Prediction:
    """The RTO to be expected of a scenario, seconds. `basis`: the fewest records that any of its parts rests on."""

    scenario: str
    basis: int
    p50_seconds: float | None
    p95_seconds: float | None
    parts_median: Mapping[str, float | None]


@dataclass(frozen=True)
class RtoReport:
    """events: every drill and incident that began in the period, oldest first; scenarios: one row each, with the trend and
    what is to be expected next. DataFrames, durations in seconds, times in UTC."""

    events: Any
    scenarios: Any
    predictions: Mapping[str, Prediction]


def predict(scenario: str, records: Sequence[Mapping[str, Any]]) -> Prediction:
    """From these records (oldest first); those of other scenarios, and those that did not succeed, are skipped."""
    good = [each for each in records if each.get("scenario") == scenario and each.get("status") == "succeeded"]
    known: dict[str, list[float]] = {}
    for part in PARTS:
        values = [number(((each.get("rto") or {}).get("parts") or {}).get(part)) for each in good]
        known[part] = [value for value in values if not np.isnan(value)][-WINDOW:]
    medians = {part: float(np.median(values)) if values else None for part, values in known.items()}
    basis = min(len(values) for values in known.values())
    if not basis:
        return Prediction(scenario, 0, None, None, medians)
    sums = np.zeros(1)
    for values in known.values():
        sums = np.add.outer(sums, np.array(values)).ravel()
    sums.sort()
    return Prediction(scenario, basis, _quantile(sums, 50), _quantile(sums, 95), medians)


def _quantile(ordered: Any, percent: int) -> float:
    return float(ordered[-(-percent * len(ordered) // 100) - 1])


def rto_report(records: Sequence[Mapping[str, Any]], start: dt.datetime, end: dt.datetime) -> RtoReport:
    """Of the records that began in [start, end); earlier ones serve the predictions."""
    import pandas as pd

    ordered = sorted(records, key=lambda each: str(each.get("started_at")))
    rows = []
    inside: list[Mapping[str, Any]] = []
    before: list[Mapping[str, Any]] = []
    for record in ordered:
        begun = sig.parse_utc(record.get("started_at"))
        if begun is None or begun >= end:
            continue
        if begun >= start:
            rows.append(_row(record, begun, predict(str(record.get("scenario")), before)))
            inside.append(record)
        before.append(record)
    columns = [
        "id",
        "kind",
        "scenario",
        "started_at",
        "status",
        "low_seconds",
        "high_seconds",
        *(f"{part}_seconds" for part in PARTS),
        "target_seconds",
        "met",
        "predicted_p50_seconds",
        "predicted_p95_seconds",
        "error_seconds",
        "basis",
        "regression",
    ]
    predictions = {scenario: predict(scenario, before) for scenario in SCENARIOS}
    return RtoReport(pd.DataFrame(rows, columns=columns), _scenarios(inside, before, predictions), predictions)


def _row(record: Mapping[str, Any], begun: dt.datetime, prediction: Prediction) -> dict[str, Any]:
    rto = record.get("rto") or {}
    low, high = number(rto.get("low_seconds")), number(rto.get("high_seconds"))
    p50, p95 = number(prediction.p50_seconds), number(prediction.p95_seconds)
    judged = prediction.basis >= BASIS and not np.isnan(low)
    return {
        "id": record.get("id"),
        "kind": record.get("kind"),
        "scenario": record.get("scenario"),
        "started_at": begun,
        "status": record.get("status"),
        "low_seconds": low,
        "high_seconds": high,
        **{f"{part}_seconds": number((rto.get("parts") or {}).get(part)) for part in PARTS},
        "target_seconds": number(rto.get("target_seconds")),
        "met": yes_no_unknown(rto.get("met")),
        "predicted_p50_seconds": p50,
        "predicted_p95_seconds": p95,
        "error_seconds": high - p50,
        "basis": prediction.basis,
        "regression": ("yes" if low > p95 else "no") if judged else "unknown",
    }


def _scenarios(
    records: Sequence[Mapping[str, Any]], all_: Sequence[Mapping[str, Any]], predictions: Mapping[str, Prediction]
) -> Any:
    import pandas as pd

    rows = []
    for scenario in SCENARIOS:
        mine = [each for each in records if each.get("scenario") == scenario]
        highs = [number((each.get("rto") or {}).get("high_seconds")) for each in mine]
        known = [value for value in highs if not np.isnan(value)]
        mets = [yes_no_unknown((each.get("rto") or {}).get("met")) for each in mine]
        prediction = predictions[scenario]
        rows.append(
            {
                "scenario": scenario,
                "count": len(mine),
                "succeeded": sum(e.get("status") == "succeeded" for e in mine),
                "met": mets.count("yes"),
                "not_met": mets.count("no"),
                "unknown": mets.count("unknown"),
                "median_seconds": float(np.median(known)) if known else float("nan"),
                "worst_seconds": max(known, default=float("nan")),
                "trend_seconds_per_30_days": trend([each for each in all_ if each.get("scenario") == scenario]),
                "next_p50_seconds": number(prediction.p50_seconds),
                "next_p95_seconds": number(prediction.p95_seconds),
                "basis": prediction.basis,
            }
        )
    return pd.DataFrame(rows)


def trend(records: Sequence[Mapping[str, Any]]) -> float:
    """Theil-Sen slope of `high_seconds` over time in seconds per 30 days; NaN with fewer than three known figures."""
    points = []
    for record in records:
        begun, high = sig.parse_utc(record.get("started_at")), number((record.get("rto") or {}).get("high_seconds"))
        if begun is not None and not np.isnan(high):
            points.append((begun.timestamp() / (30 * 86_400), high))
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in itertools.combinations(points, 2) if b[0] != a[0]]
    return float(np.median(slopes)) if len(points) >= BASIS and slopes else float("nan")
