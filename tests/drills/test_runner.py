"""One process at a time goes on with a drill: the journal is read under the lock, and no error leaves the lock taken."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from dr_assets.drills import record, runner, steps
from dr_assets.drills.aws_view import AwsView
from dr_assets.drills.journal import Act, Journal
from dr_assets.drills.lock import DrillLock
from dr_assets.drills.parts import Condition
from dr_assets.drills.plan import Plan
from dr_assets.drills.request import Prepared, Request
from dr_assets.drills.steps import DrillSteps, StepFailedError
from dr_assets.errors import AwsCallError, DrError, RefusedError, UnansweredError
from dr_assets.history.store import FolderStore
from dr_assets.stack import Stack

DRILL = "20261123T190211Z-failover-3f9a2c"
REQUEST = Request("failover", "kim", "a test", approved_by="lee")


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
        return take(self)

    with monkeypatch.context() as patch:
        patch.setattr(DrillLock, "take", late)
        with pytest.raises(DrError, match="has begun to move the writer"):
            runner.abort(stack, store, DRILL, "kim")
    assert Journal.load(store, stack.environment_suffix, DRILL).document.steps.act.intended
    assert_free(store, stack)


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
        runner.begin(stack, store, REQUEST)
    assert_free(store, stack)


@pytest.mark.usefixtures("journal")
def test_a_result_of_the_wrong_type_names_the_step_and_how_to_go_on(
    store: FolderStore, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DrillSteps, "take", lambda *_: Act.model_validate({"found": "perhaps"}))
    with runner.reopen(stack, store, DRILL) as drill:
        with pytest.raises(StepFailedError, match=rf"Step act of {DRILL} failed: found: .*`dr drill resume {DRILL}`"):
            drill.take("act")
        assert not drill.journal.is_done("act")


def test_case_c1_a_resumed_drill_that_has_called_nothing_is_checked_again(
    store: FolderStore, stack: Stack, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in `baseline`, then the lag grew: the resumed drill acted on the old preconditions and lost commits."""
    journal.intend("baseline")
    grown = Condition(name="lag", passed=False, reason="replication is 5000 ms behind; the gate is 1000 ms")
    monkeypatch.setattr(runner, "tls_authorities", lambda: "ca.pem")
    monkeypatch.setattr(runner, "evaluate", lambda *_: [grown])
    monkeypatch.setattr(DrillSteps, "take", fail)
    with pytest.raises(RefusedError, match=rf"block it by now:\n  lag: .*\nAbort with `dr drill abort {DRILL}`"):
        runner.resume(stack, store, DRILL)
    assert Journal.load(store, stack.environment_suffix, DRILL).document.steps.act.intended == ()
    assert_free(store, stack)


def test_case_c1_an_approval_expires(
    store: FolderStore, stack: Stack, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = REQUEST.approved(()).model_copy(update={"at": "2026-11-23T19:02:11Z"})
    Journal.begin(store, DRILL, plan, old)
    with pytest.raises(RefusedError, match="was approved at 2026-11-23T19:02:11Z, which holds for 60 min"):
        runner.resume(stack, store, DRILL)
    assert runner.abort(stack, store, DRILL, "kim").status == "aborted"


def test_case_c1_once_it_has_called_it_goes_on(
    store: FolderStore, stack: Stack, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.intend("act")
    monkeypatch.setattr(runner, "evaluate", fail)
    with runner.reopen(stack, store, DRILL) as again:
        again.confirm()


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
    again = DrillSteps(stack, store, cast(AwsView, view), journal, cast(DrillLock, None))
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
