"""Source `health-check`: Route 53's share of healthy checkers, and few calls in each tick."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from dr_assets.monitoring.sources.health_checks import HealthCheckSource
from dr_assets.resources import names
from dr_assets.resources.dns.rows import SITE_CHECKS
from dr_assets.stack import SITES, Stack
from tests.support.monitoring import at


class Route53:
    """The sites' checks of a stack, by ListHealthChecks; each has `good` of `checkers` that report success."""

    def __init__(self, stack: Stack, good: int, checkers: int) -> None:
        self.good, self.checkers = good, checkers
        self.asked: list[str] = []
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

    def client(self, service: str, region: str) -> Route53:
        assert (service, region) == ("route53", "us-east-1")
        return self

    def get_paginator(self, operation: str) -> Route53:
        assert operation == "list_health_checks"
        return self

    def paginate(self) -> Iterator[dict[str, Any]]:
        yield {"HealthChecks": self.checks}

    def get_health_check_status(self, HealthCheckId: str) -> dict[str, Any]:
        self.asked.append(HealthCheckId)
        words = ["Success: HTTP Status Code 200, OK"] * self.good + ["Failure: timeout"] * (self.checkers - self.good)
        return {
            "HealthCheckObservations": [{"Region": "us-east-1", "StatusReport": {"Status": each}} for each in words]
        }


@pytest.mark.parametrize(
    ("good", "checkers", "value"),
    [(16, 16, 1.0), (3, 16, 1.0), (2, 16, 0.0), (18, 100, 0.0), (0, 16, 0.0), (0, 0, None)],
)
def test_more_than_18_percent_of_the_checkers_make_it_healthy(
    stack: Stack, good: int, checkers: int, value: float | None
) -> None:
    """Route 53 developer guide, "How Amazon Route 53 determines whether a health check is healthy"."""
    aws: Any = Route53(stack, good, checkers)
    samples, _ = HealthCheckSource([stack], aws)(at(0))
    assert {sample.value for sample in samples} == {value}


def test_four_checks_a_tick_and_each_has_its_turn(stack: Stack) -> None:
    stacks = [stack, stack.model_copy(update={"environment_suffix": "other"})]
    aws: Any = Route53(stack, 1, 1)
    aws.checks += Route53(stacks[1], 1, 1).checks
    for number, check in enumerate(aws.checks):
        check["Id"] = str(number)
    source = HealthCheckSource(stacks, aws)
    calls = [source(at(second))[1] for second in range(len(aws.checks) // 4)]
    assert calls == [5] + [4] * (len(calls) - 1)  # the first one also lists them
    assert sorted(aws.asked) == sorted(check["Id"] for check in aws.checks)
