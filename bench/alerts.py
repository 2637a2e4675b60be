"""From the fault to the delivered alert: a real Dagster daemon with all six sensors at their default intervals, on the embedded
AWS with its PostgreSQL pair. Each run kills the primary's server, waits for the alert by SNS and by webhook, revives it, and
waits for the resolution; each begins with a fresh Dagster instance and a fresh history.

    python bench/alerts.py [--runs N]        # 20 by default, about 90 seconds each
    python bench/alerts.py --overhead        # a tick of each sensor beside one of an empty sensor, in one daemon

Exits 1 when a run had no alert within 30 s, or not exactly one alert and one resolution.
"""

from __future__ import annotations

import argparse
import contextlib
import http.server
import json
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3

from dr_assets.aws import Aws
from dr_assets.cli.demo import environment
from dr_assets.emulator import EmbeddedAws
from dr_assets.monitoring.samples import CONNECTIVITY
from dr_assets.reconcile.stack_state import StackState
from dr_assets.resources import names
from dr_assets.stack import SITES, Stack, load_stack

ROOT = Path(__file__).resolve().parent.parent
LIMIT_SECONDS = 30.0
# The instance as docs/alerts.md has it: sensors beside one another.
INSTANCE = "telemetry:\n  enabled: false\nsensors:\n  use_threads: true\n  num_workers: 8\n"
EMPTY = """
import dagster as dg

@dg.sensor(minimum_interval_seconds=5, default_status=dg.DefaultSensorStatus.RUNNING)
def empty(context):
    return dg.SensorResult(cursor="x", skip_reason="nothing new")

defs = dg.Definitions(sensors=[empty])
"""


class Hook:
    """A webhook on loopback that keeps when each alert came and what it said."""

    def __init__(self) -> None:
        self.got: list[tuple[float, str]] = []
        hook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                hook.got.append((time.time(), json.dumps(body)))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *args: Any) -> None: ...

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class Mailbox:
    """A subscriber of both sites' topics, as an on-call tool would be: a queue of its own at each."""

    def __init__(self, stack: Stack) -> None:
        self.got: list[tuple[float, str]] = []
        self._queues = [self._subscribe(stack, site) for site in SITES]
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _subscribe(self, stack: Stack, site: Any) -> tuple[Any, str]:
        region, name = stack.region(site), f"db-events-{site}-{stack.environment_suffix}"
        sqs, sns = boto3.client("sqs", region), boto3.client("sns", region)
        url = sqs.create_queue(QueueName=f"on-call-{site}")["QueueUrl"]
        topics = [topic["TopicArn"] for page in sns.get_paginator("list_topics").paginate() for topic in page["Topics"]]
        arn = next(topic for topic in topics if topic.endswith(f":{name}"))
        queue = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue)
        return sqs, url

    def _read(self) -> None:
        while not self._ending.wait(0.2):
            for sqs, url in self._queues:
                for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
                    self.got.append((time.time(), message["Body"]))
                    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

    def stop(self) -> None:
        self._ending.set()
        self._thread.join(10)


KEY = re.compile(r"Key: ([\w.-]+-\d{6}\.(?:opened|escalated|resolved))")


def keys(got: list[tuple[float, str]], topic: str = "writer") -> list[tuple[float, str]]:
    """When which transition of a topic was told, of all that came."""
    found = [(at, match[1]) for at, text in got for match in [KEY.search(text)] if match]
    return [(at, key) for at, key in found if f"-{topic}-" in key]


@dataclass
class Daemon:
    """`dagster-daemon` on the project's definitions with an instance and a history of its own."""

    folder: Path
    env: dict[str, str]
    probe: bool = True
    workspace: Path = ROOT / "workspace.yaml"
    groups: list[int] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def variables(self) -> dict[str, str]:
        mine = {"DAGSTER_HOME": str(self.home), "DR_HISTORY_URI": str(self.folder / "history")}
        return {**os.environ, **self.env, **mine, "DR_TELEMETRY_SQL": "publish" if self.probe else ""}

    def prepare(self, *sensors: str) -> Daemon:
        """A fresh instance in which these sensors of the project are started; without any: all of them."""
        self.home.mkdir(parents=True)
        (self.home / "dagster.yaml").write_text(INSTANCE)
        command = [str(Path(sys.executable).with_name("dagster")), "sensor", "start", *(sensors or ("--start-all",))]
        command += ["-w", str(ROOT / "workspace.yaml")]
        done = subprocess.run(
            command, cwd=ROOT, env=self.variables(), capture_output=True, text=True, timeout=180, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return self

    def start(self) -> None:
        command = [str(Path(sys.executable).with_name("dagster-daemon")), "run", "-w", str(self.workspace)]
        with (self.folder / "daemon.log").open("ab") as log:
            # A session of its own: its code server must end with it, and we know both by this group.
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=self.variables(), stdout=log, stderr=log, start_new_session=True
            )
        self.groups.append(self.process.pid)

    def kill(self) -> None:
        """The daemon alone, with no chance to say good-bye."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(30)

    def stop(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            for group in self.groups:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(group, number)
            if self.process is not None and number == signal.SIGTERM:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(15)
        if self.process is not None:
            self.process.wait(15)

    def log(self) -> str:
        return (self.folder / "daemon.log").read_text(errors="replace")


def until(done: Callable[[], Any], seconds: float, what: str) -> Any:
    """The first true answer. Raises AssertionError after that time."""
    deadline = time.monotonic() + seconds
    while not (answer := done()):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.1)
    return answer


def build(stack: Stack) -> None:
    """The whole stack, by the product's own `settle`, without Dagster."""
    world, deadline = StackState(stack, Aws()), time.monotonic() + 180
    world.snapshot()
    for resource in world.resources.values():
        while not (outcome := world.reconcile(resource)).good:
            assert outcome.status == "waiting" and time.monotonic() < deadline, outcome
            time.sleep(0.02)
            world.invalidate(resource.key)


@contextlib.contextmanager
def furnished() -> Iterator[tuple[EmbeddedAws, Stack]]:
    """The embedded AWS with databases and the whole stack in it, which boto3 finds by itself."""
    with EmbeddedAws(databases=True) as aws, environment(aws.env()):
        stack = load_stack()
        build(stack)
        yield aws, stack


def probing(aws: EmbeddedAws, times: int = 4, seconds: float = 90.0) -> None:
    """Wait until the sensors have published what the probe saw, twice at each site from now on."""
    calls = aws.control.calls()
    since = calls[-1]["n"] if calls else 0
    until(lambda: sum(c["operation"] == "PutMetricData" for c in aws.control.calls(since)) >= times, seconds, "a probe")


def quiet(stack: Stack) -> None:
    """Wait until no alarm remembers the outage before."""
    cloudwatch = boto3.client("cloudwatch", stack.primary_region)
    name = names.alarm(stack, "primary", CONNECTIVITY)

    def calm() -> bool:
        state = cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"][0]["StateValue"]
        return bool(state != "ALARM")

    until(calm, 240, "the alarm of the run before is over")


def one(aws: EmbeddedAws, stack: Stack, daemon: Daemon, hook: Hook, mail: Mailbox, pause: float) -> dict[str, Any]:
    """One outage. Seconds from the fault (and from the revival) to what was delivered."""
    hook.got.clear()
    mail.got.clear()
    quiet(stack)
    daemon.start()
    try:
        probing(aws)
        time.sleep(pause)
        assert not keys(mail.got), "there was an alert before there was a fault"
        fault = time.time()
        aws.control.database("kill", site="primary")
        sources = (("webhook", hook), ("sns", mail))
        until(lambda: all(keys(source.got) for _, source in sources), 120, "the alert")
        opened = {name: keys(source.got)[0][0] - fault for name, source in sources}
        revived = time.time()
        aws.control.database("revive", site="primary")
        until(lambda: all(len(keys(source.got)) > 1 for _, source in sources), 180, "the resolution")
        resolved = {name: keys(source.got)[-1][0] - revived for name, source in sources}
        time.sleep(15)  # whatever would be told twice
        told = {name: [key.rsplit(".", 1)[1] for _, key in keys(source.got)] for name, source in sources}
        others = sorted(
            {match[1] for _, text in mail.got for match in [KEY.search(text)] if match}
            - {key for _, key in keys(mail.got)}
        )
        return {"opened": opened, "resolved": resolved, "told": told, "others": others}
    finally:
        daemon.stop()
        with contextlib.suppress(ValueError):
            aws.control.database("revive", site="primary")


def measure(runs: int) -> int:
    found: list[dict[str, Any]] = []
    with furnished() as (aws, stack), tempfile.TemporaryDirectory(prefix="dr-bench-") as name:
        hook, mail, dice = Hook(), Mailbox(stack), random.Random(20261124)
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
    with furnished() as _, tempfile.TemporaryDirectory(prefix="dr-bench-") as name:
        hook = Hook()
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
