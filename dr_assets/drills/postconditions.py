"""Postconditions of a drill, among them that a reader replicates again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from dr_assets import utc
from dr_assets.aws import Aws
from dr_assets.core.freshness import Unknown
from dr_assets.drills.aws_view import AwsView
from dr_assets.drills.plan import Plan, Scenario
from dr_assets.drills.preconditions import EVERY, Check
from dr_assets.stack import Stack


def writer_moved(view: AwsView) -> str | None:
    topology = view.topology
    if topology.in_transition:
        return f"a change of the writer is still under way ({topology.in_transition})"
    return None if topology.writer == view.to_site else f"the writer is at the {topology.writer} site"


def clients_arrive(view: AwsView) -> str | None:
    there, target = view.writer_address(), view.target_address()
    if (there.ip, there.port) == (target.ip, target.port):
        return None
    return f"{view.writer_endpoint} leads to {there.ip}, the {view.to_site} cluster is at {target.ip}"


def secrets_current(view: AwsView) -> str | None:
    return view.out_of_sync("/credentials/")


def buckets_replicate(view: AwsView) -> str | None:
    """Objects written at the new writer's site reach the other one, and backups are kept as configured."""
    return view.out_of_sync("/backup/")


def alarms_in_place(view: AwsView) -> str | None:
    return view.out_of_sync("/monitoring/", "/notifications/")


def zero_drift(view: AwsView) -> str | None:
    return view.out_of_sync()


POSTCONDITIONS: Mapping[str, tuple[Check, tuple[Scenario, ...]]] = {
    "writer-moved": (writer_moved, EVERY),
    "clients-arrive": (clients_arrive, EVERY),
    "secrets-current": (secrets_current, EVERY),
    "buckets-replicate": (buckets_replicate, EVERY),
    "alarms-in-place": (alarms_in_place, EVERY),
    "zero-drift": (zero_drift, EVERY),
}


def unprotected(stack: Stack, aws: Aws, plan: Plan, since: datetime) -> str | None:
    """Why the data have no usable reader yet, or None. Raises UnansweredError, AwsCallError.

    A reader is usable when its cluster and an instance are available, AWS calls it synchronised, and its replication lag is
    fresh and within `plan.protected_lag_ms`. `since` (UTC): when the writer was moved. CloudWatch's metrics are minutes late, so the newest lag
    of a site that was a reader shortly before may be of that time; it does not count.
    """
    elapsed = (utc.now() - since).total_seconds()
    # From the new writer's side: the target of this view is the site that becomes a reader again.
    view = AwsView(
        stack, aws, plan.scenario, from_site=plan.to_site, to_site=plan.from_site, lag_gate_ms=plan.protected_lag_ms
    )
    members = {item["DBClusterArn"]: item for item in view.global_cluster["GlobalClusterMembers"]}
    member = members.get(view.target_arn, {})
    if member.get("SynchronizationStatus", "connected") != "connected":
        return f"the {plan.from_site} cluster is {member['SynchronizationStatus']}"
    if view.target_cluster["Status"] != "available":
        return f"the {plan.from_site} cluster is {view.target_cluster['Status']}"
    if not any(item["DBInstanceStatus"] == "available" for item in view.target_instances):
        return f"no instance of the {plan.from_site} cluster is available"
    found = view.lag()
    if isinstance(found, Unknown) or found.age >= elapsed:
        return f"the {plan.from_site} cluster reports no lag yet"
    if found.value > plan.protected_lag_ms:
        return f"the {plan.from_site} cluster is {found.value:.0f} ms behind"
    return None
