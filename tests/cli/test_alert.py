"""`dr alert`: arm, suppress and show the alert status."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from dr_assets.alerting import maintenance_windows
from dr_assets.alerting.channels.channel import AlertRefused
from dr_assets.alerting.delivery import DeliveryLog
from dr_assets.caller import CallerIdentity
from dr_assets.cli.main import main
from dr_assets.failover.arming import armed
from dr_assets.history.store import FolderStore
from dr_assets.monitoring.rules import rules_for
from dr_assets.resources.catalog import catalog
from dr_assets.stack import Stack
from dr_assets.ticks.status import alert_status
from dr_assets.ticks.tick import Ticker
from tests.support.monitoring import Recorder, S, at, healthy, sample


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FolderStore]:
    monkeypatch.setenv("DR_HISTORY_URI", str(tmp_path))
    yield FolderStore(tmp_path)


def dr(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["alert", *arguments])


def shown() -> dict[str, Any]:
    done = dr("status", "--json")
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.output))


def now() -> datetime:
    return datetime.now(timezone.utc)


def test_nothing_is_armed_suppressed_or_open(store: FolderStore) -> None:
    found = shown()
    assert found["armed"] is None
    assert (found["silenced"], found["open"], found["untold"], found["undelivered"]) == ([], [], [], [])
    shown_text = dr("status").output
    assert f"automatic failover of {S}: off" in shown_text
    assert "nothing is silenced, nothing is open" in shown_text


def test_an_arming_that_does_not_count_is_named(store: FolderStore) -> None:
    """It read as "off", while a person believed to be covered."""
    assert shown()["unarmed"] == "no one has armed it"
    store.write(f"armed/{S}.json", b"{}")
    assert f"armed/{S}.json" in shown()["unarmed"]
    assert "Arm it again" in dr("status").output
    assert shown()["armed"] is None


def test_arming_has_an_end_is_shown_and_can_be_taken_back(store: FolderStore) -> None:
    done = dr("arm", "--hours", "12", "--why", "no one is on call", "--by", "Ann")
    assert done.exit_code == 0, done.output
    assert armed(store, S, now()) is not None
    assert armed(store, S, now() + timedelta(hours=12, seconds=1)) is None
    assert shown()["armed"] | {"since": "", "until": ""} == {
        "stack": S,
        "since": "",
        "until": "",
        "by": "Ann",
        "why": "no one is on call",
    }
    assert "by Ann: no one is on call" in dr("status").output
    assert "is off" in dr("disarm", "--by", "Bob").output
    assert shown()["armed"] is None
    assert "was not armed" in dr("disarm").output
    who = [json.loads(store.read(key))["by"] for key in store.list(f"armed/{S}/")]
    assert who[:2] == ["Ann", "Bob"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--hours", "169", "--why", "x"),
        ("--hours", "0", "--why", "x"),
        ("--hours", "1", "--why", " "),
        ("--hours", "1"),
    ],
)
def test_arming_needs_an_end_within_a_week_and_a_reason(store: FolderStore, arguments: tuple[str, ...]) -> None:
    assert dr("arm", *arguments).exit_code != 0
    assert armed(store, S, now()) is None


def test_a_maintenance_window_is_shown_and_can_be_closed(store: FolderStore) -> None:
    assert dr("silence", "--hours", "2", "--why", "upgrade", "--by", "Ann", "--topic", "replication").exit_code == 0
    (window,) = shown()["silenced"]
    assert (window["topic"], window["by"], window["why"]) == ("replication", "Ann", "upgrade")
    assert "replication, by Ann: upgrade" in dr("status").output
    assert dr("unsilence", window["id"]).exit_code == 0
    assert shown()["silenced"] == []
    again = dr("unsilence", window["id"])
    assert again.exit_code == 1
    assert f"No maintenance window {window['id']} is open" in again.output


def ticker(stack: Stack, store: FolderStore, sns: Recorder) -> Ticker:
    resources = {resource.key: resource for resource in catalog(stack)}
    return Ticker("health_checks", S, store, DeliveryLog(store), [sns], resources)


def outage(stack: Stack, each: Ticker, seconds: range, cursor: str | None = None) -> str | None:
    for second in seconds:
        samples = [*healthy(second, without=["primary/metric/connectivity"]), sample(second, 0.0)]
        cursor = each.tick(
            each.deliver_outbox(each.load(cursor), at(second)), samples, at(second), rules_for(stack)
        ).cursor
    return cursor


def test_an_open_incident_is_shown_until_it_is_over(stack: Stack, store: FolderStore) -> None:
    each = ticker(stack, store, Recorder())
    cursor = outage(stack, each, range(0, 30, 10))
    found = alert_status(store, S, at(30))
    assert [incident.id for incident in found.open] == [f"{S}-writer-000001"]
    assert found.undelivered == ()
    (summary,) = found.as_json()["open"]
    assert summary["what"] == "The writer does not accept writes"
    assert summary["since"] == "2026-11-23T12:00:00.000Z"
    assert f"{S}-writer-000001 critical: The writer does not accept writes" in dr("status").output
    for second in range(30, 90, 10):
        state = each.deliver_outbox(each.load(cursor), at(second))
        cursor = each.tick(state, healthy(second), at(second), rules_for(stack)).cursor
    assert alert_status(store, S, at(90)).open == ()


def test_a_suppressed_incident_is_shown_as_untold(stack: Stack, store: FolderStore) -> None:
    maintenance_windows.open_window(store, S, at(0), at(100), "Ann", "patching")
    cursor = outage(stack, ticker(stack, store, Recorder()), range(0, 30, 10))
    found = alert_status(store, S, at(30))
    assert [incident.id for incident in found.suppressed] == [f"{S}-writer-000001"]
    assert found.open == ()
    outage(stack, ticker(stack, store, Recorder()), range(100, 130, 10), cursor)
    found = alert_status(store, S, at(130))
    assert (len(found.open), found.suppressed) == (1, ())


def test_an_alert_that_no_channel_took_is_shown_as_undelivered(stack: Stack, store: FolderStore) -> None:
    sns = Recorder()
    sns.errors = [AlertRefused("no")]
    outage(stack, ticker(stack, store, sns), range(0, 20, 10))
    assert alert_status(store, S, at(10)).undelivered == (f"{S}-writer-000001.opened",)
    assert f"not delivered yet: {S}-writer-000001.opened" in dr("status").output


def test_a_reason_that_is_no_utf_8_is_kept_escaped(store: FolderStore) -> None:
    """Such bytes of a command line reach Python as lone surrogates (PEP 383)."""
    reason = ("--why", "caf\udce9", "--by", "Ren\udce9")
    for command in (("silence", "--hours", "2"), ("arm", "--hours", "2")):
        done = dr(*command, *reason)
        assert done.exit_code == 0, done.output
    found = shown()
    assert (found["armed"]["why"], found["armed"]["by"]) == ("caf\\udce9", "Ren\\udce9")
    assert [(each["why"], each["by"]) for each in found["silenced"]] == [("caf\\udce9", "Ren\\udce9")]
    assert "by Ren\\udce9: caf\\udce9" in dr("status").output
    assert dr("disarm", "--by", "Ren\udce9").exit_code == 0


def test_a_trace_of_a_later_version_asks_for_an_update_and_not_for_its_removal(store: FolderStore) -> None:
    key = f"maintenance/{S}/trace/{S}-writer-000001.begun.json"
    store.write(key, b'{"schema": "dr-assets/suppressed-incident/2"}')
    (text,) = alert_status(store, S, at(0)).set_aside
    assert text.endswith("Update DR Assets.")
    store.write(key, b"{")
    (text,) = alert_status(store, S, at(0)).set_aside
    assert text.startswith(f"{key} is not JSON")
    assert f"not used: {key} is not JSON" in dr("status").output


def test_case_d2_status_names_what_cannot_be_used_and_shows_the_rest(stack: Stack, store: FolderStore) -> None:
    outage(stack, ticker(stack, store, Recorder()), range(0, 30, 10))
    bad = [
        f"alerts/{S}/README",
        f"armed/{S}.json",
        f"maintenance/{S}/window/99999999-x.json",
        f"maintenance/{S}/trace/x.json",
        f"outbox/{S}/health_checks/\x1b[31m.json",
    ]
    for key in bad:
        store.write(key, b"\xff")
    before = store.list("")
    found = alert_status(store, S, at(30))
    assert [incident.id for incident in found.open] == [f"{S}-writer-000001"]
    assert len(found.set_aside) == len(bad)
    for text in found.set_aside:
        assert text.isprintable()
    assert store.list("") == before  # a command that shows moves nothing
    store.write(f"quarantine/alerts/{S}/x.json.0123456789ab", b"{")
    assert f"alerts/{S}/x.json: quarantined as " in dr("status").output
    assert shown()["set_aside"][-1].startswith(f"alerts/{S}/x.json: quarantined")


def test_case_c5_who_arms_and_silences_is_kept_by_aws_identity_beside_the_name(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name is what somebody typed; `unsilence` kept none at all."""
    arn = "arn:aws:sts::123456789012:assumed-role/on-call/ann"
    monkeypatch.setattr("dr_assets.caller.identify", lambda words, *_: CallerIdentity(words=words, arn=arn))
    assert dr("arm", "--hours", "1", "--why", "night", "--by", "Ann").exit_code == 0
    assert dr("disarm", "--by", "Bob").exit_code == 0
    kept = [json.loads(store.read(key))["caller"] for key in store.list(f"armed/{S}/")]
    assert [(each["words"], each["arn"]) for each in kept] == [("Ann", arn), ("Bob", arn)]
    assert dr("silence", "--hours", "1", "--why", "patching", "--by", "Ann").exit_code == 0
    (key,) = store.list(f"maintenance/{S}/window/")
    name = key.rsplit("/", 1)[1].removesuffix(".json")
    assert dr("unsilence", name, "--by", "Bob").exit_code == 0
    window = json.loads(store.read(key))
    assert (window["caller"]["words"], window["closed_by"]["words"]) == ("Ann", "Bob")
    assert window["closed_by"]["arn"] == arn
