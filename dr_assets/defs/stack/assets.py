"""One asset per resource of the catalogue, made by one factory: lineage, metadata, versions, and the check `desired_state`.

Verify mode compares; an absent or drifted resource fails its check. Provision mode reconciles. Where AWS does not answer, the step
fails: unknown is neither drift nor health.
"""

import time
from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg

from dr_assets.core.converge import converge
from dr_assets.core.expressions import digest, is_resolved, resolve
from dr_assets.core.model import Drift, Outcome, Resource, Target
from dr_assets.defs.resources import AwsStack, run_selection
from dr_assets.defs.stack.preflight import record_preflight
from dr_assets.reconcile.stack_state import StackState
from dr_assets.resources.registry import KINDS
from dr_assets.stack import Stack

CHECK = "desired_state"
OWNER = "team:disaster-recovery"

_DRIFT_SCHEMA = dg.TableSchema(
    columns=[
        dg.TableColumn("field", "string", "the field as AWS names it"),
        dg.TableColumn("desired", "string", "the value in the stack"),
        dg.TableColumn("observed", "string", "the value in AWS"),
    ]
)


def asset_key(key: str) -> dg.AssetKey:
    return dg.AssetKey(key.split("/"))


def build_assets(stack: Stack, resources: Iterable[Resource]) -> list[dg.AssetsDefinition]:
    return [build_asset(stack, resource) for resource in resources]


def build_asset(stack: Stack, resource: Resource) -> dg.AssetsDefinition:
    """The asset of one resource."""
    kind = KINDS[resource.kind]
    key = asset_key(resource.key)

    @dg.asset(
        key=key,
        deps=[asset_key(need) for need in resource.needs],
        # The graph labels a node with the last part of its key alone; the group shows the site.
        group_name=f"{resource.area}_{resource.site}",
        kinds={"aws", *kind.compute_kinds},
        owners=[OWNER],
        description=f"{resource.title}\n\n{kind.label}, {resource.region}.",
        tags={"site": resource.site, "region": resource.region, "stack": stack.environment_suffix},
        metadata={"kind": kind.name, "region": resource.region},
        code_version=digest(resource.desired),
        check_specs=[dg.AssetCheckSpec(CHECK, asset=key, description="AWS agrees with the stack, field by field")],
    )
    def _asset(context: dg.AssetExecutionContext, aws: AwsStack) -> dg.MaterializeResult:  # type: ignore[type-arg]
        state = aws.snapshot(run_selection(context))
        if aws.writes:
            record_preflight(context, aws.preflight(run_selection(context)))
        calls, started = len(state.aws.log), time.monotonic()

        def step() -> Outcome:
            if not aws.writes:
                return converge(resource, state, write=False)
            if context.retry_number:
                state.invalidate(resource.key)
            return state.reconcile(resource)

        outcome = aws.run_step(context, resource.key, step, aws.writes)
        metadata = describe(state, resource, outcome)
        metadata |= {"api_calls": len(state.aws.log) - calls, "seconds": round(time.monotonic() - started, 3)}
        context.log.info(f"{resource.key}: {outcome.status}{': ' + outcome.reason if outcome.reason else ''}")
        return dg.MaterializeResult(
            metadata=metadata,
            data_version=dg.DataVersion(version_of(outcome)),
            check_results=[check_result(key, outcome)],
        )

    return _asset


def describe(state: StackState, resource: Resource, outcome: Outcome) -> dict[str, Any]:
    """Metadata of the materialization: status, drift, name, ARN and console link, AWS's own status, calls made."""
    kind = KINDS[resource.kind]
    metadata: dict[str, Any] = {"status": outcome.status, "drift": drift_table(outcome.drift)}
    observed = outcome.observed or {}
    name = resolve(resource.name, state)
    if is_resolved(name):
        metadata["name"] = str(name)
        target = Target(resource.key, resource.kind, resource.region, str(name), {})
        link = kind.console(target)
        if link:
            metadata["console"] = dg.MetadataValue.url(link)
        arn = kind.arn(target, observed)
        if arn:
            metadata["arn"] = str(arn)
    if observed.get("Status"):
        metadata["aws_status"] = str(observed["Status"])
    if outcome.calls:
        metadata["changes_made"] = ", ".join(outcome.calls)
    return metadata


def drift_table(drift: Iterable[Drift]) -> dg.TableMetadataValue:
    """The drifted fields as a table of texts."""
    records = [
        dg.TableRecord({"field": item.field, "desired": _text(item.desired), "observed": _text(item.observed)})
        for item in drift
    ]
    return dg.MetadataValue.table(records, _DRIFT_SCHEMA)


def check_result(key: dg.AssetKey, outcome: Outcome) -> dg.AssetCheckResult:
    """Passed when in sync; a warning while waiting; an error when absent or drifted."""
    severity = dg.AssetCheckSeverity.WARN if outcome.status == "waiting" else dg.AssetCheckSeverity.ERROR
    # In provision mode `drift` is what was corrected: the check reports the state now.
    shown = () if outcome.good else outcome.drift
    return dg.AssetCheckResult(
        passed=outcome.good,
        check_name=CHECK,
        asset_key=key,
        severity=severity,
        description=outcome.reason or outcome.status.replace("_", " "),
        metadata={
            "status": outcome.status,
            "fields": ", ".join(item.field for item in shown) or "none",
            "drift": drift_table(shown),
        },
    )


def version_of(outcome: Outcome) -> str:
    """Data version: a hash of the observed values of the desired fields. It changes with drift only."""
    if outcome.observed is None:
        return "absent"
    return digest({field: _scoped(outcome.desired[field], outcome.observed.get(field)) for field in outcome.desired})


def _scoped(want: Any, have: Any) -> Any:
    """Of tags, only the desired ones: tags that others added do not change the version."""
    if isinstance(want, Mapping) and isinstance(have, Mapping) and "TaskID" in want:
        return {key: have.get(key) for key in want}
    return have


def _text(value: Any) -> str:
    return "not set" if value is None else value if isinstance(value, str) else repr(value)
