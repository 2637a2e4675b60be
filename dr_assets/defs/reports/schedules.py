"""Schedules of the daily history import and the monthly evidence report (UTC)."""

from collections.abc import Iterator
from datetime import date, timedelta

import dagster as dg

from dr_assets.defs.reports.assets import HISTORY_ASSET, HISTORY_JOB, REPORT_JOB, report_config
from dr_assets.history.cloudwatch_import import incomplete_days
from dr_assets.history.store import open_store
from dr_assets.reports.evidence import last_month
from dr_assets.stack import Stack


def _is_settled(instance: dg.DagsterInstance, day: date) -> bool:
    """Whether the day's last two imports read every source and found equally many samples: another one would add nothing."""
    key = dg.AssetKey(HISTORY_ASSET)
    wanted = dg.AssetRecordsFilter(asset_key=key, asset_partitions=[f"{day}"])
    records = instance.fetch_materializations(wanted, limit=2).records
    found = [record.asset_materialization for record in records]
    figures = [{name: value.value for name, value in each.metadata.items()} for each in found if each is not None]
    return (
        len(figures) == 2
        and all(each.get("problems") == "none" for each in figures)
        and all(figures[0].get(name) == figures[1].get(name) for name in ("samples", "known_minutes"))
    )


def build_report_schedules(history_job: str = HISTORY_JOB, stack: Stack | None = None) -> list[dg.ScheduleDefinition]:
    """`history_daily`, which runs in a fresh instance without being started, and `report_monthly`, which starts stopped.

    Args:
        history_job: a job partitioned by day (`YYYY-MM-DD`); the schedule requests yesterday's partition.
        stack: requests its incomplete earlier days as well, while CloudWatch still has them.
    """

    def days(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest]:
        # At 00:30 the day is over and CloudWatch has its last minutes.
        now = context.scheduled_execution_time
        yesterday = (now - timedelta(days=1)).date()
        yield dg.RunRequest(run_key=f"history-{yesterday}", partition_key=f"{yesterday}")
        problems: list[str] = []
        try:
            found = incomplete_days(open_store(), stack, now, problems) if stack else []
        except Exception:  # yesterday's import must not depend on any of this
            context.log.exception("Incomplete days are not imported again.")
            found = []
        for problem in problems:
            context.log.warning(problem)
        for day in found:
            try:
                if day >= yesterday or _is_settled(context.instance, day):
                    continue
            except Exception:
                context.log.exception(f"The earlier imports of {day} cannot be read: it is imported again.")
            yield dg.RunRequest(run_key=f"history-{day}-{yesterday}", partition_key=f"{day}")

    def month(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        start, end = last_month(context.scheduled_execution_time)
        return dg.RunRequest(run_key=f"report-{start}", run_config=report_config(start, end))

    return [
        dg.ScheduleDefinition(
            name="history_daily",
            job_name=history_job,
            cron_schedule="30 0 * * *",
            execution_timezone="UTC",
            execution_fn=days,
            default_status=dg.DefaultScheduleStatus.RUNNING,
            description="Yesterday's samples, every day at 00:30 UTC, and earlier days that are incomplete.",
        ),
        dg.ScheduleDefinition(
            name="report_monthly",
            job_name=REPORT_JOB,
            cron_schedule="0 6 1 * *",
            execution_timezone="UTC",
            execution_fn=month,
            default_status=dg.DefaultScheduleStatus.STOPPED,
            description="Last month's evidence on the first of the month, at 06:00 UTC.",
        ),
    ]
