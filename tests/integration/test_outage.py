"""An outage seen by a real daemon on the project's own definitions: alerted once, also when the daemon is killed meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dr_assets import utc
from dr_assets.aws import Aws
from dr_assets.cli.demo import environment
from dr_assets.defs.drills.jobs import build_drill_jobs
from dr_assets.defs.monitoring.sensors import build_sensors
from dr_assets.emulator import EmbeddedAws
from dr_assets.failover.arming import arm
from dr_assets.history.store import open_store
from dr_assets.monitoring.sources.sql import publish_connectivity
from dr_assets.stack import Stack, load_stack
from tests.support.daemon import (
    Daemon,
    TopicSubscriber,
    WebhookReceiver,
    transition_keys,
    until,
    wait_for_probe_metrics,
)
from tests.support.furnished import furnish
from tests.support.stack import provisioned_stack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
# Generous: what is told is the subject here; how soon is measured by bench/alerts.py.
PATIENCE = 180.0


class Prober(threading.Thread):
    """A probe elsewhere: its metric says what `accepted` says, every second."""

    def __init__(self, stack: Stack) -> None:
        super().__init__(daemon=True)
        self.accepted, self._stack, self._ending = True, stack, threading.Event()

    def run(self) -> None:
        aws = Aws()
        while not self._ending.wait(1.0):
            publish_connectivity(aws, self._stack, "primary", self.accepted, utc.now())

    def stop(self) -> None:
        self._ending.set()
        self.join(10)


@contextmanager
def ended(daemon: Daemon, *others: WebhookReceiver | TopicSubscriber | Prober) -> Iterator[None]:
    """Whatever was started is ended, and what the daemon said is shown where the test fails."""
    try:
        yield
    except BaseException:
        print(daemon.log()[-6000:])
        raise
    finally:
        daemon.stop()
        for other in others:
            other.stop()


def steps(recipient: WebhookReceiver | TopicSubscriber) -> list[str]:
    return [key.rsplit(".", 1)[1] for _, key in transition_keys(recipient.received)]


def test_a_daemon_tells_of_an_outage_once_by_every_way(tmp_path: Path) -> None:
    with EmbeddedAws() as aws, environment(aws.env()):
        stack = load_stack()
        furnish(stack)
        hook, mail, prober = WebhookReceiver(), TopicSubscriber(stack), Prober(stack)
        daemon = Daemon(tmp_path, {"DR_ALERT_SLACK_URL": hook.url}, probe=False).prepare("health_checks")
        with ended(daemon, hook, mail, prober):
            prober.start()
            daemon.start()
            until(lambda: any(c["operation"] == "GetMetricData" for c in aws.control.calls()), PATIENCE, "a tick")
            prober.accepted = False
            until(lambda: steps(hook) and steps(mail), PATIENCE, "the alert")
        assert steps(hook) == steps(mail) == ["opened"]
        assert "The writer does not accept writes" in hook.received[0][1]


@pytest.mark.exhaustive
def test_a_daemon_killed_during_an_outage_loses_nothing_and_repeats_nothing(tmp_path: Path) -> None:
    with provisioned_stack() as (aws, stack):
        hook, mail = WebhookReceiver(), TopicSubscriber(stack)
        daemon = Daemon(tmp_path, {"DR_ALERT_SLACK_URL": hook.url}).prepare()
        with ended(daemon, hook, mail):
            daemon.start()
            wait_for_probe_metrics(stack, seconds=PATIENCE)
            aws.control.database("kill", site="primary")
            until(lambda: steps(hook) and steps(mail), PATIENCE, "the alert")
            daemon.kill()
            daemon.start()
            wait_for_probe_metrics(stack, seconds=PATIENCE)
            assert steps(hook) == steps(mail) == ["opened"]
            aws.control.database("revive", site="primary")
            until(lambda: len(steps(hook)) > 1 and len(steps(mail)) > 1, 2 * PATIENCE, "the resolution")
            wait_for_probe_metrics(stack, seconds=PATIENCE)  # and nothing more at the next ticks
        assert steps(hook) == steps(mail) == ["opened", "resolved"]


@pytest.mark.exhaustive
def test_an_armed_failover_asks_for_its_run_when_the_region_is_gone_and_every_precondition_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sensor as the definitions wire it, on real sources; the run itself is the drills' subject."""
    with provisioned_stack() as (aws, stack), dg.DagsterInstance.ephemeral() as instance:
        monkeypatch.setenv("DR_TELEMETRY_SQL", "publish")
        monkeypatch.setenv("DR_HISTORY_URI", str(tmp_path))
        sensor = next(
            each for each in build_sensors(stack, failover_job="failover_drill") if each.name == "health_checks"
        )
        cursor: str | None = None
        said: list[str] = []

        def tick() -> list[Any]:
            nonlocal cursor
            result = sensor.evaluate_tick(dg.build_sensor_context(instance=instance, cursor=cursor))
            cursor = result.cursor
            said.append(result.skip_message or "")
            return list(result.run_requests or [])

        until(lambda: aws.control.database()["lag_ms"] is not None, PATIENCE, "replication")
        assert (tick(), said) == ([], ["nothing new"])
        aws.control.fault("dark", region=stack.primary_region)
        aws.control.database("kill", site="primary")
        deadline = time.monotonic() + PATIENCE
        while not any("recommendation: failover" in each for each in said):
            assert time.monotonic() < deadline, "\n".join(said[-3:])
            assert tick() == []
            time.sleep(3)
        assert tick() == []  # recommended, and nobody armed it
        arm(open_store(), stack.environment_suffix, utc.now(), utc.now() + timedelta(hours=1), "Ann", "a test")
        requests: list[Any] = []
        while not requests:
            assert time.monotonic() < deadline, "\n".join(said[-3:])
            requests = tick()
            time.sleep(1)
        (request,) = requests
        assert (request.job_name, request.tags["dr/automatic"]) == ("failover_drill", "true")
        job = next(job for job in build_drill_jobs(stack) if job.name == "failover_drill")
        assert dg.validate_run_config(job, request.run_config)
