"""The Terraform twin: which address each asset has in `infra/`, import blocks for it, and its drift in our words.

Pure but for `refresh_only`, which runs the terraform binary in a working directory it is given. May import `core`,
`catalog`, `stack`, `errors`, `world`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Set
from pathlib import Path
from typing import Any

from dr_assets.core.expressions import canonical
from dr_assets.core.model import Drift, Resource
from dr_assets.errors import DrError
from dr_assets.reconcile.stack_state import StackState
from dr_assets.stack import Stack

DIRECTORY_VARIABLE = "DR_TERRAFORM_DIR"

# Area/name of a site's resource -> its address below module.SITE …
_MODULE = {
    "network/vpc": "aws_vpc.this",
    "network/subnet-{n}": "aws_subnet.private[{i}]",
    "network/route-table": "aws_route_table.private",
    "network/route-table-association-{n}": "aws_route_table_association.private[{i}]",
    "network/security-group": "aws_security_group.database",
    "network/db-subnet-group": "aws_db_subnet_group.this",
    "encryption/data-key": "aws_kms_key.data",
    "encryption/data-alias": "aws_kms_alias.data",
    "encryption/notifications-key": "aws_kms_key.notifications",
    "encryption/notifications-alias": "aws_kms_alias.notifications",
    "identity/monitoring-role": "aws_iam_role.monitoring",
    "identity/monitoring-attachment": "aws_iam_role_policy_attachment.monitoring",
    "aurora/cluster-parameter-group": "aws_rds_cluster_parameter_group.this",
    "aurora/instance-parameter-group": "aws_db_parameter_group.this",
    "aurora/log-group": "aws_cloudwatch_log_group.postgresql",
    "credentials/secret": "aws_secretsmanager_secret.master",
    "backup/bucket": "aws_s3_bucket.exports",
    "backup/versioning": "aws_s3_bucket_versioning.exports",
    "backup/encryption": "aws_s3_bucket_server_side_encryption_configuration.exports",
    "backup/public-access-block": "aws_s3_bucket_public_access_block.exports",
    "backup/policy": "aws_s3_bucket_policy.exports",
    "backup/lifecycle": "aws_s3_bucket_lifecycle_configuration.exports",
    "notifications/topic": "aws_sns_topic.events",
    "notifications/topic-policy": "aws_sns_topic_policy.events",
    "notifications/dead-letter-queue": "aws_sqs_queue.dead_letter",
    "notifications/dead-letter-policy": "aws_sqs_queue_policy.dead_letter",
    "notifications/queue": "aws_sqs_queue.events",
    "notifications/queue-policy": "aws_sqs_queue_policy.events",
    "notifications/queue-subscription": "aws_sns_topic_subscription.queue",
    "monitoring/alarm-replication-lag": 'aws_cloudwatch_metric_alarm.lag["replication-lag"]',
    "monitoring/alarm-rpo-lag": 'aws_cloudwatch_metric_alarm.lag["rpo-lag"]',
    "monitoring/alarm-cpu": 'aws_cloudwatch_metric_alarm.state["cpu"]',
    "monitoring/alarm-connections": 'aws_cloudwatch_metric_alarm.state["connections"]',
    "monitoring/alarm-connectivity": 'aws_cloudwatch_metric_alarm.state["connectivity"]',
    "monitoring/alarm-takes-writes": "aws_cloudwatch_metric_alarm.takes_writes",
}
# … and what needs the clusters, flat in the root.
_ROOT = {
    "aurora/cluster": "aws_rds_cluster.{site}",
    "aurora/instance-{n}": "aws_rds_cluster_instance.{site}[{i}]",
    "credentials/password": "aws_secretsmanager_secret_version.seed",
    "credentials/version": "aws_secretsmanager_secret_version.{site}",
    "notifications/event-subscription": "aws_db_event_subscription.{site}",
    "dns/health-check": 'aws_route53_health_check.connectivity["{site}"]',
    "dns/health-check-lag": 'aws_route53_health_check.lag["{site}"]',
    "dns/health-check-https": 'aws_route53_health_check.https["{site}"]',
}
_GLOBAL = {
    "global/aurora/global-cluster": "aws_rds_global_cluster.this",
    "global/backup/replication-role": "aws_iam_role.replication",
    "global/backup/replication-role-policy": "aws_iam_role_policy.replication",
    "global/backup/replication-from-primary": "aws_s3_bucket_replication_configuration.from_primary",
    "global/backup/replication-from-secondary": "aws_s3_bucket_replication_configuration.from_secondary",
    "global/network/peering": "aws_vpc_peering_connection.sites",
    "global/network/route-to-primary": "aws_route.to_primary",
    "global/network/route-to-secondary": "aws_route.to_secondary",
    "global/dns/zone": "aws_route53_zone.private",
    "global/dns/health-check-failover": "aws_route53_health_check.failover",
    "global/dns/health-check-home": "aws_route53_health_check.home",
    "global/dns/health-check-not-moved": "aws_route53_health_check.not_moved",
    "global/dns/health-check-seen-home": "aws_route53_health_check.seen_home",
    "global/dns/record-primary": "aws_route53_record.primary",
    "global/dns/record-secondary": "aws_route53_record.secondary",
}
# The other region's half of the peering is a resource of its own to Terraform; to us it is the peering's `Accepted`.
ACCEPTER = "aws_vpc_peering_connection_accepter.sites"
# What `lifecycle.ignore_changes` leaves to AWS (a plan's JSON does not tell): no drift. A test holds this to infra/*.tf.
IGNORED: Mapping[str, Set[str]] = {
    "aws_rds_global_cluster.this": {"engine_version", "database_name"},
    "aws_rds_cluster.primary": {
        "replication_source_identifier",
        "global_cluster_identifier",
        "engine_version",
        "database_name",
        "master_username",
    },
    "aws_rds_cluster.secondary": {"replication_source_identifier", "global_cluster_identifier", "engine_version"},
    "aws_secretsmanager_secret_version.seed": {"version_stages"},
    "aws_cloudwatch_metric_alarm.lag": {"treat_missing_data"},
}


def address(stack: Stack, key: str) -> str:
    """The address in `infra/` of the asset `key`. Raises KeyError for a key the twin does not have."""
    if key in _GLOBAL:
        return _GLOBAL[key]
    site, rest = key.split("/", 1)
    if rest.startswith("notifications/email-"):
        email = stack.alert_emails[int(rest.rsplit("-", 1)[1]) - 1]
        return f'module.{site}.aws_sns_topic_subscription.email["{email}"]'
    stem, _, number = rest.rpartition("-")
    if number.isdigit():
        rest, index = f"{stem}-{{n}}", int(number) - 1
    else:
        index = 0
    if rest in _ROOT:
        return _ROOT[rest].format(site=site, i=index)
    return f"module.{site}." + _MODULE[rest].replace("{i}", str(index))


def addresses(stack: Stack, keys: Mapping[str, Resource]) -> dict[str, str]:
    """Key -> address for all of them."""
    return {key: address(stack, key) for key in keys}


# --- import blocks ---------------------------------------------------------------------------------------------------


def import_id(world: StackState, key: str) -> str:
    """The id under which `terraform import` finds the asset. Raises DrError where it is absent."""
    resource = world.resources[key]
    observed = world.observe(resource)
    if observed is None:
        raise DrError(f"{key} is absent, so there is nothing to import. Run `dr provision` first.")
    name = world.name(resource)
    special: dict[str, Callable[[], str]] = {
        "ec2.route_table_association": lambda: f"{world.identity(resource)['SubnetId']}/{observed['RouteTableId']}",
        "ec2.route": lambda: f"{observed['RouteTableId']}_{resource.identity['Destination']}",
        "iam.role_attachment": lambda: f"{resource.identity['RoleName']}/{name}",
        "iam.role_policy": lambda: f"{resource.identity['RoleName']}:{name}",
        "route53.record": lambda: "_".join(
            (
                world.identity(resource)["ZoneId"],
                resource.identity["RecordName"],
                "CNAME",
                resource.identity["SetIdentifier"],
            )
        ),
        "sqs.queue_policy": lambda: str(observed["QueueUrl"]),
        "sns.topic_policy": lambda: str(observed["TopicArn"]),
    }
    if resource.kind in special:
        return special[resource.kind]()
    field = _ID_FIELD.get(resource.kind)
    return str(observed[field]) if field else name


_ID_FIELD = {
    "ec2.vpc": "VpcId",
    "ec2.subnet": "SubnetId",
    "ec2.route_table": "RouteTableId",
    "ec2.security_group": "GroupId",
    "ec2.peering": "VpcPeeringConnectionId",
    "kms.key": "KeyId",
    "secretsmanager.secret": "Arn",
    "sns.topic": "Arn",
    "sns.subscription": "Arn",
    "sqs.queue": "QueueUrl",
    "route53.health_check": "HealthCheckId",
    "route53.zone": "ZoneId",
}


# Importing a secret's version would read its text, the password included, into the state. Terraform writes versions of its
# own instead, with the password it reads back: nothing changes but the version.
_NEVER_IMPORTED = frozenset({"secretsmanager.password", "secretsmanager.version"})
_IMPORTS_HEAD = """# Adopts what `dr provision` built. The secrets' versions are left out on purpose: importing them would put the
# password into the state. Terraform writes new versions with the same password, read back from the current one.
"""


def imports(world: StackState) -> str:
    """Import blocks for what the stack has in AWS, to be put beside `infra/*.tf`; never the secrets' versions.

    Raises DrError where something is absent or AWS does not answer.
    """
    world.snapshot()
    wanted = [resource.key for resource in world.resources.values() if resource.kind not in _NEVER_IMPORTED]
    blocks = [(address(world.stack, key), import_id(world, key)) for key in wanted]
    blocks.append((ACCEPTER, import_id(world, "global/network/peering")))
    return (
        _IMPORTS_HEAD
        + "\n"
        + "\n".join(f"import {{\n  to = {where}\n  id = {json.dumps(what)}\n}}\n" for where, what in blocks)
    )


# --- drift as Terraform sees it --------------------------------------------------------------------------------------


def plan_drift(stack: Stack, keys: Mapping[str, Resource], plan: Mapping[str, Any]) -> dict[str, tuple[Drift, ...]]:
    """`resource_drift` of `terraform show -json` as drifts by asset key; attributes in Terraform's names.

    Only attributes that the configuration sets can drift: the rest of what a refresh brings in belongs to AWS or to another
    resource (a bucket's policy, a route table's routes). Null and empty
    mean the same. A resource that is gone shows as one drift of the field "exists". Values that Terraform calls sensitive
    are not shown.
    """
    by_address = {where: key for key, where in addresses(stack, keys).items()} | {ACCEPTER: "global/network/peering"}
    configured = _configured(plan.get("configuration", {}).get("root_module", {}))
    found: dict[str, tuple[Drift, ...]] = {}
    for item in plan.get("resource_drift", ()):
        key = by_address.get(item["address"])
        if key is None:
            continue
        change = item["change"]
        if "delete" in change["actions"]:
            drift: tuple[Drift, ...] = (Drift("exists", True, False),)
        else:
            base = _INDEX.sub("", item["address"])
            set_here = configured.get(base, frozenset())
            drift = _changed(change, set_here - IGNORED.get(".".join(base.split(".")[-2:]), set()))
        if drift:
            found[key] = found.get(key, ()) + drift
    return found


_INDEX = re.compile(r"\[[^]]*\]")


def _configured(module: Mapping[str, Any], prefix: str = "") -> dict[str, frozenset[str]]:
    """Address without index -> the attributes and blocks its resource block sets."""
    found = {
        prefix + resource["address"]: frozenset(resource.get("expressions", ()))
        for resource in module.get("resources", ())
    }
    for name, call in module.get("module_calls", {}).items():
        found |= _configured(call.get("module", {}), f"{prefix}module.{name}.")
    return found


def _changed(change: Mapping[str, Any], names: Set[str]) -> tuple[Drift, ...]:
    before, after = change.get("before") or {}, change.get("after") or {}
    hidden = {
        name
        for side in ("before_sensitive", "after_sensitive")
        for name, marks in _entries(change.get(side))
        if _any(marks)
    }
    return tuple(
        Drift(name, *(("<sensitive>",) * 2 if name in hidden else (before.get(name), after.get(name))))
        for name in sorted({*before, *after} & names)
        if _normal(before.get(name)) != _normal(after.get(name))
    )


def _entries(marks: Any) -> list[tuple[str, Any]]:
    return list(marks.items()) if isinstance(marks, Mapping) else []


def _any(marks: Any) -> bool:
    """Whether any part is marked: Terraform mirrors the value's structure, with true where it is sensitive."""
    if isinstance(marks, Mapping):
        return any(_any(item) for item in marks.values())
    if isinstance(marks, list):
        return any(_any(item) for item in marks)
    return bool(marks)


def _normal(value: Any) -> str:
    """Null, empty text, empty list and empty map are one; policies are compared as the JSON they are."""
    if value in (None, "", [], {}, False, 0):
        return ""
    if isinstance(value, str) and value[:1] in "{[":
        try:
            return canonical(json.loads(value))
        except json.JSONDecodeError:
            return canonical(value)
    if isinstance(value, Mapping):
        return canonical({name: item for name, item in value.items() if _normal(item)})
    return canonical(value)


def working_directory() -> Path | None:
    """The initialised Terraform directory named by DR_TERRAFORM_DIR, or None."""
    named = os.environ.get(DIRECTORY_VARIABLE)
    return Path(named) if named else None


def refresh_only(directory: Path) -> dict[str, Any]:
    """`terraform plan -refresh-only` there, as JSON. Raises DrError: no terraform, no such directory, not initialised."""
    if shutil.which("terraform") is None:
        raise DrError("terraform is not on the PATH. Install Terraform 1.11 or newer, or unset DR_TERRAFORM_DIR.")
    if not (directory / ".terraform").is_dir():
        raise DrError(
            f"{directory} is not an initialised Terraform directory. Run `terraform init` there, or correct {DIRECTORY_VARIABLE}."
        )
    plan = directory / ".dr-refresh.tfplan"
    try:
        _terraform(directory, "plan", "-refresh-only", "-input=false", "-no-color", "-lock=false", f"-out={plan.name}")
        document: dict[str, Any] = json.loads(_terraform(directory, "show", "-json", plan.name))
        return document
    finally:
        plan.unlink(missing_ok=True)


def _terraform(directory: Path, *arguments: str) -> str:
    done = subprocess.run(["terraform", *arguments], cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise DrError(f"terraform {arguments[0]} failed in {directory}: {(done.stderr or done.stdout).strip()[-1500:]}")
    return done.stdout
