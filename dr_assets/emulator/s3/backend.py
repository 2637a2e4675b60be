"""S3 extension of moto: defaults of a bucket, replication configuration, versioning rules."""

from typing import Any

from moto.core.responses import ActionResult
from moto.iam.access_control import PermissionResult
from moto.s3 import urls
from moto.s3.exceptions import InvalidBucketState, ReplicationConfigurationNotFoundError, S3ClientError
from moto.s3.models import PublicAccessBlock, S3Backend, s3_backends
from moto.s3.responses import S3Response

from dr_assets.emulator.extension import Extended, Extension
from dr_assets.emulator.permissions.principals import invalid_principal
from dr_assets.emulator.policies.public import is_public
from dr_assets.emulator.s3 import encryption as sse
from dr_assets.emulator.s3.replication import HEADER, replicator, status


class DrS3Backend(Extended, S3Backend):  # type: ignore[misc]
    """Replication as AWS guards it: versioning on at both ends, and not to be suspended while it is configured."""

    def create_bucket(self, *args: Any, **kwargs: Any) -> Any:
        """SSE-S3 and all four public-access blocks from the first day (S3 user guide: since January and April 2023).

        Policies are evaluated before the call. moto: takes their statements for unconditional, and refuses TLS-only buckets.
        """
        bucket = super().create_bucket(*args, **kwargs)
        bucket.encryption = sse.DEFAULT
        bucket.public_access_block = PublicAccessBlock("true", "true", "true", "true")
        bucket.get_permission = lambda _action, _resource: PermissionResult.NEUTRAL
        return bucket

    def put_bucket_replication(self, bucket_name: str, replication: dict[str, Any]) -> None:
        """moto: checks the source bucket only. That the role and the keys can be used is not checked, as in the user guide."""
        rules = replication["Rule"]
        for rule in [rules] if isinstance(rules, dict) else rules:
            _check_encryption(rule)
            target = rule["Destination"]["Bucket"].rsplit(":", 1)[-1]
            if target == bucket_name:
                raise S3ClientError("InvalidRequest", "Destination bucket cannot be the same as the source bucket.")
            if target not in self.buckets:
                raise S3ClientError("InvalidRequest", "Destination bucket must exist.")
            if not self.get_bucket(target).is_versioned:
                raise S3ClientError("InvalidRequest", "Destination bucket must have versioning enabled.")
        super().put_bucket_replication(bucket_name, replication)

    def put_bucket_policy(self, bucket_name: str, policy: bytes) -> None:
        """moto: takes principals that do not exist, and a public policy under BlockPublicPolicy.

        Sources: PutBucketPolicy's errors in terraform-provider-aws, resource aws_s3_bucket_policy; torchbox/buckup#18.
        """
        if invalid_principal(policy):
            raise S3ClientError("MalformedPolicy", "Invalid principal in policy")
        block = self.get_bucket(bucket_name).public_access_block
        if block is not None and block.block_public_policy and is_public(policy.decode()):
            raise S3ClientError("AccessDenied", "Access Denied")
        super().put_bucket_policy(bucket_name, policy)

    def put_bucket_versioning(self, bucket_name: str, status: str) -> None:
        """moto: suspends it under a replication configuration."""
        if status == "Suspended" and self.get_bucket_replication(bucket_name):
            raise InvalidBucketState(
                "A replication configuration is present on this bucket, so you cannot change the versioning state. "
                "To change the versioning state, first delete the replication configuration."
            )
        super().put_bucket_versioning(bucket_name, status)

    def delete_bucket_encryption(self, bucket_name: str) -> None:
        """Brings back SSE-S3: a bucket is never without encryption. moto: leaves it without."""
        self.get_bucket(bucket_name).encryption = sse.DEFAULT

    # -- what is replicated --------------------------------------------------------------------------------------------

    def put_object(
        self,
        bucket_name: str,
        *args: Any,
        encryption: str | None = None,
        kms_key_id: str | None = None,
        bucket_key_enabled: Any = None,
        **kwargs: Any,
    ) -> Any:
        """moto: copies nothing, and takes the bucket's key where AWS takes its own. Also what copies and multipart uploads end in."""
        wanted = sse.Settings(self.account_id, self.get_bucket(bucket_name), encryption, kms_key_id, bucket_key_enabled)
        key = super().put_object(bucket_name, *args, **kwargs)
        key.encryption, key.kms_key_id, key.bucket_key_enabled = wanted.algorithm, wanted.key, wanted.bucket_key
        replicator.enqueue(self, bucket_name, key)
        return key

    def copy_object(self, src_key: Any, dest_bucket_name: str, *args: Any, **kwargs: Any) -> Any:
        """Reads the source. moto: reads objects whose key cannot be used."""
        self.use_key_of(src_key)
        return super().copy_object(src_key, dest_bucket_name, *args, **kwargs)

    def upload_part_copy(self, *args: Any, **kwargs: Any) -> Any:
        """Reads the source, too."""
        self.use_key_of(self.get_object(kwargs["src_bucket_name"], kwargs["src_key_name"], kwargs["src_version_id"]))
        return super().upload_part_copy(*args, **kwargs)

    def create_multipart_upload(
        self,
        bucket_name: str,
        key_name: str,
        metadata: Any,
        storage_type: str,
        tags: dict[str, str],
        acl: Any,
        sse_encryption: str | None,
        kms_key_id: str | None,
    ) -> Any:
        """Refused at once where the upload's key cannot be used. moto: when it is completed."""
        sse.Settings(self.account_id, self.get_bucket(bucket_name), sse_encryption, kms_key_id, None)
        return super().create_multipart_upload(
            bucket_name, key_name, metadata, storage_type, tags, acl, sse_encryption, kms_key_id
        )

    def use_key_of(self, key: Any) -> None:
        """S3ClientError where an object's KMS key cannot be used."""
        if getattr(key, "kms_key_id", None):
            sse.usable_key(self.account_id, self.get_bucket(key.bucket_name).region_name, key.kms_key_id)

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


def _check_encryption(rule: dict[str, Any]) -> None:
    """S3 refuses one half of the settings for SSE-KMS without the other."""
    selected = ((rule.get("SourceSelectionCriteria") or {}).get("SseKmsEncryptedObjects") or {}).get("Status")
    configured = rule["Destination"].get("EncryptionConfiguration")
    if selected == "Enabled" and not (configured or {}).get("ReplicaKmsKeyID"):
        raise S3ClientError(
            "InvalidRequest", "ReplicaKmsKeyID must be specified if SseKmsEncryptedObjects tag is present."
        )
    if configured is not None and not selected:
        raise S3ClientError(
            "InvalidRequest", "SseKmsEncryptedObjects must be specified if EncryptionConfiguration is present."
        )


class DrS3Response(S3Response):  # type: ignore[misc]
    """The S3 API."""

    def get_object(self) -> Any:
        """moto: has no replication status, and reads objects whose key cannot be used."""
        version = self.querystring.get("versionId", [None])[0]
        key = self.backend.get_object(self.bucket_name, self.parse_key_name(), version_id=version)
        self.backend.use_key_of(key)
        code, headers, body = super().get_object()
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
    as_put = ("ID", "Priority", "Status", "Destination", "SourceSelectionCriteria")
    shown: dict[str, Any] = {key: rule[key] for key in as_put if key in rule}
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
