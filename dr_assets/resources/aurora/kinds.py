"""Aurora: the global cluster, the two clusters, and the log group they write to.

What is written and what is read have different names in RDS's API; each difference is noted at its field.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from botocore.exceptions import ClientError

from dr_assets.core.model import (
    ALL,
    OWN,
    Call,
    Drift,
    Kind,
    Observed,
    Reads,
    Target,
    changed_fields,
    error_code,
    permit,
)
from dr_assets.resources.aurora import parameter_groups, states
from dr_assets.resources.aurora.instances import Instance
from dr_assets.resources.names import full_key_arn
from dr_assets.resources.tags import drifted_tags, from_tag_list, own_tags, rds_tags, tag_rds, to_tag_list


def global_cluster(reads: Reads, region: str, name: str) -> Mapping[str, Any] | None:
    """The global cluster's description, the same from every region it has a member in, or None."""
    try:
        answer = reads.call("rds", "describe_global_clusters", region, GlobalClusterIdentifier=name)
    except ClientError as error:
        if error_code(error) == "GlobalClusterNotFoundFault":
            return None
        raise
    # By name, too: other emulators answer with all.
    return next((found for found in answer["GlobalClusters"] if found["GlobalClusterIdentifier"] == name), None)


class GlobalCluster(Kind):
    name = "rds.global_cluster"
    keeps_data = (
        "Correct the stack file if that is right. Otherwise keep it and move the data: restore a snapshot beside it, or "
        "use a blue/green deployment; AWS Support can help."
    )
    label = "Aurora global cluster"
    compute_kinds = ("aurora", "postgres")
    owned = frozenset({"EngineVersion"})
    immutable = frozenset({"Engine", "StorageEncrypted"})
    # Global: no region in its ARN.
    resource_arn = "rds::{account}:global-cluster:{name}"
    read_actions = permit("rds:DescribeGlobalClusters", "rds:ListTagsForResource")
    write_actions = permit(
        "rds:CreateGlobalCluster", "rds:ModifyGlobalCluster", "rds:DeleteGlobalCluster", "rds:AddTagsToResource"
    )
    least_reads = (2, 0)  # describe, tags
    terraform = ("aws_rds_global_cluster",)
    console_url = states.CONSOLE

    def observe(self, reads: Reads, target: Target) -> Observed | None:
        found = global_cluster(reads, target.region, target.name)
        if found is None:
            return None
        tags = rds_tags(reads, target, found["GlobalClusterArn"])
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
            "Tags": tags,
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
        return tag_rds(target, observed, drift)

    def delete(self, target: Target, observed: Observed) -> Call:
        return Call("rds", "delete_global_cluster", {"GlobalClusterIdentifier": target.name})

    def waiting(self, observed: Observed) -> str | None:
        return states.waiting("global cluster", observed)


def writer_endpoint(reads: Reads, region: str, cluster: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """(name, status) of a cluster's writer endpoint; (None, None) where AWS names none.

    DescribeDBClusters leaves `Endpoint` out at a secondary (terraform-provider-aws#14219): its writer endpoint is `inactive`
    until it is promoted (RDS API, DBClusterEndpoint), and asked for apart. Where it is there, it is in use.
    """
    if cluster.get("Endpoint"):
        return cluster["Endpoint"], "available"
    found = reads.pages(
        "rds",
        "describe_db_cluster_endpoints",
        region,
        "DBClusterEndpoints",
        DBClusterIdentifier=cluster["DBClusterIdentifier"],
    )
    writer: Mapping[str, Any] = next((item for item in found if item.get("EndpointType") == "WRITER"), {})
    return writer.get("Endpoint"), writer.get("Status")


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
    `Condition` is "usable", or the status in which the cluster is stuck. `DBClusterParameterGroupStatus` is "in-sync", or what its
    parameter group waits for at which instances. `Endpoint` is the writer endpoint whatever the role,
    `EndpointStatus` its status: `inactive` at a reader. `Pending` as at an instance.
    """

    name = "rds.cluster"
    keeps_data = (
        "Correct the stack file if that is right. Otherwise keep the cluster and move the data: restore a snapshot beside it, or "
        "use a blue/green deployment; AWS Support can help."
    )
    remedies: ClassVar[Mapping[str, str]] = {
        "KmsKeyId": (
            "the storage stays encrypted with the key it was made with. Recover that key if it is disabled or scheduled for "
            "deletion (aws kms cancel-key-deletion, then enable-key). If it no longer exists, do not stop, restart or modify "
            "this cluster, which RDS could not open again: make the other site the writer, whose copy has a key of its own."
        ),
        "Condition": (
            "an operator has to act; the RDS events of the cluster say why. Inaccessible encryption credentials: enable its KMS key "
            "(`dr provision` does), then aws rds start-db-cluster, within seven days. Stopped: aws rds start-db-cluster."
        ),
        "DBClusterParameterGroupStatus": states.REBOOT,
        "Pending": states.WINDOW.format(operation="modify-db-cluster"),
    }
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
            "DBClusterParameterGroupStatus",
            "Condition",
            "Pending",
        }
    )
    parity = ("Engine", "EngineVersion", "BackupRetentionPeriod", "DeletionProtection", "EnabledCloudwatchLogsExports")
    absent_codes = ("DBClusterNotFoundFault",)
    resource_arn = "rds:{region}:{account}:cluster:{name}"
    read_actions = (
        permit("rds:DescribeDBClusters")
        | permit("rds:DescribeGlobalClusters", on="rds.global_cluster")
        | permit("rds:DescribeDBClusterEndpoints", on=(OWN, "rds:{region}:{account}:cluster-endpoint:*"))
    )
    write_actions = (
        permit("rds:DeleteDBCluster", "rds:AddTagsToResource")
        | permit("rds:RemoveFromGlobalCluster", on=(OWN, "rds.global_cluster"))
        | permit("rds:ModifyDBCluster", on=(OWN, "rds.cluster_parameter_group"))
        | permit(
            "rds:CreateDBCluster",
            on=(OWN, "rds.global_cluster", "rds.cluster_parameter_group", "rds.subnet_group", states.OPTION_GROUPS),
        )
        | permit("kms:CreateGrant", "kms:DescribeKey", on="kms.key")
        # The first cluster of an account makes RDS create its service-linked role. The preflight asks whether it exists; IAM knows
        # a role that does not exist by its name alone.
        | permit("iam:CreateServiceLinkedRole", on="iam::{account}:role/aws-service-role/rds.amazonaws.com/*")
        | permit(
            "iam:GetRole",
            on=("iam::{account}:role/aws-service-role/rds.amazonaws.com/*", "iam::{account}:role/AWSServiceRoleForRDS"),
        )
    )
    least_reads = (
        1,
        0,
    )  # its tags are in the description; the reader's writer endpoint is one more for the whole stack
    terraform = ("aws_rds_cluster",)
    console_url = f"{states.CONSOLE};is-cluster=true"
    # Changed in the maintenance window unless with ApplyImmediately (RDS API, ClusterPendingModifiedValues; the port restarts instances).
    _in_window = frozenset({"BackupRetentionPeriod", "IAMDatabaseAuthenticationEnabled", "Port"})

    def observe(self, reads: Reads, target: Target) -> Observed | None:
        answer = reads.call("rds", "describe_db_clusters", target.region, DBClusterIdentifier=target.name)
        cluster = answer["DBClusters"][0]
        top = global_cluster(reads, target.region, target.identity["GlobalCluster"])
        members = {member["DBClusterArn"] for member in (top or {}).get("GlobalClusterMembers", ())}
        member = cluster["DBClusterArn"] in members
        endpoint, status = writer_endpoint(reads, target.region, cluster)
        same_name = (
            "Engine",
            "EngineVersion",
            "DatabaseName",
            "MasterUsername",
            "BackupRetentionPeriod",
            "PreferredBackupWindow",
            "PreferredMaintenanceWindow",
            "DBSubnetGroup",
            "DBClusterParameterGroup",
            "Port",
            "ReaderEndpoint",
            "DbClusterResourceId",
        )
        return {
            **{name: cluster.get(name) for name in same_name},
            "Endpoint": endpoint,
            "EndpointStatus": status,
            "Arn": cluster["DBClusterArn"],
            "Status": cluster["Status"],
            "Condition": states.condition(cluster["Status"]),
            "DBClusterParameterGroupStatus": _parameter_status(cluster.get("DBClusterMembers", ())),
            "Pending": sorted(cluster.get("PendingModifiedValues") or ()),
            "GlobalStatus": (top or {}).get("Status") if member else None,
            "KmsKeyId": full_key_arn(cluster.get("KmsKeyId"), region=target.region, account=reads.account),
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

    def refine(self, desired: Mapping[str, Any], observed: Observed) -> Mapping[str, Any]:
        """A reader has the writer's databases and users. Whether AWS still shows these two for a former primary that it rebuilt after
        a failover is not documented ("returned for the life of the DB cluster": RDS API, DBCluster): not shown is no difference."""
        hidden = {name for name in ("DatabaseName", "MasterUsername") if observed[name] is None}
        if observed["EndpointStatus"] != "inactive" or not hidden:
            return desired
        return {name: value for name, value in desired.items() if name not in hidden}

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
            return tag_rds(target, observed, drift)
        fields, at_once = states.apply_immediately(changed - {"Tags"}, observed, self._in_window)
        params: dict[str, Any] = {"DBClusterIdentifier": target.name, "ApplyImmediately": at_once}
        for name in fields:
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
        if observed["GlobalStatus"] not in (None, *states.READY):
            return f"the global cluster it belongs to is {observed['GlobalStatus']}"
        if observed["DBClusterParameterGroupStatus"].startswith(states.APPLYING):
            return f"its parameters are {observed['DBClusterParameterGroupStatus']}"
        return states.waiting("cluster", observed)

    def pending(self, observed: Observed) -> Sequence[str]:
        return list(observed["Pending"])

    def waiting_to_delete(self, observed: Observed) -> str | None:
        # What waits for the maintenance window, for days perhaps, keeps nothing from being deleted.
        return self.waiting({**observed, "Pending": ()})


def _parameter_status(members: Sequence[Mapping[str, Any]]) -> str:
    """`in-sync`, or the statuses of the cluster's parameter group that are not, each with its instances."""
    at: dict[str, list[str]] = {}
    for member in members:
        status = str(member.get("DBClusterParameterGroupStatus") or "unknown")
        at.setdefault(status, []).append(member["DBInstanceIdentifier"])
    at.pop(states.IN_SYNC, None)
    return "; ".join(f"{status} at {', '.join(sorted(at[status]))}" for status in sorted(at)) or states.IN_SYNC


class LogGroup(Kind):
    """Made before the cluster: else RDS makes it, to be kept for ever, without tags (terraform-provider-aws#42858).

    That one is adopted: no one else can own the name.
    """

    name = "logs.log_group"
    keeps_data = "Correct the stack file, or export the logs to a bucket before anything else."
    label = "log group"
    compute_kinds = ("cloudwatch",)
    parity = ("RetentionInDays",)
    adopts_untagged = True
    # CloudWatch Logs checks some actions against the ARN with ":*" at its end, some without.
    resource_arn = "logs:{region}:{account}:log-group:{name}*"
    read_actions = permit("logs:ListTagsForResource") | permit("logs:DescribeLogGroups", on=ALL)
    write_actions = permit("logs:CreateLogGroup", "logs:PutRetentionPolicy", "logs:TagResource", "logs:DeleteLogGroup")
    least_reads = (2, 0)  # describe, tags
    terraform = ("aws_cloudwatch_log_group",)

    def observe(self, reads: Reads, target: Target) -> Observed | None:
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


KINDS: tuple[Kind, ...] = (*parameter_groups.KINDS, GlobalCluster(), Cluster(), Instance(), LogGroup())
