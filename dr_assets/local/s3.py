"""S3: replication configurations as put, and AWS's guards around versioning. Imports moto's S3."""

from typing import Any

from moto.core.responses import ActionResult
from moto.s3 import urls
from moto.s3.exceptions import InvalidBucketState, ReplicationConfigurationNotFoundError, S3ClientError
from moto.s3.models import S3Backend
from moto.s3.responses import S3Response

from dr_assets.local.extended import Extended


class DrS3Backend(Extended, S3Backend):  # type: ignore[misc]
    """Replication as AWS guards it: versioning on at both ends, and not to be suspended while it is configured."""

    moto_urls = urls

    def response_class(self) -> Any:
        """Ours."""
        return DrS3Response

    def put_bucket_replication(self, bucket_name: str, replication: dict[str, Any]) -> None:
        """moto: looks at the source bucket only."""
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


class DrS3Response(S3Response):  # type: ignore[misc]
    """The S3 API."""

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


def _shown_rule(rule: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {key: rule[key] for key in ("ID", "Priority", "Status", "Destination") if key in rule}
    shown["Priority"] = int(rule.get("Priority", 1))
    if "Prefix" in rule:  # the first version of the rules: no filter, no word on delete markers
        return {**shown, "Prefix": rule["Prefix"] or ""}
    shown["Filter"] = {key: value or "" for key, value in (rule.get("Filter") or {}).items()}
    markers = (rule.get("DeleteMarkerReplication") or {}).get("Status", "Disabled")
    return {**shown, "DeleteMarkerReplication": {"Status": markers}}
