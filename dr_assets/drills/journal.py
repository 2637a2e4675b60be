"""A drill's progress, on disk before each action, so that a killed drill is resumed and no action is repeated blindly."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar

from pydantic import BeforeValidator, Field, PlainSerializer

from dr_assets import utc
from dr_assets.clock import Instant, Timeline, clock_id
from dr_assets.documents import Document, DocumentError, Part, parse, quoted, storable
from dr_assets.drills.approval import Approval
from dr_assets.drills.measurement.client_probe import Verdict
from dr_assets.drills.parts import (
    Caller,
    Condition,
    CountedCall,
    Items,
    Mark,
    MeasuringClient,
    Number,
    RtoParts,
    TimelineEntry,
    UtcText,
)
from dr_assets.drills.plan import Plan, StepName
from dr_assets.drills.request import ApprovedRequest
from dr_assets.errors import DrError, UnansweredError
from dr_assets.history.store import Store

Change = Literal["not begun", "under way", "done before"]


class Result(Part):
    """What a step leaves for later steps and the record."""

    STEP: ClassVar[StepName]


class Baseline(Result):
    """Before anything was done: where the writer endpoint led (host, IP, port), the lag, rows acknowledged.

    `caller_arn`: where an earlier version kept the AWS identity (now in `JournalDocument.callers`); likewise in `Count`.
    """

    STEP = "baseline"
    from_address: Annotated[tuple[str, str, int], Field(strict=False)]
    lag_ms: Number | None
    lag_at: str | None
    rows: int
    caller_arn: str | None = None


class Act(Result):
    """How far the change of the writer was when the step began."""

    STEP = "act"
    found: Change


class Follow(Result):
    """The RDS events of the target that were observed."""

    STEP = "follow"
    events: Items[str]


class RtoInterval(Part):
    """The gap in seconds, as an interval, and its parts; `high_seconds` None: it is a lower bound alone."""

    low_seconds: Number
    high_seconds: Number | None
    parts: RtoParts
    client: MeasuringClient | None = None


class Recovered(Result):
    """The gap that the client measured; None where it was not observed from both sides."""

    STEP = "recovered"
    rto: RtoInterval | None


class Fence(Result):
    """What a write at the old writer came to."""

    STEP = "fence"
    verdict: Verdict
    detail: str = Field(validation_alias="told", serialization_alias="told")


class Count(Result):
    """The ledger's commits against those that the new writer holds, and the store key of the ledger."""

    STEP = "count"
    lost_commits: int
    lost_seconds: Number | None
    in_doubt: int
    acknowledged: int
    survived: int
    ledger: str
    unknown: int
    refused: int
    caller_arn: str | None = None
    lost_at_least_seconds: Number | None = None


class Protected(Result):
    """When the reader protected the data again, as a time of the drill's timeline."""

    STEP = "protected"
    at: UtcText


class Postconditions(Result):
    STEP = "postconditions"
    conditions: Items[Condition]


R = TypeVar("R", bound=Result)


class Step(Part, Generic[R]):
    """A step: `intended` holds the time of every attempt. One that was intended and is not done may have acted."""

    intended: Items[UtcText] = ()
    done: UtcText | None = None
    # `{}` in JSON while there is none.
    result: Annotated[
        R | None,
        BeforeValidator(lambda value: None if value == {} else value),
        PlainSerializer(
            lambda value: value.model_dump(mode="json", by_alias=True, exclude_unset=True) if value else {},
            return_type=dict[str, Any],
        ),
    ] = None


class ActStep(Step[Act]):
    """The step that moves the writer. `called` holds the time of every call that may have been carried out, written before it is made;
    None in journals of earlier versions: unknown once the step is intended."""

    called: Items[UtcText] | None = None


class Steps(Part):
    baseline: Step[Baseline] = Step[Baseline]()
    act: ActStep = ActStep()
    follow: Step[Follow] = Step[Follow]()
    recovered: Step[Recovered] = Step[Recovered]()
    fence: Step[Fence] = Step[Fence]()
    count: Step[Count] = Step[Count]()
    protected: Step[Protected] = Step[Protected]()
    postconditions: Step[Postconditions] = Step[Postconditions]()


class Clock(Part):
    """A monotonic clock (`id`) that timed the drill, and how its readings become times: seconds of the epoch at `monotonic`."""

    id: str
    monotonic: Number
    wall: Number


class Ended(Part):
    status: Literal["succeeded", "failed", "aborted"]
    at: UtcText


class JournalDocument(Document):
    """The stored journal. Fields that were not written stay unwritten."""

    SCHEMA: ClassVar[str] = "dr-assets/journal/1"
    id: str
    stack: str
    plan: Plan
    plan_hash: str
    request: ApprovedRequest
    steps: Steps
    timeline: Items[TimelineEntry]
    calls: Items[CountedCall]
    deviations: Items[str] = ()
    callers: Items[Caller] = ()
    # Oldest first: a drill whose approval expired before it called anything may be approved again.
    approvals: Items[Approval] = ()
    # As evaluated last before the call; those of the beginning are in `request`.
    conditions: Items[Condition] = ()
    # In the order in which they were first used: one, unless the drill was resumed after a restart of the host or on another.
    clocks: Items[Clock] = ()
    ended: Ended | None

    def to_json(self) -> dict[str, Any]:
        return {"schema": self.SCHEMA, **self.model_dump(mode="json", by_alias=True, exclude_unset=True)}


class Journal:
    """The journal of one drill (`drills/{stack}/{id}.json`), replaced atomically at every entry. Thread-safe.

    Its times are those of `timeline`, so that those of one clock may be subtracted. A step of the wall clock is a deviation.
    """

    def __init__(self, store: Store, document: JournalDocument) -> None:
        self._store, self.document = store, document
        self._lock = threading.RLock()
        known = next((one for one in document.clocks if one.id == clock_id()), None)
        self.timeline = Timeline(Instant(known.id, known.monotonic, known.wall) if known else None)

    @classmethod
    def begin(
        cls, store: Store, drill: str, plan: Plan, request: ApprovedRequest, approval: Approval | None = None
    ) -> Journal:
        """A new drill's journal. Raises FileExistsError when there is one of that id."""
        document = JournalDocument(
            id=drill,
            stack=plan.stack,
            plan=plan,
            plan_hash=plan.hash,
            request=request,
            steps=Steps(),
            timeline=(),
            calls=(),
            ended=None,
        )
        journal = cls(store, document)
        more: dict[str, Any] = {"approvals": (approval,)} if approval else {}
        journal.document = document.model_copy(update={"clocks": (journal._clock(),), **more})
        store.create(_key(plan.stack, drill), journal.document.to_bytes())
        return journal

    @classmethod
    def load(cls, store: Store, stack: str, drill: str) -> Journal:
        """An earlier drill's journal. Raises DrError when there is none or it is not one."""
        key = _key(stack, drill)
        try:
            document = JournalDocument.from_bytes(store.read(key), "It")
        except KeyError:
            known = ", ".join(unfinished(store, stack)) or "none"
            raise DrError(f"There is no drill {drill} of stack {stack} in {store.uri}. Unfinished: {known}.") from None
        except DocumentError as error:
            raise DrError(f"{key} in {store.uri} is not a drill's journal. {error}") from error
        if problem := _misplaced(document, stack, drill):
            raise DrError(f"{key} in {store.uri} is not this drill's journal: {problem}. Restore it, or remove it.")
        return cls(store, document)

    @property
    def drill(self) -> str:
        return self.document.id

    @property
    def plan(self) -> Plan:
        return self.document.plan

    @property
    def measured_by_two_clocks(self) -> bool:
        """Whether no one monotonic clock timed the whole drill: a duration across them is an estimate by wall clocks."""
        return [one.id for one in self.document.clocks] != [clock_id()]

    def resumed(self) -> None:
        """Write down that another process goes on, and the monotonic clock by which it measures."""
        with self._lock:
            self.deviate(f"interrupted and resumed at {self.now_text()}: nothing was measured in between")
            if not any(one.id == clock_id() for one in self.document.clocks):
                self._save(clocks=(*self.document.clocks, self._clock()))
                self.deviate(
                    "The drill was measured by two clocks: the host was restarted, or the drill was resumed on another one."
                )

    def _clock(self) -> Clock:
        anchor = self.timeline.anchor
        return Clock(id=anchor.clock, monotonic=anchor.monotonic, wall=anchor.wall)

    def now_text(self) -> str:
        """Now, as a time of the drill's timeline."""
        return utc.to_text(self.timeline.mark())

    def check_clock(self) -> None:
        """Write down a step of the wall clock since this was last asked."""
        step = self.timeline.step()
        if step:
            how = "back" if step < 0 else "ahead, or the host slept, for"
            self.deviate(
                f"The wall clock was set {how} {abs(step):.1f} s before {self.now_text()}. Durations are by a monotonic clock, and "
                "times by the wall clock as it was when the drill began."
            )

    def intend(self, step: StepName) -> bool:
        """Write down that `step` is about to act. True when it was intended before: observe before repeating it."""
        before: Step[Any] = getattr(self.document.steps, step)
        # Intended for the first time by this version: from here on every call is written down.
        more = {"called": ()} if step == "act" and not before.intended else {}
        self._update_step(
            step, intended=(*before.intended, self.now_text()), done=before.done, result=before.result, **more
        )
        return bool(before.intended)

    @property
    def may_have_called(self) -> bool:
        """Whether a call to move the writer may have been carried out. False: certainly none was."""
        act = self.document.steps.act
        return bool(act.intended if act.called is None else act.called)

    def calling(self) -> None:
        """Write down that the writer is about to be moved."""
        act = self.document.steps.act
        before = act.intended[:-1] if act.called is None else act.called
        self._update_step("act", called=(*before, self.now_text()))

    def not_carried_out(self) -> None:
        """Take the latest `calling` back: AWS certainly did nothing."""
        self._update_step("act", called=(self.document.steps.act.called or ())[:-1])

    def done(self, result: Result) -> None:
        """Write down that the result's step is complete."""
        self._update_step(result.STEP, done=self.now_text(), result=result)

    def is_done(self, step: StepName) -> bool:
        return getattr(self.document.steps, step).done is not None

    def result(self, kind: type[R]) -> R | None:
        """What the step left; None while it is not done."""
        step: Step[R] = getattr(self.document.steps, kind.STEP)
        return step.result

    def note(self, text: str, source: str, mark: Mark | None = None, at: datetime | None = None) -> None:
        """Add to the timeline; `mark` is kept where first set."""
        with self._lock:
            if self.marked(mark):
                mark = None
            entry = TimelineEntry(
                mark=mark, at=utc.to_text(at or self.timeline.mark()), source=source, text=storable(text)
            )
            self._save(timeline=(*self.document.timeline, entry))

    def marked(self, mark: Mark | None) -> str | None:
        """The time (UTC text) at which the mark was set, if it was."""
        return next((entry.at for entry in self.document.timeline if mark and entry.mark == mark), None)

    def add_calls(self, calls: Iterable[CountedCall]) -> None:
        with self._lock:
            self._save(calls=(*self.document.calls, *calls))

    def deviate(self, text: str) -> None:
        """Write down something that did not go as planned."""
        with self._lock:
            self._save(deviations=(*self.document.deviations, storable(text)))

    def add_caller(self, caller: Caller) -> None:
        with self._lock:
            self._save(callers=(*self.document.callers, caller))

    def add_approval(self, approval: Approval) -> None:
        with self._lock:
            self._save(approvals=(*self.document.approvals, approval))

    @property
    def approval(self) -> Approval:
        """The latest approval. That of an earlier version is of when the drill began."""
        if self.document.approvals:
            return self.document.approvals[-1]
        request = self.document.request
        return Approval.given(
            self.plan, request.overrides, request.approved_by or request.operator, utc.parse(request.at)
        )

    def evaluated(self, conditions: Iterable[Condition]) -> None:
        """Keep the preconditions as they were evaluated last."""
        with self._lock:
            self._save(conditions=tuple(conditions))

    def caller_arn(self) -> str | None:
        """The AWS identity of the process that called for the change of the writer, or was to; None where unknown."""
        intended = self.document.steps.act.intended
        acting = [
            each
            for each in self.document.callers
            if each.did in ("begun", "resumed") and (not intended or each.at <= intended[-1])
        ]
        return max(reversed(acting), key=lambda each: each.at).arn if acting else None  # of equal times the last one

    def end(self, status: Literal["succeeded", "failed", "aborted"]) -> None:
        """The drill is over; it can be neither resumed nor aborted any more."""
        with self._lock:
            self._save(ended=Ended(status=status, at=self.now_text()))

    def _update_step(self, name: StepName, **changes: Any) -> None:
        with self._lock:
            self.check_clock()
            steps = self.document.steps
            self._save(steps=steps.model_copy(update={name: getattr(steps, name).model_copy(update=changes)}))

    def _save(self, **changes: Any) -> None:
        document = self.document.model_copy(update=changes)
        self._store.write(_key(document.stack, document.id), document.to_bytes())
        self.document = document


def unfinished(store: Store, stack: str, problems: list[str] | None = None) -> list[str]:
    """Ids of the stack's drills that have not ended, oldest first; also of those whose journal cannot be read. `problems`: names them."""
    found = []
    named = [] if problems is None else problems
    for key in store.list(f"drills/{stack}/"):
        name = key.removeprefix(f"drills/{stack}/").removesuffix(".json")
        if not key.endswith(".json") or name.endswith("-proposal"):
            continue  # a ledger or a proposal beside its journal
        if "/" in name:
            named.append(f"This is no drill's journal: {key} lies in a folder of its own.")
            continue
        try:
            data = store.read(key)
        except KeyError:  # removed since it was listed
            continue
        except UnansweredError:
            raise
        except DrError as error:  # the store keeps it back: it may be open
            named.append(f"This journal cannot be read: {key}: {error}")
            found.append(name)
            continue
        try:
            document = JournalDocument.from_bytes(data, key)
            if problem := _misplaced(document, stack, name):
                named.append(f"This is not the drill's journal: {key}: {problem}")
            found += [name] if document.ended is None else []
        except DocumentError as error:
            named.append(f"This is no drill's journal: {error}")
            found += [name] if _is_open_journal(data) else []
    return found


def _misplaced(document: JournalDocument, stack: str, drill: str) -> str:
    """Why the journal does not belong at its key; empty: it does. Another drill must not be resumed in its place."""
    own = (document.id, document.stack, document.plan.stack)
    return "" if own == (drill, stack, stack) else f"it is of the drill {quoted(own[0])} of the stack {quoted(own[1])}"


def _is_open_journal(data: bytes) -> bool:
    """Whether a journal that cannot be read in full has the schema of one, and no end. Damaged JSON may have none: it counts as open."""
    try:
        content = parse(data)
    except DocumentError:
        return f'"{JournalDocument.SCHEMA}"'.encode() in data
    return isinstance(content, dict) and content.get("schema") == JournalDocument.SCHEMA and not content.get("ended")


def _key(stack: str, drill: str) -> str:
    return f"drills/{stack}/{drill}.json"
