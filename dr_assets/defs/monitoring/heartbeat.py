"""Reads from the Dagster instance whether its daemon runs, and reports a completed tick as a heartbeat."""

import dagster as dg

from dr_assets import utc
from dr_assets.ticks.heartbeat import all_fresh
from dr_assets.ticks.monitor import Monitor

# The daemon's threads that the product depends on: sensors, schedules, the queue of runs, and run monitoring where it is on. Others
# (backfills, automation, freshness) may work for minutes between heartbeats on a busy instance.
THREADS = ("SENSOR", "SCHEDULER", "QUEUED_RUN_COORDINATOR", "MONITORING")


def daemon_runs(instance: dg.DagsterInstance) -> bool:
    """Whether every thread that this instance requires of THREADS has a fresh heartbeat. An ephemeral instance has no daemon."""
    required = [name for name in instance.get_required_daemon_types() if name in THREADS]
    found = instance.get_daemon_heartbeats()
    times = {name: heartbeat.timestamp for name, heartbeat in found.items()}
    return all_fresh(times, required, utc.now().timestamp())


def beat(monitor: Monitor, sensor: str, instance: dg.DagsterInstance) -> None:
    """Report one completed tick of a sensor."""
    monitor.beat(sensor, lambda: daemon_runs(instance))
