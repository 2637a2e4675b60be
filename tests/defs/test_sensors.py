"""The sensors as Dagster calls them: cursors, events, failed ticks."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from dr_assets import utc
from dr_assets.alerting.channels.channel import AlertRefused
from dr_assets.defs.definitions import build_definitions
from dr_assets.defs.drills.jobs import build_drill_jobs
from dr_assets.defs.monitoring.checks import CHECK, objective_checks
from dr_assets.defs.monitoring.runs import OWN_JOBS, is_own
from dr_assets.defs.monitoring.sensors import build_sensors
from dr_assets.defs.stack.assets import asset_key
from dr_assets.errors import DrError
from dr_assets.failover.arming import Precondition, arm
from dr_assets.failover.vote import Recommendation
from dr_assets.history.store import FolderStore
from dr_assets.monitoring.samples import Reading, Sample, Snapshot
from dr_assets.monitoring.state import State
from dr_assets.stack import Stack
from dr_assets.ticks.monitor import Monitor
from tests.support.monitoring import SENSORS, Recorder, S, at, healthy, sample

RECORDS = Path(__file__).resolve().parents[1] / "drills" / "data" / "records" / S


class FakePoller:
    """Yields the samples it is given."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self.more: tuple[Reading, ...] = ()
        self.when = at(0)

    def tick(self, max_age: float = 0.0) -> Snapshot:
        reading = Reading("fake", "us-east-1", "answered", self.when, samples=tuple(self.samples))
        return Snapshot(self.when, (reading, *self.more))


class Bench:
    """The sensors of one stack on a fake poller, an ephemeral instance, and a clock set by hand."""

    def __init__(self, stack: Stack, folder: Path, instance: dg.DagsterInstance, **more: Any) -> None:
        self.stack, self.instance = stack, instance
        self.store, self.sns, self.poller = FolderStore(folder), Recorder(), FakePoller()
        self.now = at(0)
        self.more = more
        self.cursors: dict[str, str | None] = {}
        self.restart()

    def restart(self, job: str | None = None) -> None:
        self.monitor = Monitor(
            self.stack,
            self.store,
            poller=self.poller,
            channels=[self.sns],
            clock=lambda: self.now,
            **self.more,  # type: ignore[arg-type]
        )
        self.sensors = {each.name: each for each in build_sensors(self.stack, lambda: self.monitor, job)}

    def tick(self, name: str, second: float = 0.0, samples: list[Sample] | None = None) -> Any:
        self.now = self.poller.when = at(second)
        self.poller.samples = samples or []
        context = dg.build_sensor_context(instance=self.instance, cursor=self.cursors.get(name), sensor_name=name)
        result = self.sensors[name].evaluate_tick(context)
        self.cursors[name] = result.cursor
        return result

    def at_now(self, moment: datetime) -> float:
        return (moment - at(0)).total_seconds()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def bench(stack: Stack, tmp_path: Path, instance: dg.DagsterInstance) -> Bench:
    return Bench(stack, tmp_path, instance)


def down(second: float) -> list[Sample]:
    return [*healthy(second, without=["primary/metric/connectivity"]), sample(second, 0.0)]


def test_all_start_stopped_tick_often_and_touch_nothing_at_load(stack: Stack) -> None:
    def never() -> Monitor:
        raise AssertionError("loading definitions must call nothing")

    sensors = build_sensors(stack, never)
    assert tuple(each.name for each in sensors) == SENSORS
    assert all(each.default_status == dg.DefaultSensorStatus.STOPPED for each in sensors)
    assert all(each.minimum_interval_seconds <= 10 for each in sensors if each.name != "drill_overdue")
    assert all(each.minimum_interval_seconds <= 20 for each in sensors)  # heartbeats may be 50 s apart
    dg.Definitions.validate_loadable(dg.Definitions(sensors=sensors))


def test_an_outage_alerts_once_with_observations_and_a_failed_check(bench: Bench) -> None:
    result = bench.tick("health_checks", 0, healthy(0))
    beats = [e for e in result.asset_events if isinstance(e, dg.AssetObservation)]
    assert {event.description for event in beats} == {"heartbeat"}
    assert bench.tick("health_checks", 5, healthy(5)).asset_events == []
    bench.tick("health_checks", 10, down(10))
    result = bench.tick("health_checks", 20, down(20))
    assert "writer-000001 opened" in result.skip_message
    assert bench.sns.keys == [f"{S}-writer-000001.opened"]
    checks = [e for e in result.asset_events if isinstance(e, dg.AssetCheckEvaluation)]
    assert [(e.check_name, e.passed, e.asset_key.path) for e in checks] == [
        (CHECK, False, ["primary", "aurora", "cluster"])
    ]
    told = [e.description for e in result.asset_events if isinstance(e, dg.AssetObservation)]
    assert f"incident {S}-writer-000001 opened" in told
    for second in range(30, 90, 5):
        result = bench.tick("health_checks", second, healthy(second))
    assert bench.sns.keys[-1] == f"{S}-writer-000001.resolved"


def test_case_d2_a_failed_delivery_is_an_error_of_the_tick_and_is_repeated_from_the_outbox(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.tick("health_checks", 0, down(0))
    bench.sns.errors = [AlertRefused("SNS says no")]
    result = bench.tick("health_checks", 10, down(10))
    assert "1 alerts wait for a channel" in result.skip_message
    assert "is not delivered through every channel and is tried again: SNS says no" in capsys.readouterr().err
    assert bench.store.list("outbox/") == [f"outbox/{S}/health_checks/{S}-writer-000001.opened.json"]
    bench.restart()
    bench.tick("health_checks", 15, down(15))
    assert bench.sns.keys == [f"{S}-writer-000001.opened"]


class Noted:
    """Heartbeats that only note the watcher and whether the daemon is known to run."""

    def __init__(self) -> None:
        self.beats: list[tuple[str, bool]] = []

    def beat(self, sensor: str, daemon_runs: Callable[[], bool]) -> None:
        self.beats.append((sensor, daemon_runs()))


@pytest.mark.parametrize("name", SENSORS)
def test_case_f7_a_completed_tick_of_each_sensor_is_a_heartbeat(
    stack: Stack, tmp_path: Path, instance: dg.DagsterInstance, name: str
) -> None:
    noted = Noted()
    bench = Bench(stack, tmp_path, instance, heartbeats=noted)
    bench.monitor.process_events = lambda cursor: (bench.monitor.observe("event_queue", cursor), [])  # type: ignore[method-assign]
    bench.tick(name, 0, healthy(0))
    assert noted.beats == [(name, False)]  # an ephemeral instance has no daemon


def test_case_f7_a_tick_with_an_alert_that_no_channel_took_is_no_heartbeat(
    stack: Stack, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    noted = Noted()
    bench = Bench(stack, tmp_path, instance, heartbeats=noted)
    bench.tick("health_checks", 0, down(0))
    bench.sns.errors = [AlertRefused("SNS says no")]
    bench.tick("health_checks", 10, down(10))
    assert len(noted.beats) == 1
    bench.tick("health_checks", 15, down(15))
    assert len(noted.beats) == 2


def test_case_f7_drills_are_judged_every_300_s_and_the_ticks_in_between_are_heartbeats(
    stack: Stack, tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = Noted()
    bench = Bench(stack, tmp_path, instance, heartbeats=noted)
    bench.tick("drill_overdue", 0)
    cursor, begun = bench.cursors["drill_overdue"], len(bench.sns.keys)
    with monkeypatch.context() as patch:
        for name in ("read", "list", "write"):
            patch.setattr(bench.store, name, None)  # a tick in between must not even ask the store
        for second in (20, 160, 299):
            bench.tick("drill_overdue", second)
    assert bench.cursors["drill_overdue"] == cursor and len(noted.beats) == 4
    for scenario in ("switchover", "failover", "failback"):
        record(bench, 1, scenario)
    bench.tick("drill_overdue", 300)
    assert len(bench.sns.keys) == begun + 3, "each resolved"
    judged = bench.cursors["drill_overdue"]
    bench.tick("drill_overdue", -100)  # the clock was set back: when it was judged last is unknown
    assert bench.cursors["drill_overdue"] != judged


def test_case_f7_an_overdue_drill_whose_alert_was_refused_is_alerted_at_the_next_tick(bench: Bench) -> None:
    bench.sns.errors = [AlertRefused("SNS says no")] * 3
    bench.tick("drill_overdue", 0)
    assert bench.sns.keys == []
    bench.sns.errors = []
    bench.tick("drill_overdue", 20)
    assert f"{S}-drills.switchover-000001.opened" in bench.sns.keys


def test_lag_belongs_to_another_sensor_and_both_read_the_same(bench: Bench) -> None:
    for second in range(0, 200, 20):
        late = sample(second, 90_000.0, "rpo-lag", "secondary")
        samples = [*healthy(second, without=["secondary/metric/rpo-lag"]), late]
        for name in ("replication_lag", "health_checks"):
            bench.tick(name, second, samples)
    assert bench.sns.keys == [f"{S}-replication-000001.opened"]
    assert "warned" not in bench.sns.sent[0].subject
    assert "a failover to the secondary site" in bench.sns.sent[0].text


@pytest.mark.parametrize("sensor", ["replication_lag", "health_checks"])
def test_an_outage_that_all_sensors_read_is_alerted_by_one(bench: Bench, sensor: str) -> None:
    other = {"replication_lag": "health_checks", "health_checks": "replication_lag"}[sensor]
    for second in range(0, 300, 10):
        bad = (
            [*down(second), sample(second, 90_000.0, "rpo-lag", "secondary", "sql")]
            if 20 <= second < 200
            else healthy(second)
        )
        bench.tick(sensor, second, bad)
        bench.tick(other, second, bad)
    assert bench.sns.keys == [f"{S}-writer-000001.opened", f"{S}-writer-000001.resolved"]


# --- runs, drift, drills --------------------------------------------------------------------------------------------------


def run_job(
    instance: dg.DagsterInstance, name: str, fails: bool, drifted: tuple[str, ...] = (), stack: str = S
) -> None:
    @dg.op(name="only")
    def only(context) -> None:  # type: ignore[no-untyped-def]  # Dagster reads annotations at run time
        for key in drifted:
            context.log_event(
                dg.AssetCheckEvaluation(
                    check_name="matches", asset_key=asset_key(key), passed=False, description="differs in Enabled"
                )
            )
        if fails:
            raise dg.Failure("on purpose")

    @dg.job(name=name, tags={"dr/stack": stack})
    def job() -> None:
        only()

    job.execute_in_process(instance=instance, raise_on_error=False)


@pytest.fixture
def now(bench: Bench) -> Callable[[], float]:
    return lambda: bench.at_now(utc.now())


def test_a_failed_run_alerts_once_until_the_job_succeeds(
    bench: Bench, instance: dg.DagsterInstance, now: Callable[[], float]
) -> None:
    bench.tick("run_failure", now())
    run_job(instance, "some_job", fails=True)
    run_job(instance, "other_job", fails=True)
    for _ in range(3):
        bench.tick("run_failure", now())
    assert sorted(bench.sns.keys) == [f"{S}-runs.other_job-000001.opened", f"{S}-runs.some_job-000001.opened"]
    run_job(instance, "some_job", fails=True)
    bench.tick("run_failure", now())
    assert len(bench.sns.keys) == 2
    run_job(instance, "some_job", fails=False)
    bench.tick("run_failure", now())
    bench.tick("run_failure", now())
    assert bench.sns.keys[-1] == f"{S}-runs.some_job-000001.resolved"
    assert len(bench.sns.keys) == 3


def store_run(
    instance: dg.DagsterInstance,
    job: str,
    status: dg.DagsterRunStatus,
    hours: float = 0.0,
    location: str = "",
    **more: Any,
) -> str:
    """A run as another process leaves it in the run storage: in that status, begun some hours ago, launched in that location."""
    from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
    from dagster._core.test_utils import create_run_for_test

    if not location:
        more.setdefault("tags", {"dr/stack": S})
    else:
        repository = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin(location), "__repository__")
        more["remote_job_origin"] = RemoteJobOrigin(repository, job)
    run = create_run_for_test(instance, job_name=job, status=dg.DagsterRunStatus.STARTING, **more)
    begun = time.time() - hours * 3600
    for kind, moment in ((dg.DagsterEventType.RUN_START, begun), (_ENDING.get(status), time.time())):
        if kind is not None:
            event = dg.DagsterEvent(event_type_value=kind.value, job_name=job, message="")
            entry = dg.EventLogEntry(
                error_info=None,
                level="debug",
                user_message="",
                run_id=run.run_id,
                timestamp=moment,
                job_name=job,
                dagster_event=event,
            )
            instance.handle_new_event(entry)
    return str(run.run_id)


_ENDING = {dg.DagsterRunStatus.CANCELED: dg.DagsterEventType.RUN_CANCELED}


def test_aws_26_a_cancelled_run_alerts_until_the_job_succeeds(
    bench: Bench, instance: dg.DagsterInstance, now: Callable[[], float]
) -> None:
    bench.tick("run_failure", now())
    run = store_run(instance, "provision_stack", dg.DagsterRunStatus.CANCELED)
    bench.tick("run_failure", now())
    assert bench.sns.keys == [f"{S}-runs.provision_stack-000001.opened"]
    assert f"run {run} was cancelled" in bench.sns.sent[0].text
    run_job(instance, "provision_stack", fails=False)
    bench.tick("run_failure", now())
    assert bench.sns.keys[-1] == f"{S}-runs.provision_stack-000001.resolved"


def test_case_b5_a_drill_whose_worker_is_gone_alerts_although_dagster_shows_it_as_started(
    bench: Bench, instance: dg.DagsterInstance, now: Callable[[], float]
) -> None:
    store_run(instance, "provision_stack", dg.DagsterRunStatus.STARTED, hours=2)
    store_run(instance, "switchover_drill", dg.DagsterRunStatus.STARTED, hours=0.5)
    bench.tick("run_failure", now())
    assert bench.sns.keys == []
    run = store_run(instance, "failover_drill", dg.DagsterRunStatus.STARTED, hours=2)
    bench.tick("run_failure", now())
    bench.tick("run_failure", now())
    assert bench.sns.keys == [f"{S}-runs.failover_drill-000001.opened"]
    assert f"run {run} has been STARTED for 2.0 h; its worker may be gone" in bench.sns.sent[0].text


def test_case_b5_other_teams_runs_on_a_shared_instance_raise_no_alert_and_hide_none_of_ours(
    bench: Bench, instance: dg.DagsterInstance, now: Callable[[], float]
) -> None:
    bench.tick("run_failure", now())
    for n in range(60):
        store_run(instance, f"nightly_{n}", dg.DagsterRunStatus.STARTED, hours=9, location="analytics")
    store_run(instance, "nightly", dg.DagsterRunStatus.CANCELED, location="analytics")
    store_run(instance, "failover_drill", dg.DagsterRunStatus.STARTED, hours=9, tags={"dr/stack": "other000"})
    bench.tick("run_failure", now())
    assert bench.sns.keys == []
    store_run(instance, "switchover_drill", dg.DagsterRunStatus.STARTED, hours=2)
    bench.tick("run_failure", now())
    assert bench.sns.keys == [f"{S}-runs.switchover_drill-000001.opened"]


def test_case_b5_any_number_of_others_runs_that_end_at_once_never_holds_ours_back(
    bench: Bench, instance: dg.DagsterInstance, now: Callable[[], float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dr_assets.defs.monitoring.runs.PAGE", 20)
    bench.tick("run_failure", now())
    for n in range(130):  # as when somebody cancels a backfill
        store_run(instance, f"nightly_{n}", dg.DagsterRunStatus.CANCELED, location="analytics")
    store_run(instance, "provision_stack", dg.DagsterRunStatus.CANCELED)
    bench.tick("run_failure", now())
    assert bench.sns.keys == [f"{S}-runs.provision_stack-000001.opened"]


def test_case_b5_a_tick_that_reads_its_fill_goes_on_from_there_in_the_next(
    bench: Bench, instance: dg.DagsterInstance, now: Callable[[], float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dr_assets.defs.monitoring.runs.PAGE", 4)
    monkeypatch.setattr("dr_assets.defs.monitoring.runs.PAGES", 2)
    monkeypatch.setattr("dr_assets.defs.monitoring.runs.OVERLAP", 3)
    bench.tick("run_failure", now())
    for n in range(18):
        store_run(instance, f"nightly_{n}", dg.DagsterRunStatus.CANCELED, location="analytics")
    store_run(instance, "provision_stack", dg.DagsterRunStatus.CANCELED)
    ticks = 0
    while not bench.sns.keys and ticks < 12:
        bench.tick("run_failure", now())
        ticks += 1
    assert bench.sns.keys == [f"{S}-runs.provision_stack-000001.opened"]
    assert ticks > 1


def test_case_b5_a_run_is_read_although_dagster_s_database_was_replaced(
    bench: Bench, instance: dg.DagsterInstance, now: Callable[[], float]
) -> None:
    for n in range(5):
        store_run(instance, f"nightly_{n}", dg.DagsterRunStatus.CANCELED, location="analytics")
    bench.tick("run_failure", now())
    with dg.DagsterInstance.ephemeral() as other:
        bench.instance = other
        store_run(other, "provision_stack", dg.DagsterRunStatus.CANCELED)
        bench.tick("run_failure", now())
    assert bench.sns.keys == [f"{S}-runs.provision_stack-000001.opened"]


def test_case_b5_an_event_that_was_committed_late_is_read(
    bench: Bench, instance: dg.DagsterInstance, now: Callable[[], float]
) -> None:
    store_run(instance, "provision_stack", dg.DagsterRunStatus.CANCELED)
    ids = [instance.fetch_run_status_changes(dg.DagsterEventType.RUN_CANCELED, limit=1).records[0].storage_id]
    # A cursor that has read the id after it, as where PostgreSQL commits the two in the other order.
    memory = {"since": time.time(), "run_events": {"PIPELINE_CANCELED": ids[0] + 1}}
    store_run(instance, "nightly", dg.DagsterRunStatus.CANCELED, location="analytics")
    bench.cursors["run_failure"] = json.dumps({"schema": "dr-assets/sensor-state/1", "heartbeat": 0.0, "more": memory})
    bench.tick("run_failure", now())
    assert bench.sns.keys == [f"{S}-runs.provision_stack-000001.opened"]


def test_case_b5_a_cursor_of_the_former_version_goes_on_from_its_time(
    bench: Bench, instance: dg.DagsterInstance, now: Callable[[], float]
) -> None:
    bench.cursors["run_failure"] = (
        f'{{"schema":"dr-assets/sensor-state/1","heartbeat":0.0,"more":{{"since":{time.time() - 600}}}}}'
    )
    store_run(instance, "provision_stack", dg.DagsterRunStatus.CANCELED)
    bench.tick("run_failure", now())
    assert bench.sns.keys == [f"{S}-runs.provision_stack-000001.opened"]


def test_case_f1_another_stack_s_verification_opens_nothing(
    bench: Bench, instance: dg.DagsterInstance, now: Callable[[], float]
) -> None:
    bench.tick("drift", now())
    run_job(instance, "verify_stack", fails=False, drifted=("primary/aurora/cluster",), stack="other000")
    bench.tick("drift", now())
    assert bench.sns.keys == []


@pytest.mark.parametrize(
    ("tags", "location", "repository", "own"),
    [
        ({"dr/stack": S}, "", "", True),
        ({"dr/stack": "other000"}, "dr-assets", "__repository__", False),
        ({}, "dr-assets", "__repository__", True),
        ({}, "dr-assets", "other_repository", False),
        ({}, "analytics", "__repository__", False),
        ({}, "", "", False),
    ],
)
def test_case_f2_a_run_is_ours_by_its_tag_or_its_repository(
    stack: Stack, tags: dict[str, str], location: str, repository: str, own: bool
) -> None:
    def origin(name: str) -> SimpleNamespace:
        return SimpleNamespace(location_name=name)

    context = SimpleNamespace(code_location_origin=origin("dr-assets"), repository_name="__repository__")
    launched = SimpleNamespace(
        repository_origin=SimpleNamespace(code_location_origin=origin(location), repository_name=repository)
    )
    run: Any = SimpleNamespace(tags=tags, job_name="verify_stack", remote_job_origin=launched if location else None)
    assert is_own(context, stack, run) is own
    if not tags:  # a sensor outside any code location knows no run without a tag
        context.code_location_origin = None
        assert not is_own(context, stack, run)


def test_every_job_carries_the_tag_of_its_stack(stack: Stack) -> None:
    for job in build_definitions(stack).jobs or ():
        assert (job.tags or {}).get("dr/stack") == S, job.name  # type: ignore[union-attr]


def test_every_job_of_the_definitions_is_one_of_ours(stack: Stack) -> None:
    jobs = {job.name for job in build_definitions(stack).jobs or ()}
    assert jobs == set(OWN_JOBS)


def test_case_b5_a_drill_that_waits_to_be_resumed_alerts_until_it_has_ended(bench: Bench) -> None:
    for scenario in ("switchover", "failover", "failback"):
        record(bench, 1, scenario)
    key = f"drills/{S}/20261101T000000Z-failover-abc123.json"
    journal = {"schema": "dr-assets/journal/1", "id": "20261101T000000Z-failover-abc123", "stack": S}
    bench.store.write(key, json.dumps(journal).encode())
    bench.tick("drill_overdue", 0)
    assert bench.sns.keys == [f"{S}-drills.unfinished-000001.opened"]
    assert "20261101T000000Z-failover-abc123: run `dr drill resume`" in bench.sns.sent[0].text
    bench.store.write(key, json.dumps({**journal, "ended": "2026-11-01T01:00:00Z"}).encode())
    bench.tick("drill_overdue", 300)
    assert bench.sns.keys[-1] == f"{S}-drills.unfinished-000001.resolved"


def test_drift_that_verification_found_names_the_lost_capability(
    bench: Bench, instance: dg.DagsterInstance, now: Callable[[], float]
) -> None:
    bench.tick("drift", now())
    run_job(instance, "verify_stack", fails=False, drifted=("secondary/encryption/data-key",))
    for _ in range(3):
        bench.tick("drift", now())
    assert bench.sns.keys == [f"{S}-drift.encryption.secondary-000001.opened"]
    text = bench.sns.sent[0].text
    assert "a failover would leave an unreadable cluster" in text
    assert "matches: differs in Enabled" in text


def record(bench: Bench, days_ago: float, scenario: str, status: str = "succeeded") -> None:
    """Store a record that a real drill left (tests/drills/data), moved in time, as another drill of that scenario and status."""
    body = json.loads((RECORDS / "000001.json").read_bytes())
    move = at(0) - timedelta(days=days_ago) - utc.parse(body["ended_at"])
    number = len(bench.store.list(f"records/{S}/")) + 1
    for entry, *names in ((body, "started_at", "ended_at"), (body["exposure"], "from", "until")):
        entry |= {name: utc.to_text(utc.parse(entry[name]) + move) for name in names}
    for entry in body["timeline"]:
        entry["at"] = utc.to_text(utc.parse(entry["at"]) + move)
    reason = None if status == "succeeded" else "the lag was too high"
    body |= {"id": f"{body['id']}{number}", "scenario": scenario, "status": status, "reason": reason}
    del body["hash"]
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"))
    body["hash"] = hashlib.sha256(canonical.encode()).hexdigest()
    bench.store.write(f"records/{S}/{number:06d}.json", json.dumps(body).encode())


def test_overdue_drills_and_stale_proof(bench: Bench) -> None:
    for scenario in ("switchover", "failover", "failback"):
        record(bench, 10, scenario)
    bench.tick("drill_overdue", 0)
    assert bench.sns.keys == []
    record(bench, 1, "switchover", status="failed")  # proves nothing
    bench.tick("drill_overdue", 26 * 86400.0)
    assert bench.sns.keys == [f"{S}-drills.switchover-000001.opened"]
    record(bench, -26, "switchover")
    bench.tick("drill_overdue", 27 * 86400.0)
    assert bench.sns.keys[-1] == f"{S}-drills.switchover-000001.resolved"


def test_what_was_never_drilled_is_overdue(bench: Bench) -> None:
    bench.tick("drill_overdue", 0)
    bench.tick("drill_overdue", 300)
    assert sorted(bench.sns.keys) == [
        f"{S}-drills.{name}-000001.opened" for name in ("failback", "failover", "switchover")
    ]
    assert "ever succeeded" in bench.sns.sent[0].text


def test_a_change_after_the_last_proof_makes_it_stale(
    bench: Bench, instance: dg.DagsterInstance, now: Callable[[], float]
) -> None:
    started = bench.at_now(utc.now()) / 86400
    for scenario in ("switchover", "failover", "failback"):
        record(bench, -started + 0.01, scenario)
    bench.tick("drill_overdue", now())
    assert bench.sns.keys == []

    @dg.asset(key=asset_key("secondary/encryption/data-key"))
    def key() -> dg.MaterializeResult[Any]:
        return dg.MaterializeResult(metadata={"status": "updated"})

    job = dg.Definitions(
        assets=[key], jobs=[dg.define_asset_job("provision_stack", selection="*", tags={"dr/stack": S})]
    )
    job.resolve_job_def("provision_stack").execute_in_process(instance=instance)
    bench.tick("drill_overdue", now() + 300)
    assert bench.sns.keys == [f"{S}-drills.readiness-000001.opened"]
    assert "secondary/encryption/data-key was updated" in bench.sns.sent[0].text


# --- automatic failover ------------------------------------------------------------------------------------------------------


def outage(second: float) -> list[Sample]:
    gone = [f"primary/{name}" for name in ("metric/connectivity", "alarm/connectivity", "region/answers")]
    bad = [sample(second, 0.0), sample(second, 0.0, source="sql"), sample(second, 0.0, "answers", source="region")]
    return [*healthy(second, without=gone), *bad]


def holds(advice: Recommendation) -> list[Precondition]:
    return [Precondition("target-usable", True)]


def garbled(advice: Recommendation) -> list[Precondition]:
    raise KeyError("DBClusterMembers")


@pytest.mark.parametrize(
    ("is_armed", "job", "conditions", "launches"),
    [
        (True, "failover_drill", holds, True),
        (False, "failover_drill", holds, False),
        (True, None, holds, False),
        (True, "failover_drill", None, False),
        (True, "failover_drill", lambda _: [Precondition("lag", None, "?")], False),
        (True, "failover_drill", garbled, False),
    ],
)
def test_automatic_failover_is_off_unless_every_condition_holds(
    stack: Stack,
    tmp_path: Path,
    instance: dg.DagsterInstance,
    is_armed: bool,
    job: str | None,
    conditions: Any,
    launches: bool,
) -> None:
    bench = Bench(stack, tmp_path, instance, preconditions=conditions)
    bench.restart(job)
    if is_armed:
        arm(bench.store, S, at(-10), at(1000), "Ann", "night shift")
    requests = []
    for second in range(0, 60, 10):
        result = bench.tick("health_checks", second, outage(second))
        requests += result.run_requests or []
    assert {request.run_key for request in requests} == ({f"failover-{S}-writer-000001"} if launches else set())
    if launches:
        config = requests[0].run_config["ops"]["failover_preconditions"]["config"]
        assert config["approved_by"].startswith("Ann")
        assert config["plan"].startswith("armed@")
        assert config["overrides"] == {"lag-gate": "night shift"}
        assert config["incident"] is True


def test_case_b2_with_the_writer_outside_both_sites_no_failover_is_recommended(bench: Bench) -> None:
    snapshot = Snapshot(at(0), (Reading("fake", "us-east-1", "answered", at(0), samples=tuple(outage(0))),))
    state = State.empty().updated(roles={S: ("primary", at(0).timestamp())})
    assert bench.monitor.advise(state, snapshot).advice == "failover"
    found = bench.monitor.advise(state.updated(roles={S: ("outside", at(0).timestamp())}), snapshot)
    assert found.advice == "hold" and "outside both sites" in found.reasons[0]
    assert not [line for line in found.lines() if "dr drill failover" in line]


def test_the_alert_carries_the_recommendation(bench: Bench) -> None:
    for second in (0, 10, 20):
        bench.tick("health_checks", second, outage(second))
    (opened,) = [alert for alert in bench.sns.sent if alert.step == "opened"]
    assert (
        "- recommendation: failover: 3 of 5 sources report the writer at primary down (probe, topology, sql)"
        in opened.text
    )
    assert '- launch: dr drill failover --incident --why "..."' in opened.text
    assert "- sql reports down, 0 s old (value 0)" in opened.text


def test_the_definitions_sensor_evaluates_the_preconditions_itself(
    stack: Stack, tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the project's definitions wire it: no monitor is given, and AWS cannot be asked."""
    monkeypatch.setenv("DR_HISTORY_URI", str(tmp_path))
    asked: list[Recommendation] = []

    def conditions(self: Monitor, advice: Recommendation) -> list[Precondition]:
        asked.append(advice)
        return holds(advice)

    poller = FakePoller()
    monkeypatch.setattr(Monitor, "failover_conditions", conditions)
    monkeypatch.setattr("dr_assets.ticks.monitor.Poller", lambda *_: poller)
    monkeypatch.setattr("dr_assets.ticks.monitor.open_channels", lambda *_: [Recorder()])
    arm(FolderStore(tmp_path), S, utc.now(), utc.now() + timedelta(hours=1), "Ann", "night shift")
    sensor = next(each for each in build_sensors(stack, failover_job="failover_drill") if each.name == "health_checks")
    cursor, requests, begin = None, [], at(0)
    for second in (0, 10, 20):
        shift = utc.now() - begin - timedelta(seconds=20 - second)
        poller.samples = [replace(sample, at=sample.at + shift) for sample in outage(0)]
        result = sensor.evaluate_tick(dg.build_sensor_context(instance=instance, cursor=cursor))
        cursor, requests = result.cursor, [*requests, *(result.run_requests or [])]
    assert requests
    assert asked[0].target == "secondary"
    job = next(job for job in build_drill_jobs(stack) if job.name == "failover_drill")
    assert dg.validate_run_config(job, requests[0].run_config)


def test_an_arming_that_cannot_be_read_arms_nothing_and_fails_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise DrError("no answer")

    bench.monitor.preconditions = holds
    bench.restart("failover_drill")
    arm(bench.store, S, at(-10), at(1000), "Ann", "night shift")
    monkeypatch.setattr("dr_assets.defs.monitoring.sensors.read_arming", refuse)
    for second in (0, 10, 20):
        assert not bench.tick("health_checks", second, outage(second)).run_requests
    assert bench.sns.keys == [f"{S}-writer-000001.opened"]


# --- what is declared -----------------------------------------------------------------------------------------------------


def test_declared_checks_are_exactly_those_that_are_emitted(
    bench: Bench, instance: dg.DagsterInstance, now: Callable[[], float]
) -> None:
    """Every sensor, with every subject bad and good, drifted and failed and overdue: Dagster would take any name."""
    emitted: dict[tuple[str, str], set[str]] = {}

    def tick(name: str, second: float, samples: list[Sample]) -> None:
        for event in bench.tick(name, second, samples).asset_events:
            if isinstance(event, dg.AssetCheckEvaluation):
                emitted.setdefault((event.check_name, "/".join(event.asset_key.path)), set()).add(name)

    run_job(instance, "verify_stack", fails=True, drifted=("secondary/encryption/data-key", "primary/aurora/cluster"))
    begin = now()
    for writer in ("primary", "secondary"):
        for step in range(12):
            second = begin + step * 60 + (10_000 if writer == "secondary" else 0)
            samples = healthy(second, writer)
            if step % 4 == 3:
                samples = [
                    replace(
                        s,
                        raw=None
                        if s.raw is None
                        else 1.0
                        if s.metric == "role"
                        else 0.0
                        if s.quantity.unit != "ms"
                        else 1e6,
                    )
                    if s.metric != "role"
                    else s
                    for s in samples
                ]
            for name in SENSORS:
                if name != "event_queue":  # asks AWS: the embedded one has tests of its own
                    tick(name, second, samples)
    declared = {(spec.name, "/".join(spec.asset_key.path)) for spec in objective_checks(bench.stack)}
    assert set(emitted) == declared
    assert {name for names in emitted.values() for name in names} == {"health_checks", "replication_lag"}


def test_a_drifted_resource_does_not_pass_for_one_within_its_objectives(
    bench: Bench, instance: dg.DagsterInstance, now: Callable[[], float]
) -> None:
    bench.tick("drift", now())
    run_job(instance, "verify_stack", fails=False, drifted=("primary/aurora/cluster",))
    for _ in range(2):
        result = bench.tick("drift", now())
        assert not [event for event in result.asset_events if isinstance(event, dg.AssetCheckEvaluation)]
        assert not [event for event in result.asset_events if event.description == "heartbeat"]


def test_sensors_that_read_the_same_report_it_to_the_log_once(bench: Bench) -> None:
    seen: dict[str, list[str]] = {}
    for second in range(0, 60, 10):
        for name in ("replication_lag", "health_checks"):
            events = bench.tick(name, second, healthy(second) if second < 20 else down(second)).asset_events
            found = [e.description for e in events if isinstance(e, dg.AssetObservation) and "crossed" in e.description]
            seen.setdefault(name, []).extend(found)
    assert seen == {"health_checks": ["The writer does not accept writes: crossed"], "replication_lag": []}


# --- what stands beside a tick --------------------------------------------------------------------------------------------


def test_the_lag_that_was_read_reaches_the_day_s_history(bench: Bench) -> None:
    from dr_assets.history import sample_buffer as seen

    sql = sample(12, 350.0, "rpo-lag", "secondary", "sql")
    lost = sample(14, None, "rpo-lag", "secondary", "sql")
    for second, more in ((0, []), (5, [sql]), (10, [lost])):
        for name in ("replication_lag", "health_checks"):  # one snapshot each, taken twice
            bench.tick(name, second, [*healthy(second), *more])
            bench.monitor._recorder.wait(10)
    bench.monitor._recorder._buffer.flush()  # type: ignore[union-attr]
    problems: list[str] = []
    table, keys = seen.collect(bench.store, S, "lag", at(0).date(), problems)
    rows = {(row["source"], row["metric"], row["site"], row["value"]) for row in table.to_pylist()}
    assert rows == {
        ("metric", "replication-lag", "secondary", 900.0),
        ("metric", "rpo-lag", "secondary", 900.0),
        ("sql", "rpo-lag", "secondary", 350.0),
        ("sql", "rpo-lag", "secondary", None),
    }
    assert (len(keys), problems) == (1, [])


def test_a_history_that_refuses_or_hangs_alerts_and_neither_fails_nor_delays_a_tick(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()

    def add(self: Any, rows: Any) -> None:
        release.wait(20)
        raise DrError("s3 put_object failed: AccessDenied")

    monkeypatch.setattr("dr_assets.history.sample_buffer.SampleBuffer.add", add)
    started = time.monotonic()
    bench.tick("health_checks", 0, healthy(0))
    bench.tick("health_checks", 5, healthy(5))
    assert time.monotonic() - started < 15.0  # it would hang for 20
    release.set()
    for second in range(10, 120, 10):
        bench.monitor._recorder.wait(10)
        bench.tick("health_checks", second, healthy(second))
    assert bench.sns.keys == [f"{S}-sources.store-000001.opened"]
    assert "The history store refuses" in bench.sns.sent[0].text
    assert "AccessDenied" in bench.sns.sent[0].text


def test_a_source_that_is_not_permitted_is_named_in_the_evidence_and_in_the_tick(bench: Bench) -> None:
    problem = "cloudwatch get_metric_data in us-east-1 is not permitted: AccessDenied (request id 123)"
    refused = Reading("metric", "us-east-1", "error", at(0), problem=problem)
    bench.poller.more = (refused,)
    for second in range(0, 130, 10):
        result = bench.tick("health_checks", second, healthy(second, without=["primary/metric/connectivity"]))
    assert bench.sns.keys == [f"{S}-sources.primary-000001.opened"]
    assert "AccessDenied (request id 123)" in bench.sns.sent[0].text
    assert "AccessDenied (request id 123)" in result.skip_message
