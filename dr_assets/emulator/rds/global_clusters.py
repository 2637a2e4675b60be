"""Global clusters of the extended RDS backend: create, join, leave, switch over, fail over.

A mixin of `rds.backend.AuroraBackend`. Sources: the RDS API reference and the Aurora user guide (disaster recovery). Where AWS's
message is not public, ours names what to do instead.
"""

from typing import Any

from moto.rds.exceptions import (
    DBClusterNotFoundError,
    InvalidDBClusterStateFault,
    InvalidParameterCombination,
    InvalidParameterValue,
    RDSClientError,
)

from dr_assets.emulator.rds import engines
from dr_assets.emulator.rds.checks import check_identifier
from dr_assets.emulator.rds.models import AuroraCluster, AuroraGlobalCluster, available

HOME_REGION = "us-east-1"


def not_found(identifier: str) -> RDSClientError:
    """AWS's answer for an unknown global cluster."""
    return RDSClientError("GlobalClusterNotFoundFault", f"Global cluster {identifier} not found")


def bad_state(message: str) -> RDSClientError:
    """InvalidGlobalClusterStateFault with a message (moto's class only knows `is not empty`)."""
    return RDSClientError("InvalidGlobalClusterStateFault", message)


class GlobalClusters:
    """Mixin: global clusters. They are kept in one region's backend and shared by all."""

    account_id: str
    region_name: str
    clusters: Any
    global_clusters: Any

    def sibling(self, region: str) -> Any:
        """The backend of another region of the same account."""
        from moto.rds.models import rds_backends

        return rds_backends[self.account_id][region]

    @property
    def global_store(self) -> Any:
        """Every global cluster of the account, by identifier."""
        return self.sibling(HOME_REGION).global_clusters

    def find_global(self, identifier: str) -> AuroraGlobalCluster:
        """By identifier or ARN, else GlobalClusterNotFoundFault."""
        name = identifier.rsplit(":", 1)[-1]
        if name not in self.global_store:
            raise not_found(identifier)
        found: AuroraGlobalCluster = self.global_store[name]
        return found

    def find_member(self, arn_or_name: str) -> AuroraCluster:
        """A cluster by ARN in any region, or by identifier in this one."""
        parts = arn_or_name.split(":")
        backend = self.sibling(parts[3]) if len(parts) > 6 else self
        if parts[-1] not in backend.clusters:
            raise DBClusterNotFoundError(arn_or_name)
        cluster: AuroraCluster = backend.clusters[parts[-1]]
        return cluster

    def new_global_cluster(self, params: dict[str, Any]) -> AuroraGlobalCluster:
        """CreateGlobalCluster. moto: overwrites a global cluster of the same name, loses tags and DatabaseName."""
        identifier = params["global_cluster_identifier"].lower()
        check_identifier("GlobalClusterIdentifier", identifier)
        if identifier in self.global_store:
            raise RDSClientError("GlobalClusterAlreadyExistsFault", f"Global cluster {identifier} already exists")
        source = None
        engine, version = params.get("engine"), params.get("engine_version")
        encrypted, database = params.get("storage_encrypted"), params.get("database_name")
        if source_id := params.get("source_db_cluster_identifier"):
            given = [
                key for key in ("engine", "engine_version", "database_name", "storage_encrypted") if params.get(key)
            ]
            if given:
                raise InvalidParameterCombination(
                    "When creating global cluster from existing db cluster, value for engineName should not be "
                    "specified since it will be inherited from source cluster"
                )
            source = self.find_member(source_id)
            if source.membership is not None:
                raise InvalidDBClusterStateFault(f"Source cluster {source.arn} is already in a global cluster")
            for each in source._members:
                if engines.is_burstable(each.db_instance_class):
                    raise engines.unsupported_by_global(each.db_instance_class)
            engine, version, encrypted = source.engine, source.engine_version, source.storage_encrypted
            database = source.database_name
        if not engine:
            raise InvalidParameterValue(
                "When creating standalone global cluster, value for engineName should be specified"
            )
        if source is None:
            version = version or engines.default_version(self.region_name)
            engines.check_global_version(engine, version, self.region_name)
        result = AuroraGlobalCluster(
            backend=self.sibling(HOME_REGION),
            global_cluster_identifier=identifier,
            engine=engine,
            engine_version=version,
            storage_encrypted=encrypted,
            deletion_protection=params.get("deletion_protection"),
            database_name=database,
            tags=params.get("tags") or [],
        )
        self.global_store[identifier] = result
        if source is not None:
            result.join(source)
        return result

    def list_global_clusters(self, identifier: str | None, regions: list[str] | None) -> list[AuroraGlobalCluster]:
        """DescribeGlobalClusters. moto: ignores the identifier and the `region` filter."""
        found = [self.find_global(identifier)] if identifier else list(self.global_store.values())
        if regions:
            found = [item for item in found if any(member.region in regions for member in item.members)]
        return found

    def modify_global_cluster(self, params: dict[str, Any]) -> AuroraGlobalCluster:
        """ModifyGlobalCluster. moto: lacks it. An engine upgrade reaches every member, as minor upgrades do at AWS."""
        item = self.find_global(params["global_cluster_identifier"])
        self._must_be_available(item)
        engines.check_upgrade(item, params.get("engine_version"))
        if (new_name := params.get("new_global_cluster_identifier")) and new_name.lower() != item.resource_id:
            if new_name.lower() in self.global_store:
                raise RDSClientError("GlobalClusterAlreadyExistsFault", f"Global cluster {new_name} already exists")
            del self.global_store[item.resource_id]
            item.global_cluster_identifier = new_name
            self.global_store[item.resource_id] = item
        if params.get("deletion_protection") is not None:
            item.deletion_protection = params["deletion_protection"]
        if version := params.get("engine_version"):
            item.engine_version = version
            for member in item.members:
                member.engine_version = version
                member.begin("upgrading")
        item.begin("modifying")
        return item

    def delete_global_cluster(self, global_cluster_identifier: str) -> AuroraGlobalCluster:
        """DeleteGlobalCluster. moto: KeyError for an unknown one, ignores deletion protection."""
        item = self.find_global(global_cluster_identifier)
        if item.deletion_protection:
            raise InvalidParameterCombination(
                "Cannot delete protected Global Cluster, please disable deletion protection and try again."
            )
        if item.members:
            raise bad_state(f"Global Cluster {item.arn} is not empty")
        item.begin("deleting")
        return item

    def detach(self, global_cluster_identifier: str, db_cluster_identifier: str) -> AuroraGlobalCluster:
        """RemoveFromGlobalCluster, called in the member's region. moto: a silent no-op from any other region."""
        item = self.find_global(global_cluster_identifier)
        cluster = self.find_member(db_cluster_identifier)
        if cluster.region != self.region_name:
            raise DBClusterNotFoundError(
                db_cluster_identifier,
                f"DBCluster {db_cluster_identifier} not found in {self.region_name}: call in {cluster.region}",
            )
        if cluster not in item.members:
            raise InvalidParameterValue(f"DBCluster {cluster.arn} is not found in global cluster {item.resource_id}")
        self._must_be_still(item)
        if cluster is item.writer and len(item.members) > 1:
            raise bad_state("Unable to remove the primary cluster while there are other global cluster members")
        was_reader = cluster.is_global_reader
        item.leave(cluster)
        if was_reader:  # it becomes a writable cluster of its own, which takes time at AWS
            cluster.begin("promoting")
        return item

    def switch_over(self, identifier: str, target: str) -> AuroraGlobalCluster:
        """SwitchoverGlobalCluster. moto: lacks it. Called in the writer's region, as the user guide's CLI calls are."""
        item, cluster = self._change_target(identifier, target)
        writer = item.writer
        assert writer is not None
        if writer.region != self.region_name:
            raise InvalidParameterValue(
                f"Switch over global cluster {item.resource_id} in the region of its primary cluster "
                f"({writer.region}), not in {self.region_name}"
            )
        if writer.status != "available" or not available(writer.members):
            raise InvalidDBClusterStateFault(
                f"Primary cluster {writer.arn} is not available: it cannot be switched over"
            )
        if item.rebuilding is not None:
            raise bad_state(f"Global Cluster {item.arn} has a member that is not synchronized yet (pending-resync)")
        item.start("switchover", cluster)
        return item

    def fail_over(self, params: dict[str, Any]) -> AuroraGlobalCluster:
        """FailoverGlobalCluster. moto: lacks it.

        Without AllowDataLoss it *is* a switchover (API reference: "if you don't specify AllowDataLoss, the operation
        defaults to a switchover"). With it, it is called in the target's region: the writer's may be dark.
        """
        loss, switch = params.get("allow_data_loss"), params.get("switchover")
        identifier, target = params["global_cluster_identifier"], params["target_db_cluster_identifier"]
        if loss and switch:
            raise InvalidParameterCombination("AllowDataLoss and Switchover can't both be specified")
        if not loss:
            return self.switch_over(identifier, target)
        item, cluster = self._change_target(identifier, target)
        if cluster.region != self.region_name:
            raise InvalidParameterValue(
                f"Fail over global cluster {item.resource_id} in the region of the target cluster ({cluster.region}), "
                f"not in {self.region_name}"
            )
        item.start("failover", cluster)
        return item

    def _change_target(self, identifier: str, target: str) -> tuple[AuroraGlobalCluster, AuroraCluster]:
        item = self.find_global(identifier)
        cluster = self.find_member(target)
        self._must_be_available(item)
        if cluster not in item.members:
            raise DBClusterNotFoundError(target, f"DBCluster {target} is not a member of {item.resource_id}")
        if cluster is item.writer:
            raise InvalidDBClusterStateFault(f"DBCluster {cluster.arn} is already the primary cluster")
        if cluster.status != "available" or not available(cluster.members):
            raise InvalidDBClusterStateFault(
                f"Target cluster {cluster.arn} must be available and have an available DB instance to be promoted"
            )
        return item, cluster

    def _must_be_still(self, item: AuroraGlobalCluster) -> None:
        if item.change is not None:
            raise bad_state(f"Global Cluster {item.arn} is in an invalid state: {item.status}")

    def _must_be_available(self, item: AuroraGlobalCluster) -> None:
        self._must_be_still(item)
        if item.status == "deleting":
            raise bad_state(f"Global Cluster {item.arn} is in an invalid state: {item.status}")
