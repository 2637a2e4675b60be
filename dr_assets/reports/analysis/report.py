"""All figures of one stack and period, computed once: what the assets, the command line and the evidence pack share.

May import `stack` and its neighbours. Pure: what the history holds comes in as data.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dr_assets.reports.analysis.corrective_actions import Action, actions, incidents_table
from dr_assets.reports.analysis.exposure import ExposureReport, exposure_report, of_incidents
from dr_assets.reports.analysis.readiness import NOT_ASKED, Readiness, history_checks, readiness
from dr_assets.reports.analysis.rpo import RpoReport, rpo_report
from dr_assets.reports.analysis.rto import RtoReport, rto_report
from dr_assets.reports.analysis.what_if import WhatIf, what_if
from dr_assets.stack import Stack


@dataclass(frozen=True)
class Subject:
    """Whose evidence: a stack that is there, or what is remembered of one that is gone."""

    name: str
    rpo_seconds: float
    rto_seconds: float
    scope: Mapping[str, Any] = field(default_factory=dict)
    detection_seconds: float | None = None

    @classmethod
    def of(cls, stack: Stack) -> Subject:
        scope = {
            "Stack": stack.environment_suffix,
            "Primary site": stack.primary_region,
            "Secondary site": stack.secondary_region,
            "Global cluster": stack.global_cluster_name,
            "Database": stack.database_name,
            "Engine": f"Aurora PostgreSQL {stack.engine_version}",
        }
        return cls(stack.environment_suffix, stack.rpo_seconds, stack.rto_seconds, scope, stack.detection_seconds)


@dataclass(frozen=True)
class StackReport:
    """Every report of one stack and period. `incidents`: DataFrame of `followup.incidents_table`."""

    subject: Subject
    rpo: RpoReport
    rto: RtoReport
    exposure: ExposureReport
    readiness: Readiness
    what_if: WhatIf
    incidents: Any
    actions: Sequence[Action]


def stack_report(
    subject: Subject,
    start: dt.datetime,
    end: dt.datetime,
    samples: Any,
    records: Sequence[Mapping[str, Any]],
    now: dt.datetime | None = None,
    checks: Sequence[Mapping[str, Any]] = (),
    restores: Sequence[dt.datetime] = (),
    problems: Sequence[str] = (),
    incidents: Sequence[Mapping[str, Any]] = (),
    changes: Sequence[Mapping[str, Any]] = (),
) -> StackReport:
    """All reports over [start, end).

    Args:
        now: when they are made; what reaches beyond it is left out.
        checks: of this moment, for the readiness, beside those that the history itself gives. Without any, nobody has
            looked, and nothing is ready.
        restores: when backups were restored and verified.
        problems: of reading the history, in words.
        incidents, changes: the sensors' incidents, and what became of corrective actions, as `history.documents` gives them.
    """
    now = min(now or end, end)
    rpo = rpo_report(
        subject.name, samples, start, end, subject.rpo_seconds, records, problems=problems, incidents=incidents
    )
    rto = rto_report(records, start, end)
    own = history_checks(rpo, rto, records, subject.rto_seconds, max(now, start), changes=changes)
    seen = of_incidents(incidents)
    exposed = exposure_report(records, start, end, now, restores, seen, rpo.signal, subject.rpo_seconds)
    return StackReport(
        subject,
        rpo,
        rto,
        exposed,
        readiness([*(checks or (NOT_ASKED,)), *own]),
        what_if(rpo.signal, subject.rpo_seconds),
        incidents_table(incidents, start, end),
        actions(records, changes),
    )
