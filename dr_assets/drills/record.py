"""The record of a drill or an incident: its shape, its place in a chain of hashes, and the proof that none was touched.

May import `errors` and `history.store`. Described for readers in docs/records.md. Records are created, never changed.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from dr_assets.errors import DrError
from dr_assets.history.store import Store

SCHEMA = "dr-assets/record/1"
PATIENCE_SECONDS = 20.0  # how long others may come first, again and again

_TEXT, _NUMBER, _MAP, _LIST = (str,), (int, float), (dict,), (list,)
# Field -> the types it may have; None stands for "unknown" or "not applicable" where it is allowed.
_FIELDS: Mapping[str, tuple[type | None, ...]] = {
    "schema": _TEXT,
    "id": _TEXT,
    "kind": _TEXT,
    "scenario": _TEXT,
    "stack": _TEXT,
    "status": _TEXT,
    "reason": (str, None),
    "started_at": _TEXT,
    "ended_at": _TEXT,
    "who": _MAP,
    "why": _TEXT,
    "scope": _MAP,
    "plan_hash": _TEXT,
    "product_version": _TEXT,
    "preconditions": _LIST,
    "overrides": _LIST,
    "timeline": _LIST,
    "rto": _MAP,
    "rpo": _MAP,
    "exposure": (dict, None),
    "calls": _LIST,
    "postconditions": _LIST,
    "deviations": _LIST,
    "corrective_actions": _LIST,
    "reconciliation": (dict, None),
}
_CHAIN: Mapping[str, tuple[type | None, ...]] = {"previous_hash": (str, None), "hash": _TEXT}
_CHOICES = {
    "schema": (SCHEMA,),
    "kind": ("drill", "incident"),
    "scenario": ("switchover", "failover", "failback"),
    "status": ("succeeded", "failed", "aborted"),
}
_INSIDE: Mapping[str, Mapping[str, tuple[type | None, ...]]] = {
    "rto": {
        "low_seconds": (*_NUMBER, None),
        "high_seconds": (*_NUMBER, None),
        "parts": _MAP,
        "target_seconds": _NUMBER,
        "met": (bool, None),
    },
    "rpo": {
        "lost_commits": (int, None),
        "lost_seconds": (*_NUMBER, None),
        "in_doubt": (int, None),
        "acknowledged": (int, None),
        "survived": (int, None),
        "target_seconds": _NUMBER,
        "met": (bool, None),
    },
    "who": {"operator": _TEXT, "approved_by": (str, None), "caller_arn": (str, None)},
    "scope": {
        "from_site": _TEXT,
        "to_site": _TEXT,
        "from_region": _TEXT,
        "to_region": _TEXT,
        "database": _TEXT,
        "tables": _LIST,
    },
    "exposure": {"from": _TEXT, "until": (str, None), "seconds": (*_NUMBER, None)},
    "reconciliation": {"file": _TEXT, "insert": (int,), "update": (int,), "delete": (int,)},
}
_CONDITION: Mapping[str, tuple[type | None, ...]] = {"name": _TEXT, "passed": (bool, None), "reason": (str, None)}
_ENTRIES: Mapping[str, Mapping[str, tuple[type | None, ...]]] = {
    "preconditions": _CONDITION,
    "postconditions": _CONDITION,
    "overrides": {"precondition": _TEXT, "reason": _TEXT, "by": _TEXT},
    "timeline": {"mark": (str, None), "at": _TEXT, "source": _TEXT, "text": _TEXT},
    "calls": {"region": _TEXT, "service": _TEXT, "operation": _TEXT, "plane": _TEXT, "count": (int,)},
    "corrective_actions": {"text": _TEXT, "owner": _TEXT, "due": (str, None)},
}
_PARTS: Mapping[str, tuple[type | None, ...]] = dict.fromkeys(
    ("detect", "decide", "database", "traffic"), (*_NUMBER, None)
)
_MARKS = (None, *(f"T{number}" for number in range(7)))


class RecordError(DrError):
    """A record that is none, or a chain that does not hold."""


def digest(document: Mapping[str, Any]) -> str:
    """SHA-256 (hex) over the canonical JSON (sorted keys, no blanks) of everything but the hash itself."""
    body = {name: value for name, value in document.items() if name != "hash"}
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def validate(document: Any, chained: bool = True) -> list[str]:
    """What is wrong with it, in words; an empty list for a good record."""
    if not isinstance(document, Mapping):
        return ["it is not a JSON object"]
    wanted = {**_FIELDS, **(_CHAIN if chained else {})}
    problems = [f"{name} is missing" for name in wanted if name not in document]
    problems += [f"{name} is not known in {SCHEMA}" for name in document if name not in wanted]
    problems += _types("", wanted, document)
    for name, inner in _INSIDE.items():
        problems += _inside(name, inner, document.get(name))
    problems += _entries(document)
    for name, choices in _CHOICES.items():
        if name in document and document[name] not in choices:
            problems.append(f"{name} is {document[name]!r}, not one of {', '.join(choices)}")
    problems += [
        f"{name} is not an ISO 8601 time in UTC" for name in ("started_at", "ended_at") if not _utc(document.get(name))
    ]
    try:
        found = digest(document)
    except (TypeError, ValueError) as error:
        return [*problems, f"it cannot be put as JSON ({error})"]
    if chained and not problems and document["hash"] != found:
        problems.append("its hash does not fit what it says: it was changed after it was written")
    return problems


def _inside(name: str, wanted: Mapping[str, tuple[type | None, ...]], value: Any) -> list[str]:
    """Problems of an object within; one that is missing or of another type has been named before."""
    if not isinstance(value, Mapping):
        return []
    return [f"{name}.{key} is missing" for key in wanted if key not in value] + _types(f"{name}.", wanted, value)


def _entries(document: Mapping[str, Any]) -> list[str]:
    problems: list[str] = []
    for name, wanted in _ENTRIES.items():
        for number, entry in enumerate(document[name] if isinstance(document.get(name), list) else ()):
            if not isinstance(entry, Mapping):
                problems.append(f"{name}[{number}] is {type(entry).__name__}")
                continue
            problems += _inside(f"{name}[{number}]", wanted, entry)
            if name == "timeline" and entry.get("mark") not in _MARKS:
                problems.append(f"timeline[{number}].mark is {entry['mark']!r}, not one of T0 to T6")
            if name == "timeline" and not _utc(entry.get("at")):
                problems.append(f"timeline[{number}].at is not an ISO 8601 time in UTC")
    rto = document.get("rto")
    return problems + (_inside("rto.parts", _PARTS, rto.get("parts")) if isinstance(rto, Mapping) else [])


def _types(prefix: str, wanted: Mapping[str, tuple[type | None, ...]], document: Mapping[str, Any]) -> list[str]:
    problems = []
    for name, types in wanted.items():
        if name not in document:
            continue
        value = document[name]
        if value is None:
            good = None in types
        elif isinstance(value, bool):
            good = bool in types
        else:
            good = isinstance(value, tuple(kind for kind in types if kind is not None))
        if not good:
            problems.append(f"{prefix}{name} is {type(value).__name__}")
    return problems


def _utc(text: Any) -> bool:
    try:
        return isinstance(text, str) and text.endswith("Z") and datetime.fromisoformat(text[:-1] + "+00:00") is not None
    except ValueError:
        return False


def append(store: Store, document: Mapping[str, Any]) -> dict[str, Any]:
    """Write the record as the newest of its stack, chained to the one before it, and answer it with both hashes.

    Two writers at once both succeed, one after the other: each number can be created only once. A damaged or foreign file
    among the records stops nobody from leaving a new one: that is chained to the newest record that is whole, and
    `verify_chain` goes on naming the file. Raises RecordError for a document that is no record.
    """
    problems = validate(document, chained=False)
    if problems:
        raise RecordError(f"This is no record: {'; '.join(problems)}.")
    stack = str(document["stack"])
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        keys = _keys(store, stack)
        previous = next(filter(None, (_whole(store, key) for key in reversed(keys))), None)
        complete = {**document, "previous_hash": previous["hash"] if previous else None}
        complete["hash"] = digest(complete)
        number = (_number(keys[-1]) or 0) + 1 if keys else 1
        try:
            store.create(f"records/{stack}/{number:06d}.json", (json.dumps(complete, indent=1) + "\n").encode())
        except FileExistsError:
            time.sleep(random.uniform(0.001, 0.02))
            continue
        return complete
    raise RecordError(
        f"The chain of stack {stack} in {store.uri} could not be extended: others came first for "
        f"{PATIENCE_SECONDS:.0f} s. Nothing was written; resume the drill."
    )


def load(store: Store, stack: str) -> list[dict[str, Any]]:
    """The stack's records, oldest first. What is no record is left out (`verify_chain` names it)."""
    return [document for key in _keys(store, stack) if (document := _whole(store, key))]


def verify_chain(store: Store, stack: str) -> list[str]:
    """What is wrong with the stack's chain, in words; an empty list proves that no record was changed, added or removed
    between its first and its last."""
    problems = [
        f"{key} is not the name of a record (NUMBER.json): move it elsewhere"
        for key in store.list(f"records/{stack}/")
        if _number(key) is None
    ]
    newest: str | None = None  # hash of the record before
    known = True  # whether that one is whole: what a damaged one was chained by, nobody can say
    expected = 1
    for key in _keys(store, stack):
        number = _number(key) or 0
        if number != expected:
            problems.append(f"{key}: {number - expected} record(s) before it are missing")
        expected = number + 1
        document, wrong = _look(store, key)
        problems += [f"{key}: {problem}" for problem in wrong]
        if document is None or wrong:
            known = False
            continue
        if known and document["previous_hash"] != newest:
            problems.append(f"{key}: it is not chained to the record before it")
        newest, known = document["hash"], True
    return problems


def _look(store: Store, key: str) -> tuple[dict[str, Any] | None, list[str]]:
    """The document and what is wrong with it."""
    try:
        document = json.loads(store.read(key))
    except KeyError:
        return None, ["it was removed while it was being read"]
    except (ValueError, RecursionError) as error:
        return None, [f"it is not JSON ({error})"]
    problems = validate(document)
    return (document if isinstance(document, dict) else None), problems


def _whole(store: Store, key: str) -> dict[str, Any] | None:
    document, wrong = _look(store, key)
    return None if wrong else document


def _keys(store: Store, stack: str) -> list[str]:
    """The stack's records, oldest first."""
    found = [(number, key) for key in store.list(f"records/{stack}/") if (number := _number(key)) is not None]
    return [key for _, key in sorted(found)]


def _number(key: str) -> int | None:
    """`records/STACK/000001.json` -> 1; None for any other name."""
    match = re.fullmatch(r"records/[^/]+/(\d{6,})\.json", key)
    return int(match[1]) if match else None
