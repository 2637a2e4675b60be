"""Dagster sensors of one stack: each calls the Monitor and reports crossings, incidents and check results to the event log.

They change nothing in AWS; only `health_checks` requests a failover run, where automatic failover is armed. A sensor's cursor is
stored only after every alert it stands for was delivered: a failed delivery fails the tick. Several sensors read the same
samples, so each reports only the topics that it owns. All start STOPPED.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import dagster as dg

from dr_assets import utc
from dr_assets.defs.monitoring.checks import CHECK
from dr_assets.defs.monitoring.heartbeat import beat
from dr_assets.defs.reports.assets import HISTORY_JOB, REPORT_JOB
from dr_assets.defs.stack.assets import asset_key
from dr_assets.defs.stack.jobs import DESTROY, PROVISION, VERIFY
from dr_assets.errors import DrError
from dr_assets.failover.arming import Precondition, armed, refusals
from dr_assets.failover.vote import LAUNCH
from dr_assets.monitoring.evaluate import Observation
from dr_assets.monitoring.incidents import Transition
from dr_assets.monitoring.rule import Rule
from dr_assets.monitoring.rules import DRILL_DAYS, drift_rule, drill_rule, run_rule
from dr_assets.monitoring.samples import Sample
from dr_assets.monitoring.state import State
from dr_assets.monitoring.topics import WRITER, owner_of
from dr_assets.stack import Stack
from dr_assets.ticks.drill_proofs import drill_samples
from dr_assets.ticks.monitor import Monitor
from dr_assets.ticks.tick import TickResult

FAST_SECONDS, SLOW_SECONDS, DRILL_SECONDS = 5, 10, 20
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


def build_sensors(
    stack: Stack, build_monitor: Callable[[], Monitor] | None = None, failover_job: str | None = None
) -> list[dg.SensorDefinition]:
    """The six sensors of a stack.

    Args:
        build_monitor: Monitor factory (replaceable in tests); called at the first tick, not at load.
        failover_job: the job that an armed automatic failover launches once its preconditions hold; None: failover is only
            recommended.
    """
    made: list[Monitor] = []

    def monitor() -> Monitor:
        if not made:
            made.append(build_monitor() if build_monitor else Monitor(stack))
            if failover_job and made[0].preconditions is None and build_monitor is None:
                made[0].preconditions = made[0].failover_conditions
        return made[0]

    def sensor(name: str, seconds: int, description: str, **more: Any) -> Callable[[Any], dg.SensorDefinition]:
        return dg.sensor(
            name=name,
            minimum_interval_seconds=seconds,
            default_status=dg.DefaultSensorStatus.STOPPED,
            description=description,
            tags={"dr/stack": stack.environment_suffix},
            **more,
        )

    @sensor("replication_lag", FAST_SECONDS, "Replication lag, what a failover would lose, CPU and connections.")
    def replication_lag(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        return _result(context, monitor(), "replication_lag", monitor().observe("replication_lag", context.cursor))

    target = {"job_name": failover_job} if failover_job else {}

    @sensor("health_checks", FAST_SECONDS, "Whether the writer takes writes, from independent sources.", **target)
    def health_checks(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        result = monitor().observe("health_checks", context.cursor)
        asked, note = _failover(monitor(), result, failover_job, context)
        return _result(context, monitor(), "health_checks", result, asked, note)

    @sensor("event_queue", FAST_SECONDS, "RDS events and alarm notifications; deleted once they are processed.")
    def event_queue(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        result, messages = monitor().process_events(context.cursor)
        for message in messages:
            if message.kind == "poison":
                context.log.warning(
                    f"Message {message.id} at {message.site} is damaged (receive {message.receives}). SQS will move it to "
                    f"the dead-letter queue: {message.body.get('problem', 'unknown shape')}"
                )
            elif message.kind == "foreign":
                body = message.body
                context.log.info(
                    f"Message {message.id} at {message.site} is of no known kind and is deleted: type {body['type'] or 'none'}, "
                    f"topic {body['topic'] or 'none'}, {body['length']} characters"
                )
        return _result(context, monitor(), "event_queue", result, note=f"{len(messages)} messages")

    @sensor("drift", SLOW_SECONDS, "What verification found to differ from the stack file.")
    def drift(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        runs, since = _runs(context, "drift", (VERIFY, PROVISION), monitor())
        samples = [sample for run in runs for sample in _check_samples(context, stack, run)]
        result = monitor().evaluate("drift", context.cursor, samples, drift_rule, since)
        return _result(context, monitor(), "drift", result)

    @sensor("run_failure", SLOW_SECONDS, "Runs that failed, were cancelled or vanished, until the same job succeeds.")
    def run_failure(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        runs, since = _runs(context, "run_failure", None, monitor())
        own = [record for record in runs if _is_own(context, stack, record.dagster_run)]
        samples = [*(_run_sample(stack, record) for record in own), *_long_runs(context, stack)]
        result = monitor().evaluate("run_failure", context.cursor, samples, run_rule, since)
        return _result(context, monitor(), "run_failure", result)

    @sensor(
        "drill_overdue",
        DRILL_SECONDS,
        "Drills that are overdue or unfinished, and proof that a later change made stale.",
    )
    def drill_overdue(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        samples = drill_samples(
            monitor().store, stack.environment_suffix, monitor().clock(), lambda proof: _changed_since(context, proof)
        )
        result = monitor().evaluate("drill_overdue", context.cursor, samples, drill_rule)
        return _result(context, monitor(), "drill_overdue", result)

    return [replication_lag, health_checks, event_queue, drift, run_failure, drill_overdue]


# --- what a tick reports to Dagster -----------------------------------------------------------------------------------------


def _result(
    context: dg.SensorEvaluationContext,
    monitor: Monitor,
    sensor: str,
    result: TickResult,
    run_requests: Sequence[dg.RunRequest] = (),
    note: str = "",
) -> dg.SensorResult:
    events = list(events_of(monitor, sensor, result))
    beat(monitor, sensor, context.instance)
    if monitor.ticker(sensor).store_problem:
        context.log.warning(f"The history store failed: {monitor.ticker(sensor).store_problem}")
    if run_requests:
        return dg.SensorResult(cursor=result.cursor, asset_events=events, run_requests=list(run_requests))
    steps = [f"{transition.incident.id} {transition.step}" for transition in result.transitions]
    polled = monitor.problems if sensor in ("replication_lag", "health_checks") else []
    reason = "; ".join(filter(None, [*steps, note, *polled])) or "nothing new"
    return dg.SensorResult(cursor=result.cursor, asset_events=events, skip_reason=reason)


def events_of(monitor: Monitor, sensor: str, result: TickResult) -> Iterable[Any]:
    """An observation for each crossing and each step of an incident, one for each watched resource at the heartbeat, and the
    evaluation of each declared check that any of these is about. What verification found has its own checks."""
    declared = {rule.key for rule in monitor.rules}
    beats: dict[str, list[Observation]] = {}
    touched: dict[str, None] = {}
    for observation in result.observations:
        rule, resource = observation.rule, observation.rule.resource
        if resource not in monitor.resources or owner_of(rule.topic) != sensor:
            continue
        if rule.key in declared:
            touched[resource] = None
        if observation.kind == "heartbeat":
            if rule.key in declared:
                beats.setdefault(resource, []).append(observation)
            continue
        yield dg.AssetObservation(
            asset_key(resource),
            description=f"{rule.text}: {observation.kind}",
            metadata={
                "kind": observation.kind,
                "source": rule.source,
                "metric": rule.metric,
                "site": rule.site,
                "value": "unknown" if observation.value is None else observation.value,
                "objective": rule.objective,
                "note": observation.note,
            },
        )
    for resource, several in beats.items():
        values = {f"{o.rule.source} {o.rule.metric}": "unknown" if o.value is None else o.value for o in several}
        yield dg.AssetObservation(asset_key(resource), description="heartbeat", metadata=values)
    for transition in result.transitions:
        if transition.incident.resource in monitor.resources:
            yield _incident_event(transition)
    for resource in touched:
        yield evaluation(result.state, monitor.rules, resource)


def _incident_event(transition: Transition) -> dg.AssetObservation:
    incident = transition.incident
    evidence = "\n".join(f"- {line}" for line in incident.evidence)
    return dg.AssetObservation(
        asset_key(incident.resource),
        description=f"incident {incident.id} {transition.step}",
        metadata={
            "incident": incident.id,
            "step": transition.step,
            "severity": incident.severity,
            "what": incident.text,
            "since": dg.MetadataValue.timestamp(incident.since),
            "evidence": dg.MetadataValue.md(evidence),
            "runbook": incident.runbook,
        },
    )


def evaluation(state: State, rules: Sequence[Rule], resource: str) -> dg.AssetCheckEvaluation:
    """The check `within_objective` of one resource: fails on a breach, warns where something is unknown."""
    tracks = [
        (rule, state.tracks[rule.key]) for rule in rules if rule.resource == resource and rule.key in state.tracks
    ]
    bad = [rule.text for rule, track in tracks if track.raised]
    unknown = [f"{rule.source} {rule.metric}" for rule, track in tracks if track.silent]
    words = "; ".join(bad) or (f"unknown: {', '.join(unknown)}" if unknown else "within the objectives")
    return dg.AssetCheckEvaluation(
        check_name=CHECK,
        asset_key=asset_key(resource),
        passed=not bad and not unknown,
        severity=dg.AssetCheckSeverity.ERROR if bad else dg.AssetCheckSeverity.WARN,
        description=words,
        metadata={"breaches": len(bad), "unknown": len(unknown)},
    )


# --- what the sensors read from Dagster itself -----------------------------------------------------------------------------


def _runs(context: Any, sensor: str, jobs: Sequence[str] | None, monitor: Monitor) -> tuple[list[Any], float]:
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


def _run_sample(stack: Stack, record: Any) -> Sample:
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


def _is_own(context: Any, stack: Stack, run: Any) -> bool:
    """Whether a run is of this code location and stack. Runs that no daemon launched have no origin: their job's name counts."""
    if run.tags.get("dr/stack", stack.environment_suffix) != stack.environment_suffix:
        return False
    ours, origin = context.code_location_origin, run.remote_job_origin
    if origin is None:
        return True
    if ours is None:
        return run.job_name in OWN_JOBS
    return bool(origin.repository_origin.code_location_origin.location_name == ours.location_name)


def _long_runs(context: Any, stack: Stack) -> Iterable[Sample]:
    """A bad sample for each run of this stack's jobs that has been in progress for longer than its kind of job takes."""
    now = utc.now()
    # Asked by name: among everybody's runs on a shared instance, ours may be behind any number of others.
    found = [
        record
        for job in OWN_JOBS
        for record in context.instance.get_run_records(dg.RunsFilter(job_name=job, statuses=list(_IN_PROGRESS)))
    ]
    for record in found:
        if not _is_own(context, stack, record.dagster_run):
            continue
        run = record.dagster_run
        begun = record.start_time or record.create_timestamp.replace(tzinfo=utc.UTC).timestamp()
        seconds = now.timestamp() - begun
        if seconds > (LONG_DRILL_SECONDS if "drill" in run.job_name else LONG_RUN_SECONDS):
            note = f"run {run.run_id} has been {run.status.value} for {seconds / 3600:.1f} h; its worker may be gone"
            yield Sample(now, stack.environment_suffix, "global", "dagster", run.job_name, 0.0, "bool", note)


def _check_samples(context: Any, stack: Stack, record: Any) -> Iterable[Sample]:
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


def _changed_since(context: Any, proof: datetime) -> str | None:
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


# --- automatic failover: off unless armed ----------------------------------------------------------------------------------


def _failover(
    monitor: Monitor, result: TickResult, job: str | None, context: dg.SensorEvaluationContext
) -> tuple[list[dg.RunRequest], str]:
    stack = monitor.stack.environment_suffix
    incident = result.state.incidents.get(f"{stack}/{WRITER}")
    if incident is None:
        return [], ""
    advice = monitor.advise(result.state, monitor.poll())
    note = f"recommendation: {advice.advice} ({'; '.join(advice.reasons)})"
    if advice.advice != "failover":
        return [], note
    context.log.warning(f"{note}; launch with: {LAUNCH}")
    try:
        arming = armed(monitor.store, stack, monitor.clock())
    except (DrError, OSError) as error:
        context.log.exception(f"whether automatic failover of {stack} is armed cannot be read: it is taken to be off")
        return [], f"{note}; whether it is armed cannot be read: {error}"
    if arming is None or job is None:
        return [], note
    try:
        conditions = monitor.preconditions(advice) if monitor.preconditions else ()
    except DrError as error:
        conditions = [Precondition("preconditions", None, str(error))]
    against = refusals(advice, arming, conditions, monitor.clock(), monitor.vote)
    if against:
        context.log.error(f"automatic failover of {stack} is armed and refused: {'; '.join(against)}")
        return [], note
    config = {
        "approved_by": f"{arming.by}, who armed it until {utc.to_text(arming.until)}: {arming.why}",
        "operator": "automatic failover",
        "why": f"{incident.id}: {'; '.join(advice.reasons)}",
        "incident": True,
        "settings": {"lag_gate_ms": monitor.lag_gate_ms},
        "from_site": advice.writer,
    }
    request = dg.RunRequest(
        run_key=f"failover-{incident.id}",  # once for each incident, whatever happens to this sensor
        job_name=job,
        run_config={"ops": {"failover_preconditions": {"config": config}}},
        tags={"dr/incident": incident.id, "dr/automatic": "true"},
    )
    return [request], note
