"""RDS backend mixin: parameter groups, event subscriptions and tags.

A mixin of `rds.backend.AuroraBackend`.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from moto.rds.exceptions import (
    DBClusterParameterGroupNotFoundError,
    DBParameterGroupNotFoundError,
    DBSubnetGroupNotFoundError,
    RDSClientError,
    SubscriptionNotFoundError,
)
from moto.rds.models import RDSBackend

from dr_assets.emulator.clock import clock
from dr_assets.emulator.rds.checks import check_identifier
from dr_assets.emulator.rds.instances import AuroraInstance
from dr_assets.emulator.rds.parameters import check_changes, effective, waits_for_reboot


class Groups:
    """Mixin: groups, subscriptions and tags of one region."""

    account_id: str
    region_name: str
    clusters: Any
    databases: Any
    db_parameter_groups: Any
    db_cluster_parameter_groups: Any
    event_subscriptions: Any
    subnet_groups: Any

    # -- parameter groups ----------------------------------------------------------------------------------------------

    def set_parameters(self, group: Any, parameters: Iterable[dict[str, Any]]) -> None:
        """Modify with AWS's checks. Static ones wait for a reboot, and dynamic ones that were sent as `pending-reboot`."""
        wanted = list(parameters)
        check_changes(wanted)
        before = effective(group)
        for parameter in wanted:
            kept = {key: parameter[key] for key in ("ParameterValue", "ApplyMethod") if key in parameter}
            group.parameters[parameter["ParameterName"]].update(kept)
        later = [item["ParameterName"] for item in wanted if item["ApplyMethod"] == "pending-reboot"]
        self._wait_for_reboot(group, before, later)

    def reset_parameters(self, group: Any, names: Iterable[str] | None) -> None:
        """ResetDB(Cluster)ParameterGroup. moto: lacks it. `None` resets all."""
        before = effective(group)
        for name in list(group.parameters) if names is None else names:
            group.parameters.pop(name, None)
        self._wait_for_reboot(group, before, ())

    def _wait_for_reboot(self, group: Any, before: Mapping[str, str | None], later: Iterable[str]) -> None:
        if not waits_for_reboot(before, effective(group), later):
            return
        for instance in self.databases.values():
            if not isinstance(instance, AuroraInstance):
                continue
            if group is self.db_parameter_groups.get(instance.db_parameter_group_name or ""):
                instance.pending_reboot.add("instance")
            if group is self.db_cluster_parameter_groups.get(instance.cluster.parameter_group):
                instance.pending_reboot.add("cluster")

    def instance_group(self, name: str) -> Any:
        """A DB parameter group, else DBParameterGroupNotFound."""
        if name not in self.db_parameter_groups:
            raise DBParameterGroupNotFoundError(name)
        return self.db_parameter_groups[name]

    def cluster_group(self, name: str) -> Any:
        """A cluster parameter group, else DBParameterGroupNotFound."""
        if name not in self.db_cluster_parameter_groups:
            raise DBClusterParameterGroupNotFoundError(name)
        return self.db_cluster_parameter_groups[name]

    def create_db_parameter_group(self, db_parameter_group_kwargs: dict[str, Any]) -> Any:
        """moto: takes any name."""
        check_identifier("DBParameterGroupName", db_parameter_group_kwargs["db_parameter_group_name"], 255)
        return RDSBackend.create_db_parameter_group(self, db_parameter_group_kwargs)  # type: ignore[arg-type]

    def create_db_cluster_parameter_group(self, db_cluster_parameter_group_name: str, *args: Any, **params: Any) -> Any:
        """moto: takes any name."""
        check_identifier("DBClusterParameterGroupName", db_cluster_parameter_group_name, 255)
        group = RDSBackend.create_db_cluster_parameter_group(
            self,  # type: ignore[arg-type]
            db_cluster_parameter_group_name,
            *args,
            **params,
        )
        group.made = clock.now()
        return group

    def delete_db_parameter_group(self, db_parameter_group_name: str) -> Any:
        """moto: also while instances use it."""
        if any(item.db_parameter_group_name == db_parameter_group_name for item in self.databases.values()):
            raise _in_use(db_parameter_group_name)
        return RDSBackend.delete_db_parameter_group(self, db_parameter_group_name)  # type: ignore[arg-type]

    def delete_db_cluster_parameter_group(self, db_cluster_parameter_group_name: str) -> None:
        """moto: also while clusters use it."""
        if any(item.parameter_group == db_cluster_parameter_group_name for item in self.clusters.values()):
            raise _in_use(db_cluster_parameter_group_name)
        RDSBackend.delete_db_cluster_parameter_group(self, db_cluster_parameter_group_name)  # type: ignore[arg-type]

    # -- subnet groups -------------------------------------------------------------------------------------------------

    def create_subnet_group(self, subnet_name: str, description: str, subnets: list[Any], tags: Any) -> Any:
        """moto: overwrites a group of the same name, and takes fewer than two zones."""
        if subnet_name in self.subnet_groups:
            raise RDSClientError("DBSubnetGroupAlreadyExists", f"The DB subnet group '{subnet_name}' already exists.")
        self._two_zones(subnets)
        return RDSBackend.create_subnet_group(self, subnet_name, description, subnets, tags)  # type: ignore[arg-type]

    def modify_db_subnet_group(self, subnet_name: str, description: str, subnets: list[Any]) -> Any:
        """moto: removes the group it modifies."""
        if subnet_name not in self.subnet_groups:
            raise DBSubnetGroupNotFoundError(subnet_name)
        group = self.subnet_groups[subnet_name]
        if subnets:
            self._two_zones(subnets)
            group.subnets = subnets
        if description is not None:
            group.description = description
        return group

    def delete_subnet_group(self, subnet_name: str) -> Any:
        """moto: also while clusters use it."""
        if any(item.db_subnet_group_name == subnet_name for item in self.clusters.values()):
            raise RDSClientError(
                "InvalidDBSubnetGroupStateFault", f"Cannot delete the subnet group '{subnet_name}': it is in use."
            )
        return RDSBackend.delete_subnet_group(self, subnet_name)  # type: ignore[arg-type]

    @staticmethod
    def _two_zones(subnets: list[Any]) -> None:
        if len({subnet.availability_zone for subnet in subnets}) < 2:
            raise RDSClientError(
                "DBSubnetGroupDoesNotCoverEnoughAZs",
                "The DB subnet group doesn't meet Availability Zone (AZ) coverage requirement. "
                "Add subnets to cover at least 2 AZs.",
            )

    # -- event subscriptions -------------------------------------------------------------------------------------------

    def create_event_subscription(self, kwargs: Any) -> Any:
        """moto: disabled by default (AWS: enabled), and accepts a topic that does not exist."""
        params = dict(kwargs)
        if params.get("enabled") is None:
            params["enabled"] = True
        self._topic(params["sns_topic_arn"])
        if params.get("source_ids") and not params.get("source_type"):
            raise RDSClientError("InvalidParameterCombination", "SourceType must be specified when SourceIds are")
        item = RDSBackend.create_event_subscription(self, params)  # type: ignore[arg-type]
        # moto: answers neither the account nor the time.
        item.customer_aws_id = self.account_id
        item.subscription_creation_time = item.created_at.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
        return item

    def modify_event_subscription(self, params: dict[str, Any]) -> Any:
        """ModifyEventSubscription. moto: lacks it."""
        item = self.subscription(params["subscription_name"])
        if params.get("sns_topic_arn"):
            self._topic(params["sns_topic_arn"])
            item.sns_topic_arn = params["sns_topic_arn"]
        if params.get("source_type") is not None:
            item.source_type = params["source_type"]
        if params.get("event_categories") is not None:
            item.event_categories = list(params["event_categories"])
        if params.get("enabled") is not None:
            item.enabled = params["enabled"]
        return item

    def change_source(self, name: str, source: str, add: bool) -> Any:
        """AddSourceIdentifierToSubscription, RemoveSourceIdentifierFromSubscription. moto: lacks both."""
        item = self.subscription(name)
        if add:
            item.source_ids = [*[known for known in item.source_ids if known != source], source]
        elif source not in item.source_ids:
            raise RDSClientError("SourceNotFound", f"Source {source} is not part of subscription {name}")
        else:
            item.source_ids = [known for known in item.source_ids if known != source]
        return item

    def subscription(self, name: str) -> Any:
        """A subscription, else SubscriptionNotFound."""
        if name not in self.event_subscriptions:
            raise SubscriptionNotFoundError(name)
        return self.event_subscriptions[name]

    def _topic(self, arn: str) -> None:
        from moto.sns.models import sns_backends

        parts = arn.split(":")
        region = parts[3] if len(parts) > 5 else self.region_name
        if arn not in sns_backends[self.account_id][region].topics:
            raise RDSClientError("SNSTopicArnNotFound", f"The SNS topic {arn} does not exist")

    # -- tags ----------------------------------------------------------------------------------------------------------

    def _get_resource_for_tagging(self, arn: str) -> Any:
        """moto: refuses global clusters (their ARN has no region) and answers no tags for what does not exist."""
        parts = arn.split(":", 6)
        if len(parts) != 7 or parts[2] != "rds":
            raise RDSClientError("InvalidParameterValue", f"Invalid resource name: {arn}")
        kind, name = parts[5], parts[6]
        if kind == "global-cluster":
            return self.find_global(name)  # type: ignore[attr-defined]
        found = self._find_resource(kind, name) if parts[3] == self.region_name else None  # type: ignore[attr-defined]
        if found is None:
            codes = {"db": "DBInstanceNotFound", "cluster": "DBClusterNotFoundFault"}
            code = codes.get(kind, "InvalidParameterValue")
            raise RDSClientError(
                code, f"The specified resource name does not match an RDS resource in this region: {arn}"
            )
        return found


def _in_use(name: str) -> RDSClientError:
    return RDSClientError("InvalidDBParameterGroupState", f"One or more DB resources use the parameter group {name}.")
