"""Any bytes under any key: what cannot be used is refused by name, and the others are read."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from dr_assets.documents import DocumentError
from dr_assets.errors import AwsCallError, DrError, UnansweredError
from dr_assets.history.documents import Restore
from dr_assets.history.reading import Refused, read_all, read_one, set_aside
from dr_assets.history.store import FolderStore

GOOD = json.dumps({"schema": "dr-assets/restore/1", "ended_at": "2026-11-01T06:00:00Z", "verified": True}).encode()
ANY = {
    "empty": b"",
    "cut": GOOD[:40],
    "binary": bytes(range(256)),
    "html": b"<!doctype html><title>403</title>",
    "utf-16": GOOD.decode().encode("utf-16"),
    "deep": b"[" * 100_000,
    "digits": b'{"schema": "dr-assets/restore/' + b"9" * 5001 + b'"}',
    "huge": b"1" * (17 << 20),
    "list": b"[]",
    "another": b'{"schema": "dr-assets/incident/1"}',
    "wrong-type": GOOD.replace(b"true", b'"yes"'),
    "year-1": GOOD.replace(b"2026-11-01T06:00:00Z", b"0001-01-01T00:00:00+14:00"),
    "twice": GOOD.replace(b'"verified"', b'"ended_at": "2026-11-02T06:00:00Z", "verified"'),
}


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "history")


@pytest.mark.parametrize("content", ANY)
def test_case_e6_damaged_bytes_are_refused_set_aside_and_hide_no_other(store: FolderStore, content: str) -> None:
    store.write("restores/s/a.json", ANY[content])
    store.write("restores/s/b.json", GOOD)
    found = read_all(store, "restores/s/", Restore.from_bytes)
    assert list(found.items) == ["restores/s/b.json"]
    (refused,) = found.refused
    assert (refused.key, refused.kind) == ("restores/s/a.json", "damaged")
    assert str(refused).startswith("restores/s/a.json ")
    text = set_aside(store, refused, "it is left out")
    assert text.startswith("restores/s/a.json: ")
    assert "quarantined as quarantine/restores/s/a.json." in text
    assert len(text) < 900
    assert store.list("restores/") == ["restores/s/b.json"]
    (kept,) = store.list("quarantine/")
    assert store.read(kept) == ANY[content]


def test_case_e6_a_newer_document_is_refused_and_stays(store: FolderStore) -> None:
    store.write("restores/s/a.json", GOOD.replace(b"restore/1", b"restore/2"))
    refused = read_one(store, "restores/s/a.json", Restore.from_bytes)
    assert isinstance(refused, Refused)
    assert refused.kind == "newer"
    assert "Update DR Assets" in set_aside(store, refused, "")
    assert store.list("") == ["restores/s/a.json"]


def test_case_e6_a_good_object_that_replaced_a_damaged_one_meanwhile_is_kept(store: FolderStore) -> None:
    store.write("restores/s/a.json", b"{")
    refused = read_one(store, "restores/s/a.json", Restore.from_bytes)
    store.write("restores/s/a.json", GOOD)
    assert isinstance(refused, Refused)
    set_aside(store, refused, "")
    assert store.read("restores/s/a.json") == GOOD


@pytest.mark.parametrize("name", ["n" * 250, "caf\udce9", "a\nb\x1b[31m", "é" * 120])
def test_case_e6_any_name_can_be_set_aside_and_shown(store: FolderStore, name: str) -> None:
    folder = Path(store.root) / "restores" / "s"
    folder.mkdir(parents=True)
    (folder / name).write_bytes(b"")
    (refused,) = read_all(store, "restores/s/", Restore.from_bytes).refused
    text = set_aside(store, refused, "")
    assert text.isprintable()
    assert "could not be" not in text
    assert os.listdir(folder) == []


def test_case_e6_an_object_that_the_store_keeps_back_hides_no_other(store: FolderStore) -> None:
    """S3 answers GetObject of an archived object with 403 InvalidObjectState (API reference, GetObject)."""

    def archived(key: str) -> bytes:
        if key.endswith("a.json"):
            raise AwsCallError("s3 get_object failed: InvalidObjectState")
        return GOOD

    store.write("restores/s/a.json", GOOD)
    store.write("restores/s/b.json", GOOD)
    store.read = archived  # type: ignore[method-assign]
    found = read_all(store, "restores/s/", Restore.from_bytes)
    assert list(found.items) == ["restores/s/b.json"]
    assert [(each.key, each.kind) for each in found.refused] == [("restores/s/a.json", "unreadable")]
    assert "InvalidObjectState" in set_aside(store, found.refused[0], "")
    assert len(store.list("")) == 2


def test_a_folder_at_a_key_is_unreadable_and_an_absent_key_is_none(store: FolderStore) -> None:
    (Path(store.root) / "restores" / "s" / "a.json").mkdir(parents=True)
    refused = read_one(store, "restores/s/a.json", Restore.from_bytes)
    assert isinstance(refused, Refused)
    assert refused.kind == "unreadable"
    assert read_one(store, "restores/s/b.json", Restore.from_bytes) is None


def test_a_store_that_does_not_answer_is_not_an_empty_one(store: FolderStore) -> None:
    def silent(key: str) -> bytes:
        raise UnansweredError("no answer")

    store.write("restores/s/a.json", GOOD)
    store.read = silent  # type: ignore[method-assign]
    with pytest.raises(DrError):
        read_all(store, "restores/s/", Restore.from_bytes)


def test_what_does_not_belong_at_its_key_is_refused_like_damage(store: FolderStore) -> None:
    def read(data: bytes, key: str) -> Restore:
        if not key.endswith("good.json"):
            raise DocumentError(f"{key} is no restore of this stack.")
        return Restore.from_bytes(data, key)

    store.write("restores/s/good.json", GOOD)
    store.write("restores/s/other.json", GOOD)
    found = read_all(store, "restores/s/", read, wanted=lambda key: not key.endswith(".bak"))
    assert list(found.items) == ["restores/s/good.json"]
    assert str(found.refused[0]) == "restores/s/other.json is no restore of this stack."
