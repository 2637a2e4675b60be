"""The probe's metric is what the connectivity alarms and the health checks live on; its silence must move nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import boto3
import pytest

from dr_assets import utc
from dr_assets.aws import Aws
from dr_assets.emulator import EmbeddedAws
from dr_assets.monitoring.rules import sources_for
from dr_assets.monitoring.sources.cloudwatch import METRICS
from dr_assets.monitoring.sources.poller import Poller
from dr_assets.monitoring.sources.sql import publish_connectivity
from dr_assets.resources.catalog import catalog
from dr_assets.stack import SITES, Stack, load_stack
from tests.support.monitoring import Run, roles

CHECK = ("Type", "InsufficientDataHealthStatus", "Inverted", "Disabled")


@pytest.fixture
def probed(monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedAws]:
    """The connectivity alarm and the health check of both sites, with the settings that the catalogue gives them."""
    with EmbeddedAws() as aws:
        for name, value in aws.env().items():
            monkeypatch.setenv(name, value)
        stack = load_stack()
        rows = {resource.key: resource for resource in catalog(stack)}
        for site in SITES:
            alarm, check = rows[f"{site}/monitoring/alarm-connectivity"], rows[f"{site}/dns/health-check"]
            settings: dict[str, Any] = {name: value for name, value in alarm.desired.items() if "Actions" not in name}
            settings["Dimensions"] = [{"Name": name, "Value": value} for name, value in settings["Dimensions"].items()]
            settings.pop("Tags", None)
            boto3.client("cloudwatch", alarm.region).put_metric_alarm(AlarmName=alarm.name, **settings)
            config = {name: value for name, value in check.desired.items() if name in CHECK}
            identifier = {"Name": check.desired["AlarmName"], "Region": check.desired["AlarmRegion"]}
            boto3.client("route53", "us-east-1").create_health_check(
                CallerReference=site, HealthCheckConfig={**config, "AlarmIdentifier": identifier}
            )
        yield aws


def publish(stack: Stack, accepted: bool) -> None:
    """Publish the probe's metric of the last three minutes; a reader takes no writes."""
    for minutes in (3, 2, 1):
        for site in SITES:
            when = utc.now() - timedelta(minutes=minutes)
            publish_connectivity(Aws(), stack, site, accepted and site == "primary", when)


def polled(stack: Stack, aws: EmbeddedAws) -> tuple[float | None, float | None]:
    """The primary site's alarm and health check, through the poller: 1 good, 0 bad, None unknown."""
    aws.control.answers(metric_delay_seconds=0.0)  # of the checks' own metric
    aws.control.alarms(evaluate=True)
    samples = {
        sample.subject: sample.raw
        for sample in Poller([stack], sources_for([stack], Aws(read_timeout=5.0))).tick().samples
    }
    s = stack.environment_suffix
    return samples[f"{s}/primary/alarm/connectivity"], samples[f"{s}/primary/health-check/health-check"]


def test_a_dead_probe_moves_no_traffic_and_its_readings_do(probed: EmbeddedAws, stack: Stack) -> None:
    publish(stack, True)
    assert polled(stack, probed) == (1.0, 1.0)
    probed.control.alarms(pace=600)  # minutes of a tenth of a second: its last value is long ago
    assert polled(stack, probed) == (None, 1.0)
    probed.control.alarms(pace=1)
    publish(stack, False)
    assert polled(stack, probed) == (0.0, 0.0)
    probed.control.alarms(pace=600)
    assert polled(stack, probed) == (None, 0.0)


def test_aws_07_health_checks_stand_on_a_standard_resolution_metric_and_sensors_on_a_fast_one(stack: Stack) -> None:
    """Route 53 does not support high-resolution metrics, metric mathematics or extended statistics (Route 53 API, AlarmIdentifier)."""
    put: list[dict[str, Any]] = []

    class CloudWatch:
        def client(self, service: str, region: str) -> Any:
            return self

        def put_metric_data(self, Namespace: str, MetricData: list[dict[str, Any]]) -> None:
            put.extend({**datum, "Namespace": Namespace} for datum in MetricData)

    publish_connectivity(CloudWatch(), stack, "primary", True, utc.now())  # type: ignore[arg-type]
    fast = {(each["Namespace"], each["MetricName"]) for each in put if each.get("StorageResolution", 60) < 60}
    slow = {(each["Namespace"], each["MetricName"]) for each in put if each.get("StorageResolution", 60) == 60}
    assert not fast & slow
    rows = {resource.name: resource.desired for resource in catalog(stack) if resource.kind == "cloudwatch.alarm"}
    named = [r.desired["AlarmName"] for r in catalog(stack) if r.desired.get("Type") == "CLOUDWATCH_METRIC"]
    probes = [rows[name] for name in named if rows[name]["Namespace"] == "DRAssets"]
    assert len(probes) == 4
    for alarm in probes:
        assert (alarm["Namespace"], alarm["MetricName"]) in slow
        assert alarm["Statistic"] in ("Average", "Minimum", "Maximum", "Sum", "SampleCount")
        assert alarm["Period"] >= 60
        assert alarm["DatapointsToAlarm"] == alarm["EvaluationPeriods"]
    (sensor,) = [each for each in METRICS if each.name == "connectivity"]
    assert (sensor.namespace, sensor.metric) in fast


def test_a_silent_probe_alerts_as_unknown_and_not_as_an_outage(stack: Stack) -> None:
    run = Run(stack)
    for second in range(0, 240, 10):
        run.tick(second, roles(second))
    assert run.delivered[0] == "sources.primary opened"
    assert not [step for step in run.delivered if step.startswith("writer")]
