"""Documents that outlive a process: read strictly, refused by name, described by a generated JSON Schema."""

import json
from datetime import datetime, timezone
from typing import ClassVar

import pytest

from dr_assets.documents import (
    MAX_BYTES,
    Document,
    DocumentError,
    Epoch,
    UtcTime,
    canonical_json,
    is_newer,
    parse,
    sha256_of,
    storable,
)
from tests.support.schemas import COMMAND, ROOT, schema_files


class Note(Document):
    """A note."""

    SCHEMA: ClassVar[str] = "dr-assets/test-note/2"
    at: UtcTime
    words: tuple[str, ...] = ()
    size: float | None = None
    since: Epoch | None = None


AT = datetime(2026, 11, 1, 6, tzinfo=timezone.utc)
GOOD = {"schema": "dr-assets/test-note/2", "at": "2026-11-01T06:00:00.000Z", "words": ["a"], "size": 1.5}


def test_written_and_read_again() -> None:
    note = Note(at=AT, words=("a",), size=1.5)
    assert json.loads(note.to_bytes()) == {**GOOD, "since": None}
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


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "Expecting value"),
        (b'{"a": 1', "Expecting"),
        (b"\xff\xfe{\x00}\x00", "utf-8"),
        ('{"a": 1}'.encode("utf-16"), "utf-8"),
        (b"\x1f\x8b\x08\x00", "utf-8"),
        (b"[" * 65 + b"]" * 65, "nested 65 deep"),
        (b'{"a":' * 100_000, "nested 100000 deep"),
        (b"1" * 19, "19 digits"),
        (b"-" + b"9" * 5001, "digits"),
        (b'{"a": 1e999}', "too large"),
        (b'{"a": NaN}', "NaN"),
        (b"[-Infinity]", "Infinity"),
        (b'{"a": 1, "a": 2}', "twice"),
        (b'{"' + b"k" * 5000 + b'": 1, "' + b"k" * 5000 + b'": 2}', "twice"),
        (b" " * (MAX_BYTES + 1), "bytes"),
        (b"[1] [2]", "Extra data"),
    ],
)
def test_case_e6_any_bytes_are_refused_with_one_short_reason(data: bytes, why: str) -> None:
    """RFC 8259 leaves limits of size, depth, range of numbers and repeated names to the reader (sections 4, 6 and 9)."""
    with pytest.raises(DocumentError, match=why) as refused:
        parse(data, "notes/1.json")
    assert str(refused.value).startswith("notes/1.json is not JSON (")
    assert len(str(refused.value)) < 250
    assert str(refused.value).isprintable()


def test_what_is_json_is_read_as_it_is() -> None:
    assert parse(b'{"a": [1, -2.5e3, "[[[{{{\\"", null, true], "\xc3\xa9": {}}') == {
        "a": [1, -2500.0, '[[[{{{"', None, True],
        "é": {},
    }
    assert parse(b"\xef\xbb\xbf[]") == []
    assert parse(b"[" * 64 + b"]" * 64) is not None
    assert parse("9" * 18) == int("9" * 18)
    assert parse("18446744073709551615", digits=20) == 2**64 - 1


@pytest.mark.parametrize(
    "change",
    [
        {"schema": "dr-assets/test-note/" + "9" * 5000},
        {"schema": "x" * 5_000_000},
        {"schema": ["dr-assets/test-note/3"] * 1000},
        {"schema": "\x1b[2J\n"},
        {"k" * 5_000_000: 1},
        {f"\x1b[31m{n}": n for n in range(10_000)},
        {"at": "0001-01-01T00:00:00+14:00"},
        {"at": "9999-12-31T23:59:59-14:00"},
        {"at": "1999-12-31T23:59:59Z"},
        {"at": "2200-01-01T00:00:00Z"},
        {"at": "2026-11-01T06:00:00.000Z" + " " * 5_000_000},
        {"since": 1e18},
        {"since": -1e300},
        {"since": -1},
    ],
)
def test_case_e6_a_damaged_document_is_refused_with_one_short_text(change: dict[str, object]) -> None:
    with pytest.raises(DocumentError) as refused:
        Note.from_bytes(json.dumps({**GOOD, **change}), "notes/1.json")
    assert str(refused.value).startswith("notes/1.json ")
    assert len(str(refused.value)) < 700
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    ("schema", "newer"),
    [
        ("dr-assets/test-note/3", True),
        ("dr-assets/test-note/2", False),
        ("dr-assets/test-note/999999999", True),
        ("dr-assets/test-note/" + "9" * 5000, False),  # CPython refuses int() of more than 4,300 digits
        ("dr-assets/test-note/²", False),
        (3, False),
        (None, False),
    ],
)
def test_case_e6_which_version_is_newer(schema: object, newer: bool) -> None:
    assert is_newer(schema, "dr-assets/test-note/2") is newer


def test_not_a_number_is_neither_read_nor_written() -> None:
    with pytest.raises(DocumentError, match=r"x is not JSON .*NaN"):
        Note.from_bytes(json.dumps({**GOOD, "size": float("nan")}), "x")
    with pytest.raises(DocumentError, match="size"):
        Note.from_json({**GOOD, "size": float("nan")}, "x")
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
