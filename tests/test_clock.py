"""Instants and the timeline of a drill: durations hold while the wall clock is set."""

import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dr_assets import clock, utc
from dr_assets.clock import Instant, OtherClockError, Timeline

PACKAGE = Path(clock.__file__).parent
real_now = utc.now


def set_clock(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.setattr(utc, "now", lambda: real_now() + timedelta(seconds=seconds))


def test_instants_of_one_clock_subtract_by_the_monotonic_reading() -> None:
    assert Instant("a", 12.5, 700.0) - Instant("a", 10.0, 1000.0) == 2.5
    assert Instant("a", 10.0, 1000.0) < Instant("a", 12.5, 700.0)
    assert min(Instant("a", 12.5, 700.0), Instant("a", 10.0, 1000.0)).monotonic == 10.0


def test_instants_of_two_clocks_cannot_be_compared() -> None:
    with pytest.raises(OtherClockError):
        _ = Instant("a", 12.5, 1000.0) - Instant("b", 10.0, 999.0)
    with pytest.raises(OtherClockError):
        _ = Instant("a", 12.5, 1000.0) < Instant("b", 10.0, 999.0)
    assert Instant("a", 12.5, 1000.0).step_since(Instant("b", 10.0, 999.0)) is None


@given(st.floats(-1e6, 1e6), st.floats(0, 1e5))
def test_a_step_is_what_the_wall_clock_advanced_beyond_the_monotonic_one(step: float, passed: float) -> None:
    found = Instant("a", passed, 1000.0 + passed + step).step_since(Instant("a", 0.0, 1000.0))
    assert found == pytest.approx(step, abs=1e-6)


def test_another_process_of_this_host_has_the_same_clock_on_linux() -> None:
    code = "from dr_assets import clock; print(clock.clock_id()); print(clock.instant().monotonic)"
    before = time.monotonic()
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert (out[0] == clock.clock_id()) == (sys.platform == "linux")
    if sys.platform == "linux":
        assert before < float(out[1]) < time.monotonic()


@pytest.mark.parametrize("seconds", [-300.0, 300.0])
def test_case_e8_a_timeline_does_not_follow_a_clock_that_is_set(
    seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = Timeline()
    first = line.now()
    assert abs(first - time.time()) < 5
    assert line.step() == 0.0
    set_clock(monkeypatch, seconds)
    assert 0 <= line.now() - first < 30
    assert abs(line.mark().timestamp() - first) < 30
    assert line.step() == pytest.approx(seconds, abs=0.5)
    assert line.step() == 0.0  # reported once
    set_clock(monkeypatch, 0.0)
    assert line.step() == pytest.approx(-seconds, abs=0.5)


def test_case_e8_a_resumed_drill_goes_on_with_its_timeline(monkeypatch: pytest.MonkeyPatch) -> None:
    line = Timeline()
    set_clock(monkeypatch, -300.0)  # while no process ran
    again = Timeline(line.anchor)
    assert abs(again.now() - line.now()) < 30
    assert again.step() == pytest.approx(-300.0, abs=0.5)


def test_case_e8_a_timeline_is_not_continued_by_another_clock() -> None:
    with pytest.raises(OtherClockError):
        Timeline(Instant("boot of yesterday/time:[1]", 10.0, 1000.0))


def test_a_reading_during_which_the_thread_was_suspended_is_no_step(monkeypatch: pytest.MonkeyPatch) -> None:
    line = Timeline()
    delays = iter([0.7, 0.0])

    def slow() -> object:
        at = real_now()
        time.sleep(next(delays, 0.0))
        return at

    monkeypatch.setattr(utc, "now", slow)
    assert line.step() == 0.0
