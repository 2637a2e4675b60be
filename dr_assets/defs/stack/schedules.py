"""The hourly verification of the stack (UTC). It runs in a fresh instance without being started."""

import dagster as dg

from dr_assets.defs.stack.jobs import VERIFY


def build_verify_schedule() -> dg.ScheduleDefinition:
    return dg.ScheduleDefinition(
        name="verify_hourly",
        job_name=VERIFY,
        cron_schedule="0 * * * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Verification every hour on the hour (UTC).",
    )
