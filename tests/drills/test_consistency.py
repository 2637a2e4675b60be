"""A record that contradicts itself is named, whoever rehashed it, and counts as no proof anywhere."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dr_assets import utc
from dr_assets.drills import record, record_builder
from dr_assets.drills.journal import Count, Postconditions, Protected, Recovered, RtoInterval
from dr_assets.drills.parts import Condition, RtoParts
from dr_assets.drills.record_document import digest, objective_met
from dr_assets.history.store import FolderStore
from dr_assets.reports.analysis.exposure import proves
from dr_assets.stack import Stack
from dr_assets.ticks.drill_proofs import drill_samples
from tests.drills.test_record import STACK, document
from tests.drills.test_record_builder import begun

STORED = sorted((Path(__file__).parent / "data" / "records" / STACK).glob("*.json"))

# What is changed in a good record, and how the contradiction is named.
FORGERIES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "rto missed": (lambda d: d["rto"].update(low_seconds=99999, high_seconds=99999), "rto.met is true, but"),
    "rpo missed": (lambda d: d["rpo"].update(lost_seconds=3600.0), "rpo.met is true, but 3600.0 s"),
    "low above high": (lambda d: d["rto"].update(low_seconds=10, high_seconds=2), "rto.low_seconds (10) is above"),
    "high without low": (lambda d: d["rto"].update(low_seconds=None), "rto.low_seconds is null"),
    "parts": (
        lambda d: d["rto"].update(parts={"detect": 100, "decide": 1, "database": 1, "traffic": 1}),
        "rto.parts add up to 103.000 s, but rto.high_seconds is 2",
    ),
    "negative part": (lambda d: d["rto"]["parts"].update(detect=-5), "rto.parts.detect is negative"),
    "met null though measured": (lambda d: d["rto"].update(met=None), "rto.met is null"),
    "met though not measured": (lambda d: d["rto"].update(low_seconds=None, high_seconds=None), "rto.met is true"),
    "met by a lower bound": (lambda d: d["rto"].update(high_seconds=None, low_seconds=1.0), "rto.met is true"),
    "lost commits": (lambda d: d["rpo"].update(survived=1), "rpo.lost_commits is 3, but 100 were"),
    "negative loss": (lambda d: d["rpo"].update(lost_seconds=-5, lost_commits=-3), "rpo.lost_commits is negative"),
    "nothing lost in 0.4 s": (
        lambda d: d["rpo"].update(lost_commits=0, survived=100),
        "rpo.lost_commits is 0, but the lost time is 0.4 s",
    ),
    "loss unknown, its time known": (lambda d: d["rpo"].update(lost_commits=None), "rpo.lost_commits is null"),
    "bound beside the figure": (
        lambda d: d["rpo"].update(lost_at_least_seconds=0.1),
        "rpo.lost_at_least_seconds is 0.1",
    ),
    "bound above the target": (
        lambda d: d["rpo"].update(lost_seconds=None, lost_at_least_seconds=3.1, met=None),
        "rpo.met is null, but 3.1 s at least against a target of 1 s makes it false",
    ),
    "ended before it began": (lambda d: d.update(ended_at="2020-01-01T00:00:00.000Z"), "ended_at (2020-01-01"),
    "succeeded with a reason": (lambda d: d.update(reason="x"), "status is succeeded, but reason is 'x'"),
    "failed without a reason": (lambda d: d.update(status="failed"), "status is failed, but reason is empty"),
    "failed postcondition": (
        lambda d: d["postconditions"][0].update(passed=False),
        "status is succeeded, but these postconditions did not pass: one-writer",
    ),
    "unknown postcondition": (
        lambda d: d["postconditions"][0].update(passed=None),
        "status is succeeded, but these postconditions did not pass: one-writer",
    ),
    "not overridden": (lambda d: d.update(overrides=[]), "the precondition lag did not pass and was not overridden"),
    "target below 0": (lambda d: d["rto"].update(target_seconds=-1, met=False), "rto.target_seconds is -1"),
    "exposure": (
        lambda d: d["exposure"].update({"until": "2026-11-23T19:02:21.000Z", "seconds": 9999}),
        "exposure.seconds is 9999, but there are 1.000 s",
    ),
    "exposure that ends before it begins": (
        lambda d: d["exposure"].update({"until": "2026-11-23T18:57:22.000Z", "seconds": -298}),
        "exposure.seconds is negative (-298)",
    ),
    "exposure that lasts, counted": (lambda d: d["exposure"].update(seconds=4), "exposure.seconds is 4, but"),
    "exposure from no time": (
        lambda d: d["exposure"].update({"from": "yesterday"}),
        "exposure.from is not an ISO 8601",
    ),
    "marks out of order": (
        lambda d: d["timeline"].append({"mark": "T4", "at": "2026-11-23T19:02:10.000Z", "source": "x", "text": "x"}),
        "timeline has T4 (2026-11-23T19:02:10.000Z) before T3",
    ),
    "a mark twice": (lambda d: d["timeline"].append(d["timeline"][0]), "timeline has the mark T3 2 times"),
    "plan hash": (lambda d: d.update(plan_hash="x"), "plan_hash is not a SHA-256"),
    "two writers": (lambda d: d["rto"].update(low_seconds=-0.2), "status is succeeded, but rto.low_seconds is -0.2"),
    "one site": (lambda d: d["scope"].update(to_site="primary"), "scope.from_site and scope.to_site are both"),
    "no call": (lambda d: d["calls"][0].update(count=-1), "calls count rds failover_global_cluster -1 times"),
    "due": (lambda d: d["corrective_actions"][0].update(due="soon"), "corrective_actions has the date 'soon'"),
    "a number beyond floats": (lambda d: d["rto"].update(high_seconds=10**400), "rto.high_seconds is not a finite"),
}


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path)


def rewrite(store: FolderStore, change: Callable[[dict[str, Any]], object]) -> None:
    """As somebody who can write the history would: every record changed, the whole chain hashed anew."""
    previous = None
    for key in store.list(f"records/{STACK}/"):
        content = json.loads(store.read(key))
        change(content)
        content["previous_hash"] = previous
        content["hash"] = previous = digest(content)
        store.write(key, json.dumps(content).encode())


def failover_age(store: FolderStore) -> float | None:
    """Days, as the sensor reads them."""
    found = drill_samples(store, STACK, utc.parse("2026-11-24T00:00:00.000Z"), lambda _: None)
    return next(sample.raw for sample in found if sample.metric == "failover-age")


@pytest.mark.parametrize("name", FORGERIES)
def test_case_c6_each_contradiction_is_named(name: str, store: FolderStore) -> None:
    change, words = FORGERIES[name]
    forged = copy.deepcopy(document())
    change(forged)
    assert any(words in problem for problem in record.validate(forged, chained=False)), record.validate(
        forged, chained=False
    )
    with pytest.raises(record.RecordError):
        record.append(store, forged)


def test_case_c6_met_follows_from_the_figures() -> None:
    assert objective_met(59.9, 60) is True
    assert objective_met(60, 60) is False
    assert objective_met(None, 60) is None
    assert objective_met(None, 60, at_least=3.1) is None
    assert objective_met(None, 60, at_least=60) is False


def test_case_c6_a_contradicting_record_is_not_good_in_list_report_or_sensor(store: FolderStore) -> None:
    for number in range(3):
        record.append(store, document(number))
    assert [item.good for item in record.load(store, STACK)] == [True] * 3

    rewrite(store, lambda d: d["rto"].update(low_seconds=99999, high_seconds=99999, met=True))
    assert record.load(store, STACK) == []
    assert [each for each in record.load(store, STACK) if proves(each.to_json())] == []
    assert failover_age(store) is None
    problems = record.verify_chain(store, STACK)
    assert len(problems) == 3
    assert all(
        "rto.met is true, but 99999 to 99999 s against a target of 60 s makes it false" in each for each in problems
    )


def test_case_c6_an_honest_record_that_missed_an_objective_silences_nobody(store: FolderStore) -> None:
    missed = document()
    missed["rto"].update(low_seconds=99, high_seconds=100, met=False)
    missed["rto"]["parts"].update(traffic=None)
    record.append(store, missed)
    assert record.verify_chain(store, STACK) == []
    assert failover_age(store) is None


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_case_c6_records_of_real_drills_do_not_contradict_themselves(path: Path) -> None:
    assert record.validate(json.loads(path.read_bytes())) == []


def test_case_c6_a_record_of_another_stack_and_a_second_one_of_a_drill_are_named_and_left_out(
    store: FolderStore,
) -> None:
    first, second = record.append(store, document(1)), record.append(store, document(2))
    foreign = {**second.to_json(), "stack": "other"}
    store.write(f"records/{STACK}/000002.json", json.dumps({**foreign, "hash": digest(foreign)}).encode())
    again = {**first.to_json(), "previous_hash": first.hash}
    store.write(f"records/{STACK}/000003.json", json.dumps({**again, "hash": digest(again)}).encode())
    assert record.verify_chain(store, STACK) == [
        f"records/{STACK}/000002.json: it is a record of the stack 'other'",
        f"records/{STACK}/000003.json: records/{STACK}/000001.json is a record of the same drill, {first.id}",
    ]
    assert record.load(store, STACK) == [first]


def test_a_new_record_after_one_that_contradicts_itself_is_chained_to_the_newest_intact_one(store: FolderStore) -> None:
    first = record.append(store, document(1))
    forged = {**record.append(store, document(2)).to_json(), "reason": "x"}
    store.write(f"records/{STACK}/000002.json", json.dumps({**forged, "hash": digest(forged)}).encode())
    assert record.append(store, document(3)).previous_hash == first.hash
    assert record.verify_chain(store, STACK) == [f"records/{STACK}/000002.json: status is succeeded, but reason is 'x'"]


def test_a_record_that_states_a_step_of_the_clock_may_be_off_by_it() -> None:
    stepped = document()
    stepped["ended_at"] = "2026-11-23T18:58:00.000Z"
    stepped["exposure"] = {"from": "2026-11-23T19:02:20.000Z", "until": "2026-11-23T18:57:30.000Z", "seconds": 10.0}
    assert len(record.validate(stepped, chained=False)) == 2
    stepped["clock_steps"] = [{"at": "2026-11-23T18:57:25.000Z", "seconds": -300}]
    assert record.validate(stepped, chained=False) == []
    stepped["exposure"]["seconds"] = 5000
    assert len(record.validate(stepped, chained=False)) == 1


# Steps of the wall clock between two readings of it, and what a measurement may come to.
SECONDS = st.one_of(st.floats(-1e6, 1e6, allow_nan=False), st.just(0.0))
COUNTS = st.integers(-5, 200)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    low=SECONDS,
    high=SECONDS,
    parts=st.tuples(SECONDS, SECONDS, SECONDS, SECONDS),
    lost=COUNTS,
    lost_seconds=st.none() | SECONDS,
    counts=st.tuples(COUNTS, COUNTS, COUNTS),
    clocks=st.lists(st.integers(-400, 400), min_size=4, max_size=4),
    passed=st.sampled_from([True, False, None]),
)
def test_case_c6_absurd_measurements_still_leave_a_record(
    stack: Stack,
    tmp_path_factory: pytest.TempPathFactory,
    low: float,
    high: float,
    parts: tuple[float, float, float, float],
    lost: int,
    lost_seconds: float | None,
    counts: tuple[int, int, int],
    clocks: list[int],
    passed: bool | None,
) -> None:
    store = FolderStore(tmp_path_factory.mktemp("history"))
    journal = begun(store, stack)
    now = utc.now().timestamp()
    for mark, offset in zip(("T3", "T4"), clocks, strict=False):
        journal.note("x", "test", mark, at=datetime.fromtimestamp(now + offset, timezone.utc))  # type: ignore[arg-type]
    names = ("detect", "decide", "database", "traffic")
    for result in (
        Recovered(
            rto=RtoInterval(low_seconds=low, high_seconds=high, parts=RtoParts(**dict(zip(names, parts, strict=True))))
        ),
        Count(
            lost_commits=lost,
            lost_seconds=lost_seconds,
            in_doubt=counts[0],
            acknowledged=counts[1],
            survived=counts[2],
            ledger="x",
            unknown=0,
            refused=0,
        ),
        Protected(at=utc.to_text(datetime.fromtimestamp(now + clocks[2], timezone.utc))),
        Postconditions(conditions=(Condition(name="one-writer", passed=passed, reason=None),)),
    ):
        journal.intend(result.STEP)
        journal.done(result)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utc, "now_text", lambda: utc.to_text(datetime.fromtimestamp(now + clocks[3], timezone.utc)))
        written = record_builder.finish(stack, store, journal, "succeeded", None)
    assert record.verify_chain(store, stack.environment_suffix) == []
    assert [item.id for item in record.load(store, stack.environment_suffix)] == [journal.drill]
    possible = (
        0 <= low <= high
        and min(parts) >= 0
        and abs(sum(parts) - high) < 1e-3
        and high < stack.rto_seconds
        and lost == counts[1] - counts[2]
        and min(lost, *counts) >= 0
        and passed is True
    )
    assert possible or not written.good
    assert written.exposure is None or written.exposure.seconds is None or written.exposure.seconds >= 0
    if passed is not True:
        assert written.status == "failed"
        assert written.reason
