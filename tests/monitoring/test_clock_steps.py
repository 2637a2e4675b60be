"""Sensors whose host's clock is set between two ticks: an outage is noticed as soon as ever, and nothing else is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dr_assets.core.freshness import SKEW_SECONDS
from dr_assets.monitoring.clock_steps import follow_clock
from dr_assets.monitoring.state import State, WallClock
from dr_assets.stack import Stack, load_stack
from tests.support.monitoring import Run, S, at, healthy, sample

KEY = f"{S}/primary/metric/connectivity"


class SetClock(Run):
    """`Run` by a wall clock that is set: `second` passes steadily, our clock shows `second + ahead`."""

    ahead = 0.0
    host = "boot-1"
    step = 0.0

    def on(self, second: float, down: bool = False) -> None:
        """A tick; the prober's clock is set with ours."""
        now = second + self.ahead
        state, self.step = follow_clock(
            State.loads(self.cursor), WallClock(id=self.host, offset=self.ahead), at(now).timestamp()
        )
        self.cursor = state.dumps()
        own = "primary/metric/connectivity"
        samples = [*healthy(now, without=[own] if down else []), *([sample(now, 0.0)] if down else [])]
        before = len(self.steps)
        self.tick(now, samples)
        self.steps[before:] = [(second, text) for _, text in self.steps[before:]]


@settings(deadline=None, max_examples=40)
@given(step=st.floats(-3600, 3600), began=st.integers(100, 140), again=st.floats(-3600, 3600))
def test_case_e8_sensors_notice_an_outage_after_a_step(step: float, began: int, again: float) -> None:
    """Whatever is done to the clock before and during it: within the hold of 8 s, two ticks, and the skew that the prober's clock may
    have to ours (its readings of after a smaller step back are older than its last one)."""
    run = SetClock(load_stack())
    for second in range(0, 200, 5):
        run.ahead = 0.0 if second < 110 else step if second < 125 else step + again
        run.on(second, down=second >= began)
    assert run.delivered == ["writer opened"]
    assert run.steps[0][0] <= began + 8 + 10 + SKEW_SECONDS


@pytest.mark.parametrize("step", [-3600.0, -300.0, -5.0, 5.0, 300.0, 3600.0])
def test_case_e8_a_step_resolves_escalates_and_silences_nothing(stack: Stack, step: float) -> None:
    """An incident is resolved as long after its end as ever; a healthy stack stays without an alert."""
    run, calm = SetClock(stack), SetClock(stack)
    for second in range(0, 400, 5):
        run.ahead = calm.ahead = 0.0 if second < 130 else step
        run.on(second, down=100 <= second < 200)
        calm.on(second)
    assert run.delivered == ["writer opened", "writer resolved"]
    assert 215 <= run.steps[1][0] <= 230
    assert calm.delivered == []
    assert calm.last.state.tracks[KEY].value == 1.0


@pytest.mark.parametrize(("step", "known"), [(-300.0, True), (300.0, True), (1.0, False), (-1.9, False)])
def test_case_e8_a_step_is_known_once(stack: Stack, step: float, known: bool) -> None:
    def steps() -> Iterator[float]:
        for second in range(0, 60, 5):
            run.ahead = 0.0 if second < 30 else step
            run.on(second)
            yield run.step

    run = SetClock(stack)
    assert [found for found in steps() if found] == ([step] if known else [])


def test_case_e8_small_steps_add_up(stack: Stack) -> None:
    run = SetClock(stack)
    found = []
    for second in range(0, 60, 5):
        run.ahead = -0.2 * second
        run.on(second)
        found.append(run.step)
    assert sum(found) == pytest.approx(-10.0, abs=2.0)


def test_case_e8_after_a_restart_nothing_of_the_future_is_kept(stack: Stack) -> None:
    """Another monotonic clock, and a wall clock behind the cursor's times by an hour: they are taken to be now."""
    run = SetClock(stack)
    for second in range(0, 60, 5):
        run.on(second, down=True)
    run.host, run.ahead = "boot-2", -3600.0
    for second in range(60, 200, 5):
        run.on(second, down=second < 120)
    assert run.delivered == ["writer opened", "writer resolved"]
    assert run.steps[1][0] <= 160
    latest = at(195 - 3600).timestamp()
    assert run.last.state.heartbeat <= latest
    assert max(track.watched for track in run.last.state.tracks.values()) <= latest
