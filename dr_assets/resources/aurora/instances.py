"""Aurora instances: how they are read, created, changed and deleted through the RDS API."""

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
from dr_assets.resources.aurora import states
from dr_assets.resources.names import full_key_arn
from dr_assets.resources.tags import from_tag_list, tag_rds, to_tag_list


class Instance(Kind):
    """identity: Cluster. One call describes all instances of a cluster.

    `PerformanceInsights` is None while it is off, else {KMSKeyId, RetentionPeriod (days)}: RDS has three fields for that,
    two of which vanish with the first. `ParameterApplyStatus` is of its parameter group. `Condition` is "usable", or the status
    in which the instance is stuck. `Pending` names the changes that RDS has accepted and not made: those of this run's own
    ApplyImmediately pass, others wait for the maintenance window.
    """

    name = "rds.instance"
    label = "Aurora instance"
    compute_kinds = ("aurora", "postgres")
    keeps_data = (
        "The data are the cluster's, which keeps an instance to serve them: correct the stack file, or replace readers alone, one at a "
        "time, after a failover within the cluster where this one is its writer."
    )
    immutable = frozenset({"AvailabilityZone", "Condition", "ParameterApplyStatus", "Pending"})
    remedies: ClassVar[Mapping[str, str]] = {
        "Condition": (
            "an operator has to act; the RDS events of the instance say why. Stopped, or inaccessible encryption credentials: see its "
            "cluster, which is started as a whole (aws rds start-db-cluster)."
        ),
        "ParameterApplyStatus": states.REBOOT,
        "Pending": states.WINDOW.format(operation="modify-db-instance"),
    }
    parity = ("DBInstanceClass", "MonitoringInterval", "AutoMinorVersionUpgrade")
    resource_arn = "rds:{region}:{account}:db:{name}"
    # Asked for by cluster, not by name: IAM checks such a call against all instances.
    read_actions = permit("rds:DescribeDBInstances", on=ALL)
    write_actions = (
        permit("rds:DeleteDBInstance", "rds:AddTagsToResource")
        | permit("rds:ModifyDBInstance", on=(OWN, "rds.instance_parameter_group"))
        # With the engine's default option group, "authorized against both the db: ARN and the og: ARN" where there is one
        # (Service Authorization Reference, CreateDBInstance; cloud-gov/terraform-provision#2350).
        | permit(
            "rds:CreateDBInstance",
            on=(OWN, "rds.cluster", "rds.instance_parameter_group", "rds.subnet_group", states.OPTION_GROUPS),
        )
        | permit("iam:PassRole", on="iam.role")
    )
    least_reads = (0, 1)
    terraform = ("aws_rds_cluster_instance",)
    _fields = (
        "DBInstanceClass",
        "AvailabilityZone",
        "PubliclyAccessible",
        "MonitoringInterval",
        "MonitoringRoleArn",
        "AutoMinorVersionUpgrade",
        "PromotionTier",
    )
    console_url = f"{states.CONSOLE};is-cluster=false"
    # Changed in the maintenance window unless with ApplyImmediately (Aurora user guide, "Settings for Amazon Aurora").
    _in_window = frozenset({"DBInstanceClass"})

    def read(self, reads: Reads, batch: Sequence[Target]) -> dict[str, Observed | None]:
        found: dict[str, Mapping[str, Any]] = {}
        for cluster in sorted({target.identity["Cluster"] for target in batch}):
            filters = [{"Name": "db-cluster-id", "Values": [cluster]}]
            try:
                items = reads.pages("rds", "describe_db_instances", batch[0].region, "DBInstances", Filters=filters)
            except ClientError as error:
                # Some answer a filter by an absent cluster with an error instead of an empty list; DescribeDBInstances declares the
                # second one (RDS API), DescribeDBClusters the first.
                if error_code(error) in ("DBClusterNotFoundFault", "DBInstanceNotFound"):
                    continue
                raise
            found.update({item["DBInstanceIdentifier"]: item for item in items})
        return {t.key: self._observe(found[t.name], t, reads.account) if t.name in found else None for t in batch}

    def _observe(self, instance: Mapping[str, Any], target: Target, account: str) -> Observed:
        groups = instance.get("DBParameterGroups", ())
        return {
            **{name: instance.get(name) for name in self._fields},
            "PerformanceInsights": {
                "KMSKeyId": full_key_arn(
                    instance.get("PerformanceInsightsKMSKeyId"), region=target.region, account=account
                ),
                "RetentionPeriod": instance.get("PerformanceInsightsRetentionPeriod"),
            }
            if instance.get("PerformanceInsightsEnabled")
            else None,
            "Arn": instance["DBInstanceArn"],
            "Status": instance["DBInstanceStatus"],
            "Condition": states.condition(instance["DBInstanceStatus"]),
            "Endpoint": (instance.get("Endpoint") or {}).get("Address"),
            "DBParameterGroup": groups[0]["DBParameterGroupName"] if groups else None,
            "ParameterApplyStatus": groups[0].get("ParameterApplyStatus") if groups else None,
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
            return tag_rds(target, observed, drift)
        fields, at_once = states.apply_immediately(changed - {"Tags"}, observed, self._in_window)
        params: dict[str, Any] = {"DBInstanceIdentifier": target.name, "ApplyImmediately": at_once}
        for name in fields:
            if name not in ("PerformanceInsights", "DBParameterGroup"):
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
        if observed["ParameterApplyStatus"] == states.APPLYING:
            return "the instance's parameters are being applied"
        return states.waiting("instance", observed)

    def pending(self, observed: Observed) -> Sequence[str]:
        return list(observed["Pending"])

    def waiting_to_delete(self, observed: Observed) -> str | None:
        # What waits for the maintenance window, for days perhaps, keeps nothing from being deleted.
        return self.waiting({**observed, "Pending": ()})


def _insights(wanted: Mapping[str, Any] | None) -> dict[str, Any]:
    """Performance Insights as the parameters of Create and ModifyDBInstance."""
    if wanted is None:
        return {"EnablePerformanceInsights": False}
    return {
        "EnablePerformanceInsights": True,
        "PerformanceInsightsKMSKeyId": wanted["KMSKeyId"],
        "PerformanceInsightsRetentionPeriod": wanted["RetentionPeriod"],
    }
