"""Drill jobs: `switchover_drill`, `failover_drill`, `failback_drill`, with one op for each step of the plan.

What these jobs never do: act without an approval of their plan in the run config, act twice, retry by themselves. A run without one
shows the plan, and fails with what approves it. A run that was killed is resumed by re-executing it from the failed op (or with
`dr drill resume ID`).
"""

from collections.abc import Sequence
from typing import Any

import dagster as dg
from pydantic import Field, PrivateAttr

from dr_assets.defs import markdown
from dr_assets.defs.resources import as_dagster_failure
from dr_assets.defs.stack.jobs import job_tags
from dr_assets.drills import record_builder, runner
from dr_assets.drills.approval import Approval, token
from dr_assets.drills.parts import Condition, Override
from dr_assets.drills.plan import STEPS, Plan, Scenario, StepName
from dr_assets.drills.record_document import Record
from dr_assets.drills.request import Request
from dr_assets.history.store import open_store
from dr_assets.stack import Stack, load_stack

SCENARIOS: tuple[Scenario, ...] = ("switchover", "failover", "failback")
DESCRIPTIONS = {
    "switchover": "Move the writer to the other site and measure it: nothing acknowledged may be lost.",
    "failover": "Move the writer although its region may be gone, and count what that cost. Needs only the target's region.",
    "failback": "Bring the writer home and measure it: nothing acknowledged may be lost.",
}


class DrillRequest(dg.Config):
    """Who wants the drill, who approved it, and which blocking preconditions are overridden."""

    plan: str = Field(
        default="",
        description="What approves the plan: the token that --dry-run, or a run without it, shows. Holds for 15 minutes.",
    )
    approved_by: str = Field(default="", description="Who approved the plan. Empty: the drill is refused.")
    operator: str = Field(default="", description="Who carries it out; default: the user that the run belongs to")
    why: str = Field(default="rehearsal", description="The reason, for the record")
    overrides: dict[str, str] = Field(default={}, description="Precondition -> reason for acting although it blocks")
    settings: dict[str, float] = Field(
        default={}, description="Fields of the plan: rate, lag_gate_ms, baseline_seconds …"
    )
    from_site: str = Field(
        default="", description="Refuse unless the writer is still at this site. Empty: wherever it is"
    )
    incident: bool = Field(default=False, description="A real event, not a rehearsal")


class DrillSession(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The drill that this run carries out, from its first op to its last."""

    _drill: runner.DrillRunner | None = PrivateAttr(default=None)

    def begin(self, request: Request, on_step: runner.OnStep) -> runner.DrillRunner:
        self._drill = runner.begin(load_stack(), open_store(), request, on_step)
        return self._drill

    def open(self, drill: str, on_step: runner.OnStep) -> runner.DrillRunner:
        """The drill of that id: the one this run began, or, when an earlier run's process ended, reopened."""
        if self._drill is None or self._drill.journal.drill != drill:
            self._drill = runner.reopen(load_stack(), open_store(), drill, on_step)
        return self._drill

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        if self._drill:
            self._drill.close()
            self._drill = None


def build_drill_jobs(stack: Stack) -> list[dg.JobDefinition]:
    """One job for each scenario."""
    return [_job(stack, scenario) for scenario in SCENARIOS]


def _job(stack: Stack, scenario: Scenario) -> dg.JobDefinition:
    def watch(context: dg.OpExecutionContext) -> runner.OnStep:
        return lambda step, text: context.log.info(f"{step}: {text}")

    @dg.op(
        name=f"{scenario}_preconditions",
        description="Evaluate every precondition; refuse while one blocks or the plan is not approved.",
    )
    def preconditions(context: dg.OpExecutionContext, config: DrillRequest, drills: DrillSession) -> str:
        with as_dagster_failure():
            request = _request(scenario, config)
            if request.approval is None:
                prepared = runner.prepare(load_stack(), request)
                raise dg.Failure(
                    f"The {scenario} is not approved. Look at the plan in this op's metadata. To approve it, launch again within 15 "
                    f"minutes with plan: {token(prepared.plan, request.overrides)} and approved_by.",
                    metadata=_metadata(prepared.plan, prepared.conditions),
                    allow_retries=False,
                )
            drill = drills.begin(request, watch(context))
        conditions = drill.journal.document.request.conditions
        context.add_output_metadata({"drill": drill.journal.drill, **_metadata(drill.plan, conditions)})
        return drill.journal.drill

    def step_op(step: StepName) -> dg.OpDefinition:
        @dg.op(name=f"{scenario}_{step}", description=dict(STEPS)[step])
        def _op(context: dg.OpExecutionContext, drill: str, drills: DrillSession) -> str:
            with as_dagster_failure():
                drills.open(drill, watch(context)).take(step)
            return drill

        return _op

    @dg.op(name=f"{scenario}_record", description="Write the record, chained by hash to the one before it.")
    def record(context: dg.OpExecutionContext, drill: str, drills: DrillSession) -> str:
        with as_dagster_failure():
            written = drills.open(drill, watch(context)).record()
        figures = record_metadata(written)
        context.add_output_metadata(figures)
        if written.status != "succeeded":
            raise dg.Failure(f"{drill} failed: {written.reason}", metadata=figures, allow_retries=False)
        return drill

    @dg.graph(name=f"{scenario}_drill", description=DESCRIPTIONS[scenario])
    def graph() -> None:
        drill = preconditions()
        for step, _ in STEPS:
            drill = step_op(step)(drill)
        record(drill)

    # Two drills of one stack never run at once: the lock refuses, and a queue keeps them apart by this tag.
    return graph.to_job(
        tags={
            **job_tags(stack, "drill"),
            "dr/scenario": scenario,
            "dagster/max_retries": "0",
            "dagster/concurrency_key": "dr-drill",
        }
    )


def _request(scenario: Scenario, config: DrillRequest) -> Request:
    """The request of a run config. Raises RefusedError for a `plan` that is no token."""
    approval = Approval.from_token(config.plan, config.approved_by) if config.plan else None
    person = config.operator or record_builder.operator()
    # An arming names its own override: nobody is at hand.
    by = config.approved_by if approval and approval.kind == "arming" else person
    return Request(
        scenario=scenario,
        operator=person,
        why=config.why,
        approval=approval,
        overrides=tuple(Override(precondition=name, reason=reason, by=by) for name, reason in config.overrides.items()),
        settings=dict(config.settings),
        kind="incident" if config.incident else "drill",
        from_site=config.from_site or None,
    )


def _metadata(plan: Plan, conditions: Sequence[Condition]) -> dict[str, Any]:
    rows = [(item.name, _word(item.passed), item.reason or "") for item in conditions]
    return {"plan": plan.as_json(), "preconditions": markdown.table(("precondition", "", "reason"), rows)}


def record_metadata(written: Record) -> dict[str, Any]:
    """The figures of a record as Dagster metadata."""
    rto, rpo = written.rto, written.rpo
    open_for = written.exposure.at_least_seconds if written.exposure else None
    values = {
        "rto_low_seconds": rto.low_seconds,
        "rto_high_seconds": rto.high_seconds,
        **{f"rto_{name}_seconds": value for name, value in rto.parts.model_dump().items()},
        "rpo_lost_commits": rpo.lost_commits,
        "rpo_lost_seconds": rpo.lost_seconds,
        **({"rpo_lost_at_least_seconds": rpo.lost_at_least_seconds} if rpo.lost_at_least_seconds is not None else {}),
        **({"dns_ttl_seconds": rto.client.dns_ttl_seconds} if rto.client else {}),
        "in_doubt": rpo.in_doubt,
        "exposure_seconds": written.exposure.seconds if written.exposure else None,
        **({} if open_for is None else {"exposure_at_least_seconds": open_for}),
    }
    known: dict[str, Any] = {name: "unknown" if value is None else value for name, value in values.items()}
    return known | {"hash": written.hash, "record": dg.MetadataValue.json(written.to_json())}


def _word(passed: bool | None) -> str:
    return "unknown" if passed is None else "holds" if passed else "**fails**"
