"""RDS API: actions that moto lacks or answers differently from AWS.

moto finds an action by its method name, so adding a method adds an action.
"""

from typing import Any

from moto.core.responses import ActionResult
from moto.rds.models import rds_backends
from moto.rds.responses import RDSResponse

from dr_assets.emulator.rds import engines
from dr_assets.emulator.rds.account import account_quotas
from dr_assets.emulator.rds.parameters import listed


class AuroraResponse(RDSResponse):  # type: ignore[misc]
    """The RDS API."""

    def call_action(self) -> Any:
        """Let time pass in every region before answering in one."""
        for backend in list(rds_backends[self.current_account].values()):
            backend.settle()
        return super().call_action()

    def _page(self, name: str, items: list[dict[str, Any]]) -> ActionResult:
        """One page of at most MaxRecords, 100 by default, with a Marker where more follow."""
        start, size = int(self.params.get("Marker") or 0), int(self.params.get("MaxRecords") or 100)
        more = {"Marker": str(start + size)} if start + size < len(items) else {}
        return ActionResult({name: items[start : start + size], **more})

    # -- global clusters -----------------------------------------------------------------------------------------------

    def create_global_cluster(self) -> ActionResult:
        """See `GlobalClusters.new_global_cluster`."""
        return ActionResult({"GlobalCluster": self.backend.new_global_cluster(self.params)})

    def describe_global_clusters(self) -> ActionResult:
        """The same answer in every region."""
        filters = {f["Name"]: f["Values"] for f in self.params.get("Filters") or []}
        found = self.backend.list_global_clusters(self.params.get("GlobalClusterIdentifier"), filters.get("region"))
        return ActionResult({"GlobalClusters": found})

    def modify_global_cluster(self) -> ActionResult:
        """moto: not implemented."""
        return ActionResult({"GlobalCluster": self.backend.modify_global_cluster(self.params)})

    def delete_global_cluster(self) -> ActionResult:
        """See `GlobalClusters.delete_global_cluster`."""
        return ActionResult(
            {"GlobalCluster": self.backend.delete_global_cluster(self.params["GlobalClusterIdentifier"])}
        )

    def remove_from_global_cluster(self) -> ActionResult:
        """Must be called in the member's region."""
        names = self.params["GlobalClusterIdentifier"], self.params["DbClusterIdentifier"]
        return ActionResult({"GlobalCluster": self.backend.detach(*names)})

    def switchover_global_cluster(self) -> ActionResult:
        """moto: not implemented."""
        names = self.params["GlobalClusterIdentifier"], self.params["TargetDbClusterIdentifier"]
        return ActionResult({"GlobalCluster": self.backend.switch_over(*names)})

    def failover_global_cluster(self) -> ActionResult:
        """moto: not implemented."""
        return ActionResult({"GlobalCluster": self.backend.fail_over(self.params)})

    def describe_account_attributes(self) -> ActionResult:
        """moto: not implemented."""
        return ActionResult({"AccountQuotas": account_quotas(self.backend)})

    # -- clusters ------------------------------------------------------------------------------------------------------

    def delete_db_cluster(self) -> ActionResult:
        """moto: ignores SkipFinalSnapshot."""
        cluster = self.backend.delete_db_cluster(
            self.params["DBClusterIdentifier"],
            self.params.get("FinalDBSnapshotIdentifier"),
            self.params.get("SkipFinalSnapshot"),
        )
        return ActionResult({"DBCluster": cluster})

    def describe_db_cluster_endpoints(self) -> ActionResult:
        """moto: not implemented. Custom endpoints are not emulated."""
        found = self.backend.cluster_endpoints(self.params.get("DBClusterIdentifier"), self.params.get("Filters") or [])
        return ActionResult({"DBClusterEndpoints": found})

    # -- what can be ordered -------------------------------------------------------------------------------------------

    def describe_db_engine_versions(self) -> ActionResult:
        """moto: not implemented."""
        return self._page("DBEngineVersions", engines.describe_versions(self.region, self.params))

    def describe_orderable_db_instance_options(self) -> ActionResult:
        """moto: versions and classes of 2021."""
        return self._page("OrderableDBInstanceOptions", engines.describe_orderable(self.region, self.params))

    # -- parameter groups ----------------------------------------------------------------------------------------------

    def describe_db_parameters(self) -> ActionResult:
        """See `parameters.listed`."""
        group = self.backend.instance_group(self.params["DBParameterGroupName"])
        return self._page("Parameters", listed(group, self.params))

    def describe_db_cluster_parameters(self) -> ActionResult:
        """See `parameters.listed`."""
        group = self.backend.cluster_group(self.params["DBClusterParameterGroupName"])
        return self._page("Parameters", listed(group, self.params))

    def modify_db_parameter_group(self) -> ActionResult:
        """Refuse what AWS refuses; see `Groups.set_parameters`."""
        group = self.backend.instance_group(self.params["DBParameterGroupName"])
        self.backend.set_parameters(group, self._parameters())
        return ActionResult({"DBParameterGroupName": group.name})

    def modify_db_cluster_parameter_group(self) -> ActionResult:
        """Refuse what AWS refuses; see `Groups.set_parameters`."""
        group = self.backend.cluster_group(self.params["DBClusterParameterGroupName"])
        self.backend.set_parameters(group, self._parameters())
        return ActionResult({"DBClusterParameterGroupName": group.name})

    def reset_db_parameter_group(self) -> ActionResult:
        """moto: not implemented."""
        group = self.backend.instance_group(self.params["DBParameterGroupName"])
        self.backend.reset_parameters(group, self._names_to_reset())
        return ActionResult({"DBParameterGroupName": group.name})

    def reset_db_cluster_parameter_group(self) -> ActionResult:
        """moto: not implemented."""
        group = self.backend.cluster_group(self.params["DBClusterParameterGroupName"])
        self.backend.reset_parameters(group, self._names_to_reset())
        return ActionResult({"DBClusterParameterGroupName": group.name})

    def describe_db_parameter_groups(self) -> ActionResult:
        """An unknown group is an error at AWS; moto answers an empty list."""
        if name := self.params.get("DBParameterGroupName"):
            self.backend.instance_group(name)
        return super().describe_db_parameter_groups()

    def _parameters(self) -> list[dict[str, Any]]:
        return [parameter.original_dict() for parameter in self.params.get("Parameters") or []]

    def _names_to_reset(self) -> list[str] | None:
        if self.params.get("ResetAllParameters"):
            return None
        return [parameter["ParameterName"] for parameter in self._parameters()]

    # -- event subscriptions -------------------------------------------------------------------------------------------

    def modify_event_subscription(self) -> ActionResult:
        """moto: not implemented."""
        return ActionResult({"EventSubscription": self.backend.modify_event_subscription(self.params)})

    def add_source_identifier_to_subscription(self) -> ActionResult:
        """moto: not implemented."""
        names = self.params["SubscriptionName"], self.params["SourceIdentifier"]
        return ActionResult({"EventSubscription": self.backend.change_source(*names, add=True)})

    def remove_source_identifier_from_subscription(self) -> ActionResult:
        """moto: not implemented."""
        names = self.params["SubscriptionName"], self.params["SourceIdentifier"]
        return ActionResult({"EventSubscription": self.backend.change_source(*names, add=False)})
