"""Checks over the whole stack: cross-site parity, and Terraform's view of drift where a working directory is configured."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import dagster as dg

from dr_assets.core.model import Resource
from dr_assets.defs.resources import AwsStack, as_dagster_failure, run_selection
from dr_assets.defs.stack.assets import asset_key, drift_table
from dr_assets.errors import AwsCallError, UnansweredError
from dr_assets.resources.parity import compare_pair, pairs
from dr_assets.terraform import plan_drift, refresh_only

PARITY = "parity"
PROVISIONED = "provisioned"
TERRAFORM = "terraform_drift"


def build_parity_check(resources: Sequence[Resource]) -> dg.AssetChecksDefinition:
    """The check `parity` on each secondary resource that has a twin at the primary site."""
    twins: Iterable[tuple[Resource, Resource]] = pairs(resources)
    by_key = {asset_key(second.key): (second, first) for second, first in twins}
    specs = [
        dg.AssetCheckSpec(
            PARITY,
            asset=key,
            additional_deps=[asset_key(first.key)],
            description=f"Equal to {first.key} in all that must be equal at both sites",
        )
        for key, (_, first) in by_key.items()
    ]

    @dg.multi_asset_check(name="site_parity", specs=specs, can_subset=True)
    def site_parity(context: dg.AssetCheckExecutionContext, aws: AwsStack) -> Iterator[dg.AssetCheckResult]:
        chosen = sorted(context.selected_asset_check_keys, key=lambda key: key.asset_key.path)
        both = [resource.key for key in chosen for resource in by_key[key.asset_key]]
        state = aws.snapshot(frozenset(both))
        unknown = []
        for key in chosen:
            second, first = by_key[key.asset_key]
            try:
                with as_dagster_failure(UnansweredError, AwsCallError):
                    parity = compare_pair(second, first, state.observe(second), state.observe(first))
            except (UnansweredError, AwsCallError) as error:
                unknown.append(f"{second.key}: {error}")
                continue
            differing = ", ".join(item.field for item in parity.differences)
            yield dg.AssetCheckResult(
                passed=parity.equal,
                check_name=PARITY,
                asset_key=key.asset_key,
                description=parity.reason or (f"differs in {differing}" if differing else f"equal to {first.key}"),
                metadata={"twin": first.key, "difference": drift_table(parity.differences)},
            )
        if unknown:
            raise dg.Failure("parity is unknown where AWS did not answer:\n" + "\n".join(unknown), allow_retries=False)

    return site_parity


def build_provisioned_check(resources: Sequence[Resource]) -> dg.AssetChecksDefinition:
    """The last step of a provisioning run, after every resource: fails the run where something could not be corrected.

    The step of such a resource succeeds (its check `desired_state` fails), since a failed step would skip all that needs it.
    Where nothing is to be written, the check fails and the run does not.
    """
    last = resources[-1]

    @dg.asset_check(
        asset=asset_key(last.key),
        name=PROVISIONED,
        additional_deps=[asset_key(resource.key) for resource in resources if resource.key != last.key],
        description="Every resource of the run is as the stack file says",
    )
    def provisioned(context: dg.AssetCheckExecutionContext, aws: AwsStack) -> dg.AssetCheckResult:
        left = aws.uncorrected(_root_selection(context))
        lines = "\n".join(f"{key}: {reason.removeprefix(f'{key}: ')}" for key, reason in left.items())
        if left and aws.writes:
            raise dg.Failure(f"these could not be corrected, all else was:\n{lines}", allow_retries=False)
        return dg.AssetCheckResult(passed=not left, description=lines or "nothing is left to correct")

    return provisioned


def _root_selection(context: dg.AssetCheckExecutionContext) -> frozenset[str] | None:
    """`run_selection` of the run that was re-executed, if this run is such a one.

    A re-execution "from asset failure" selects only the assets that were not materialized: what is drifted was.
    """
    root = context.run.root_run_id and context.instance.get_run_by_id(context.run.root_run_id)
    if context.run.root_run_id and not root:
        return None
    return run_selection(context, root or context.run)


def build_terraform_check(resources: Sequence[Resource], directory: Path) -> dg.AssetChecksDefinition:
    """The check `terraform_drift` on every asset, from `terraform plan -refresh-only` in `directory`.

    One plan serves all checks of a run. Raises dg.Failure where Terraform fails: unknown is not drift.
    """
    by_key = {asset_key(resource.key): resource for resource in resources}
    specs = [
        dg.AssetCheckSpec(TERRAFORM, asset=key, description="Terraform's state agrees with AWS, attribute by attribute")
        for key in by_key
    ]

    @dg.multi_asset_check(name="terraform_drift", specs=specs, can_subset=True)
    def terraform_drift(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        with as_dagster_failure():
            plan = refresh_only(directory)
        found = plan_drift({resource.key: resource for resource in resources}, plan)
        for check in sorted(context.selected_asset_check_keys, key=lambda key: key.asset_key.path):
            drift = found.get(by_key[check.asset_key].key, ())
            yield dg.AssetCheckResult(
                passed=not drift,
                check_name=TERRAFORM,
                asset_key=check.asset_key,
                description=f"differs in {', '.join(item.field for item in drift)}" if drift else "no drift",
                metadata={"drift": drift_table(drift), "directory": str(directory)},
            )

    return terraform_drift
