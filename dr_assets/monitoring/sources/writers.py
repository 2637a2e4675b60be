"""Sources `writers` and `readers`: whether more than one site accepts writes, and whether the reader runs, derived from what the
probe, SQL and AWS's API show. Pure."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping, Sequence
from datetime import datetime

from dr_assets.core.freshness import Known
from dr_assets.monitoring.samples import (
    CONNECTIVITY,
    NAMED_WRITERS,
    REACHABLE,
    ROLE,
    SINGLE_WRITER,
    STATE,
    TRANSITION,
    WRITER_INSIDE,
    Sample,
    newest,
)
from dr_assets.resources.row import other
from dr_assets.stack import SITES, Site, Stack

# Two readings show the same moment when they are no further apart than a period of the probe's metric, and are not older than this.
TOGETHER_SECONDS, FRESH_SECONDS = 10.0, 40.0
# During a switchover or failover both sites may show as accepting writes for a moment. Longer than this it is real: FailoverState
# may stay for as long as AWS rebuilds the former writer, or for good where the change is stuck.
SUPPRESS_SECONDS = 60.0


def single_writer(
    stack: Stack, at: datetime, samples: Sequence[Sample], first: MutableMapping[str, datetime] | None = None
) -> Sample:
    """1: at most one site accepts writes. 0: one source found both accepting at the same time, or one beside a writer that AWS names
    outside both sites; or, where no source knows both sites, AWS names two writers or calls a site a reader that accepts writes. None: none of that is known, or it is within the first
    SUPPRESS_SECONDS of it in the switchover or failover that is under way.

    Args:
        first: kept by the caller between ticks: for each stack, when both accepted for the first time in the change under way.

    Readings of different sources are not combined: after a failover the probe's last reading of the old writer is seconds old.
    """
    suffix = stack.environment_suffix
    first = {} if first is None else first
    latest = newest((sample for sample in samples if sample.stack == suffix), at)
    moving = latest.get(f"{suffix}/global/topology/{TRANSITION}")
    if moving is not None and moving.is_known_as(0.0, at):
        first.pop(suffix, None)
    verdicts = [verdict for source in ("sql", "metric") if (verdict := _verdict(latest, suffix, source, at))]
    both = _beside_outside(latest, suffix, at) or next((each for each in verdicts if each.is_known_as(0.0, at)), None)
    if both is None and not verdicts:
        both = _by_api(stack, at, samples, latest)
    found = both or next(iter(verdicts), None)
    if found is None:
        return Sample(at, suffix, "global", "writers", SINGLE_WRITER, None, STATE, "not known of both sites")
    if found is not both or moving is None or not moving.is_known_as(1.0, at):
        return found
    first[suffix] = min(first.get(suffix, at), at)  # a clock set back begins the time anew, and makes it no longer
    if (at - first[suffix]).total_seconds() <= SUPPRESS_SECONDS:
        return Sample(at, suffix, "global", "writers", SINGLE_WRITER, None, STATE, moving.note)
    return found


def _verdict(latest: dict[str, Sample], suffix: str, source: str, at: datetime) -> Sample | None:
    readings = [latest.get(f"{suffix}/{site}/{source}/{CONNECTIVITY}") for site in SITES]
    assessed = [reading.assess(at, FRESH_SECONDS) for reading in readings if reading is not None]
    known = [reading for reading in assessed if isinstance(reading, Known)]
    if len(known) < len(SITES):
        return None
    older = min(reading.at for reading in known)
    if (max(reading.at for reading in known) - older).total_seconds() > TOGETHER_SECONDS:
        return None
    both = all(reading.value == 1.0 for reading in known)
    note = f"{source} at both sites: {'both accept writes' if both else 'one at most accepts writes'}"
    return Sample(older, suffix, "global", "writers", SINGLE_WRITER, 0.0 if both else 1.0, STATE, note)


def _beside_outside(latest: dict[str, Sample], suffix: str, at: datetime) -> Sample | None:
    """A site that accepts writes, after AWS named a writer outside both sites."""
    inside = latest.get(f"{suffix}/global/topology/{WRITER_INSIDE}")
    if inside is None or not inside.is_known_as(0.0, at):
        return None
    for site in SITES:
        for source in ("sql", "metric"):
            reading = latest.get(f"{suffix}/{site}/{source}/{CONNECTIVITY}")
            if reading and reading.is_known_as(1.0, at, TOGETHER_SECONDS):
                note = f"{source}: {site} accepts writes. {inside.note}"[:200]
                # The reading's own time: the last one of a former writer, read again and again, lasts no longer for it.
                return Sample(reading.at, suffix, "global", "writers", SINGLE_WRITER, 0.0, STATE, note)
    return None


def readers_run(stack: Stack, at: datetime, samples: Sequence[Sample]) -> Iterator[Sample]:
    """For each site whose database was asked: 1: it accepts connections. 0: it does not. None: not known, or roles change just now,
    when a database restarts."""
    suffix = stack.environment_suffix
    latest = newest((sample for sample in samples if sample.stack == suffix), at)
    moving = latest.get(f"{suffix}/global/topology/{TRANSITION}")
    for site in SITES:
        reading = latest.get(f"{suffix}/{site}/sql/{REACHABLE}")
        if reading is None:
            continue
        found = reading.assess(at)
        value, note = (found.value, reading.note) if isinstance(found, Known) else (None, found.reason)
        if value == 0.0 and moving is not None and moving.is_known_as(1.0, at):
            value, note = None, moving.note
        yield Sample(reading.at, suffix, site, "readers", REACHABLE, value, STATE, note)


def _by_api(stack: Stack, at: datetime, samples: Sequence[Sample], latest: dict[str, Sample]) -> Sample | None:
    """Two writers as DescribeGlobalClusters shows them: in one region's answer, in the answers of two, or beside one site's reading."""
    suffix = stack.environment_suffix
    own = [sample for sample in samples if sample.stack == suffix and sample.source == "topology"]
    writers: set[Site] = {
        site for site in SITES for s in own if (s.site, s.metric) == (site, ROLE) and s.is_known_as(1.0, at)
    }
    outside = any(s.metric == WRITER_INSIDE and s.is_known_as(0.0, at) for s in own)
    note = ""
    for named in own:
        count = named.assess(at)
        if named.metric == NAMED_WRITERS and isinstance(count, Known) and count.value > 1.0:
            note = named.note
    if len(writers) + outside > 1:
        note = "the regions name different writers: " + "; ".join(
            sorted({s.note for s in own if s.metric in (ROLE, WRITER_INSIDE)})
        )
    elif len(writers) == 1:
        reader = other(next(iter(writers)))
        for source in ("sql", "metric"):
            reading = latest.get(f"{suffix}/{reader}/{source}/{CONNECTIVITY}")
            if reading and reading.is_known_as(1.0, at, TOGETHER_SECONDS):
                note = f"{source}: {reader} accepts writes, and AWS names {other(reader)} as the writer"
    return Sample(at, suffix, "global", "writers", SINGLE_WRITER, 0.0, STATE, note[:200]) if note else None
