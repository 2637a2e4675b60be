"""Source `health-check`: the status of the sites' Route 53 health checks, from their CloudWatch metric in us-east-1."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from dr_assets.aws import Aws
from dr_assets.core.freshness import SKEW_SECONDS, Quantity, is_future
from dr_assets.core.paging import Tokens
from dr_assets.monitoring.samples import Sample
from dr_assets.monitoring.sources.source import Answer, Ask
from dr_assets.resources import names
from dr_assets.resources.dns.rows import SITE_CHECKS
from dr_assets.resources.row import GLOBAL_REGION
from dr_assets.stack import SITES, Stack

# The ids change only when a check is made anew. Route 53 takes five calls a second for the whole account.
IDENTITY_SECONDS = 600.0
QUERIES = 500  # of one GetMetricData call
PERIOD_SECONDS = 60
# A minute's datapoint is up to two minutes late and the newest for another one, and the samples are repeated for a minute.
STATUS = Quantity("bool", 0.0, 1.0, age_limit=320.0)
# A tick may come this much early without doubling the minute between two readings.
EARLY_SECONDS = 2.5


def health_check_asks(stacks: Sequence[Stack], aws: Aws) -> Iterator[tuple[str, Ask]]:
    yield GLOBAL_REGION, HealthCheckSource(stacks, aws)


class HealthCheckSource:
    """All stacks' health checks: one GetMetricData call a minute for five hundred, and ListHealthChecks every ten minutes.

    Between two calls the samples are repeated as they were, with their own time.

    The metric exists for checks of every type, also calculated ones. GetHealthCheckStatus is "only intended for development", and
    knows nothing of those (Route 53 API; developer guide, "Monitoring health checks using CloudWatch").
    """

    def __init__(self, stacks: Sequence[Stack], aws: Aws) -> None:
        self._stacks, self._aws = stacks, aws
        self._checks: tuple[float, list[tuple[str, Sample]]] = (float("-inf"), [])
        self.asked = float("-inf")  # when GetMetricData was asked last (monotonic)
        self._samples: list[Sample] = []

    def __call__(self, at: datetime) -> Answer:
        now, calls = time.monotonic(), 0
        if now - self.asked < PERIOD_SECONDS - EARLY_SECONDS:
            return self._samples, 0
        read, known = self._checks
        if now - read > IDENTITY_SECONDS:
            known = list(self._known_checks(self._aws.client("route53", GLOBAL_REGION), at))
            self._checks, calls = (now, known), 1
        samples: list[Sample] = []
        for start in range(0, len(known), QUERIES):
            batch = known[start : start + QUERIES]
            newest, made = self._newest([identity for identity, _ in batch], at)
            calls += made
            samples += [_sample(check, newest.get(identity), at) for identity, check in batch]
        self.asked, self._samples = now, samples
        return samples, calls

    def _newest(self, identities: Sequence[str], at: datetime) -> tuple[dict[str, tuple[datetime, float]], int]:
        """Id -> its newest datapoint, and the number of calls."""
        client, calls = self._aws.client("cloudwatch", GLOBAL_REGION), 0
        found: dict[str, tuple[datetime, float]] = {}
        page: dict[str, Any] = {}
        tokens = Tokens()
        while True:
            answer = client.get_metric_data(
                MetricDataQueries=[{"Id": f"q{n}", "MetricStat": _stat(each)} for n, each in enumerate(identities)],
                StartTime=at - timedelta(seconds=STATUS.age_limit),
                EndTime=at + timedelta(seconds=SKEW_SECONDS),
                ScanBy="TimestampDescending",
                **page,
            )
            calls += 1
            for result in answer["MetricDataResults"]:
                identity = identities[int(result["Id"][1:])]
                for when, value in zip(result["Timestamps"], result["Values"], strict=True):
                    before = found.get(identity)
                    # One of the future displaces no other, and what has no other is named as such.
                    if before is None or (is_future(before[0], at), when) > (is_future(when, at), before[0]):
                        found[identity] = (when, float(value))
            if not answer.get("NextToken"):
                return found, calls
            page = {"NextToken": tokens.follow(answer["NextToken"])}

    def _known_checks(self, client: Any, at: datetime) -> Iterator[tuple[str, Sample]]:
        # The setting for missing data is part of a check's identity: another one on the same alarm means something else.
        wanted = {
            (names.alarm(stack, site, metric), stack.region(site), missing): (stack, site, name)
            for stack in self._stacks
            for site in SITES
            for name, metric, missing, _ in SITE_CHECKS
        }
        for page in client.get_paginator("list_health_checks").paginate():
            for check in page["HealthChecks"]:
                config = check["HealthCheckConfig"]
                alarm, missing = config.get("AlarmIdentifier") or {}, config.get("InsufficientDataHealthStatus")
                found = wanted.get((str(alarm.get("Name")), str(alarm.get("Region")), str(missing)))
                if found:
                    stack, site, name = found
                    yield check["Id"], Sample(at, stack.environment_suffix, site, "health-check", name, None, STATUS)


def _stat(identity: str) -> dict[str, Any]:
    dimensions = [{"Name": "HealthCheckId", "Value": identity}]
    metric = {"Namespace": "AWS/Route53", "MetricName": "HealthCheckStatus", "Dimensions": dimensions}
    return {"Metric": metric, "Period": PERIOD_SECONDS, "Stat": "Minimum"}


def _sample(check: Sample, found: tuple[datetime, float] | None, at: datetime) -> Sample:
    if found is None:
        return replace(check, at=at, note=f"no data in {STATUS.age_limit:g} s")
    return replace(check, at=found[0], raw=found[1])
