"""Reads from the Dagster instance of DAGSTER_HOME what `dr doctor` examines: settings, daemon, sensors, schedules, verification."""

import os
from typing import Any

import dagster as dg

from dr_assets.defs.monitoring.heartbeat import THREADS
from dr_assets.defs.stack.jobs import VERIFY
from dr_assets.errors import DrError
from dr_assets.ticks.doctor_host import SCHEDULES, Installation, Instigator

_ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]


def read_installation() -> Installation:
    """Raises DrError without DAGSTER_HOME, and whatever Dagster raises where the instance cannot be read."""
    home = os.environ.get("DAGSTER_HOME")
    if not home:
        raise DrError("DAGSTER_HOME is not set. Set it as it is where the daemon runs.")
    with dg.DagsterInstance.get() as instance:
        verified = instance.get_run_records(
            dg.RunsFilter(job_name=VERIFY, statuses=_ENDED), limit=1, order_by="update_timestamp"
        )
        return Installation(
            home=home,
            run_monitoring=instance.run_monitoring_enabled,
            use_threads=bool((instance.get_settings("sensors") or {}).get("use_threads")),
            required=tuple(name for name in instance.get_required_daemon_types() if name in THREADS),
            threads={name: (beat.timestamp, beat.daemon_id) for name, beat in instance.get_daemon_heartbeats().items()},
            sensors=_instigators(instance, "SENSOR"),
            # A schedule that Dagster has not stored yet runs by its default (`defs.stack.schedules`).
            schedules={name: Instigator(True) for name in SCHEDULES} | _instigators(instance, "SCHEDULE"),
            verified=verified[0].end_time if verified else None,
        )


def _instigators(instance: dg.DagsterInstance, kind: str) -> dict[str, Instigator]:
    """By name. Of several that an instance knows of other code locations, the one that ticked last."""
    found: dict[str, Instigator] = {}
    for state in instance.all_instigator_state():
        if state.instigator_type.value != kind:
            continue
        each, before = _instigator(instance, state), found.get(state.instigator_name)
        if before is None or (each.ticked or 0.0) > (before.ticked or 0.0):
            found[state.instigator_name] = each
    return found


def _instigator(instance: dg.DagsterInstance, state: Any) -> Instigator:
    ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1)
    running = state.status.value != "STOPPED"
    if not ticks:
        return Instigator(running)
    return Instigator(running, ticks[0].timestamp, ticks[0].status.value)
