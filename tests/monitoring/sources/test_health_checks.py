"""Source `health-check`: the checks' own metric in CloudWatch, one call for all of them, and no call of Route 53's status API."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from dr_assets.monitoring.sources.health_checks import HealthCheckSource
from dr_assets.resources import names
from dr_assets.resources.dns.rows import SITE_CHECKS
from dr_assets.stack import SITES, Stack
from tests.support.monitoring import Run, at, healthy, known, sample


class Aws:
    """The sites' checks of a stack by ListHealthChecks, and their metric by GetMetricData. `points`: of every check."""

    def __init__(self, stack: Stack, *points: tuple[datetime, float]) -> None:
        self.points = points
        self.calls: list[str] = []
        self.checks = [
            {
                "Id": f"{name}-{site}",
                "HealthCheckConfig": {
                    "Type": "CLOUDWATCH_METRIC",
                    "AlarmIdentifier": {"Name": names.alarm(stack, site, metric), "Region": stack.region(site)},
                    "InsufficientDataHealthStatus": missing,
                },
            }
            for site in SITES
            for name, metric, missing, _ in SITE_CHECKS
        ]

    def client(self, service: str, region: str) -> Aws:
        # Route 53 publishes its metrics in us-east-1 alone (developer guide, "Monitoring health checks using CloudWatch").
        assert region == "us-east-1"
        return self

    def get_paginator(self, operation: str) -> Aws:
        assert operation == "list_health_checks"
        return self

    def paginate(self) -> Iterator[dict[str, Any]]:
        self.calls.append("ListHealthChecks")
        yield {"HealthChecks": self.checks}

    def get_metric_data(self, **params: Any) -> dict[str, Any]:
        self.calls.append("GetMetricData")
        for query in params["MetricDataQueries"]:
            metric = query["MetricStat"]["Metric"]
            assert (metric["Namespace"], metric["MetricName"]) == ("AWS/Route53", "HealthCheckStatus")
            assert [d["Name"] for d in metric["Dimensions"]] == ["HealthCheckId"]
        times, values = [at for at, _ in self.points], [value for _, value in self.points]
        results = [{"Id": q["Id"], "Timestamps": times, "Values": values} for q in params["MetricDataQueries"]]
        return {"MetricDataResults": results}


@pytest.mark.parametrize(
    ("points", "value"),
    [
        ([(at(-120), 1.0)], 1.0),
        ([(at(-180), 1.0), (at(-120), 0.0)], 0.0),
        ([(at(-120), 1.0), (at(-180), 0.0)], 1.0),
        ([(at(110), 1.0), (at(-120), 0.0)], 0.0),
        ([(at(3600), 1.0)], None),
        ([(at(-9 * 3600), 1.0)], None),
        ([(at(-120), float("nan"))], None),
        ([(at(-120), -1.0)], None),
        ([], None),
    ],
    ids=[
        "healthy",
        "newest unhealthy",
        "newest healthy",
        "beside the future",
        "future",
        "old",
        "nan",
        "negative",
        "no data",
    ],
)
def test_aws_08_the_newest_datapoint_counts_and_none_is_unknown(
    stack: Stack, points: list[tuple[datetime, float]], value: float | None
) -> None:
    aws: Any = Aws(stack, *points)
    samples, _ = HealthCheckSource([stack], aws)(at(0))
    assert len(samples) == 4
    assert {known(sample, 0)[0] for sample in samples} == {value}
    if value is not None:
        assert {sample.at for sample in samples} == {at(-120)}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [5.0]  # of a machine that has just started
    monkeypatch.setattr("dr_assets.monitoring.sources.health_checks.time.monotonic", lambda: now[0])
    return now


def test_aws_08_one_call_a_minute_and_route_53_once_in_ten_minutes(stack: Stack, clock: list[float]) -> None:
    """Route 53 takes five calls a second for the account, and GetHealthCheckStatus is for development (Route 53 API)."""
    stacks = [stack.model_copy(update={"environment_suffix": f"s{n:03d}"}) for n in range(120)]
    aws: Any = Aws(stack)
    aws.checks = [
        {**check, "Id": f"{number}-{check['Id']}"} for number, each in enumerate(stacks) for check in Aws(each).checks
    ]
    source = HealthCheckSource(stacks, aws)
    calls = []
    for second in range(0, 180, 5):
        clock[0] = 5.0 + second
        samples, made = source(at(second))
        assert len(samples) == 480
        calls.append(made)
    assert [n * 5 for n, made in enumerate(calls) if made] == [0, 60, 120]
    assert aws.calls == [
        "ListHealthChecks",
        "GetMetricData",
        "GetMetricData",
        "GetMetricData",
    ]  # the first also lists them
    clock[0] += 600.0
    source(at(800))
    assert aws.calls[4:] == ["ListHealthChecks", "GetMetricData"]


def test_aws_08_that_there_are_no_checks_is_remembered_for_ten_minutes(stack: Stack, clock: list[float]) -> None:
    aws: Any = Aws(stack)
    aws.checks = []
    source = HealthCheckSource([stack], aws)
    for second in range(0, 605, 5):
        clock[0] = 5.0 + second
        assert source(at(second))[0] == []
    assert aws.calls == ["ListHealthChecks"]
    clock[0] += 60.0
    source(at(700))
    assert aws.calls == ["ListHealthChecks"] * 2


@pytest.mark.parametrize("source", ["health-check", "alarm"])
def test_aws_17_a_reading_about_the_former_reader_is_no_outage_of_the_new_writer(stack: Stack, source: str) -> None:
    """The alarm needs two periods to notice that the site takes writes, and the health check's metric is minutes late."""
    metric = "health-check" if source == "health-check" else "connectivity"
    run, late = Run(stack), 120 if source == "health-check" else 0
    for second in range(0, 60, 10):
        run.tick(second, [*healthy(second), sample(second - late, 0.0, metric, "secondary", source)])
    for second in range(60, 360, 10):
        value = 0.0 if second - late < 180 else 1.0
        known = healthy(second, "secondary", without=[f"secondary/{source}/{metric}"])
        run.tick(second, [*known, sample(second - late, value, metric, "secondary", source)])
    assert run.delivered == []
    for second in range(360, 600, 10):
        known = healthy(second, "secondary", without=[f"secondary/{source}/{metric}"])
        run.tick(second, [*known, sample(second - late, 0.0, metric, "secondary", source)])
    assert run.delivered == ["writer opened"]
