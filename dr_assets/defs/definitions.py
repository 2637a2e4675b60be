"""Puts the adapters together for one stack. `definitions.py` at the top calls this and does nothing else."""

import dagster as dg

from dr_assets.catalog import catalog
from dr_assets.defs.assets import build_assets
from dr_assets.defs.checks import build_parity_check
from dr_assets.defs.jobs import build_destroy_job, build_jobs, build_schedules
from dr_assets.defs.resources import AwsStack
from dr_assets.stack import Stack


def build_definitions(stack: Stack) -> dg.Definitions:
    """Assets, checks, jobs and schedules of `stack`. Calls nothing outside the process."""
    resources = catalog(stack)
    jobs = build_jobs()
    return dg.Definitions(
        assets=build_assets(stack, resources),
        asset_checks=[build_parity_check(resources)],
        jobs=[*jobs, build_destroy_job(resources)],
        schedules=build_schedules(jobs),
        resources={"aws": AwsStack()},
        # A step in a process of its own costs 1.5-4 s, one in this process 16 ms; and a run shares one snapshot.
        executor=dg.in_process_executor,
    )
