"""Incidents, restores and corrective actions of the history: readable whatever lies beside them, nothing overwritten."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest

from dr_assets.errors import AwsCallError, DrError
from dr_assets.history import documents
from dr_assets.history.store import FolderStore
from tests.support import month

S, UTC = month.S, dt.timezone.utc


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path)


def put(store: FolderStore, key: str, document: Any) -> None:
    store.write(key, json.dumps(document).encode())


def test_incidents_come_by_their_beginning_suppressed_ones_among_them(store: FolderStore) -> None:
    for incident in month.incidents():
        put(store, f"incidents/{S}/{incident['id']}.json", incident)
    quiet = {k: v for k, v in month.incidents()[0].items() if k not in ("schema", "id", "last", "lost")} | {
        "told": False,
        "number": 9,
    }
    trace = {"at": "2026-10-02T00:00:00.000Z", "transition": "x", "incident": {**quiet, "ended": None}}
    put(store, f"maintenance/{S}/trace/{S}-replication-000009.begun.json", trace)
    put(store, f"maintenance/{S}/trace/{S}-replication-000009.ended.json", {**trace, "incident": quiet})
    problems: list[str] = []
    found = documents.incidents(store, S, problems)
    assert problems == []
    assert len(found) == 8
    assert [each.since for each in found] == sorted(each.since for each in found)
    (kept,) = [each for each in found if each.number == 9]
    assert (kept.id, kept.notified, kept.ended) == (f"{S}-replication-000009", False, quiet["ended"])
    assert documents.incidents(store, "another", problems) == []


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[1]",
        b"{",
        b'"text"',
        b'{"schema": "dr-assets/incident/1"}',
        b'{"schema": "x"}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_a_damaged_or_foreign_document_is_named_and_quarantined(store: FolderStore, data: bytes) -> None:
    good = month.incidents()[0]
    put(store, f"incidents/{S}/{good['id']}.json", good)
    for folder in ("incidents", "restores", "actions", f"maintenance/{S}/trace"):
        store.write(f"{folder}/{S}/bad.json" if folder.count("/") == 0 else f"{folder}/bad.json", data)
    problems: list[str] = []
    assert [each.id for each in documents.incidents(store, S, problems)] == [good["id"]]
    assert documents.restores(store, S, problems) == []
    assert documents.actions(store, S, problems) == []
    assert len(problems) == 4
    assert all("quarantined as quarantine/" in problem for problem in problems)
    assert len(store.list("quarantine/")) == 4
    documents.incidents(store, S, again := [])
    assert again == problems[:2]


def test_a_document_of_a_later_version_stays_where_it_is(store: FolderStore) -> None:
    put(store, f"incidents/{S}/x.json", {"schema": "dr-assets/incident/2"})
    problems: list[str] = []
    assert documents.incidents(store, S, problems) == []
    assert "Update DR Assets" in problems[0]
    assert store.list("") == [f"incidents/{S}/x.json"]


def test_only_a_verified_restore_counts(store: FolderStore) -> None:
    for name, verified in (("a", True), ("b", False)):
        put(
            store,
            f"restores/{S}/{name}.json",
            {"schema": "dr-assets/restore/1", "ended_at": f"2026-10-0{len(name)}T10:00:00.000Z", "verified": verified},
        )
    assert documents.restores(store, S, []) == [dt.datetime(2026, 10, 1, 10, tzinfo=UTC)]


def test_additional_keys_of_other_tools_are_kept(store: FolderStore) -> None:
    restore = {"schema": "dr-assets/restore/1", "ended_at": "2026-10-01T10:00:00.000Z", "verified": True}
    put(store, f"restores/{S}/a.json", {**restore, "tool": "backup-tester", "rows": 7})
    put(store, f"actions/{S}/a.json", {"schema": "dr-assets/action/1", **change(owner="Ada"), "ticket": "OPS-1"})
    problems: list[str] = []
    assert documents.restores(store, S, problems) == [dt.datetime(2026, 10, 1, 10, tzinfo=UTC)]
    (found,) = documents.actions(store, S, problems)
    assert (found.owner, found.to_json()["ticket"]) == ("Ada", "OPS-1")
    assert problems == []
    put(store, f"restores/{S}/b.json", {**restore, "verified": "yes"})
    assert len(documents.restores(store, S, problems)) == 1
    assert len(problems) == 1


def change(**more: Any) -> dict[str, Any]:
    return {
        "record": "r",
        "number": 1,
        "owner": None,
        "due": None,
        "done": None,
        "note": None,
        "by": "Ada",
        "at": "2026-10-01T10:00:00+00:00",
        **more,
    }


def test_every_change_to_an_action_is_kept_in_order_also_at_the_same_moment(store: FolderStore) -> None:
    for owner in ("Ada", "Grace", "Joan"):
        documents.amend_action(store, S, change(owner=owner))
    documents.amend_action(store, S, change(done="2026-10-02", at="2026-10-02T10:00:00+00:00"))
    found = documents.actions(store, S, [])
    assert [each.owner for each in found] == ["Ada", "Grace", "Joan", None]
    assert found[-1].done == dt.date(2026, 10, 2)


@pytest.mark.parametrize("wrong", [{"number": 0}, {"due": "soon"}, {"at": "2026-10-01T10:00:00"}, {"by": None}])
def test_an_invalid_change_is_refused(store: FolderStore, wrong: dict[str, Any]) -> None:
    with pytest.raises(DrError, match="record, number, by and at"):
        documents.amend_action(store, S, change(**wrong))
    assert store.list("") == []


def test_case_a10_a_damaged_incident_is_named_until_it_is_written_again(store: FolderStore) -> None:
    good = month.incidents()[0]
    key = f"incidents/{S}/{good['id']}.json"
    store.write(key, b'{"schema": "dr-assets/incident/1", "id": 7')
    named = []
    for _ in range(3):
        problems: list[str] = []
        assert documents.incidents(store, S, problems) == []
        named.append(problems)
    assert len(named[0]) == 1 and key in named[0][0] and named == [named[0]] * 3
    put(store, key, good)
    documents.incidents(store, S, repaired := [])
    assert repaired == []


def test_case_a10_a_name_that_is_no_text_is_shown_escaped(store: FolderStore) -> None:
    """A folder may hold names that are not UTF-8; Python shows their bytes as lone surrogates (PEP 383)."""
    store.write(f"incidents/{S}/\udcff\x1b[2J.json", b"{")
    for _ in range(2):
        documents.incidents(store, S, problems := [])
        (text,) = problems
        assert text.isprintable() and text.encode()
        assert "\\udcff\\x1b[2J.json" in text


def test_case_e6_a_document_that_the_store_keeps_back_is_named_and_the_others_are_read(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = month.incidents()[:2]
    for each in (first, second):
        put(store, f"incidents/{S}/{each['id']}.json", each)
    read = store.read

    def refuse(key: str) -> bytes:
        if first["id"] in key:
            raise AwsCallError("s3 get_object failed: InvalidObjectState.")
        return read(key)

    monkeypatch.setattr(store, "read", refuse)
    documents.incidents(store, S, problems := [])
    assert [each.id for each in documents.incidents(store, S, [])] == [second["id"]]
    assert len(problems) == 1 and first["id"] in problems[0]
