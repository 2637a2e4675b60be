"""Dagster assets and jobs of the history and the reports, thin adapters over `cloudwatch_import` and `evidence`.

`replication_samples` is partitioned by day (UTC); the reports read the whole history for the period they are asked for. They
read AWS, never change it; `dr_report` writes a folder and, when asked, the sites' backup buckets.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from dr_assets import utc
from dr_assets.aws import Aws
from dr_assets.defs import markdown
from dr_assets.defs.resources import as_dagster_failure
from dr_assets.defs.stack.assets import OWNER, asset_key
from dr_assets.defs.stack.jobs import job_tags
from dr_assets.drills.sealed_days import seal_after_import
from dr_assets.history.cloudwatch_import import import_day
from dr_assets.history.store import open_store
from dr_assets.reports import evidence
from dr_assets.reports.analysis.readiness import Check
from dr_assets.reports.analysis.report import StackReport
from dr_assets.reports.pack.build import pictures
from dr_assets.reports.pack.drawing import Picture
from dr_assets.stack import SITES, Stack

HISTORY_JOB, REPORT_JOB = "replication_history", "evidence_report"
HISTORY_ASSET = "replication_samples"
GROUPS = ("history", "reports")
FIRST_DAY = datetime(2026, 1, 1, tzinfo=utc.UTC)
OUT_VARIABLE, DEFAULT_OUT = "DR_REPORTS_DIR", ".dr/reports"
_ROWS = 50


class ReportPeriod(dg.Config):
    """The period of a report. Times in UTC; the end is exclusive and at most now."""

    start: str = Field(default="", description="2026-11-01 or 2026-11-01T06:00; default: 30 days before the end")
    end: str = Field(default="", description="The moment after the last; default: now")

    def period(self) -> evidence.Period:
        return evidence.period(self.start or None, self.end or None, utc.now())


class PackConfig(ReportPeriod):
    """Where the evidence pack goes."""

    out: str = Field(
        default="", description=f"Folder; default: {OUT_VARIABLE}, else {DEFAULT_OUT}, one folder per period"
    )
    to_buckets: bool = Field(default=False, description="Also into both sites' backup buckets")
    present: bool = Field(default=False, description="Also check against AWS whether a failover is possible now")


def build_report_assets(stack: Stack) -> list[dg.AssetsDefinition]:
    """`replication_samples` and the five reports. Calls nothing."""
    days = dg.DailyPartitionsDefinition(FIRST_DAY, timezone="UTC", end_offset=1)  # today's, so far, as well
    clusters = [asset_key(f"{site}/aurora/cluster") for site in SITES]

    @dg.asset(
        group_name="history",
        kinds={"cloudwatch", "parquet"},
        owners=[OWNER],
        deps=clusters,
        partitions_def=days,
        tags={"stack": stack.environment_suffix},
        code_version="1",
        check_specs=[dg.AssetCheckSpec("complete", asset="replication_samples", description="Every source answered")],
        description="The day's one-minute replication and RPO lag from CloudWatch, merged with the readings of the "
        "sensors and the database. Replaces the day; a rerun gives the same bytes.",
    )
    def replication_samples(context: dg.AssetExecutionContext) -> dg.MaterializeResult:  # type: ignore[type-arg]
        day, now = date.fromisoformat(context.partition_key), utc.now()
        with as_dagster_failure():
            pulled = import_day([stack], open_store(), day, Aws(), now)[0]
            if pulled.error is not None:
                raise pulled.error
            seal_after_import(open_store(), stack.environment_suffix, day)
        for problem in pulled.problems:
            context.log.warning(problem)
        return dg.MaterializeResult(
            metadata={
                "file": pulled.key,
                "samples": pulled.samples,
                "from_cloudwatch": pulled.from_cloudwatch,
                "from_sensors": pulled.from_sensors,
                "known_minutes": pulled.known_minutes,
                "unknown_minutes": pulled.unknown_minutes,
                "problems": "\n".join(pulled.problems) or "none",
            },
            check_results=[
                dg.AssetCheckResult(
                    passed=not pulled.problems,
                    check_name="complete",
                    severity=dg.AssetCheckSeverity.WARN,
                    metadata={"problems": "\n".join(pulled.problems) or "none"},
                )
            ],
        )

    def report(name: str, description: str, deps: Sequence[Any], **more: Any) -> Callable[[Any], Any]:
        decorate: Callable[[Any], Any] = dg.asset(
            name=name,
            group_name="reports",
            kinds={"pandas"},
            owners=[OWNER],
            deps=deps,
            description=description,
            tags={"stack": stack.environment_suffix},
            code_version="1",
            **more,
        )
        return decorate

    @report(
        "rpo_history",
        "How long the RPO was within its objective, how long it was unknown, every breach and gap.",
        [replication_samples],
    )
    def rpo_history(config: ReportPeriod) -> dg.MaterializeResult:  # type: ignore[type-arg]
        found = _figures(stack, config)
        rpo = found.rpo
        return dg.MaterializeResult(
            metadata={
                **_period(rpo),
                "compliance": _figure(rpo.compliance),
                "unknown_share": rpo.unknown_share,
                "breaches": len(rpo.breaches),
                "p95_seconds": _figure(rpo.summary.iloc[0]["p95_seconds"]),
                "max_seconds": _figure(rpo.summary.iloc[0]["max_seconds"]),
                "objective_seconds": rpo.objective_seconds,
                "summary": _table(rpo.summary),
                "days": _table(rpo.days),
                "breach_list": _table(rpo.breaches),
                **_charts(found, "rpo-over-time", "lag-heat-map"),
            }
        )

    @report(
        "rto_history", "Every drill and incident: RTO and its parts, trend, the predicted RTO of the next failover.", []
    )
    def rto_history(config: ReportPeriod) -> dg.MaterializeResult:  # type: ignore[type-arg]
        found = _figures(stack, config)
        events, expected = found.rto.events, found.rto.predictions["failover"]
        return dg.MaterializeResult(
            metadata={
                **_period(found.rpo),
                "drills_and_incidents": len(events),
                "met": int((events["met"] == "yes").sum()),
                "not_met": int((events["met"] == "no").sum()),
                "unknown": int((events["met"] == "unknown").sum()),
                "predicted_failover_p95_seconds": _figure(expected.p95_seconds),
                "objective_seconds": stack.rto_seconds,
                "events": _table(events),
                "scenarios": _table(found.rto.scenarios),
                "incidents": _table(found.incidents),
                **_charts(found, "rto-parts"),
            }
        )

    @report("exposure", "Time without a usable reader, time since the last proof.", [replication_samples])
    def exposure(config: ReportPeriod) -> dg.MaterializeResult:  # type: ignore[type-arg]
        found = _figures(stack, config)
        return dg.MaterializeResult(
            metadata={
                **_period(found.rpo),
                "exposure_minutes": found.exposure.seconds / 60,
                "open_since": str(found.exposure.open_since or "not open"),
                "intervals": _table(found.exposure.intervals),
                "proofs": _table(found.exposure.proofs),
                **_charts(found, "exposure-calendar"),
            }
        )

    @report(
        "readiness",
        "Can we fail over now? Yes or no with reasons; every point of the score belongs to a check.",
        [rpo_history, rto_history, exposure],
        check_specs=[dg.AssetCheckSpec("ready", asset="readiness", description="Every blocking check passed")],
    )
    def readiness(context: dg.AssetExecutionContext) -> dg.MaterializeResult:  # type: ignore[type-arg]
        ready = _figures(stack, ReportPeriod(), evidence.current_checks(stack)).readiness
        reasons = markdown.bullets(ready.reasons)
        context.log.info(f"ready: {ready.answer}, {ready.score:.0f} of 100")
        return dg.MaterializeResult(
            metadata={
                "ready": ready.answer,
                "score": round(ready.score, 1),
                "reasons": reasons,
                "checks": _table(ready.checks),
            },
            check_results=[
                dg.AssetCheckResult(
                    passed=ready.ready,
                    check_name="ready",
                    severity=dg.AssetCheckSeverity.WARN,
                    metadata={"reasons": reasons},
                )
            ],
        )

    @report(
        "dr_report",
        "The evidence pack: one HTML page, CSV, charts, records, and a manifest that proves them complete.",
        [rpo_history, rto_history, exposure, readiness],
    )
    def dr_report(config: PackConfig) -> dg.MaterializeResult:  # type: ignore[type-arg]
        with as_dagster_failure():
            when = config.period()
        folder = Path(config.out or os.environ.get(OUT_VARIABLE) or DEFAULT_OUT) / stack.environment_suffix / when.name
        checks = evidence.current_checks(stack) if config.present else ()
        with as_dagster_failure():
            written = evidence.write(stack, open_store(), when, folder, checks)
            stored = evidence.upload(stack, written, when, Aws()) if config.to_buckets else []
        shown = [picture for picture in written.pictures if picture.name in ("rpo-over-time", "rto-parts")]
        return dg.MaterializeResult(
            metadata={
                **{name.replace(" ", "_"): value for name, value in written.headline.items()},
                "page": dg.MetadataValue.path(str(written.directory / "index.html")),
                "manifest_sha256": written.manifest_sha256,
                "stored": "\n".join(stored) or "not asked for",
                "problems": "\n".join(written.report.rpo.problems) or "none",
                **_images(shown),
            }
        )

    return [replication_samples, rpo_history, rto_history, exposure, readiness, dr_report]


def build_report_jobs(stack: Stack) -> list[Any]:
    """`replication_history`, one day; `evidence_report`, every report of a period."""
    return [
        dg.define_asset_job(
            HISTORY_JOB,
            dg.AssetSelection.groups("history"),
            tags=job_tags(stack, "history"),
            description="Pull a day's samples from CloudWatch into the history.",
        ),
        dg.define_asset_job(
            REPORT_JOB,
            dg.AssetSelection.groups("reports"),
            tags=job_tags(stack, "report"),
            description="All reports of a period, and the evidence pack. Reads AWS, changes nothing there.",
        ),
    ]


def report_config(start: str, end: str, to_buckets: bool = False) -> Mapping[str, Any]:
    """Run config of `evidence_report` for one period."""
    asked = {"start": start, "end": end}
    ops: dict[str, Any] = {name: {"config": dict(asked)} for name in ("rpo_history", "rto_history", "exposure")}
    ops["dr_report"] = {"config": {**asked, "to_buckets": to_buckets}}
    return {"ops": ops}


def _figures(stack: Stack, config: ReportPeriod, checks: Sequence[Check] = ()) -> StackReport:
    with as_dagster_failure():
        found = evidence.gather(open_store(), stack.environment_suffix, config.period())
        return evidence.report(stack, found, checks)


def _period(rpo: Any) -> dict[str, Any]:
    return {
        "from": dg.MetadataValue.timestamp(rpo.start),
        "to": dg.MetadataValue.timestamp(rpo.end),
        "problems": "\n".join(rpo.problems) or "none",
    }


def _figure(value: Any) -> Any:
    """A number, or "unknown" for NaN."""
    return "unknown" if _missing(value) else float(value)


def _missing(value: Any) -> bool:
    import pandas as pd

    return bool(pd.isna(value))  # None, NaN and NaT alike


def _table(frame: Any) -> Any:
    """The first rows as a Markdown table; the pack's CSV has all."""
    rows = [[_cell(value) for value in row] for row in frame.head(_ROWS).itertuples(index=False)]
    return markdown.table(list(frame.columns), rows, more=len(frame) - _ROWS)


def _cell(value: Any) -> str:
    if _missing(value):
        return "unknown"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _charts(found: StackReport, *names: str) -> dict[str, Any]:
    return _images(pictures(found, names))


def _images(drawn: Sequence[Picture]) -> dict[str, Any]:
    """The charts as inline images in few colours: the event log keeps them for ever."""
    return {each.name.replace("-", "_"): markdown.picture(each.alt, each.preview()) for each in drawn}
