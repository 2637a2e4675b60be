"""Restores of the extended RDS backend: from a snapshot or to a point in time, as a cluster of its own.

A mixin of `rds.backend.AuroraBackend`. moto copies every attribute of the source object into the new cluster, among them
its password field, its identity and its place in a global cluster; here it gets what AWS documents.
"""

from typing import Any

from moto.rds.exceptions import InvalidParameterCombination

# What a restored cluster inherits unless the caller sets it. Groups fall back to the defaults, as at AWS.
_INHERITED = {
    "engine": "engine",
    "engine_version": "engine_version",
    "master_username": "master_username",
    "database_name": "database_name",
    "port": "port",
    "storage_encrypted": "storage_encrypted",
    "kms_key_id": "kms_key_id",
    "backup_retention_period": "backup_retention_period",
    "preferred_backup_window": "preferred_backup_window",
    "preferred_maintenance_window": "preferred_maintenance_window",
}
_GIVEN = (
    "engine_version",
    "port",
    "db_subnet_group_name",
    "vpc_security_group_ids",
    "kms_key_id",
    "tags",
    "enable_iam_database_authentication",
    "enable_cloudwatch_logs_exports",
    "db_cluster_parameter_group_name",
    "deletion_protection",
    "copy_tags_to_snapshot",
    "preferred_backup_window",
    "preferred_maintenance_window",
)


class Restores:
    """Mixin: restores of clusters in one region."""

    def restore_db_cluster_to_point_in_time(
        self, db_cluster_identifier: str, source_db_cluster_identifier: str, **params: Any
    ) -> Any:
        """RestoreDBClusterToPointInTime."""
        if bool(params.get("restore_to_time")) == bool(params.get("use_latest_restorable_time")):
            raise InvalidParameterCombination("Specify either RestoreToTime or UseLatestRestorableTime")
        source = self.find_member(source_db_cluster_identifier)  # type: ignore[attr-defined]
        return self._restored(source, db_cluster_identifier, params)

    def restore_db_cluster_from_snapshot(self, from_snapshot_id: str, overrides: dict[str, Any]) -> Any:
        """RestoreDBClusterFromSnapshot."""
        name = from_snapshot_id.rsplit(":cluster-snapshot:", 1)[-1]
        snapshot = self.describe_db_cluster_snapshots(  # type: ignore[attr-defined]
            db_cluster_identifier=None, db_snapshot_identifier=name
        )[0]
        return self._restored(snapshot.cluster, overrides["db_cluster_identifier"], dict(overrides))

    def _restored(self, source: Any, identifier: str, params: dict[str, Any]) -> Any:
        wanted = {key: getattr(source, field) for key, field in _INHERITED.items()}
        wanted.update({key: params[key] for key in _GIVEN if params.get(key) is not None})
        if not wanted["storage_encrypted"]:
            wanted.pop("kms_key_id", None)
        # The restored data hold the source's accounts, so the password is the one they had.
        wanted["master_user_password"] = getattr(source, "_master_user_password", None) or "restored-from-source"
        wanted["db_cluster_identifier"] = identifier
        wanted["restored"] = True  # also of a version that is no longer offered
        return self.create_db_cluster(wanted)  # type: ignore[attr-defined]
