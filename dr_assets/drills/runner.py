"""Runs a drill step by step: intent on disk first, no action twice, resumed or aborted after a crash.

What it never does: act without the lock, act on a plan other than the approved one or past the gate, act a second time without
observing AWS first, or call the failed region on the recovery path.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

from pydantic import ValidationError

from dr_assets import escape, utc
from dr_assets.aws import Aws
from dr_assets.caller import IDENTITY_SECONDS, CallerIdentity, Identification, identify
from dr_assets.clock import Instant, instant
from dr_assets.core.topology import Topology
from dr_assets.documents import problems, storable
from dr_assets.drills import record_builder
from dr_assets.drills.approval import Approval
from dr_assets.drills.aws_view import AwsView
from dr_assets.drills.call_planes import plane_of
from dr_assets.drills.gate import Gate, not_covered, view_of
from dr_assets.drills.journal import Journal, Postconditions
from dr_assets.drills.lock import DrillLock
from dr_assets.drills.parts import Caller, CountedCall, Did
from dr_assets.drills.plan import Plan, StepName, make_plan, new_id
from dr_assets.drills.preconditions import blocking, evaluate, refuse_overrides, widened
from dr_assets.drills.record_document import Record
from dr_assets.drills.request import Prepared, Request
from dr_assets.drills.steps import DrillSteps, StepFailedError
from dr_assets.errors import DrError, RefusedError
from dr_assets.history.store import Store
from dr_assets.postgres.connection import tls_authorities
from dr_assets.reconcile.topology_reader import read_topology
from dr_assets.stack import SITES, Stack

LOG = escape.logger(__name__)
# A read that hangs must not hold the recovery up: seconds for one answer, attempts for one read.
READ_TIMEOUT, ATTEMPTS = 3.0, 3
# How long the record waits for STS: two regions, with the connection and the source of a role.
IDENTIFIED_SECONDS = 4 * IDENTITY_SECONDS
# The steps between the decision and traffic flowing again: what they call is the recovery path.
RECOVERY_STEPS = ("act", "follow", "recovered")

# Called with the name of each step and what it does, before it is taken.
OnStep = Callable[[str, str], None]


def clients() -> Aws:
    """Clients that give up on a silent region within seconds."""
    return Aws(read_timeout=READ_TIMEOUT, attempts=ATTEMPTS)


def propose(stack: Stack, request: Request, aws: Aws | None = None) -> Plan:
    """The plan for where the writer is now.

    Raises RefusedError where there is nothing to move, the writer is not where it was when this was decided, or an override is
    none; UnansweredError where no region answers which site is the writer.
    """
    refuse_overrides(request.overrides)
    plan = make_plan(stack, request.scenario, _topology(stack, aws or clients()), **request.settings)
    if request.from_site not in (None, plan.from_site):
        raise RefusedError(
            f"The {request.scenario} away from the {request.from_site} site was decided while the writer was there; it is at the "
            f"{plan.from_site} site by now. Check the topology, then decide again."
        )
    return plan


def prepare(stack: Stack, request: Request, aws: Aws | None = None, shown: Prepared | None = None) -> Prepared:
    """The plan, with every precondition evaluated. Writes nothing.

    `shown` is what was prepared before for the same request; of it, `reusable` is not evaluated again.

    Raises like `propose`; TlsError where no server could be verified.
    """
    tls_authorities()
    at = instant()
    aws = aws or clients()
    plan = propose(stack, request, aws)
    known = shown.reusable() if shown and shown.plan.hash == plan.hash else {}
    conditions = (*evaluate(view_of(stack, aws, plan), known=known), *widened(plan))
    return Prepared(plan, conditions, tuple(blocking(conditions, request.overrides)), at)


def view_of_writer(stack: Stack, aws: Aws) -> AwsView:
    """The view with the present writer as its target. Raises RefusedError while there is none."""
    topology = _topology(stack, aws)
    writer = topology.writer
    topology.refuse_outside()
    if writer is None:
        raise RefusedError("There is no writer: the global cluster has no member. Run `dr provision` first.")
    other = next(site for site in SITES if site != writer)
    return AwsView(stack, aws, "failover", from_site=other, to_site=writer)


def start(
    stack: Stack, store: Store, request: Request, on_step: OnStep | None = None, shown: Prepared | None = None
) -> Record:
    """Run a whole drill and return its record.

    Raises RefusedError: not approved, a precondition blocks, another drill runs. Raises StepFailedError where a step failed;
    the drill then waits to be resumed or aborted, under the id that the error names.
    """
    with begin(stack, store, request, on_step, shown) as drill:
        return drill.run()


def begin(
    stack: Stack, store: Store, request: Request, on_step: OnStep | None = None, shown: Prepared | None = None
) -> DrillRunner:
    """Take the lock, evaluate every precondition, write the journal; the drill's steps come next. Raises RefusedError."""
    drill = new_id(request.scenario, utc.now())
    lock = DrillLock(store, stack.environment_suffix, drill).take()
    with _released_on_error(lock):
        prepared = prepare(stack, request, None, shown)
        approval = refuse(stack, store, prepared, request)
        journal = Journal.begin(store, drill, prepared.plan, request.approved(prepared.conditions), approval)
        decision = journal.document.request
        journal.note(f"{decision.operator} decided on a {request.scenario}: {decision.why}", "operator", "T2")
        return DrillRunner(stack, store, journal, lock, on_step, "begun", decision.operator, prepared.at)


def refuse(stack: Stack, store: Store, prepared: Prepared, request: Request) -> Approval:
    """The approval of what was prepared. Raises RefusedError while a precondition blocks, or without an approval of this plan."""
    if prepared.blocking:
        reasons = "\n".join(f"  {item.name}: {item.reason}" for item in prepared.blocking)
        raise RefusedError(
            f"The {request.scenario} was not begun; {len(prepared.blocking)} of {len(prepared.conditions)} preconditions block "
            f"it:\n{reasons}\nRemove the cause, or override one with a reason and a name (--override NAME=REASON)."
        )
    approval = request.approval
    if approval is None:
        raise RefusedError(
            f"The {request.scenario} was not begun: it is not approved (--yes, or plan and approved_by in the run config)."
        )
    problem = not_covered(approval, stack, store, prepared.plan, request.overrides)
    if utc.now() >= utc.parse(approval.until):
        problem = f"its approval by {approval.by} of {approval.at} held until {approval.until}"
    if problem:
        raise RefusedError(
            f"The {request.scenario} was not begun: {problem}. Nothing was done. Look at the plan (--dry-run), and approve it again."
        )
    return approval


def resume(stack: Stack, store: Store, drill: str, on_step: OnStep | None = None) -> Record:
    """Go on with a drill whose process ended, to its record. Raises like `reopen`, `start` and `Gate.require`."""
    with reopen(stack, store, drill, on_step) as again:
        return again.run()


def reopen(stack: Stack, store: Store, drill: str, on_step: OnStep | None = None) -> DrillRunner:
    """A drill whose process ended, with its lock. Raises DrError where the drill has ended, RefusedError while it runs."""
    lock = DrillLock(store, stack.environment_suffix, drill).take()
    with _released_on_error(lock):
        # Loaded under the lock: a journal read before may lack what another process has done since.
        journal = _unended(stack, store, drill, "resume")
        journal.resumed()
        return DrillRunner(stack, store, journal, lock, on_step, "resumed", record_builder.operator())


def abort(stack: Stack, store: Store, drill: str, by: str) -> Record:
    """End a drill that has called nothing, with a record. Raises RefusedError once the writer may be moving."""
    by = storable(by)
    with DrillLock(store, stack.environment_suffix, drill):
        journal = _unended(stack, store, drill, "abort")
        if journal.may_have_called:
            raise RefusedError(
                f"The drill {drill} has begun to move the writer: resume it, so that it ends in a known state."
            )
        journal.note(f"aborted by {by} before anything was changed", "operator")
        _add_caller(journal, journal.now_text(), "aborted", identify(by, _regions(journal.plan)))
        return record_builder.finish(stack, store, journal, "aborted", f"aborted by {by}")


@contextmanager
def _released_on_error(lock: DrillLock) -> Iterator[None]:
    try:
        yield
    except BaseException:
        lock.release()
        raise


def _unended(stack: Stack, store: Store, drill: str, verb: str) -> Journal:
    journal = Journal.load(store, stack.environment_suffix, drill)
    if journal.document.ended:
        raise DrError(f"The drill {drill} has ended ({journal.document.ended.status}): there is nothing to {verb}.")
    return journal


def _add_caller(journal: Journal, at: str, did: Did, found: CallerIdentity) -> None:
    journal.add_caller(Caller(at=at, did=did, **found.model_dump()))
    if found.arn is None:
        journal.deviate(f"The AWS identity of the caller is unknown: {found.reason}")


def _regions(plan: Plan) -> tuple[str, str]:
    """Where STS is asked: in the target's region first, since the other one may be gone."""
    return plan.to_region, plan.from_region


class DrillRunner:
    """One drill in progress. A context manager: it ends the measuring and releases the lock.

    `did`, `words`: what this process does to the drill, and in whose name. Its AWS identity is asked for beside the steps, which
    never wait for STS; the record does. `evaluated`: when the preconditions were, and held.
    """

    def __init__(
        self,
        stack: Stack,
        store: Store,
        journal: Journal,
        lock: DrillLock,
        on_step: OnStep | None,
        did: Did,
        words: str,
        evaluated: Instant | None = None,
    ) -> None:
        self.stack, self.store, self.journal, self.lock = stack, store, journal, lock
        self.plan = journal.plan
        self.aws = clients()
        self._gate = Gate(stack, store, self.aws, journal, lock, evaluated)
        self._steps = DrillSteps(stack, store, view_of(stack, self.aws, self.plan), journal, lock, self._gate.require)
        self._on_step = on_step
        self._did, self._at = did, journal.now_text()
        self._caller: Identification | None = Identification(words, _regions(self.plan))

    def __enter__(self) -> DrillRunner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the measuring and release the lock. The drill can be reopened."""
        self._steps.close()
        try:
            if self._caller and not self.journal.document.ended:
                self.lock.check()  # what another process goes on with is its own
                self._note_caller()
        except (DrError, OSError) as error:
            LOG.warning("The caller's identity was not written: %s", error)
        finally:
            self.lock.release()

    def _note_caller(self) -> None:
        if self._caller:
            _add_caller(self.journal, self._at, self._did, self._caller.get(IDENTIFIED_SECONDS))
            self._caller = None

    def approve(self, by: str) -> None:
        """Approve the plan again, for a drill whose approval expired before it called anything."""
        approval = Approval.given(self.plan, self.journal.document.request.overrides, by)
        self.journal.add_approval(approval)
        self.journal.note(f"{approval.by} approved the plan again", "operator")
        _add_caller(self.journal, approval.at, "approved", identify(approval.by, _regions(self.plan)))

    def run(self) -> Record:
        """Every step that is not done yet, then the record."""
        for step in self.plan.steps:
            self.take(step)
        return self.record()

    def record(self) -> Record:
        """Write the record. A missed postcondition makes the drill a failed one."""
        self._note_caller()
        found = self.journal.result(Postconditions)
        bad = [item for item in found.conditions if item.passed is not True] if found else []
        reason = "; ".join(f"{item.name}: {item.reason}" for item in bad) or None
        return record_builder.finish(self.stack, self.store, self.journal, "failed" if bad else "succeeded", reason)

    def take(self, step: StepName) -> None:
        """Take one step, unless it is done. Raises StepFailedError, LockLostError; RefusedError for another plan, or as the gate does."""
        if self.journal.document.plan_hash != self.plan.hash:
            raise RefusedError(
                "This version would carry out another plan than the one approved: use the version that began it."
            )
        if self.journal.is_done(step):
            return
        if self._on_step:
            self._on_step(step, dict(self.plan.describe())[step])
        self.lock.check()
        if step in ("baseline", "act") and not self.journal.may_have_called:
            self._gate.require()
        if self._caller and self._caller.done:
            self._note_caller()
        again = self.journal.intend(step)
        first = len(self.aws.log)
        try:
            result = self._steps.take(step, again)
        except (StepFailedError, RefusedError):
            raise
        except (DrError, ValidationError) as error:
            # A result that does not fit its type is refused before it is written.
            detail = f"{'; '.join(problems(error))}." if isinstance(error, ValidationError) else error
            raise StepFailedError(
                f"Step {step} of {self.journal.drill} failed: {detail} Resume with `dr drill resume {self.journal.drill}`."
            ) from error
        finally:
            self._note_calls(step, first)
        self.journal.done(result)

    def _note_calls(self, step: StepName, first: int) -> None:
        counted = Counter((call.region, call.service, call.operation) for call in self.aws.log.entries[first:])
        self.journal.add_calls(
            CountedCall(
                phase="recovery" if step in RECOVERY_STEPS else "proof",
                region=region,
                service=service,
                operation=operation,
                plane=plane_of(service, operation),
                count=count,
            )
            for (region, service, operation), count in sorted(counted.items())
        )


def _topology(stack: Stack, aws: Aws) -> Topology:
    # The home region last: it may be the failed one.
    return read_topology(stack, aws.reads(), (stack.secondary_region, stack.primary_region))
