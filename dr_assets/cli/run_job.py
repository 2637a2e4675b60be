"""Run the project's Dagster jobs in this process, for the `dr` command and the tests.

With DAGSTER_HOME set the run is recorded in that instance and visible in its UI; without it nothing is kept.
"""

from collections.abc import Callable, Mapping
from os import environ
from typing import Any

import dagster as dg

from dr_assets.core.model import Outcome
from dr_assets.defs.definitions import build_definitions
from dr_assets.defs.resources import PROGRESS
from dr_assets.defs.stack.jobs import CONFIRM, mode_config
from dr_assets.reconcile.service import JobResult
from dr_assets.stack import Stack


def provision_config(
    adopt: bool = False, allow_away: bool = False, poll_seconds: float = 15.0, skips: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Run config of `provision_stack`. `skips`: checks of the preflight to leave out, with their reasons."""
    more = {"preflight_skips": dict(skips)} if skips else {}
    return mode_config("provision", adopt=adopt, allow_away=allow_away, poll_seconds=poll_seconds, **more)


def destroy_config(suffix: str, adopt: bool = False, poll_seconds: float = 15.0) -> dict[str, Any]:
    """Run config of `destroy_stack`; `suffix` is the confirmation."""
    config = mode_config("provision", adopt=adopt, poll_seconds=poll_seconds)
    return {**config, "ops": {CONFIRM: {"config": {"confirm_suffix": suffix}}}}


def run_job(
    stack: Stack,
    name: str,
    run_config: dict[str, Any],
    on_outcome: Callable[[Outcome], None] | None = None,
    instance: dg.DagsterInstance | None = None,
) -> JobResult:
    """Run job `name` to its end. A failed step does not raise; the result reports it."""
    outcomes: list[Outcome] = []

    def listen(outcome: Outcome) -> None:
        outcomes.append(outcome)
        if on_outcome:
            on_outcome(outcome)

    token = PROGRESS.set(listen)
    try:
        if instance is None and environ.get("DAGSTER_HOME"):
            instance = dg.DagsterInstance.get()
        config = {**run_config, "loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        job = build_definitions(stack).resolve_job_def(name)
        result = job.execute_in_process(run_config=config, instance=instance, raise_on_error=False)
    finally:
        PROGRESS.reset(token)
    failures = tuple(_failure_text(event) for event in result.all_events if event.is_step_failure)
    checks = tuple(
        f"{'/'.join(evaluation.asset_key.path)}:{evaluation.check_name}"
        for evaluation in result.get_asset_check_evaluations()
        if not evaluation.passed
    )
    return JobResult(result.success, result.run_id, tuple(outcomes), failures, checks)


def _failure_text(event: dg.DagsterEvent) -> str:
    data = event.step_failure_data
    if data.user_failure_data and data.user_failure_data.description:
        return str(data.user_failure_data.description)
    return str(data.error.message if data.error else event.message)
