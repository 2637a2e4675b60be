"""Drills against the embedded AWS with a real PostgreSQL pair behind it: what is lost, how long, and never twice."""

import json
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest

from dr_assets import utc
from dr_assets.aws import Aws
from dr_assets.core.freshness import Known
from dr_assets.defs.definitions import build_definitions
from dr_assets.drills import record, runner
from dr_assets.drills.approval import token
from dr_assets.drills.aws_view import AwsView
from dr_assets.drills.journal import unfinished
from dr_assets.drills.parts import Override
from dr_assets.drills.plan import STEPS
from dr_assets.drills.record_document import Record
from dr_assets.drills.request import Request
from dr_assets.drills.steps import StepFailedError
from dr_assets.emulator import EmbeddedAws
from dr_assets.errors import DrError, RefusedError
from dr_assets.history.store import FolderStore
from dr_assets.lost_writes.compare import propose
from dr_assets.reconcile import service
from dr_assets.stack import Stack
from tests.support.answers import answering
from tests.support.approvals import start
from tests.support.drills import FAST, ROWS, connect_as, killed_at, moves, request, secret, sql, sql_connection, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

STALLED = (Override(precondition="lag", reason="replication was stalled on purpose", by="tester"),)


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "history")


def test_a_switchover_loses_nothing_and_a_failback_brings_the_writer_home(
    aws: EmbeddedAws, stack: Stack, store: FolderStore
) -> None:
    for scenario, writer in (("switchover", "secondary"), ("failback", "primary")):
        written = start(stack, store, request(scenario))
        assert (written.status, written.reason) == ("succeeded", None)
        assert written.rpo.lost_commits == 0
        assert written.rpo.acknowledged > 20
        assert written.rto.met is True
        assert sum(written.rto.parts.model_dump().values()) == pytest.approx(written.rto.high_seconds)
        assert 0 <= written.rto.low_seconds <= written.rto.high_seconds < 60
        marks = {entry.mark for entry in written.timeline}
        assert marks >= {"T0", "T2", "T3", "T4", "T5", "T6"}
        texts = [entry.text for entry in written.timeline if entry.source == "RDS event"]
        assert any("was successfully promoted" in text for text in texts)
        assert aws.control.database()["writer"] == writer
        assert record.validate(written.to_json()) == []
    assert record.verify_chain(store, stack.environment_suffix) == []
    assert moves(aws) == ["SwitchoverGlobalCluster"] * 2
    assert service.verify(stack).in_sync


def test_the_interval_agrees_with_what_an_independent_client_saw(
    aws: EmbeddedAws, stack: Stack, store: FolderStore
) -> None:
    """A client of its own, straight at both servers. Between its first failure at the old writer and its last at the new one
    nobody could write, so RTO's upper bound must cover that (and DNS besides)."""
    addresses = aws.control.database()["addresses"]
    found = secret(stack)
    seen: list[tuple[float, float, str, bool]] = []
    ending = threading.Event()

    def client(site: str) -> None:
        connection: Any = None
        while not ending.is_set():
            begun = time.time()
            try:
                connection = connection or connect_as(found, addresses[site])
                connection.execute("create temporary table gap (i int); drop table gap")
                good = True
            except psycopg.Error:
                connection, good = None, False
            seen.append((begun, time.time(), site, good))
            time.sleep(0.01)

    threads = [threading.Thread(target=client, args=(site,)) for site in addresses]
    for thread in threads:
        thread.start()
    try:
        written = start(stack, store, request("switchover"))
    finally:
        ending.set()
        for thread in threads:
            thread.join()
    stopped = max(ended for _, ended, site, good in seen if site == "primary" and good)
    began = min(ended for _, ended, site, good in seen if site == "secondary" and good)
    assert began > stopped, "two writers"
    first = min(ended for begun, ended, site, good in seen if site == "primary" and not good and begun >= stopped)
    last = max(begun for begun, ended, site, good in seen if site == "secondary" and not good and ended <= began)
    assert last - first <= written.rto.high_seconds
    assert written.rto.low_seconds <= written.rto.high_seconds


def test_a_failover_counts_exactly_what_was_lost_and_names_the_rows(
    aws: EmbeddedAws, stack: Stack, store: FolderStore, tmp_path: Path
) -> None:
    """Replication stalls during the drill; an independent query at both servers gives the same count."""
    addresses = aws.control.database()["addresses"]
    sql(stack, addresses["primary"], "create table if not exists orders (id int primary key, amount int)")
    stalled = threading.Event()

    def stall(step: str, text: str) -> None:
        if step == "act" and not stalled.is_set():
            stalled.set()
            aws.control.database("partition")
            sql(stack, addresses["primary"], "insert into orders values (1, 10), (2, 20)")
            time.sleep(1.0)  # commits are acknowledged and go nowhere
            aws.control.database("hold_rebuild")
            threading.Timer(4.0, heal).start()

    def heal() -> None:
        aws.control.database("heal")
        aws.control.database("hold_rebuild", on=False)

    written = start(stack, store, request("failover"), stall)
    assert written.status == "succeeded", written.reason
    quarantined = aws.control.database("quarantined", site="primary")["quarantined"]
    old = set(sql(stack, quarantined, ROWS, written.id))
    new = set(sql(stack, addresses["secondary"], ROWS, written.id))
    assert len(old - new) >= 20
    assert written.rpo.lost_commits + written_unknown(store, stack, written) >= len(old - new)
    assert written.rpo.lost_commits == len((old - new) & acknowledged(store, stack, written))
    assert written.rpo.lost_seconds > 0.5
    assert written.exposure.seconds > 3
    assert service.verify(stack).in_sync

    with sql_connection(stack, quarantined) as before, sql_connection(stack, addresses["secondary"]) as after:
        proposal = propose(before, after, tmp_path / "lost.jsonl", exclude_schemas=("dr_heartbeat",))
    lines = [json.loads(line) for line in (tmp_path / "lost.jsonl").read_text().splitlines()]
    lost = [line for line in lines if line.get("action") == "insert"]
    assert [line["key"] for line in lost if line["table"] == "public.orders"] == [{"id": "1"}, {"id": "2"}]
    mine = [line["key"] for line in lost if line["table"] == "dr_drill.dr_ledger"]
    assert {(int(k["writer"]), int(k["seq"])) for k in mine if k["drill"] == written.id} == old - new
    assert proposal.insert == len(lost)
    assert sql(stack, addresses["secondary"], "select count(*) from orders") == [(0,)]


def acknowledged(store: FolderStore, stack: Stack, written: Record) -> set[tuple[int, int]]:
    text = store.read(f"drills/{stack.environment_suffix}/{written.id}-ledger.jsonl").decode()
    entries = [json.loads(line) for line in text.splitlines() if line]
    return {(entry["w"], entry["s"]) for entry in entries if entry["fate"] == "acknowledged"}


def written_unknown(store: FolderStore, stack: Stack, written: Record) -> int:
    text = store.read(f"drills/{stack.environment_suffix}/{written.id}-ledger.jsonl").decode()
    return sum('"unknown"' in line for line in text.splitlines())


def test_with_the_writers_region_dark_the_recovery_needs_nothing_of_it(
    aws: EmbeddedAws, stack: Stack, store: FolderStore
) -> None:
    dark = threading.Event()

    def fail(step: str, text: str) -> None:
        if step == "act" and not dark.is_set():
            dark.set()
            aws.control.fault("dark", region=stack.primary_region)
            aws.control.database("kill", site="primary")
        if step == "protected":
            aws.control.clear_faults()

    written = start(stack, store, request("failover"), fail)
    assert written.status == "succeeded", written.reason
    recovery = [call for call in written.calls if call.phase == "recovery"]
    assert {call.region for call in recovery} == {stack.secondary_region}
    assert {call.service for call in recovery} == {"rds"}
    assert written.rto.high_seconds < 60
    verdict = [entry.text for entry in written.timeline if "old writer was" in entry.text]
    assert "unreachable" in verdict[0]


def test_an_old_writer_that_still_accepts_writes_fails_the_drill(
    aws: EmbeddedAws, stack: Stack, store: FolderStore
) -> None:
    aws.control.database("fail_fencing")
    aws.control.database("hold_rebuild")

    def release(step: str, text: str) -> None:
        if step == "protected":
            aws.control.database("hold_rebuild", on=False)

    written = start(stack, store, request("failover"), release)
    assert written.status == "failed"
    assert "old-writer-refuses: the old writer accepted a write" in written.reason
    assert written.corrective_actions


@pytest.mark.parametrize("endpoint", ["unresolved", "resolves"])
def test_aws_03_three_drills_pass_whether_or_not_the_inactive_writer_endpoint_resolves(
    aws: EmbeddedAws, stack: Stack, store: FolderStore, endpoint: str
) -> None:
    """A secondary's DescribeDBClusters has no Endpoint (terraform-provider-aws#14219), its writer endpoint is inactive, and a
    promotion may pick any instance of the target."""
    promoted = "last" if endpoint == "resolves" else "first"
    with answering(aws.control, inactive_writer_endpoint=endpoint, promoted_instance=promoted):
        for scenario, writer in (("switchover", "secondary"), ("failback", "primary"), ("failover", "secondary")):
            written = start(stack, store, request(scenario))
            assert (written.status, written.reason) == ("succeeded", None)
            assert aws.control.database()["writer"] == writer
            assert {entry.mark for entry in written.timeline} >= {"T0", "T3", "T4", "T5", "T6"}
            assert written.rto.met is True


@pytest.mark.parametrize("covered", [False, True])
def test_aws_25_a_switchover_passes_whether_or_not_certificates_cover_the_global_writer_endpoint(
    aws: EmbeddedAws, stack: Stack, store: FolderStore, covered: bool
) -> None:
    """Not documented by AWS: where not, the name of the cluster behind it is verified, from a list that AWS's API gave."""
    with answering(aws.control, certificate_names_global_endpoint=covered):
        for scenario in ("switchover", "failback"):
            written = start(stack, store, request(scenario))
            assert (written.status, written.reason) == ("succeeded", None)
            assert written.rto.met is True


@pytest.mark.exhaustive  # it waits for as long as AWS's datapoints do
@pytest.mark.parametrize("delay", [60.0])
def test_aws_05_a_drill_passes_with_the_delay_of_cloudwatch(
    aws: EmbeddedAws, stack: Stack, store: FolderStore, delay: float
) -> None:
    with answering(aws.control, metric_delay_seconds=delay):
        view = AwsView(stack, Aws(), "switchover", from_site="primary", to_site="secondary")
        until(lambda: isinstance(view.lag(), Known), delay + 120.0)
        written = start(stack, store, request("switchover"))
        assert (written.status, written.reason) == ("succeeded", None)
        assert written.rto.met is True


def only_error(aws: EmbeddedAws, mode: str, operation: str, **more: Any) -> Callable[[str, str], None]:
    """An `on_step` that puts the fault in place before `act`, once."""
    put: list[str] = []

    def on_step(step: str, text: str) -> None:
        if step == "act" and not put:
            put.append(aws.control.fault(mode, service="rds", operation=operation, **more))
        if step == "follow":
            aws.control.clear_faults()

    return on_step


@pytest.mark.parametrize("scenario", ["switchover", "failover"])
@pytest.mark.parametrize("mode", ["error-after", "lost-after", "garbled"])
def test_case_c4_a_call_that_was_carried_out_and_badly_answered_is_measured_on(
    aws: EmbeddedAws, stack: Stack, store: FolderStore, scenario: str, mode: str
) -> None:
    """SwitchoverGlobalCluster carried out, then 500, a lost or an unreadable answer: the drill observes AWS before it says failed."""
    operation = "SwitchoverGlobalCluster" if scenario == "switchover" else "FailoverGlobalCluster"
    begun = time.time()
    written = start(stack, store, request(scenario), only_error(aws, mode, operation, times=1))
    assert (written.status, written.reason) == ("succeeded", None)
    assert moves(aws) == [operation]
    assert any("was carried out" in each for each in written.deviations)
    called = next(c for c in aws.control.calls() if c["operation"] == operation)
    at = {entry.mark: utc.parse(entry.at).timestamp() for entry in written.timeline if entry.mark}
    assert begun < at["T3"] <= utc.parse(called["at"]).timestamp() + 0.1
    assert at["T3"] < at["T4"] <= at["T6"] + 0.2
    assert written.rto.met is True


@pytest.mark.parametrize("scenario", ["switchover", "failover"])
def test_case_c4_a_throttled_call_is_repeated(
    aws: EmbeddedAws, stack: Stack, store: FolderStore, scenario: str
) -> None:
    """AWS has carried nothing out; in an outage of a region many call at the same time."""
    operation = "SwitchoverGlobalCluster" if scenario == "switchover" else "FailoverGlobalCluster"
    written = start(stack, store, request(scenario), only_error(aws, "throttle", operation, times=2))
    assert (written.status, written.reason) == ("succeeded", None)
    assert moves(aws) == [operation] * 3
    assert sum("The call was repeated" in each for each in written.deviations) == 2


@pytest.mark.parametrize("operation", ["DescribeGlobalClusters", "DescribeEvents"])
def test_case_d5_answers_that_cannot_be_understood_do_not_end_a_drill_that_has_acted(
    aws: EmbeddedAws, stack: Stack, store: FolderStore, operation: str
) -> None:
    shapes = {
        "DescribeGlobalClusters": "<DescribeGlobalClustersResponse><DescribeGlobalClustersResult/></DescribeGlobalClustersResponse>",
        "DescribeEvents": "<DescribeEventsResponse><DescribeEventsResult><Events><Event><Message>x</Message></Event></Events>"
        "</DescribeEventsResult></DescribeEventsResponse>",
    }

    def on_step(step: str, text: str) -> None:
        if step == "follow":
            aws.control.fault("garbled", service="rds", operation=operation, times=2, message=shapes[operation])

    written = start(stack, store, request("switchover"), on_step)
    aws.control.clear_faults()
    assert (written.status, written.reason) == ("succeeded", None)


def test_case_c4_a_call_that_was_certainly_refused_is_failed_at_once(
    aws: EmbeddedAws, stack: Stack, store: FolderStore
) -> None:
    """A 4xx is a refusal. The drill can be resumed, and T3 is then the call that moved the writer."""
    refuse = only_error(aws, "error", "SwitchoverGlobalCluster", code="InvalidParameterValue", message="no", status=400)
    begun = time.monotonic()
    with pytest.raises(StepFailedError, match="InvalidParameterValue") as caught:
        start(stack, store, request("switchover"), refuse)
    assert time.monotonic() - begun < 60
    assert aws.control.database()["writer"] == "primary"
    aws.control.clear_faults()
    drill = unfinished(store, stack.environment_suffix)[0]
    assert drill in str(caught.value)
    resumed = time.time()
    written = runner.resume(stack, store, drill)
    assert written.status == "succeeded"
    called = next(utc.parse(entry.at).timestamp() for entry in written.timeline if entry.mark == "T3")
    assert called > resumed


@pytest.mark.parametrize("ttl", [1, 5])
def test_the_record_states_the_dns_cache(aws: EmbeddedAws, stack: Stack, store: FolderStore, ttl: int) -> None:
    """Its time to live is most of what a client that respects it may wait longer than the one that measured."""
    aws.control.answers(endpoint_ttl_seconds=ttl)
    written = start(stack, store, request("switchover"))
    client = written.rto.client
    assert client is not None
    assert (client.dns, client.dns_ttl_seconds) == ("nameserver", ttl)
    assert written.rto.high_seconds is not None
    assert client.high_seconds is not None
    assert written.rto.high_seconds >= client.high_seconds


def test_two_drills_at_once_one_runs_and_one_is_refused(aws: EmbeddedAws, stack: Stack, store: FolderStore) -> None:
    refused: list[str] = []

    def second(step: str, text: str) -> None:
        if step == "follow":
            with pytest.raises(RefusedError) as caught:
                runner.start(stack, store, request("failback"))
            refused.append(str(caught.value))

    assert start(stack, store, request("switchover"), second).status == "succeeded"
    assert "Another drill is running" in refused[0]
    assert len(moves(aws)) == 1


@pytest.mark.parametrize("trouble", [pytest.param("missing", marks=pytest.mark.exhaustive), "disordered"])
def test_nothing_hangs_on_the_arrival_or_order_of_events(
    aws: EmbeddedAws, stack: Stack, store: FolderStore, trouble: str
) -> None:
    aws.control.database("events", trouble=trouble)
    written = start(stack, store, request("switchover"))
    assert written.status == "succeeded"
    # Those of the drill before may be within the skew of two clocks that AWS's events are read with.
    own = [e for e in written.timeline if e.source == "RDS event" and utc.parse(e.at) >= utc.parse(written.started_at)]
    assert bool(own) is (trouble == "disordered")


def test_stale_or_high_lag_blocks_unless_somebody_takes_it_upon_themselves(
    aws: EmbeddedAws, stack: Stack, store: FolderStore
) -> None:
    aws.control.database("partition")
    until(lambda: aws.control.database()["lag_ms"] > 1500)
    time.sleep(1)
    with pytest.raises(RefusedError, match=r"1 of 7 preconditions block it:\n  lag: replication is \d+ ms behind"):
        start(stack, store, request("failover"))
    assert moves(aws) == []
    threading.Timer(5.0, lambda: aws.control.database("heal")).start()
    written = start(stack, store, request("failover", overrides=STALLED))
    assert [each.model_dump() for each in written.overrides] == [
        {"precondition": "lag", "reason": "replication was stalled on purpose", "by": "tester"}
    ]
    assert {item.name: item.passed for item in written.preconditions}["lag"] is False


def test_a_decision_made_while_the_writer_was_elsewhere_is_refused(
    aws: EmbeddedAws, stack: Stack, store: FolderStore
) -> None:
    """Somebody has failed over by hand meanwhile: the same request would now fail back, with loss allowed."""
    with pytest.raises(RefusedError, match="away from the secondary site was decided while the writer was there"):
        start(stack, store, request("failover", from_site="secondary"))
    assert moves(aws) == []
    assert unfinished(store, stack.environment_suffix) == []


def test_without_approval_nothing_is_done(aws: EmbeddedAws, stack: Stack, store: FolderStore) -> None:
    with pytest.raises(RefusedError, match="is not approved"):
        runner.start(stack, store, Request("switchover", "tester", "a test"))
    assert moves(aws) == []
    assert unfinished(store, stack.environment_suffix) == []


@pytest.mark.parametrize("scenario", [pytest.param("switchover", marks=pytest.mark.exhaustive), "failover"])
def test_killed_at_every_step_it_is_resumed_and_acts_once(
    aws: EmbeddedAws, stack: Stack, store: FolderStore, scenario: str
) -> None:
    """One drill, killed before each of its steps and once right after AWS took the call; each process resumes the last."""
    names = [name for name, _ in STEPS]
    order = [*names[:2], "called", *names[2:]]
    for step in order:
        assert killed_at(step, stack, store, scenario) == signal.SIGKILL, step
    drill = unfinished(store, stack.environment_suffix)
    written = runner.resume(stack, store, drill[0]) if drill else record.load(store, stack.environment_suffix)[-1]
    assert written.status == "succeeded", written.reason
    assert len(moves(aws)) == 1
    assert aws.control.database()["writer"] == "secondary"
    assert len(record.load(store, stack.environment_suffix)) == 1
    assert record.verify_chain(store, stack.environment_suffix) == []
    assert any("interrupted and resumed" in text for text in written.deviations)
    lost = written.rpo.lost_commits
    assert lost == 0 or scenario == "failover"


def test_a_drill_that_has_not_acted_can_be_aborted_and_one_that_has_cannot(
    aws: EmbeddedAws, stack: Stack, store: FolderStore
) -> None:
    killed_at("act", stack, store, "switchover")
    drill = unfinished(store, stack.environment_suffix)[0]
    written = runner.abort(stack, store, drill, "tester")
    assert (written.status, written.rto.met, written.rpo.met) == ("aborted", None, None)
    assert moves(aws) == []
    with pytest.raises(DrError, match="has ended"):
        runner.resume(stack, store, drill)
    killed_at("follow", stack, store, "switchover")
    drill = unfinished(store, stack.environment_suffix)[0]
    with pytest.raises(RefusedError, match="has begun to move the writer"):
        runner.abort(stack, store, drill, "tester")
    assert runner.resume(stack, store, drill).status == "succeeded"


def test_as_a_dagster_job_an_op_for_each_step(
    aws: EmbeddedAws, stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DR_HISTORY_URI", str(tmp_path / "history"))
    job = build_definitions(stack).resolve_job_def("switchover_drill")
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}

    def run(**config: Any) -> dg.ExecuteInProcessResult:
        ops = {"switchover_preconditions": {"config": {"settings": FAST, **config}}}
        return job.execute_in_process(run_config={"ops": ops, **quiet}, raise_on_error=False)

    refused = run()
    assert not refused.success
    assert moves(aws) == []
    plan = token(runner.propose(stack, Request("switchover", "tester", "a test", settings=FAST)), ())
    shown = plan.partition("@")[0]  # the rest is when it was shown
    assert f"{shown}@" in str(refused.failure_data_for_node("switchover_preconditions"))
    done = run(plan=plan, approved_by="tester", operator="tester")
    assert done.success
    metadata = done.output_for_node("switchover_record")
    written = record.load(FolderStore(tmp_path / "history"), stack.environment_suffix)
    assert [item.id for item in written] == [metadata]
    steps = [event.step_key for event in done.all_events if event.is_step_success]
    assert steps == ["switchover_preconditions", *(f"switchover_{name}" for name, _ in STEPS), "switchover_record"]
