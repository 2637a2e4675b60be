"""Stored JSON documents of alerting and reporting: incidents, verified restores and changes to corrective actions.

A damaged or foreign document is quarantined, named and left out; one of a later version is named and left in place. Neither is
fatal. Drill records have a module of their own (`drills.record`): they are a chain, so none of them is ever moved.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BeforeValidator, ConfigDict, Field
from typing_extensions import Self

from dr_assets import escape, utc
from dr_assets.core.freshness import is_future
from dr_assets.documents import Document, DocumentError, Epoch, NewerDocumentError, Part, UtcTime, quoted, storable
from dr_assets.errors import DrError, UnansweredError
from dr_assets.history.quarantine import quarantined
from dr_assets.history.store import Store, quarantine

IncidentStep = Literal["opened", "escalated", "resolved", "silenced", "joined"]


def _finite(value: Any) -> Any:
    """NaN and infinity are no reading: unknown. An incident must not be lost because its value cannot be stored."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


class Upgradable(Document):
    """A document whose earlier form has the same keys under another `schema` (`EARLIER`), or under none."""

    EARLIER: ClassVar[str | None] = None

    @classmethod
    def from_json(cls, content: Any, name: str) -> Self:
        if isinstance(content, Mapping) and content.get("schema") == cls.EARLIER:
            content = {**content, "schema": cls.SCHEMA}
        return super().from_json(content, name)


class IncidentFields(Part):
    """What describes one incident of one topic of one stack. Times are epoch seconds, UTC.

    notified       whether its alert was delivered (not while a maintenance window suppresses it)
    clear_since    since when none of its breaches holds any more; None while one does
    resolve_after  seconds without a breach before it is resolved: grows with every return, so that flapping alerts once
    """

    stack: str
    topic: str
    number: int
    severity: Literal["critical", "warning"]
    opened: Epoch
    since: Epoch
    breaches: tuple[str, ...]
    evidence: tuple[str, ...]
    text: str
    runbook: str
    value: Annotated[float | None, BeforeValidator(_finite)]
    unit: str
    objective: str
    resource: str
    site: str
    escalate_after: float
    resolve_after: float = Field(default=0.0, validation_alias="wait", serialization_alias="wait")
    clear_since: Epoch | None = Field(default=None, validation_alias="calm", serialization_alias="calm")
    notified: bool = Field(default=True, validation_alias="told", serialization_alias="told")
    escalated: bool = False
    ended: Epoch | None = None


class Incident(IncidentFields):
    """An incident inside a sensor's cursor, the outbox, a delivery or a trace; its id follows from its number."""

    @property
    def id(self) -> str:
        return f"{self.stack}-{self.topic}-{self.number:06d}"

    def as_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json", by_alias=True)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Incident:
        """The inverse of `as_json`. Raises ValueError (pydantic's)."""
        return cls.model_validate_json(json.dumps(storable(content)))

    def updated(self, **changes: Any) -> Incident:
        """A copy with some fields changed."""
        return Incident(**{**self.model_dump(), **changes})


class StoredIncident(IncidentFields, Document):
    """`incidents/STACK/ID.json`: an incident, its latest step, and the capabilities that were lost with it."""

    SCHEMA = "dr-assets/incident/1"

    id: str
    last: IncidentStep
    lost: tuple[str, ...] = ()

    @classmethod
    def of(cls, incident: Incident, last: IncidentStep, lost: tuple[str, ...] = ()) -> Self:
        return cls(id=incident.id, last=last, lost=lost, **incident.model_dump())

    @property
    def key(self) -> str:
        return f"incidents/{self.stack}/{self.stack}-{self.topic}-{self.number:06d}.json"


class SuppressedIncident(Upgradable):
    """`maintenance/STACK/trace/ID.PHASE.json`: a step (`transition`) of which a maintenance window suppressed the alert."""

    SCHEMA = "dr-assets/suppressed-incident/1"

    at: UtcTime
    transition: str
    incident: Incident

    @property
    def key(self) -> str:
        phase = "ended" if self.incident.ended else "begun"
        return f"maintenance/{self.incident.stack}/trace/{self.incident.id}.{phase}.json"


class OpenDocument(Document):
    """A document that other tools write too: keys that this version does not know are kept."""

    model_config = ConfigDict(extra="allow")


class Restore(OpenDocument):
    """`restores/STACK/ID.json`: one restore of a backup, and whether what it restored was found good."""

    SCHEMA = "dr-assets/restore/1"

    ended_at: UtcTime
    verified: bool


class ActionChange(OpenDocument):
    """`actions/STACK/TIME.json`: a change to corrective action `number` (from 1) of a record. None: unchanged.

    `text`: the action is new. Where its number was taken meanwhile, it has the next one.
    """

    SCHEMA = "dr-assets/action/1"

    record: str
    number: int = Field(ge=1)
    text: str | None = None
    owner: str | None = None
    due: dt.date | None = None
    done: dt.date | None = None
    note: str | None = None
    by: str
    at: UtcTime


D = TypeVar("D", bound=Document)


def incidents(store: Store, stack: str, problems: list[str]) -> list[StoredIncident]:
    """Every incident by its beginning: the stored ones, and those that a maintenance window suppressed."""
    found: dict[str, StoredIncident] = {}
    for trace in _load(store, f"maintenance/{stack}/trace/", SuppressedIncident, problems):
        if trace.incident.id not in found or trace.incident.ended is not None:
            found[trace.incident.id] = StoredIncident.of(trace.incident, "silenced")
    for incident in _load(store, f"incidents/{stack}/", StoredIncident, problems):
        found[incident.id] = incident
    return sorted(found.values(), key=lambda each: (each.since, each.id))


def restores(store: Store, stack: str, problems: list[str]) -> list[dt.datetime]:
    """When restores ended whose result was verified, oldest first (UTC). One of the future proves nothing, and is named."""
    ended = sorted(each.ended_at for each in _load(store, f"restores/{stack}/", Restore, problems) if each.verified)
    now = utc.now()
    problems += [
        f"A restore of stack {stack} ended at {utc.to_text(at)}, in the future." for at in ended if is_future(at, now)
    ]
    return [at for at in ended if not is_future(at, now)]


def actions(store: Store, stack: str, problems: list[str]) -> list[ActionChange]:
    """Changes to corrective actions since their records were written, oldest first."""
    return _load(store, f"actions/{stack}/", ActionChange, problems)


def amend_action(store: Store, stack: str, change: Mapping[str, Any]) -> ActionChange:
    """Store a change to a corrective action: its owner, its due date, or that it is done. Overwrites nothing.

    `change`: the fields of ActionChange as JSON. Raises DrError for invalid ones.
    """
    try:
        document = ActionChange.from_json({"schema": ActionChange.SCHEMA, **change}, "The change")
    except DocumentError as error:
        raise DrError(
            f"A change to a corrective action needs record, number, by and at, and dates as 2026-11-30. {error}"
        ) from error
    for delay in range(60):  # of two at the same moment the later one takes the next name
        stamp = f"{document.at + dt.timedelta(milliseconds=delay):%Y%m%dT%H%M%S%f}"
        try:
            store.create(f"actions/{stack}/{stamp}.json", document.to_bytes())
        except FileExistsError:
            continue
        return document
    raise DrError(f"Nothing was written: others kept writing into actions/{stack} at the same moment. Repeat it.")


def _load(store: Store, prefix: str, model: type[D], problems: list[str]) -> list[D]:
    found = []
    for key in store.list(prefix):
        try:
            data = store.read(key)
        except KeyError:  # removed since it was listed
            continue
        except UnansweredError:
            raise
        except DrError as error:  # the store keeps back this one alone
            problems.append(escape.line(f"{key} is left out: {error}"))
            continue
        try:
            found.append(_read(model, data, key))
        except NewerDocumentError as error:
            problems.append(escape.line(f"{key} is left out: {error}"))
        except DocumentError as error:
            problems.append(escape.line(quarantine(store, key, data, str(error).rstrip("."), _UNTIL)))
    problems += [
        text for place, text in _quarantined(store, prefix, model) if not any(place in each for each in problems)
    ]
    return found


_UNTIL = "its content is not in the report"


def _read(model: type[D], data: bytes, key: str) -> D:
    """Raises DocumentError, also for a document that belongs at another key."""
    found = model.from_bytes(data, "it")
    if isinstance(found, (StoredIncident, SuppressedIncident)) and found.key != key:
        raise DocumentError(f"it belongs at {quoted(found.key)}")
    if isinstance(found, StoredIncident) and found.id != PurePosixPath(key).stem:
        raise DocumentError(f"it has the id {quoted(found.id)}")
    return found


def _quarantined(store: Store, prefix: str, model: type[D]) -> Iterator[tuple[str, str]]:
    """Place and sentence of what was quarantined, now or before, and not written again since: every report lacks it."""
    for key, place in quarantined(store, prefix):
        reason = "it was quarantined"
        try:
            _read(model, store.read(place), key)
        except (DrError, KeyError) as error:
            reason = str(error).rstrip(".") if isinstance(error, DocumentError) else reason
        yield escape.line(place), escape.line(f"{key}: {reason}; quarantined as {place}, {_UNTIL}")
