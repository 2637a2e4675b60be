"""In-memory types that sources return: Sample, Reading, Message, Snapshot. Value, no answer and error differ. Times in UTC."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from dr_assets.core.freshness import Assessed, Known, Quantity, Unknown, assess, is_future

Status = Literal["answered", "silent", "error"]

# Metrics as the rules know them. Lags in milliseconds; the two-valued ones are 1 (good) or 0 (bad) unless said otherwise.
REPLICATION_LAG, RPO_LAG, CONNECTIVITY = "replication-lag", "rpo-lag", "connectivity"
CPU, CONNECTIONS = "cpu", "connections"
ROLE = "role"  # 1 = the writer is here, 0 = a reader
MEMBER = "member"  # whether the site's cluster belongs to the global cluster
TRANSITION = "transition"  # 1 = a switchover or failover is under way
NAMED_WRITERS = "named-writers"  # how many writers of the global cluster AWS names
WRITER_INSIDE = "writer-inside"  # whether AWS names one of the two sites as the writer
REACHABLE = "reachable"  # whether the site's database accepts connections, as a writer or as a reader
SINGLE_WRITER = "single-writer"  # whether no more than one site accepts writes

# What a source answers about the moment of the question, in every tick.
STATE = Quantity("bool", 0.0, 1.0, age_limit=60.0)
COUNT = Quantity("count", 0.0, math.inf, age_limit=60.0)
# As the writer knows it: older than that it says nothing about now.
SQL_LAG = Quantity("ms", 0.0, math.inf, age_limit=30.0)
# What is reported once, when it changes: events, runs, checks, records.
REPORTED = Quantity("bool", 0.0, 1.0, age_limit=math.inf)
DAYS = Quantity("days", 0.0, math.inf, age_limit=math.inf)


@dataclass(frozen=True)
class Sample:
    """One timestamped reading. Nothing is concluded from `raw`, only from `assess`.

    at      the source's own time of the reading (UTC)
    site    `primary`, `secondary` or `global`
    source  `metric`, `alarm`, `health-check`, `topology`, `sql`, `region`, `writers`, `events`, `dagster`, `records`, `store`
    metric  what was read, as the catalogue names it (`replication-lag`, `connectivity` …)
    raw     what the source gave, whatever it is; None: it answered and had none
    quantity  its unit, its range and how long a reading of it can be believed
    note    the source's own text, for the evidence
    """

    at: datetime
    stack: str
    site: str
    source: str
    metric: str
    raw: float | None
    quantity: Quantity = STATE
    note: str = ""

    @property
    def subject(self) -> str:
        """STACK/SITE/SOURCE/METRIC: a later sample of a subject supersedes the earlier ones."""
        return f"{self.stack}/{self.site}/{self.source}/{self.metric}"

    @property
    def is_absent(self) -> bool:
        """Whether the source answered, and had no value."""
        return self.raw is None

    def assess(self, now: datetime, limit: float = math.inf) -> Assessed:
        """The reading as it can be believed at `now`. `limit`: an age limit in seconds that is stricter than the quantity's."""
        if self.raw is None and self.note:
            return Unknown(self.note)
        if self.raw is not None and self.raw < 0 and self.quantity.unit == "ms":
            return Unknown(not_replicating(self.raw))
        return assess(self.raw, self.at, now, self.quantity, limit)

    def is_known_as(self, value: float, now: datetime, limit: float = math.inf) -> bool:
        """Whether it is known to have this value."""
        found = self.assess(now, limit)
        return isinstance(found, Known) and found.value == value


@dataclass(frozen=True)
class Message:
    """One message of an event queue. `receipt` deletes it, empty: nothing does; `kind`: a name of `event_queue.KINDS`.

    `fingerprint`: the same for a repetition, and for nothing else. `doubt`: why `at` is not the time that the message gives.
    """

    id: str
    at: datetime
    stack: str
    site: str
    kind: str
    receipt: str
    receives: int
    body: dict[str, Any]
    fingerprint: str = ""
    doubt: str = ""


@dataclass(frozen=True)
class Reading:
    """What one source in one region yielded in one tick.

    `silent`: no answer within its deadline; the state is unknown. `error`: it refused (not permitted, not found), a fault of
    the configuration or of this code. `seconds`: how long it took.
    """

    source: str
    region: str
    status: Status
    at: datetime
    seconds: float = 0.0
    problem: str = ""
    samples: tuple[Sample, ...] = ()
    calls: int = 0

    @property
    def name(self) -> str:
        return f"{self.source}@{self.region}"


@dataclass(frozen=True)
class Snapshot:
    """All readings of one tick."""

    at: datetime
    readings: tuple[Reading, ...] = ()
    extra: tuple[Sample, ...] = field(default=())

    @property
    def samples(self) -> list[Sample]:
        """Every sample, and for each region whether its API answers (1) or not (0)."""
        return [sample for reading in self.readings for sample in reading.samples] + list(self.extra)


def not_replicating(lag: float) -> str:
    """The note of a lag below zero: no lag, but a mark. Aurora's functions give -1 for the primary, metrics for no replication
    (Aurora user guide, aurora_global_db_status). Such a lag is unknown."""
    return f"{lag:g} is no lag: nothing is replicated to here"


def newest(samples: Iterable[Sample], now: datetime) -> dict[str, Sample]:
    """For each subject the sample with the latest time; of equals the last one. One of the future displaces no other."""
    found: dict[str, Sample] = {}
    for sample in samples:
        before = found.get(sample.subject)
        if before is None or (is_future(before.at, now), sample.at) >= (is_future(sample.at, now), before.at):
            found[sample.subject] = sample
    return found
