"""`StackReport`: all analyses of one stack and period, computed once. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dr_assets.history.documents import ActionChange, StoredIncident
from dr_assets.reports.analysis.corrective_actions import Action, actions, incidents_table
from dr_assets.reports.analysis.exposure import ExposureReport, exposure_report, of_incidents
from dr_assets.reports.analysis.readiness import NOT_CHECKED, Check, Readiness, history_checks, readiness
from dr_assets.reports.analysis.rpo import RpoReport, number, rpo_report
from dr_assets.reports.analysis.rto import RtoReport, rto_report
from dr_assets.reports.analysis.timeseries import parse_utc
from dr_assets.reports.analysis.what_if import WhatIf, what_if
from dr_assets.stack import Stack


@dataclass(frozen=True)
class Subject:
    """The stack that a report is about: an existing one, or one that is gone and left a history."""

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
    """Every report of one stack and period. `incidents`: DataFrame of `corrective_actions.incidents_table`."""

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
    checks: Sequence[Check] = (),
    restores: Sequence[dt.datetime] = (),
    problems: Sequence[str] = (),
    incidents: Sequence[StoredIncident] = (),
    changes: Sequence[ActionChange] = (),
) -> StackReport:
    """All reports over [start, end).

    Args:
        now: when they are made; what lies after it is left out.
        checks: the current preconditions of a failover, for the readiness, beside those from the history. Without any
            the stack is not ready.
        restores: when backups were restored and verified.
        problems: from reading the history, as text. Targets of records that are not the stack's objectives are added.
        incidents, changes: the sensors' incidents and the changes to corrective actions.
    """
    now = min(now or end, end)
    found = [*problems, *other_targets(subject, records, start, end)]
    rpo = rpo_report(
        subject.name, samples, start, end, subject.rpo_seconds, records, problems=found, incidents=incidents
    )
    rto = rto_report(records, start, end)
    own = history_checks(rpo, rto, records, subject.rto_seconds, max(now, start), changes=changes)
    rebuilds = of_incidents(incidents)
    exposed = exposure_report(records, start, end, now, restores, rebuilds, rpo.signal, subject.rpo_seconds)
    return StackReport(
        subject,
        rpo,
        rto,
        exposed,
        readiness([*(checks or (NOT_CHECKED,)), *own]),
        what_if(rpo.signal, subject.rpo_seconds),
        incidents_table(incidents, start, end),
        actions(records, changes),
    )


def other_targets(
    subject: Subject, records: Sequence[Mapping[str, Any]], start: dt.datetime, end: dt.datetime
) -> list[str]:
    """Each record begun in [start, end) that was judged against other objectives than the stack's, in words.

    A stack file may change, so this is no contradiction of the record; but what it met is not what is asked for.
    """
    problems = []
    for record in records:
        begun = parse_utc(record.get("started_at"))
        if begun is None or not start <= begun < end:
            continue
        for part, objective in (("rto", subject.rto_seconds), ("rpo", subject.rpo_seconds)):
            target = number((record.get(part) or {}).get("target_seconds"))
            if target != objective:
                problems.append(
                    f"The record {record.get('id')} was judged against an {part.upper()} of {target:g} s; "
                    f"the objective is {objective:g} s."
                )
    return problems
