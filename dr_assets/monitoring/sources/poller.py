"""Poll every source once in each tick, all at the same time, each with its own deadline.

Read-only. What a source has not answered by its deadline is unknown, and a source that hangs is not asked again until its
last call has returned: a dark region costs one thread for each source, not the tick.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from dr_assets import utc
from dr_assets.aws import explain
from dr_assets.errors import UnansweredError
from dr_assets.monitoring.samples import ROLE, STATE, Reading, Sample, Snapshot, Status
from dr_assets.monitoring.sources.source import Answer, FollowsRoles, Source, regions_of
from dr_assets.monitoring.sources.writers import readers_run, single_writer
from dr_assets.stack import SITES, Site, Stack


@dataclass
class _Call:
    """One call under way: its thread sets `answer` or `error`."""

    started: float
    thread: threading.Thread
    answer: Answer | None = None
    error: BaseException | None = None


class Poller:
    """All stacks, polled together. Thread-safe: sensors that tick at the same moment share one snapshot.

    Raises ValueError where two sources have the same name and region.
    """

    def __init__(self, stacks: Sequence[Stack], sources: Sequence[Source]) -> None:
        self._stacks = stacks
        self._sources = {source.key: source for source in sources}
        if len(self._sources) != len(sources):
            raise ValueError("two sources have the same name and region")
        self._lock = threading.Lock()
        self._last: tuple[float, Snapshot] | None = None
        self._calls: dict[str, _Call] = {}
        self._two_writers: dict[str, datetime] = {}

    def tick(self, max_age: float = 0.0) -> Snapshot:
        """Ask everything now, or return a snapshot that is at most `max_age` seconds old. Never raises for a source."""
        with self._lock:
            if self._last and time.monotonic() - self._last[0] <= max_age:
                return self._last[1]
            snapshot = self._ask_all()
            self._last = (time.monotonic(), snapshot)
            return snapshot

    def _ask_all(self) -> Snapshot:
        at, started = utc.now(), time.monotonic()
        for key, source in self._sources.items():
            call = self._calls.get(key)
            if call is None or not call.thread.is_alive():
                self._calls[key] = _start(source, at)
        readings = []
        for key, source in self._sources.items():
            call = self._calls[key]
            call.thread.join(max(0.0, started + source.deadline_seconds - time.monotonic()))
            readings.append(_reading(source, at, call, late=call.started < started))
            if not call.thread.is_alive():
                del self._calls[key]
        found = [sample for reading in readings for sample in reading.samples]
        self._report_roles(found, at)
        writers = (single_writer(stack, at, found, self._two_writers) for stack in self._stacks)
        readers = (sample for stack in self._stacks for sample in readers_run(stack, at, found))
        return Snapshot(at, tuple(readings), (*self._regions_answer(at, readings), *writers, *readers))

    def _report_roles(self, samples: Sequence[Sample], at: datetime) -> None:
        held = {
            (sample.stack, sample.site) for sample in samples if sample.metric == ROLE and sample.is_known_as(1.0, at)
        }
        writers: dict[str, Site] = {}
        for stack in self._stacks:
            sites: list[Site] = [site for site in SITES if (stack.environment_suffix, site) in held]
            if len(sites) == 1:  # the regions may disagree for a moment
                writers[stack.environment_suffix] = sites[0]
        asks: list[object] = [source.ask for source in self._sources.values()]
        for ask in asks:
            if isinstance(ask, FollowsRoles):
                ask.follow_roles(writers)

    def _regions_answer(self, at: datetime, readings: Sequence[Reading]) -> Iterator[Sample]:
        """Source `region`: whether each region's API answers at all."""
        for region in regions_of(self._stacks):
            own = [r for r in readings if r.region == region and self._sources[r.name].scope == "region"]
            # A source that had nothing due made no call: it proves nothing.
            own = [reading for reading in own if reading.status != "answered" or reading.calls]
            silent = [reading for reading in own if reading.status == "silent"]
            for stack in self._stacks:
                site = stack.site_in(region)
                if site is not None and own:
                    value = 0.0 if len(silent) == len(own) else 1.0
                    note = f"{len(own) - len(silent)} of {len(own)} services of {region} answer"
                    yield Sample(at, stack.environment_suffix, site, "region", "answers", value, STATE, note)


def _start(source: Source, at: datetime) -> _Call:
    def ask() -> None:
        try:
            call.answer = source.ask(at)
        except Exception as error:
            call.error = error

    call = _Call(time.monotonic(), threading.Thread(target=ask, daemon=True, name="dr-poll"))
    call.thread.start()
    return call


def _reading(source: Source, at: datetime, call: _Call, late: bool) -> Reading:
    """`late`: the call is of an earlier tick. Its answer is none to this tick's question, whatever it is; its samples keep their time."""
    name, region, seconds = source.name, source.region, time.monotonic() - call.started
    if call.thread.is_alive():
        return Reading(name, region, "silent", at, seconds, f"no answer within {seconds:.1f} s")
    status: Status = "answered"
    problem = ""
    if call.error is not None:
        error = explain(call.error, name, "poll", region)
        status, problem = "silent" if isinstance(error, UnansweredError) else "error", str(error)
    if late:
        problem = f"answered an earlier question after {seconds:.1f} s, this one not at all{problem and f': {problem}'}"
        status = "silent"
    samples, calls = call.answer or ([], 0)
    return Reading(name, region, status, at, seconds, problem, tuple(samples), calls)
