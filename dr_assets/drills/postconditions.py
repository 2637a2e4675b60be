"""Did it end as it must? Conditions evaluated after a drill, like preconditions; and whether the data are protected again.

May import what `preconditions` may.
"""

from __future__ import annotations

from collections.abc import Mapping

from dr_assets import utc
from dr_assets.aws import Aws
from dr_assets.drills.aws_view import Scene
from dr_assets.drills.plan import Plan, Scenario
from dr_assets.drills.preconditions import EVERY, Check
from dr_assets.stack import Stack


def writer_moved(scene: Scene) -> str | None:
    topology = scene.topology
    if topology.in_transition:
        return f"a change of the writer is still under way ({topology.in_transition})"
    return None if topology.writer == scene.to_site else f"the writer is at the {topology.writer} site"


def clients_arrive(scene: Scene) -> str | None:
    there, target = scene.writer_address(), scene.target_address()
    if (there.ip, there.port) == (target.ip, target.port):
        return None
    return f"{scene.writer_endpoint} leads to {there.ip}, the {scene.to_site} cluster is at {target.ip}"


def secrets_current(scene: Scene) -> str | None:
    return scene.wrong("/credentials/")


def buckets_replicate(scene: Scene) -> str | None:
    """Objects written at the new writer's site reach the other one, and backups are kept as they must be."""
    return scene.wrong("/backup/")


def alarms_in_place(scene: Scene) -> str | None:
    return scene.wrong("/monitoring/", "/notifications/")


def zero_drift(scene: Scene) -> str | None:
    return scene.wrong()


POSTCONDITIONS: Mapping[str, tuple[Check, tuple[Scenario, ...]]] = {
    "writer-moved": (writer_moved, EVERY),
    "clients-arrive": (clients_arrive, EVERY),
    "secrets-current": (secrets_current, EVERY),
    "buckets-replicate": (buckets_replicate, EVERY),
    "alarms-in-place": (alarms_in_place, EVERY),
    "zero-drift": (zero_drift, EVERY),
}


def unprotected(stack: Stack, aws: Aws, plan: Plan) -> str | None:
    """Why the data have no usable reader yet, or None. Raises UnansweredError, AwsCallError.

    A reader is usable when its cluster and an instance are available, AWS calls it synchronised, and its replication lag is
    fresh and within the plan's gate.
    """
    scene = Scene(stack, aws, plan.scenario, plan.to_site, plan.from_site, plan.lag_gate_ms)  # looks at the new reader
    members = {item["DBClusterArn"]: item for item in scene.global_cluster["GlobalClusterMembers"]}
    member = members.get(scene.target_arn, {})
    if member.get("SynchronizationStatus", "connected") != "connected":
        return f"the {plan.from_site} cluster is {member['SynchronizationStatus']}"
    if scene.target_cluster["Status"] != "available":
        return f"the {plan.from_site} cluster is {scene.target_cluster['Status']}"
    if not any(item["DBInstanceStatus"] == "available" for item in scene.target_instances):
        return f"no instance of the {plan.from_site} cluster is available"
    found = scene.lag()
    if found is None or (utc.now() - found[1]).total_seconds() > scene.lag_fresh_seconds:
        return f"the {plan.from_site} cluster reports no lag yet"
    if found[0] > plan.lag_gate_ms:
        return f"the {plan.from_site} cluster is {found[0]:.0f} ms behind"
    return None
