"""What the sensors read from Dagster itself: runs that ended or are in progress, check evaluations, changes to resources."""

import time
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import dagster as dg

from dr_assets import utc
from dr_assets.defs.monitoring.checks import CHECK
from dr_assets.defs.reports.assets import HISTORY_JOB, REPORT_JOB
from dr_assets.defs.stack.jobs import DESTROY, PROVISION, VERIFY
from dr_assets.monitoring.rules import DRILL_DAYS
from dr_assets.monitoring.samples import Sample
from dr_assets.stack import Stack
from dr_assets.ticks.monitor import Monitor

RUNS_EACH_TICK = 50
# A run in progress for longer is reported: its worker may be gone, which Dagster may never notice (dagster#17448). Drills take
# minutes; a first provisioning with Aurora's instances takes up to an hour.
LONG_DRILL_SECONDS, LONG_RUN_SECONDS = 3600.0, 4 * 3600.0
_ENDED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
_IN_PROGRESS = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)
OWN_JOBS = (VERIFY, PROVISION, DESTROY, HISTORY_JOB, REPORT_JOB, *(f"{scenario}_drill" for scenario in DRILL_DAYS))
# Reads of Dagster's run storage overlap by this much; what is read twice changes nothing.
OVERLAP = timedelta(seconds=2)


def ended_runs(context: Any, sensor: str, jobs: Sequence[str] | None, monitor: Monitor) -> tuple[list[Any], float]:
    """Runs that ended since the cursor, oldest first, and the time to go on from. A new sensor begins with the last hour."""
    state = monitor.ticker(sensor).load(context.cursor)
    since = state.memory.since or time.time() - 3600.0
    after = utc.from_epoch(since) - OVERLAP
    found: list[Any] = []
    full: list[float] = []
    for job in jobs or (None,):
        wanted = dg.RunsFilter(job_name=job, statuses=list(_ENDED), updated_after=after)
        page = context.instance.get_run_records(
            wanted, limit=RUNS_EACH_TICK, order_by="update_timestamp", ascending=True
        )
        found += page
        if len(page) == RUNS_EACH_TICK:
            full.append(_ended(page[-1]))
    found.sort(key=_ended)
    # A full page may have more behind it: go on from there.
    return found, min(full) if full else max([since, *(_ended(record) for record in found)])


def _ended(record: Any) -> float:
    return float(record.update_timestamp.replace(tzinfo=utc.UTC).timestamp())


def run_sample(stack: Stack, record: Any) -> Sample:
    run = record.dagster_run
    at = utc.from_epoch(record.end_time or _ended(record))
    return Sample(
        at,
        stack.environment_suffix,
        "global",
        "dagster",
        run.job_name,
        1.0 if run.is_success else 0.0,
        "bool",
        f"run {run.run_id} {_ENDINGS[run.status]}",
    )


_ENDINGS = dict(zip(_ENDED, ("succeeded", "failed", "was cancelled"), strict=True))


def is_own(context: Any, stack: Stack, run: Any) -> bool:
    """Whether a run is of this code location and stack. Runs that no daemon launched have no origin: their job's name counts."""
    if run.tags.get("dr/stack", stack.environment_suffix) != stack.environment_suffix:
        return False
    ours, origin = context.code_location_origin, run.remote_job_origin
    if origin is None:
        return True
    if ours is None:
        return run.job_name in OWN_JOBS
    return bool(origin.repository_origin.code_location_origin.location_name == ours.location_name)


def long_runs(context: Any, stack: Stack) -> Iterable[Sample]:
    """A bad sample for each run of this stack's jobs that has been in progress for longer than its kind of job takes."""
    now = utc.now()
    # Asked by name: among everybody's runs on a shared instance, ours may be behind any number of others.
    found = [
        record
        for job in OWN_JOBS
        for record in context.instance.get_run_records(dg.RunsFilter(job_name=job, statuses=list(_IN_PROGRESS)))
    ]
    for record in found:
        if not is_own(context, stack, record.dagster_run):
            continue
        run = record.dagster_run
        begun = record.start_time or record.create_timestamp.replace(tzinfo=utc.UTC).timestamp()
        seconds = now.timestamp() - begun
        if seconds > (LONG_DRILL_SECONDS if "drill" in run.job_name else LONG_RUN_SECONDS):
            note = f"run {run.run_id} has been {run.status.value} for {seconds / 3600:.1f} h; its worker may be gone"
            yield Sample(now, stack.environment_suffix, "global", "dagster", run.job_name, 0.0, "bool", note)


def check_samples(context: Any, stack: Stack, record: Any) -> Iterable[Sample]:
    events = context.instance.get_records_for_run(
        record.dagster_run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION
    )
    for item in events.records:
        event = item.event_log_entry.dagster_event
        found = event.asset_check_evaluation_data
        # Warnings are about what is not ready yet, or not known: no drift.
        if found.check_name == CHECK or (not found.passed and found.severity == dg.AssetCheckSeverity.WARN):
            continue
        key = "/".join(found.asset_key.path)
        at = utc.from_epoch(item.timestamp)
        note = f"{found.check_name}: {found.description or ''}"
        value = 1.0 if found.passed else 0.0
        metric = f"{found.check_name}:{key}"
        yield Sample(at, stack.environment_suffix, key.split("/")[0], "dagster", metric, value, "bool", note[:200])


def changed_since(context: Any, proof: datetime) -> str | None:
    """What a provisioning run changed after that time, in words; None: nothing."""
    wanted = dg.RunsFilter(job_name=PROVISION, updated_after=proof)
    for record in context.instance.get_run_records(wanted, limit=5):
        run = record.dagster_run.run_id
        found = context.instance.get_records_for_run(run, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
        for item in found.records:
            made = item.event_log_entry.dagster_event.step_materialization_data.materialization
            status = made.metadata.get("status")
            if status is not None and status.value in ("created", "updated") and item.timestamp > proof.timestamp():
                return f"{'/'.join(made.asset_key.path)} was {status.value} by run {run}"
    return None
