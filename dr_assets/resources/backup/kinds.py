"""S3: the export buckets, what is configured on them, and replication between them.

Every setting of a bucket is an API of its own with an error code of its own for "not set"; `_Setting` has that in one place.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from botocore.exceptions import ClientError

from dr_assets.core.compare import normal_policy
from dr_assets.core.model import Call, Drift, Kind, Observed, Reads, Target, error_code, permit
from dr_assets.errors import AwsCallError
from dr_assets.resources.names import arn
from dr_assets.resources.tags import from_tag_list, to_tag_list

_NO_BUCKET: tuple[str, ...] = ("NoSuchBucket", "404")


class Bucket(Kind):
    """Created and tagged by two calls; its name holds the account number, so a fresh untagged one is ours."""

    name = "s3.bucket"
    keeps_data = "Correct the stack file, or replicate the objects to a bucket under another suffix first."
    label = "S3 bucket"
    compute_kinds = ("s3",)
    adopts_untagged = True
    immutable = frozenset({"BucketRegion"})
    absent_codes = _NO_BUCKET
    resource_arn = "s3:::{name}"
    read_actions = permit("s3:ListBucket", "s3:GetBucketTagging")
    write_actions = permit(
        "s3:CreateBucket", "s3:PutBucketTagging", "s3:ListBucketVersions", "s3:DeleteBucket"
    ) | permit("s3:DeleteObject", "s3:DeleteObjectVersion", on="s3:::{name}/*")
    least_reads = (1, 0)  # that its tags can be read proves that it exists
    terraform = ("aws_s3_bucket",)
    console_url = "https://s3.console.aws.amazon.com/s3/buckets/{name}?region={region}"

    def observe(self, reads: Reads, target: Target) -> Observed | None:
        try:
            head = reads.call("s3", "head_bucket", target.region, Bucket=target.name)
        except ClientError as error:
            code = error_code(error)
            # HeadBucket answers without a body: the status is all there is.
            if code in ("403", "AccessDenied"):
                raise AwsCallError(
                    f"S3 refuses to show bucket {target.name} (403): it belongs to another account, or s3:ListBucket "
                    "is not granted. Nothing was touched. Grant what `dr permissions` prints, or choose another "
                    "environment_suffix."
                ) from error
            if code in ("301", "PermanentRedirect"):
                raise AwsCallError(
                    f"Bucket {target.name} exists in a region other than {target.region} (301). Nothing was touched. "
                    "Choose another environment_suffix."
                ) from error
            raise
        region = head.get("BucketRegion") or head["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region")
        return {
            "Name": target.name,
            "Arn": arn("s3", target.name, home=target.region),
            "BucketRegion": region,
            "Tags": self._tags(reads, target),
        }

    def _tags(self, reads: Reads, target: Target) -> dict[str, str]:
        try:
            return from_tag_list(reads.call("s3", "get_bucket_tagging", target.region, Bucket=target.name)["TagSet"])
        except ClientError as error:
            if error_code(error) == "NoSuchTagSet":
                return {}
            raise

    def create(self, target: Target) -> Call:
        params: dict[str, Any] = {"Bucket": target.name}
        # us-east-1 is S3's default and the one region it does not take as a LocationConstraint.
        if target.region != "us-east-1":
            params["CreateBucketConfiguration"] = {"LocationConstraint": target.region}
        return Call("s3", "create_bucket", params)

    def update(self, target: Target, observed: Observed, drift: Sequence[Drift]) -> Call:
        # S3 replaces the whole set, so what others added is sent along.
        tags = {**observed["Tags"], **target.desired["Tags"]}
        return Call("s3", "put_bucket_tagging", {"Bucket": target.name, "Tagging": {"TagSet": to_tag_list(tags)}})

    def before_delete(self, reads: Reads, target: Target, observed: Observed) -> Observed:
        """S3 deletes only empty buckets: list what is in it, up to what one call may delete."""
        found = reads.call("s3", "list_object_versions", target.region, Bucket=target.name, MaxKeys=1000)
        items = (*found.get("Versions", ()), *found.get("DeleteMarkers", ()))
        return {**observed, "Objects": [{"Key": item["Key"], "VersionId": item["VersionId"]} for item in items]}

    def delete(self, target: Target, observed: Observed) -> Call:
        if observed.get("Objects"):
            params = {"Bucket": target.name, "Delete": {"Objects": observed["Objects"], "Quiet": True}}
            return Call("s3", "delete_objects", params)
        return Call("s3", "delete_bucket", {"Bucket": target.name})


class _Setting(Kind):
    """One setting of a bucket: `_get` reads it, `absent_codes` hold the code for "not set" too, `_remove` takes it away."""

    compute_kinds = ("s3",)
    _get: ClassVar[str]
    absent_codes = _NO_BUCKET
    resource_arn = "s3:::{name}"
    least_reads = (1, 0)
    _remove: ClassVar[str | None] = None

    def observe(self, reads: Reads, target: Target) -> Observed | None:
        return self._observe(reads.call("s3", self._get, target.region, Bucket=target.name))

    def _observe(self, answer: Mapping[str, Any]) -> Observed | None:
        raise NotImplementedError

    def delete(self, target: Target, observed: Observed) -> Call | None:
        return Call("s3", self._remove, {"Bucket": target.name}) if self._remove else None


class Versioning(_Setting):
    """Never set is absent. It cannot be taken away again, only suspended: it goes with the bucket."""

    name = "s3.versioning"
    label = "bucket versioning"
    _get = "get_bucket_versioning"
    parity = ("Status",)
    read_actions = permit("s3:GetBucketVersioning")
    write_actions = permit("s3:PutBucketVersioning")
    terraform = ("aws_s3_bucket_versioning",)

    def _observe(self, answer: Mapping[str, Any]) -> Observed | None:
        return {"Status": answer["Status"]} if answer.get("Status") else None

    def create(self, target: Target) -> Call:
        configuration = {"Status": target.desired["Status"]}
        return Call("s3", "put_bucket_versioning", {"Bucket": target.name, "VersioningConfiguration": configuration})


class Encryption(_Setting):
    """Every bucket is encrypted with AES256 from its first day, and deleting the setting only brings that back: it can be
    wrong, but neither absent nor removed, so it goes with the bucket. The code in `absent_codes` is of older S3 and of others
    that speak its language."""

    name = "s3.encryption"
    label = "bucket encryption"
    _get = "get_bucket_encryption"
    absent_codes = (*_NO_BUCKET, "ServerSideEncryptionConfigurationNotFoundError")
    read_actions = permit("s3:GetEncryptionConfiguration")
    write_actions = permit("s3:PutEncryptionConfiguration")
    terraform = ("aws_s3_bucket_server_side_encryption_configuration",)

    def _observe(self, answer: Mapping[str, Any]) -> Observed | None:
        rule = answer["ServerSideEncryptionConfiguration"]["Rules"][0]
        by_default = rule["ApplyServerSideEncryptionByDefault"]
        return {
            "SSEAlgorithm": by_default["SSEAlgorithm"],
            "KMSMasterKeyID": by_default.get("KMSMasterKeyID"),
            "BucketKeyEnabled": rule.get("BucketKeyEnabled", False),
        }

    def create(self, target: Target) -> Call:
        rule = {
            "ApplyServerSideEncryptionByDefault": {
                field: target.desired[field] for field in ("SSEAlgorithm", "KMSMasterKeyID")
            },
            "BucketKeyEnabled": target.desired["BucketKeyEnabled"],
        }
        return Call(
            "s3",
            "put_bucket_encryption",
            {"Bucket": target.name, "ServerSideEncryptionConfiguration": {"Rules": [rule]}},
        )


class PublicAccessBlock(_Setting):
    """S3 sets all four on a new bucket by itself; set here too, since it can be taken away again."""

    name = "s3.public_access_block"
    label = "public-access block"
    _get, _remove = "get_public_access_block", "delete_public_access_block"
    absent_codes = (*_NO_BUCKET, "NoSuchPublicAccessBlockConfiguration")
    read_actions = permit("s3:GetBucketPublicAccessBlock")
    write_actions = permit("s3:PutBucketPublicAccessBlock")
    terraform = ("aws_s3_bucket_public_access_block",)

    def _observe(self, answer: Mapping[str, Any]) -> Observed | None:
        return dict(answer["PublicAccessBlockConfiguration"])

    def create(self, target: Target) -> Call:
        params = {"Bucket": target.name, "PublicAccessBlockConfiguration": dict(target.desired)}
        return Call("s3", "put_public_access_block", params)


class BucketPolicy(_Setting):
    name = "s3.policy"
    label = "bucket policy"
    _get, _remove = "get_bucket_policy", "delete_bucket_policy"
    absent_codes = (*_NO_BUCKET, "NoSuchBucketPolicy")
    read_actions = permit("s3:GetBucketPolicy")
    write_actions = permit("s3:PutBucketPolicy", "s3:DeleteBucketPolicy")
    terraform = ("aws_s3_bucket_policy",)

    def _observe(self, answer: Mapping[str, Any]) -> Observed | None:
        return {"Policy": normal_policy(json.loads(answer["Policy"]))}

    def create(self, target: Target) -> Call:
        return Call("s3", "put_bucket_policy", {"Bucket": target.name, "Policy": json.dumps(target.desired["Policy"])})


class Lifecycle(_Setting):
    """`Rules` as S3 takes them. S3 answers an empty filter as {} or {"Prefix": ""}: both mean every object.

    Beside the rules it answers TransitionDefaultMinimumObjectSize, which is not set here: S3's default stays.
    """

    name = "s3.lifecycle"
    label = "bucket lifecycle"
    _get, _remove = "get_bucket_lifecycle_configuration", "delete_bucket_lifecycle"
    absent_codes = (*_NO_BUCKET, "NoSuchLifecycleConfiguration")
    parity = ("Rules",)
    read_actions = permit("s3:GetLifecycleConfiguration")
    write_actions = permit("s3:PutLifecycleConfiguration")
    terraform = ("aws_s3_bucket_lifecycle_configuration",)

    def _observe(self, answer: Mapping[str, Any]) -> Observed | None:
        return {"Rules": [_rule(rule) for rule in answer["Rules"]]}

    def create(self, target: Target) -> Call:
        configuration = {"Rules": target.desired["Rules"]}
        return Call(
            "s3", "put_bucket_lifecycle_configuration", {"Bucket": target.name, "LifecycleConfiguration": configuration}
        )


class Replication(_Setting):
    """`Rules` and `Role`. S3 refuses it until both buckets are versioned, and versioning cannot be suspended under it.

    S3 takes any ReplicaKmsKeyID; with one that it cannot use, every replication fails ("Replicating encrypted objects").
    """

    name = "s3.replication"
    label = "bucket replication"
    _get, _remove = "get_bucket_replication", "delete_bucket_replication"
    absent_codes = (*_NO_BUCKET, "ReplicationConfigurationNotFoundError")
    read_actions = permit("s3:GetReplicationConfiguration")
    write_actions = permit("s3:PutReplicationConfiguration") | permit("iam:PassRole", on="iam.role")
    terraform = ("aws_s3_bucket_replication_configuration",)

    def _observe(self, answer: Mapping[str, Any]) -> Observed | None:
        found = answer["ReplicationConfiguration"]
        return {"Role": found["Role"], "Rules": [_rule(rule) for rule in found["Rules"]]}

    def create(self, target: Target) -> Call:
        configuration = {"Role": target.desired["Role"], "Rules": target.desired["Rules"]}
        return Call("s3", "put_bucket_replication", {"Bucket": target.name, "ReplicationConfiguration": configuration})


def _rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    """A lifecycle or replication rule in the spelling of the catalogue: filter for everything = prefix ""."""
    normal = dict(rule)
    prefix = normal.pop("Prefix", None)
    if not normal.get("Filter"):
        normal["Filter"] = {"Prefix": prefix or ""}
    return normal


KINDS: tuple[Kind, ...] = (
    Bucket(),
    Versioning(),
    Encryption(),
    PublicAccessBlock(),
    BucketPolicy(),
    Lifecycle(),
    Replication(),
)
