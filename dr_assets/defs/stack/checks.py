"""Checks over the whole stack: cross-site parity, Terraform's view of drift where a working directory is configured, and what
the sensors say.

Each is one `@multi_asset_check`, of which any part can be run alone.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from dr_assets.core.model import Resource
from dr_assets.core.parity import compare_pair, pairs
from dr_assets.defs.resources import AwsStack
from dr_assets.defs.stack.assets import asset_key, drift_table
from dr_assets.errors import AwsCallError, DrError, UnansweredError
from dr_assets.stack import Stack
from dr_assets.terraform import plan_drift, refresh_only

PARITY = "parity"
TERRAFORM = "terraform_drift"
# The sensors evaluate at every crossing and every ten minutes: what is older than this comes from sensors that stopped.
STALE_SECONDS = 1500.0


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
                parity = compare_pair(second, first, state.observe(second), state.observe(first))
            except (UnansweredError, AwsCallError) as error:
                unknown.append(f"{second.key}: {error}")
                continue
            except DrError as error:
                raise dg.Failure(str(error), allow_retries=False) from error
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


def build_terraform_check(stack: Stack, resources: Sequence[Resource], directory: Path) -> dg.AssetChecksDefinition:
    """The check `terraform_drift` on every asset: `terraform plan -refresh-only` in `directory`, told in our words.

    One plan serves all checks of a run. Raises dg.Failure where Terraform cannot tell: unknown is no drift.
    """
    by_key = {asset_key(resource.key): resource for resource in resources}
    specs = [
        dg.AssetCheckSpec(TERRAFORM, asset=key, description="Terraform's state agrees with AWS, attribute by attribute")
        for key in by_key
    ]

    @dg.multi_asset_check(name="terraform_drift", specs=specs, can_subset=True)
    def terraform_drift(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        try:
            plan = refresh_only(directory)
        except DrError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        found = plan_drift(stack, {resource.key: resource for resource in resources}, plan)
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


def build_objective_check(specs: Sequence[dg.AssetCheckSpec]) -> dg.AssetChecksDefinition:
    """Declares the checks that the sensors evaluate. Asked to run, it repeats the sensors' last word on each.

    Dagster (1.13) has no check without a computation, and runs that of every check whose asset is materialized by hand. So this
    one asks nobody and judges nothing: where the sensors said nothing yet it is skipped, where they stopped it is unknown.
    """

    @dg.multi_asset_check(name="sensors_last_word", specs=specs, can_subset=True)
    def sensors_last_word(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        for key in sorted(context.selected_asset_check_keys, key=lambda key: key.asset_key.path):
            found = _last_word(context.instance, key)
            if found is None:
                context.log.info(f"{key.asset_key.to_user_string()}: no sensor has evaluated it; start the sensors")
                continue
            said, age = found
            stale = age > STALE_SECONDS
            yield dg.AssetCheckResult(
                passed=said.passed and not stale,
                check_name=key.name,
                asset_key=key.asset_key,
                severity=dg.AssetCheckSeverity.WARN if stale and said.passed else said.severity,
                description=f"unknown: the sensors have not spoken for {age / 60:.0f} minutes; then it was: {said.description}"
                if stale
                else said.description,
                metadata={"seconds_ago": round(age)},
            )

    return sensors_last_word


def _last_word(instance: dg.DagsterInstance, key: dg.AssetCheckKey) -> tuple[dg.AssetCheckEvaluation, float] | None:
    """The newest evaluation that no run made, and its age in seconds."""
    records: Sequence[Any] = instance.event_log_storage.get_asset_check_execution_history(key, limit=100)
    for record in records:
        if record.evaluation is not None and not record.run_id:
            return record.evaluation, max(0.0, time.time() - record.create_timestamp)
    return None
