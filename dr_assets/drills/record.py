"""The record of a drill or an incident: its shape, its place in a chain of hashes, and the proof that none was touched.

May import `errors` and `history.store`. Described for readers in docs/records.md. Records are created, never changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from dr_assets.errors import DrError
from dr_assets.history.store import Store

SCHEMA = "dr-assets/record/1"
TRIES = 20

_TEXT, _NUMBER, _MAP, _LIST = (str,), (int, float), (dict,), (list,)
# Field -> the types it may have; None stands for "unknown" or "not applicable" where it is allowed.
_FIELDS: Mapping[str, tuple[type | None, ...]] = {
    "schema": _TEXT, "id": _TEXT, "kind": _TEXT, "scenario": _TEXT, "stack": _TEXT, "status": _TEXT, "reason": (str, None),
    "started_at": _TEXT, "ended_at": _TEXT, "who": _MAP, "why": _TEXT, "scope": _MAP, "plan_hash": _TEXT,
    "product_version": _TEXT, "preconditions": _LIST, "overrides": _LIST, "timeline": _LIST, "rto": _MAP, "rpo": _MAP,
    "exposure": (dict, None), "calls": _LIST, "postconditions": _LIST, "deviations": _LIST, "corrective_actions": _LIST,
    "reconciliation": (dict, None),
}  # fmt: skip
_CHAIN: Mapping[str, tuple[type | None, ...]] = {"previous_hash": (str, None), "hash": _TEXT}
_CHOICES = {
    "schema": (SCHEMA,),
    "kind": ("drill", "incident"),
    "scenario": ("switchover", "failover", "failback"),
    "status": ("succeeded", "failed", "aborted"),
}
_INSIDE: Mapping[str, Mapping[str, tuple[type | None, ...]]] = {
    "rto": {"low_seconds": (*_NUMBER, None), "high_seconds": (*_NUMBER, None), "parts": _MAP, "target_seconds": _NUMBER,
            "met": (bool, None)},
    "rpo": {"lost_commits": (int, None), "lost_seconds": (*_NUMBER, None), "in_doubt": (int, None),
            "acknowledged": (int, None), "survived": (int, None), "target_seconds": _NUMBER, "met": (bool, None)},
    "who": {"operator": _TEXT, "approved_by": (str, None), "caller_arn": (str, None)},
    "scope": {"from_site": _TEXT, "to_site": _TEXT, "from_region": _TEXT, "to_region": _TEXT, "database": _TEXT, "tables": _LIST},
}  # fmt: skip


class RecordError(DrError):
    """A record that is none, or a chain that does not hold."""


def digest(document: Mapping[str, Any]) -> str:
    """SHA-256 (hex) over the canonical JSON (sorted keys, no blanks) of everything but the hash itself."""
    body = {name: value for name, value in document.items() if name != "hash"}
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def validate(document: Any, chained: bool = True) -> list[str]:
    """What is wrong with it, in words; an empty list for a good record."""
    if not isinstance(document, Mapping):
        return ["it is not a JSON object"]
    wanted = {**_FIELDS, **(_CHAIN if chained else {})}
    problems = [f"{name} is missing" for name in wanted if name not in document]
    problems += [f"{name} is not known in {SCHEMA}" for name in document if name not in wanted]
    problems += _types("", wanted, document)
    for name, inner in _INSIDE.items():
        if isinstance(document.get(name), Mapping):
            problems += [f"{name}.{key} is missing" for key in inner if key not in document[name]]
            problems += _types(f"{name}.", inner, document[name])
    for name, choices in _CHOICES.items():
        if name in document and document[name] not in choices:
            problems.append(f"{name} is {document[name]!r}, not one of {', '.join(choices)}")
    problems += [
        f"{name} is not an ISO 8601 time in UTC" for name in ("started_at", "ended_at") if not _utc(document.get(name))
    ]
    if chained and not problems and document["hash"] != digest(document):
        problems.append("its hash does not fit what it says: it was changed after it was written")
    return problems


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

    Two writers at once both succeed, one after the other: each number can be created only once. Raises RecordError for a
    document that is no record, or a chain whose last record is none.
    """
    problems = validate(document, chained=False)
    if problems:
        raise RecordError(f"This is no record: {'; '.join(problems)}.")
    stack = str(document["stack"])
    for _ in range(TRIES):
        keys = _keys(store, stack)
        previous = _read(store, keys[-1]) if keys else None
        complete = {**document, "previous_hash": previous["hash"] if previous else None}
        complete["hash"] = digest(complete)
        number = _number(keys[-1]) + 1 if keys else 1
        try:
            store.create(f"records/{stack}/{number:06d}.json", (json.dumps(complete, indent=1) + "\n").encode())
        except FileExistsError:
            continue
        return complete
    raise RecordError(f"The chain of stack {stack} in {store.uri} could not be extended: too many write to it at once.")


def load(store: Store, stack: str) -> list[dict[str, Any]]:
    """The stack's records, oldest first. What is no record is left out (`verify_chain` names it)."""
    found = []
    for key in _keys(store, stack):
        try:
            document = json.loads(store.read(key))
        except (KeyError, ValueError):
            continue
        if not validate(document):
            found.append(document)
    return found


def verify_chain(store: Store, stack: str) -> list[str]:
    """What is wrong with the stack's chain, in words; an empty list proves that no record was changed, added or removed
    between its first and its last."""
    problems: list[str] = []
    expected: str | None = None
    number = 0
    for key in _keys(store, stack):
        try:
            document = json.loads(store.read(key))
        except ValueError as error:
            problems.append(f"{key} is not JSON ({error})")
            expected = "?"
            continue
        problems += [f"{key}: {problem}" for problem in validate(document)]
        number += 1
        if _number(key) != number:
            problems.append(f"{key}: {_number(key) - number} record(s) before it are missing")
            number = _number(key)
        elif expected != "?" and document.get("previous_hash") != expected:
            problems.append(f"{key}: it is not chained to the record before it")
        expected = document.get("hash") if isinstance(document, Mapping) else "?"
    return problems


def _read(store: Store, key: str) -> dict[str, Any]:
    try:
        document = json.loads(store.read(key))
    except ValueError as error:
        raise RecordError(f"{key} in {store.uri} is not JSON ({error}). Restore it from a backup.") from error
    problems = validate(document)
    if problems:
        raise RecordError(f"{key} in {store.uri} is no record: {'; '.join(problems)}. Restore it from a backup.")
    found: dict[str, Any] = document
    return found


def _keys(store: Store, stack: str) -> list[str]:
    return [key for key in store.list(f"records/{stack}/") if key.endswith(".json")]


def _number(key: str) -> int:
    try:
        return int(key.rsplit("/", 1)[1].removesuffix(".json"))
    except ValueError:
        raise RecordError(f"{key} is not the name of a record (NUMBER.json). Move it elsewhere.") from None
