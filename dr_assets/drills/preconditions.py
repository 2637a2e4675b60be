"""May the drill act? Each precondition returns None or the reason why not; all are evaluated, and all are shown.

May import `scene` and what it may. A precondition that cannot be evaluated is *unknown*, which blocks like a failed one.
Only those marked for a failover are asked of one: they need nothing but the region that is to take over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from dr_assets import utc
from dr_assets.drills.aws_view import Scene
from dr_assets.drills.plan import Scenario
from dr_assets.errors import DrError
from dr_assets.postgres.connection import connect
from dr_assets.resources import names
from dr_assets.resources.parity import compare_pair, pairs

Check = Callable[[Scene], "str | None"]
PLANNED: tuple[Scenario, ...] = ("switchover", "failback")
EVERY: tuple[Scenario, ...] = ("switchover", "failover", "failback")


@dataclass(frozen=True)
class Condition:
    """One condition and how it stands: `passed` is None where it is unknown, with the reason."""

    name: str
    passed: bool | None
    reason: str | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Override:
    """A precondition that somebody took upon themselves: `by` is a person's name."""

    precondition: str
    reason: str
    by: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def one_writer(scene: Scene) -> str | None:
    topology = scene.topology
    if topology.in_transition:
        return f"a change of the writer is under way ({topology.in_transition}); wait for it to end"
    if topology.writer is None:
        return "the global cluster has no writer; provision the stack"
    if topology.writer != scene.from_site:
        return f"the writer is at the {topology.writer} site, not at the {scene.from_site} site"
    return None


def target_available(scene: Scene) -> str | None:
    status = scene.target_cluster["Status"]
    if status != "available":
        return f"the cluster {scene.cluster_id(scene.to_site)} is {status}"
    states = {item["DBInstanceIdentifier"]: item["DBInstanceStatus"] for item in scene.target_instances}
    if "available" not in states.values():
        told = ", ".join(f"{name} {state}" for name, state in states.items()) or "there is none"
        return f"no instance at the {scene.to_site} site is available: {told}"
    return None


def engine_compatible(scene: Scene) -> str | None:
    # AWS: a switchover needs the same major and minor version, some releases also the same patch level.
    here, there = scene.target_cluster["EngineVersion"], scene.global_cluster["EngineVersion"]
    return None if here == there else f"the target runs {here}, the global cluster {there}: upgrade the target first"


def lag(scene: Scene) -> str | None:
    """Fresh and within the gate. A partition shows as growing or silent lag, never as none."""
    found = scene.lag()
    if found is None:
        raise DrError(f"CloudWatch has no replication lag of the last hour at the {scene.to_site} site")
    milliseconds, at = found
    age = (utc.now() - at).total_seconds()
    if age > scene.lag_fresh_seconds:
        raise DrError(f"the last lag reading is {age:.0f} s old (it was {milliseconds:.0f} ms)")
    if milliseconds > scene.lag_gate_ms:
        return f"replication is {milliseconds:.0f} ms behind; the gate is {scene.lag_gate_ms:.0f} ms"
    return None


def key_enabled(scene: Scene) -> str | None:
    key = scene.target_cluster.get("KmsKeyId")
    if not key:
        return "the target's storage is not encrypted with a key of its own"
    state = scene.call("kms", "describe_key", scene.to_region, KeyId=key)["KeyMetadata"]["KeyState"]
    return None if state == "Enabled" else f"the target's data key is {state}: its storage would be unreadable"


def secret_opens_target(scene: Scene) -> str | None:
    """The target site's secret names the target's endpoint, and its password opens the reader there."""
    endpoint = scene.target_cluster["Endpoint"]
    if scene.credentials.host != endpoint:
        return f"the target's secret names the host {scene.credentials.host}, not {endpoint}"
    with connect(scene.target_address(), scene.credentials, read_only=True) as connection:
        row = connection.execute("select pg_is_in_recovery()").fetchone()
    if not row or row[0] is not True:
        return f"{endpoint} is not a reader: it accepts writes already"
    return None


def someone_hears(scene: Scene) -> str | None:
    name = names.topic(scene.stack, scene.to_site)
    arn = names.arn("sns", name, region=scene.to_region, account=scene.target_arn.split(":")[4])
    found = scene.call("sns", "list_subscriptions_by_topic", scene.to_region, TopicArn=arn)["Subscriptions"]
    confirmed = [item for item in found if item["SubscriptionArn"].startswith("arn:")]
    return None if confirmed else f"the topic {name} has no confirmed subscription: nobody would hear of it"


def parity(scene: Scene) -> str | None:
    world = scene.world
    _ = scene.verification
    unequal = []
    for second, first in pairs(world.resources.values()):
        found = compare_pair(second, first, world.observe(second), world.observe(first))
        if not found.equal:
            fields = ", ".join(item.field for item in found.differences)
            unequal.append(f"{second.key} ({found.reason or fields})")
    return f"the sites differ: {'; '.join(unequal)}" if unequal else None


def keys_enabled(scene: Scene) -> str | None:
    return scene.wrong("/encryption/")


def secrets_current(scene: Scene) -> str | None:
    return scene.wrong("/credentials/")


def health_checks_attached(scene: Scene) -> str | None:
    return scene.wrong("/dns/")


def desired_state(scene: Scene) -> str | None:
    return scene.wrong()


def bucket_replicated(scene: Scene) -> str | None:
    """The newest objects of the writer's bucket have reached the other one (HeadObject's ReplicationStatus)."""
    bucket = scene.world.field(f"{scene.from_site}/backup/bucket", "Name")
    listed = scene.call("s3", "list_objects_v2", scene.from_region, Bucket=bucket).get("Contents", [])
    late = []
    for item in sorted(listed, key=lambda entry: entry["LastModified"], reverse=True)[:20]:
        head = scene.call("s3", "head_object", scene.from_region, Bucket=bucket, Key=item["Key"])
        if head.get("ReplicationStatus") in ("PENDING", "FAILED"):
            late.append(f"{item['Key']} {head['ReplicationStatus'].lower()}")
    return f"bucket {bucket} is backlogged: {', '.join(late[:5])}" if late else None


PRECONDITIONS: Mapping[str, tuple[Check, tuple[Scenario, ...]]] = {
    "one-writer": (one_writer, EVERY),
    "target-available": (target_available, EVERY),
    "engine-compatible": (engine_compatible, EVERY),
    "lag": (lag, EVERY),
    "key-enabled": (key_enabled, EVERY),
    "secret-opens-target": (secret_opens_target, EVERY),
    "someone-hears": (someone_hears, EVERY),
    "parity": (parity, PLANNED),
    "keys-enabled": (keys_enabled, PLANNED),
    "secrets-current": (secrets_current, PLANNED),
    "health-checks-attached": (health_checks_attached, PLANNED),
    "bucket-replicated": (bucket_replicated, PLANNED),
    "desired-state": (desired_state, PLANNED),
}


def evaluate(scene: Scene, checks: Mapping[str, tuple[Check, tuple[Scenario, ...]]] = PRECONDITIONS) -> list[Condition]:
    """Every condition of the scenario, evaluated side by side; never raises for one that cannot be told."""
    wanted = {name: check for name, (check, scenarios) in checks.items() if scene.scenario in scenarios}
    if scene.scenario in PLANNED:
        _touch(lambda: scene.verification)  # one concurrent look, before eight threads ask for it
    _touch(lambda: (scene.global_cluster, scene.target_cluster))
    with ThreadPoolExecutor(8, thread_name_prefix="precondition") as pool:
        return list(pool.map(lambda item: _one(scene, *item), wanted.items()))


def _touch(read: Callable[[], Any]) -> None:
    with suppress(Exception):  # every condition that needs it says so itself
        read()


def _one(scene: Scene, name: str, check: Check) -> Condition:
    try:
        reason = check(scene)
    except Exception as error:  # whatever it is: what cannot be told is unknown, and blocks
        return Condition(name, None, f"unknown: {error}")
    return Condition(name, reason is None, reason)


def blocking(conditions: Iterable[Condition], overrides: Iterable[Override]) -> list[Condition]:
    """The conditions that stand against acting and that nobody took upon themselves."""
    taken = {override.precondition for override in overrides}
    return [condition for condition in conditions if condition.passed is not True and condition.name not in taken]
