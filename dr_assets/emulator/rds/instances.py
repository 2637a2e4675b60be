"""Aurora instances as AWS shows them, over moto's RDS models. Each override names what moto 5.2.5 lacks."""

import hashlib
from typing import Any

from moto.rds.exceptions import InvalidParameterCombination, InvalidParameterValue
from moto.rds.models import DBInstanceClustered, RDSBackend
from moto.utilities.utils import get_partition

from dr_assets.emulator.clock import Settling
from dr_assets.emulator.rds.modifications import DEFERRED

MONITORING_INTERVALS = (0, 1, 5, 10, 15, 30, 60)


class AuroraInstance(Settling, DBInstanceClustered):  # type: ignore[misc]
    """An instance of an Aurora cluster."""

    def __init__(self, backend: RDSBackend, db_cluster_identifier: str, **kwargs: Any) -> None:
        self.chosen_writer = False
        # Of which groups, `instance` or `cluster`, parameters wait for a reboot. What it was created with is in force.
        self.pending_reboot: set[str] = set()
        # Accepted modifications that wait for the maintenance window: field -> value.
        self.deferred: dict[str, Any] = {}
        # moto: no promotion tier but 1 when the caller gives none explicitly (AWS: 1 as well), kept as given.
        super().__init__(db_cluster_identifier=db_cluster_identifier, backend=backend, **kwargs)
        # moto: the same resource id for every instance.
        seed = f"{self.arn}/{self.created.isoformat()}"
        self.dbi_resource_id = "db-" + hashlib.sha256(seed.encode()).hexdigest()[:26].upper()
        self.ca_certificate_identifier = kwargs.get("ca_certificate_identifier") or "rds-ca-rsa2048-g1"
        self.availability_zone = kwargs.get("availability_zone") or self._emptiest_zone()
        self.engine_lifecycle_support = "open-source-rds-extended-support"
        # moto: Performance Insights is not kept.
        self.performance_insights_enabled = bool(kwargs.get("enable_performance_insights"))
        self.performance_insights_kms_key_id = kwargs.get("performance_insights_kms_key_id")
        self.performance_insights_retention_period = kwargs.get("performance_insights_retention_period")
        self.database_insights_mode = kwargs.get("database_insights_mode") or "standard"
        self.check_insights()
        self.begin("creating")

    def check_insights(self) -> None:
        """Resolve the key and the defaults of Performance Insights."""
        if not self.performance_insights_enabled:
            self.performance_insights_kms_key_id = None
            self.performance_insights_retention_period = None
            return
        key = self.performance_insights_kms_key_id or "alias/aws/rds"
        self.performance_insights_kms_key_id = self.backend._validate_kms_key(key)
        days = self.performance_insights_retention_period = self.performance_insights_retention_period or 7
        if days not in (7, 731) and not (days % 31 == 0 and 31 <= days <= 23 * 31):
            raise InvalidParameterValue(
                f"Invalid Performance Insights Retention period. Valid values are: [7, 731] or a month * 31, not {days}"
            )

    def check_monitoring(self) -> None:
        """Refuse what AWS refuses: an interval that is not offered, or one without a role."""
        if self.monitoring_interval not in MONITORING_INTERVALS:
            raise InvalidParameterValue(f"Invalid value for MonitoringInterval: {self.monitoring_interval}")
        if self.monitoring_interval and not self.monitoring_role_arn:
            raise InvalidParameterCombination(
                "A MonitoringRoleARN value is required if you specify a MonitoringInterval value other than 0."
            )

    def _emptiest_zone(self) -> str:
        """AWS spreads instances over the subnet group's zones. moto: always zone `a`."""
        group = self.backend.subnet_groups.get(self.cluster.db_subnet_group_name)
        zones = sorted({subnet.availability_zone for subnet in group._subnets}) if group else [f"{self.region}a"]
        used = [instance.availability_zone for instance in self.cluster._members]
        return str(min(zones, key=used.count))

    @property
    def is_cluster_writer(self) -> bool:
        """One in the writer's cluster, none in a read-only global member (those have readers only)."""
        return self.chosen_writer and not self.cluster.is_global_reader

    @is_cluster_writer.setter
    def is_cluster_writer(self, value: bool) -> None:
        self.chosen_writer = value

    @property
    def db_parameter_group_status_list(self) -> list[dict[str, str]]:
        """moto: always in sync."""
        status = "pending-reboot" if "instance" in self.pending_reboot else "in-sync"
        names = [group.name for group in self.db_parameter_groups()]
        return [{"DBParameterGroupName": name, "ParameterApplyStatus": status} for name in names]

    @property
    def pending_modified_values(self) -> dict[str, Any]:
        """What ModifyDBInstance without ApplyImmediately left for the maintenance window. moto: lacks it."""
        return {DEFERRED[field]: value for field, value in self.deferred.items()}

    @property
    def address(self) -> str:
        """moto: `aaaaaaaaaa` for everyone."""
        return f"{self.db_instance_identifier}.{self.cluster.url_identifier}.{self.region}.rds.amazonaws.com"

    @property
    def db_subnet_group(self) -> Any:
        """The cluster's. moto: only what CreateDBInstance named."""
        return self.backend.subnet_groups.get(self.cluster.db_subnet_group_name)

    @db_subnet_group.setter
    def db_subnet_group(self, value: Any) -> None:
        """The cluster's, whatever CreateDBInstance named."""

    @property
    def iam_database_authentication_enabled(self) -> bool:
        """The cluster's. moto: the instance's own."""
        return bool(self.cluster.iam_database_authentication_enabled)

    @property
    def enhanced_monitoring_resource_arn(self) -> str | None:
        """moto: lacks it."""
        if not self.monitoring_interval:
            return None
        log_stream = f"log-group:RDSOSMetrics:log-stream:{self.dbi_resource_id}"
        return f"arn:{get_partition(self.region)}:logs:{self.region}:{self.account_id}:{log_stream}"

    @property
    def certificate_details(self) -> dict[str, Any]:
        """moto: lacks it."""
        return {"CAIdentifier": self.ca_certificate_identifier}

    def save_automated_backup(self) -> None:
        """moto: takes an instance snapshot; Aurora backs up the cluster's volume."""
