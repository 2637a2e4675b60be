"""What the sensors read from Dagster itself: runs that ended or are in progress, check evaluations, changes to resources."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import dagster as dg

from dr_assets import utc
from dr_assets.defs.monitoring.checks import CHECK
from dr_assets.defs.reports.assets import HISTORY_JOB, REPORT_JOB
from dr_assets.defs.stack.jobs import DESTROY, PROVISION, STACK_TAG, VERIFY
from dr_assets.monitoring.rules import DRILL_DAYS
from dr_assets.monitoring.samples import REPORTED, Sample
from dr_assets.monitoring.state import SensorMemory
from dr_assets.stack import Stack

# A page of run status changes, and the pages of each tick.
PAGE, PAGES = 500, 10
# PostgreSQL may commit an id after a higher one: so many ids are read again, of events no older than so many seconds than the
# newest that was read. What is read twice changes nothing.
OVERLAP, LATE_SECONDS = 100, 30.0
# A run in progress for longer is reported: its worker may be gone, which Dagster may never notice (dagster#17448). Drills take
# minutes; a first provisioning with Aurora's instances takes up to an hour.
LONG_DRILL_SECONDS, LONG_RUN_SECONDS = 3600.0, 4 * 3600.0
Ending = Literal[dg.DagsterEventType.RUN_SUCCESS, dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_CANCELED]
_ENDINGS: Mapping[Ending, str] = {
    dg.DagsterEventType.RUN_SUCCESS: "succeeded",
    dg.DagsterEventType.RUN_FAILURE: "failed",
    dg.DagsterEventType.RUN_CANCELED: "was cancelled",
}
# The job of assets that are materialized by hand in the UI (IMPLICIT_ASSET_JOB_NAME in Dagster).
UI_JOB = "__ASSET_JOB"
_ENDED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
_IN_PROGRESS = tuple(status for status in dg.DagsterRunStatus if status not in _ENDED)
OWN_JOBS = (VERIFY, PROVISION, DESTROY, HISTORY_JOB, REPORT_JOB, *(f"{scenario}_drill" for scenario in DRILL_DAYS))


@dataclass(frozen=True)
class EndedRun:
    """A run, and how and when it ended."""

    run: dg.DagsterRun
    ending: Ending
    at: datetime

    @property
    def succeeded(self) -> bool:
        return self.ending == dg.DagsterEventType.RUN_SUCCESS


def ended_runs(context: Any, stack: Stack, memory: SensorMemory) -> tuple[list[EndedRun], SensorMemory]:
    """The stack's runs that ended since the cursor, oldest first, and the memory to go on from. A new sensor begins with the
    last hour.

    Read by the storage ids of Dagster's run status changes, which only grow, as Dagster's own run status sensor does
    (dagster/_core/definitions/run_status_sensor_definition.py): any number of others' runs moves the position forward.
    """
    now = utc.now()
    since = memory.since or now.timestamp() - 3600.0
    positions: dict[str, int] = {}
    found: list[EndedRun] = []
    newest = since
    for kind in _ENDINGS:
        position = memory.run_events.get(kind.value)
        last = _last_id(context, kind)
        if position is not None and position > last:
            position = None  # another database than before: its ids began anew
        changes, positions[kind.value] = _changes(context, kind, position, last, since)
        newest = max([newest, *(change.timestamp for change in changes)])
        if position is not None:
            late = since - LATE_SECONDS
            changes = [each for each in changes if each.storage_id > position or each.timestamp > late]
        found += _own_runs(context, stack, kind, changes)
    found.sort(key=lambda ended: ended.at)
    # A worker's clock may be ahead of ours.
    return found, SensorMemory(since=min(newest, now.timestamp()), run_events=positions)


def _last_id(context: Any, kind: Ending) -> int:
    page = context.instance.fetch_run_status_changes(dg.RunStatusChangeRecordsFilter(event_type=kind), limit=1).records
    return int(page[0].storage_id) if page else 0


def _changes(context: Any, kind: Ending, position: int | None, last: int, since: float) -> tuple[list[Any], int]:
    """Run status changes of one kind beyond the position, or, without one, after that time; and the next position."""
    after = None if position is None else max(position - OVERLAP, 0)
    found: list[Any] = []
    for _ in range(PAGES):
        wanted = dg.RunStatusChangeRecordsFilter(
            event_type=kind, after_storage_id=after, after_timestamp=since if after is None else None
        )
        page = context.instance.fetch_run_status_changes(wanted, limit=PAGE, ascending=True).records
        found += page
        if len(page) < PAGE:
            return found, max([last, *(change.storage_id for change in found)])
        after = page[-1].storage_id
    return found, int(found[-1].storage_id)  # there is more: the next tick goes on from here


def _own_runs(context: Any, stack: Stack, ending: Ending, changes: Sequence[Any]) -> Iterable[EndedRun]:
    """The changes that end a run of this stack. A run that was deleted since then is left out."""
    for begin in range(0, len(changes), PAGE):
        batch = changes[begin : begin + PAGE]
        wanted = dg.RunsFilter(run_ids=[change.run_id for change in batch])
        runs = {run.run_id: run for run in context.instance.get_runs(wanted)}
        for change in batch:
            run = runs.get(change.run_id)
            if run is not None and is_own(context, stack, run):
                yield EndedRun(run, ending, min(utc.from_epoch(change.timestamp), utc.now()))


def run_sample(stack: Stack, ended: EndedRun) -> Sample:
    return Sample(
        ended.at,
        stack.environment_suffix,
        "global",
        "dagster",
        ended.run.job_name,
        1.0 if ended.succeeded else 0.0,
        REPORTED,
        f"run {ended.run.run_id} {_ENDINGS[ended.ending]}",
    )


def is_own(context: Any, stack: Stack, run: dg.DagsterRun) -> bool:
    """Whether a run is of this stack: by the tag of its job; without that (a run from the UI, or of an earlier version) by the
    code location and repository that it was launched from. One that has neither is somebody else's."""
    tag = run.tags.get(STACK_TAG)
    if tag is not None:
        return tag == stack.environment_suffix
    ours, origin = context.code_location_origin, run.remote_job_origin
    if ours is None or origin is None:
        return False
    theirs = origin.repository_origin
    return (theirs.code_location_origin.location_name, theirs.repository_name) == (
        ours.location_name,
        context.repository_name,
    )


def long_runs(context: Any, stack: Stack) -> Iterable[Sample]:
    """A bad sample for each run of this stack that has been in progress for longer than its kind of job takes."""
    now = utc.now()
    # Asked by name: among everybody's runs on a shared instance, ours may be behind any number of others.
    found = [
        record
        for job in (*OWN_JOBS, UI_JOB)
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
            yield Sample(now, stack.environment_suffix, "global", "dagster", run.job_name, 0.0, REPORTED, note)


def check_samples(context: Any, stack: Stack, ended: EndedRun) -> Iterable[Sample]:
    events = context.instance.get_records_for_run(ended.run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
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
        yield Sample(at, stack.environment_suffix, key.split("/")[0], "dagster", metric, value, REPORTED, note[:200])


def changed_since(context: Any, stack: Stack, proof: datetime) -> str | None:
    """What a run of this stack changed after that time, in words; None: nothing."""
    found = [
        record.dagster_run
        for job in (PROVISION, UI_JOB)
        for record in context.instance.get_run_records(dg.RunsFilter(job_name=job, updated_after=proof))
    ]
    for run in (each.run_id for each in found if is_own(context, stack, each)):
        events = context.instance.get_records_for_run(run, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
        for item in events.records:
            made = item.event_log_entry.dagster_event.step_materialization_data.materialization
            status = made.metadata.get("status")
            if status is not None and status.value in ("created", "updated") and item.timestamp > proof.timestamp():
                return f"{'/'.join(made.asset_key.path)} was {status.value} by run {run}"
    return None
