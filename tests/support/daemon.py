"""A real Dagster daemon on the project's definitions, and recipients that keep the alerts they receive."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import boto3

from dr_assets.cli.demo import subscribe_on_call
from dr_assets.stack import SITES, Site, Stack

ROOT = Path(__file__).resolve().parents[2]
# As docs/alerts.md configures it: sensors run concurrently.
INSTANCE = (
    "telemetry:\n  enabled: false\nsensors:\n  use_threads: true\n  num_workers: 8\nrun_monitoring:\n  enabled: true\n"
)


class WebhookReceiver:
    """A webhook on loopback that keeps (time of receipt, body) of each alert."""

    def __init__(self) -> None:
        self.received: list[tuple[float, str]] = []
        hook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                hook.received.append((time.time(), json.dumps(body)))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *args: Any) -> None: ...

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class TopicSubscriber:
    """A subscriber of both sites' topics, as an on-call tool is: it has a queue at each."""

    def __init__(self, stack: Stack) -> None:
        self.received: list[tuple[float, str]] = []
        self._queues = [
            (boto3.client("sqs", stack.region(site)), url) for site, url in subscribe_on_call(stack).items()
        ]
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while not self._ending.wait(0.2):
            for sqs, url in self._queues:
                for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
                    self.received.append((time.time(), message["Body"]))
                    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

    def stop(self) -> None:
        self._ending.set()
        self._thread.join(10)


KEY = re.compile(r"Key: ([\w.-]+-\d{6}\.(?:opened|escalated|resolved))")


def transition_keys(received: list[tuple[float, str]], topic: str | None = "writer") -> list[tuple[float, str]]:
    """(time of receipt, idempotency key) of every transition received, of one topic or of all (None)."""
    found = [(at, match[1]) for at, text in received for match in [KEY.search(text)] if match]
    return [(at, key) for at, key in found if topic is None or f"-{topic}-" in key]


@dataclass
class Daemon:
    """`dagster-daemon` on the project's definitions, with its own instance and history."""

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
        own = {"DAGSTER_HOME": str(self.home), "DR_HISTORY_URI": str(self.folder / "history")}
        return {**os.environ, **self.env, **own, "DR_TELEMETRY_SQL": "publish" if self.probe else ""}

    def prepare(self, *sensors: str) -> Daemon:
        """Create a fresh instance and start these sensors in it, all of them by default."""
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
            # In its own session, so that stopping the group also stops its code server.
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=self.variables(), stdout=log, stderr=log, start_new_session=True
            )
        self.groups.append(self.process.pid)

    def kill(self) -> None:
        """Kill the daemon alone, without a chance to clean up."""
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
    """Wait for the first true answer. Raises AssertionError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (answer := done()):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.1)
    return answer


def wait_for_probe_metrics(stack: Stack, times: int = 2, seconds: float = 90.0) -> None:
    """Wait until the sensors have published the probe's metric, from now on `times` at each site. Heartbeats do not count."""
    begin = datetime.now(timezone.utc)

    def published(site: Site) -> float:
        metric = {
            "Namespace": "DRAssets",
            "MetricName": "WriterConnectivity",
            "Dimensions": [{"Name": "Stack", "Value": stack.environment_suffix}, {"Name": "Site", "Value": site}],
        }
        query = {"Id": "p", "MetricStat": {"Metric": metric, "Period": 1, "Stat": "SampleCount"}}
        found = boto3.client("cloudwatch", stack.region(site)).get_metric_data(
            MetricDataQueries=[query], StartTime=begin, EndTime=datetime.now(timezone.utc) + timedelta(seconds=5)
        )
        return float(sum(found["MetricDataResults"][0]["Values"]))

    until(lambda: all(published(site) >= times for site in SITES), seconds, "a probe")
