"""Values of a desired state that are known only at run time: references, role-dependent values, the account.

The catalogue is plain data made when the code loads, without a call to AWS. Whatever only AWS knows is one of these symbols
in it, and is resolved against a `Scope`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from dr_assets.stack import Site

Role = Literal["writer", "reader"]


@dataclass(frozen=True)
class Ref:
    """The field `field` of the observed resource `key`; also an edge of the lineage."""

    key: str
    field: str


@dataclass(frozen=True)
class ByRole:
    """One value while `site` holds the writer, another while it is the reader (the role is observed, never assumed)."""

    site: Site
    writer: Any
    reader: Any


@dataclass(frozen=True)
class Text:
    """A text in which `{account}` stands for the AWS account number (12 digits) and `{0}`, `{1}` … for `parts`."""

    template: str
    parts: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Unresolved:
    """Takes the place of a `Ref` to something absent, so that the difference can still be shown. Equal to no real value.

    present: the resource exists, and AWS does not show this field of it (yet).
    """

    key: str
    field: str
    present: bool = False

    def __str__(self) -> str:
        return f"<{self.field} of {self.key}, which {'AWS does not show' if self.present else 'is absent'}>"


class UnknownScope(Exception):
    """A value is unknown because AWS did not answer for the resource it refers to, `key`."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(f"{key} is unknown: {reason}")
        self.key = key
        self.reason = reason


class Scope(Protocol):
    """What resolution needs: the account, the observed roles, and fields of observed resources."""

    @property
    def account(self) -> str: ...

    def role(self, site: Site) -> Role:
        """Raises UnknownScope where the topology is unknown."""
        ...

    def field(self, key: str, field: str) -> Any:
        """The observed field; Unresolved where the resource is absent. Raises UnknownScope where it is unknown."""
        ...


def resolve(value: Any, scope: Scope) -> Any:
    """Replace every symbol in `value` (dicts, lists and tuples are walked). Raises UnknownScope."""
    if isinstance(value, Ref):
        return scope.field(value.key, value.field)
    if isinstance(value, ByRole):
        return resolve(value.writer if scope.role(value.site) == "writer" else value.reader, scope)
    if isinstance(value, Text):
        parts = [resolve(part, scope) for part in value.parts]
        missing = next((part for part in parts if isinstance(part, Unresolved)), None)
        if missing is not None:
            return missing
        return value.template.format(*parts, account=scope.account)
    if isinstance(value, Mapping):
        return {key: resolve(item, scope) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [resolve(item, scope) for item in value]
    return value


def symbols(value: Any) -> Iterator[Ref | ByRole | Text]:
    """Every symbol within `value`, depth first."""
    if isinstance(value, (Ref, Text, ByRole)):
        yield value
    if isinstance(value, Text):
        yield from symbols(value.parts)
    elif isinstance(value, ByRole):
        yield from symbols((value.writer, value.reader))
    elif isinstance(value, Mapping):
        yield from symbols(tuple(value.values()))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from symbols(item)


def references(value: Any) -> tuple[str, ...]:
    """The keys that `value` refers to, each once, sorted."""
    return tuple(sorted({symbol.key for symbol in symbols(value) if isinstance(symbol, Ref)}))


def is_resolved(value: Any) -> bool:
    """False where an `Unresolved` is left anywhere in `value`."""
    if isinstance(value, Unresolved):
        return False
    if isinstance(value, Mapping):
        return all(is_resolved(item) for item in value.values())
    if isinstance(value, (list, tuple)):
        return all(is_resolved(item) for item in value)
    return True


def plain(value: Any) -> Any:
    """`value` as JSON can hold it; symbols become readable text."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, Ref):
        return f"<{value.field} of {value.key}>"
    if isinstance(value, ByRole):
        return {"when writer": plain(value.writer), "when reader": plain(value.reader)}
    if isinstance(value, Text):
        return value.template.format(*(plain(part) for part in value.parts), account="<account>")
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    return str(value)


def canonical(value: Any) -> str:
    """A text that is the same for equal values: keys and lists sorted (no list in this stack depends on its order)."""
    return json.dumps(_sorted(plain(value)), sort_keys=True, ensure_ascii=False)


def digest(value: Any) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of `canonical(value)`."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:16]


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(item) for key, item in value.items()}
    if isinstance(value, list):
        return sorted((_sorted(item) for item in value), key=lambda item: json.dumps(item, sort_keys=True))
    return value
