"""RDS: create, modify and delete Aurora clusters and instances. Global clusters and groups are mixins beside it.

Overrides only what moto 5.2.5 lacks or gets wrong; each method names it.
"""

from typing import Any

from moto.core.exceptions import JsonRESTError
from moto.ec2.models import ec2_backends
from moto.logs.models import logs_backends
from moto.rds import urls
from moto.rds.exceptions import (
    DBClusterNotFoundError,
    DBClusterToBeDeletedHasActiveMembers,
    DBInstanceAlreadyExists,
    DBInstanceNotFoundError,
    DBParameterGroupNotFoundError,
    DBSubnetGroupNotFoundError,
    InvalidDBClusterStateFault,
    InvalidDBInstanceEngine,
    InvalidParameterCombination,
    InvalidParameterValue,
    KMSKeyNotAccessibleFault,
    RDSClientError,
)
from moto.rds.models import RDSBackend, rds_backends

from dr_assets.emulator.answers import answers
from dr_assets.emulator.clock import clock
from dr_assets.emulator.extension import Extended, Extension
from dr_assets.emulator.rds import engines, roles
from dr_assets.emulator.rds.checks import check_identifier, check_presigned_url
from dr_assets.emulator.rds.events import select_events
from dr_assets.emulator.rds.global_clusters import GlobalClusters, bad_state
from dr_assets.emulator.rds.groups import Groups
from dr_assets.emulator.rds.instances import AuroraInstance
from dr_assets.emulator.rds.models import INACCESSIBLE, AuroraCluster, AuroraGlobalCluster, available
from dr_assets.emulator.rds.modifications import CLUSTER_FIELDS, INSTANCE_FIELDS, modify, new_name
from dr_assets.emulator.rds.responses import AuroraResponse
from dr_assets.emulator.rds.restore import Restores
from dr_assets.emulator.rds.windows import window_error

MAX_SECONDARIES = 10


class AuroraBackend(Extended, GlobalClusters, Groups, Restores, RDSBackend):  # type: ignore[misc]
    """One region's RDS."""

    # -- time ----------------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Remove what has been deleted, finish role changes. Called before every request."""
        for resources in (self.databases, self.clusters, self.global_clusters):
            for name in [name for name, item in resources.items() if getattr(item, "gone", False)]:
                del resources[name]
        for item in list(self.global_clusters.values()):
            item.settle()
        self._make_log_groups()
        roles.driver().observe(self.global_store.values())

    def _make_log_groups(self) -> None:
        """RDS makes the log group of an export where it is missing, without tags or retention, as soon as an instance writes
        (terraform-provider-aws#42858)."""
        for cluster in self.clusters.values():
            if isinstance(cluster, AuroraCluster) and cluster.status == "available" and available(cluster.members):
                logs = logs_backends[self.account_id][self.region_name]
                for name in cluster.log_groups:
                    if name not in logs.groups:
                        logs.create_log_group(name, {})
                        # moto: a group made anew has the tags of the one that was deleted.
                        logs.tagger.delete_all_tags_for_resource(logs.groups[name].arn)

    def describe_events(self, **params: Any) -> list[Any]:
        """DescribeEvents: of the last hour by default."""
        return select_events(self.events, params)

    # -- clusters ------------------------------------------------------------------------------------------------------

    def start_db_cluster(self, cluster_identifier: str) -> Any:
        """moto: starts stopped clusters only; also the way back of one that lost its key."""
        cluster = self.clusters.get(cluster_identifier)
        if isinstance(cluster, AuroraCluster) and cluster.status == INACCESSIBLE:
            cluster.start()
            return cluster
        return super().start_db_cluster(cluster_identifier)

    def _validate_kms_key(self, kms_key_id: str) -> str:
        """moto: takes a key that is disabled or pending deletion (RDS API reference, CreateDBCluster: errors)."""
        arn = str(super()._validate_kms_key(kms_key_id))
        try:
            self.kms.usable(arn)
        except JsonRESTError:
            raise KMSKeyNotAccessibleFault(kms_key_id) from None
        return arn

    def create_db_cluster(self, kwargs: dict[str, Any]) -> AuroraCluster:
        """moto: overwrites a cluster of the same name, checks no group, key or membership."""
        params = dict(kwargs)
        identifier = params["db_cluster_identifier"].lower()
        check_identifier("DBClusterIdentifier", identifier)
        if identifier in self.clusters:
            raise RDSClientError("DBClusterAlreadyExistsFault", "DB Cluster already exists")
        if not str(params.get("engine", "")).startswith("aurora"):
            return super().create_db_cluster(kwargs)  # type: ignore[no-any-return]
        if params.get("engine_version") is None:
            params["engine_version"] = engines.default_version(self.region_name)
        if not params.pop("restored", False):
            engines.check_version(params["engine"], params["engine_version"], self.region_name)
        self._check_cluster(params)
        item = None
        if params.get("global_cluster_identifier"):
            item = self.find_global(params["global_cluster_identifier"])
            self._check_membership(item, params)
        if item is not None and item.writer is not None:
            # A reader has the writer's accounts.
            params["master_username"] = item.writer.master_username
        elif not params.get("manage_master_user_password") and not params.get("master_user_password"):
            raise InvalidParameterValue("The parameter MasterUserPassword must be provided and must not be blank.")
        params["storage_encrypted"] = bool(params.get("storage_encrypted")) or bool(item and item.storage_encrypted)
        if params["storage_encrypted"]:
            params["kms_key_id"] = self._validate_kms_key(params.get("kms_key_id") or "alias/aws/rds")
        elif params.get("kms_key_id"):
            raise InvalidParameterCombination("KmsKeyId can only be specified when StorageEncrypted is true")
        cluster = AuroraCluster(self, item, **params)
        made = getattr(self.db_cluster_parameter_groups.get(cluster.parameter_group), "made", None)
        cluster.group_too_new = made is not None and clock.now() - made < answers().new_cluster_group_seconds
        self.clusters[identifier] = cluster
        if item is not None:
            item.join(cluster)
        return cluster

    def _check_membership(self, item: AuroraGlobalCluster, params: dict[str, Any]) -> None:
        """Refuse what AWS refuses of a cluster that joins a global cluster."""
        if item.status == "deleting" or item.change is not None:
            raise bad_state(f"Global Cluster {item.arn} is in an invalid state: {item.status}")
        if len(item.readers) >= MAX_SECONDARIES:
            # The limit is the user guide's; which of CreateDBCluster's errors reports it is a guess.
            raise RDSClientError(
                "DBClusterQuotaExceededFault", f"A global cluster has at most {MAX_SECONDARIES} readers"
            )
        if params.get("manage_master_user_password"):
            raise InvalidParameterCombination(
                "ManageMasterUserPassword isn't supported for a cluster that is a member of a global cluster"
            )
        if params["engine"] != item.engine:
            raise InvalidParameterCombination(f"The engine must be {item.engine}, as of the global cluster")
        if params["engine_version"] != item.engine_version:
            # Also where EngineVersion is left out and AWS's default is another one (aws-cli#8139 has the text).
            raise InvalidParameterValue(
                f"Value for engineVersion should match setting for global cluster {item.resource_id}"
            )
        writer = item.writer
        if writer is None:
            params.setdefault("database_name", item.database_name)
            return
        for key, name in (
            ("master_username", "user name"),
            ("master_user_password", "password"),
            ("database_name", "database name"),
        ):
            if params.get(key):
                raise InvalidParameterCombination(f"Cannot specify {name} for cross region replication cluster")
        if any(member.region == self.region_name for member in item.members):
            raise InvalidParameterValue(f"Global cluster {item.resource_id} already has a member in {self.region_name}")
        if item.storage_encrypted and not params.get("kms_key_id"):
            raise InvalidParameterCombination(
                "KmsKeyId should be explicitly specified for cross region replication cluster"
            )
        check_presigned_url(params, writer, self.region_name)
        if writer.status != "available" or not available(writer.members):
            raise InvalidDBClusterStateFault(
                f"Source cluster: {writer.arn} is in a state which is not valid for physical replication"
            )

    def _check_cluster(self, params: dict[str, Any]) -> None:
        """References that must exist and values that AWS refuses."""
        group = params.get("db_cluster_parameter_group_name")
        if group and not group.startswith("default.") and group not in self.db_cluster_parameter_groups:
            raise RDSClientError("DBClusterParameterGroupNotFound", f"DBClusterParameterGroup not found: {group}")
        subnets = params.get("db_subnet_group_name")
        if subnets and subnets != "default" and subnets not in self.subnet_groups:
            raise DBSubnetGroupNotFoundError(subnets)
        known = ec2_backends[self.account_id][self.region_name]
        for group_id in params.get("vpc_security_group_ids") or []:
            if known.get_security_group_from_id(group_id) is None:
                raise InvalidParameterValue(f"Invalid security group , groupId= {group_id}, groupName=.")
        days = params.get("backup_retention_period")
        if days is not None and not 1 <= days <= 35:
            raise InvalidParameterValue(
                f"Invalid backup retention period: {days}. Retention period must be between 1 and 35"
            )
        message = window_error(params.get("preferred_backup_window"), params.get("preferred_maintenance_window"))
        if message:
            raise InvalidParameterValue(message)

    def modify_db_cluster(self, kwargs: dict[str, Any]) -> Any:
        """moto: KeyError for an unknown cluster; loses IAM authentication and the log export configuration."""
        params = dict(kwargs)
        cluster = self._cluster(params["db_cluster_identifier"])
        if not isinstance(cluster, AuroraCluster):
            return super().modify_db_cluster(kwargs)
        if cluster.status not in ("available", "modifying"):
            raise InvalidDBClusterStateFault(f"DB Cluster {cluster.resource_id} is {cluster.status}, not available")
        engines.check_upgrade(cluster, params.get("engine_version"))
        windows = ("preferred_backup_window", "preferred_maintenance_window")
        self._check_cluster({**{key: getattr(cluster, key) for key in windows}, **params})
        if cluster.membership is not None and params.get("manage_master_user_password"):
            raise InvalidParameterCombination(
                "ManageMasterUserPassword isn't supported for a cluster that is a member of a global cluster"
            )
        if params.get("master_user_password"):
            if cluster.is_global_reader:
                raise InvalidDBClusterStateFault(
                    f"{cluster.resource_id} is read-only: change the password at the writer"
                )
            cluster.master_user_password = params["master_user_password"]
        if params.get("db_cluster_parameter_group_name") not in (None, cluster.parameter_group):
            for member in cluster._members:
                member.pending_reboot.add("cluster")
        if given := params.get("new_db_cluster_identifier"):
            check_identifier("NewDBClusterIdentifier", given)
            if self.clusters.get(given.lower(), cluster) is not cluster:
                raise RDSClientError("DBClusterAlreadyExistsFault", "DB Cluster already exists")
        name = new_name(cluster, "db_cluster_identifier", params)
        modify(cluster, CLUSTER_FIELDS, params)
        if params.get("preferred_maintenance_window"):
            cluster.preferred_maintenance_window = params["preferred_maintenance_window"].lower()
        exports = params.get("cloudwatch_logs_export_configuration") or {}
        off, on = set(exports.get("DisableLogTypes") or []), list(exports.get("EnableLogTypes") or [])
        kept = [name for name in cluster.enabled_cloudwatch_logs_exports if name not in off]
        cluster.enabled_cloudwatch_logs_exports = kept + [name for name in on if name not in kept]
        if name:
            members = cluster._members
            del self.clusters[cluster.resource_id]
            cluster.db_cluster_identifier = name
            self.clusters[cluster.resource_id] = cluster
            for member in members:
                member.db_cluster_identifier = cluster.resource_id
        cluster.begin("modifying")
        return cluster

    def delete_db_cluster(
        self, cluster_identifier: str, snapshot_name: str | None = None, skip_final_snapshot: bool | None = None
    ) -> Any:
        """moto: removes it at once, also the writer of a global cluster, and without a decision on the last snapshot."""
        cluster = self._cluster(cluster_identifier)
        if not isinstance(cluster, AuroraCluster):
            return super().delete_db_cluster(cluster_identifier, snapshot_name)
        if cluster.status == "deleting":
            raise InvalidDBClusterStateFault(f"DB Cluster {cluster.resource_id} is already being deleted")
        if cluster.deletion_protection:
            raise InvalidParameterCombination(
                "Cannot delete protected Cluster, please disable deletion protection and try again."
            )
        if not skip_final_snapshot and not snapshot_name:
            raise InvalidParameterCombination(
                "FinalDBSnapshotIdentifier is required unless SkipFinalSnapshot is specified."
            )
        if snapshot_name:
            cluster.need_key()
        if any(member.status != "deleting" for member in cluster._members):
            raise DBClusterToBeDeletedHasActiveMembers()
        item = cluster.membership
        if item is not None and cluster is item.writer and len(item.members) > 1:
            raise bad_state(
                "Unable to delete cluster that is a primary member of global cluster while there are other global "
                "cluster members"
            )
        if item is not None:
            raise InvalidDBClusterStateFault(
                "This cluster is a part of a global cluster, please remove it from globalcluster first"
            )
        if snapshot_name:
            self.create_db_cluster_snapshot(cluster.resource_id, snapshot_name)
        cluster.begin("deleting")
        return cluster

    def cluster_endpoints(self, identifier: str | None, filters: list[dict[str, Any]]) -> list[dict[str, str]]:
        """DescribeDBClusterEndpoints with its filters by type, custom type, id and status; unknown filters are refused."""
        clusters = [self._cluster(identifier)] if identifier else list(self.clusters.values())
        found = [end for cluster in clusters if isinstance(cluster, AuroraCluster) for end in cluster.endpoints]
        field = {"db-cluster-endpoint-type": "EndpointType", "db-cluster-endpoint-status": "Status"}
        for item in filters:
            name, values = item["Name"], {str(value).lower() for value in item["Values"]}
            if name in ("db-cluster-endpoint-custom-type", "db-cluster-endpoint-id"):
                return []  # of custom endpoints
            if name not in field:
                raise InvalidParameterValue(f"Unrecognized filter name: {name}")
            found = [end for end in found if end[field[name]].lower() in values]
        return found

    def _cluster(self, identifier: str) -> Any:
        name = identifier.rsplit(":", 1)[-1].lower()
        if name not in self.clusters:
            raise DBClusterNotFoundError(identifier)
        return self.clusters[name]

    # -- instances -----------------------------------------------------------------------------------------------------

    def create_db_instance(self, db_kwargs: dict[str, Any]) -> Any:
        """moto: overlooks names in another case, keeps no Performance Insights, gives every instance zone `a`."""
        params = dict(db_kwargs)
        owner = params.get("db_cluster_identifier")
        if owner is None or not isinstance(self.clusters.get(owner), AuroraCluster):
            return super().create_db_instance(db_kwargs)
        identifier = params["db_instance_identifier"].lower()
        check_identifier("DBInstanceIdentifier", identifier)
        if identifier in self.databases:
            raise DBInstanceAlreadyExists()
        cluster = self._cluster(owner)
        if cluster.status == "deleting":
            raise InvalidDBClusterStateFault(f"DB Cluster {cluster.resource_id} is being deleted")
        cluster.need_key()
        if cluster.status == INACCESSIBLE:
            raise InvalidDBClusterStateFault(f"DB Cluster {cluster.resource_id} is in state {INACCESSIBLE}")
        if params["engine"] != cluster.engine:
            raise InvalidDBInstanceEngine(str(params["engine"]), str(cluster.engine))
        refused = [
            key
            for key in ("master_username", "master_user_password", "kms_key_id", "backup_retention_period")
            if key in params
        ]
        if refused:
            raise InvalidParameterCombination(f"The DB cluster decides on {', '.join(refused)}, not its instances")
        if params.get("engine_version") not in (None, cluster.engine_version):
            # aws-cloudformation/rain#309 has the text.
            raise InvalidParameterCombination(
                f"The engine version that you requested for your DB instance ({params['engine_version']}) does not match the "
                f"engine version of your DB cluster ({cluster.engine_version})."
            )
        engines.check_class(cluster, params["db_instance_class"])
        zone = params.get("availability_zone")
        if zone and not zone.startswith(self.region_name):
            raise InvalidParameterValue(f"{zone} is not a zone of {self.region_name}")
        message = window_error(None, params.get("preferred_maintenance_window"))
        if message:
            raise InvalidParameterValue(message)
        instance = AuroraInstance(self, **params)
        instance.check_monitoring()
        if cluster.group_too_new:
            instance.pending_reboot.add("cluster")
        self.databases[identifier] = instance
        cluster.designate_writer()
        return instance

    def modify_db_instance(self, db_instance_identifier: str, db_kwargs: dict[str, Any]) -> Any:
        """moto: sets request parameters as attributes of the same name, which loses several of them."""
        instance = self.describe_db_instances(db_instance_identifier)[0]
        if not isinstance(instance, AuroraInstance):
            return super().modify_db_instance(db_instance_identifier, db_kwargs)
        params = dict(db_kwargs)
        if instance.status not in ("available", "modifying"):
            raise _instance_state(f"DB Instance {instance.resource_id} is {instance.status}, not available")
        group = params.get("db_parameter_group_name")
        if group and not group.startswith("default.") and group not in self.db_parameter_groups:
            raise DBParameterGroupNotFoundError(group)
        if params.get("db_instance_class"):
            engines.check_class(instance.cluster, params["db_instance_class"])
        if given := params.get("new_db_instance_identifier"):
            check_identifier("NewDBInstanceIdentifier", given)
            if self.databases.get(given.lower(), instance) is not instance:
                raise DBInstanceAlreadyExists()
        before = {field: getattr(instance, field) for field in INSTANCE_FIELDS.values()}
        name = new_name(instance, "db_instance_identifier", params)
        try:
            modify(instance, INSTANCE_FIELDS, params)
            if params.get("monitoring_interval") == 0:
                instance.monitoring_role_arn = None
            instance.check_monitoring()
            instance.check_insights()
        except RDSClientError:
            for field, value in before.items():
                setattr(instance, field, value)
            raise
        if instance.db_parameter_group_name != before["db_parameter_group_name"]:
            instance.pending_reboot.add("instance")
        if params.get("preferred_maintenance_window"):
            instance.preferred_maintenance_window = params["preferred_maintenance_window"].lower()
        if name:
            del self.databases[instance.resource_id]
            instance.db_instance_identifier = name
            self.databases[instance.resource_id] = instance
        instance.begin("modifying")
        return instance

    def delete_db_instance(self, db_instance_identifier: str, **kwargs: Any) -> Any:
        """moto: removes it at once."""
        if db_instance_identifier not in self.databases:
            raise DBInstanceNotFoundError(db_instance_identifier)
        instance = self.databases[db_instance_identifier]
        if not isinstance(instance, AuroraInstance):
            return super().delete_db_instance(db_instance_identifier, **kwargs)
        if instance.status == "deleting":
            raise _instance_state(f"Instance {instance.resource_id} is already being deleted.")
        if instance.deletion_protection:
            raise InvalidParameterCombination(
                "Cannot delete protected DB Instance, please disable deletion protection and try again."
            )
        cluster = instance.cluster
        others = [member for member in cluster._members if member is not instance and member.status != "deleting"]
        if not others and cluster.is_writer and cluster.read_replica_identifiers:
            raise InvalidDBClusterStateFault(
                "Cannot delete the last instance of the master cluster. Delete the replica cluster before deleting the "
                "last master cluster instance."
            )
        if instance.chosen_writer and others:
            cluster.failover(min(others, key=lambda member: (member.promotion_tier, member.created)))
        instance.begin("deleting")
        return instance

    def reboot_db_instance(self, db_instance_identifier: str) -> Any:
        """moto: an unknown instance is found, the status never changes."""
        instance = self.describe_db_instances(db_instance_identifier)[0]
        if isinstance(instance, AuroraInstance):
            self._cluster(instance.db_cluster_identifier).need_key()
            instance.begin("rebooting")
            instance.pending_reboot.clear()
        return instance


def _instance_state(message: str) -> RDSClientError:
    """moto's class for it has a code that AWS's model does not know."""
    return RDSClientError("InvalidDBInstanceState", message)


def settle_all() -> None:
    """`AuroraBackend.settle` in every account and region."""
    for account in list(rds_backends):
        for backend in list(rds_backends[account].values()):
            backend.settle()


EXTENSION = Extension(
    backends=rds_backends, backend=AuroraBackend, urls=urls, responses=AuroraResponse, settle=settle_all
)
