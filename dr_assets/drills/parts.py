"""Types shared by a drill's plan, journal and record, serialised exactly as read because hashes are computed over them."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, ConfigDict, Field, PlainSerializer, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from dr_assets import utc
from dr_assets.documents import Part

T = TypeVar("T")


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise PydanticCustomError("number", "not a number")
    try:
        finite = math.isfinite(value)
    except OverflowError:  # an integer beyond the range of floats
        finite = False
    if not finite:
        raise PydanticCustomError("finite", "not a finite number")
    return value


def _whole(value: Any) -> Any:
    if _number(value) != int(value):
        raise PydanticCustomError("whole", "not a whole number")
    return value


def _utc_text(text: str) -> str:
    try:
        if text.endswith("Z"):
            utc.parse(text)
            return text
    except ValueError:
        pass
    raise PydanticCustomError("utc_time", "not an ISO 8601 time in UTC")


def _sha256(text: str) -> str:
    if not re.fullmatch("[0-9a-f]{64}", text):
        raise PydanticCustomError("sha256", "not a SHA-256 (64 hexadecimal digits)")
    return text


# An integer stays one (2 is not rewritten as 2.0), and a time stays the text that was written.
Number = Annotated[
    float,
    PlainValidator(_number),
    PlainSerializer(lambda value: value, return_type=Any),
    WithJsonSchema({"type": "number"}),
]
# A whole number, also as 5.0 (Dagster's configuration knows one type of number): convert it with int() where it counts.
Whole = Annotated[
    float,
    PlainValidator(_whole),
    PlainSerializer(lambda value: value, return_type=Any),
    WithJsonSchema({"type": "integer"}),
]
UtcText = Annotated[str, AfterValidator(_utc_text), WithJsonSchema({"type": "string", "format": "date-time"})]
Sha256 = Annotated[str, AfterValidator(_sha256), WithJsonSchema({"type": "string", "pattern": "^[0-9a-f]{64}$"})]
# A JSON array.
Items = Annotated[tuple[T, ...], Field(strict=False)]
Mark = Literal["T0", "T1", "T2", "T3", "T4", "T5", "T6"]
Kind = Literal["drill", "incident"]
Did = Literal["begun", "approved", "resumed", "aborted"]


class OpenPart(Part):
    """A part in which keys that this version does not know are kept."""

    model_config = ConfigDict(extra="allow")


class Condition(OpenPart):
    """One condition as evaluated: `passed` is None where it is unknown, with the reason."""

    name: str
    passed: bool | None
    reason: str | None


class Override(OpenPart):
    """A blocking precondition that a person (`by`) decided to override."""

    precondition: str
    reason: str
    by: str


# Names of earlier versions, which overrides in scripts and run configurations may still use.
_RENAMED = {"someone-hears": "alert-subscription-confirmed"}


def current_name(precondition: str) -> str:
    """The present name of a precondition that was renamed; any other name as it is."""
    return _RENAMED.get(precondition, precondition)


class CorrectiveAction(OpenPart):
    """What is to be done after a drill. `due`: an ISO date."""

    text: str
    owner: str
    due: str | None


class Caller(OpenPart):
    """Who did something to a drill, and when: the name given, the AWS identity (None: unknown), and under a role the one behind it.

    `at` is when it was done, not when STS answered.
    """

    at: UtcText
    did: Did
    words: str
    arn: str | None
    source_arn: str | None = None
    reason: str | None = None


class TimelineEntry(OpenPart):
    """Something that happened. `mark`: the point of the RTO (docs/records.md) that it is, or None."""

    mark: Mark | None
    at: UtcText
    source: str
    text: str


class ClockStep(OpenPart):
    """The wall clock was set: by how many seconds (negative: back), observed at `at`."""

    at: UtcText
    seconds: Number


class CountedCall(OpenPart):
    """How often an AWS operation was called. `phase`: `recovery` (on the recovery path) or `proof`."""

    phase: str | None = None
    region: str
    service: str
    operation: str
    plane: str
    count: int


class RtoParts(OpenPart):
    """The parts of an RTO in seconds; None where unknown."""

    detect: Number | None
    decide: Number | None
    database: Number | None
    traffic: Number | None


class MeasuringClient(OpenPart):
    """The client from which the RTO was measured: who answered its lookups, the largest time to live of an answer (None where
    that is unknown), how often it wrote, and its own gap (seconds)."""

    dns: Literal["nameserver", "system", "override", "address"] | None
    dns_ttl_seconds: Number | None
    probe_interval_seconds: Number
    low_seconds: Number | None
    high_seconds: Number | None


class Reconciliation(OpenPart):
    """A proposal for lost writes: its file, and how many rows it proposes to insert, update and delete."""

    file: str
    insert: int
    update: int
    delete: int
