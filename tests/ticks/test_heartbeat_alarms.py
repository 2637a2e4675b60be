"""The catalogue's heartbeat alarms, evaluated by the embedded AWS on what `Heartbeats` puts."""

from __future__ import annotations

import time
from typing import Any

import boto3
import pytest

from dr_assets.aws import Aws
from dr_assets.emulator import EmbeddedAws
from dr_assets.emulator.cloudwatch import alarms
from dr_assets.emulator.cloudwatch.metrics import Datum
from dr_assets.resources.catalog import catalog
from dr_assets.stack import SITES, Stack
from dr_assets.ticks.heartbeat import Heartbeats

STATES = dict[str, str]


def put_alarms(stack: Stack) -> list[str]:
    """The alarms of the watchers `daemon` and `drift`, without their actions."""
    names = []
    for row in catalog(stack):
        if row.key.endswith(("/alarm-heartbeat-daemon", "/alarm-heartbeat-drift")):
            settings: dict[str, Any] = {k: v for k, v in row.desired.items() if "Actions" not in k and k != "Tags"}
            settings["Dimensions"] = [{"Name": k, "Value": v} for k, v in settings["Dimensions"].items()]
            boto3.client("cloudwatch", row.region).put_metric_alarm(AlarmName=row.name, **settings)
            names.append(str(row.name))
    return names


def states(stack: Stack, cloud: EmbeddedAws, names: list[str]) -> STATES:
    cloud.control.alarms(evaluate=True)
    found: STATES = {}
    for site in SITES:
        answer = boto3.client("cloudwatch", stack.region(site)).describe_alarms(AlarmNames=names)
        found |= {alarm["AlarmName"]: alarm["StateValue"] for alarm in answer["MetricAlarms"]}
    return found


@pytest.mark.parametrize("look_back", range(2, 8))
def test_aws_27_the_catalogue_s_alarms_notice_silence_within_120_seconds_however_far_back_cloudwatch_reads(
    stack: Stack, look_back: int
) -> None:
    """Heartbeats reach CloudWatch up to 30 s apart (`ticks.heartbeat.PUT_SECONDS` and a tick of 20 s); none is a false alarm."""
    (row,) = [each for each in catalog(stack) if each.key == "secondary/monitoring/alarm-heartbeat-drift"]
    want = row.desired
    of = alarms.Rule(
        str(want["Namespace"]),
        str(want["MetricName"]),
        frozenset(want["Dimensions"].items()),
        statistic=want["Statistic"],
        period=want["Period"],
        periods=want["EvaluationPeriods"],
        to_alarm=want["DatapointsToAlarm"],
        threshold=want["Threshold"],
        comparison=want["ComparisonOperator"],
        missing=want["TreatMissingData"],
        look_back=look_back,
    )
    beats = [Datum.single(1_800_000_000.0 + 30.0 * n, 1.0) for n in range(20)]
    at, state = beats[10].at, alarms.state_of("OK")
    while state != "ALARM":
        at += of.interval
        state = alarms.evaluate([beat for beat in beats if beat.at <= at], of, at, state).state
        assert state == "OK" or at > beats[-1].at
    assert at - beats[-1].at <= 120


def test_case_f7_a_watcher_without_a_heartbeat_is_in_alarm_at_both_sites(cloud: EmbeddedAws, stack: Stack) -> None:
    names = put_alarms(stack)
    assert len(names) == 4
    assert states(stack, cloud, names) == dict.fromkeys(names, "ALARM")  # provisioned before the sensors were started
    heartbeats = Heartbeats(stack, Aws(read_timeout=10.0))
    heartbeats.beat("drift", lambda: False)  # a sensor of a daemon that is not known to run
    heartbeats.wait(30)
    deadline = time.monotonic() + 40
    while states(stack, cloud, names)[f"aurora-heartbeat-drift-primary-{stack.environment_suffix}"] != "OK":
        assert time.monotonic() < deadline  # the period of ten seconds has to end
        time.sleep(0.5)
    for site in SITES:
        found = states(stack, cloud, names)
        assert found[f"aurora-heartbeat-drift-{site}-{stack.environment_suffix}"] == "OK"
        assert found[f"aurora-heartbeat-daemon-{site}-{stack.environment_suffix}"] == "ALARM"
