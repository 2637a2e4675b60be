"""What a Dagster run is about, and what still has to succeed after runs that did not. Pure.

A run that failed, was cancelled or was deleted leaves outstanding what it was to do and did not: its assets and checks, each with
its partition, or, where it has none, the run as a whole. Only the success of those ends the incident.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from dr_assets.documents import parse
from dr_assets.monitoring.samples import REPORTED, Sample
from dr_assets.monitoring.topics import RUNS, divided

# The job of assets that are materialized by hand in the UI (IMPLICIT_ASSET_JOB_NAME in Dagster).
UI_JOB = "__ASSET_JOB"
# Outstanding: the run as a whole.
WHOLE = "*"
NAMED = 3  # in a note

Outcome = Literal["succeeded", "failed", "was cancelled", "was deleted while in progress"]


@dataclass(frozen=True)
class RunSubject:
    """What a run is about.

    partition  its partition key, or `FIRST...LAST`; empty: none
    selection  the assets, checks and steps that it was restricted to, in short (`selection_label`); empty: all of its job
    """

    job: str
    partition: str = ""
    selection: str = ""

    @property
    def metric(self) -> str:
        """As the metric of a sample: the job alone where that is all."""
        return json.dumps([self.job, self.partition, self.selection]) if self.partition or self.selection else self.job

    @classmethod
    def parse(cls, metric: str) -> RunSubject:
        """The subject that has this metric. Raises DocumentError."""
        return cls(*parse(metric, "what runs are about")) if metric.startswith("[") else cls(metric)

    @property
    def topic(self) -> str:
        job = "asset" if self.job == UI_JOB else self.job
        return divided(RUNS, job, *filter(None, (self.selection, self.partition)))

    @property
    def text(self) -> str:
        about = " of ".join(filter(None, (self.partition and f"partition {self.partition}", self.selection)))
        job = "a run from the UI" if self.job == UI_JOB else f"the job {self.job}"
        return f"{job} ({about})" if about else job


def selection_label(names: Iterable[str]) -> str:
    """A short text that is another one for each other selection."""
    found = sorted(set(names))
    if len(found) < 2:
        return "".join(found)
    digest = hashlib.sha256("\n".join(found).encode()).hexdigest()[:8]
    return f"{found[0]} and {len(found) - 1} more, {digest}"


@dataclass(frozen=True)
class RunResult:
    """How a run ended.

    whole    it was to do all that its job does, or to complete a run that was
    done     what it materialized or evaluated
    missing  what it was to do and did not; of a run that did not succeed never empty
    """

    subject: RunSubject
    run_id: str
    at: datetime
    outcome: Outcome
    whole: bool = False
    done: frozenset[str] = frozenset()
    missing: frozenset[str] = frozenset({WHOLE})


@dataclass
class Outstanding:
    """What still has to succeed: metric of a RunSubject -> assets, checks, WHOLE, or a run that has been in progress too long.

    `read`: metric -> when what is known of it was true (epoch seconds); an older result changes nothing.
    """

    stack: str
    work: dict[str, frozenset[str]]
    read: dict[str, float] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list, init=False)

    @classmethod
    def of(cls, stack: str, work: Mapping[str, Iterable[str]]) -> Outstanding:
        return cls(stack, {metric: frozenset(each) for metric, each in work.items() if each})

    def ended(self, result: RunResult) -> None:
        own = result.subject.metric
        in_progress = _in_progress(result.run_id)
        if result.outcome != "succeeded" and result.at.timestamp() >= self.read.get(own, 0.0):
            left = (self.work.get(own, frozenset()) - result.done - {in_progress}) | result.missing
            self._now(own, left, result.at, f"run {result.run_id} {result.outcome}")
        for metric, work in list(self.work.items()):
            if metric == own and result.outcome != "succeeded":
                continue
            if result.at.timestamp() < self.read.get(metric, 0.0):
                continue
            left = work - result.done - {in_progress}
            if result.outcome == "succeeded" and _repeats(result, RunSubject.parse(metric)):
                left = frozenset(each for each in left if _is_in_progress(each))
            if left != work:
                self._now(metric, left, result.at, f"run {result.run_id} {result.outcome}")

    def too_long(self, subject: RunSubject, run_id: str, since: datetime, note: str) -> None:
        """A run has been in progress for too long since `since`."""
        work = self.work.get(subject.metric, frozenset())
        if _in_progress(run_id) not in work:
            self._now(subject.metric, work | {_in_progress(run_id)}, since, note)

    def _now(self, metric: str, left: frozenset[str], at: datetime, note: str) -> None:
        self.work = {**self.work, metric: left} if left else {k: v for k, v in self.work.items() if k != metric}
        self.read[metric] = max(at.timestamp(), self.read.get(metric, 0.0))
        names = sorted(each for each in left if each != WHOLE and not _is_in_progress(each))
        if names:
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            note = f"{note}; not done since: {', '.join(names[:NAMED])}{more}"
        value = 0.0 if left else 1.0
        self.samples.append(Sample(at, self.stack, "global", "dagster", metric, value, REPORTED, note[:300]))


def _repeats(result: RunResult, subject: RunSubject) -> bool:
    """Whether the result's run did all that a run of `subject` was to do."""
    if result.subject == subject:
        return True
    if result.subject.job != subject.job or result.subject.partition != subject.partition:
        return False
    # Cursors of earlier versions do not know the selection of runs from the UI.
    return result.whole or (subject.job == UI_JOB and not subject.selection)


def _in_progress(run_id: str) -> str:
    return f"run {run_id}"


def _is_in_progress(work: str) -> bool:
    return work.startswith("run ")
