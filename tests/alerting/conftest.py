"""Equipment of the alerting tests: a sensor that can be killed, a webhook on loopback, one opened incident."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dr_assets.alerting.delivery import DeliveryLog
from dr_assets.alerting.message import Alert, compose
from dr_assets.history.store import FolderStore
from dr_assets.monitoring.incidents import Transition
from dr_assets.monitoring.rules import rules_for
from dr_assets.monitoring.samples import Sample
from dr_assets.resources.catalog import catalog
from dr_assets.stack import Stack
from dr_assets.ticks.tick import Ticker, TickResult
from tests.support.monitoring import Recorder, Run, S, at, healthy, sample

OPENED, RESOLVED = f"{S}-writer-000001.opened", f"{S}-writer-000001.resolved"


class Daemon:
    """A sensor process: it has a cursor and can be killed. The store and the channels outlive it."""

    def __init__(self, stack: Stack, store: FolderStore, *channels: Recorder) -> None:
        self.resources = {resource.key: resource for resource in catalog(stack)}
        self.rules = rules_for(stack)
        self.store, self.channels = store, channels
        self.cursor: str | None = None
        self.restart()

    def restart(self) -> None:
        deliveries = DeliveryLog(self.store)
        self.ticker = Ticker(
            "health_checks", S, self.store, deliveries, self.channels, self.resources, "https://dagster"
        )

    def tick(self, second: float, value: float, keep: bool = True) -> TickResult:
        samples = [*healthy(second, without=["primary/metric/connectivity"]), sample(second, value)]
        return self.raw(second, samples, keep)

    def raw(self, second: float, samples: list[Sample], keep: bool = True) -> TickResult:
        state = self.ticker.deliver_outbox(self.ticker.load(self.cursor), at(second))
        ticked = self.ticker.tick(state, samples, at(second), self.rules)
        if keep:
            self.cursor = ticked.cursor
        return ticked


def outage(daemon: Daemon, start: int = 0, end: int = 60, until: int = 120) -> None:
    for second in range(start, until, 5):
        daemon.tick(second, 0.0 if second < end else 1.0)


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path)


@pytest.fixture
def sns() -> Recorder:
    return Recorder()


@pytest.fixture
def daemon(stack: Stack, store: FolderStore, sns: Recorder) -> Daemon:
    return Daemon(stack, store, sns)


class Hook:
    """A webhook on loopback that keeps what is posted and answers with `status` (0: not at all)."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.status = 200
        self.delay = threading.Event()
        hook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                hook.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                if hook.status == 0:
                    hook.delay.wait(3)
                    return
                self.send_response(hook.status)
                self.end_headers()

            def log_message(self, *args: Any) -> None: ...

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/secret-part"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        self.delay.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def hook() -> Iterator[Hook]:
    hook = Hook()
    yield hook
    hook.stop()


@pytest.fixture
def transition(stack: Stack) -> Transition:
    run = Run(stack)
    for second in (0, 10):
        run.tick(second, [*healthy(second, without=["primary/metric/connectivity"]), sample(second, 0.0)])
    return run.last.transitions[0]


@pytest.fixture
def alert(transition: Transition) -> Alert:
    return compose(transition, {})
