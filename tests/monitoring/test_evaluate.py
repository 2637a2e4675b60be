"""Evaluation, tick by tick: no false alert and no missed one."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dr_assets.errors import DrError
from dr_assets.monitoring.evaluate import decide
from dr_assets.monitoring.samples import Sample
from dr_assets.monitoring.state import State
from dr_assets.stack import Stack, load_stack
from tests.support.monitoring import Run, S, at, healthy, roles, sample

WRITER = f"{S}/primary/metric/connectivity"


def test_a_healthy_stack_raises_no_alert_for_an_hour(stack: Stack) -> None:
    """The lag alarms and metrics of the healthy writer never have data: that is neither bad nor unknown."""
    run = Run(stack)
    for second in range(0, 3600, 10):
        run.tick(second, healthy(second))
    assert run.delivered == []


def test_after_a_switchover_each_site_is_evaluated_by_its_new_role(stack: Stack) -> None:
    run = Run(stack)
    for second in range(0, 600, 10):
        run.tick(second, healthy(second))
    for second in range(600, 2400, 10):
        run.tick(second, healthy(second, writer="secondary"))
    assert run.delivered == []


def test_an_outage_is_one_alert_and_one_resolution(stack: Stack) -> None:
    """Every source notices, the lag included, and only the first opens an incident."""
    run = Run(stack)
    for second in range(0, 60, 5):
        run.tick(second, healthy(second))
    for second in range(60, 240, 5):
        down = [s for s in healthy(second) if s.metric not in ("connectivity", "health-check", "replication-lag")]
        down += [sample(second, 0.0), sample(second, 90_000.0, "replication-lag", "secondary")]
        if second >= 90:
            down += [sample(second, 0.0, "health-check", source="health-check")]
            down += [sample(second, 0.0, "connectivity", source="alarm")]
            down += [sample(second, 0.0, "replication-lag", "secondary", "alarm")]
        run.tick(second, down)
    for second in range(240, 600, 5):
        run.tick(second, healthy(second))
    assert run.delivered == ["writer opened", "writer resolved"]
    opened, resolved = (second for second, _ in run.steps)
    assert 60 <= opened <= 60 + 15
    assert 240 <= resolved <= 240 + 30


def test_a_lag_that_outlives_the_outage_has_its_own_alert(stack: Stack) -> None:
    run = Run(stack)
    for second in range(0, 700, 5):
        samples = healthy(second, without=[] if second < 10 else ["secondary/metric/rpo-lag"])
        if second >= 10:
            samples.append(sample(second, 120_000.0, "rpo-lag", "secondary"))
        if 5 <= second < 100:
            samples = [s for s in samples if s.subject != WRITER] + [sample(second, 0.0)]
        run.tick(second, samples)
    assert run.delivered == ["writer opened", "writer resolved", "replication opened", "replication escalated"]


@pytest.mark.parametrize(
    ("name", "values", "delivered"),
    [
        ("a spike shorter than the hold", [1, 1, 0, 1, 1, 1, 1, 1], []),
        ("a breach that lasts", [1, 1, 0, 0, 0, 0, 0, 0], ["writer opened"]),
        ("bad from the first sample on", [0, 0, 0], ["writer opened"]),
        ("a spike, then silence", [1, 0, None, None, None, None], []),
        ("bad, silence, bad: it never became good", [1, 0, None, None, 0], ["writer opened"]),
        ("a breach, then silence: still open", [0, 0, 0, None, None, None], ["writer opened"]),
        ("a breach that ends", [0, 0, 0, 1, 1, 1, 1, 1], ["writer opened", "writer resolved"]),
        ("good too shortly to be over", [0, 0, 0, 1, 1, 0, 1, 1], ["writer opened"]),
        ("flapping", [1, 0] * 12, ["writer opened"]),
        ("flapping that calms down", [1, 0] * 12 + [1] * 6, ["writer opened", "writer resolved"]),
        ("one spike every two minutes", ([0] + [1] * 11) * 4, []),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_hold_hysteresis_and_flapping(
    stack: Stack, name: str, values: list[float | None], delivered: list[str]
) -> None:
    """One reading of the probe every 10 s; hold 10 s, clear 20 s."""
    run = Run(stack)
    for index, value in enumerate(values):
        second = index * 10.0
        run.tick(second, [*healthy(second, without=["primary/metric/connectivity"]), sample(second, value)])
    assert run.delivered == delivered, name


def test_between_the_thresholds_nothing_changes(stack: Stack) -> None:
    """Lag: breach above 60,000 ms, over at 48,000."""
    run = Run(stack)
    levels = [10, 61_000, 61_000, 61_000, 55_000, 55_000, 59_000, 61_000, 50_000, 47_000, 47_000]
    for index, level in enumerate(levels):
        second = index * 60.0
        own = sample(second, level, "replication-lag", "secondary")
        run.tick(second, [*healthy(second, without=["secondary/metric/replication-lag"]), own])
    opened, escalated, resolved = run.steps
    assert opened == (120.0, "replication opened")
    assert escalated[1] == "replication escalated"
    assert resolved == (540.0, "replication resolved")


def test_a_datapoint_read_many_times_is_one_datapoint(stack: Stack) -> None:
    """CloudWatch shows a minute's maximum until the next one is there: a spike within it does not become a breach."""
    run = Run(stack)
    for second in range(0, 180, 5):
        minute = second // 60 * 60
        level = 90_000.0 if minute == 60 else 100.0
        own = sample(minute, level, "replication-lag", "secondary")
        run.tick(second, [*healthy(second, without=["secondary/metric/replication-lag"]), own])
    assert run.delivered == []


@pytest.mark.parametrize("skew", [-40.0, -10.0, 0.0, 5.0, 10.0])
def test_skewed_clocks_neither_page_nor_miss(stack: Stack, skew: float) -> None:
    """A source whose clock is off by `skew` seconds, no more than clocks differ: the outage is noticed as soon, the calm is no alert."""
    run = Run(stack)
    for second in range(0, 600, 5):
        value = 0.0 if 300 <= second < 400 else 1.0
        own = sample(second + skew, value)
        run.tick(second, [*healthy(second, without=["primary/metric/connectivity"]), own])
    assert run.delivered == ["writer opened", "writer resolved"]
    assert 310 <= run.steps[0][0] <= 315
    assert 420 <= run.steps[1][0] <= 425


@pytest.mark.parametrize("skew", [-7200.0, -90.0, 11.0, 110.0, 500.0, 7200.0])
def test_case_a8_what_a_clock_far_off_stamps_is_unknown_and_alerts_as_such(stack: Stack, skew: float) -> None:
    run = Run(stack)
    for second in range(0, 600, 5):
        own = sample(second + skew, 0.0 if 300 <= second < 400 else 1.0)
        run.tick(second, [*healthy(second, without=["primary/metric/connectivity"]), own])
    assert run.delivered == ["sources.primary opened"]
    assert run.steps[0][0] == 95.0
    assert run.last.state.tracks[WRITER].value is None


def test_case_a8_a_future_reading_displaces_no_present_one(stack: Stack) -> None:
    run = Run(stack)
    for second in range(0, 60, 5):
        both = [sample(second, 0.0), sample(second + 110, 1.0)]
        run.tick(second, [*healthy(second, without=["primary/metric/connectivity"]), *both])
    assert run.delivered == ["writer opened"]


def test_our_own_clock_going_back_resolves_nothing_by_mistake(stack: Stack) -> None:
    run = Run(stack)
    for second in (0, 5, 10, 15):
        run.tick(second, [*healthy(second, without=["primary/metric/connectivity"]), sample(second, 0.0)])
    run.tick(-100, [*healthy(20, without=["primary/metric/connectivity"]), sample(20, 0.0)])
    assert run.delivered == ["writer opened"]


def test_older_and_repeated_samples_change_nothing(stack: Stack) -> None:
    run = Run(stack)
    run.tick(0, healthy(0))
    run.tick(30, healthy(30))
    run.tick(31, [sample(10, 0.0), sample(20, 0.0), sample(20, 0.0)])  # the past arrives late
    run.tick(35, [sample(20, 0.0), sample(10, 0.0), *healthy(30)])
    assert run.delivered == []
    assert run.last.state.tracks[WRITER].value == 1.0


def test_a_dead_probe_has_its_own_alert_and_is_no_outage(stack: Stack) -> None:
    run = Run(stack)
    for second in range(0, 300, 5):
        gone = ["primary/metric/connectivity"] if second > 30 else []
        samples = healthy(second, without=gone)
        if gone:
            samples.append(sample(second, None))
        run.tick(second, samples)
    assert run.delivered == ["sources.primary opened"]
    incident = run.last.state.incidents[f"{S}/sources.primary"]
    assert incident.severity == "warning"
    assert "connectivity" in incident.text


@pytest.mark.parametrize("answer", ["nothing at all", "no value"])
def test_an_alarm_without_data_at_the_reader_becomes_unknown_not_bad(stack: Stack, answer: str) -> None:
    run = Run(stack)
    for second in range(0, 1200, 20):
        samples = healthy(second, without=["secondary/alarm/rpo-lag"])
        if answer == "no value":
            samples.append(sample(second, None, "rpo-lag", "secondary", "alarm"))
        run.tick(second, samples)
    assert run.delivered == ["sources.secondary opened"]


def test_a_failing_health_check_alerts_at_the_writer_only(stack: Stack) -> None:
    for site, expected in (("primary", ["writer opened"]), ("secondary", [])):
        run = Run(stack)
        for second in range(0, 60, 5):
            samples = healthy(second, without=[f"{site}/health-check/health-check"])
            run.tick(second, [*samples, sample(second, 0.0, "health-check", site, "health-check")])
        assert run.delivered == expected


def test_a_dark_region_of_the_writer_is_an_outage(stack: Stack) -> None:
    """Its metrics and alarms are silent; that its API does not answer is what we know."""
    run = Run(stack)
    for second in range(0, 200, 5):
        if second < 60:
            run.tick(second, healthy(second))
        else:
            dark = [sample(second, 0.0, "answers", source="region"), *roles(second)]
            other = [s for s in healthy(second) if s.site == "secondary" and s.source != "topology"]
            run.tick(second, [*dark, *other])
    assert run.delivered == ["writer opened"]
    assert run.steps[0][0] <= 75


def test_roles_are_kept_while_no_source_answers(stack: Stack) -> None:
    run = Run(stack)
    run.tick(0, healthy(0, writer="secondary"))
    for second in range(5, 60, 5):
        run.tick(second, [sample(second, 0.0, site="secondary"), sample(second, 0.0, site="primary")])
    assert run.delivered == ["writer opened"]
    assert run.last.state.incidents[f"{S}/writer"].site == "secondary"


def test_escalation_comes_once_after_the_recovery_objective(stack: Stack) -> None:
    run = Run(stack)
    for second in range(0, 900, 10):
        run.tick(second, [*healthy(second, without=["primary/metric/connectivity"]), sample(second, 0.0)])
    assert run.delivered == ["writer opened", "writer escalated"]
    assert run.steps[1][0] - run.steps[0][0] == stack.rto_seconds


def test_each_return_of_a_breach_delays_its_resolution(stack: Stack) -> None:
    """Five minutes' rhythm: each return within the hour must stay good longer before it is called over."""
    run = Run(stack)
    for second in range(0, 3600, 10):
        value = 0.0 if second % 120 < 40 else 1.0
        run.tick(second, [*healthy(second, without=["primary/metric/connectivity"]), sample(second, value)])
    assert run.delivered.count("writer opened") <= 3


def test_maintenance_silences_with_an_end(stack: Stack) -> None:
    run = Run(stack)

    def tick(second: float, value: float, silenced: bool) -> None:
        samples = [*healthy(second, without=["primary/metric/connectivity"]), sample(second, value)]
        run.tick(second, samples, [f"{S}/*"] if silenced else [])

    for second in range(0, 100, 10):
        tick(second, 0.0, True)
    assert run.delivered == []
    for second in range(100, 150, 10):
        tick(second, 0.0, False)
    assert run.steps == [(100, "writer opened")]
    for second in range(150, 250, 10):
        tick(second, 1.0, False)
    assert run.delivered == ["writer opened", "writer resolved"]


def test_what_begins_and_ends_in_a_window_raises_no_alert(stack: Stack) -> None:
    run = Run(stack)
    kinds = []
    for second in range(0, 300, 10):
        value = 0.0 if second < 100 else 1.0
        samples = [*healthy(second, without=["primary/metric/connectivity"]), sample(second, value)]
        decision = run.tick(second, samples, [f"{S}/writer"] if second < 200 else [])
        kinds += [transition.step for transition in decision.transitions]
    assert run.delivered == []
    assert kinds == ["silenced", "silenced"]


def test_crossings_and_a_heartbeat_are_observed_and_readings_are_not(stack: Stack) -> None:
    run = Run(stack)
    seen = []
    for second in range(0, 1300, 10):
        value = 0.0 if 100 <= second < 200 else 1.0
        decision = run.tick(second, [*healthy(second, without=["primary/metric/connectivity"]), sample(second, value)])
        seen += [(second, o.kind) for o in decision.observations]
    assert [item for item in seen if item[1] != "heartbeat"] == [(110, "crossed"), (220, "cleared")]
    assert sorted({second for second, kind in seen if kind == "heartbeat"}) == [0, 600, 1200]


def test_a_foreign_cursor_is_refused_with_a_message() -> None:
    for text in ("{", '{"schema": 99}', '{"schema": 1}', "[]", "7"):
        with pytest.raises(DrError, match="cursor"):
            State.loads(text)
    assert State.loads(None) == State.empty()


def test_evidence_and_numbers_survive_the_cursor(stack: Stack) -> None:
    run = Run(stack)
    for second in range(0, 60, 5):
        run.tick(second, [*healthy(second, without=["primary/metric/connectivity"]), sample(second, 0.0)])
    state = State.loads(run.cursor)
    incident = state.incidents[f"{S}/writer"]
    assert incident.id == f"{S}-writer-000001"
    assert "objective at least 1" in incident.evidence[0]
    assert state.dumps() == run.cursor


STACK = load_stack()


def _history(values: list[float]) -> list[Sample]:
    return [sample(index * 10.0, value) for index, value in enumerate(values)]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=25), st.integers(0, 10_000))
def test_order_and_repetition_within_a_tick_never_matter(values: list[float], seed: int) -> None:
    samples = _history(values)
    shuffled = samples + samples[: len(samples) // 2]
    random.Random(seed).shuffle(shuffled)
    rules = Run(STACK).rules
    assert decide(State.empty(), samples, at(250), rules) == decide(State.empty(), shuffled, at(250), rules)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([0.0, 1.0, None]), min_size=1, max_size=60))
def test_every_opened_is_resolved_before_the_next_one_opens(values: list[float | None]) -> None:
    run = Run(STACK)
    for index, value in enumerate(values):
        second = index * 10.0
        run.tick(second, [*healthy(second, without=["primary/metric/connectivity"]), sample(second, value)])
    own = [step for step in run.delivered if step.startswith("writer") and not step.endswith("escalated")]
    assert own == (["writer opened", "writer resolved"] * len(own))[: len(own)]


def test_five_hundred_stacks_are_decided_quickly(stack: Stack, benchmark_seconds: Callable[[], float]) -> None:
    many = [stack.model_copy(update={"environment_suffix": f"stack{n:03d}"}) for n in range(500)]
    from dr_assets.monitoring.rules import rules_for

    rules = [rule for one in many for rule in rules_for(one)]
    samples = [
        Sample(s.at, one.environment_suffix, s.site, s.source, s.metric, s.raw, s.quantity)
        for one in many
        for s in healthy(0)
    ]
    state = decide(State.empty(), samples, at(0), rules).state
    started = benchmark_seconds()
    decision = decide(state, samples, at(5), rules)
    assert benchmark_seconds() - started < 5.0
    assert not decision.transitions


@pytest.fixture
def benchmark_seconds() -> Callable[[], float]:
    import time

    return time.process_time  # of this process alone: a busy machine is not slow code
