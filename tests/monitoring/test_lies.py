"""Every source gives every lie: what is stale, ahead of the clock, out of range, no number or missing is unknown, and only that."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dr_assets.core.freshness import Unknown
from dr_assets.defs.monitoring.sensors import evaluation
from dr_assets.monitoring.rules import SOURCE_KINDS, rules_for
from dr_assets.monitoring.samples import CONNECTIVITY, Sample
from dr_assets.monitoring.sources.cloudwatch import AlarmSource
from dr_assets.monitoring.sources.source import Metric
from dr_assets.monitoring.state import State, Track
from dr_assets.stack import SITES, Stack
from tests.support.monitoring import QUANTITIES, Run, S, at, healthy, sample

# CloudWatch takes datapoints of up to two hours ahead (PutMetricData); Aurora's lag of what never replicated was calculated in 1970,
# and -1 marks the primary (Aurora user guide, aurora_global_db_status).
LIES: dict[str, Callable[[float, Metric], tuple[float, float | None]]] = {
    "stale": lambda second, metric: (second - metric.quantity.covers - metric.quantity.age_limit - 1, 1.0),
    "of 1970": lambda second, metric: (-at(0).timestamp(), 1.0),
    "110 s ahead": lambda second, metric: (second + 110, 1.0),
    "two hours ahead": lambda second, metric: (second + 7200, 1.0),
    "negative": lambda second, metric: (second, -1.0),
    "NaN": lambda second, metric: (second, math.nan),
    "infinite": lambda second, metric: (second, math.inf),
    "missing": lambda second, metric: (second, None),
}


def subjects() -> Iterator[Any]:
    for kind in SOURCE_KINDS:
        for metric in kind.metrics:
            for lie in LIES:
                yield pytest.param(kind.name, metric, lie, id=f"{kind.name} {metric.name} {lie}")


def without(second: float, source: str, metric: str) -> list[Sample]:
    own = {f"{site}/{source}/{metric}" for site in (*SITES, "global")}
    every = [
        *healthy(second),
        *(sample(second, 1.0, "member", site, "topology") for site in SITES),
        sample(second, 0.0, "transition", "global", "topology"),
        sample(second, 1.0, "connectivity", "primary", "sql"),
        *(sample(second, 20.0, lag, "secondary", "sql") for lag in ("replication-lag", "rpo-lag")),
        *(sample(second, 1.0, key, site, "key") for key in ("data-key", "cluster-key") for site in SITES),
        sample(second, 1.0, "single-writer", "global", "writers"),
        sample(second, 1.0, "answers", "global", "store"),
    ]
    return [each for each in every if f"{each.site}/{each.source}/{each.metric}" not in own]


@pytest.mark.parametrize(("source", "metric", "lie"), list(subjects()))
def test_case_a4_every_source_times_every_lie(stack: Stack, source: str, metric: Metric, lie: str) -> None:
    """Beside healthy others: unknown at once, no incident but that of the silent source, and the check does not pass."""
    run, rules = Run(stack), rules_for(stack)
    of_both = source in ("writers", "store", "host") or metric.name == "writer-inside"
    sites: tuple[Any, ...] = ("global",) if of_both else SITES
    good = 0.0 if metric.name == "transition" else 1.0
    for second in range(0, 30, 5):
        honest = [sample(second, good, metric.name, site, source) for site in sites]
        run.tick(second, [*without(second, source, metric.name), *honest])
    assert run.delivered == []
    for second in range(40, 1500, 20):
        when, value = LIES[lie](second, metric)
        false = [sample(when, value, metric.name, site, source) for site in sites]
        assert all(isinstance(each.assess(at(second)), Unknown) for each in false)
        run.tick(second, [*without(second, source, metric.name), *false])
    assert set(run.delivered) <= {
        "sources.primary opened",
        "sources.secondary opened",
        "sources.global opened",
        "sources.store opened",
    }
    for rule in rules:
        if (rule.source, rule.metric) == (source, metric.name) and rule.role in (
            None,
            "writer" if rule.site == "primary" else "reader",
        ):
            found = evaluation(run.last.state, rules, rule.resource, at(1480))
            assert not found.passed
            assert "unknown" in str(found.description)


def test_every_metric_has_an_age_limit() -> None:
    """Polled again and again, so that none may be believed for ever."""
    assert [key for key, quantity in QUANTITIES.items() if not quantity.age_limit <= 320.0] == []


class Alarms:
    """DescribeAlarms with one answer for every alarm (CloudWatch API, MetricAlarm)."""

    def __init__(self, **fields: str) -> None:
        self.fields = fields

    def client(self, service: str, region: str) -> Alarms:
        return self

    def describe_alarms(self, AlarmNames: list[str], **more: Any) -> dict[str, Any]:
        return {"MetricAlarms": [{"AlarmName": name, **self.fields} for name in AlarmNames]}


@pytest.mark.parametrize("state", ["PARTIAL_DATA", "EVALUATION_ERROR", "EVALUATION_FAILURE"])
@pytest.mark.parametrize("value", ["OK", "ALARM"])
def test_case_a4_an_alarm_that_is_not_evaluated_is_unknown(stack: Stack, value: str, state: str) -> None:
    """MetricAlarm.EvaluationState: not all data were available, the configuration is wrong, or CloudWatch failed."""

    def asked(**fields: str) -> Sample:
        found, _ = AlarmSource([stack], Alarms(StateReason="why", **fields), stack.primary_region)(at(0))  # type: ignore[arg-type]
        return next(each for each in found if each.metric == CONNECTIVITY)

    assert asked(StateValue=value).raw == (1.0 if value == "OK" else 0.0)
    unknown = asked(StateValue=value, EvaluationState=state).assess(at(0))
    assert unknown == Unknown(f"{state}: why")


def test_case_a4_a_cursor_ahead_of_the_clock_heals(stack: Stack) -> None:
    """Written when readings of the future counted, or by a host whose clock was ahead: it does not outlast present readings."""
    ahead = at(7200).timestamp()
    key = f"{S}/primary/metric/connectivity"
    run = Run(stack)
    run.tick(0, healthy(0))
    state = run.last.state
    tracks = {**state.tracks, key: Track(watched=at(0).timestamp(), at=ahead, value=1.0, known=ahead)}
    run.cursor = State.loads(run.cursor).updated(tracks=tracks, roles={S: ("secondary", ahead)}).dumps()
    for second in (5, 10, 15, 20):
        run.tick(second, [*healthy(second, without=["primary/metric/connectivity"]), sample(second, 0.0)])
    assert run.delivered == ["writer opened"]
    assert run.last.state.roles[S] == ("primary", at(20).timestamp())


def test_case_a4_a_day_without_a_source_is_no_day_of_health(stack: Stack) -> None:
    """`sql` has no alert for its silence: what was read yesterday does not pass today."""
    run, rules, resource = Run(stack), rules_for(stack), "primary/aurora/cluster"
    run.tick(0, [*healthy(0), sample(0, 1.0, "connectivity", "primary", "sql")])
    assert evaluation(run.last.state, rules, resource, at(0)).passed
    run.tick(86400, healthy(86400))
    found = evaluation(run.last.state, rules, resource, at(86400))
    assert not found.passed
    assert found.description == "unknown: sql connectivity"
