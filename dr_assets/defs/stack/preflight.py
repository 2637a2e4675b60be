"""Record a run's preflight in its log and tags: what was skipped and why, and what stayed unknown."""

from typing import Any

from dr_assets.preflight.report import PreflightReport

TAG = "dr/preflight"


def record_preflight(context: Any, report: PreflightReport | None) -> None:
    """Nothing for None: nothing was to be written, or an earlier step has recorded it."""
    if report is None:
        return
    skipped = {line.name: line.skip_reason or "" for line in report.checks if line.status == "skipped"}
    unknown = [line for line in report.checks if line.status == "unknown"]
    for line in unknown:
        context.log.warning(f"preflight: {line.name} is unknown: {line.detail}")
    for name, reason in skipped.items():
        context.log.warning(f"preflight: {name} was skipped: {reason}")
    tags = {TAG: "passed"} | {f"{TAG}/{name}": f"skipped: {reason}" for name, reason in skipped.items()}
    tags |= {f"{TAG}/{line.name}": "unknown" for line in unknown}
    context.instance.add_run_tags(context.run.run_id, tags)
    context.log.info(f"preflight passed: {len(report.checks)} checks, {report.api_calls} AWS calls")
