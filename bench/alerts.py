"""From the fault to the delivered alert: a real Dagster daemon with all six sensors at their default intervals, on the embedded
AWS with its PostgreSQL pair. Each run kills the primary's server, waits for the alert by SNS and by webhook, revives it, and
waits for the resolution; each begins with a fresh Dagster instance and a fresh history.

    python -m bench.alerts [--runs N]        # 20 by default, about 90 seconds each
    python -m bench.alerts --overhead        # a tick of each sensor beside one of an empty sensor, in one daemon

Exits 1 when a run had no alert within 30 s, or not exactly one alert and one resolution.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import boto3

from dr_assets.emulator import EmbeddedAws
from dr_assets.monitoring.samples import CONNECTIVITY
from dr_assets.resources import names
from dr_assets.stack import Stack
from tests.support.daemon import (
    Daemon,
    TopicSubscriber,
    WebhookReceiver,
    transition_keys,
    until,
    wait_for_probe_metrics,
)
from tests.support.stack import provisioned_stack

ROOT = Path(__file__).resolve().parent.parent
LIMIT_SECONDS = 30.0
EMPTY = """
import dagster as dg

@dg.sensor(minimum_interval_seconds=5, default_status=dg.DefaultSensorStatus.RUNNING)
def empty(context):
    return dg.SensorResult(cursor="x", skip_reason="nothing new")

defs = dg.Definitions(sensors=[empty])
"""


def quiet(stack: Stack) -> None:
    """Wait until no alarm remembers the outage before."""
    cloudwatch = boto3.client("cloudwatch", stack.primary_region)
    name = names.alarm(stack, "primary", CONNECTIVITY)

    def calm() -> bool:
        state = cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"][0]["StateValue"]
        return bool(state != "ALARM")

    until(calm, 240, "the alarm of the run before is over")


def one(
    aws: EmbeddedAws, stack: Stack, daemon: Daemon, hook: WebhookReceiver, mail: TopicSubscriber, pause: float
) -> dict[str, Any]:
    """One outage. Seconds from the fault (and from the revival) to what was delivered."""
    hook.received.clear()
    mail.received.clear()
    quiet(stack)
    daemon.start()
    try:
        wait_for_probe_metrics(stack)
        time.sleep(pause)
        assert not transition_keys(mail.received), "there was an alert before there was a fault"
        fault = time.time()
        aws.control.database("kill", site="primary")
        sources = (("webhook", hook), ("sns", mail))
        until(lambda: all(transition_keys(source.received) for _, source in sources), 120, "the alert")
        opened = {name: transition_keys(source.received)[0][0] - fault for name, source in sources}
        revived = time.time()
        aws.control.database("revive", site="primary")
        until(lambda: all(len(transition_keys(source.received)) > 1 for _, source in sources), 180, "the resolution")
        resolved = {name: transition_keys(source.received)[-1][0] - revived for name, source in sources}
        time.sleep(15)  # whatever would be told twice
        told = {
            name: [key.rsplit(".", 1)[1] for _, key in transition_keys(source.received)] for name, source in sources
        }
        every = {key for _, key in transition_keys(mail.received, topic=None)}
        others = sorted(every - {key for _, key in transition_keys(mail.received)})
        return {"opened": opened, "resolved": resolved, "told": told, "others": others}
    finally:
        daemon.stop()
        with contextlib.suppress(ValueError):
            aws.control.database("revive", site="primary")


def measure(runs: int) -> int:
    found: list[dict[str, Any]] = []
    with provisioned_stack() as (aws, stack), tempfile.TemporaryDirectory(prefix="dr-bench-") as name:
        hook, mail, dice = WebhookReceiver(), TopicSubscriber(stack), random.Random(20261124)
        env = {"DR_ALERT_SLACK_URL": hook.url}
        template = Daemon(Path(name) / "template", env).prepare()
        try:
            for number in range(runs):
                folder = Path(name) / f"run{number}"
                shutil.copytree(template.folder, folder)
                run = one(aws, stack, Daemon(folder, env), hook, mail, dice.uniform(0, 10))
                found.append(run)
                print(
                    f"{number + 1:3} alert {run['opened']['sns']:5.1f} s (webhook {run['opened']['webhook']:.1f} s), "
                    f"resolution {run['resolved']['sns']:5.1f} s after the revival, load {os.getloadavg()[0]:.1f}, "
                    f"also {', '.join(run['others']) or 'nothing'}",
                    flush=True,
                )
                if run["told"] != {"webhook": ["opened", "resolved"], "sns": ["opened", "resolved"]}:
                    print(f"    told: {run['told']}")
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            mail.stop()
            hook.stop()
    print("\n| seconds | p50 | max |\n|---|---|---|")
    for what, told in (("opened", "fault to alert"), ("resolved", "revival to resolution")):
        for way in ("sns", "webhook"):
            values = [run[what][way] for run in found]
            print(f"| {told}, {way} | {statistics.median(values):.1f} | {max(values):.1f} |")
    exact = all(set(map(tuple, run["told"].values())) == {("opened", "resolved")} for run in found)
    print(f"\none alert and one resolution in {'every' if exact else 'NOT EVERY'} one of {runs} runs")
    return 0 if exact and all(run["opened"]["sns"] <= LIMIT_SECONDS for run in found) else 1


def overhead(seconds: float = 150.0) -> int:
    """Ticks as the daemon records them, from their beginning to their end."""
    with provisioned_stack() as _, tempfile.TemporaryDirectory(prefix="dr-bench-") as name:
        hook = WebhookReceiver()
        daemon = Daemon(Path(name), {"DR_ALERT_SLACK_URL": hook.url}).prepare()
        (daemon.folder / "empty.py").write_text(EMPTY)
        daemon.workspace = daemon.folder / "workspace.yaml"
        daemon.workspace.write_text(
            f"load_from:\n  - python_file: {{relative_path: {ROOT}/definitions.py, location_name: dr-assets}}\n"
            f"  - python_file: {{relative_path: {daemon.folder}/empty.py, location_name: empty}}\n"
        )
        daemon.start()
        try:
            time.sleep(seconds)
            ticks = recorded(daemon)
        finally:
            daemon.stop()
            hook.stop()
    base = statistics.median(ticks["empty"])
    print("| sensor | ticks | p50 | max | of an empty one |\n|---|---|---|---|---|")
    for sensor, lengths in sorted(ticks.items(), key=lambda item: statistics.median(item[1])):
        middle = statistics.median(lengths)
        print(
            f"| {sensor} | {len(lengths)} | {middle * 1000:.0f} ms | {max(lengths) * 1000:.0f} ms | {middle / base:.1f} |"
        )
    return 0


def recorded(daemon: Daemon) -> dict[str, list[float]]:
    """Sensor -> how long each of its ticks took, the first left out (it makes clients)."""
    import dagster as dg

    found: dict[str, list[float]] = {}
    with dg.DagsterInstance.from_config(str(daemon.home)) as instance:
        for state in instance.all_instigator_state():
            ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id)
            done = sorted((t.timestamp, t.tick_data.end_timestamp) for t in ticks if t.tick_data.end_timestamp)
            if len(done) > 1:
                found[state.instigator_name] = [end - begun for begun, end in done[1:]]
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--overhead", action="store_true")
    asked = parser.parse_args()
    sys.exit(overhead() if asked.overhead else measure(asked.runs))
