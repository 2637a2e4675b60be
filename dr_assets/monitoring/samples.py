"""In-memory types that sources return: Sample, Reading, Message, Snapshot. Value, no answer and error differ. Times in UTC."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Status = Literal["answered", "silent", "error"]

# Metrics as the rules know them. Lags in milliseconds; the two-valued ones are 1 (good) or 0 (bad) unless said otherwise.
REPLICATION_LAG, RPO_LAG, CONNECTIVITY = "replication-lag", "rpo-lag", "connectivity"
CPU, CONNECTIONS = "cpu", "connections"
ROLE = "role"  # 1 = the writer is here, 0 = a reader
MEMBER = "member"  # whether the site's cluster belongs to the global cluster
TRANSITION = "transition"  # 1 = a switchover or failover is under way
NAMED_WRITERS = "named-writers"  # how many writers of the global cluster AWS names
SINGLE_WRITER = "single-writer"  # whether no more than one site accepts writes


@dataclass(frozen=True)
class Sample:
    """One timestamped reading. `raw` is None where the source answered and had none: unknown, neither good nor bad.

    at      the source's own time of the reading (UTC)
    site    `primary`, `secondary` or `global`
    source  `metric`, `alarm`, `health-check`, `topology`, `sql`, `region`, `writers`, `events`, `dagster`, `records`, `store`
    metric  what was read, as the catalogue names it (`replication-lag`, `connectivity` …)
    unit    `ms`, `percent`, `count`, `bool`, `days`
    note    the source's own text, for the evidence
    """

    at: datetime
    stack: str
    site: str
    source: str
    metric: str
    raw: float | None
    unit: str = ""
    note: str = ""

    @property
    def subject(self) -> str:
        """STACK/SITE/SOURCE/METRIC: a later sample of a subject supersedes the earlier ones."""
        return f"{self.stack}/{self.site}/{self.source}/{self.metric}"


@dataclass(frozen=True)
class Message:
    """One message of an event queue. `receipt` deletes it; `kind`: a name of `event_queue.KINDS`."""

    id: str
    at: datetime
    stack: str
    site: str
    kind: str
    receipt: str
    receives: int
    body: dict[str, Any]


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


def newest(samples: Iterable[Sample]) -> dict[str, Sample]:
    """For each subject the sample with the latest time; of equals the last one."""
    found: dict[str, Sample] = {}
    for sample in samples:
        if sample.subject not in found or sample.at >= found[sample.subject].at:
            found[sample.subject] = sample
    return found
