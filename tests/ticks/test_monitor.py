"""What one tick of the monitor does when a channel is dead, and when a confirmation from the queue cannot be processed."""

from __future__ import annotations

from pathlib import Path

import pytest

from dr_assets.alerting.channels.channel import AlertRefused
from dr_assets.alerting.message import Alert
from dr_assets.history.store import FolderStore
from dr_assets.monitoring.samples import Message, Sample, Snapshot
from dr_assets.stack import Stack
from dr_assets.ticks.monitor import Monitor
from tests.support.monitoring import Recorder, S, at, healthy, sample


class Dead(Recorder):
    """Refuses every alert until it is set alive."""

    dead = True

    def send(self, alert: Alert) -> None:
        if self.dead:
            raise AlertRefused(f"{self.name} refuses: 403.")
        super().send(alert)


class World:
    """A monitor whose samples and clock are set by hand."""

    def __init__(self, stack: Stack, folder: Path, *channels: Recorder) -> None:
        self.samples: list[Sample] = []
        self.second = 0.0
        self.monitor = Monitor(
            stack,
            FolderStore(folder),
            poller=self,  # type: ignore[arg-type]
            channels=channels,
            clock=lambda: at(self.second),
        )
        self.cursor: str | None = None

    def tick(self, _: float) -> Snapshot:
        return Snapshot(at(self.second), extra=tuple(self.samples))

    def observe(self, second: float, down: bool) -> None:
        self.second = second
        self.samples = [*healthy(second, without=["primary/metric/connectivity"]), sample(second, 0.0 if down else 1.0)]
        self.cursor = self.monitor.observe("health_checks", self.cursor).cursor


def test_case_d2_a_dead_channel_is_reported_by_the_others_until_it_takes_alerts_again(
    stack: Stack, tmp_path: Path
) -> None:
    slack, pager = Dead("slack"), Recorder("pagerduty", deduplicates=True)
    world = World(stack, tmp_path, slack, pager)
    for second in range(0, 60, 5):
        world.observe(second, down=True)
    assert pager.keys == [f"{S}-writer-000001.opened", f"{S}-sources.channel.slack-000001.opened"]
    incident = pager.sent[1].incident
    assert (incident.severity, incident.runbook) == ("warning", "docs/runbooks.md#a-channel-refuses")
    assert "The channel slack does not take alerts" in pager.sent[1].text
    assert "slack refuses: 403." in pager.sent[1].text
    slack.dead = False
    for second in range(60, 200, 5):
        world.observe(second, down=True)
    assert pager.keys[2:] == [f"{S}-sources.channel.slack-000001.resolved"]
    assert slack.keys == [*pager.keys[:2], f"{S}-sources.channel.slack-000001.resolved"]
    assert world.monitor.store.list("outbox/") == []


def own(key: object) -> Message:
    return Message(f"m-{key}"[:40], at(0), S, "primary", "own", "r-1", 1, {"key": key})


@pytest.mark.parametrize("key", ["../../x", "x" * 6000, "a\0b", "/etc/passwd", ".", ""])
def test_case_d1_an_echo_with_an_odd_key_stops_nothing(stack: Stack, tmp_path: Path, key: str) -> None:
    sns = Recorder()
    world = World(stack, tmp_path, sns)
    for second in (0, 10):
        world.observe(second, down=True)
    ticker = world.monitor.ticker("event_queue")
    ticker.load(None)
    ticker.confirm_echoes([key, f"{S}-writer-000001.opened.sns"], at(20))
    assert sns.keys == [f"{S}-writer-000001.opened"]
