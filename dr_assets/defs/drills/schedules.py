"""The weekly switchover drill (UTC). It starts stopped and does not exist for a production stack."""

from typing import Any

import dagster as dg

from dr_assets.defs.stack.jobs import STACK_TAG
from dr_assets.stack import Stack

_PRODUCTION = frozenset({"prod", "production", "live", "prd"})


def is_production(stack: Stack) -> bool:
    """Whether the stack's Environment tag names production."""
    return stack.tags["Environment"].strip().lower() in _PRODUCTION


def build_drill_schedules(stack: Stack) -> list[dg.ScheduleDefinition]:
    """`switchover_weekly`, or nothing in production: there a schedule never approves a drill."""
    if is_production(stack):
        return []
    return [
        dg.ScheduleDefinition(
            name="switchover_weekly",
            job_name="switchover_drill",
            cron_schedule="0 10 * * 2",  # Tuesday, during working hours
            execution_timezone="UTC",
            run_config=drill_config("switchover"),
            tags={STACK_TAG: stack.environment_suffix, "dr/scheduled": "true"},
            default_status=dg.DefaultScheduleStatus.STOPPED,
            description="A switchover drill every Tuesday at 10:00 UTC, outside production. Starting it approves it.",
        )
    ]


def drill_config(scenario: str) -> dict[str, Any]:
    """Run config of a scheduled drill; whoever started the schedule approved it."""
    request = {
        "approved_by": f"the schedule {scenario}_weekly, by whoever started it",
        "operator": "schedule",
        "why": "scheduled rehearsal",
    }
    return {"ops": {f"{scenario}_preconditions": {"config": request}}}
