"""Source `writers`: both sites accepting writes at the same time, by one source; never by readings of different moments."""

from __future__ import annotations

from datetime import datetime

import pytest

from dr_assets.monitoring.samples import STATE, Sample
from dr_assets.monitoring.sources.writers import readers_run, single_writer
from dr_assets.stack import Stack
from tests.support.monitoring import Run, S, at, healthy, sample


def both(seconds: float, source: str = "sql", values: tuple[float | None, float | None] = (1.0, 1.0)) -> list[Sample]:
    return [
        sample(seconds, value, "connectivity", site, source)
        for site, value in zip(("primary", "secondary"), values, strict=True)
    ]


def moving(seconds: float) -> Sample:
    return Sample(at(seconds), S, "global", "topology", "transition", 1.0, STATE, "switching-over")


def value(stack: Stack, samples: list[Sample], seconds: float = 0.0) -> float | None:
    return single_writer(stack, at(seconds), samples).raw


@pytest.mark.parametrize(
    ("values", "expected"),
    [((1.0, 1.0), 0.0), ((1.0, 0.0), 1.0), ((0.0, 1.0), 1.0), ((0.0, 0.0), 1.0), ((1.0, None), None)],
)
@pytest.mark.parametrize("source", ["sql", "metric"])
def test_both_sites_must_be_known(
    stack: Stack, source: str, values: tuple[float | None, float | None], expected: float | None
) -> None:
    assert value(stack, both(0, source, values)) == expected
    assert value(stack, both(0, source, values)[:1]) is None


def test_aws_17_an_old_reading_of_the_former_writer_is_no_second_writer(stack: Stack) -> None:
    """After a failover its last reading stays in CloudWatch for a while."""
    old, new = sample(0, 1.0, site="primary"), sample(30, 1.0, site="secondary")
    assert value(stack, [old, new], 40) is None
    assert value(stack, both(0, "metric"), 60) is None


def test_aws_17_readings_of_different_sources_are_not_combined(stack: Stack) -> None:
    assert value(stack, [sample(0, 1.0), sample(0, 1.0, site="secondary", source="sql")]) is None


@pytest.mark.parametrize("ahead", [11, 3000, 18_000])
def test_case_a8_readings_of_the_future_prove_neither_one_writer_nor_two(stack: Stack, ahead: int) -> None:
    for values in ((1.0, 0.0), (1.0, 1.0)):
        assert value(stack, both(ahead, "sql", values)) is None
    # Beside what AWS names: the reader's reading of the future is no second writer.
    assert value(stack, [*named(0, "primary"), sample(ahead, 1.0, site="secondary", source="sql")]) is None


def test_case_a8_a_future_reading_displaces_no_present_one(stack: Stack) -> None:
    assert value(stack, [*both(0), *both(110, "sql", (1.0, 0.0))]) == 0.0


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), -1.0, 0.5, 7.0])
def test_case_a4_what_is_no_reading_proves_no_single_writer(stack: Stack, odd: float) -> None:
    assert value(stack, both(0, "sql", (1.0, odd))) is None


def named(seconds: float, writer: str, region: str = "us-east-1") -> list[Sample]:
    """What DescribeGlobalClusters shows in one region."""
    return [
        Sample(at(seconds), S, site, "topology", "role", 1.0 if site == writer else 0.0, STATE, f"read in {region}")
        for site in ("primary", "secondary")
    ]


@pytest.mark.parametrize("source", ["sql", "metric"])
def test_case_b2_one_writer_is_known_by_sql_only_and_the_other_by_the_api_only(stack: Stack, source: str) -> None:
    """The writer of the API is out of reach, and the site that it calls a reader takes writes."""
    reading = sample(0, 1.0, site="secondary", source=source)
    assert value(stack, [*named(0, "primary"), reading]) == 0.0
    assert value(stack, [*named(0, "secondary"), reading]) is None
    assert value(stack, [*named(30, "primary"), reading], 30) is None, "an old reading"
    # That the other refuses is known: AWS shows the new writer late, and there is one.
    assert value(stack, [*named(0, "primary"), reading, sample(0, 0.0, site="primary", source=source)]) == 1.0
    assert value(stack, [*named(0, "primary"), reading, moving(0)]) is None


def test_case_b2_the_regions_name_different_writers(stack: Stack) -> None:
    samples = [*named(0, "primary"), *named(0, "secondary", "us-west-2")]
    found = single_writer(stack, at(0), samples)
    assert found.raw == 0.0 and "read in us-east-1" in found.note and "read in us-west-2" in found.note
    # What the databases themselves show counts more.
    assert value(stack, [*samples, *both(0, values=(0.0, 1.0))]) == 1.0


def test_aws_17_two_writers_during_a_switchover_are_unknown(stack: Stack) -> None:
    assert value(stack, [*both(0), moving(0)]) is None
    assert value(stack, [*both(0, values=(1.0, 0.0)), moving(0)]) == 1.0


def test_aws_17_two_writers_for_longer_than_a_minute_alert_although_the_change_is_still_under_way(stack: Stack) -> None:
    """FailoverState has no time limit: a change that is stuck must not hide two writers."""
    run = Run(stack)
    first: dict[str, datetime] = {}
    for second in range(0, 120, 5):
        readings = [] if second == 30 else both(second)  # a gap does not begin the minute again
        found = single_writer(stack, at(second), [*readings, moving(second)], first)
        run.tick(second, [*healthy(second), found])
    (opened,) = [seconds for seconds, step in run.steps if step == "two-writers opened"]
    assert 60 < opened <= 80
    single_writer(stack, at(120), [Sample(at(120), S, "global", "topology", "transition", 0.0, STATE)], first)
    assert single_writer(stack, at(300), [*both(300), moving(300)], first).raw is None  # another change


@pytest.mark.parametrize("source", ["sql", "metric"])
def test_case_b2_two_writers_are_a_critical_incident_within_the_detection_objective(stack: Stack, source: str) -> None:
    run = Run(stack)
    for second in range(0, 60, 5):
        run.tick(second, [*healthy(second), single_writer(stack, at(second), both(second, source, (1.0, 0.0)))])
    assert run.delivered == []
    for second in range(60, 120, 5):
        run.tick(second, [*healthy(second), single_writer(stack, at(second), both(second, source))])
    opened = [(seconds, step) for seconds, step in run.steps if step == "two-writers opened"]
    assert len(opened) == 1
    assert opened[0][0] - 60 <= stack.detection_seconds
    (incident,) = [each for each in run.last.state.incidents.values() if each.topic == "two-writers"]
    assert incident.severity == "critical"


def test_aws_17_one_reading_of_two_writers_in_the_instant_of_a_switchover_raises_nothing(stack: Stack) -> None:
    run = Run(stack)
    run.tick(0, [*healthy(0), single_writer(stack, at(0), both(0))])
    for second in range(5, 60, 5):
        now = both(second, values=(0.0, 1.0))
        run.tick(second, [*healthy(second, "secondary"), single_writer(stack, at(second), now)])
    assert "two-writers opened" not in run.delivered


def test_case_b3_a_reader_that_is_a_member_and_does_not_run_alerts_within_the_detection_objective(stack: Stack) -> None:
    run = Run(stack)
    for second in range(0, 300, 5):
        reachable = sample(second, 0.0 if second >= 60 else 1.0, "reachable", "secondary", "sql")
        run.tick(second, [*healthy(second), reachable, *readers_run(stack, at(second), [reachable])])
    (opened,) = run.steps
    assert opened[1] == "unprotected.secondary opened"
    assert opened[0] - 60 <= stack.detection_seconds
    (incident,) = run.last.state.incidents.values()
    assert (incident.severity, incident.site) == ("critical", "secondary")


def test_aws_17_a_database_that_restarts_while_roles_change_is_no_lost_reader(stack: Stack) -> None:
    gone = sample(0, 0.0, "reachable", "secondary", "sql")
    assert [each.raw for each in readers_run(stack, at(0), [gone, moving(0)])] == [None]
    assert [each.raw for each in readers_run(stack, at(0), [gone])] == [0.0]
    assert list(readers_run(stack, at(0), [])) == [], "without SQL nothing is asked and nothing missed"


def test_case_b3_a_lost_reader_is_an_alert_of_its_own_within_the_detection_objective(stack: Stack) -> None:
    run = Run(stack)
    for second in range(0, 300, 5):
        member = sample(second, 0.0 if second >= 60 else 1.0, "member", "secondary", "topology")
        run.tick(second, [*healthy(second), member])
    (opened,) = run.steps
    assert opened[1] == "unprotected.secondary opened"
    assert opened[0] - 60 <= stack.detection_seconds
    (incident,) = run.last.state.incidents.values()
    assert (incident.severity, incident.site) == ("critical", "secondary")
    assert "secondary is not a member of the global cluster: unprotected" in incident.text
