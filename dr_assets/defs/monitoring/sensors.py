"""Dagster sensors of one stack: each calls the Monitor and reports crossings, incidents and check results to the event log.

They change nothing in AWS; only `health_checks` requests a failover run, where automatic failover is armed. A sensor's cursor is
stored only once every alert it stands for was delivered or stands in the outbox. A tick with an alert that no channel took sends no
heartbeat, so that CloudWatch notifies without us. Several sensors read the same samples, so each reports only the topics that it
owns. All start STOPPED.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

import dagster as dg

from dr_assets import utc
from dr_assets.defs import markdown
from dr_assets.defs.monitoring.checks import CHECK
from dr_assets.defs.monitoring.heartbeat import beat
from dr_assets.defs.monitoring.runs import changed_since, check_samples, ended_runs, run_samples
from dr_assets.defs.stack.assets import asset_key
from dr_assets.defs.stack.jobs import STACK_TAG
from dr_assets.drills.approval import standing_token
from dr_assets.drills.plan import LAG_GATE_MS
from dr_assets.errors import DrError
from dr_assets.failover.arming import Precondition, Unarmed, read_arming, refusals
from dr_assets.failover.vote import LAUNCH
from dr_assets.monitoring.evaluate import Observation, passed
from dr_assets.monitoring.incidents import Transition
from dr_assets.monitoring.rule import Rule
from dr_assets.monitoring.state import SensorMemory, State
from dr_assets.monitoring.subject_rules import drift_rule, drill_rule, run_rule
from dr_assets.monitoring.topics import WRITER, owner_of
from dr_assets.stack import Stack
from dr_assets.ticks.drill_proofs import drill_samples
from dr_assets.ticks.monitor import Monitor
from dr_assets.ticks.tick import TickResult

FAST_SECONDS, SLOW_SECONDS, DRILL_SECONDS = 5, 10, 20
# The ticks of `drill_overdue` in between prove only that it runs (`heartbeat`): proof grows old in days, and all records are read.
DRILL_EVALUATION_SECONDS = 300


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
            tags={STACK_TAG: stack.environment_suffix},
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
        runs, memory = ended_runs(context, stack, monitor().state("drift", context.cursor).memory)
        samples = [sample for run in runs for sample in check_samples(context, stack, run)]
        result = monitor().evaluate("drift", context.cursor, samples, drift_rule, memory)
        return _result(context, monitor(), "drift", result)

    @sensor(
        "run_failure",
        SLOW_SECONDS,
        "Runs that failed, were cancelled or vanished, until what they were about succeeds.",
    )
    def run_failure(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        samples, memory = run_samples(context, stack, monitor().state("run_failure", context.cursor))
        result = monitor().evaluate("run_failure", context.cursor, samples, run_rule, memory)
        return _result(context, monitor(), "run_failure", result)

    @sensor(
        "drill_overdue",
        DRILL_SECONDS,
        "Drills that are overdue or unfinished, and proof that a later change made stale.",
    )
    def drill_overdue(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        ticker, now = monitor().ticker("drill_overdue"), monitor().clock()
        waiting = bool(ticker.undelivered)  # of the last tick
        state = ticker.load(context.cursor)
        if context.cursor and 0 <= now.timestamp() - (state.memory.since or 0.0) < DRILL_EVALUATION_SECONDS:
            unchanged = TickResult(context.cursor, state)
            if waiting:  # a cursor that lags behind the outbox is harmless; alerts are not to wait
                ticker.deliver_outbox(state, now)
            note = f"evaluated every {DRILL_EVALUATION_SECONDS} s"
            return _result(context, monitor(), "drill_overdue", unchanged, note=note)
        samples = drill_samples(
            monitor().store, stack.environment_suffix, now, lambda proof: changed_since(context, stack, proof)
        )
        memory = SensorMemory(since=now.timestamp())
        result = monitor().evaluate("drill_overdue", context.cursor, samples, drill_rule, memory)
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
    ticker = monitor.ticker(sensor)
    if not ticker.unheard:
        beat(monitor, sensor, context.instance)
    if ticker.store_problem:
        context.log.warning(f"The history store failed: {ticker.store_problem}")
    for text in ticker.set_aside:
        context.log.warning(text)
    for key, problem in ticker.undelivered.items():
        context.log.error(f"{key} is not delivered through every channel and is tried again: {problem}")
    if run_requests:
        return dg.SensorResult(cursor=result.cursor, asset_events=events, run_requests=list(run_requests))
    waiting = [f"{len(ticker.undelivered)} alerts wait for a channel"] if ticker.undelivered else []
    steps = [f"{transition.incident.id} {transition.step}" for transition in result.transitions]
    polled = monitor.problems if sensor in ("replication_lag", "health_checks") else []
    reason = "; ".join(filter(None, [*steps, note, *waiting, *polled])) or "nothing new"
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
        yield evaluation(result.state, monitor.rules, resource, monitor.clock())


def _incident_event(transition: Transition) -> dg.AssetObservation:
    incident = transition.incident
    return dg.AssetObservation(
        asset_key(incident.resource),
        description=f"incident {incident.id} {transition.step}",
        metadata={
            "incident": incident.id,
            "step": transition.step,
            "severity": incident.severity,
            "what": incident.text,
            "since": dg.MetadataValue.timestamp(incident.since),
            "evidence": markdown.bullets(incident.evidence),
            "runbook": incident.runbook,
        },
    )


def evaluation(state: State, rules: Sequence[Rule], resource: str, now: datetime) -> dg.AssetCheckEvaluation:
    """The check `within_objective` of one resource: fails on a breach, warns where something is unknown.

    A source that is off was never read and is no part of it; one that was read and fell silent is unknown.
    """
    tracks = [
        (rule, state.tracks[rule.key]) for rule in rules if rule.resource == resource and rule.key in state.tracks
    ]
    bad = [rule.text for rule, track in tracks if track.raised]
    unknown = [
        f"{rule.source} {rule.metric}"
        for rule, track in tracks
        if track.silent or (track.at is not None and passed(rule, track, now.timestamp()) is None)
    ]
    words = "; ".join(bad) or (f"unknown: {', '.join(unknown)}" if unknown else "within the objectives")
    return dg.AssetCheckEvaluation(
        check_name=CHECK,
        asset_key=asset_key(resource),
        passed=not bad and not unknown,
        severity=dg.AssetCheckSeverity.ERROR if bad else dg.AssetCheckSeverity.WARN,
        description=words,
        metadata={"breaches": len(bad), "unknown": len(unknown)},
    )


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
        arming = read_arming(monitor.store, stack, monitor.clock())
    except (DrError, OSError) as error:
        context.log.exception(f"whether automatic failover of {stack} is armed cannot be read: it is taken to be off")
        return [], f"{note}; whether it is armed cannot be read: {error}"
    if isinstance(arming, Unarmed):
        if arming.damaged:
            context.log.warning(f"automatic failover of {stack} is off: {arming.reason}")
        return [], f"{note}; automatic failover is off: {arming.reason}"
    if job is None:
        return [], note
    try:
        conditions = monitor.preconditions(advice) if monitor.preconditions else ()
    except DrError as error:
        conditions = [Precondition("preconditions", None, str(error))]
    except Exception as error:  # a garbled answer, say: unknown, and no reason to lose the cursor of this tick
        context.log.exception("the preconditions of the automatic failover cannot be evaluated")
        conditions = [Precondition("preconditions", None, type(error).__name__)]
    against = refusals(advice, arming, conditions, monitor.clock(), monitor.vote)
    if against:
        context.log.error(f"automatic failover of {stack} is armed and refused: {'; '.join(against)}")
        return [], note
    config = {
        "plan": standing_token("armed", monitor.clock()),
        "approved_by": f"{arming.by}, who armed it until {utc.to_text(arming.until)}: {arming.why}",
        "operator": "automatic failover",
        "why": f"{incident.id}: {'; '.join(advice.reasons)}",
        "incident": True,
        "settings": {"lag_gate_ms": monitor.lag_gate_ms},
        "overrides": {"lag-gate": arming.why} if monitor.lag_gate_ms > LAG_GATE_MS else {},
        "from_site": advice.writer,
    }
    request = dg.RunRequest(
        run_key=f"failover-{incident.id}",  # once for each incident, whatever happens to this sensor
        job_name=job,
        run_config={"ops": {"failover_preconditions": {"config": config}}},
        tags={"dr/incident": incident.id, "dr/automatic": "true"},
    )
    return [request], note
