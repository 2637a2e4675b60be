"""S3 extension of moto: replication configuration, versioning rules, bucket-policy enforcement; copying is in `replication`."""

import json
from typing import Any

from moto.core.responses import ActionResult
from moto.iam.access_control import IAMPolicy, PermissionResult
from moto.s3 import urls
from moto.s3.exceptions import InvalidBucketState, ReplicationConfigurationNotFoundError, S3ClientError
from moto.s3.models import S3Backend, s3_backends
from moto.s3.responses import S3Response

from dr_assets.emulator.extension import Extended, Extension
from dr_assets.emulator.s3.replication import HEADER, replicator, status


class DrS3Backend(Extended, S3Backend):  # type: ignore[misc]
    """Replication as AWS guards it: versioning on at both ends, and not to be suspended while it is configured."""

    def create_bucket(self, *args: Any, **kwargs: Any) -> Any:
        """moto: takes a statement of a bucket's policy for unconditional, and so refuses everything to TLS-only buckets."""
        bucket = super().create_bucket(*args, **kwargs)
        bucket.get_permission = lambda action, resource: _permission(bucket, action, resource)
        return bucket

    def put_bucket_replication(self, bucket_name: str, replication: dict[str, Any]) -> None:
        """moto: checks the source bucket only."""
        rules = replication["Rule"]
        for rule in [rules] if isinstance(rules, dict) else rules:
            target = rule["Destination"]["Bucket"].rsplit(":", 1)[-1]
            if target == bucket_name:
                raise S3ClientError("InvalidRequest", "Destination bucket cannot be the same as the source bucket.")
            if target not in self.buckets:
                raise S3ClientError("InvalidRequest", "Destination bucket must exist.")
            if not self.get_bucket(target).is_versioned:
                raise S3ClientError("InvalidRequest", "Destination bucket must have versioning enabled.")
        super().put_bucket_replication(bucket_name, replication)

    def put_bucket_versioning(self, bucket_name: str, status: str) -> None:
        """moto: suspends it under a replication configuration."""
        if status == "Suspended" and self.get_bucket_replication(bucket_name):
            raise InvalidBucketState(
                "A replication configuration is present on this bucket, so you cannot change the versioning state. "
                "To change the versioning state, first delete the replication configuration."
            )
        super().put_bucket_versioning(bucket_name, status)

    # -- what is replicated --------------------------------------------------------------------------------------------

    def put_object(self, bucket_name: str, *args: Any, **kwargs: Any) -> Any:
        """moto: copies nothing. Also what copies and multipart uploads end in."""
        key = super().put_object(bucket_name, *args, **kwargs)
        replicator.enqueue(self, bucket_name, key)
        return key

    def put_object_tagging(self, key: Any, tags: dict[str, str] | None) -> Any:
        """Changed tags follow the object."""
        found = super().put_object_tagging(key, tags)
        if self._replicated(key):
            replicator.enqueue(self, key.bucket_name, key)
        return found

    def delete_object_tagging(self, bucket_name: str, key_name: str, version_id: str | None = None) -> None:
        """Removed tags, too."""
        super().delete_object_tagging(bucket_name, key_name, version_id)
        key = self.get_object(bucket_name, key_name, version_id)
        if key is not None and self._replicated(key):
            replicator.enqueue(self, bucket_name, key)

    @staticmethod
    def _replicated(key: Any) -> bool:
        # What was there before the rule stays where it is, whatever its tags.
        return status(key) in ("PENDING", "COMPLETED")

    def _set_delete_marker(self, bucket_name: str, key_name: str) -> Any:
        marker = super()._set_delete_marker(bucket_name, key_name)
        replicator.enqueue(self, bucket_name, marker, marker=True)
        return marker


def _permission(bucket: Any, action: str, resource: str) -> Any:
    """The permission by the policy's statements for everybody without a condition.

    moto: takes every principal for everybody, and refuses when it cannot evaluate a condition, also what is allowed.
    Conditions are not evaluated here; the usual one denies plain HTTP, and loopback counts as TLS.
    """
    if bucket.policy is None:
        return PermissionResult.NEUTRAL
    document = json.loads(bucket.policy)
    found = document["Statement"]
    document["Statement"] = [each for each in (found if isinstance(found, list) else [found]) if _enforced(each)]
    return IAMPolicy(json.dumps(document)).is_action_permitted(action, resource)


def _enforced(statement: dict[str, Any]) -> bool:
    return statement.get("Principal") in ("*", {"AWS": "*"}, {"AWS": ["*"]}) and not statement.get("Condition")


class DrS3Response(S3Response):  # type: ignore[misc]
    """The S3 API."""

    def get_object(self) -> Any:
        """moto: has no replication status."""
        code, headers, body = super().get_object()
        version = self.querystring.get("versionId", [None])[0]
        key = self.backend.get_object(self.bucket_name, self.parse_key_name(), version_id=version)
        return code, _with_status(headers, key), body

    def head_object(self, bucket_name: str, query: dict[str, Any], key_name: str, headers: dict[str, Any]) -> Any:
        """moto: has no replication status."""
        code, found, body = super().head_object(bucket_name, query, key_name, headers)
        if code >= 400:
            return code, found, body
        version = query.get("versionId", [None])[0]
        key = self.backend.get_object(bucket_name, key_name, version_id=version)
        return code, _with_status(found, key), body

    def get_bucket_replication(self) -> Any:
        """moto: always answers delete markers off and an empty prefix, whatever was put."""
        self.data["Action"] = "GetBucketReplication"
        replication = self.backend.get_bucket_replication(self.bucket_name)
        if not replication:
            raise ReplicationConfigurationNotFoundError(bucket_name=self.bucket_name)
        rules = [_shown_rule(rule) for rule in replication["Rule"]]
        return self.serialized(
            ActionResult({"ReplicationConfiguration": {"Role": replication["Role"], "Rules": rules}})
        )


def _with_status(headers: dict[str, Any], key: Any) -> dict[str, Any]:
    found = status(key)
    return {**headers, HEADER: found} if found else headers


def _shown_rule(rule: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {key: rule[key] for key in ("ID", "Priority", "Status", "Destination") if key in rule}
    shown["Priority"] = int(rule.get("Priority", 1))
    if "Prefix" in rule:  # the first version of the rules: no filter, no setting for delete markers
        return {**shown, "Prefix": rule["Prefix"] or ""}
    shown["Filter"] = {key: value or "" for key, value in (rule.get("Filter") or {}).items()}
    markers = (rule.get("DeleteMarkerReplication") or {}).get("Status", "Disabled")
    return {**shown, "DeleteMarkerReplication": {"Status": markers}}


EXTENSION = Extension(
    backends=s3_backends,
    backend=DrS3Backend,
    urls=urls,
    responses=DrS3Response,
    pass_time=replicator.pass_time,
    reset=replicator.reset,
)
