"""From a journal to a record: who called, what was proposed for lost writes, which corrective actions; and unknown stays unknown."""

import json
import socket
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from dr_assets import utc
from dr_assets.aws import Aws
from dr_assets.core.freshness import Known, Unknown
from dr_assets.drills import proposal, record, record_builder, runner
from dr_assets.drills.aws_view import AwsView
from dr_assets.drills.journal import Baseline, Count, Journal, Protected, Recovered, RtoInterval
from dr_assets.drills.parts import Caller, CorrectiveAction, Did, Override, RtoParts
from dr_assets.drills.plan import Plan
from dr_assets.drills.record_document import Record, Status
from dr_assets.drills.request import Request
from dr_assets.errors import DrError
from dr_assets.history.store import FolderStore
from dr_assets.lost_writes.compare import Difference, Proposal
from dr_assets.stack import Stack
from tests.support.approvals import LEE

DRILL = "20261123T190211Z-failover-3f9a2c"
ARN = "arn:aws:sts::123456789012:assumed-role/dr-operator/kim"


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path)


def begun(store: FolderStore, stack: Stack, **more: Any) -> Journal:
    plan = Plan(
        scenario="failover",
        stack=stack.environment_suffix,
        from_site="primary",
        to_site="secondary",
        from_region="us-east-1",
        to_region="us-west-2",
    )
    return Journal.begin(store, DRILL, plan, Request("failover", "kim", "a test", approval=LEE, **more).approved(()))


def made(file: str = "lost.jsonl") -> Proposal:
    return Proposal(Path(file), (Difference("public.orders", 3, 1, 2), Difference("public.items", 4, 0, 0)), ())


COUNTED = Count(
    lost_commits=3,
    lost_seconds=0.4,
    in_doubt=1,
    acknowledged=100,
    survived=97,
    ledger="drills/x-ledger.jsonl",
    unknown=0,
    refused=0,
)


def acted(did: Did, at: str, arn: str | None, words: str = "kim") -> Caller:
    return Caller(at=at, did=did, words=words, arn=arn)


@pytest.mark.parametrize("status", ["succeeded", "failed", "aborted"])
def test_case_c5_who_acted_is_in_every_record(store: FolderStore, stack: Stack, status: Status) -> None:
    journal = begun(store, stack)
    journal.add_caller(acted("begun", journal.document.request.at, ARN))
    loaded = Journal.load(store, stack.environment_suffix, DRILL)
    who = record_builder.finish(stack, store, loaded, status, "x" if status != "succeeded" else None).who
    assert (who.caller_arn, who.operator, who.approved_by) == (ARN, "kim", "lee")
    assert [(each.did, each.words, each.arn) for each in who.callers] == [("begun", "kim", ARN)]


def test_case_c5_whoever_resumed_before_the_call_made_it_and_after_it_did_not(store: FolderStore, stack: Stack) -> None:
    journal = begun(store, stack)
    other = "arn:aws:sts::123456789012:assumed-role/dr-operator/lee"
    journal.add_caller(acted("begun", journal.now_text(), ARN))
    assert journal.caller_arn() == ARN
    journal.add_caller(acted("resumed", journal.now_text(), other, "lee"))
    assert journal.caller_arn() == other
    journal.intend("act")
    journal.add_caller(acted("resumed", utc.to_text(journal.timeline.mark() + timedelta(seconds=1)), ARN))
    journal.add_caller(acted("aborted", utc.to_text(journal.timeline.mark() + timedelta(seconds=2)), None))
    assert journal.caller_arn() == other
    who = record_builder.draft(stack, store, journal, "aborted", "x").who
    assert [each.did for each in who.callers] == ["begun", "resumed", "resumed", "aborted"]


def test_case_c5_an_abort_without_an_answer_of_sts_says_that_its_caller_is_unknown(
    store: FolderStore, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(store, stack)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://127.0.0.1:{unused.getsockname()[1]}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    written = runner.abort(stack, store, DRILL, "lee")
    assert written.who.caller_arn is None
    (caller,) = written.who.callers
    assert (caller.did, caller.words, caller.arn) == ("aborted", "lee", None)
    assert any("identity of the caller is unknown: sts get_caller_identity" in text for text in written.deviations)


def test_the_identity_that_an_earlier_version_read_is_kept(store: FolderStore, stack: Stack) -> None:
    journal = begun(store, stack)
    journal.intend("baseline")
    journal.done(Baseline(from_address=("h", "10.0.1.17", 5432), lag_ms=None, lag_at=None, rows=20, caller_arn=ARN))
    assert record_builder.draft(stack, store, journal, "aborted", "x").who.caller_arn == ARN
    journal.done(COUNTED.model_copy(update={"caller_arn": "arn:aws:iam::123456789012:user/lee"}))
    assert (
        record_builder.draft(stack, store, journal, "failed", "x").who.caller_arn
        == "arn:aws:iam::123456789012:user/lee"
    )


def test_the_newest_proposal_for_lost_writes_is_in_the_record(store: FolderStore, stack: Stack) -> None:
    journal = begun(store, stack)
    proposal.attach(store, stack.environment_suffix, DRILL, made("first.jsonl"))
    proposal.attach(store, stack.environment_suffix, DRILL, made())
    written = record_builder.finish(stack, store, journal, "succeeded", None)
    assert written.to_json()["reconciliation"] == {"file": "lost.jsonl", "insert": 7, "update": 1, "delete": 2}
    assert record.verify_chain(store, stack.environment_suffix) == []


def test_without_a_proposal_reconciliation_is_null(store: FolderStore, stack: Stack) -> None:
    assert record_builder.finish(stack, store, begun(store, stack), "succeeded", None).reconciliation is None


def test_case_c5_a_proposal_made_after_the_end_is_kept_beside_the_record(store: FolderStore, stack: Stack) -> None:
    name = stack.environment_suffix
    written = record_builder.finish(stack, store, begun(store, stack), "succeeded", None)
    proposal.attach(store, name, DRILL, made())
    problems: list[str] = []
    found = proposal.all_proposed(store, name, [DRILL, "without-one"], problems)
    assert found[DRILL].model_dump() == {"file": "lost.jsonl", "insert": 7, "update": 1, "delete": 2}
    assert list(found) == [DRILL] and problems == []
    assert record.load(store, name) == [written] and record.verify_chain(store, name) == []
    store.write(f"drills/{name}/{DRILL}-proposal.json", b"[" * 3000)
    assert proposal.all_proposed(store, name, [DRILL], problems) == {} and f"{DRILL}-proposal.json" in problems[0]


def test_a_proposal_is_refused_for_a_drill_that_is_unknown(store: FolderStore, stack: Stack) -> None:
    with pytest.raises(DrError, match="There is no drill nope"):
        proposal.attach(store, stack.environment_suffix, "nope", made())


def test_a_damaged_proposal_does_not_cost_the_record(store: FolderStore, stack: Stack) -> None:
    journal = begun(store, stack)
    store.write(f"drills/{stack.environment_suffix}/{DRILL}-proposal.json", b"{ half")
    written = record_builder.finish(stack, store, journal, "succeeded", None)
    assert written.reconciliation is None
    assert f"{DRILL}-proposal.json" in written.deviations[0]


def test_the_proposal_of_another_drill_is_left_out_and_named(store: FolderStore, stack: Stack) -> None:
    journal = begun(store, stack)
    proposal.attach(store, stack.environment_suffix, DRILL, made())
    key = f"drills/{stack.environment_suffix}/{DRILL}-proposal.json"
    store.write(key, json.dumps(json.loads(store.read(key)) | {"drill": "another"}).encode())
    written = record_builder.finish(stack, store, journal, "succeeded", None)
    assert written.reconciliation is None
    assert "belongs to the drill another" in written.deviations[0]


def test_a_lag_that_is_not_finite_is_unknown(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    view = AwsView(stack, Aws(), "failover", from_site="primary", to_site="secondary")
    at = datetime(2026, 11, 23, 19, tzinfo=timezone.utc)
    later = at + timedelta(minutes=1)
    series = {"Id": "shape0", "Timestamps": [later, at], "Values": [float("nan"), 40.0]}
    others = [{"Id": f"shape{n}", "Timestamps": [], "Values": []} for n in (1, 2)]  # CloudWatch answers every query
    monkeypatch.setattr(AwsView, "call", lambda *_, **__: {"MetricDataResults": [series, *others]})
    monkeypatch.setattr("dr_assets.drills.aws_view.utc.now", lambda: later)
    assert view.lag() == Unknown("nan is no value of at least 0 ms")
    series["Values"] = [30.0, float("nan")]
    assert view.lag() == Known(30.0, later, 0.0)


def left_to_do(written: Record) -> list[str]:
    assert {(item.owner, item.due) for item in written.corrective_actions} <= {("unassigned", None)}
    return [item.text for item in written.corrective_actions]


def measured(journal: Journal, high: float, lost: float | None) -> Journal:
    parts = RtoParts(detect=high, decide=0, database=0, traffic=0)
    recovered = Recovered(rto=RtoInterval(low_seconds=high, high_seconds=high, parts=parts))
    for result in (recovered, COUNTED.model_copy(update={"lost_seconds": lost})):
        journal.intend(result.STEP)
        journal.done(result)
    return journal


def test_case_c5_a_drill_within_its_objectives_leaves_no_action(store: FolderStore, stack: Stack) -> None:
    journal = measured(begun(store, stack), 2.5, 0.4)
    assert left_to_do(record_builder.finish(stack, store, journal, "succeeded", None)) == []


def test_case_c5_a_failure_leaves_an_action(store: FolderStore, stack: Stack) -> None:
    written = record_builder.finish(stack, store, begun(store, stack), "failed", "lag: 3 s")
    assert left_to_do(written) == ["Find and remove the cause: lag: 3 s"]


def test_case_c5_a_missed_or_unknown_objective_leaves_an_action(store: FolderStore, stack: Stack) -> None:
    journal = measured(begun(store, stack), 301.0, None)
    assert left_to_do(record_builder.finish(stack, store, journal, "succeeded", None)) == [
        "Find and remove the cause of the missed RTO: it was not under 300 s",
        "Find out why the RPO is unknown, and repeat the drill",
    ]


def test_case_c5_an_override_leaves_an_action(store: FolderStore, stack: Stack) -> None:
    override = Override(precondition="lag", reason="the region is gone", by="lee")
    journal = measured(begun(store, stack, overrides=(override,)), 2.5, 0.4)
    assert left_to_do(record_builder.finish(stack, store, journal, "succeeded", None)) == [
        "Remove the cause of the override of lag: the region is gone"
    ]


def test_the_actions_that_an_earlier_version_kept_with_the_request_are_kept(store: FolderStore, stack: Stack) -> None:
    journal = measured(begun(store, stack), 2.5, 0.4)
    given = (CorrectiveAction(text="lower the TTL", owner="kim", due="2026-12-01"),)
    request = journal.document.request.model_copy(update={"corrective_actions": given})
    journal.document = journal.document.model_copy(update={"request": request})
    assert record_builder.finish(stack, store, journal, "succeeded", None).corrective_actions == given


def test_what_was_not_measured_is_null_and_never_compliant(store: FolderStore, stack: Stack) -> None:
    written = record_builder.finish(stack, store, begun(store, stack), "aborted", "aborted by kim")
    assert written.to_json()["rto"] == {
        "low_seconds": None,
        "high_seconds": None,
        "parts": {"detect": None, "decide": None, "database": None, "traffic": None},
        "target_seconds": stack.rto_seconds,
        "met": None,
    }
    assert (written.rpo.lost_seconds, written.rpo.met, written.exposure) == (None, None, None)
    assert not written.good


def test_what_was_measured_is_in_the_record(store: FolderStore, stack: Stack) -> None:
    journal = begun(store, stack)
    journal.note("called in us-west-2", "drill", "T3")
    parts = RtoParts(detect=0.5, decide=0.5, database=1.0, traffic=0.5)
    for result in (
        Baseline(from_address=("h", "10.0.1.17", 5432), lag_ms=40.0, lag_at=None, rows=20),
        Recovered(rto=RtoInterval(low_seconds=1.5, high_seconds=2.5, parts=parts)),
        COUNTED,
    ):
        journal.intend(result.STEP)
        journal.done(result)
    journal.intend("protected")
    journal.done(Protected(at=journal.marked("T3") or ""))
    written: Record = record_builder.finish(stack, store, journal, "succeeded", None)
    assert (written.rto.low_seconds, written.rto.high_seconds, written.rto.parts) == (1.5, 2.5, parts)
    assert (written.rpo.lost_commits, written.rpo.lost_seconds, written.rpo.survived) == (3, 0.4, 97)
    assert written.exposure is not None
    assert written.exposure.seconds == 0
    assert written.good


def test_text_that_is_no_utf8_does_not_cost_the_record(store: FolderStore, stack: Stack) -> None:
    """Bytes on a command line that are not UTF-8 arrive as lone surrogates."""
    journal = begun(store, stack)
    request = Request("failover", "kim", "caf\udce9", approval=LEE).approved(())
    again = Journal.begin(store, "other", journal.plan, request)
    written = record_builder.finish(
        stack, store, Journal.load(store, stack.environment_suffix, again.drill), "aborted", "x"
    )
    assert written.why == "caf\\udce9"


def test_no_text_of_a_person_makes_a_journal_unreadable(store: FolderStore, stack: Stack) -> None:
    odd = "caf\udce9"
    journal = begun(store, stack, overrides=(Override(precondition="lag", reason=odd, by=odd),))
    journal.note(f"aborted by {odd}", odd)
    journal.deviate(odd)
    proposal.attach(store, stack.environment_suffix, DRILL, made(f"{odd}.jsonl"))
    again = Journal.load(store, stack.environment_suffix, DRILL)
    assert again.document.to_bytes() == journal.document.to_bytes()
    written = record_builder.finish(stack, store, again, "aborted", odd)
    assert (written.reason, written.deviations) == ("caf\\udce9", ("caf\\udce9",))
    assert written.overrides == (Override(precondition="lag", reason="caf\\udce9", by="caf\\udce9"),)
    assert written.reconciliation is not None
    assert written.reconciliation.file == "caf\\udce9.jsonl"
    assert record.verify_chain(store, stack.environment_suffix) == []
