"""SSE-KMS in the embedded S3: default encryption, the key of an object, and whether a role may use a key for replication.

Sources: S3 user guide, "Setting default server-side encryption behavior" (SSE-S3 unless set otherwise), "Specifying server-side
encryption with AWS KMS" (aws:kms without a key means alias/aws/s3, also where the bucket's default names a key), "Replicating
encrypted objects" (the role's kms:Decrypt and kms:Encrypt, the encryption context, bucket keys); KMS developer guide, "Key policies".
"""

from collections.abc import Mapping
from typing import Any

from moto.core.exceptions import JsonRESTError
from moto.kms.models import kms_backends
from moto.s3.exceptions import S3ClientError

from dr_assets.emulator.permissions.service_calls import role_may

DEFAULT: dict[str, Any] = {
    "Rule": {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": "false"}
}
OWN_KEY = "alias/aws/s3"
SESSION = "s3-replication"  # name of the session in which S3 uses the role


class Settings:
    """How an object is to be encrypted: the request's settings, else the bucket's default.

    Attributes:
        algorithm: AES256, aws:kms or aws:kms:dsse.
        key: ARN of the KMS key; `None` with AES256.
        bucket_key: "true" or "false" as in the header; `None` with AES256.
    """

    def __init__(self, account: str, bucket: Any, algorithm: str | None, key: str | None, bucket_key: Any) -> None:
        default = (bucket.encryption or DEFAULT)["Rule"]
        by_default = default["ApplyServerSideEncryptionByDefault"]
        self.algorithm: str = algorithm or by_default["SSEAlgorithm"]
        self.key: str | None = None
        self.bucket_key: str | None = None
        if self.algorithm.startswith("aws:kms"):
            wanted = key or (None if algorithm else by_default.get("KMSMasterKeyID")) or OWN_KEY
            self.key = usable_key(account, bucket.region_name, wanted)
            chosen = default.get("BucketKeyEnabled") if bucket_key is None else bucket_key
            self.bucket_key = str(chosen or "false").lower()


def usable_key(account: str, region: str, key_id: str) -> str:
    """The ARN of a key of that region. S3ClientError with S3's code for KMS's refusal (S3 API, "List of error codes")."""
    if key_id.startswith("arn:") and key_id.split(":")[3] != region:
        raise S3ClientError("KMS.NotFoundException", f"Invalid arn {key_id.split(':')[3]}")
    kms = kms_backends[account][region]
    try:
        key = kms.keys.get(kms.usable(key_id)) if _exists(kms, key_id) else None
    except JsonRESTError as error:
        raise S3ClientError(f"KMS.{error.error_type}", error.message) from None
    if key is None:
        raise S3ClientError("KMS.NotFoundException", f"Key '{key_id}' does not exist")
    return str(key.arn)


def _exists(kms: Any, key_id: str) -> bool:
    name = kms.get_alias_name(key_id)
    return not name.startswith("alias/") or kms.get_key_id_from_alias(name) is not None


def replica_key(role: str, source: Any, target: Any, item: Any, rule: Mapping[str, Any]) -> str | None:
    """The ARN of the key of an SSE-KMS object's replica; `None` where a key cannot be used or the role may not use it.

    Args:
        role: ARN of the replication role.
        source, target: the buckets.
        item: the object.
        rule: the replication rule that selects it.
    """
    wanted = (rule["Destination"].get("EncryptionConfiguration") or {}).get("ReplicaKmsKeyID")
    try:
        here = usable_key(source.account_id, source.region_name, item.kms_key_id)
        there = usable_key(source.account_id, target.region_name, wanted or "")
    except S3ClientError:
        return None
    # A bucket key, at either end, replaces the object's ARN in the encryption context by the bucket's, and is decrypted to
    # verify it before it is used ("S3 Bucket Keys and replication").
    shared = replica_has_bucket_key(target, item)
    needs = [("kms:Decrypt", here, source, has_bucket_key(item)), ("kms:Encrypt", there, target, shared)]
    if shared:
        needs.append(("kms:Decrypt", there, target, shared))
    allowed = all(_may_use(role, action, key, bucket, item.name, whole) for action, key, bucket, whole in needs)
    return there if allowed else None


def has_bucket_key(item: Any) -> bool:
    """Whether the object is encrypted under the bucket's key instead of a data key of its own."""
    return str(getattr(item, "bucket_key_enabled", None)).lower() == "true"


def replica_has_bucket_key(target: Any, item: Any) -> bool:
    """As its source, or as the destination bucket's default says (S3 user guide, "Using an S3 Bucket Key with replication")."""
    return has_bucket_key(item) or str((target.encryption or DEFAULT)["Rule"].get("BucketKeyEnabled")).lower() == "true"


def _may_use(role: str, action: str, key: str, bucket: Any, name: str, whole_bucket: bool) -> bool:
    region, place = bucket.region_name, f"arn:aws:s3:::{bucket.name}"
    kms = kms_backends[bucket.account_id][region]
    if kms.keys[kms.get_key_id(key)].key_manager == "AWS":  # serves everyone in the account who comes through S3
        return True
    context = {
        "kms:viaservice": f"s3.{region}.amazonaws.com",
        "kms:encryptioncontext:aws:s3:arn": place if whole_bucket else f"{place}/{name}",
    }
    return role_may(role, SESSION, action, key, context)
