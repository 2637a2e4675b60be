"""The message that every channel delivers."""

from __future__ import annotations

from tests.alerting.conftest import OPENED, Daemon, outage
from tests.support.monitoring import Recorder


def test_the_message_has_everything_that_it_must(daemon: Daemon, sns: Recorder) -> None:
    outage(daemon, end=30, until=30)
    alert = sns.sent[0]
    for part in (
        "CRITICAL: The writer does not accept writes",
        "Since: 2026-11-23 12:00:00 UTC",
        "Value: 0; objective: at least 1",
        "Lost: the database at the primary site",
        "Do: docs/runbooks.md#",
        "Link: https://dagster",
        f"Key: {OPENED}",
        "Owner: on-call",
    ):
        assert part in alert.text
    assert len(alert.subject) <= 100
    assert alert.subject.isascii()
