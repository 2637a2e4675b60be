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
from dr_assets.monitoring.rules import DRILL_JOBS
from dr_assets.monitoring.runs import UI_JOB, WHOLE, Outcome, Outstanding, RunResult, RunSubject, selection_label
from dr_assets.monitoring.samples import REPORTED, Sample
from dr_assets.monitoring.state import SensorMemory, State
from dr_assets.stack import Stack

# A page of run status changes, and the pages of each tick.
PAGE, PAGES = 500, 10
# PostgreSQL may commit an id after a higher one: so many ids are read again, of events no older than so many seconds than the
# newest that was read. Those that were read already are left out.
OVERLAP, LATE_SECONDS = 100, 30.0
# A run in progress for longer is reported: its worker may be gone, which Dagster may never notice (dagster#17448). Drills take
# minutes; a first provisioning with Aurora's instances takes up to an hour.
LONG_DRILL_SECONDS, LONG_RUN_SECONDS = 3600.0, 4 * 3600.0
Ending = Literal[dg.DagsterEventType.RUN_SUCCESS, dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_CANCELED]
_ENDINGS: Mapping[Ending, Outcome] = {
    dg.DagsterEventType.RUN_SUCCESS: "succeeded",
    dg.DagsterEventType.RUN_FAILURE: "failed",
    dg.DagsterEventType.RUN_CANCELED: "was cancelled",
}
_ENDED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
_IN_PROGRESS = tuple(status for status in dg.DagsterRunStatus if status not in _ENDED)
OWN_JOBS = (VERIFY, PROVISION, DESTROY, HISTORY_JOB, REPORT_JOB, *DRILL_JOBS)
# Of a materialization's metadata: the resource is as the stack wants it (`Outcome.good`).
GOOD = ("in_sync", "created", "updated")
CHECK_MARK = "check "
# Tags of a partitioned run (dagster/_core/storage/tags.py).
PARTITION = "dagster/partition"
FIRST_PARTITION, LAST_PARTITION = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


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
    ended = dict(memory.ended_runs)
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
        changes = [each for each in changes if f"{kind.value} {each.run_id}" not in memory.ended_runs]
        ended.update((f"{kind.value} {each.run_id}", each.timestamp) for each in changes)
        found += _own_runs(context, stack, kind, changes)
    found.sort(key=lambda ended: ended.at)
    since = min(newest, now.timestamp())  # a worker's clock may be ahead of ours
    ended = {key: at for key, at in ended.items() if at > since - LATE_SECONDS}
    return found, SensorMemory(since=since, run_events=positions, ended_runs=ended)


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


def run_samples(context: Any, stack: Stack, state: State) -> tuple[list[Sample], SensorMemory]:
    """Samples of what runs are about whose state changed, and the memory to go on from: ended, in progress for too long, and
    deleted while in progress."""
    ended, memory = ended_runs(context, stack, state.memory)
    found = Outstanding.of(stack.environment_suffix, state.memory.outstanding)
    for key, track in state.tracks.items():
        metric = key.split("/", 3)[3]
        found.read[metric] = track.at or 0.0
        if track.raised:  # a cursor of an earlier version knows only that the job's last run did not succeed
            found.work.setdefault(metric, frozenset({WHOLE}))
    for each in ended:
        if found.work or not each.succeeded:
            found.ended(_result(context, each))
    running = {record.dagster_run.run_id: record for record in _in_progress(context, stack)}
    # A run that has ended is read as such, in this tick or a later one.
    for run_id, metric in state.memory.in_progress.items():
        if run_id not in running and context.instance.get_run_by_id(run_id) is None:
            found.ended(RunResult(RunSubject.parse(metric), run_id, utc.now(), "was deleted while in progress"))
    now = utc.now().timestamp()
    for run_id, record in running.items():
        run = record.dagster_run
        begun = record.start_time or record.create_timestamp.replace(tzinfo=utc.UTC).timestamp()
        limit = LONG_DRILL_SECONDS if run.job_name in DRILL_JOBS else LONG_RUN_SECONDS
        if now - begun > limit:
            note = f"run {run_id} has been {run.status.value} for {(now - begun) / 3600:.1f} h; its worker may be gone"
            found.too_long(_subject(run), run_id, utc.from_epoch(begun + limit), note)
    in_progress = {run_id: _subject(record.dagster_run).metric for run_id, record in running.items()}
    work = {metric: tuple(sorted(each)) for metric, each in found.work.items()}
    return found.samples, memory.model_copy(update={"in_progress": in_progress, "outstanding": work})


def _in_progress(context: Any, stack: Stack) -> list[Any]:
    """Records of this stack's runs that have not ended."""
    # Asked by name: among everybody's runs on a shared instance, ours may be behind any number of others.
    return [
        record
        for job in (*OWN_JOBS, UI_JOB)
        for record in context.instance.get_run_records(dg.RunsFilter(job_name=job, statuses=list(_IN_PROGRESS)))
        if is_own(context, stack, record.dagster_run)
    ]


def _subject(run: dg.DagsterRun) -> RunSubject:
    first, last = run.tags.get(FIRST_PARTITION), run.tags.get(LAST_PARTITION)
    partition = f"{first}...{last}" if first or last else run.tags.get(PARTITION, "")
    return RunSubject(run.job_name, partition, selection_label(_selected(run)))


def _selected(run: dg.DagsterRun) -> list[str]:
    """The assets, checks and steps that a run was restricted to; none: it was to do all that its job does, or, re-executed from
    its failure, what an earlier one had left."""
    selected = [*map(asset_name, run.asset_selection or ()), *map(_check_name, run.asset_check_selection or ())]
    # Dagster lists the steps of complete runs, too, where they were executed in process.
    if run.parent_run_id and not run.is_resume_retry:
        selected += [f"step {key}" for key in run.step_keys_to_execute or ()]
    return selected


def _result(context: Any, ended: EndedRun) -> RunResult:
    """What a run was to do and did, by the events that Dagster writes for each asset and check: planned when the run is created
    (RunDomain._log_asset_planned_events), materialized or evaluated by its steps."""
    events = context.instance.get_records_for_run(
        ended.run.run_id,
        of_type={
            dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
            dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED,
            dg.DagsterEventType.ASSET_MATERIALIZATION,
            dg.DagsterEventType.ASSET_CHECK_EVALUATION,
        },
    )
    planned: set[str] = set()
    did: set[str] = set()
    done: set[str] = set()
    for item in events.records:
        event = item.event_log_entry.dagster_event
        data = event.event_specific_data
        if event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED:
            planned.update(_each(asset_name(data.asset_key), data.partition, data.partitions_subset))
        elif event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED:
            planned.update(_each(_check_name(data.asset_check_key), None, data.partitions_subset))
        elif event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            did.update(_each(_check_name(data.asset_check_key), data.partition, None))
        else:
            made = data.materialization
            names = _each(asset_name(made.asset_key), made.partition, None)
            did.update(names)
            status = made.metadata.get("status")
            # `verify_stack` materializes what it found absent or different, too: it mends no failed `provision_stack`.
            if status is None or status.value in GOOD:
                done.update(names)
    done |= {each for each in did if CHECK_MARK in each}
    run = ended.run
    whole = run.job_name != UI_JOB and not _selected(run)
    missing = frozenset(planned - did) or frozenset({WHOLE})
    outcome = _ENDINGS[ended.ending]
    return RunResult(_subject(run), run.run_id, ended.at, outcome, whole, frozenset(done), missing)


def _each(name: str, partition: str | None, subset: Any) -> list[str]:
    keys = [partition] if partition is not None else list(subset.get_partition_keys()) if subset is not None else []
    return [f"{name} [{key}]" for key in keys] or [name]


def asset_name(key: dg.AssetKey) -> str:
    return "/".join(key.path)


def _check_name(key: dg.AssetCheckKey) -> str:
    return f"{CHECK_MARK}{key.name} of {asset_name(key.asset_key)}"


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
