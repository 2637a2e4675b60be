"""Implementation of each drill step; `runner` sequences them.

Each step receives whether it was intended before, and returns its result for the journal.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any

from botocore.exceptions import ClientError

from dr_assets import utc
from dr_assets.aws import explain
from dr_assets.aws_errors import fate
from dr_assets.core.freshness import SKEW_SECONDS, Known
from dr_assets.core.model import Call, error_code
from dr_assets.drills import journal as results
from dr_assets.drills import postconditions
from dr_assets.drills.aws_view import AwsView
from dr_assets.drills.call_planes import forbidden_in_recovery
from dr_assets.drills.journal import Journal, Result
from dr_assets.drills.lock import DrillLock
from dr_assets.drills.measurement.rpo_rto import split_brain
from dr_assets.drills.measurement.session import MeasurementSession, NotSteadyError
from dr_assets.drills.parts import Condition
from dr_assets.drills.plan import StepName
from dr_assets.drills.preconditions import evaluate
from dr_assets.errors import AwsCallError, DrError, UnansweredError
from dr_assets.history.store import Store
from dr_assets.stack import Stack

POLL_SECONDS = 0.2
# How long AWS may take to show a change whose call was answered with a 5xx, or not at all.
OBSERVED_SECONDS = 10.0
# How long a rehearsal waits for the first rows of its ledger at the target.
ARRIVAL_SECONDS = 30.0
# How long a throttled call is repeated.
THROTTLED_SECONDS = 10.0
# How long a resumed drill waits for AWS to show a change that an earlier process called.
RESUMED_SECONDS = 30.0


class StepFailedError(DrError):
    """A step could not be completed. The drill can be resumed, or aborted where nothing has been changed yet."""


class DrillSteps:
    """The steps of one drill, over one AWS view and one measurement session. `gate` raises unless the writer may be moved now."""

    def __init__(
        self, stack: Stack, store: Store, view: AwsView, journal: Journal, lock: DrillLock, gate: Callable[[], None]
    ) -> None:
        self._stack, self._store, self._view, self._journal, self._lock = stack, store, view, journal, lock
        self._gate = gate
        self._plan = journal.plan
        self._session: MeasurementSession | None = None
        self._steps: Mapping[StepName, Callable[[bool], Result]] = {
            "baseline": self._baseline,
            "act": self._act,
            "follow": self._follow,
            "recovered": self._recovered,
            "fence": self._fence,
            "count": self._count,
            "protected": self._protected,
            "postconditions": self._postconditions,
        }

    def take(self, step: StepName, again: bool) -> Result:
        """Take one step; `again`: it was intended before and may have acted. Raises DrError."""
        return self._steps[step](again)

    def close(self) -> None:
        """End the measuring."""
        if self._session:
            self._session.stop()

    @property
    def session(self) -> MeasurementSession:
        """The ledger, the probes and the watch on DNS; started when first needed, also after a resumption."""
        if self._session is None:
            self._session = MeasurementSession(self._view, self._plan, self._journal, self._store)
            self._session.start()
        return self._session

    def _baseline(self, again: bool) -> results.Baseline:
        planned = self._plan.scenario != "failover"
        try:
            self.session.steady(self._plan.baseline_seconds, 30.0 if planned else 3.0)
        except NotSteadyError as error:
            if planned:
                raise
            # The writer may be gone already, which is what a failover is for: then the gap began before the first measurement.
            self._journal.deviate(f"{error} The begin of the gap was not measured.")
        self._wait_for_arrival()
        lag = self._view.fresh().lag()
        address = self.session.old_address
        return results.Baseline(
            from_address=(address.host, address.ip, address.port),
            lag_ms=lag.value if isinstance(lag, Known) else None,
            lag_at=lag.at.isoformat() if isinstance(lag, Known) else None,
            rows=self.session.acknowledged(),
        )

    def _wait_for_arrival(self) -> None:
        """A rehearsal acts only when rows of its ledger have reached the target: else lost time could not be counted.

        An incident does not wait, and neither does whoever has overridden the lag. Raises NotSteadyError.
        """
        if not self.session.acknowledged():
            return  # the writer is gone already, which `steady` has written down
        request = self._journal.document.request
        waits = request.kind == "drill" and not any(item.precondition == "lag" for item in request.overrides)
        problem = self.session.arrived(ARRIVAL_SECONDS if waits else 0.0)
        if problem and waits:
            raise NotSteadyError(f"{problem} Nothing was called. Check replication, or override the precondition lag.")
        if problem:
            self._journal.deviate(f"{problem} Lost time has no begin then: only a lower bound of it can be known.")

    def _act(self, again: bool) -> results.Act:
        """One call, and never a second one that the first made needless."""
        _ = self.session
        state: results.Change = self._change() if again else "not begun"
        # T3 is the time of the call that moved the writer; an earlier process may have died between its intent and the answer.
        called = (
            self._journal.timeline.mark()
            if state == "not begun"
            else utc.parse(self._journal.document.steps.act.intended[-2])
        )
        if state == "not begun":
            self._call()
        self._journal.note(f"called in {self._plan.act_region}", "drill", "T3", at=called)
        return results.Act(found=state)

    def _change(self) -> results.Change:
        """How far AWS is with the change of the writer."""
        view = self._view.fresh()
        topology = view.topology
        if topology.writer == self._plan.to_site:
            return "done before"
        target = (view.global_cluster.get("FailoverState") or {}).get("ToDbClusterArn")
        return "under way" if topology.in_transition and target == view.target_arn else "not begun"

    def _call(self) -> None:
        view = self._view.fresh()
        params: dict[str, Any] = {
            "GlobalClusterIdentifier": self._stack.global_cluster_name,
            "TargetDbClusterIdentifier": view.target_arn,
        }
        if self._plan.scenario == "failover":
            operation, params = "failover_global_cluster", {**params, "AllowDataLoss": True}
        else:
            operation = "switchover_global_cluster"
        try:
            self._until_not_throttled(Call("rds", operation, params))
        except Exception as error:
            problem = explain(error, "rds", operation, self._plan.act_region)
            already = error_code(error) in ("InvalidGlobalClusterStateFault", "InvalidDBClusterStateFault")
            if not (fate(error) == "unknown" or already):
                raise problem from error
            # "Already" may be about an earlier call of this drill, which DescribeGlobalClusters need not show yet.
            if not self._appears(OBSERVED_SECONDS):
                raise problem from error
            self._journal.deviate(f"The call was carried out, though its answer was: {problem}")

    def _until_not_throttled(self, call: Call) -> None:
        """Make the call. A throttled one was not carried out (SDK reference guide, "Retry behavior") and is repeated, for
        THROTTLED_SECONDS: an outage is when many others call, too. Raises botocore's errors."""
        deadline, wait = time.monotonic() + THROTTLED_SECONDS, 0.2
        while True:
            try:
                self._once(call)
            except ClientError as error:
                if fate(error) != "throttled" or time.monotonic() + wait > deadline:
                    raise
                problem = explain(error, call.service, call.operation, self._plan.act_region)
                self._journal.deviate(f"The call was repeated: {problem}")
                time.sleep(wait)
                wait *= 2
            else:
                return

    def _once(self, call: Call) -> None:
        """The only place that moves the writer: through the gate, and written down before it is done."""
        self._gate()
        self._journal.calling()
        try:
            self._view.aws.act(call, self._plan.act_region, "")
        except Exception as error:
            if fate(error) != "unknown":
                self._journal.not_carried_out()
            raise

    def _appears(self, seconds: float) -> bool:
        """Whether AWS shows the change within that time. An observation that fails is repeated: it must not hide why the call failed."""
        deadline = time.monotonic() + seconds
        while True:
            with suppress(DrError):
                if self._change() != "not begun":
                    return True
            if time.monotonic() >= deadline:
                return False
            time.sleep(POLL_SECONDS)

    def _follow(self, again: bool) -> results.Follow:
        """Until DescribeGlobalClusters names the target as writer, no change is under way, and SQL agrees."""
        deadline = time.monotonic() + self._plan.follow_seconds
        events: set[str] = set()
        last = "nothing was observed yet"
        while time.monotonic() < deadline:
            self._lock.check()
            self._journal.check_clock()
            view = self._view.fresh()
            try:
                topology = view.topology
                self._note_events(view, events)
                if topology.writer == self._plan.to_site and not topology.in_transition:
                    self._journal.note(f"the {self._plan.to_site} cluster is the writer", "DescribeGlobalClusters")
                    why_not = self.session.why_not_writable()
                    if why_not is None:
                        self._journal.note("SQL at the target agrees: it is not in recovery", "sql")
                        return results.Follow(events=tuple(sorted(events)))
                    last = f"the target is the writer, but SQL does not agree: {why_not}"
                elif again and topology.writer == self._plan.from_site and not topology.in_transition:
                    last = f"AWS shows no change of the writer under way; it is still at the {topology.writer} site"
                    if time.monotonic() > deadline - self._plan.follow_seconds + RESUMED_SECONDS:
                        break
                else:
                    last = f"{topology.in_transition or 'no change under way'}, writer at the {topology.writer} site"
            except (UnansweredError, AwsCallError) as error:  # also an answer that cannot be understood
                last = str(error)
            time.sleep(POLL_SECONDS)
        raise StepFailedError(
            f"The {self._plan.to_site} site did not become the writer within {self._plan.follow_seconds:.0f} s ({last}). "
            f"Check the global cluster, then `dr drill resume {self._journal.drill}`."
        )

    def _note_events(self, view: AwsView, known: set[str]) -> None:
        """RDS events of the target, onto the timeline; they corroborate, nothing depends on their arrival or order."""
        # AWS's clock may be behind ours; what is further back may be another drill's.
        begun = utc.parse(self._journal.document.steps.act.intended[0]) - timedelta(seconds=SKEW_SECONDS)
        try:
            found = view.call("rds", "describe_events", view.to_region, StartTime=begun, Duration=60)["Events"]
            events = sorted((item["Date"], f"{item.get('SourceIdentifier')}: {item['Message']}") for item in found)
        except (AwsCallError, UnansweredError, AttributeError, LookupError, TypeError):
            return
        for at, text in events:
            key = f"{at.isoformat()} {text}"
            if key not in known:
                known.add(key)
                self._journal.note(text, "RDS event", at=at)

    def _recovered(self, again: bool) -> results.Recovered:
        why_not = self.session.recovered(self._plan.follow_seconds)
        if why_not is None:
            return results.Recovered(rto=self.session.interval())
        if "old writer" not in why_not:
            raise StepFailedError(
                f"Clients did not recover: {why_not}. Check DNS and connections, then `dr drill resume {self._journal.drill}`."
            )
        self._journal.deviate(f"Two writers: {why_not}. The gap has no end yet, so RTO is unknown.")
        return results.Recovered(rto=None)

    def _fence(self, again: bool) -> results.Fence:
        verdict, detail = self.session.write_at_old_writer()
        self._journal.note(f"a write at the old writer was {verdict}: {detail}", "probe")
        return results.Fence(verdict=verdict, detail=detail)

    def _count(self, again: bool) -> results.Count:
        return self.session.finish()

    def _protected(self, again: bool) -> results.Protected:
        """The exposure clock: from the last moment with a usable reader until the rebuilt one has caught up."""
        deadline = time.monotonic() + self._plan.protect_seconds
        # T3 is set by `act`; its intent stands in where a journal has none.
        moved = utc.parse(self._journal.marked("T3") or self._journal.document.steps.act.intended[-1])
        timeline = self._journal.timeline
        last = "nothing was observed yet"
        while time.monotonic() < deadline:
            self._lock.check()
            self._journal.check_clock()
            elapsed = timeline.mark() - moved
            try:
                # CloudWatch's times are compared with the wall clock as it is now.
                last = postconditions.unprotected(self._stack, self._view.aws, self._plan, utc.now() - elapsed) or ""
            except (UnansweredError, AwsCallError) as error:
                last = str(error)
            if not last:
                return results.Protected(at=utc.to_text(timeline.mark()))
            time.sleep(POLL_SECONDS * 2)
        raise StepFailedError(
            f"The data are still exposed after {self._plan.protect_seconds:.0f} s: {last}. "
            f"When the reader is back: `dr drill resume {self._journal.drill}`."
        )

    def _postconditions(self, again: bool) -> results.Postconditions:
        calls = [
            (call.service, call.operation, call.region)
            for call in self._journal.document.calls
            if call.phase == "recovery"
        ]
        wrong = forbidden_in_recovery(calls, self._plan.from_region) if self._plan.scenario == "failover" else []
        return results.Postconditions(
            conditions=(
                self._fenced(),
                Condition(name="recovery-path-independent", passed=not wrong, reason="; ".join(wrong) or None),
                *evaluate(self._view.fresh(), postconditions.POSTCONDITIONS),
            )
        )

    def _fenced(self) -> Condition:
        """Whether the old writer takes no writes. A dead one cannot answer: in a failover that is what is expected."""
        fence, recovered = self._journal.result(results.Fence), self._journal.result(results.Recovered)
        rto = recovered.rto if recovered else None
        passed: bool | None = None
        reason: str | None = f"unknown: {fence.detail if fence else 'no write was attempted at the old writer'}"
        if fence and fence.verdict == "accepted":
            passed, reason = False, "the old writer accepted a write: two writers"
        elif rto and split_brain(rto.low_seconds):
            passed, reason = False, "the old writer accepted a write after the new one had: two writers"
        elif fence and (
            fence.verdict == "refused" or (fence.verdict == "unreachable" and self._plan.scenario == "failover")
        ):
            passed, reason = True, None
        return Condition(name="old-writer-refuses", passed=passed, reason=reason)
