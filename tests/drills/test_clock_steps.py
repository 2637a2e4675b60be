"""A drill whose wall clock is set meanwhile, or that is resumed by another clock: figures hold, or are unknown."""

import json
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from dr_assets import clock, utc
from dr_assets.cli import render
from dr_assets.drills import record, record_builder
from dr_assets.drills.journal import Count, Journal, Protected
from dr_assets.drills.plan import Plan
from dr_assets.drills.request import Request
from dr_assets.history import samples
from dr_assets.history.store import FolderStore
from dr_assets.reports.analysis.report import Subject, stack_report
from dr_assets.reports.pack import tables
from dr_assets.reports.pack.event_section import event
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


@pytest.mark.parametrize("step", [0.0, -300.0, 300.0])
def test_case_e8_an_exposure_that_has_not_ended_has_a_lower_bound(
    store: FolderStore, stack: Stack, step: float, set_clock: Callable[[float], None]
) -> None:
    """A drill that fails while the data are exposed: how long they have been is known, whatever was done to the clock."""
    journal = begun(store, stack)
    journal.note("called", "drill", "T3")
    set_clock(step)
    time.sleep(0.05)
    written = record_builder.finish(stack, store, journal, "failed", "no reader came back")
    exposure = written.exposure
    assert exposure is not None
    assert (exposure.until, exposure.seconds) == (None, None)
    assert exposure.at_least_seconds is not None
    assert 0.05 <= exposure.at_least_seconds < 30
    article = event(written.to_json(), "1.json")
    (shown,) = (fact.value for fact in article.facts if fact.name == "Exposure")
    assert shown.startswith("at least 0.")
    assert shown.endswith("its end was not recorded")


def test_case_f11_a_lower_bound_is_shown_as_one(
    store: FolderStore, stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page's tables, a record's article and the command line: neither empty nor a figure that was measured."""
    start = datetime(2026, 11, 1, tzinfo=timezone.utc)
    content = {
        "id": "d1",
        "kind": "incident",
        "scenario": "failover",
        "status": "failed",
        "started_at": "2026-11-01T12:00:00.000Z",
        "rto": {"low_seconds": 4.0, "high_seconds": None, "parts": {}, "target_seconds": 60, "met": None},
        "rpo": {
            "lost_commits": 63,
            "lost_seconds": None,
            "lost_at_least_seconds": 3.1,
            "acknowledged": 63,
            "met": False,
        },
        # Measured by two clocks: when it ended is not known.
        "exposure": {"from": "2026-11-01T12:00:00.000Z", "until": "2026-11-01T11:55:02.000Z", "seconds": None},
    }
    report = stack_report(
        Subject.of(stack),
        start,
        start + timedelta(days=1),
        samples.SCHEMA.empty_table(),
        [content],
        start + timedelta(days=1),
    )
    assert list(tables.losses(report)["lost_seconds"]) == ["at least 3.100"]
    assert list(tables.recovery_times(report)["measured (s)"]) == ["at least 4.0"]
    assert list(report.exposure.intervals["open"]) == ["yes"]
    assert report.exposure.seconds == 12 * 3600
    facts = {fact.name: fact.value for fact in event(content, "1.json").facts}
    assert facts["RTO"].startswith("at least 4 s, target")
    assert facts["RPO"].startswith("at least 3.1 s, 63 of 63 acknowledged commits lost")
    assert render.figure(None, 3.1) == "at least 3.100 s"
