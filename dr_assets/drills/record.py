"""Records of drills and incidents in their chain of hashes: append, load, and the proof that none was changed.

Described for readers in docs/records.md. Records are created, never changed.
"""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from dr_assets.documents import DocumentError, parse
from dr_assets.drills.consistency import contradictions
from dr_assets.drills.record_document import SCHEMA, Draft, Record, digest
from dr_assets.errors import DrError, UnansweredError
from dr_assets.history.store import Store

LAST_NUMBER = 999_999_999
APPEND_SECONDS = 20.0  # how long other writers may take the next number, again and again


class RecordError(DrError):
    """A document that is no record, or a chain that cannot be extended."""


def validate(document: Any, chained: bool = True) -> list[str]:
    """What is wrong with plain JSON values as a record, in words; an empty list for a good one."""
    return _parse(document, Record if chained else Draft)[1]


def _parse(document: Any, form: type[Draft]) -> tuple[Draft | None, list[str]]:
    """The record, and what is wrong with it. None where its shape or its hash is wrong."""
    if not isinstance(document, Mapping):
        return None, ["it is not a JSON object"]
    problems = []
    if document.get("schema") != SCHEMA:
        found = f"schema is {document['schema']!r}, not {SCHEMA!r}" if "schema" in document else "schema is missing"
        problems.append(found)
    parsed: Draft | None = None
    try:
        # Python values, not JSON text: old records may hold lone surrogates, which pydantic's JSON parser refuses.
        parsed = form.model_validate({name: value for name, value in document.items() if name != "schema"})
    except ValidationError as error:
        problems += [_in_words(item) for item in error.errors(include_url=False)]
    try:
        sha256 = digest(document)
    except (TypeError, ValueError, RecursionError) as error:
        return None, [*problems, f"it cannot be put as JSON ({error})"]
    if parsed is None or problems:
        return None, problems
    if isinstance(parsed, Record) and parsed.hash != sha256:
        return None, ["its hash does not fit its content: it was changed after it was written"]
    return parsed, contradictions(parsed)


def _in_words(item: ErrorDetails) -> str:
    """`rto.parts.detect is str`, `timeline[0].mark is 'T9', not …`."""
    name, value = "", item["input"]
    for place in item["loc"]:
        name += f"[{place}]" if isinstance(place, int) else f".{place}" if name else place
    if item["type"] == "missing":
        return f"{name} is missing"
    if item["type"] == "extra_forbidden":
        return f"{name} is not known in {SCHEMA}"
    if item["type"] in ("utc_time", "finite", "sha256"):
        return f"{name} is {item['msg']}"
    if item["type"] == "literal_error" and isinstance(value, str):
        return f"{name} is {value!r}, not {item['ctx']['expected']}"
    return f"{name} is {type(value).__name__}"


def append(store: Store, document: Mapping[str, Any]) -> Record:
    """Write the record as the newest of its stack, chained to the one before it.

    Two writers at once both succeed, one after the other: each number can be created only once. A damaged or foreign file
    among the records does not prevent a new one: that is chained to the newest record that is intact, and `verify_chain` goes
    on naming the file. Raises RecordError for a document that is no record.
    """
    problems = validate(document, chained=False)
    if problems:
        raise RecordError(f"This is no record: {'; '.join(problems)}.")
    stack = str(document["stack"])
    deadline = time.monotonic() + APPEND_SECONDS
    refused: set[int] = set()
    while time.monotonic() < deadline:
        keys = _keys(store, stack)
        previous = next(filter(None, (_intact(store, key, stack) for key in reversed(keys))), None)
        number = _next_number(keys, refused)
        complete = {**document, "previous_hash": previous.hash if previous else None}
        complete["hash"] = digest(complete)
        try:
            store.create(f"records/{stack}/{number:06d}.json", (json.dumps(complete, indent=1) + "\n").encode())
        except FileExistsError:
            refused.add(number)
            time.sleep(random.uniform(0.001, 0.02))
            continue
        return Record.model_validate({name: value for name, value in complete.items() if name != "schema"})
    raise RecordError(
        f"The chain of stack {stack} in {store.uri} could not be extended: other writers came first for "
        f"{APPEND_SECONDS:.0f} s. Nothing was written; resume the drill."
    )


def _next_number(keys: Sequence[str], refused: Collection[int]) -> int:
    """After the highest number; where that leaves no room, which only a foreign file can do, the lowest that is free.

    `refused`: numbers that could not be created: of another writer, or of something that is no object, as a folder.
    """
    taken = {*refused, *(number for key in keys if (number := _number(key)) is not None)}
    number = max(taken, default=0) + 1
    return number if number <= LAST_NUMBER else next(free for free in count(1) if free not in taken)


def load(store: Store, stack: str) -> list[Record]:
    """The stack's records, oldest first. What is no record of its chain is left out (`verify_chain` names it)."""
    return list(_checked(store, stack).records)


def verify_chain(store: Store, stack: str) -> list[str]:
    """What is wrong with the stack's chain, in words; an empty list proves that no record was changed, added or removed
    between its first and its last, and that none contradicts itself."""
    foreign = [
        f"{key} is not the name of a record (NUMBER.json): move it elsewhere"
        for key in store.list(f"records/{stack}/")
        if _number(key) is None
    ]
    return [*foreign, *_checked(store, stack).problems]


@dataclass(frozen=True)
class Chain:
    """The intact records of a chain, oldest first, and what is wrong with the others or with their order, in words."""

    records: tuple[Record, ...]
    problems: tuple[str, ...]


def check_chain(files: Iterable[tuple[str, bytes | DrError | None]], stack: str) -> Chain:
    """The chain of a stack, wherever its records lie.

    Args:
        files: the name (it ends in `NUMBER.json`) and the content of each, in the order of their numbers; None: it is gone; an
            error: why it cannot be read.
    """
    records: dict[str, Record] = {}
    names: dict[str, str] = {}
    problems: list[str] = []
    newest: str | None = None  # hash of the newest intact record, which `append` chains to
    possible: set[str | None] | None = {
        None
    }  # what the next may be chained to; None: the hash of a damaged one is not known
    expected = 1
    for name, data in files:
        number = _number(name) or 0
        if number != expected:
            problems.append(f"{name}: {number - expected} record(s) before it are missing")
        expected = number + 1
        record, wrong = _read(data, stack)
        problems += [f"{name}: {problem}" for problem in wrong]
        if record is None:
            possible = None
            continue
        if possible is not None and record.previous_hash not in possible:
            problems.append(f"{name}: it is not chained to the record before it")
        if wrong:  # not intact, though its hash fits
            possible = {record.hash, newest}
            continue
        newest, possible = record.hash, {record.hash}
        if record.id in records:
            problems.append(f"{name}: {names[record.id]} is a record of the same drill, {record.id}")
        else:
            records[record.id], names[record.id] = record, name
    return Chain(tuple(records.values()), tuple(problems))


def _checked(store: Store, stack: str) -> Chain:
    return check_chain(((key, _content(store, key)) for key in _keys(store, stack)), stack)


def _read(data: bytes | DrError | None, stack: str) -> tuple[Record | None, list[str]]:
    """The record, and what is wrong with it: it is intact where nothing is. None where not even its hash can be trusted."""
    if data is None:
        return None, ["it was removed while it was being read"]
    if isinstance(data, DrError):
        return None, [f"it cannot be read: {data}"]
    try:
        document = parse(data)
    except DocumentError as error:
        return None, [str(error)]
    record, problems = _parse(document, Record)
    if not isinstance(record, Record):
        return None, problems
    if record.stack != stack:
        problems.append(f"it is a record of the stack {record.stack!r}")
    return record, problems


def _content(store: Store, key: str) -> bytes | DrError | None:
    try:
        return store.read(key)
    except KeyError:
        return None
    except UnansweredError:
        raise
    except DrError as error:  # the store keeps back this one alone
        return error


def _intact(store: Store, key: str, stack: str) -> Record | None:
    record, problems = _read(_content(store, key), stack)
    return None if problems else record


def _keys(store: Store, stack: str) -> list[str]:
    """The stack's records, oldest first."""
    found = [(number, key) for key in store.list(f"records/{stack}/") if (number := _number(key)) is not None]
    return [key for _, key in sorted(found)]


def _number(key: str) -> int | None:
    """`records/STACK/000001.json` -> 1, or `records/000001.json` of a pack; None for any other name."""
    match = re.fullmatch(r"records/(?:[^/]+/)?([0-9]{6,9})\.json", key)
    return int(match[1]) if match and match[1] == f"{int(match[1]):06d}" else None
