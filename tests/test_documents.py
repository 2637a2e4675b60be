"""Documents that outlive a process: read strictly, refused by name, described by a generated JSON Schema."""

import json
from datetime import datetime, timezone
from typing import ClassVar

import pytest

from dr_assets.documents import Document, DocumentError, UtcTime, canonical_json, sha256_of, storable
from tests.support.schemas import COMMAND, ROOT, schema_files


class Note(Document):
    """A note."""

    SCHEMA: ClassVar[str] = "dr-assets/test-note/2"
    at: UtcTime
    words: tuple[str, ...] = ()
    size: float | None = None


AT = datetime(2026, 11, 1, 6, tzinfo=timezone.utc)
GOOD = {"schema": "dr-assets/test-note/2", "at": "2026-11-01T06:00:00.000Z", "words": ["a"], "size": 1.5}


def test_written_and_read_again() -> None:
    note = Note(at=AT, words=("a",), size=1.5)
    assert json.loads(note.to_bytes()) == GOOD
    assert Note.from_bytes(note.to_bytes(), "x") == note
    assert note.to_bytes().endswith(b"\n")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": "dr-assets/test-note/3"}, "newer than dr-assets/test-note/2. Update DR Assets"),
        ({"schema": "dr-assets/test-note/1"}, "has the schema 'dr-assets/test-note/1'"),
        ({"schema": None}, "has the schema None"),
        ({"at": "yesterday"}, "at:"),
        ({"at": "2026-11-01T06:00:00"}, "at:"),
        ({"at": 5}, "at:"),
        ({"words": "a"}, "words:"),
        ({"size": "1.5"}, "size:"),
        ({"size": True}, "size:"),
        ({"more": 1}, "more:"),
    ],
)
def test_anything_else_is_refused_by_name(change: dict[str, object], message: str) -> None:
    with pytest.raises(DocumentError) as refused:
        Note.from_bytes(json.dumps({**GOOD, **change}), "notes/1.json")
    assert str(refused.value).startswith("notes/1.json ")
    assert message in str(refused.value)


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"[]", b'"x"', b"NaN"])
def test_any_bytes_are_refused_by_name(data: bytes) -> None:
    with pytest.raises(DocumentError, match=r"notes/1\.json"):
        Note.from_bytes(data, "notes/1.json")


def test_not_a_number_is_neither_read_nor_written() -> None:
    with pytest.raises(DocumentError, match="size"):
        Note.from_bytes(json.dumps({**GOOD, "size": float("nan")}), "x")
    with pytest.raises(ValueError, match="size"):
        Note(at=AT, size=float("inf"))


def test_the_hash_does_not_depend_on_the_order_of_keys() -> None:
    assert canonical_json({"b": 1, "a": [1, 2]}) == '{"a":[1,2],"b":1}'
    assert sha256_of({"b": 1, "a": 2}) == sha256_of({"a": 2, "b": 1})
    with pytest.raises(ValueError):
        canonical_json(float("nan"))


def test_the_published_schemas_are_those_of_the_documents() -> None:
    published = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "schemas").glob("*.json")}
    files = schema_files()
    stale = sorted(name for name in published | files if published.get(name) != files.get(name))
    assert not stale, f"docs/schemas is out of date for {', '.join(stale)}. Run: {COMMAND}"


def test_only_documents_of_the_package_are_published() -> None:
    assert Note.SCHEMA == "dr-assets/test-note/2"
    assert "test-note-2.json" not in schema_files()


def test_lone_surrogates_are_read_and_written_as_escapes() -> None:
    """PEP 383: bytes of a command line that are not UTF-8. Earlier versions wrote them as JSON escapes."""
    text = '{"schema": "dr-assets/test-note/2", "at": "2026-11-01T06:00:00.000Z", "words": ["caf\\udce9", "\\ud83d\\ude00"]}'
    note = Note.from_bytes(text, "x")
    assert note.words == ("caf\\udce9", "\N{GRINNING FACE}")
    fresh = Note(at=AT, words=("a\\ \udce9",))
    assert Note.from_bytes(fresh.to_bytes(), "x").words == ("a\\ \\udce9",)
    assert storable("caf\udce9") == "caf\\udce9"
    assert storable({"\udce9": ["\\"]}) == {"\\udce9": ["\\"]}
