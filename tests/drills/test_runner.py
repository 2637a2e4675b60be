"""One process at a time goes on with a drill: the journal is read under the lock, and no error leaves the lock taken."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from dr_assets import utc
from dr_assets.clock import instant
from dr_assets.core.topology import Topology
from dr_assets.drills import gate, record, runner, steps
from dr_assets.drills.approval import Approval, ApprovalExpiredError, standing_token, token
from dr_assets.drills.aws_view import AwsView
from dr_assets.drills.journal import Act, Journal
from dr_assets.drills.lock import DrillLock
from dr_assets.drills.parts import Condition, Override
from dr_assets.drills.plan import Plan, StepName, make_plan
from dr_assets.drills.request import Prepared, Request
from dr_assets.drills.steps import DrillSteps, StepFailedError
from dr_assets.errors import AwsCallError, DrError, RefusedError, UnansweredError
from dr_assets.failover.arming import arm, disarm
from dr_assets.history.store import FolderStore
from dr_assets.stack import Stack
from tests.support.approvals import LEE

DRILL = "20261123T190211Z-failover-3f9a2c"
REQUEST = Request("failover", "kim", "a test", approval=LEE)


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path)


@pytest.fixture
def plan(stack: Stack) -> Plan:
    return Plan(
        scenario="failover",
        stack=stack.environment_suffix,
        from_site="primary",
        to_site="secondary",
        from_region="us-east-1",
        to_region="us-west-2",
    )


@pytest.fixture
def journal(store: FolderStore, plan: Plan) -> Journal:
    return Journal.begin(store, DRILL, plan, REQUEST.approved(()))


def assert_free(store: FolderStore, stack: Stack) -> None:
    with DrillLock(store, stack.environment_suffix, "next"):
        pass


@pytest.mark.parametrize("verb", ["resume", "abort"])
def test_a_drill_that_another_process_ends_meanwhile_is_left_alone(
    store: FolderStore, stack: Stack, journal: Journal, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    take = DrillLock.take

    def late(self: DrillLock) -> DrillLock:
        journal.end("succeeded")
        return take(self)

    with monkeypatch.context() as patch:
        patch.setattr(DrillLock, "take", late)
        with pytest.raises(DrError, match=rf"has ended \(succeeded\): there is nothing to {verb}"):
            if verb == "resume":
                runner.reopen(stack, store, DRILL)
            else:
                runner.abort(stack, store, DRILL, "kim")
    assert Journal.load(store, stack.environment_suffix, DRILL).document.ended is not None
    assert record.load(store, stack.environment_suffix) == []
    assert_free(store, stack)


def test_an_abort_observes_an_act_that_began_meanwhile(
    store: FolderStore, stack: Stack, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = DrillLock.take

    def late(self: DrillLock) -> DrillLock:
        journal.intend("act")
        journal.calling()
        return take(self)

    with monkeypatch.context() as patch:
        patch.setattr(DrillLock, "take", late)
        with pytest.raises(DrError, match="has begun to move the writer"):
            runner.abort(stack, store, DRILL, "kim")
    assert Journal.load(store, stack.environment_suffix, DRILL).document.steps.act.intended
    assert_free(store, stack)


@pytest.fixture
def all_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every precondition holds, and a plan made now is the same."""
    monkeypatch.setattr(gate, "tls_authorities", lambda: "ca.pem")
    monkeypatch.setattr(gate, "evaluate", lambda *_: [])
    monkeypatch.setattr(gate, "changed", lambda *_: [])


def fail(*_: Any, **__: Any) -> Any:
    raise OSError("the disk is full")


@pytest.mark.usefixtures("journal")
def test_an_error_while_a_drill_is_reopened_releases_the_lock(
    store: FolderStore, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    for target, name in ((Journal, "deviate"), (runner, "clients")):
        with monkeypatch.context() as patch:
            patch.setattr(target, name, fail)
            with pytest.raises(OSError, match="disk is full"):
                runner.reopen(stack, store, DRILL)
        assert_free(store, stack)


def test_an_error_while_a_drill_begins_releases_the_lock(
    store: FolderStore, stack: Stack, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "prepare", lambda *_: Prepared(plan, (), ()))
    monkeypatch.setattr(runner, "clients", fail)
    with pytest.raises(OSError, match="disk is full"):
        runner.begin(stack, store, replace(REQUEST, approval=Approval.given(plan, (), "lee")))
    assert_free(store, stack)


@pytest.mark.usefixtures("journal", "all_holds")
def test_a_result_of_the_wrong_type_names_the_step_and_how_to_go_on(
    store: FolderStore, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DrillSteps, "take", lambda *_: Act.model_validate({"found": "perhaps"}))
    with runner.reopen(stack, store, DRILL) as drill:
        with pytest.raises(StepFailedError, match=rf"Step act of {DRILL} failed: found: .*`dr drill resume {DRILL}`"):
            drill.take("act")
        assert not drill.journal.is_done("act")


@pytest.mark.usefixtures("all_holds")
@pytest.mark.parametrize("intended", ["baseline", "act"])
def test_case_c1_a_resumed_drill_that_has_called_nothing_is_checked_again(
    store: FolderStore, stack: Stack, journal: Journal, monkeypatch: pytest.MonkeyPatch, intended: StepName
) -> None:
    """Killed in `baseline`, or between its intent and the call, then the lag grew: the drill acted on the old preconditions."""
    journal.intend("baseline")
    journal.intend(intended)
    grown = Condition(name="lag", passed=False, reason="replication is 5000 ms behind; the gate is 1000 ms")
    monkeypatch.setattr(gate, "evaluate", lambda *_: [grown])
    monkeypatch.setattr(DrillSteps, "take", fail)
    with pytest.raises(RefusedError, match=rf"block it by now:\n  lag: .*\nAbort with `dr drill abort {DRILL}`"):
        runner.resume(stack, store, DRILL)
    assert Journal.load(store, stack.environment_suffix, DRILL).document.conditions == (grown,)
    assert_free(store, stack)
    assert runner.abort(stack, store, DRILL, "kim").preconditions == (grown,)


@pytest.mark.usefixtures("all_holds")
def test_case_c1_an_approval_expires_and_can_be_renewed(
    store: FolderStore, stack: Stack, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = Approval.given(plan, (), "lee", utc.now() - timedelta(minutes=15, seconds=1))
    Journal.begin(store, DRILL, plan, REQUEST.approved(()), old)
    monkeypatch.setattr(DrillSteps, "take", lambda _, step, __: fail() if step == "baseline" else None)
    with runner.reopen(stack, store, DRILL) as again:
        with pytest.raises(ApprovalExpiredError, match=rf"approved by lee at .*`dr drill resume {DRILL}`, or end it"):
            again.run()
        assert not again.journal.document.steps.baseline.intended
        again.approve("kim")
        with pytest.raises(OSError, match="disk is full"):  # past the gate
            again.run()
    kept = Journal.load(store, stack.environment_suffix, DRILL)
    assert [each.by for each in kept.document.approvals] == ["lee", "kim"]
    assert [each.words for each in kept.document.callers if each.did == "approved"] == ["kim"]


def test_case_c1_an_approval_of_an_earlier_version_expires_and_the_drill_is_abortable(
    store: FolderStore, stack: Stack, plan: Plan
) -> None:
    old = REQUEST.approved(()).model_copy(update={"at": "2026-11-23T19:02:11Z"})
    Journal.begin(store, DRILL, plan, old)
    with pytest.raises(RefusedError, match=r"at 2026-11-23T19:02:11\.000Z, which held until 2026-11-23T19:17:11\.000Z"):
        runner.resume(stack, store, DRILL)
    assert runner.abort(stack, store, DRILL, "kim").status == "aborted"


def test_case_c1_once_it_has_called_it_goes_on(
    store: FolderStore, stack: Stack, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.intend("act")
    journal.calling()
    monkeypatch.setattr(gate, "evaluate", fail)
    monkeypatch.setattr(DrillSteps, "take", lambda *_: Act(found="under way"))
    with runner.reopen(stack, store, DRILL) as again:
        again.take("act")
    with pytest.raises(RefusedError, match="has begun to move the writer"):
        runner.abort(stack, store, DRILL, "kim")


@pytest.mark.usefixtures("all_holds")
@pytest.mark.parametrize(("seconds", "slept", "evaluations"), [(29, 0, 0), (31, 0, 1), (0, 3600, 1)])
def test_case_c1_what_is_older_than_thirty_seconds_at_the_call_is_evaluated_anew(
    store: FolderStore,
    stack: Stack,
    plan: Plan,
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
    slept: float,
    evaluations: int,
) -> None:
    """In the same process too: a slow baseline, or a host that slept, while the monotonic clock stood still."""
    asked: list[object] = []
    monkeypatch.setattr(gate, "evaluate", lambda *_: asked.append(_) or [])
    now = instant()
    passed = replace(now, monotonic=now.monotonic - seconds, wall=now.wall - seconds - slept)
    journal = Journal.begin(store, DRILL, plan, REQUEST.approved(()), Approval.given(plan, (), "lee"))
    with DrillLock(store, stack.environment_suffix, DRILL) as lock:
        asks = gate.Gate(stack, store, cast(Any, None), journal, lock, passed)
        asks.require()
        asks.require()
    assert len(asked) == evaluations


@pytest.mark.usefixtures("all_holds")
def test_case_c2_the_plan_that_was_approved_is_the_plan_that_runs(
    store: FolderStore, stack: Stack, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One thing changed each: the direction, a setting, the target, an override, the reason of one."""
    override = Override(precondition="lag", reason="known", by="kim")
    approval = Approval.given(plan, (override,), "lee")
    monkeypatch.setattr(DrillSteps, "take", fail)
    other = override.model_copy(update={"reason": "unknown"})
    for number, (changed, overrides) in enumerate(
        [
            (plan.model_copy(update={"from_site": "secondary", "to_site": "primary"}), (override,)),
            (plan.model_copy(update={"rate": 21.0}), (override,)),
            (plan.model_copy(update={"target_arn": "arn:aws:rds:us-west-2:123456789012:cluster:other"}), (override,)),
            (plan, ()),
            (plan, (override, Override(precondition="key-enabled", reason="known", by="kim"))),
            (plan, (other,)),
        ]
    ):
        request = replace(REQUEST, approval=approval, overrides=overrides)
        monkeypatch.setattr(runner, "prepare", lambda *_, made=changed: Prepared(made, (), ()))
        with pytest.raises(RefusedError, match=r"is not the one that was shown and approved .* Nothing was done"):
            runner.begin(stack, store, request)
        # Also where the journal was edited since.
        drill = f"{DRILL}{number}"
        Journal.begin(store, drill, changed, request.approved(()), approval)
        with pytest.raises(RefusedError, match="is not the one that was shown and approved"):
            runner.resume(stack, store, drill)
    assert_free(store, stack)


def test_case_c2_an_approval_ends_and_is_not_of_the_future(
    store: FolderStore, stack: Stack, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that was queued, or executed again, takes its approval from the same run config."""
    monkeypatch.setattr(runner, "prepare", lambda *_: Prepared(plan, (), ()))
    for minutes, refusal in ((-15, "held until"), (+2, "is in the future")):
        shown = token(plan, (), utc.now() + timedelta(minutes=minutes))
        request = replace(REQUEST, approval=Approval.from_token(shown, "lee"))
        with pytest.raises(RefusedError, match=f"was not begun: .*{refusal}"):
            runner.begin(stack, store, request)
    with pytest.raises(RefusedError, match="is not approved"):
        runner.begin(stack, store, replace(REQUEST, approval=None))
    assert_free(store, stack)


@pytest.mark.parametrize(
    "text", ["", "yes", "0123456789abcdef", "0123456789abcdef@20261399T000000Z", "any@20261123T190000Z"]
)
def test_case_c2_what_is_no_token_approves_nothing(text: str) -> None:
    with pytest.raises(RefusedError, match="is not the token of a plan"):
        Approval.from_token(text, "lee")


def test_case_c2_an_approval_has_a_person(plan: Plan) -> None:
    with pytest.raises(RefusedError, match="needs the name"):
        Approval.from_token(token(plan, ()), "  ")


def test_case_c2_a_standing_approval_covers_little(store: FolderStore, stack: Stack, plan: Plan) -> None:
    """Nobody was shown the plans of the schedule and of an armed failover."""
    now = utc.now()
    scheduled, automatic = (
        Approval.from_token(standing_token(kind, now), "lee") for kind in cast("tuple[Any, ...]", ("schedule", "armed"))
    )
    switchover = plan.model_copy(update={"scenario": "switchover"})
    wide = plan.model_copy(update={"lag_gate_ms": 30_000.0})
    lag, lag_gate = (Override(precondition=name, reason="why", by="kim") for name in ("lag", "lag-gate"))
    production = stack.model_copy(update={"tags": {**stack.tags, "Environment": "production"}})

    def problem(approval: Approval, wanted: Plan, *overrides: Override, on: Stack = stack) -> str | None:
        return gate.not_covered(approval, on, store, wanted, overrides)

    assert problem(scheduled, switchover) is None
    assert "default settings" in (problem(scheduled, switchover.model_copy(update={"rate": 99.0})) or "")
    assert "default settings" in (problem(scheduled, switchover, lag) or "")
    assert "production" in (problem(scheduled, switchover, on=production) or "")
    assert "not armed any more" in (problem(automatic, wide, lag_gate) or "")
    arm(store, stack.environment_suffix, now, now + timedelta(hours=1), "ann", "night shift")
    assert problem(automatic, wide, lag_gate) is None
    assert "approves a failover" in (problem(automatic, switchover) or "")
    assert "approves a failover" in (problem(automatic, wide, lag_gate, lag) or "")
    disarm(store, stack.environment_suffix, now, "ann")
    assert "not armed any more" in (problem(automatic, wide, lag_gate) or "")
    later = now + timedelta(seconds=2)
    arm(store, stack.environment_suffix, later, later + timedelta(hours=1), "ann", "another night")
    assert "not armed any more" in (problem(automatic, wide, lag_gate) or "")


def test_case_c2_what_differs_is_named(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stack file, the writer or the members differ from when the drill began."""
    here = Topology(writer="primary", members={"primary": "a", "secondary": "b"})
    there = Topology(writer="secondary", members={"primary": "a", "secondary": "b"})
    plan = make_plan(stack, "failover", here, rate=50.0)
    view = cast(AwsView, SimpleNamespace(topology=here))
    assert gate.changed(stack, view, plan) == []
    assert gate.changed(stack, view, plan.model_copy(update={"target_arn": None})) == []
    (moved,) = gate.changed(stack, cast(AwsView, SimpleNamespace(topology=there)), plan)
    assert (moved.passed, "from_site was primary, is secondary" in str(moved.reason)) == (False, True)
    other = Topology(writer="primary", members={"primary": "a", "secondary": "c"})
    (target,) = gate.changed(stack, cast(AwsView, SimpleNamespace(topology=other)), plan)
    assert target.reason == "target_arn was b, is c"
    elsewhere = stack.model_copy(update={"secondary_region": "eu-west-1"})
    (region,) = gate.changed(elsewhere, view, plan)
    assert region.reason == "to_region was us-west-2, is eu-west-1"


class Refusing:
    """RDS that answers the call that moves the writer with an error, and notes whether the journal was written before."""

    def __init__(self, journal: Journal, error: Exception) -> None:
        self.journal, self.error, self.noted = journal, error, []  # type: ignore[var-annotated]

    def act(self, *_: Any) -> None:
        stored = Journal.load(self.journal._store, self.journal.plan.stack, DRILL).document.steps.act.called
        self.noted.append(bool(stored))
        raise self.error


@pytest.mark.parametrize(("status", "may_have_called"), [(400, False), (500, True)])
def test_case_c1_a_call_is_written_down_before_it_is_made_and_taken_back_where_it_was_refused(
    store: FolderStore,
    stack: Stack,
    journal: Journal,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    may_have_called: bool,
) -> None:
    answer: Any = {"Error": {"Code": "Odd", "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    aws = Refusing(journal, ClientError(answer, "FailoverGlobalCluster"))
    view = SimpleNamespace(aws=aws, target_arn="arn")
    view.fresh = lambda: view
    monkeypatch.setattr(DrillSteps, "_appears", lambda *_: False)
    asked: list[str] = []
    acting = DrillSteps(stack, store, cast(AwsView, view), journal, cast(DrillLock, None), lambda: asked.append("gate"))
    acting._session = cast(Any, object())
    journal.intend("act")
    with pytest.raises(DrError, match="Odd"):
        acting.take("act", False)
    assert (asked, aws.noted) == (["gate"], [True])
    again = Journal.load(store, stack.environment_suffix, DRILL)
    assert again.may_have_called is may_have_called


def test_case_c1_a_closed_gate_is_before_the_call(store: FolderStore, stack: Stack, journal: Journal) -> None:
    def closed() -> None:
        raise RefusedError("lag")

    aws = Refusing(journal, AssertionError("it was called"))
    view = SimpleNamespace(aws=aws, target_arn="arn")
    view.fresh = lambda: view
    acting = DrillSteps(stack, store, cast(AwsView, view), journal, cast(DrillLock, None), closed)
    acting._session = cast(Any, object())
    journal.intend("act")
    with pytest.raises(RefusedError, match="lag"):
        acting.take("act", False)
    assert (aws.noted, journal.may_have_called) == ([], False)


def test_an_act_that_an_earlier_version_intended_may_have_been_called(
    store: FolderStore, stack: Stack, journal: Journal
) -> None:
    journal.intend("act")
    document = json.loads(store.read(f"drills/{stack.environment_suffix}/{DRILL}.json"))
    del document["steps"]["act"]["called"]
    store.write(f"drills/{stack.environment_suffix}/{DRILL}.json", json.dumps(document).encode())
    old = Journal.load(store, stack.environment_suffix, DRILL)
    assert old.may_have_called
    old.intend("act")
    assert old.may_have_called
    old.calling()
    old.not_carried_out()
    assert old.may_have_called


class LateAws:
    """RDS that carried out an earlier call, refuses a second one, and shows the change only after `bad` describes."""

    def __init__(self, bad: list[Exception]) -> None:
        self.bad = bad

    def act(self, *_: Any) -> None:
        answer = {
            "Error": {
                "Code": "InvalidGlobalClusterStateFault",
                "Message": "The global cluster is in the failing-over state.",
            },
            "ResponseMetadata": {"HTTPStatusCode": 400},
        }
        raise ClientError(answer, "FailoverGlobalCluster")

    def observe(self) -> str:
        if self.bad:
            raise self.bad.pop()
        return "under way"


@pytest.mark.parametrize("shown", [True, False])
def test_a_resumed_act_that_aws_refuses_as_under_way_is_observed_until_aws_shows_it(
    store: FolderStore, stack: Stack, journal: Journal, monkeypatch: pytest.MonkeyPatch, shown: bool
) -> None:
    """Killed after its call, before DescribeGlobalClusters showed it. No describe that fails meanwhile replaces the refusal."""
    aws = LateAws([AwsCallError("garbled"), UnansweredError("timeout"), AwsCallError("AccessDenied")] if shown else [])
    view = SimpleNamespace(aws=aws, target_arn="arn")
    view.fresh = lambda: view
    monkeypatch.setattr(steps, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(steps, "OBSERVED_SECONDS", 10.0 if shown else 0.1)
    journal.intend("act")
    again = DrillSteps(stack, store, cast(AwsView, view), journal, cast(DrillLock, None), lambda: None)
    again._session = cast(Any, object())
    found = iter(["not begun"])

    def change(_: DrillSteps) -> str:
        if not shown:
            raise AwsCallError("garbled")
        return next(found, None) or aws.observe()

    monkeypatch.setattr(DrillSteps, "_change", change)
    if shown:
        assert again.take("act", True).found == "not begun"  # type: ignore[union-attr] # act's result
        assert any("InvalidGlobalClusterStateFault" in text for text in journal.document.deviations)
    else:
        with pytest.raises(DrError, match="InvalidGlobalClusterStateFault"):
            again.take("act", False)


@pytest.mark.parametrize(("name", "value"), [("lag_gate_ms", 1e12), ("rate", -5.0), ("probe_interval", 3600.0)])
def test_case_c3_a_stored_plan_out_of_bounds_is_abortable_and_never_run(
    store: FolderStore, stack: Stack, plan: Plan, name: str, value: float
) -> None:
    Journal.begin(store, DRILL, plan.model_copy(update={name: value}), REQUEST.approved(()))
    with pytest.raises(RefusedError, match=rf"out of bounds: {name} is .*Abort with `dr drill abort"):
        runner.resume(stack, store, DRILL)
    assert not Journal.load(store, stack.environment_suffix, DRILL).document.steps.baseline.intended
    assert runner.abort(stack, store, DRILL, "kim").status == "aborted"
