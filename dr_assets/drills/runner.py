"""Carries out a plan: step by step, intent on disk first, never the same action twice; resumed or aborted after a crash.

What it never does: act without the lease, act on a plan other than the approved one, act a second time without looking, or
call the failed region on the way of a recovery. May import its neighbours, `history`, `errors`, `stack`, `aws`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from botocore.exceptions import ClientError

from dr_assets import utc
from dr_assets.aws import Aws, explain
from dr_assets.core.model import Call, error_code
from dr_assets.core.topology import Topology
from dr_assets.drills import postconditions, record_builder
from dr_assets.drills.aws_view import Scene
from dr_assets.drills.call_planes import improper, plane
from dr_assets.drills.journal import Journal
from dr_assets.drills.lock import Lease
from dr_assets.drills.measurement.session import Measurement, NotSteadyError
from dr_assets.drills.plan import Plan, make_plan, new_id
from dr_assets.drills.preconditions import Condition, blocking, evaluate
from dr_assets.drills.request import Prepared, Request
from dr_assets.errors import AwsCallError, DrError, RefusedError, UnansweredError
from dr_assets.history.store import Store
from dr_assets.reconcile.topology_reader import read_topology
from dr_assets.stack import SITES, Stack

POLL_SECONDS = 0.2
# A read that hangs must not hold the recovery up: seconds for one answer, attempts for one read.
READ_TIMEOUT, ATTEMPTS = 3.0, 3
# The steps between the decision and traffic flowing again: what they call is the recovery path.
RECOVERY_STEPS = ("act", "follow", "recovered")

OnStep = Callable[[str, str], None]


class StepFailedError(DrError):
    """A step could not be completed. The drill can be resumed, or aborted where nothing has been changed yet."""


def clients() -> Aws:
    """Clients that give up on a silent region within seconds."""
    return Aws(read_timeout=READ_TIMEOUT, attempts=ATTEMPTS)


def prepare(stack: Stack, request: Request, aws: Aws | None = None) -> Prepared:
    """The plan for where the writer is now, with every precondition evaluated. Writes nothing.

    Raises RefusedError where there is nothing to move, or the writer is not where it was when this was decided;
    UnansweredError where no region tells who the writer is.
    """
    aws = aws or clients()
    topology = _topology(stack, aws)
    plan = make_plan(stack, request.scenario, topology, **request.settings)
    if request.from_site not in (None, plan.from_site):
        raise RefusedError(
            f"The {request.scenario} away from the {request.from_site} site was decided while the writer was there; it is at the "
            f"{plan.from_site} site by now. Look again before you decide anew."
        )
    conditions = evaluate(scene_of(stack, aws, plan))
    return Prepared(plan, tuple(conditions), tuple(blocking(conditions, request.overrides)))


def prepare_scene(stack: Stack, aws: Aws) -> Scene:
    """The stack with its present writer as the target: where its data are now. Raises RefusedError while there is none."""
    writer = _topology(stack, aws).writer
    if writer is None:
        raise RefusedError("There is no writer: the global cluster has no member. Run `dr provision` first.")
    other = next(site for site in SITES if site != writer)
    return Scene(stack, aws, "failover", other, writer)


def scene_of(stack: Stack, aws: Aws, plan: Plan) -> Scene:
    return Scene(stack, aws, plan.scenario, plan.from_site, plan.to_site, plan.lag_gate_ms)


def start(stack: Stack, store: Store, request: Request, on_step: OnStep | None = None) -> dict[str, Any]:
    """Run a whole drill and return its record.

    Raises RefusedError: not approved, a precondition blocks, another drill runs. Raises StepFailedError where a step failed;
    the drill then waits to be resumed or aborted, under the id that the error names.
    """
    with begin(stack, store, request, on_step) as drill:
        return drill.run()


def begin(stack: Stack, store: Store, request: Request, on_step: OnStep | None = None) -> Drill:
    """Take the lease, evaluate every precondition, write the journal; the drill's steps come next. Raises RefusedError."""
    drill = new_id(request.scenario, utc.now())
    lease = Lease(store, stack.environment_suffix, drill).take()
    try:
        prepared = prepare(stack, request)
        refuse(prepared, request)
        journal = Journal.begin(store, stack.environment_suffix, drill, prepared.plan.as_json())
        journal.data["request"] = record_builder.request_json(request, prepared)
        journal.data["plan_hash"] = prepared.plan.hash
        journal.note(f"{request.operator} decided on a {request.scenario}: {request.why}", "operator", "T2")
    except BaseException:
        lease.release()
        raise
    return Drill(stack, store, journal, lease, on_step)


def refuse(prepared: Prepared, request: Request) -> None:
    """Raises RefusedError while a precondition blocks or nobody approved."""
    if prepared.blocking:
        told = "\n".join(f"  {item.name}: {item.reason}" for item in prepared.blocking)
        raise RefusedError(
            f"The {request.scenario} was not begun; {len(prepared.blocking)} of {len(prepared.conditions)} preconditions stand "
            f"against it:\n{told}\nRemove the cause, or override one with a reason and a name (--override NAME=REASON)."
        )
    if not request.approved_by:
        raise RefusedError(
            f"The {request.scenario} was not begun: nobody approved it (--yes, or approved_by in the run config)."
        )


def resume(stack: Stack, store: Store, drill: str, on_step: OnStep | None = None) -> dict[str, Any]:
    """Go on with a drill whose process ended, to its record. Raises like `reopen` and `start`."""
    with reopen(stack, store, drill, on_step) as again:
        return again.run()


def reopen(stack: Stack, store: Store, drill: str, on_step: OnStep | None = None) -> Drill:
    """A drill whose process ended, with its lease. Raises DrError where it has ended by itself, RefusedError while it runs."""
    journal = Journal.load(store, stack.environment_suffix, drill)
    if journal.data["ended"]:
        raise DrError(f"The drill {drill} has ended ({journal.data['ended']['status']}): there is nothing to resume.")
    lease = Lease(store, stack.environment_suffix, drill).take()
    journal.data.setdefault("deviations", []).append(
        f"interrupted and resumed at {utc.now_text()}: nothing was measured in between"
    )
    return Drill(stack, store, journal, lease, on_step)


def abort(stack: Stack, store: Store, drill: str, by: str) -> dict[str, Any]:
    """End a drill that has not acted yet, with a record. Raises RefusedError once the writer may be moving."""
    journal = Journal.load(store, stack.environment_suffix, drill)
    if journal.data["ended"]:
        raise DrError(f"The drill {drill} has ended ({journal.data['ended']['status']}): there is nothing to abort.")
    with Lease(store, stack.environment_suffix, drill):
        if journal.data["steps"].get("act"):
            raise RefusedError(
                f"The drill {drill} has begun to move the writer: resume it, so that it ends in a known state."
            )
        journal.note(f"aborted by {by} before anything was changed", "operator")
        return record_builder.finish(stack, store, journal, "aborted", f"aborted by {by}")


class Drill:
    """One drill in progress."""

    def __init__(
        self, stack: Stack, store: Store, journal: Journal, lease: Lease, on_step: OnStep | None = None
    ) -> None:
        self.stack, self.store, self.journal, self.lease = stack, store, journal, lease
        self.plan = Plan(**journal.data["plan"])
        self.aws = clients()
        self.scene = scene_of(stack, self.aws, self.plan)
        self._on_step = on_step or _silent
        self._live: Measurement | None = None

    def __enter__(self) -> Drill:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End what measures and give the lease back. The drill can be reopened."""
        if self._live:
            self._live.stop()
        self.lease.release()

    def run(self) -> dict[str, Any]:
        """Every step that is not done yet, then the record."""
        for step in self.plan.steps:
            self.take(step)
        return self.record()

    def record(self) -> dict[str, Any]:
        """Write the record, from what the steps found. A missed postcondition makes the drill a failed one."""
        conditions = self.journal.result("postconditions").get("conditions", [])
        bad = [item for item in conditions if item["passed"] is not True]
        reason = "; ".join(f"{item['name']}: {item['reason']}" for item in bad) or None
        return record_builder.finish(self.stack, self.store, self.journal, "failed" if bad else "succeeded", reason)

    def take(self, step: str) -> None:
        """Take one step, unless it is done. Raises StepFailedError, LostLeaseError; RefusedError for another plan."""
        if self.journal.data["plan_hash"] != self.plan.hash:
            raise RefusedError(
                "This version would carry out another plan than the one approved: use the version that began it."
            )
        if self.journal.is_done(step):
            return
        self._on_step(step, dict(self.plan.describe())[step])
        self.lease.check()
        again = self.journal.intend(step)
        first = len(self.aws.log)
        try:
            result = getattr(self, f"_{step}")(again)
        except StepFailedError:
            raise
        except DrError as error:
            raise StepFailedError(
                f"Step {step} of {self.journal.drill} failed: {error} Resume with `dr drill resume {self.journal.drill}`."
            ) from error
        finally:
            self._note_calls(step, first)
        self.journal.done(step, **result)

    def _deviation(self, text: str) -> None:
        self.journal.data.setdefault("deviations", []).append(text)

    def _note_calls(self, step: str, first: int) -> None:
        counted: dict[tuple[str, str, str], int] = {}
        for entry in self.aws.log.entries[first:]:
            key = (entry.region, entry.service, entry.operation)
            counted[key] = counted.get(key, 0) + 1
        phase = "recovery" if step in RECOVERY_STEPS else "proof"
        self.journal.add_calls(
            [
                {
                    "region": region,
                    "service": service,
                    "operation": operation,
                    "plane": plane(service, operation),
                    "count": count,
                    "phase": phase,
                }
                for (region, service, operation), count in sorted(counted.items())
            ]
        )

    @property
    def live(self) -> Measurement:
        """The ledger, the probe and the resolver at work; begun when first asked for, also after a resumption."""
        if self._live is None:
            self._live = Measurement(self.scene, self.plan, self.journal, self.store)
            self._live.start()
        return self._live

    # --- the steps ---------------------------------------------------------------------------------------------------

    def _baseline(self, again: bool) -> dict[str, Any]:
        planned = self.plan.scenario != "failover"
        try:
            self.live.steady(self.plan.baseline_seconds, 30.0 if planned else 3.0)
        except NotSteadyError as error:
            if planned:
                raise
            # The writer may be gone already, which is what a failover is for: then the gap began before anybody measured.
            self._deviation(f"{error} The begin of the gap was not measured.")
        lag = self.scene.again().lag()
        return {
            "from_address": [self.live.old_address.host, self.live.old_address.ip, self.live.old_address.port],
            "lag_ms": lag[0] if lag else None,
            "lag_at": lag[1].isoformat() if lag else None,
            "rows": self.live.acknowledged(),
        }

    def _act(self, again: bool) -> dict[str, Any]:
        """One call, and never a second one that the first made needless."""
        _ = self.live
        state = self._moving() if again else "not begun"
        if state == "not begun":
            self.journal.note(f"called in {self.plan.act_region}", "drill", "T3")
            self._call()
        return {"found": state}

    def _moving(self) -> str:
        scene = self.scene.again()
        topology = scene.topology
        if topology.writer == self.plan.to_site:
            return "done before"
        target = (scene.global_cluster.get("FailoverState") or {}).get("ToDbClusterArn")
        return "under way" if topology.in_transition and target == scene.target_arn else "not begun"

    def _call(self) -> None:
        scene = self.scene.again()
        params: dict[str, Any] = {
            "GlobalClusterIdentifier": self.stack.global_cluster_name,
            "TargetDbClusterIdentifier": scene.target_arn,
        }
        if self.plan.scenario == "failover":
            operation, params = "failover_global_cluster", {**params, "AllowDataLoss": True}
        else:
            operation = "switchover_global_cluster"
        try:
            self.aws.act(Call("rds", operation, params), self.plan.act_region, "")
        except Exception as error:
            problem = explain(error, "rds", operation, self.plan.act_region)
            # The request or its answer was lost: look before saying that it was not carried out.
            lost = isinstance(problem, UnansweredError) and not isinstance(error, ClientError)
            already = error_code(error) in ("InvalidGlobalClusterStateFault", "InvalidDBClusterStateFault")
            if not ((lost or already) and self._moving() != "not begun"):
                raise problem from error

    def _follow(self, again: bool) -> dict[str, Any]:
        """Until DescribeGlobalClusters names the target as writer, no change is under way, and SQL agrees."""
        deadline = time.monotonic() + self.plan.follow_seconds
        seen: set[str] = set()
        last = "nothing was seen yet"
        while time.monotonic() < deadline:
            self.lease.check()
            scene = self.scene.again()
            try:
                topology = scene.topology
                self._note_events(scene, seen)
                if topology.writer == self.plan.to_site and not topology.in_transition:
                    self.journal.note(f"the {self.plan.to_site} cluster is the writer", "DescribeGlobalClusters")
                    if self.live.target_writable():
                        self.journal.note("SQL at the target agrees: it is not in recovery", "sql")
                        return {"events": sorted(seen)}
                    last = "the target is the writer, but SQL there says it is in recovery"
                elif again and topology.writer == self.plan.from_site and not topology.in_transition:
                    last = f"AWS shows no change of the writer under way; it is still at the {topology.writer} site"
                    if time.monotonic() > deadline - self.plan.follow_seconds + 30:
                        break
                else:
                    last = f"{topology.in_transition or 'no change under way'}, writer at the {topology.writer} site"
            except UnansweredError as error:
                last = str(error)
            time.sleep(POLL_SECONDS)
        raise StepFailedError(
            f"The {self.plan.to_site} site did not become the writer within {self.plan.follow_seconds:.0f} s ({last}). "
            f"Look at the global cluster, then `dr drill resume {self.journal.drill}`."
        )

    def _note_events(self, scene: Scene, seen: set[str]) -> None:
        """RDS events of the target, onto the timeline; they corroborate, nothing hangs on their arrival or order."""
        begun = utc.parse(self.journal.data["steps"]["act"]["intended"][0])
        try:
            found = scene.call("rds", "describe_events", scene.to_region, StartTime=begun, Duration=60)["Events"]
        except (AwsCallError, UnansweredError):
            return
        for event in sorted(found, key=lambda item: item["Date"]):
            key = f"{event.get('SourceIdentifier')} {event['Date'].isoformat()} {event['Message']}"
            if key not in seen:
                seen.add(key)
                self.journal.note(f"{event.get('SourceIdentifier')}: {event['Message']}", "RDS event", at=event["Date"])

    def _recovered(self, again: bool) -> dict[str, Any]:
        why_not = self.live.recovered(self.plan.follow_seconds)
        if why_not is None:
            return self.live.figures()
        if "old writer" not in why_not:
            raise StepFailedError(
                f"Clients did not recover: {why_not}. Look at DNS and connections, then `dr drill resume {self.journal.drill}`."
            )
        self._deviation(f"Two writers: {why_not}. The gap has no end yet, so RTO is unknown.")
        return {"rto": None}

    def _fence(self, again: bool) -> dict[str, Any]:
        verdict, told = self.live.old_writer()
        self.journal.note(f"a write at the old writer was {verdict}: {told}", "probe")
        return {"verdict": verdict, "told": told}

    def _count(self, again: bool) -> dict[str, Any]:
        return self.live.finish()

    def _protected(self, again: bool) -> dict[str, Any]:
        """The exposure clock: from the last moment with a usable reader until the rebuilt one has caught up."""
        deadline = time.monotonic() + self.plan.protect_seconds
        last = "nothing was seen yet"
        while time.monotonic() < deadline:
            self.lease.check()
            try:
                last = postconditions.unprotected(self.stack, self.aws, self.plan) or ""
            except (UnansweredError, AwsCallError) as error:
                last = str(error)
            if not last:
                return {"at": utc.now_text()}
            time.sleep(POLL_SECONDS * 2)
        raise StepFailedError(
            f"The data are still exposed after {self.plan.protect_seconds:.0f} s: {last}. "
            f"When the reader is back: `dr drill resume {self.journal.drill}`."
        )

    def _postconditions(self, again: bool) -> dict[str, Any]:
        calls = [
            (c["service"], c["operation"], c["region"]) for c in self.journal.data["calls"] if c["phase"] == "recovery"
        ]
        wrong = improper(calls, self.plan.from_region) if self.plan.scenario == "failover" else []
        conditions: Sequence[Condition] = (
            self._fenced(),
            Condition("recovery-path-independent", not wrong, "; ".join(wrong) or None),
            *evaluate(self.scene.again(), postconditions.POSTCONDITIONS),
        )
        return {"conditions": [condition.as_json() for condition in conditions]}

    def _fenced(self) -> Condition:
        """Whether the old writer takes no writes. A dead one cannot say so: in a failover that is what is expected."""
        name, fence = "old-writer-refuses", self.journal.result("fence")
        rto = self.journal.result("recovered").get("rto") or {}
        if fence["verdict"] == "accepted":
            return Condition(name, False, "the old writer accepted a write: two writers")
        if (rto.get("low_seconds") or 0) < 0:
            return Condition(name, False, "the old writer accepted a write after the new one had: two writers")
        if fence["verdict"] == "refused" or (fence["verdict"] == "unreachable" and self.plan.scenario == "failover"):
            return Condition(name, True)
        return Condition(name, None, f"unknown: {fence['told']}")


def _silent(step: str, text: str) -> None:
    """Nobody watches."""


def _topology(stack: Stack, aws: Aws) -> Topology:
    # The home region last: it may be the failed one.
    return read_topology(stack, aws.reads(), (stack.secondary_region, stack.primary_region))
