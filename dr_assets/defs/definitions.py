"""The Dagster definitions of one stack, put together from its adapters. `definitions.py` at the top calls this alone."""

import dagster as dg

from dr_assets.defs.drills.jobs import DrillSession, build_drill_jobs
from dr_assets.defs.drills.schedules import build_drill_schedules
from dr_assets.defs.monitoring.checks import build_objective_check
from dr_assets.defs.monitoring.sensors import build_sensors
from dr_assets.defs.reports.assets import build_report_assets, build_report_jobs
from dr_assets.defs.reports.schedules import build_report_schedules
from dr_assets.defs.resources import AwsStack
from dr_assets.defs.stack.assets import build_assets
from dr_assets.defs.stack.checks import build_parity_check, build_provisioned_check, build_terraform_check
from dr_assets.defs.stack.jobs import build_destroy_job, build_jobs
from dr_assets.defs.stack.schedules import build_verify_schedule
from dr_assets.resources.catalog import catalog
from dr_assets.stack import Stack
from dr_assets.terraform import working_directory


def build_definitions(stack: Stack) -> dg.Definitions:
    """Assets, checks, jobs, schedules and sensors of `stack`. Calls nothing outside the process."""
    resources = catalog(stack)
    objective_check = build_objective_check(stack)
    provisioned = build_provisioned_check(resources)
    checks = [build_parity_check(resources), objective_check, provisioned]
    directory = working_directory()
    if directory:
        checks.append(build_terraform_check(resources, directory))
    return dg.Definitions(
        assets=[*build_assets(stack, resources), *build_report_assets(stack)],
        asset_checks=checks,
        jobs=[
            *build_jobs(stack, left_out=objective_check, provisioned=provisioned),
            build_destroy_job(stack, resources),
            *build_drill_jobs(stack),
            *build_report_jobs(stack),
        ],
        schedules=[build_verify_schedule(), *build_drill_schedules(stack), *build_report_schedules(stack=stack)],
        # All start stopped: alerts need a recipient first. They recommend a failover and launch none until the automatic
        # failover of this stack is armed (`dr alert arm`).
        sensors=build_sensors(stack, failover_job="failover_drill"),
        resources={"aws": AwsStack(), "drills": DrillSession()},
        # A step in a process of its own costs 1.5-4 s, in this process 16 ms; and a run shares one snapshot.
        executor=dg.in_process_executor,
    )
