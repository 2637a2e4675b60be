"""Whatever lies under whatever key of the history: the critical alert goes out, and what cannot be used is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dr_assets.history.store import FolderStore
from dr_assets.stack import Stack
from dr_assets.ticks.status import alert_status
from tests.alerting.conftest import OPENED, Daemon
from tests.support.monitoring import Recorder, S, at

INCIDENT = {
    "stack": S,
    "topic": "writer",
    "number": 1,
    "severity": "critical",
    "opened": 1795435210.0,
    "since": 1795435200.0,
    "breaches": [],
    "evidence": [],
    "text": "The writer does not accept writes",
    "runbook": "docs/runbooks.md#the-writer-is-down",
    "value": 0.0,
    "unit": "",
    "objective": "at least 1",
    "resource": "primary/aurora/cluster",
    "site": "primary",
    "escalate_after": 300.0,
}


def claim(schema: str = "delivery-claim/1", at: str = "2026-11-23T12:00:00.000Z", **change: object) -> bytes:
    """A claim or confirmation as docs/schemas describes it."""
    incident = {**INCIDENT, **change}
    body = {"by": "another", "step": "opened", "text": "x", "incident": incident, "at": at, "attempt": 1}
    return json.dumps({"schema": f"dr-assets/{schema}", **body}).encode()


# Where a file may lie. Each key's last part is a name that the product itself would write there, or one that it would not.
PLACES = {
    "claim": f"alerts/{S}/{OPENED}.sns.claim-001.json",
    "confirmation": f"alerts/{S}/{OPENED}.sns.json",
    "confirmation of another number": f"alerts/{S}/{S}-writer-000007.opened.sns.json",
    "alerts, junk name": f"alerts/{S}/README",
    "alerts, odd number": f"alerts/{S}/{S}-writer-\u00b2\u00b2\u00b2\u00b2\u00b2\u00b2.opened.sns.json",
    "window": f"maintenance/{S}/window/20261123T120000-all.json",
    "window, junk name": f"maintenance/{S}/window/zzz",
    "trace": f"maintenance/{S}/trace/{S}-writer-000001.begun.json",
    "outbox": f"outbox/{S}/health_checks/{OPENED}.json",
    "outbox, junk name": f"outbox/{S}/health_checks/x",
    "incident": f"incidents/{S}/{S}-writer-000001.json",
    "arming": f"armed/{S}.json",
}
CONTENTS: dict[str, bytes | None] = {
    "empty": b"",
    "cut": claim()[:70],
    "binary": bytes(range(256)) * 4,
    "html": b"<!doctype html><title>403 Forbidden</title>",
    "deep": b"[" * 100_000,
    "digits": b'{"schema": "dr-assets/delivery-claim/' + b"9" * 5001 + b'"}',
    "list": b"[]",
    "huge": b"x" * (17 << 20),
    "another document": b'{"schema": "dr-assets/restore/1", "ended_at": "2026-11-01T06:00:00Z", "verified": true}',
    "another stack": claim(stack="another"),
    "confirmation of another incident": claim("delivery/1", number=9),
    "2099": claim(at="2099-01-01T00:00:00Z"),
    "year 1": claim(at="0001-01-01T00:00:00+14:00"),
    "a folder": None,
}


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("place", PLACES)
def test_case_d2_any_file_in_any_folder_costs_itself(
    stack: Stack, store: FolderStore, sns: Recorder, place: str, content: str
) -> None:
    key, data = PLACES[place], CONTENTS[content]
    if data is None:
        (Path(store.root) / key).mkdir(parents=True)
    else:
        store.write(key, data)
    daemon = Daemon(stack, store, sns)
    named: list[str] = []
    for second in (0, 10, 20, 30, 40):
        daemon.tick(second, 0.0)
        named += daemon.ticker.set_aside
    assert [alert.step for alert in sns.sent] == ["opened"]
    assert sns.sent[0].incident.severity == "critical"
    set_aside = [key.rpartition(".")[0] for key in store.list("quarantine/")]
    found = alert_status(store, S, at(40))
    # A folder keeps the confirmation from being written: delivered once by this process, and not known to the next.
    assert len(found.open) == 1 or (place, content) == ("confirmation", "a folder")
    if place in ("incident", "trace") or data is None:  # written by the sensors, not read; a folder is no object
        return
    if place == "arming":
        assert any(text.startswith(f"{key} ") for text in found.set_aside)
    elif not (place == "claim" and content == "2099"):  # a claim of a wrong clock: it holds nothing back
        assert set_aside == [f"quarantine/{key}"]
        assert any(text.startswith((f"{key}:", f"The maintenance window {key}")) for text in named), named
        written_again = key in store.list(key)
        assert written_again or any(f"quarantined as quarantine/{key}." in text for text in found.set_aside)


@pytest.mark.parametrize("broken", ["alerts", "maintenance", "outbox", "incidents"])
@pytest.mark.parametrize(
    "breaks",
    [lambda path: path.write_bytes(b"x"), lambda path: path.symlink_to("/nowhere"), lambda path: path.mkdir(mode=0)],
    ids=["a file", "a link", "no rights"],
)
def test_case_d2_a_file_or_a_link_where_a_folder_belongs_holds_nothing_back(
    stack: Stack, store: FolderStore, sns: Recorder, broken: str, breaks: Callable[[Path], None]
) -> None:
    Path(store.root).mkdir(exist_ok=True)
    breaks(Path(store.root) / broken)
    daemon = Daemon(stack, store, sns)
    for second in (0, 10, 20, 30, 40):
        daemon.tick(second, 0.0)
    assert sns.keys == [OPENED]


def test_case_d2_a_real_claim_of_another_daemon_is_waited_for(stack: Stack, store: FolderStore, sns: Recorder) -> None:
    store.write(PLACES["claim"], claim(at="2026-11-23T12:00:05.000Z"))
    daemon = Daemon(stack, store, sns)
    for second in range(0, 60, 10):
        daemon.tick(second, 0.0)
        assert sns.keys == []
    daemon.tick(66, 0.0)
    assert sns.keys == [OPENED]


def test_case_d2_a_real_confirmation_is_believed(stack: Stack, store: FolderStore, sns: Recorder) -> None:
    daemon = Daemon(stack, store, sns)
    daemon.tick(0, 0.0)
    store.write(PLACES["confirmation"], claim("delivery/1"))
    for second in (10, 20, 30):
        daemon.tick(second, 0.0)
    assert sns.keys == []
    assert daemon.ticker.set_aside == []
