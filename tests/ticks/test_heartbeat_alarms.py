"""The catalogue's heartbeat alarms, evaluated by the embedded AWS on what `Heartbeats` puts."""

from __future__ import annotations

import time
from typing import Any

import boto3

from dr_assets.aws import Aws
from dr_assets.emulator import EmbeddedAws
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
