"""Aurora: the global cluster, the two clusters and their instances; the log group they write to. May import `core`, `kinds`.

What is written and what is read have different names in RDS's API; each difference is noted at its field.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError

from dr_assets.core.model import Call, Drift, Kind, Observed, Reads, Target, changed_fields, error_code
from dr_assets.resources.aurora import parameter_groups
from dr_assets.resources.tags import drifted_tags, from_tag_list, own_tags, to_tag_list

# In these states a cluster or instance can be used and changed.
_READY = frozenset({"available", "backing-up", "storage-optimization"})
# These do not pass by waiting: somebody has to act (RDS and Aurora user guides, "Viewing DB cluster / instance status").
# They show as a drift of `Condition`, which nothing here can heal, and they do not stand in the way of deleting.
_BROKEN = frozenset(
    {
        "cloning-failed",
        "failed",
        "inaccessible-encryption-credentials",
        "inaccessible-encryption-credentials-recoverable",
        "incompatible-create",
        "incompatible-network",
        "incompatible-option-group",
        "incompatible-parameters",
        "incompatible-restore",
        "insufficient-capacity",
        "migration-failed",
        "restore-error",
        "stopped",
        "storage-full",
        "unsupported-configuration",
    }
)
USABLE = "usable"


def global_cluster(reads: Reads, region: str, name: str) -> Mapping[str, Any] | None:
    """The global cluster's description, the same from every region it has a member in, or None."""
    try:
        answer = reads.call("rds", "describe_global_clusters", region, GlobalClusterIdentifier=name)
    except ClientError as error:
        if error_code(error) == "GlobalClusterNotFoundFault":
            return None
        raise
    return next(iter(answer["GlobalClusters"]), None)


class GlobalCluster(Kind):
    name = "rds.global_cluster"
    label = "Aurora global cluster"
    compute_kinds = ("aurora", "postgres")
    owned = frozenset({"EngineVersion"})
    immutable = frozenset({"Engine", "StorageEncrypted"})
    read_actions = ("rds:DescribeGlobalClusters", "rds:ListTagsForResource")
    write_actions = (
        "rds:CreateGlobalCluster",
        "rds:ModifyGlobalCluster",
        "rds:DeleteGlobalCluster",
        "rds:AddTagsToResource",
    )

    def read(self, reads: Reads, batch: Sequence[Target]) -> dict[str, Observed | None]:
        return {target.key: self._observe(reads, target) for target in batch}

    def _observe(self, reads: Reads, target: Target) -> Observed | None:
        found = global_cluster(reads, target.region, target.name)
        if found is None:
            return None
        tags = reads.call("rds", "list_tags_for_resource", target.region, ResourceName=found["GlobalClusterArn"])
        return {
            "GlobalClusterIdentifier": found["GlobalClusterIdentifier"],
            "Arn": found["GlobalClusterArn"],
            "Status": found.get("Status"),
            "Endpoint": found.get("Endpoint"),
            "Engine": found["Engine"],
            "EngineVersion": found.get("EngineVersion"),
            "StorageEncrypted": found.get("StorageEncrypted", False),
            "DeletionProtection": found.get("DeletionProtection", False),
            "Members": sorted(member["DBClusterArn"] for member in found.get("GlobalClusterMembers", ())),
            "Tags": from_tag_list(tags["TagList"]),
        }

    def create(self, target: Target) -> Call:
        want = target.desired
        params = {
            "GlobalClusterIdentifier": target.name,
            **{name: want[name] for name in ("Engine", "EngineVersion", "StorageEncrypted", "DeletionProtection")},
            "Tags": to_tag_list(want["Tags"]),
        }
        return Call("rds", "create_global_cluster", params)

    def update(self, target: Target, observed: Observed, drift: Sequence[Drift]) -> Call:
        if "DeletionProtection" in changed_fields(drift):
            value = target.desired["DeletionProtection"]
            return Call(
                "rds", "modify_global_cluster", {"GlobalClusterIdentifier": target.name, "DeletionProtection": value}
            )
        return _tag_call(target, observed, drift)

    def delete(self, target: Target, observed: Observed) -> Call:
        return Call("rds", "delete_global_cluster", {"GlobalClusterIdentifier": target.name})

    def waiting(self, observed: Observed) -> str | None:
        return _waiting("global cluster", observed)

    def console(self, target: Target) -> str:
        return _console(target)


# Field as it is read and desired -> parameter of ModifyDBCluster, where that is called differently.
_CLUSTER_PARAMETER = {
    "DBClusterParameterGroup": "DBClusterParameterGroupName",
    "IAMDatabaseAuthenticationEnabled": "EnableIAMDatabaseAuthentication",
}


class Cluster(Kind):
    """identity: GlobalCluster. settings: MasterUserPassword (a Sensitive) at the primary, SourceRegion at the secondary.

    `GlobalClusterIdentifier` is asserted from the global cluster's member list: a detached member cannot be put back in
    place, so a difference is reported and never healed. SourceRegion is botocore's own: it signs a second request with it
    (PreSignedUrl), without which RDS lets no encrypted cluster join from another region.
    `Condition` is "usable", or the status in which the cluster is stuck.
    """

    name = "rds.cluster"
    label = "Aurora cluster"
    compute_kinds = ("aurora", "postgres")
    owned = frozenset({"EngineVersion", "ReplicationSourceIdentifier"})
    immutable = frozenset(
        {
            "Engine",
            "DatabaseName",
            "MasterUsername",
            "StorageEncrypted",
            "KmsKeyId",
            "DBSubnetGroup",
            "GlobalClusterIdentifier",
            "Condition",
        }
    )
    read_actions = ("rds:DescribeDBClusters", "rds:DescribeGlobalClusters")
    write_actions = (
        "rds:CreateDBCluster",
        "rds:ModifyDBCluster",
        "rds:RemoveFromGlobalCluster",
        "rds:DeleteDBCluster",
        "rds:AddTagsToResource",
        "kms:CreateGrant",
        "kms:DescribeKey",
        # The first cluster of an account makes RDS's service-linked role.
        "iam:CreateServiceLinkedRole",
    )

    def read(self, reads: Reads, batch: Sequence[Target]) -> dict[str, Observed | None]:
        return {target.key: self._observe(reads, target) for target in batch}

    def _observe(self, reads: Reads, target: Target) -> Observed | None:
        try:
            answer = reads.call("rds", "describe_db_clusters", target.region, DBClusterIdentifier=target.name)
        except ClientError as error:
            if error_code(error) == "DBClusterNotFoundFault":
                return None
            raise
        cluster = answer["DBClusters"][0]
        top = global_cluster(reads, target.region, target.identity["GlobalCluster"])
        members = {member["DBClusterArn"] for member in (top or {}).get("GlobalClusterMembers", ())}
        member = cluster["DBClusterArn"] in members
        same_name = (
            "Engine",
            "EngineVersion",
            "DatabaseName",
            "MasterUsername",
            "BackupRetentionPeriod",
            "PreferredBackupWindow",
            "PreferredMaintenanceWindow",
            "KmsKeyId",
            "DBSubnetGroup",
            "DBClusterParameterGroup",
            "Port",
            "Endpoint",
            "ReaderEndpoint",
            "DbClusterResourceId",
        )
        return {
            **{name: cluster.get(name) for name in same_name},
            "Arn": cluster["DBClusterArn"],
            "Status": cluster["Status"],
            "Condition": _condition(cluster["Status"]),
            "Pending": sorted(cluster.get("PendingModifiedValues") or ()),
            "GlobalStatus": (top or {}).get("Status") if member else None,
            "StorageEncrypted": cluster.get("StorageEncrypted", False),
            "VpcSecurityGroupIds": sorted(
                group["VpcSecurityGroupId"] for group in cluster.get("VpcSecurityGroups", ())
            ),
            "EnabledCloudwatchLogsExports": sorted(cluster.get("EnabledCloudwatchLogsExports", ())),
            "IAMDatabaseAuthenticationEnabled": cluster.get("IAMDatabaseAuthenticationEnabled", False),
            "DeletionProtection": cluster.get("DeletionProtection", False),
            "CopyTagsToSnapshot": cluster.get("CopyTagsToSnapshot", False),
            "GlobalClusterIdentifier": target.identity["GlobalCluster"] if member else None,
            "Tags": from_tag_list(cluster.get("TagList")),
        }

    def create(self, target: Target) -> Call:
        want = target.desired
        params = {
            "DBClusterIdentifier": target.name,
            "GlobalClusterIdentifier": target.identity["GlobalCluster"],
            "DBSubnetGroupName": want["DBSubnetGroup"],
            "DBClusterParameterGroupName": want["DBClusterParameterGroup"],
            "EnableCloudwatchLogsExports": want["EnabledCloudwatchLogsExports"],
            "EnableIAMDatabaseAuthentication": want["IAMDatabaseAuthenticationEnabled"],
            "Tags": to_tag_list(want["Tags"]),
            # A secondary takes no database name, master user or password: it receives the primary's.
            **target.settings,
        }
        for name in (
            "Engine",
            "EngineVersion",
            "DatabaseName",
            "MasterUsername",
            "BackupRetentionPeriod",
            "PreferredBackupWindow",
            "PreferredMaintenanceWindow",
            "StorageEncrypted",
            "KmsKeyId",
            "VpcSecurityGroupIds",
            "DeletionProtection",
            "CopyTagsToSnapshot",
            "Port",
        ):
            if name in want:
                params[name] = want[name]
        return Call("rds", "create_db_cluster", params)

    def update(self, target: Target, observed: Observed, drift: Sequence[Drift]) -> Call:
        changed = changed_fields(drift)
        if changed == {"Tags"}:
            return _tag_call(target, observed, drift)
        params: dict[str, Any] = {"DBClusterIdentifier": target.name, "ApplyImmediately": True}
        for name in sorted(changed - {"Tags"}):
            if name == "EnabledCloudwatchLogsExports":
                want, have = set(target.desired[name]), set(observed[name])
                lists = {"EnableLogTypes": sorted(want - have), "DisableLogTypes": sorted(have - want)}
                params["CloudwatchLogsExportConfiguration"] = {key: value for key, value in lists.items() if value}
            else:
                params[_CLUSTER_PARAMETER.get(name, name)] = target.desired[name]
        return Call("rds", "modify_db_cluster", params)

    def delete(self, target: Target, observed: Observed) -> Call:
        if observed["GlobalClusterIdentifier"]:
            params = {
                "GlobalClusterIdentifier": observed["GlobalClusterIdentifier"],
                "DbClusterIdentifier": observed["Arn"],
            }
            return Call("rds", "remove_from_global_cluster", params)
        return Call("rds", "delete_db_cluster", {"DBClusterIdentifier": target.name, "SkipFinalSnapshot": True})

    def waiting(self, observed: Observed) -> str | None:
        # While members come, go or swap roles, RDS takes no other change of a member; its own status may not show that.
        if observed["GlobalStatus"] not in (None, *_READY):
            return f"the global cluster it belongs to is {observed['GlobalStatus']}"
        return _waiting("cluster", observed)

    def console(self, target: Target) -> str:
        return _console(target, ";is-cluster=true")


class Instance(Kind):
    """identity: Cluster. One call describes all instances of a cluster.

    `PerformanceInsights` is None while it is off, else {KMSKeyId, RetentionPeriod (days)}: RDS has three fields for that,
    two of which vanish with the first. `Condition` is "usable", or the status in which the instance is stuck. `Pending`
    names what RDS has accepted but not done yet.
    """

    name = "rds.instance"
    label = "Aurora instance"
    compute_kinds = ("aurora", "postgres")
    immutable = frozenset({"AvailabilityZone", "Condition"})
    read_actions = ("rds:DescribeDBInstances",)
    write_actions = (
        "rds:CreateDBInstance",
        "rds:ModifyDBInstance",
        "rds:DeleteDBInstance",
        "rds:AddTagsToResource",
        "iam:PassRole",
    )
    _fields = (
        "DBInstanceClass",
        "AvailabilityZone",
        "PubliclyAccessible",
        "MonitoringInterval",
        "MonitoringRoleArn",
        "AutoMinorVersionUpgrade",
        "PromotionTier",
    )

    def read(self, reads: Reads, batch: Sequence[Target]) -> dict[str, Observed | None]:
        found: dict[str, Mapping[str, Any]] = {}
        for cluster in sorted({target.identity["Cluster"] for target in batch}):
            filters = [{"Name": "db-cluster-id", "Values": [cluster]}]
            try:
                items = reads.pages("rds", "describe_db_instances", batch[0].region, "DBInstances", Filters=filters)
            except ClientError as error:
                # Some answer a filter by an absent cluster with an error instead of an empty list.
                if error_code(error) == "DBClusterNotFoundFault":
                    continue
                raise
            found.update({item["DBInstanceIdentifier"]: item for item in items})
        return {t.key: self._observe(found[t.name]) if t.name in found else None for t in batch}

    def _observe(self, instance: Mapping[str, Any]) -> Observed:
        groups = [group["DBParameterGroupName"] for group in instance.get("DBParameterGroups", ())]
        return {
            **{name: instance.get(name) for name in self._fields},
            "PerformanceInsights": {
                "KMSKeyId": instance.get("PerformanceInsightsKMSKeyId"),
                "RetentionPeriod": instance.get("PerformanceInsightsRetentionPeriod"),
            }
            if instance.get("PerformanceInsightsEnabled")
            else None,
            "Arn": instance["DBInstanceArn"],
            "Status": instance["DBInstanceStatus"],
            "Condition": _condition(instance["DBInstanceStatus"]),
            "Endpoint": (instance.get("Endpoint") or {}).get("Address"),
            "DBParameterGroup": groups[0] if groups else None,
            "Pending": sorted(instance.get("PendingModifiedValues") or ()),
            "Tags": from_tag_list(instance.get("TagList")),
        }

    def create(self, target: Target) -> Call:
        want = target.desired
        params = {
            "DBInstanceIdentifier": target.name,
            "DBClusterIdentifier": target.identity["Cluster"],
            "Engine": target.settings["Engine"],
            "Tags": to_tag_list(want["Tags"]),
            **{name: want[name] for name in self._fields},
            "DBParameterGroupName": want["DBParameterGroup"],
            **_insights(want["PerformanceInsights"]),
        }
        return Call("rds", "create_db_instance", params)

    def update(self, target: Target, observed: Observed, drift: Sequence[Drift]) -> Call:
        changed = changed_fields(drift)
        if changed == {"Tags"}:
            return _tag_call(target, observed, drift)
        params: dict[str, Any] = {"DBInstanceIdentifier": target.name, "ApplyImmediately": True}
        for name in sorted(changed - {"Tags", "PerformanceInsights", "DBParameterGroup"}):
            params[name] = target.desired[name]
        if "DBParameterGroup" in changed:
            params["DBParameterGroupName"] = target.desired["DBParameterGroup"]
        if "PerformanceInsights" in changed:
            params |= _insights(target.desired["PerformanceInsights"])
        # RDS takes one of these only together with the other.
        if "MonitoringRoleArn" in params or "MonitoringInterval" in params:
            params |= {name: target.desired[name] for name in ("MonitoringInterval", "MonitoringRoleArn")}
        return Call("rds", "modify_db_instance", params)

    def delete(self, target: Target, observed: Observed) -> Call:
        return Call("rds", "delete_db_instance", {"DBInstanceIdentifier": target.name, "SkipFinalSnapshot": True})

    def waiting(self, observed: Observed) -> str | None:
        return _waiting("instance", observed)

    def console(self, target: Target) -> str:
        return _console(target, ";is-cluster=false")


class LogGroup(Kind):
    """Made before the cluster: else RDS makes it, to be kept for ever."""

    name = "logs.log_group"
    label = "log group"
    compute_kinds = ("cloudwatch",)
    read_actions = ("logs:DescribeLogGroups", "logs:ListTagsForResource")
    write_actions = ("logs:CreateLogGroup", "logs:PutRetentionPolicy", "logs:TagResource", "logs:DeleteLogGroup")

    def read(self, reads: Reads, batch: Sequence[Target]) -> dict[str, Observed | None]:
        return {target.key: self._observe(reads, target) for target in batch}

    def _observe(self, reads: Reads, target: Target) -> Observed | None:
        groups = reads.pages("logs", "describe_log_groups", target.region, "logGroups", logGroupNamePrefix=target.name)
        group = next((item for item in groups if item["logGroupName"] == target.name), None)
        if group is None:
            return None
        # Older answers end in ":*", which the tagging calls do not take.
        arn = group["arn"].removesuffix(":*")
        tags = reads.call("logs", "list_tags_for_resource", target.region, resourceArn=arn)["tags"]
        return {
            "Name": target.name,
            "Arn": arn,
            "RetentionInDays": group.get("retentionInDays"),
            "Tags": own_tags(tags),
        }

    def create(self, target: Target) -> Call:
        return Call("logs", "create_log_group", {"logGroupName": target.name, "tags": dict(target.desired["Tags"])})

    def update(self, target: Target, observed: Observed, drift: Sequence[Drift]) -> Call:
        if "RetentionInDays" in changed_fields(drift):
            params = {"logGroupName": target.name, "retentionInDays": target.desired["RetentionInDays"]}
            return Call("logs", "put_retention_policy", params)
        return Call(
            "logs", "tag_resource", {"resourceArn": observed["Arn"], "tags": drifted_tags(target.desired, drift)}
        )

    def delete(self, target: Target, observed: Observed) -> Call:
        return Call("logs", "delete_log_group", {"logGroupName": target.name})


def _insights(wanted: Mapping[str, Any] | None) -> dict[str, Any]:
    """Performance Insights as the parameters of Create and ModifyDBInstance."""
    if wanted is None:
        return {"EnablePerformanceInsights": False}
    return {
        "EnablePerformanceInsights": True,
        "PerformanceInsightsKMSKeyId": wanted["KMSKeyId"],
        "PerformanceInsightsRetentionPeriod": wanted["RetentionPeriod"],
    }


def _tag_call(target: Target, observed: Observed, drift: Sequence[Drift]) -> Call:
    tags = to_tag_list(drifted_tags(target.desired, drift))
    return Call("rds", "add_tags_to_resource", {"ResourceName": observed["Arn"], "Tags": tags})


def _condition(status: str) -> str:
    return status if status in _BROKEN else USABLE


def _waiting(what: str, observed: Observed) -> str | None:
    if observed["Status"] in _BROKEN:
        return None
    if observed["Status"] not in _READY:
        return f"the {what} is {observed['Status']}"
    if observed.get("Pending"):
        return f"the {what} has changes pending: {', '.join(observed['Pending'])}"
    return None


def _console(target: Target, more: str = "") -> str:
    return f"https://{target.region}.console.aws.amazon.com/rds/home?region={target.region}#database:id={target.name}{more}"


KINDS: tuple[Kind, ...] = (*parameter_groups.KINDS, GlobalCluster(), Cluster(), Instance(), LogGroup())
