"""Mutations of bytes and of JSON-like values, seeded: the same seed gives the same input. Pure."""

from __future__ import annotations

import copy
import datetime as dt
import json
import os
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

SEED_VARIABLE = "DR_FUZZ_SEED"
Path = tuple[Any, ...]

# What stands in no document: of other types, beyond every range, hostile as text.
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**18, 10**400, -0.0, 0.5, 1e18, 1e308, float("nan"), float("inf"), float("-inf"),
    "", " ", "0", "²", "nan", "null", "../../x", "a/b", "x" * 6000, "\x00", "\x1b[2J", "\u202e", "\udce9", "é" * 300,
    "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59Z", "2126-01-01T00:00:00.000Z", "2026-02-31T00:00:00Z",
    [], [[]], [1], [None], {}, {"a": 1}, {"": {}},
)  # fmt: skip


def seed() -> str:
    """DR_FUZZ_SEED, else the day's date: other inputs every day, and the same ones again for whoever sets it."""
    return os.environ.get(SEED_VARIABLE) or dt.datetime.now(dt.timezone.utc).date().isoformat()


def generator(*parts: object) -> random.Random:
    """A generator for one input; `parts`: the seed, and what tells this input from the others."""
    return random.Random("/".join(str(part) for part in parts))


def paths(value: Any, here: Path = ()) -> Iterator[Path]:
    """The path of every value inside, the whole not included."""
    items: Sequence[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    for key, inner in items:
        yield (*here, key)
        yield from paths(inner, (*here, key))


def replaced(value: Any, path: Path, by: Any) -> Any:
    """A copy with the value at `path` replaced."""
    if not path:
        return by
    found = copy.deepcopy(value)
    value_at(found, path[:-1])[path[-1]] = by
    return found


def removed(value: Any, path: Path) -> Any:
    """A copy without the value at `path`."""
    found = copy.deepcopy(value)
    del value_at(found, path[:-1])[path[-1]]
    return found


def value_at(value: Any, path: Path) -> Any:
    """The value at `path`."""
    for key in path:
        value = value[key]
    return value


def value(rng: random.Random, given: Any, times: int = 1) -> Any:
    """A copy of a JSON-like value with something removed, replaced, renamed, repeated or nested, once or several times."""
    found = given
    for _ in range(times):
        every = list(paths(found))
        if not every:
            return rng.choice(ODD)
        path = rng.choice(every)
        parent, key = value_at(found, path[:-1]), path[-1]
        how = rng.randrange(8)
        if how <= 1:
            found = removed(found, path)
        elif how == 2 and isinstance(parent, dict):
            found = removed(replaced(found, (*path[:-1], f"{key}_"), parent[key]), path)
        elif how == 3 and isinstance(parent, list):
            found = replaced(found, path[:-1], [*parent, copy.deepcopy(rng.choice(parent))])
        elif how == 4:
            found = replaced(found, path, _nested(rng.choice((2, 50, 90)), parent[key]))
        elif how == 5:
            other = rng.choice(every)  # a value of another place
            found = replaced(found, path, copy.deepcopy(value_at(found, other)))
        else:
            found = replaced(found, path, rng.choice(ODD))
    return found


def _nested(depth: int, inner: Any) -> Any:
    for _ in range(depth):
        inner = [inner]
    return inner


def data(rng: random.Random, given: bytes, others: Sequence[bytes] = ()) -> bytes:
    """Bytes in place of a file's: cut, flipped, another file's, HTML, another encoding, deeply nested, endless numbers."""
    flips = bytearray(given)
    for _ in range(rng.choice((1, 1, 1, 4))):
        if flips:
            flips[rng.randrange(len(flips))] ^= 1 << rng.randrange(8)
    cut = rng.randrange(len(given) + 1)
    depth = rng.choice((50, 200, 100_000))
    makers: Sequence[Callable[[], bytes]] = (
        lambda: b"",
        lambda: given[:cut],
        lambda: bytes(flips),
        lambda: bytes(flips),
        lambda: rng.randbytes(rng.choice((1, 40, 4000))),
        lambda: b"<html><body><h1>503 Service Unavailable</h1></body></html>",
        lambda: rng.choice([*others, b"{}"]),
        lambda: given.decode("utf-8", "replace").encode("utf-16"),
        lambda: b"\xef\xbb\xbf" + given,
        lambda: b"[" * depth + b"]" * depth,
        lambda: b'{"a":' * depth + b"1" + b"}" * depth,
        lambda: b"9" * 5001,
        lambda: given[:cut] + given,
        lambda: given + given,
        lambda: rng.choice((b"null", b"0", b"[]", b"{}", b'""', b"NaN", b"true")),
    )
    return rng.choice(makers)()


def document(rng: random.Random, given: bytes, others: Sequence[bytes] = ()) -> bytes:
    """A JSON document mutated as a value three times in four, else as bytes."""
    if rng.randrange(4) == 0:
        return data(rng, given, others)
    try:
        content = json.loads(given)
    except (ValueError, RecursionError):
        return data(rng, given, others)
    mutant = value(rng, content, rng.choice((1, 1, 1, 2, 3)))
    try:
        return json.dumps(mutant, indent=1, sort_keys=True).encode("utf-8", "surrogatepass")
    except (RecursionError, TypeError, ValueError):
        return data(rng, given, others)
