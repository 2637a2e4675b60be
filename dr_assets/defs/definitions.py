"""Puts the adapters together for one stack. `definitions.py` at the top calls this and does nothing else."""

import dagster as dg

from dr_assets.defs.drills.jobs import DrillSession, build_drill_jobs
from dr_assets.defs.monitoring.sensors import build_sensors, objective_checks
from dr_assets.defs.reports.assets import HISTORY_JOB, REPORT_JOB, build_report_assets, build_report_jobs
from dr_assets.defs.resources import AwsStack
from dr_assets.defs.stack.assets import build_assets
from dr_assets.defs.stack.checks import build_objective_check, build_parity_check, build_terraform_check
from dr_assets.defs.stack.jobs import build_destroy_job, build_jobs, build_schedules
from dr_assets.defs.stack.schedules import build_schedules as build_more_schedules
from dr_assets.resources.catalog import catalog
from dr_assets.stack import Stack
from dr_assets.terraform import working_directory


def build_definitions(stack: Stack) -> dg.Definitions:
    """Assets, checks, jobs, schedules and sensors of `stack`. Calls nothing outside the process."""
    resources = catalog(stack)
    repeated = build_objective_check(objective_checks(stack))
    jobs = build_jobs(repeated)
    checks = [build_parity_check(resources), repeated]
    directory = working_directory()
    if directory:
        checks.append(build_terraform_check(stack, resources, directory))
    return dg.Definitions(
        assets=[*build_assets(stack, resources), *build_report_assets(stack)],
        asset_checks=checks,
        jobs=[*jobs, build_destroy_job(resources), *build_drill_jobs(), *build_report_jobs()],
        schedules=[*build_schedules(jobs), *build_more_schedules(stack, HISTORY_JOB, "switchover_drill", REPORT_JOB)],
        # All start stopped: somebody says where alerts go before anything pages. And they only recommend, until somebody
        # arms the automatic failover of this stack (`dr alert arm`).
        sensors=build_sensors(stack, failover_job="failover_drill"),
        resources={"aws": AwsStack(), "drills": DrillSession()},
        # A step in a process of its own costs 1.5-4 s, one in this process 16 ms; and a run shares one snapshot.
        executor=dg.in_process_executor,
    )
