"""ModifyDBCluster and ModifyDBInstance: which fields they change, at once or in the maintenance window. No I/O."""

from collections.abc import Mapping
from typing import Any

# ModifyDBCluster parameter -> the field it changes.
CLUSTER_FIELDS = {
    "backup_retention_period": "backup_retention_period",
    "port": "port",
    "preferred_backup_window": "preferred_backup_window",
    "deletion_protection": "deletion_protection",
    "copy_tags_to_snapshot": "copy_tags_to_snapshot",
    "enable_iam_database_authentication": "iam_auth",
    "vpc_security_group_ids": "vpc_security_group_ids",
    "db_cluster_parameter_group_name": "parameter_group",
    "enable_global_write_forwarding": "_global_write_forwarding_requested",
    "engine_version": "engine_version",
    "storage_type": "storage_type",
}
# ModifyDBInstance parameter -> the field it changes.
INSTANCE_FIELDS = {
    "db_instance_class": "db_instance_class",
    "auto_minor_version_upgrade": "auto_minor_version_upgrade",
    "publicly_accessible": "publicly_accessible",
    "promotion_tier": "promotion_tier",
    "ca_certificate_identifier": "ca_certificate_identifier",
    "monitoring_interval": "monitoring_interval",
    "monitoring_role_arn": "monitoring_role_arn",
    "db_parameter_group_name": "db_parameter_group_name",
    "enable_performance_insights": "performance_insights_enabled",
    "performance_insights_kms_key_id": "performance_insights_kms_key_id",
    "performance_insights_retention_period": "performance_insights_retention_period",
    "database_insights_mode": "database_insights_mode",
    "copy_tags_to_snapshot": "copy_tags_to_snapshot",
    "deletion_protection": "deletion_protection",
}
# Fields whose change waits for the maintenance window without ApplyImmediately -> member of PendingModifiedValues (RDS user guide,
# "Settings for DB instances"; RDS API, ClusterPendingModifiedValues). Everything else is applied at once.
DEFERRED = {
    "backup_retention_period": "BackupRetentionPeriod",
    "ca_certificate_identifier": "CACertificateIdentifier",
    "db_cluster_identifier": "DBClusterIdentifier",
    "db_instance_class": "DBInstanceClass",
    "db_instance_identifier": "DBInstanceIdentifier",
    "engine_version": "EngineVersion",
    "iam_auth": "IAMDatabaseAuthenticationEnabled",
    "storage_type": "StorageType",
}


def modify(item: Any, fields: Mapping[str, str], params: dict[str, Any]) -> None:
    """Change the fields that the request names. Some wait for the maintenance window unless it says ApplyImmediately, which
    also applies those that wait already (RDS API, ModifyDBInstance)."""
    wanted = {field: params[key] for key, field in fields.items() if params.get(key) is not None}
    at_once = params.get("apply_immediately")
    later = {} if at_once else {field: value for field, value in wanted.items() if field in DEFERRED}
    now = {**(item.deferred if at_once else {}), **{k: v for k, v in wanted.items() if k not in later}}
    for field, value in now.items():
        setattr(item, field, value)
    item.deferred = {} if at_once else {**item.deferred, **later}
    item.deferred = {field: value for field, value in item.deferred.items() if getattr(item, field) != value}


def new_name(item: Any, field: str, params: dict[str, Any]) -> str | None:
    """The identifier that an item of RDS gets now; `None` for none, or one that waits for the maintenance window.

    Source: RDS API, ModifyDBCluster and ModifyDBInstance (ApplyImmediately). Call it before `modify`, which applies what waits.
    """
    waiting = item.deferred.pop(field, None)
    wanted = params.get(f"new_{field}") or waiting
    wanted = wanted.lower() if wanted else None
    if wanted in (None, getattr(item, field).lower()):
        return None
    if params.get("apply_immediately"):
        return str(wanted)
    item.deferred[field] = wanted
    return None
