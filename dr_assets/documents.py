"""Base class of persisted JSON documents: validate, read, write and hash them; one schema version each."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from datetime import datetime
from itertools import accumulate
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    ValidationError,
    WithJsonSchema,
)
from typing_extensions import Self

from dr_assets import escape, utc
from dr_assets.errors import DrError

T = TypeVar("T")
_LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")

# Far beyond what any document or message holds; within what `json`, `int` and pydantic take without an exception of their own.
MAX_BYTES, MAX_DEPTH, MAX_DIGITS = 16 << 20, 64, 18
_EPOCH_END = datetime(utc.LAST_YEAR + 1, 1, 1, tzinfo=utc.UTC).timestamp()
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_BRACKET = re.compile(r"[\[\]{}]")


class DocumentError(DrError):
    """A document that cannot be read; the text names it, the field, and the remedy."""

    def with_remedy(self, remedy: str) -> str:
        """The text followed by what to do about this document."""
        return f"{self} {remedy}"


class NewerDocumentError(DocumentError):
    """A document of a later version than this product reads. The remedy is an update, whatever the document is."""

    def with_remedy(self, remedy: str) -> str:
        return str(self)


def parse(data: bytes | str, name: str = "it", digits: int = MAX_DIGITS) -> Any:
    """Bytes or text of outside as JSON values (RFC 8259), in UTF-8 and within bounds. Raises DocumentError, and nothing else.

    Refused besides what is not JSON: more than 16 MiB, arrays and objects in each other deeper than 64, whole numbers of more than
    `digits` digits, NaN, infinity and numbers beyond a float, a key that stands twice in an object. `name` stands in the error.
    """

    def whole(text: str) -> int:
        if len(text.lstrip("-")) > digits:
            raise ValueError(f"a number of {len(text)} digits")
        return int(text)

    try:
        if len(data) > MAX_BYTES:
            raise ValueError(f"{len(data)} bytes, more than {MAX_BYTES}")
        text = data.decode("utf-8-sig") if isinstance(data, bytes) else data
        brackets = _BRACKET.findall(_STRING.sub("", text))
        depth = max(accumulate(1 if bracket in "[{" else -1 for bracket in brackets), default=0)
        if depth > MAX_DEPTH:
            raise ValueError(f"nested {depth} deep, more than {MAX_DEPTH}")
        return json.loads(
            text, object_pairs_hook=_once, parse_constant=_no_constant, parse_int=whole, parse_float=_finite
        )
    except (ValueError, RecursionError) as error:
        raise DocumentError(f"{name} is not JSON ({error})") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {quoted(key)} is given twice")
        found[key] = value
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number in JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {quoted(text)} is too large")
    return value


def quoted(value: Any) -> str:
    """A foreign value in quotes, on one line, cut to a length that an error's text can bear."""
    text = escape.line(repr(value))
    return text if len(text) <= 80 else f"{text[:79]}…"


def _utc_time(value: Any) -> datetime:
    if isinstance(value, datetime):
        return utc.bounded(value)
    return utc.parse(value)


def _epoch(seconds: float) -> float:
    if not 0 <= seconds < _EPOCH_END:
        raise ValueError("not a time in seconds since 1970")
    return seconds


# An aware datetime in UTC; in JSON `2026-11-01T06:00:00.000Z`.
UtcTime = Annotated[
    datetime,
    BeforeValidator(_utc_time),
    PlainSerializer(utc.to_text, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
# Seconds since 1970, before the year 2200.
Epoch = Annotated[float, AfterValidator(_epoch)]


class Part(BaseModel):
    """A part of a document. Unknown keys, NaN and infinity are refused; values are never coerced from text."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, populate_by_name=True)


class Document(Part):
    """A whole document. `SCHEMA` is `dr-assets/NAME/VERSION` and stands in the JSON as `schema`.

    A change that older readers would misunderstand raises the version; a field that may be absent does not.
    """

    SCHEMA: ClassVar[str]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values, `schema` first."""
        return {"schema": self.SCHEMA, **self.model_dump(mode="json", by_alias=True)}

    def to_bytes(self) -> bytes:
        """As it is stored: sorted keys, indented, a newline at the end; the same bytes for the same content."""
        return (json.dumps(storable(self.to_json()), indent=1, sort_keys=True, allow_nan=False) + "\n").encode()

    @classmethod
    def from_bytes(cls, data: bytes | str, name: str) -> Self:
        """The document in `data`; `name` (a key, a path) stands in errors. Raises DocumentError."""
        try:
            content = parse(data, name)
        except DocumentError as error:
            raise DocumentError(f"{error}. Restore it from a backup or remove it.") from error
        return cls.from_json(content, name)

    @classmethod
    def from_json(cls, content: Any, name: str) -> Self:
        """The document in plain JSON values. Raises DocumentError."""
        if not isinstance(content, Mapping):
            raise DocumentError(f"{name} is not a JSON object but {type(content).__name__}.")
        schema = content.get("schema")
        if schema != cls.SCHEMA:
            if is_newer(schema, cls.SCHEMA):
                raise NewerDocumentError(f"{name} was written as {schema}, newer than {cls.SCHEMA}. Update DR Assets.")
            raise DocumentError(f"{name} has the schema {quoted(schema)}, not {cls.SCHEMA!r}.")
        try:
            # JSON mode: arrays are tuples, texts are times; everything else stays strict.
            body = {key: value for key, value in content.items() if key != "schema"}
            return cls.model_validate_json(json.dumps(storable(body)))
        except ValidationError as error:
            raise DocumentError(f"{name} is not a {cls.SCHEMA}: {'; '.join(problems(error))}.") from error

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """The JSON Schema (draft 2020-12) of the stored document."""
        found = cls.model_json_schema(by_alias=True, mode="serialization")
        found["properties"] = {"schema": {"const": cls.SCHEMA}, **found.get("properties", {})}
        found["required"] = ["schema", *found.get("required", [])]
        return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": cls.SCHEMA, **found}


def storable(value: T) -> T:
    """A text, or JSON values, with lone surrogates written as backslash escapes (`\\udce9`).

    Bytes of a command line that are not UTF-8 reach Python as lone surrogates (PEP 383), which UTF-8 cannot hold.
    """
    text = json.dumps(value, ensure_ascii=False)
    if not _LONE_SURROGATE.search(text):
        return value
    escaped: T = json.loads(_LONE_SURROGATE.sub(lambda found: f"\\\\u{ord(found[0]):04x}", text))
    return escaped


def problems(error: ValidationError) -> list[str]:
    """What pydantic found, one short sentence per field. The names of unknown keys are foreign text; of many only five are named."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    named = [
        f"{escape.line('.'.join(map(str, item['loc'])))[:80] or 'it'}: {escape.line(item['msg'])[:200]}"
        for item in found[:5]
    ]
    return [*named, f"and {len(found) - 5} more"] if len(found) > 5 else named


def is_newer(schema: Any, than: str) -> bool:
    """Whether `schema` is a later version of the same document."""
    name, _, version = than.rpartition("/")
    found = re.fullmatch(rf"{re.escape(name)}/([0-9]{{1,9}})", schema) if isinstance(schema, str) else None
    return found is not None and int(found[1]) > int(version)


def canonical_json(value: Any) -> str:
    """Sorted keys, no blanks. Raises ValueError for NaN and infinity, TypeError for what is no JSON."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def sha256_of(value: Any) -> str:
    """SHA-256 (hex) over the canonical JSON of `value`: the one hash of plans, records and manifests."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()
