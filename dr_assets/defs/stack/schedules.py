"""The schedules besides the hourly verification: daily history, the weekly drill, the monthly report. All in UTC.

Jobs are named, not imported: whoever wires the definitions says which. Only history runs by itself in a fresh instance; a
schedule never approves a drill in production, so there the weekly drill does not exist.
"""

from typing import Any

import dagster as dg

from dr_assets.defs.reports.assets import report_config
from dr_assets.reports.evidence import last_month
from dr_assets.stack import Stack

_PRODUCTION = frozenset({"prod", "production", "live", "prd"})


def is_production(stack: Stack) -> bool:
    """Whether the stack's Environment tag says production."""
    return stack.tags["Environment"].strip().lower() in _PRODUCTION


def build_schedules(
    stack: Stack, history_job: str | None = None, switchover_job: str | None = None, report_job: str | None = None
) -> list[dg.ScheduleDefinition]:
    """A schedule for each job that is named.

    Args:
        history_job: partitioned by day (`YYYY-MM-DD`); the schedule asks for yesterday.
    """
    found: list[dg.ScheduleDefinition] = []
    if history_job:
        found.append(_history(history_job))
    if switchover_job and not is_production(stack):
        found.append(
            dg.ScheduleDefinition(
                name="switchover_weekly",
                job_name=switchover_job,
                cron_schedule="0 10 * * 2",  # Tuesday, when people are there
                execution_timezone="UTC",
                run_config=drill_config("switchover"),
                tags={"dr/stack": stack.environment_suffix, "dr/scheduled": "true"},
                default_status=dg.DefaultScheduleStatus.STOPPED,
                description="A switchover drill every Tuesday at 10:00 UTC, outside production. Starting it approves it.",
            )
        )
    if report_job:
        found.append(_report(report_job))
    return found


def drill_config(scenario: str) -> dict[str, Any]:
    """Run config of a scheduled drill: whoever switched the schedule on approved it."""
    request = {
        "approved_by": f"the schedule {scenario}_weekly, by whoever started it",
        "operator": "schedule",
        "why": "scheduled rehearsal",
    }
    return {"ops": {f"{scenario}_preconditions": {"config": request}}}


def _history(job: str) -> dg.ScheduleDefinition:
    def yesterday(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        from datetime import timedelta

        # At 00:30 the day is over and CloudWatch has its last minutes.
        day = f"{context.scheduled_execution_time - timedelta(days=1):%Y-%m-%d}"
        return dg.RunRequest(run_key=f"history-{day}", partition_key=day)

    return dg.ScheduleDefinition(
        name="history_daily",
        job_name=job,
        cron_schedule="30 0 * * *",
        execution_timezone="UTC",
        execution_fn=yesterday,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Yesterday's samples, every day at 00:30 UTC.",
    )


def _report(job: str) -> dg.ScheduleDefinition:
    def month(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        start, end = last_month(context.scheduled_execution_time)
        return dg.RunRequest(run_key=f"report-{start}", run_config=report_config(start, end))

    return dg.ScheduleDefinition(
        name="report_monthly",
        job_name=job,
        cron_schedule="0 6 1 * *",
        execution_timezone="UTC",
        execution_fn=month,
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="Last month's evidence on the first of the month, at 06:00 UTC.",
    )
