"""Source `health-check`: the status of the sites' Route 53 health checks, a few in each tick."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from dr_assets.aws import Aws
from dr_assets.monitoring.samples import Sample
from dr_assets.monitoring.sources.source import Answer, Ask
from dr_assets.resources import names
from dr_assets.resources.dns.rows import SITE_CHECKS
from dr_assets.resources.row import GLOBAL_REGION
from dr_assets.stack import SITES, Stack

# Route 53 takes five calls a second for the whole account.
CHECKS_PER_TICK = 4
IDENTITY_SECONDS = 600.0
# Route 53 considers a check healthy while more than 18 % of its checkers report success.
HEALTHY_SHARE = 0.18


def health_check_asks(stacks: Sequence[Stack], aws: Aws) -> Iterator[tuple[str, Ask]]:
    yield GLOBAL_REGION, HealthCheckSource(stacks, aws)


class HealthCheckSource:
    """All stacks' health checks in turn. Calculated checks have no status of their own: their children are asked."""

    def __init__(self, stacks: Sequence[Stack], aws: Aws) -> None:
        self._stacks, self._aws = stacks, aws
        self._checks: tuple[float, list[tuple[str, Sample]]] = (0.0, [])
        self._turn = 0

    def __call__(self, at: datetime) -> Answer:
        client, calls = self._aws.client("route53", GLOBAL_REGION), 0
        read, known = self._checks
        if not known or time.monotonic() - read > IDENTITY_SECONDS:
            known = list(self._known_checks(client, at))
            self._checks, calls = (time.monotonic(), known), 1
        chosen = [known[(self._turn + n) % len(known)] for n in range(min(CHECKS_PER_TICK, len(known)))]
        self._turn += len(chosen)
        samples = []
        for identity, sample in chosen:
            answer = client.get_health_check_status(HealthCheckId=identity)
            calls += 1
            reports = [each["StatusReport"]["Status"] for each in answer["HealthCheckObservations"]]
            good = sum(report.startswith("Success") for report in reports)
            value = None if not reports else 1.0 if good / len(reports) > HEALTHY_SHARE else 0.0
            note = f"{good} of {len(reports)} checkers: {reports[0][:120]}" if reports else "no checker reports"
            samples.append(Sample(at, sample.stack, sample.site, sample.source, sample.metric, value, "bool", note))
        return samples, calls

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
                    yield check["Id"], Sample(at, stack.environment_suffix, site, "health-check", name, None, "bool")
