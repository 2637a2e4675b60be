"""Jobs that verify, provision and destroy the stack."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from dr_assets.core.model import Resource
from dr_assets.defs.resources import AwsStack, as_dagster_failure
from dr_assets.defs.stack.assets import asset_key
from dr_assets.reconcile.service import refuse_destroy
from dr_assets.stack import Stack

PROVISION, VERIFY, DESTROY = "provision_stack", "verify_stack", "destroy_stack"
CONFIRM = "confirm_destroy"
# On every job, and so on each of its runs: whose run it is, where several stacks or teams share an instance.
STACK_TAG = "dr/stack"


def job_tags(stack: Stack, mode: str) -> dict[str, str]:
    """Tags of a job of this stack; its runs inherit them."""
    return {STACK_TAG: stack.environment_suffix, "dr/mode": mode}


def mode_config(mode: str, **more: Any) -> dict[str, Any]:
    """Run config that sets the mode; it overrides DR_MODE."""
    return {"resources": {"aws": {"config": {"mode": mode, **more}}}}


def build_jobs(
    stack: Stack, left_out: dg.AssetChecksDefinition | None = None, provisioned: dg.AssetChecksDefinition | None = None
) -> list[Any]:
    """The jobs `verify_stack` and `provision_stack`.

    Args:
        left_out: checks that these jobs do not run (the sensors evaluate them).
        provisioned: the last step of `provision_stack`, which `verify_stack` does not need.
    """
    # The resources and their checks; history and reports have jobs of their own.
    everything: dg.AssetSelection = dg.AssetSelection.all() - dg.AssetSelection.groups("history", "reports")
    if left_out is not None:
        everything = everything - dg.AssetSelection.checks(left_out)
    compared = everything if provisioned is None else everything - dg.AssetSelection.checks(provisioned)
    return [
        dg.define_asset_job(
            VERIFY,
            selection=compared,
            config=mode_config("verify"),
            description="Compare every resource with the stack, field by field. Writes nothing to AWS.",
            tags=job_tags(stack, "verify"),
        ),
        dg.define_asset_job(
            PROVISION,
            selection=everything,
            config=mode_config("provision"),
            description="Create what is absent and correct what differs, in the order of the lineage. Never deletes.",
            tags=job_tags(stack, "provision"),
        ),
    ]


class Confirmation(dg.Config):
    """Run config of `destroy_stack`: the stack's environment suffix as confirmation."""

    confirm_suffix: str


@dg.op(
    name=CONFIRM,
    out=dg.Out(dg.Nothing),
    description="Fails unless the suffix was confirmed and deletion protection is off.",
)
def confirm_destroy(context: dg.OpExecutionContext, config: Confirmation, aws: AwsStack) -> None:
    state = aws.stack_state()
    refusal = refuse_destroy(state.stack, config.confirm_suffix)
    if refusal:
        raise dg.Failure(refusal, allow_retries=False)
    with as_dagster_failure():
        # Away from home the reverse lineage would take the writer's instances first, which AWS refuses half-way through.
        state.refuse_away_from_home()
    context.log.info(f"destroying {len(state.resources)} resources of stack {state.stack.environment_suffix}")


def build_destroy_job(stack: Stack, resources: Sequence[Resource]) -> dg.JobDefinition:
    """One op for each resource, in reverse lineage: dependents are deleted first."""
    dependents: dict[str, list[str]] = {resource.key: [] for resource in resources}
    for resource in resources:
        for need in resource.needs:
            dependents[need].append(resource.key)
    ops = [_destroy_op(resource, dependents[resource.key]) for resource in resources]
    wiring: dict[Any, dict[str, dg.IDependencyDefinition]] = {CONFIRM: {}}
    for resource in resources:
        inputs: dict[str, dg.IDependencyDefinition] = {
            _name(key): dg.DependencyDefinition(_op_name(key)) for key in dependents[resource.key]
        }
        wiring[_op_name(resource.key)] = inputs or {"confirmed": dg.DependencyDefinition(CONFIRM)}
    graph = dg.GraphDefinition(name=DESTROY, node_defs=[confirm_destroy, *ops], dependencies=wiring)
    return graph.to_job(
        name=DESTROY,
        description="Delete every resource in reverse lineage. Needs the suffix as confirmation; refused under deletion protection.",
        tags=job_tags(stack, "destroy"),
    )


def _destroy_op(resource: Resource, dependents: Sequence[str]) -> dg.OpDefinition:
    inputs = {_name(key): dg.In(dg.Nothing) for key in dependents} or {"confirmed": dg.In(dg.Nothing)}

    @dg.op(name=_op_name(resource.key), ins=inputs, out=dg.Out(dg.Nothing), description=f"Delete {resource.key}.")
    def _op(context: dg.OpExecutionContext, aws: AwsStack) -> None:
        state = aws.stack_state()
        outcome = aws.run_step(context, resource.key, lambda: state.delete(resource), writes=True)
        context.log.info(f"{resource.key}: absent ({', '.join(outcome.calls) or outcome.reason or 'already absent'})")
        context.log_event(dg.AssetObservation(asset_key(resource.key), metadata={"status": "absent"}))

    return _op


def _name(key: str) -> str:
    return key.replace("/", "__").replace("-", "_")


def _op_name(key: str) -> str:
    return f"destroy__{_name(key)}"
