"""The gate before the call that moves the writer: it opens for the approved plan alone, while every precondition holds."""

from __future__ import annotations

from datetime import timedelta

from dr_assets import utc
from dr_assets.aws import Aws
from dr_assets.clock import Instant, age, instant
from dr_assets.drills.approval import Approval, ApprovalExpiredError, digest, is_production
from dr_assets.drills.aws_view import AwsView
from dr_assets.drills.journal import Journal
from dr_assets.drills.lock import DrillLock
from dr_assets.drills.parts import Condition, Override
from dr_assets.drills.plan import BOUNDS, Plan, make_plan, out_of_bounds
from dr_assets.drills.preconditions import blocking, evaluate, widened
from dr_assets.errors import DrError, RefusedError
from dr_assets.failover.arming import armed
from dr_assets.history.store import Store
from dr_assets.postgres.connection import tls_authorities
from dr_assets.stack import Stack

# How old an evaluation of the preconditions may be when the writer is moved.
GATE_SECONDS = 30.0
# By how much the clocks of two hosts may differ.
SKEW = timedelta(seconds=60)
# What an arming approves besides defaults: the lag of a writer that is down grows with the clock.
_ARMED_SETTINGS, _ARMED_OVERRIDES = frozenset({"lag_gate_ms"}), frozenset({"lag-gate"})


class Gate:
    """The gate of one drill. It is asked before the first step, and immediately before every call that moves the writer.

    passed: when the preconditions were last evaluated and held; None: never by this process.
    """

    def __init__(
        self, stack: Stack, store: Store, aws: Aws, journal: Journal, lock: DrillLock, passed: Instant | None
    ) -> None:
        self._stack, self._store, self._aws, self._journal, self._lock = stack, store, aws, journal, lock
        self._passed = passed

    def require(self) -> None:
        """Raises RefusedError unless the plan is the approved one, the approval covers it, and every precondition held within
        GATE_SECONDS; what is older is evaluated anew. ApprovalExpiredError where another approval is missing; LockLostError."""
        self._lock.check()
        plan, request, drill = self._journal.plan, self._journal.document.request, self._journal.drill
        way_out = f"Abort with `dr drill abort {drill}`, and decide again."
        if outside := out_of_bounds(plan, self._stack):
            raise RefusedError(f"The plan of {drill} is out of bounds: {'; '.join(outside)}. {way_out}")
        approval = self._journal.approval
        if problem := not_covered(approval, self._stack, self._store, plan, request.overrides):
            raise RefusedError(f"The {plan.scenario} {drill} may not act: {problem}. {way_out}")
        if utc.now() >= utc.parse(approval.until):
            raise ApprovalExpiredError(
                f"The {plan.scenario} was approved by {approval.by} at {approval.at}, which held until {approval.until}. Nothing was "
                f"called since. Approve it again with `dr drill resume {drill}`, or end it with `dr drill abort {drill}`."
            )
        if self._passed is None or age(self._passed) > GATE_SECONDS:
            self._evaluate(way_out)

    def _evaluate(self, way_out: str) -> None:
        plan, at = self._journal.plan, instant()
        tls_authorities()
        view = view_of(self._stack, self._aws, plan)
        conditions = [*evaluate(view), *widened(plan)]
        self._journal.evaluated(conditions)
        bad = [*blocking(conditions, self._journal.document.request.overrides), *changed(self._stack, view, plan)]
        if bad:
            reasons = "\n".join(f"  {item.name}: {item.reason}" for item in bad)
            raise RefusedError(f"The {plan.scenario} may not act; preconditions block it by now:\n{reasons}\n{way_out}")
        self._passed = at
        self._journal.note("every precondition holds again", "drill")


def view_of(stack: Stack, aws: Aws, plan: Plan) -> AwsView:
    """The stack as the plan's drill observes it."""
    return AwsView(stack, aws, plan.scenario, plan.from_site, plan.to_site, plan.lag_gate_ms)


def not_covered(
    approval: Approval, stack: Stack, store: Store, plan: Plan, overrides: tuple[Override, ...]
) -> str | None:
    """Why an approval does not cover this plan, apart from its end; None where it does. Raises DrError where the history does not
    answer whether automatic failover is armed."""
    now = utc.now()
    if utc.parse(approval.at) > now + SKEW:
        return f"it was approved at {approval.at}, which is in the future: check the clocks"
    if approval.kind == "plan":
        found = digest(plan, overrides)
        if approval.offer == found:
            return None
        return (
            f"this plan ({found}) is not the one that was shown and approved ({approval.offer}): the writer, the stack file, a setting "
            "or an override differs"
        )
    differ = {name for name in BOUNDS if getattr(plan, name) != Plan.model_fields[name].default}
    overridden = {item.precondition for item in overrides}
    if approval.kind == "schedule":
        if is_production(stack):
            return "a schedule approves nothing in production"
        return "a schedule approves default settings without overrides" if differ or overridden else None
    if plan.scenario != "failover" or differ - _ARMED_SETTINGS or overridden - _ARMED_OVERRIDES:
        return "an arming approves a failover with default settings, whose lag gate alone may be wider"
    arming = armed(store, stack.environment_suffix, now)
    if arming is None or arming.since.replace(microsecond=0) > utc.parse(approval.at):
        return "automatic failover is not armed any more"
    return None


def changed(stack: Stack, view: AwsView, plan: Plan) -> list[Condition]:
    """As a condition that fails: in what a plan made now, from the stack file and the topology as they are, differs from this one."""
    try:
        now = make_plan(stack, plan.scenario, view.topology, **{name: getattr(plan, name) for name in BOUNDS}).as_json()
    except DrError as error:
        return [Condition(name="plan", passed=None, reason=f"unknown: {error}")]
    was = plan.as_json()
    reasons = [f"{name} was {value}, is {now.get(name)}" for name, value in was.items() if now.get(name) != value]
    return [Condition(name="plan", passed=False, reason="; ".join(reasons))] if reasons else []
