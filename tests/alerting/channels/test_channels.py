"""Every channel is complete: a module, a row of the table, a row of the docs, tests."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from dr_assets.alerting.channels import CHANNELS, ChannelEntry, open_channels
from dr_assets.alerting.channels.channel import AlertRefused
from dr_assets.alerting.delivery import deliver
from dr_assets.alerting.message import Alert
from dr_assets.history.store import FolderStore
from dr_assets.stack import Stack
from dr_assets.ticks.monitor import Monitor
from tests.alerting.conftest import Hook
from tests.support.monitoring import at

ROOT = Path(__file__).resolve().parents[3]
SHARED = ("__init__", "channel", "https")


def missing(package: Path, entries: Sequence[ChannelEntry], docs: str, tests: Path) -> list[str]:
    """What a channel lacks, and where to add it."""
    modules = {path.stem for path in package.glob("*.py")} - set(SHARED)
    named = {entry.name for entry in entries}
    rows = [line for line in docs.splitlines() if line.startswith("|")]
    found = [f"{name}: no entry in CHANNELS (alerting/channels/__init__.py)" for name in sorted(modules - named)]
    found += [f"{name}: no module alerting/channels/{name}.py" for name in sorted(named - modules)]
    for name in sorted(modules | named):
        if not any(name in row.split("|")[1].lower() for row in rows):
            found.append(f"{name}: no row in the table of channels in docs/alerts.md")
        if not (tests / f"test_{name}.py").exists():
            found.append(f"{name}: no tests in tests/alerting/channels/test_{name}.py")
    for entry in entries:
        for variable in (entry.variable, *entry.more):
            if variable and not any(f"`{variable}`" in row for row in rows):
                found.append(f"{entry.name}: {variable} is not in the table of channels in docs/alerts.md")
    return found


def test_no_channel_is_half_added() -> None:
    docs = (ROOT / "docs" / "alerts.md").read_text(encoding="utf-8")
    lacking = missing(ROOT / "dr_assets" / "alerting" / "channels", CHANNELS, docs, Path(__file__).parent)
    assert not lacking, "\n".join(lacking)


def test_each_missing_part_of_a_channel_is_named(tmp_path: Path) -> None:
    (tmp_path / "carrier.py").write_text("")
    (tmp_path / "pigeon.py").write_text("")
    entry = ChannelEntry("pigeon", "DR_ALERT_PIGEON", CHANNELS[0].open)
    assert missing(tmp_path, [entry], "| Pigeon | `DR_ALERT_PIGEON_URL` |", tmp_path) == [
        "carrier: no entry in CHANNELS (alerting/channels/__init__.py)",
        "carrier: no row in the table of channels in docs/alerts.md",
        "carrier: no tests in tests/alerting/channels/test_carrier.py",
        "pigeon: no tests in tests/alerting/channels/test_pigeon.py",
        "pigeon: DR_ALERT_PIGEON is not in the table of channels in docs/alerts.md",
    ]


def test_each_channel_has_the_name_of_its_entry(stack: Stack) -> None:
    every = {variable: "http://x" for entry in CHANNELS for variable in (entry.variable, *entry.more) if variable}
    assert [channel.name for channel in open_channels(stack, every)] == [entry.name for entry in CHANNELS]


def test_channels_follow_the_environment(stack: Stack) -> None:
    assert [channel.name for channel in open_channels(stack, {})] == ["sns"]
    both = {"DR_ALERT_SLACK_URL": "http://x", "DR_ALERT_PAGERDUTY_KEY": "k"}
    assert [channel.name for channel in open_channels(stack, both)] == ["sns", "slack", "pagerduty"]


@pytest.mark.parametrize(
    ("variable", "value"), [("AWS_PROFILE", "no-such-profile"), ("DR_ROLE_ARN", "no arn"), ("DR_EXTERNAL_ID", "alone")]
)
def test_case_d3_wrong_credentials_leave_the_channels_without_aws(
    stack: Stack, tmp_path: Path, alert: Alert, hook: Hook, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    monkeypatch.setenv("DR_ALERT_SLACK_URL", hook.url)
    monitor = Monitor(stack, store=FolderStore(tmp_path))
    with pytest.raises(AlertRefused, match="was not sent to SNS"):
        deliver(monitor.deliveries, open_channels(stack, os.environ), alert, at(0))
    assert len(hook.bodies) == 1
