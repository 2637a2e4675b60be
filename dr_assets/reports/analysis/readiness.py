"""Failover readiness: yes or no with reasons, and a score summed from checks.

Pure; pandas is imported inside functions only. Checks come from the preconditions of a failover and from `history_checks`.

Formulas: ready = every blocking check passed. Score = 100 x the weights of the checks that passed / the weights of all. A
check that is unknown earns nothing, and where it blocks, it blocks; without any blocking check nothing is ready.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dr_assets.errors import DrError
from dr_assets.history.documents import ActionChange
from dr_assets.reports.analysis import corrective_actions
from dr_assets.reports.analysis import timeseries as sig
from dr_assets.reports.analysis.exposure import proven_at, proves
from dr_assets.reports.analysis.rpo import RpoReport
from dr_assets.reports.analysis.rto import BASIS, RtoReport

PROOF_DAYS = 90.0


@dataclass(frozen=True)
class Check:
    """`passed`: None is unknown. Only a `blocking` check decides whether the stack is ready; each adds `weight` to the score."""

    name: str
    passed: bool | None
    reason: str | None = None
    weight: float = 1
    blocking: bool = True


NOT_CHECKED = Check(
    "failover preconditions", None, "AWS and the database were not asked when this was made (dr report --now asks them)"
)


@dataclass(frozen=True)
class Readiness:
    """`reasons`: why not, blocking ones first, then what costs points. `checks`: DataFrame with the points of each."""

    ready: bool
    score: float
    reasons: tuple[str, ...]
    checks: Any

    @property
    def answer(self) -> str:
        return "yes" if self.ready else "no"


def readiness(checks: Sequence[Check]) -> Readiness:
    """The answer and the score. Raises DrError for two checks with one name (points could not be traced) or a negative weight."""
    import pandas as pd

    names = [check.name for check in checks]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DrError(f"Two readiness checks are called {twice[0]}: give each a name of its own.")
    total = sum(check.weight for check in checks)
    rows: list[dict[str, Any]] = []
    blocking: list[str] = []
    costing: list[str] = []
    for check in checks:
        passed = check.passed
        if check.weight < 0:
            raise DrError(f"The readiness check {check.name} has a weight of {check.weight}: it must not be below 0.")
        most = 100 * check.weight / total if total else 0.0
        rows.append(
            {
                "check": check.name,
                "result": "passed" if passed is True else "failed" if passed is False else "unknown",
                "blocking": "yes" if check.blocking else "no",
                "points": most if passed is True else 0.0,
                "of": most,
                "reason": check.reason or "",
            }
        )
        if passed is not True:
            why = f"{check.name}: {check.reason or ('failed' if passed is False else 'unknown')}"
            (blocking if check.blocking else costing).append(why)
    if not any(row["blocking"] == "yes" for row in rows):
        blocking.append("nothing that would block was checked: run the checks first")
    frame = pd.DataFrame(rows, columns=["check", "result", "blocking", "points", "of", "reason"])
    return Readiness(not blocking, float(sum(row["points"] for row in rows)), (*blocking, *costing), frame)


def history_checks(
    rpo: RpoReport,
    rto: RtoReport,
    records: Sequence[Mapping[str, Any]],
    rto_target_seconds: float,
    now: dt.datetime,
    proof_days: float = PROOF_DAYS,
    changes: Sequence[ActionChange] = (),
) -> list[Check]:
    """The checks that need only the history. The current lag blocks; the others cost points.

    `changes`: of corrective actions.
    """
    checks = [_lag(rpo, now)]
    expected = rto.predictions["failover"]
    passed = (
        None if expected.p95_seconds is None or expected.basis < BASIS else expected.p95_seconds < rto_target_seconds
    )
    checks.append(
        _check(
            "predicted RTO of a failover",
            passed,
            f"only {expected.basis} earlier failovers measured all parts; {BASIS} are needed"
            if passed is None
            else f"p95 {expected.p95_seconds:.1f} s, objective {rto_target_seconds:g} s",
        )
    )
    last = max((at for each in records if proves(each) and (at := proven_at(each)) and at <= now), default=None)
    days = (now - last).total_seconds() / 86_400 if last else None
    checks.append(
        _check(
            "recent proof",
            days is not None and days <= proof_days,
            "no drill within its objectives yet" if days is None else f"{days:.1f} days ago, at most {proof_days:g}",
        )
    )
    late = overdue(records, now.date(), changes)
    checks.append(_check("corrective actions", not late, f"overdue: {'; '.join(late)}" if late else None))
    checks.append(_regression(rto))
    return checks


def _lag(rpo: RpoReport, now: dt.datetime) -> Check:
    at = sig.to_ms(now)
    signal = rpo.signal
    if not int(signal.starts[0]) <= at <= int(signal.ends[-1]):
        raise DrError(f"The RPO report does not reach to {now}: make it for a period that ends then.")
    value = float(signal.at(np.array([min(at, int(signal.ends[-1]) - 1)], np.int64))[0])
    if np.isnan(value):
        return _check("replication lag now", None, "no fresh reading", blocking=True)
    text = f"{value:.3g} s, objective {rpo.objective_seconds:g} s"
    return _check("replication lag now", value < rpo.objective_seconds, text, blocking=True)


def _regression(rto: RtoReport) -> Check:
    name = "no regression of the RTO"
    if rto.events.empty:
        return _check(name, None, "no drill and no incident in this period")
    newest = rto.events.iloc[-1]
    if newest["regression"] == "unknown":
        return _check(name, None, f"{newest['id']} could not be judged: it has no measured time, or too few precede it")
    slower = newest["regression"] == "yes"
    return _check(name, not slower, f"{newest['id']} was slower than predicted" if slower else None)


def _check(name: str, passed: bool | None, reason: str | None, blocking: bool = False) -> Check:
    return Check(name, passed, reason, blocking=blocking)


def overdue(records: Sequence[Mapping[str, Any]], today: dt.date, changes: Sequence[ActionChange] = ()) -> list[str]:
    """Corrective actions that are open after their due date, as text."""
    found = corrective_actions.actions(records, changes)
    return [f"{each.text} (due {each.due}, {each.owner})" for each in found if each.overdue(today)]
