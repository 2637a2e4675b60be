"""Stack operations behind `dr verify`, `dr outputs` and `dr status`: read only, no printing, no Dagster job."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from dr_assets.aws import PROVISIONING_SILENCE, Aws
from dr_assets.core.expressions import UnknownScope, is_resolved, plain, resolve
from dr_assets.core.model import Drift, Outcome, Status
from dr_assets.core.topology import Topology
from dr_assets.errors import AwsCallError, UnansweredError
from dr_assets.reconcile.stack_state import StackState
from dr_assets.resources.outputs import outputs
from dr_assets.resources.parity import compare_pair, pairs
from dr_assets.stack import Stack

STATUSES: tuple[Status, ...] = ("in_sync", "created", "updated", "waiting", "drifted", "absent", "unknown")


@dataclass(frozen=True)
class Verification:
    """Result of one verification. `seconds` is wall time, `api_calls` counts AWS calls, retries not included."""

    outcomes: tuple[Outcome, ...]
    api_calls: int
    seconds: float
    topology: Topology | None

    @property
    def in_sync(self) -> bool:
        return not self.problem and all(outcome.status == "in_sync" for outcome in self.outcomes)

    @property
    def problem(self) -> str | None:
        """See `Topology.problem`."""
        return self.topology.problem if self.topology else None

    def as_json(self) -> dict[str, Any]:
        """What `dr verify --json` prints."""
        return {
            "summary": summary(self.outcomes) | {"writer": self.topology.writer if self.topology else None},
            **({"problem": self.problem} if self.problem else {}),
            "api_calls": self.api_calls,
            "seconds": round(self.seconds, 3),
            "resources": [outcome_json(outcome) for outcome in self.outcomes],
        }


@dataclass(frozen=True)
class JobResult:
    """Result of a run. `run_id` is empty where none was needed; `failures`: one text per failed step; `failed_checks`:
    `asset:check`."""

    success: bool
    run_id: str
    outcomes: tuple[Outcome, ...]
    failures: tuple[str, ...] = ()
    failed_checks: tuple[str, ...] = ()


def nothing_to_provision(stack: Stack) -> JobResult | None:
    """The result of a provisioning run that would change nothing, from one verification; None where a run is needed.

    It waits for a region that has stalled as long as the run would: unknown means that the run is needed. Raises CredentialsError,
    UnansweredError.
    """
    state = StackState(stack, Aws(silence=PROVISIONING_SILENCE))
    outcomes = tuple(state.verify())
    if any(outcome.status != "in_sync" or outcome.former for outcome in outcomes):
        return None
    observed = {outcome.key: outcome.observed for outcome in outcomes}
    twins = pairs(state.resources.values())
    if all(compare_pair(two, one, observed[two.key], observed[one.key]).equal for two, one in twins):
        return JobResult(success=True, run_id="", outcomes=outcomes)
    return None


def verify(
    stack: Stack, on_outcome: Callable[[Outcome], None] | None = None, keys: Iterable[str] | None = None
) -> Verification:
    """Compare the stack with AWS, reading concurrently and writing nothing. Raises CredentialsError, UnansweredError."""
    started = time.monotonic()
    aws = Aws()
    state = StackState(stack, aws)
    outcomes = state.verify(keys, on_outcome)
    return Verification(tuple(outcomes), len(aws.log), time.monotonic() - started, topology(state))


def topology(state: StackState) -> Topology | None:
    """Roles of the sites, or None where AWS did not answer."""
    try:
        return state.topology
    except (UnansweredError, AwsCallError):
        return None


def read_outputs(stack: Stack) -> tuple[dict[str, Any], dict[str, str]]:
    """The stack's flat outputs by name, None where a resource is absent or unknown; and why each unknown one is.

    Raises CredentialsError, UnansweredError.
    """
    state = StackState(stack, Aws())
    wanted = outputs()
    state.snapshot({ref.key for ref in wanted.values()})
    values: dict[str, Any] = {}
    unknown: dict[str, str] = {}
    for name, ref in wanted.items():
        try:
            value = resolve(ref, state)
            values[name] = plain(value) if is_resolved(value) else None
        except UnknownScope as error:
            values[name], unknown[name] = None, str(error)
    return values, unknown


def summary(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """Number of resources: `total`, and by status."""
    count = Counter(outcome.status for outcome in outcomes)
    return {"total": len(outcomes)} | {
        status: count[status] for status in STATUSES if count[status] or status == "in_sync"
    }


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    document: dict[str, Any] = {
        "asset": outcome.key,
        "status": outcome.status,
        "drift": [drift_json(item) for item in outcome.drift],
    }
    if outcome.reason:
        document["reason"] = outcome.reason
    return document


def drift_json(item: Drift) -> dict[str, Any]:
    return {"field": item.field, "desired": item.desired, "observed": item.observed}


def status_json(stack: Stack, result: Verification) -> dict[str, Any]:
    """What `dr status --json` prints."""
    top = result.topology
    return {
        "stack": stack.environment_suffix,
        "writer": top.writer if top else None,
        "at_home": None if top is None or not (top.writer or top.outside) else not top.away,
        **({"problem": top.problem} if top and top.problem else {}),
        "members": dict(top.members) if top else {},
        "in_transition": top.in_transition if top else None,
        "objectives": {
            "rpo_seconds": stack.rpo_seconds,
            "rto_seconds": stack.rto_seconds,
            "detection_seconds": stack.detection_seconds,
        },
        "summary": summary(result.outcomes),
    }


def refuse_destroy(stack: Stack, confirmation: str) -> str | None:
    """Why the stack may not be destroyed, or None."""
    if stack.deletion_protection:
        return (
            f"Stack {stack.environment_suffix} is protected: deletion_protection is true. To destroy it, set it to false in "
            "the stack file and provision once more."
        )
    if confirmation != stack.environment_suffix:
        return (
            f"Nothing was destroyed: the confirmation {confirmation!r} is not this stack's suffix "
            f"{stack.environment_suffix!r}. Give exactly that."
        )
    return None
