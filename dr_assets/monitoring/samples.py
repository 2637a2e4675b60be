"""The nouns of observation: a sample, and a source's reading, in which answer, silence and error are kept apart.

May import `stack` only. Pure data. All times are timezone-aware UTC.
"""

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


@dataclass(frozen=True)
class Sample:
    """One timestamped reading. `value` is None where the source answered and had none: unknown, neither good nor bad.

    at      when the source says it was so (UTC)
    site    `primary`, `secondary` or `global`
    source  `metric`, `alarm`, `health-check`, `topology`, `sql`, `region`, `events`, `dagster`, `records`, `store`
    metric  what was read, as the catalogue names it (`replication-lag`, `connectivity` …)
    unit    `ms`, `percent`, `count`, `bool`, `days`
    note    the source's own words, for the evidence
    """

    at: datetime
    stack: str
    site: str
    source: str
    metric: str
    value: float | None
    unit: str = ""
    note: str = ""

    @property
    def subject(self) -> str:
        """What it is a reading of: samples of one subject supersede one another."""
        return f"{self.stack}/{self.site}/{self.source}/{self.metric}"


@dataclass(frozen=True)
class Message:
    """One message of an event queue. `receipt` deletes it; `kind` is `rds`, `alarm`, `own` (an alert of ours) or `poison`."""

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
    """What one source in one region gave in one tick.

    `silent`: no answer within its deadline, the state is unknown. `error`: it answered that it will not tell (not permitted,
    no such thing); that is a fault of ours or of the configuration and is told as such. `seconds`: how long it took.
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
        """Every sample, with one for each source that says whether it answered (1) or not (0)."""
        return [sample for reading in self.readings for sample in reading.samples] + list(self.extra)

    def reading(self, name: str) -> Reading | None:
        return next((reading for reading in self.readings if reading.name == name), None)


def newest(samples: Iterable[Sample]) -> dict[str, Sample]:
    """For each subject the sample with the latest time; of equals the last one."""
    found: dict[str, Sample] = {}
    for sample in samples:
        if sample.subject not in found or sample.at >= found[sample.subject].at:
            found[sample.subject] = sample
    return found
