"""The weekly switchover drill (UTC). It starts stopped and does not exist for a production stack."""

from datetime import datetime
from typing import Any

import dagster as dg

from dr_assets.defs.stack.jobs import STACK_TAG
from dr_assets.drills.approval import is_production, standing_token
from dr_assets.stack import Stack


def build_drill_schedules(stack: Stack) -> list[dg.ScheduleDefinition]:
    """`switchover_weekly`, or nothing in production: there a schedule never approves a drill."""
    if is_production(stack):
        return []

    def config(context: dg.ScheduleEvaluationContext) -> dict[str, Any]:
        return drill_config("switchover", context.scheduled_execution_time)

    return [
        dg.ScheduleDefinition(
            name="switchover_weekly",
            job_name="switchover_drill",
            cron_schedule="0 10 * * 2",  # Tuesday, during working hours
            execution_timezone="UTC",
            run_config_fn=config,
            tags={STACK_TAG: stack.environment_suffix, "dr/scheduled": "true"},
            default_status=dg.DefaultScheduleStatus.STOPPED,
            description="A switchover drill every Tuesday at 10:00 UTC, outside production. Starting it approves each, for 15 minutes.",
        )
    ]


def drill_config(scenario: str, at: datetime) -> dict[str, Any]:
    """Run config of a drill scheduled for `at`, approved by whoever started the schedule: with default settings, until soon after."""
    request = {
        "plan": standing_token("schedule", at),
        "approved_by": f"the schedule {scenario}_weekly, by whoever started it",
        "operator": "schedule",
        "why": "scheduled rehearsal",
    }
    return {"ops": {f"{scenario}_preconditions": {"config": request}}}
