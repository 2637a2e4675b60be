"""What a sensor remembers between ticks: the typed documents of its cursor and its outbox."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ConfigDict, Field
from pydantic_core import PydanticSerializationError
from typing_extensions import Self

from dr_assets.documents import Document, DocumentError, Epoch, Part, storable
from dr_assets.errors import DrError
from dr_assets.history.documents import Incident, IncidentStep, Upgradable

# In place of the writer's site: it is at neither.
OUTSIDE = "outside"


@dataclass(frozen=True)
class Track:
    """What is remembered of one subject. Epoch seconds; `at`, `breach_at`, `good_at` by the source's clock, the others by ours.

    watched    since when a rule applies to it
    other_role when its site last had another role than the rule's
    known      when its source gave a new value last
    since      beginning of the breach
    raised     in breach for as long as the rule's hold
    flaps      beginnings of the latest breaches
    silent     unknown for too long
    """

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    watched: Epoch
    other_role: Epoch | None = None
    at: Epoch | None = None
    value: float | None = None
    known: Epoch | None = None
    breach_at: Epoch | None = None
    good_at: Epoch | None = None
    since: Epoch | None = None
    raised: bool = False
    flaps: tuple[Epoch, ...] = ()
    silent: bool = False
    note: str = ""


class EventState(Part):
    """An event condition at one site. Epoch seconds: its beginning, the event that changed it last, and when that was received
    where it was received late.

    One that is over (`done`) is kept for a while, so that a beginning which arrives late does not begin it again.
    """

    since: Epoch
    at: Epoch
    note: str = ""
    done: bool = False
    arrived: Epoch | None = None


class SensorMemory(Part):
    """What only one sensor remembers.

    since     `drift`, `run_failure`: when the latest ended run that was read ended; `drill_overdue`: when it evaluated last (epoch
              seconds)
    run_events `drift`, `run_failure`: event type of Dagster -> storage id up to which ended runs were read
    ended_runs likewise: EVENT-TYPE RUN-ID of the latest ones that were read -> when they ended (epoch seconds)
    in_progress `run_failure`: id of a run in progress -> what it is about (`RunSubject.metric`)
    outstanding `run_failure`: what runs were about -> what of it still has to succeed (`runs.Outstanding`)
    receipts  `event_queue`: site -> receipt handles of processed messages, to delete in the next tick
    events    `event_queue`: SITE/CONDITION -> its state
    handled   `event_queue`: fingerprint of a message -> when it was processed
    """

    since: float | None = None
    run_events: dict[str, int] = Field(default_factory=dict)
    ended_runs: dict[str, float] = Field(default_factory=dict)
    in_progress: dict[str, str] = Field(default_factory=dict)
    outstanding: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    receipts: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, validation_alias="delete", serialization_alias="delete"
    )
    events: dict[str, EventState] = Field(default_factory=dict)
    handled: dict[str, float] = Field(default_factory=dict, validation_alias="seen", serialization_alias="seen")


class WallClock(Part):
    """How the wall clock stood to the monotonic one named `id`: seconds ahead of it, and of the host's sleep (`clock.wall_offset`)."""

    id: str
    offset: float


class State(Document):
    """All that a sensor remembers between ticks. The keys of the last four are STACK/TOPIC; times are epoch seconds.

    heartbeat  when every rule was reported to Dagster last
    tracks     subject -> Track
    roles      stack -> site of its writer, or OUTSIDE, and the time of that reading
    incidents  open incidents
    numbers    the number of the latest incident
    ended      when the latest incidents ended
    covered    when an open incident of another topic explained it last
    memory     what only this sensor remembers
    clock      of the tick that wrote the times
    """

    SCHEMA = "dr-assets/sensor-state/1"

    heartbeat: float
    tracks: dict[str, Track] = Field(default_factory=dict)
    roles: dict[str, tuple[str, float]] = Field(default_factory=dict)
    incidents: dict[str, Incident] = Field(default_factory=dict)
    numbers: dict[str, int] = Field(default_factory=dict)
    ended: dict[str, tuple[float, ...]] = Field(default_factory=dict)
    covered: dict[str, float] = Field(default_factory=dict)
    memory: SensorMemory = Field(default_factory=SensorMemory, validation_alias="more", serialization_alias="more")
    clock: WallClock | None = None

    @classmethod
    def empty(cls) -> State:
        return cls(heartbeat=0.0)

    def updated(self, **changes: Any) -> State:
        """A copy with some fields changed."""
        return self.model_copy(update=changes)

    def dumps(self) -> str:
        """The cursor: compact JSON without what is at its default. NaN and infinity become null, which is unknown."""
        try:
            body = self.model_dump_json(by_alias=True, exclude_defaults=True)
        except PydanticSerializationError:  # a lone surrogate in a source's text
            state = self.from_json(storable(self.to_json()), "The sensor's cursor")
            body = state.model_dump_json(by_alias=True, exclude_defaults=True)
        return f'{{"schema":"{self.SCHEMA}",{body[1:]}'

    @classmethod
    def loads(cls, text: str | None) -> State:
        """The state of a cursor; empty where there is none. Raises DrError where it cannot be read."""
        if not text:
            return cls.empty()
        try:
            return cls.from_bytes(text, "The sensor's cursor")
        except DocumentError as error:
            raise DrError(
                error.with_remedy(
                    "Reset the cursor in Dagster: open incidents are read again from the record of deliveries."
                )
            ) from error

    @classmethod
    def from_json(cls, content: Any, name: str) -> Self:
        if isinstance(content, Mapping) and content.get("schema") == 1:  # its name before documents had names
            content = {**content, "schema": cls.SCHEMA}
        return super().from_json(content, name)


class OutboxEntry(Upgradable):
    """`outbox/STACK/SENSOR/KEY.json`: a transition to deliver. Older ones have the same keys without a schema."""

    SCHEMA = "dr-assets/outbox-entry/1"

    step: IncidentStep
    at: Epoch
    incident: Incident
