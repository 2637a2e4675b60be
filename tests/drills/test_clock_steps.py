"""A drill whose wall clock is set meanwhile, or that is resumed by another clock: figures hold, or are unknown."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from dr_assets import clock, utc
from dr_assets.drills import record, record_builder
from dr_assets.drills.journal import Count, Journal, Protected
from dr_assets.drills.plan import Plan
from dr_assets.drills.request import Request
from dr_assets.history.store import FolderStore
from dr_assets.stack import Stack
from tests.support.approvals import LEE

DRILL = "20261123T190211Z-failover-3f9a2c"
real_now = utc.now


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path)


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    return lambda seconds: monkeypatch.setattr(utc, "now", lambda: real_now() + timedelta(seconds=seconds))


def begun(store: FolderStore, stack: Stack) -> Journal:
    plan = Plan(
        scenario="failover",
        stack=stack.environment_suffix,
        from_site="primary",
        to_site="secondary",
        from_region="us-east-1",
        to_region="us-west-2",
    )
    return Journal.begin(store, DRILL, plan, Request("failover", "kim", "a test", approval=LEE).approved(()))


def protect(journal: Journal) -> None:
    journal.intend("protected")
    journal.done(Protected(at=journal.now_text()))


def finish(store: FolderStore, stack: Stack, journal: Journal) -> record.Record:
    return record_builder.finish(stack, store, journal, "succeeded", None)


@pytest.mark.parametrize("seconds", [-300.0, 300.0])
def test_case_e8_exposure_is_monotonic_when_the_clock_is_set(
    store: FolderStore, stack: Stack, seconds: float, set_clock: Callable[[float], None]
) -> None:
    """CASES: the clock set back five minutes during `act` gave an exposure of -298 s, which counted as good."""
    journal = begun(store, stack)
    journal.note("called", "drill", "T3")
    set_clock(seconds)
    protect(journal)
    written = finish(store, stack, journal)
    exposure = written.exposure
    assert exposure is not None
    assert exposure.seconds is not None
    assert 0 <= exposure.seconds < 30
    assert (utc.parse(exposure.until or "") - utc.parse(exposure.since)).total_seconds() == exposure.seconds
    times = [entry.at for entry in written.timeline] + [written.ended_at]
    assert times == sorted(times)


@pytest.mark.parametrize(("seconds", "how"), [(-300.0, "set back 300.0 s"), (300.0, "set ahead")])
def test_case_e8_a_step_of_the_clock_is_a_deviation(
    store: FolderStore, stack: Stack, seconds: float, how: str, set_clock: Callable[[float], None]
) -> None:
    journal = begun(store, stack)
    journal.check_clock()
    assert journal.document.deviations == ()
    set_clock(seconds)
    journal.intend("act")
    journal.intend("follow")
    assert len(journal.document.deviations) == 1
    assert how in journal.document.deviations[0]


def test_case_e8_a_drill_resumed_after_a_step_goes_on_with_its_timeline(
    store: FolderStore, stack: Stack, set_clock: Callable[[float], None]
) -> None:
    begun(store, stack).note("called", "drill", "T3")
    set_clock(-300.0)
    again = Journal.load(store, stack.environment_suffix, DRILL)
    again.resumed()
    assert not again.measured_by_two_clocks
    protect(again)
    exposure = finish(store, stack, again).exposure
    assert exposure is not None
    assert exposure.seconds is not None
    assert 0 <= exposure.seconds < 30
    assert any("set back 300.0 s" in text for text in again.document.deviations)


@pytest.mark.parametrize("seconds", [-300.0, 0.0])
def test_case_e8_a_drill_resumed_after_a_reboot_is_measured_by_two_clocks(
    store: FolderStore,
    stack: Stack,
    seconds: float,
    set_clock: Callable[[float], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dr_assets.drills.journal.clock_id", lambda: "another boot")
    monkeypatch.setattr(clock, "clock_id", lambda: "another boot")
    begun(store, stack).note("called", "drill", "T3")
    monkeypatch.undo()
    monkeypatch.setattr(utc, "now", lambda: real_now() + timedelta(seconds=seconds))
    again = Journal.load(store, stack.environment_suffix, DRILL)
    again.resumed()
    assert again.measured_by_two_clocks
    protect(again)
    written = finish(store, stack, again)
    assert written.exposure is not None
    if seconds:
        assert written.exposure.seconds is None  # never negative
    else:
        assert written.exposure.seconds is not None
        assert 0 <= written.exposure.seconds < 30
    assert any("two clocks" in text for text in written.deviations)
    assert record.verify_chain(store, stack.environment_suffix) == []


@pytest.mark.parametrize(("at_least", "met"), [(3600.0, False), (0.5, None)])
def test_case_f11_a_bound_beyond_the_target_is_missed_and_one_within_it_is_unknown(
    store: FolderStore, stack: Stack, at_least: float, met: bool | None
) -> None:
    journal = begun(store, stack)
    counted = Count(
        lost_commits=63,
        lost_seconds=None,
        in_doubt=0,
        acknowledged=63,
        survived=0,
        ledger="drills/x-ledger.jsonl",
        unknown=0,
        refused=0,
        lost_at_least_seconds=at_least,
    )
    journal.intend("count")
    journal.done(counted)
    written = finish(store, stack, Journal.load(store, stack.environment_suffix, DRILL))
    assert (written.rpo.met, written.rpo.lost_seconds, written.rpo.lost_at_least_seconds) == (met, None, at_least)
    assert not written.good
    assert json.loads(store.read(f"records/{stack.environment_suffix}/000001.json"))["rpo"]["met"] is met
