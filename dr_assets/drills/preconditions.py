"""Preconditions of a drill: each returns None or the reason why the drill may not act; all are evaluated, and all are shown.

A precondition that cannot be evaluated is *unknown*, which blocks like a failed one. A failover evaluates only those marked
for it: they need nothing but the region that is to take over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import MappingProxyType
from typing import Any

from dr_assets.core.freshness import Unknown
from dr_assets.drills.aws_view import AwsView
from dr_assets.drills.bucket_replication import bucket_replicated
from dr_assets.drills.parts import Condition, Override, current_name
from dr_assets.drills.plan import GOOD_PROBES, LAG_GATE_MS, Plan, Scenario
from dr_assets.errors import DrError, RefusedError
from dr_assets.postgres.connection import connect
from dr_assets.resources import names
from dr_assets.resources.notifications.recipients import recipients
from dr_assets.resources.parity import compare_pair, pairs

Check = Callable[[AwsView], "str | None"]
PLANNED: tuple[Scenario, ...] = ("switchover", "failback")
EVERY: tuple[Scenario, ...] = ("switchover", "failover", "failback")


def one_writer(view: AwsView) -> str | None:
    topology = view.topology
    if topology.in_transition:
        return f"a change of the writer is under way ({topology.in_transition}); wait for it to end"
    if topology.problem:
        return topology.problem
    if topology.writer is None:
        return "the global cluster has no writer; provision the stack"
    if topology.writer != view.from_site:
        return f"the writer is at the {topology.writer} site, not at the {view.from_site} site"
    return None


def target_available(view: AwsView) -> str | None:
    status = view.target_cluster["Status"]
    if status != "available":
        return f"the cluster {view.cluster_id(view.to_site)} is {status}"
    if behind := view.topology.unsynchronized.get(view.to_site):
        return f"the cluster {view.cluster_id(view.to_site)} is {behind}: it does not hold the writer's data yet"
    states = {item["DBInstanceIdentifier"]: item["DBInstanceStatus"] for item in view.target_instances}
    if "available" not in states.values():
        found = ", ".join(f"{name} {state}" for name, state in states.items()) or "there is none"
        return f"no instance at the {view.to_site} site is available: {found}"
    return None


def engine_compatible(view: AwsView) -> str | None:
    # AWS: a switchover needs the same major and minor version, some releases also the same patch level.
    here, there = view.target_cluster["EngineVersion"], view.global_cluster["EngineVersion"]
    return None if here == there else f"the target runs {here}, the global cluster {there}: upgrade the target first"


def lag(view: AwsView) -> str | None:
    """Fresh and within the gate. A partition shows as growing or silent lag, never as none."""
    found = view.lag()
    if isinstance(found, Unknown):
        raise DrError(f"the last lag reading: {found}")
    if found.value > view.lag_gate_ms:
        return f"replication is {found.value:.0f} ms behind; the gate is {view.lag_gate_ms:.0f} ms"
    return None


def key_enabled(view: AwsView) -> str | None:
    key = view.target_cluster.get("KmsKeyId")
    if not key:
        return "the target's storage is not encrypted with a key of its own"
    state = view.call("kms", "describe_key", view.to_region, KeyId=key)["KeyMetadata"]["KeyState"]
    return None if state == "Enabled" else f"the target's data key is {state}: its storage would be unreadable"


def secret_opens_target(view: AwsView) -> str | None:
    """The target site's secret names the target's endpoint, and its password opens the reader there."""
    endpoint = view.target_writer_endpoint()
    if view.credentials.host != endpoint:
        return f"the target's secret names the host {view.credentials.host}, not {endpoint}"
    with connect(view.target_address(), view.credentials, read_only=True) as connection:
        row = connection.execute("select pg_is_in_recovery()").fetchone()
    if not row or row[0] is not True:
        return f"{endpoint} is not a reader: it accepts writes already"
    return None


def alert_subscription_confirmed(view: AwsView) -> str | None:
    name = names.topic(view.stack, view.to_site)
    arn = names.arn("sns", name, region=view.to_region, account=view.target_arn.split(":")[4])
    found = view.call("sns", "list_subscriptions_by_topic", view.to_region, TopicArn=arn)["Subscriptions"]
    if recipients(view.stack, found):
        return None
    return (
        f"the topic {name} has no confirmed subscription but the stack's own queue: no one would be notified. "
        "Set alert_emails in the stack file, provision, and confirm the e-mail."
    )


def parity(view: AwsView) -> str | None:
    state = view.state
    _ = view.verification
    unequal = []
    for second, first in pairs(state.resources.values()):
        found = compare_pair(second, first, state.observe(second), state.observe(first))
        if not found.equal:
            fields = ", ".join(item.field for item in found.differences)
            unequal.append(f"{second.key} ({found.reason or fields})")
    return f"the sites differ: {'; '.join(unequal)}" if unequal else None


def keys_enabled(view: AwsView) -> str | None:
    return view.out_of_sync("/encryption/")


def secrets_current(view: AwsView) -> str | None:
    return view.out_of_sync("/credentials/")


def health_checks_attached(view: AwsView) -> str | None:
    return view.out_of_sync("/dns/")


def desired_state(view: AwsView) -> str | None:
    return view.out_of_sync()


PRECONDITIONS: Mapping[str, tuple[Check, tuple[Scenario, ...]]] = {
    "one-writer": (one_writer, EVERY),
    "target-available": (target_available, EVERY),
    "engine-compatible": (engine_compatible, EVERY),
    "lag": (lag, EVERY),
    "key-enabled": (key_enabled, EVERY),
    "secret-opens-target": (secret_opens_target, EVERY),
    "alert-subscription-confirmed": (alert_subscription_confirmed, EVERY),
    "parity": (parity, PLANNED),
    "keys-enabled": (keys_enabled, PLANNED),
    "secrets-current": (secrets_current, PLANNED),
    "health-checks-attached": (health_checks_attached, PLANNED),
    "bucket-replicated": (bucket_replicated, PLANNED),
    "desired-state": (desired_state, PLANNED),
}


def evaluate(
    view: AwsView,
    checks: Mapping[str, tuple[Check, tuple[Scenario, ...]]] = PRECONDITIONS,
    known: Mapping[str, Condition] = MappingProxyType({}),
) -> list[Condition]:
    """Every condition of the scenario, evaluated concurrently; one that cannot be evaluated is unknown and never raises.

    Those in `known` are taken as they are.
    """
    wanted = {name: check for name, (check, scenarios) in checks.items() if view.scenario in scenarios}
    if view.scenario in PLANNED:
        _touch(lambda: view.verification)  # one concurrent verification, before eight threads need it
    _touch(lambda: (view.global_cluster, view.target_cluster))
    with ThreadPoolExecutor(8, thread_name_prefix="precondition") as pool:
        return list(pool.map(lambda item: known.get(item[0]) or _one(view, *item), wanted.items()))


def _touch(read: Callable[[], Any]) -> None:
    with suppress(Exception):  # every condition that needs it reports the error itself
        read()


def _one(view: AwsView, name: str, check: Check) -> Condition:
    try:
        reason = check(view)
    except Exception as error:  # whatever it is: a condition that cannot be evaluated is unknown, and blocks
        return Condition(name=name, passed=None, reason=f"unknown: {error}")
    return Condition(name=name, passed=reason is None, reason=reason)


# Settings of the plan that let more through than their default: acting with one takes an override of this name.
WIDENED: Mapping[str, Callable[[Plan], str | None]] = {
    "lag-gate": lambda plan: (
        f"the lag gate is {plan.lag_gate_ms:g} ms in place of {LAG_GATE_MS:g} ms"
        if plan.lag_gate_ms > LAG_GATE_MS
        else None
    ),
    "probes": lambda plan: (
        f"{plan.good_probes:g} good writes count as recovered, in place of {GOOD_PROBES}"
        if plan.good_probes < GOOD_PROBES
        else None
    ),
}
# Whatever else is known: with two writers, or none, a change of the writer is no repair.
NEVER_OVERRIDDEN = frozenset({"one-writer"})


def widened(plan: Plan) -> list[Condition]:
    """A failed condition for each setting of the plan that lets more through than its default."""
    found = ((name, reason(plan)) for name, reason in WIDENED.items())
    return [Condition(name=name, passed=False, reason=reason) for name, reason in found if reason]


def refuse_overrides(overrides: Iterable[Override]) -> None:
    """Raises RefusedError for an override that names nothing, may not be overridden, or lacks a reason or a person."""
    known = [name for name in (*PRECONDITIONS, *WIDENED) if name not in NEVER_OVERRIDDEN]
    for item in overrides:
        if current_name(item.precondition) in NEVER_OVERRIDDEN:
            raise RefusedError(f"{item.precondition} cannot be overridden: remove its cause.")
        if current_name(item.precondition) not in known:
            raise RefusedError(f"There is no {item.precondition!r} to override, but: {', '.join(known)}.")
        if not item.reason.strip() or not item.by.strip():
            raise RefusedError(f"Overriding {item.precondition} takes a reason and the name of a person. Give both.")


def blocking(conditions: Iterable[Condition], overrides: Iterable[Override]) -> list[Condition]:
    """The conditions that block the drill and are not overridden."""
    overridden = {current_name(override.precondition) for override in overrides} - NEVER_OVERRIDDEN
    return [condition for condition in conditions if condition.passed is not True and condition.name not in overridden]
