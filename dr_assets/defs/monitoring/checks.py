"""Declare the asset check `within_objective`. The sensors evaluate it; a manual run repeats their latest result."""

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from dr_assets import utc
from dr_assets.core.freshness import Unknown, elapsed
from dr_assets.defs.stack.assets import asset_key
from dr_assets.monitoring.rules import rules_for
from dr_assets.stack import Stack

CHECK = "within_objective"
# The sensors evaluate on every crossing and every ten minutes: an older evaluation means that they stopped.
STALE_SECONDS = 1500.0


def objective_checks(stack: Stack) -> list[dg.AssetCheckSpec]:
    """One spec for each resource that a monitoring rule names."""
    keys = dict.fromkeys(rule.resource for rule in rules_for(stack) if rule.resource)
    text = "The monitored values are within the objectives. The sensors evaluate this; a run repeats their latest evaluation."
    return [dg.AssetCheckSpec(CHECK, asset=asset_key(key), description=text) for key in keys]


def build_objective_check(stack: Stack) -> dg.AssetChecksDefinition:
    """Declares the checks that the sensors evaluate. Run by hand, it repeats the sensors' latest evaluation of each.

    Dagster (1.13) has no check without a computation, and runs that of every check whose asset is materialized by hand. So this
    one reads and judges nothing: without an evaluation it yields nothing, with a stale one it reports unknown.
    """

    @dg.multi_asset_check(name="latest_sensor_evaluation", specs=objective_checks(stack), can_subset=True)
    def latest_sensor_evaluation(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        for key in sorted(context.selected_asset_check_keys, key=lambda key: key.asset_key.path):
            found = _latest_evaluation(context.instance, key)
            if found is None:
                context.log.info(f"{key.asset_key.to_user_string()}: no sensor has evaluated it; start the sensors")
                continue
            latest, age = found
            stale = isinstance(age, Unknown) or age > STALE_SECONDS
            when = age.reason if isinstance(age, Unknown) else f"{age / 60:.0f} minutes old"
            text = f"unknown: the latest sensor evaluation is {when}; it was: {latest.description}"
            yield dg.AssetCheckResult(
                passed=latest.passed and not stale,
                check_name=key.name,
                asset_key=key.asset_key,
                severity=dg.AssetCheckSeverity.WARN if stale and latest.passed else latest.severity,
                description=text if stale else latest.description,
                metadata={"seconds_ago": "unknown" if isinstance(age, Unknown) else round(age)},
            )

    return latest_sensor_evaluation


def _latest_evaluation(
    instance: dg.DagsterInstance, key: dg.AssetCheckKey
) -> tuple[dg.AssetCheckEvaluation, float | Unknown] | None:
    """The newest evaluation that a sensor reported (it belongs to no run), and its age in seconds; one of the future has none."""
    records: Sequence[Any] = instance.event_log_storage.get_asset_check_execution_history(key, limit=100)
    for record in records:
        if record.evaluation is not None and not record.run_id:
            return record.evaluation, elapsed(utc.from_epoch(record.create_timestamp), utc.now())
    return None
