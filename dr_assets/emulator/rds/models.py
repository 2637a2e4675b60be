"""Aurora clusters and global clusters as AWS shows them, over moto's RDS models.

Each override names what moto 5.2.5 lacks.
"""

import copy
import hashlib
from collections.abc import Iterable
from typing import Any

from moto.rds.exceptions import KMSKeyNotAccessibleFault
from moto.rds.models import DBCluster, GlobalCluster, RDSBackend

from dr_assets.emulator.answers import answers
from dr_assets.emulator.clock import Settling, clock
from dr_assets.emulator.permissions.resource_policies import key_error
from dr_assets.emulator.rds import roles
from dr_assets.emulator.rds.events import event_publisher
from dr_assets.emulator.rds.modifications import DEFERRED

_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"


def endpoint_hash(account_id: str, region: str) -> str:
    """The twelve characters in RDS host names: AWS has one such text for each account and region."""
    digest = hashlib.sha256(f"{account_id}/{region}".encode()).digest()
    return "c" + "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in digest[:11])


INACCESSIBLE = "inaccessible-encryption-credentials-recoverable"
# Without a way back, except by restoring a backup.
LOST = "inaccessible-encryption-credentials"


class AuroraCluster(Settling, DBCluster):  # type: ignore[misc]
    """A cluster of an engine that may join a global cluster."""

    def __init__(self, backend: RDSBackend, global_cluster: "AuroraGlobalCluster | None" = None, **kwargs: Any) -> None:
        self.membership = global_cluster
        self._replication_source: str | None = None
        self._read_replicas: list[str] = []
        self.group_too_new = False  # its parameter group had just been made: see `Answers.new_cluster_group_seconds`
        self.deferred: dict[str, Any] = {}
        super().__init__(backend, **kwargs)
        # moto: a random text for each cluster, so the endpoint of a cluster created anew would differ.
        self.url_identifier = endpoint_hash(self.account_id, self.region)
        # moto: `default.aurora8.0` for every engine but Neptune.
        self.parameter_group = kwargs.get("db_cluster_parameter_group_name") or default_group(
            self.engine, self.engine_version
        )
        # moto: stored case as given; AWS answers the window in lower case.
        window: str = kwargs.get("preferred_maintenance_window") or "wed:02:40-wed:03:10"
        self.preferred_maintenance_window = window.lower()
        # moto: a made-up key, also without encryption.
        self.kms_key_id = kwargs.get("kms_key_id")
        # moto: gp2/io1 and an allocated storage that Aurora does not have.
        self.storage_type = kwargs.get("storage_type")
        self.license_model = "postgresql-license" if "postgres" in self.engine else "general-public-license"
        self.publicly_accessible = None
        if kwargs.get("master_user_password"):
            # moto: not kept, and not checked, for members of a global cluster.
            self.master_user_password = kwargs["master_user_password"]
        self.begin("creating")

    # moto: the first read answers `creating`, whatever the time. Settling replaces it (mixin order).

    _inaccessible = False

    @property
    def key_usable(self) -> bool:
        """Whether the cluster's KMS key is enabled."""
        return self._key_error is None

    @property
    def _key_error(self) -> str | None:
        return key_error(self.backend.region_name, getattr(self, "kms_key_id", None))

    def need_key(self) -> None:
        """KMSKeyNotAccessibleFault while the key cannot be used: for what RDS cannot do without it."""
        if not self.key_usable:
            raise KMSKeyNotAccessibleFault(str(self.kms_key_id))

    def start(self) -> None:
        """StartDBCluster of an inaccessible cluster. KMSKeyNotAccessibleFault while its key cannot be used."""
        self.need_key()
        self._inaccessible = False
        self.begin("starting")

    @property
    def is_writer(self) -> bool:
        """Whether this member is the global writer (moto: an attribute set once, at creation)."""
        return self.membership is not None and self.membership.writer is self

    @is_writer.setter
    def is_writer(self, value: bool) -> None:
        """Derived from the membership; moto's assignment is ignored."""

    @property
    def is_global_reader(self) -> bool:
        """Whether this is a read-only member of a global cluster."""
        return self.membership is not None and self.membership.writer is not self

    @property
    def global_cluster_identifier(self) -> str | None:
        """moto: keeps the value given to CreateDBCluster, also after removal."""
        return self.membership.global_cluster_identifier if self.membership else None

    @global_cluster_identifier.setter
    def global_cluster_identifier(self, value: str | None) -> None:
        """Derived from the membership; moto's assignment is ignored."""

    @property
    def replication_source_identifier(self) -> str | None:
        """ARN of the writer at a reader. moto: never set by a global cluster."""
        if self.membership is not None:
            writer = self.membership.writer
            return str(writer.arn) if writer is not None and writer is not self else None
        return self._replication_source

    @replication_source_identifier.setter
    def replication_source_identifier(self, value: str | None) -> None:
        self._replication_source = value

    @property
    def read_replica_identifiers(self) -> list[str]:
        """ARNs of the readers at the writer. moto: never set by a global cluster."""
        if self.membership is not None:
            return self.membership.readers if self.is_writer else []
        return self._read_replicas

    @read_replica_identifiers.setter
    def read_replica_identifiers(self, value: list[str]) -> None:
        self._read_replicas = value

    @property
    def writer_endpoint(self) -> str:
        """The name of the cluster's writer endpoint, which a read-only member has too."""
        return str(DBCluster.endpoint.fget(self))

    @property
    def endpoint(self) -> str | None:
        """Left out by DescribeDBClusters at a read-only member of a global cluster (terraform-provider-aws#14219)."""
        return None if self.is_global_reader else self.writer_endpoint

    @property
    def endpoints(self) -> list[dict[str, str]]:
        """DescribeDBClusterEndpoints. A read-only member's writer endpoint is `inactive` (RDS API, DBClusterEndpoint.Status)."""
        usual = "creating" if self.status == "creating" or not self._members else "available"
        if not self._members and answers().endpoints_without_instances == "missing":
            return []
        named = (
            ("WRITER", self.writer_endpoint, "inactive" if self.is_global_reader and self._members else usual),
            ("READER", self.reader_endpoint, usual),
        )
        return [
            {"DBClusterIdentifier": self.resource_id, "Endpoint": name, "Status": status, "EndpointType": kind}
            for kind, name, status in named
        ]

    def promote(self) -> None:
        """Become the global writer. Aurora may pick any instance (failover tiers are a wish, and not of global failovers)."""
        if self._members:
            pick = max if answers().promoted_instance == "last" else min
            self.failover(pick(self._members, key=lambda member: (member.created, member.resource_id)))

    @property
    def scaling_configuration_info(self) -> dict[str, Any] | None:
        """moto: a structure of nulls for every cluster that is not serverless; AWS leaves it out."""
        return super().scaling_configuration_info if self.scaling_configuration else None

    @property
    def pending_modified_values(self) -> dict[str, Any] | None:
        """What ModifyDBCluster without ApplyImmediately left for the maintenance window. moto: lacks it."""
        return {DEFERRED[field]: value for field, value in self.deferred.items()} or None

    @property
    def global_write_forwarding_status(self) -> str | None:
        """moto: lacks it."""
        if not self.is_global_reader:
            return None
        return "enabled" if self._global_write_forwarding_requested else "disabled"

    @property
    def multi_az(self) -> bool:
        """Instances in more than one zone. moto: also true for any replica, and false where zones were not given."""
        return len({instance.availability_zone for instance in self._members}) > 1

    @property
    def status(self) -> str:
        """In-between statuses, a lost key and the membership's role change first.

        A cluster that lost its key stays inaccessible until StartDBCluster, for ever once the key is destroyed: the seven days in
        which it can be recovered are no longer than a key's shortest waiting period (Aurora user guide, "AWS KMS key management").
        """
        if self._key_error == "NotFoundException":
            return LOST
        if answers().cluster_without_key == "stops" and not self.key_usable:
            self._inaccessible = True
        if self._inaccessible:
            return INACCESSIBLE
        change = self.membership.change if self.membership else None
        if change is not None and str(self.arn) in (change.from_arn, change.to_arn):
            return change.status
        return Settling.status.fget(self)  # type: ignore[attr-defined,no-any-return]

    @status.setter
    def status(self, value: str) -> None:
        self._settled_status = value

    @property
    def db_cluster_members(self) -> list[dict[str, Any]]:
        """moto: the cluster parameter group is always in sync."""
        waits = {item.db_instance_identifier for item in self._members if "cluster" in item.pending_reboot}
        status = {True: "pending-reboot", False: "in-sync"}
        return [
            {**member, "DBClusterParameterGroupStatus": status[member["DBInstanceIdentifier"] in waits]}
            for member in super().db_cluster_members
        ]

    @property
    def log_groups(self) -> list[str]:
        """Names of the log groups that its exports are written to."""
        return [f"/aws/rds/cluster/{self.resource_id}/{kind}" for kind in self.enabled_cloudwatch_logs_exports]

    def designate_writer(self) -> None:
        """Lowest promotion tier first, when there is no instance writer. moto: also at a read-only global member."""
        if any(member.chosen_writer for member in self._members) or not self._members:
            return
        min(self._members, key=lambda member: (member.promotion_tier, member.created)).chosen_writer = True

    def failover(self, target_instance: Any) -> None:
        """Move the writer role within the cluster (FailoverDBCluster)."""
        for member in self._members:
            member.chosen_writer = member is target_instance

    def save_automated_backup(self) -> None:
        """moto: takes a snapshot named by the minute, which fails when a cluster is created anew within it."""

    def answer(self) -> "AuroraCluster":
        """A copy for the answer of a request that ends this cluster's life."""
        return copy.copy(self)


class AuroraGlobalCluster(Settling, GlobalCluster):  # type: ignore[misc]
    """An Aurora global database. Kept in one place, answered in every region."""

    def __init__(self, *args: Any, database_name: str | None, tags: list[dict[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # moto: has neither.
        self.database_name = database_name
        self.tags = tags
        self.writer: AuroraCluster | None = None
        self.change: roles.RoleChange | None = None
        self.rebuilding: roles.RoleChange | None = None
        self.engine_lifecycle_support = "open-source-rds-extended-support"
        self.begin("creating")

    @property
    def arn(self) -> str:
        """Without a region. moto: removes the region's name everywhere, also inside the identifier."""
        return f"arn:{self.partition}:rds::{self.account_id}:global-cluster:{self.global_cluster_identifier}"

    @property
    def status(self) -> str:
        """The role change first."""
        if self.change is not None:
            return self.change.status
        return Settling.status.fget(self)  # type: ignore[attr-defined,no-any-return]

    @status.setter
    def status(self, value: str) -> None:
        self._settled_status = value

    @property
    def failover_state(self) -> dict[str, Any] | None:
        """moto: lacks it. AWS fills it only while a switchover or failover is under way."""
        change = self.change
        if change is None:
            return None
        return {
            "Status": change.status,
            "FromDbClusterArn": change.from_arn,
            "ToDbClusterArn": change.to_arn,
            "IsDataLossAllowed": change.kind == "failover",
        }

    @property
    def readers(self) -> list[str]:
        """ARNs of the read-only members."""
        return [str(member.arn) for member in self.members if member is not self.writer]

    @property
    def global_cluster_members(self) -> list[dict[str, Any]]:
        """moto: lacks SynchronizationStatus and the true GlobalWriteForwardingStatus."""
        return [self._member(member) for member in self.members]

    def _member(self, member: AuroraCluster) -> dict[str, Any]:
        lost = self.rebuilding is not None and self.rebuilding.from_arn == str(member.arn)
        result: dict[str, Any] = {
            "DBClusterArn": str(member.arn),
            "IsWriter": member is self.writer,
            "Readers": self.readers if member is self.writer else [],
            "SynchronizationStatus": "pending-resync" if lost else "connected",
        }
        if member is not self.writer:
            result["GlobalWriteForwardingStatus"] = member.global_write_forwarding_status
        return result

    def join(self, cluster: AuroraCluster) -> None:
        """The first member is the writer."""
        cluster.membership = self
        self.members.append(cluster)
        if self.writer is None:
            self.writer = cluster

    def leave(self, cluster: AuroraCluster) -> None:
        """A removed member goes on as a cluster of its own."""
        self.members.remove(cluster)
        cluster.membership = None
        if self.writer is cluster:
            self.writer = self.members[0] if self.members else None

    def settle(self) -> None:
        """Swap the roles when the driver reports that the target accepts writes; end the rebuild when it is over."""
        change = self.change
        if change is not None and roles.driver().failed(change):
            self.change = None
            event_publisher.publish(
                self._by(change.to_arn), "RDS-EVENT-0187" if change.kind == "switchover" else "RDS-EVENT-0239"
            )
            event_publisher.release()
        elif change is not None and roles.driver().finished(change):
            self.change = None
            old, self.writer = self._by(change.from_arn), self._by(change.to_arn)
            self.writer.promote()
            self.rebuilding = change if change.kind == "failover" else None
            if change.kind == "switchover":
                event_publisher.publish(old, "RDS-EVENT-0182")
                event_publisher.publish(self.writer, "RDS-EVENT-0184", "RDS-EVENT-0185", "RDS-EVENT-0397")
            else:
                event_publisher.publish(self.writer, "RDS-EVENT-0238", "RDS-EVENT-0397")
                event_publisher.publish(old, "RDS-EVENT-0240")
            event_publisher.release()
        if self.rebuilding is not None and roles.driver().resynchronised(self.rebuilding):
            event_publisher.publish(self._by(self.rebuilding.from_arn), "RDS-EVENT-0241")
            event_publisher.release()
            self.rebuilding = None

    def _by(self, arn: str) -> AuroraCluster:
        return next(member for member in self.members if str(member.arn) == arn)

    def start(self, kind: Any, target: AuroraCluster) -> None:
        """Begin a switchover or failover."""
        assert self.writer is not None
        identifier = self.global_cluster_identifier
        change = roles.RoleChange(kind, identifier, str(self.writer.arn), str(target.arn), clock.now(), clock.request)
        roles.driver().begin(change)
        self.rebuilding = None
        self.change = change
        if kind == "switchover":
            event_publisher.publish(target, "RDS-EVENT-0181")


def default_group(engine: str, version: str) -> str:
    """Name of AWS's default parameter group: `default.aurora-postgresql14` for 14.13."""
    major = version.split(".", maxsplit=1)[0] if "postgres" in engine else ".".join(version.split(".")[:2])
    return f"default.{engine}{major}"


def available(instances: Iterable[Any]) -> bool:
    """Whether one of these instances can serve."""
    return any(instance.status == "available" for instance in instances)
