"""Maintenance windows suppress alerts until they end, leave a trace, and stay readable in their earlier form."""

from __future__ import annotations

import json
from datetime import datetime

import pytest

from dr_assets.alerting import maintenance_windows
from dr_assets.errors import RefusedError
from dr_assets.history.store import FolderStore
from tests.alerting.conftest import OPENED, Daemon
from tests.support.monitoring import Recorder, S, at


def suppressed(store: FolderStore, stack: str, now: datetime) -> frozenset[str]:
    return maintenance_windows.suppressed(maintenance_windows.windows(store, stack, now).items.values(), now)


def test_a_window_suppresses_until_it_ends_and_leaves_a_trace(daemon: Daemon, sns: Recorder) -> None:
    maintenance_windows.open_window(daemon.store, S, at(0), at(100), "Ann", "patching")
    for second in range(0, 100, 10):
        daemon.tick(second, 0.0)
    assert sns.keys == []
    trace = daemon.store.list(f"maintenance/{S}/trace/")
    assert [key.rsplit("/", 1)[1] for key in trace] == [f"{S}-writer-000001.begun.json"]
    daemon.tick(100, 0.0)
    assert sns.keys == [OPENED]


def test_a_window_can_be_closed_early_and_holds_for_its_topic_only(daemon: Daemon, sns: Recorder) -> None:
    window = maintenance_windows.open_window(daemon.store, S, at(0), at(1000), "Ann", "patching", "writer")
    assert suppressed(daemon.store, S, at(10)) == {f"{S}/writer"}
    maintenance_windows.close_window(daemon.store, window, at(20))
    assert suppressed(daemon.store, S, at(30)) == frozenset()
    assert suppressed(daemon.store, "another", at(10)) == frozenset()
    assert maintenance_windows.windows(daemon.store, S, at(86400 * 3)).items == {}


@pytest.mark.parametrize(
    ("until", "by", "why"), [(0, "a", "b"), (-5, "a", "b"), (86401, "a", "b"), (10, " ", "b"), (10, "a", "")]
)
def test_a_window_needs_an_end_a_person_and_a_reason(store: FolderStore, until: float, by: str, why: str) -> None:
    with pytest.raises(RefusedError):
        maintenance_windows.open_window(store, S, at(0), at(until), by, why)


def test_a_window_and_a_trace_in_their_earlier_forms_stay_readable(daemon: Daemon, sns: Recorder) -> None:
    old = {"schema": "dr-assets/maintenance/1", "id": "20261123T120000-all", "stack": S, "topic": "*", "by": "Ann"}
    times = {"from": "2026-11-23T12:00:00.000Z", "until": "2026-11-23T13:00:00.000Z", "why": "patching"}
    key = f"maintenance/{S}/window/{old['id']}.json"
    daemon.store.write(key, json.dumps({**old, **times}).encode())
    (window,) = maintenance_windows.windows(daemon.store, S).items.values()
    assert (window.start, window.until, window.by, window.planned_until) == (at(0), at(3600), "Ann", None)
    maintenance_windows.close_window(daemon.store, window, at(60))
    (closed,) = maintenance_windows.windows(daemon.store, S).items.values()
    assert (closed.until, closed.planned_until) == (at(60), at(3600))
    assert json.loads(daemon.store.read(key))["schema"] == "dr-assets/maintenance-window/1"


@pytest.mark.parametrize(
    "data", [b"", b"[]", b'{"schema": "dr-assets/maintenance-window/2"}', b'{"schema": "dr-assets/maintenance/1"}']
)
def test_a_window_that_cannot_be_read_is_named_and_suppresses_nothing(
    daemon: Daemon, sns: Recorder, data: bytes
) -> None:
    daemon.store.write(f"maintenance/{S}/window/20261123T120000-all.json", data)
    found = maintenance_windows.windows(daemon.store, S)
    assert found.items == {}
    assert "20261123T120000-all.json" in str(found.refused[0])
    daemon.tick(0, 0.0)
    assert "maintenance window" in daemon.ticker.set_aside[0]
    daemon.tick(10, 0.0)
    assert sns.keys == [OPENED]


WINDOW = {
    "schema": "dr-assets/maintenance-window/1",
    "id": "20261123T120000-all",
    "stack": S,
    "topic": "*",
    "from": "2026-11-23T12:00:00.000Z",
    "until": "2026-11-23T13:00:00.000Z",
    "by": "Ann",
    "why": "patching",
}


@pytest.mark.parametrize(
    "change",
    [
        {"stack": "another"},
        {"until": "2099-01-01T00:00:00.000Z"},
        {"until": "2026-11-24T12:00:01.000Z"},
        {"by": " "},
        {"why": ""},
        {"id": "20261123T120000-writer"},
    ],
    ids=str,
)
def test_case_d2_a_window_of_another_stack_or_of_a_year_suppresses_nothing_and_hides_no_good_one(
    daemon: Daemon, sns: Recorder, change: dict[str, str]
) -> None:
    key = f"maintenance/{S}/window/{WINDOW['id']}.json"
    daemon.store.write(key, json.dumps({**WINDOW, **change}).encode())
    maintenance_windows.open_window(daemon.store, S, at(0), at(100), "Ann", "patching", "replication")
    assert suppressed(daemon.store, S, at(10)) == {f"{S}/replication"}
    for second in (0, 10):
        daemon.tick(second, 0.0)
    assert sns.keys == [OPENED]
    assert key not in daemon.store.list("maintenance/")
    assert len(daemon.store.list(f"quarantine/{key}")) == 1


def test_a_window_of_a_later_version_asks_for_an_update_and_for_nothing_else(store: FolderStore) -> None:
    data = b'{"schema": "dr-assets/maintenance-window/2"}'
    store.write(f"maintenance/{S}/window/20261123T120000-all.json", data)
    (refused,) = maintenance_windows.windows(store, S).refused
    assert str(refused).endswith("Update DR Assets.")


def test_a_window_whose_reason_is_no_utf_8_opens_and_suppresses(daemon: Daemon, sns: Recorder) -> None:
    """Such bytes of a command line reach Python as lone surrogates (PEP 383)."""
    maintenance_windows.open_window(daemon.store, S, at(0), at(100), "Ren\udce9", "caf\udce9")
    (window,) = maintenance_windows.windows(daemon.store, S).items.values()
    assert (window.by, window.why) == ("Ren\\udce9", "caf\\udce9")
    for second in (0, 10):
        daemon.tick(second, 0.0)
    assert sns.keys == []
    assert daemon.ticker.store_problem == ""
