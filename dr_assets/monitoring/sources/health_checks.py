"""Source `health-check`: the status of the sites' Route 53 health checks, from their CloudWatch metric in us-east-1."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from dr_assets.aws import Aws
from dr_assets.core import metric_data
from dr_assets.core.freshness import SKEW_SECONDS, Quantity, is_future
from dr_assets.core.paging import Tokens
from dr_assets.monitoring.samples import Sample
from dr_assets.monitoring.sources.source import Answer, Ask
from dr_assets.resources import names
from dr_assets.resources.dns.rows import SITE_CHECKS
from dr_assets.resources.row import GLOBAL_REGION
from dr_assets.stack import SITES, Stack

# The ids change only when a check is made anew. Route 53 takes five calls a second for the whole account. A list that could not be
# understood in full is read again sooner.
IDENTITY_SECONDS, RETRY_SECONDS = 600.0, 60.0
QUERIES = 500  # of one GetMetricData call
PERIOD_SECONDS = 60
# A minute's datapoint is up to two minutes late and the newest for another one, and the samples are repeated for a minute.
STATUS = Quantity("bool", 0.0, 1.0, age_limit=320.0)
NO_RESULT = "CloudWatch gave no result for its query"
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
        self._checks: list[tuple[str, Sample]] = []
        self._unread: list[Sample] = []  # checks that the list does not name in a way that can be understood
        self._list_at = float("-inf")
        self.asked = float("-inf")  # when GetMetricData was asked last (monotonic)
        self._samples: list[Sample] = []

    def __call__(self, at: datetime) -> Answer:
        now, calls = time.monotonic(), 0
        if now - self.asked < PERIOD_SECONDS - EARLY_SECONDS:
            return self._samples, 0
        if now > self._list_at:
            self._checks, self._unread = self._known_checks(self._aws.client("route53", GLOBAL_REGION), at)
            self._list_at, calls = now + (RETRY_SECONDS if self._unread else IDENTITY_SECONDS), 1
        samples = [replace(check, at=at) for check in self._unread]
        for start in range(0, len(self._checks), QUERIES):
            batch = self._checks[start : start + QUERIES]
            newest, problems, made = self._newest([identity for identity, _ in batch], at)
            calls += made
            samples += [_sample(check, newest.get(n), at, problems.get(n, "")) for n, (_, check) in enumerate(batch)]
        self.asked, self._samples = now, samples
        return samples, calls

    def _newest(
        self, identities: Sequence[str], at: datetime
    ) -> tuple[dict[int, tuple[datetime, float]], dict[int, str], int]:
        """By place the newest datapoint, and why there is none that can be understood; and the number of calls."""
        client, calls = self._aws.client("cloudwatch", GLOBAL_REGION), 0
        found: dict[int, tuple[datetime, float]] = {}
        problems = dict.fromkeys(range(len(identities)), NO_RESULT)
        ids = [f"q{n}" for n in range(len(identities))]
        page: dict[str, Any] = {}
        tokens = Tokens()
        while True:
            answer = client.get_metric_data(
                MetricDataQueries=[
                    {"Id": query, "MetricStat": _stat(each)} for query, each in zip(ids, identities, strict=True)
                ],
                StartTime=at - timedelta(seconds=STATUS.age_limit),
                EndTime=at + timedelta(seconds=SKEW_SECONDS),
                ScanBy="TimestampDescending",
                **page,
            )
            calls += 1
            for series in metric_data.parse(answer["MetricDataResults"], ids):
                if problems.get(series.n) == NO_RESULT:
                    del problems[series.n]
                if series.problem:
                    problems[series.n] = series.problem
                for when, value in series.points:
                    before = found.get(series.n)
                    # One of the future displaces no other, and what has no other is named as such.
                    if before is None or (is_future(before[0], at), when) > (is_future(when, at), before[0]):
                        found[series.n] = (when, value)
            if not answer.get("NextToken"):
                return found, problems, calls
            page = {"NextToken": tokens.follow(answer["NextToken"])}

    def _known_checks(self, client: Any, at: datetime) -> tuple[list[tuple[str, Sample]], list[Sample]]:
        """(id, check) of the sites' checks; and where an entry cannot be understood, the checks that it may be, as unknown."""
        # The setting for missing data is part of a check's identity: another one on the same alarm means something else.
        wanted = {
            (names.alarm(stack, site, metric), stack.region(site), missing): Sample(
                at, stack.environment_suffix, site, "health-check", name, None, STATUS
            )
            for stack in self._stacks
            for site in SITES
            for name, metric, missing, _ in SITE_CHECKS
        }
        known: list[tuple[str, Sample]] = []
        unread = 0
        for page in client.get_paginator("list_health_checks").paginate():
            for check in page["HealthChecks"]:
                try:
                    key, identity = _alarm_of(check), check["Id"]
                except (AttributeError, LookupError, TypeError):
                    unread += 1
                    continue
                if key in wanted and isinstance(identity, str):
                    known.append((identity, wanted[key]))
                elif key in wanted:
                    unread += 1
        found = {check.subject for _, check in known}
        note = f"{unread} of Route 53's health checks cannot be understood; this one is not among the others"
        lost = [replace(each, note=note) for each in wanted.values() if each.subject not in found]
        return known, lost if unread else []


def _alarm_of(check: Any) -> tuple[str, str, str] | None:
    """Name and region of the alarm that a check follows, and its setting for missing data; None: it follows none.

    Raises TypeError, LookupError or AttributeError where that cannot be understood (Route 53 API, HealthCheckConfig).
    """
    config = check["HealthCheckConfig"]
    kind, missing = config["Type"], config.get("InsufficientDataHealthStatus")
    if kind != "CLOUDWATCH_METRIC" and isinstance(kind, str):
        return None
    found = config["AlarmIdentifier"]["Name"], config["AlarmIdentifier"]["Region"], missing
    if not all(isinstance(each, str) for each in found):
        raise TypeError("a health check's alarm is no text")
    return found


def _stat(identity: str) -> dict[str, Any]:
    dimensions = [{"Name": "HealthCheckId", "Value": identity}]
    metric = {"Namespace": "AWS/Route53", "MetricName": "HealthCheckStatus", "Dimensions": dimensions}
    return {"Metric": metric, "Period": PERIOD_SECONDS, "Stat": "Minimum"}


def _sample(check: Sample, found: tuple[datetime, float] | None, at: datetime, problem: str) -> Sample:
    if found is None or problem:
        return replace(check, at=at, note=problem or f"no data in {STATUS.age_limit:g} s")
    return replace(check, at=found[0], raw=found[1])
