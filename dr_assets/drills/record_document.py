"""The shape of the record of a drill or an incident, and its hash. Described for readers in docs/records.md.

A derived value (`met`, `seconds`) is built by one function of the figures here; `consistency` compares what is stored with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field
from typing_extensions import Self

from dr_assets import utc
from dr_assets.documents import Document, Part, sha256_of
from dr_assets.drills.parts import (
    Caller,
    ClockStep,
    Condition,
    CorrectiveAction,
    CountedCall,
    Items,
    Kind,
    MeasuringClient,
    Number,
    OpenPart,
    Override,
    Reconciliation,
    RtoParts,
    Sha256,
    TimelineEntry,
    UtcText,
)
from dr_assets.drills.plan import Scenario

SCHEMA = "dr-assets/record/1"

Status = Literal["succeeded", "failed", "aborted"]


def objective_met(value: float | None, target: float, at_least: float | None = None) -> bool | None:
    """Whether a figure lies within its objective (seconds). None where it is unknown; a known lower bound can still miss it."""
    if value is not None:
        return value < target
    return False if at_least is not None and at_least >= target else None


class Who(OpenPart):
    """Names as they were given; `caller_arn`: the AWS identity that moved the writer, or was to; None where unknown.

    `callers`: everyone who began, resumed or aborted it; records of earlier versions have none.
    """

    operator: str
    approved_by: str | None
    caller_arn: str | None
    callers: Items[Caller] = ()


class Scope(OpenPart):
    from_site: str
    to_site: str
    from_region: str
    to_region: str
    database: str
    tables: Items[str]


class Rto(OpenPart):
    """Seconds; None where not measured. `met` is `objective_met` of the upper bound, or of the lower one where that alone is known.

    `client`: the client that measured it; records of earlier versions have none.
    """

    low_seconds: Number | None
    high_seconds: Number | None
    parts: RtoParts
    target_seconds: Number
    met: bool | None
    client: MeasuringClient | None = None

    @classmethod
    def measured(
        cls,
        low: float | None,
        high: float | None,
        parts: RtoParts,
        target: float,
        client: MeasuringClient | None = None,
    ) -> Self:
        met = objective_met(high, target, low)
        # Only what is set is written: a record without a client stays as earlier versions read it.
        measuring = {"client": client} if client else {}
        return cls(low_seconds=low, high_seconds=high, parts=parts, target_seconds=target, met=met, **measuring)

    @classmethod
    def unknown(cls, target: float) -> Self:
        return cls.measured(None, None, RtoParts(detect=None, decide=None, database=None, traffic=None), target)


class Rpo(OpenPart):
    """Commits and seconds; None where not measured. `lost_at_least_seconds`: a lower bound where `lost_seconds` is unknown.

    `ledger_sha256`: of the ledger that was counted, `drills/STACK/ID-ledger.jsonl`; records of earlier versions have none.
    """

    lost_commits: int | None
    lost_seconds: Number | None
    in_doubt: int | None
    acknowledged: int | None
    survived: int | None
    target_seconds: Number
    met: bool | None
    lost_at_least_seconds: Number | None = None
    ledger_sha256: Sha256 | None = None

    @classmethod
    def unknown(cls, target: float) -> Self:
        nothing = dict.fromkeys(("lost_commits", "lost_seconds", "in_doubt", "acknowledged", "survived"))
        return cls(**nothing, target_seconds=target, met=None)


class Exposure(OpenPart):
    """When no usable reader protected the data; `until` None: it still lasts. `seconds` None with an `until`: unknown.

    `at_least_seconds`: how long it had lasted when the record was written, where it has not ended.
    """

    since: UtcText = Field(validation_alias="from", serialization_alias="from")
    until: UtcText | None
    seconds: Number | None
    at_least_seconds: Number | None = None

    @classmethod
    def between(cls, since: str, until: str | None, now: str) -> Self:
        """`now`: for one that has not ended. The three are times of one timeline; where they go back, the duration is unknown."""
        lasted = (utc.parse(until or now) - utc.parse(since)).total_seconds()
        known = lasted if lasted >= 0 else None
        if until is not None:
            return cls(since=since, until=until, seconds=known)
        return cls(since=since, until=None, seconds=None, **({} if known is None else {"at_least_seconds": known}))


class Draft(Part):
    """A record before it is chained."""

    id: str
    kind: Kind
    scenario: Scenario
    stack: str
    status: Status
    reason: str | None
    started_at: UtcText
    ended_at: UtcText
    who: Who
    why: str
    scope: Scope
    plan_hash: Sha256
    product_version: str
    preconditions: Items[Condition]
    overrides: Items[Override]
    timeline: Items[TimelineEntry]
    rto: Rto
    rpo: Rpo
    exposure: Exposure | None
    calls: Items[CountedCall]
    postconditions: Items[Condition]
    deviations: Items[str]
    corrective_actions: Items[CorrectiveAction]
    reconciliation: Reconciliation | None
    clock_steps: Items[ClockStep] = ()

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values, exactly as they were read or built: the hash is over them."""
        return {"schema": SCHEMA, **self.model_dump(mode="json", by_alias=True, exclude_unset=True)}


class Record(Draft, Document):
    """A record in the chain of its stack. `previous_hash` is None for the first."""

    SCHEMA: ClassVar[str] = SCHEMA
    previous_hash: Sha256 | None
    hash: Sha256

    @property
    def good(self) -> bool:
        """Whether the drill succeeded within both objectives. Unknown is never compliant."""
        return self.status == "succeeded" and bool(self.rto.met) and bool(self.rpo.met)


def digest(document: Mapping[str, Any]) -> str:
    """SHA-256 (hex) over the canonical JSON of everything but the hash itself."""
    return sha256_of({name: value for name, value in document.items() if name != "hash"})
