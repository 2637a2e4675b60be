"""Export bucket and its settings at each site, replication in both directions, and the replication role."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dr_assets.core.expressions import Ref
from dr_assets.core.model import Resource
from dr_assets.resources import names
from dr_assets.resources.identity.rows import BOUNDARY
from dr_assets.resources.row import GLOBAL_REGION, deny_without_tls, other, policy, resource, statement, trust
from dr_assets.stack import SITES, Site, Stack

ARCHIVE_DAYS, EXPIRE_DAYS, OLD_VERSION_DAYS, ABORT_DAYS = 30, 365, 90, 7
MINIMUM_TLS = "1.2"
LOST = "an export could not be restored from the other region"


def site_rows(stack: Stack, site: Site) -> Iterator[Resource]:
    at, name = f"{site}/backup", names.bucket(stack, site)
    yield resource(
        stack,
        f"{at}/bucket",
        "s3.bucket",
        name,
        {"BucketRegion": stack.region(site)},
        terraform=f"module.{site}.aws_s3_bucket.exports",
        title="Database exports of this site; replicated to the other.",
    )

    def setting(what: str, kind: str, desired: dict[str, Any], twin: str, title: str) -> Resource:
        return resource(
            stack,
            f"{at}/{what}",
            kind,
            name,
            desired,
            tagged=False,
            after=(f"{at}/bucket",),
            terraform=f"module.{site}.aws_s3_bucket_{twin}.exports",
            title=title,
        )

    yield setting(
        "versioning", "s3.versioning", {"Status": "Enabled"}, "versioning", "Keeps old versions; replication needs it."
    )
    yield setting(
        "encryption",
        "s3.encryption",
        {
            "SSEAlgorithm": "aws:kms",
            "KMSMasterKeyID": Ref(f"{site}/encryption/data-key", "Arn"),
            "BucketKeyEnabled": True,
        },
        "server_side_encryption_configuration",
        "Every object encrypted at rest with the site's data key; its replica with the other site's.",
    )
    blocks = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")
    yield setting(
        "public-access-block",
        "s3.public_access_block",
        dict.fromkeys(blocks, True),
        "public_access_block",
        "Nothing in it can be made public.",
    )
    yield setting(
        "policy",
        "s3.policy",
        {"Policy": _tls_only(stack, site)},
        "policy",
        "Refuses requests without TLS 1.2 or newer.",
    )
    yield setting(
        "lifecycle",
        "s3.lifecycle",
        {"Rules": [_archive_rule()]},
        "lifecycle_configuration",
        "Glacier after 30 days, gone after a year.",
    )


def global_rows(stack: Stack) -> Iterator[Resource]:
    role = names.replication_role(stack)
    yield resource(
        stack,
        "global/backup/replication-role",
        "iam.role",
        role,
        # Whether S3 sends aws:SourceAccount when it replicates is not documented, so no condition asks for it.
        {"AssumeRolePolicy": trust("s3.amazonaws.com"), "PermissionsBoundary": BOUNDARY},
        region=GLOBAL_REGION,
        settings={"Description": "S3 replication between the sites' export buckets"},
        after=tuple(f"{site}/backup/bucket" for site in SITES),
        terraform="aws_iam_role.replication",
        title="The role with which S3 copies objects between the sites.",
    )
    yield resource(
        stack,
        "global/backup/replication-role-policy",
        "iam.role_policy",
        role,
        {"Policy": _replication_policy(stack)},
        tagged=False,
        region=GLOBAL_REGION,
        identity={"RoleName": role},
        after=("global/backup/replication-role", *(f"{site}/backup/bucket" for site in SITES)),
        terraform="aws_iam_role_policy.replication",
        title="Read at the source, replicate at the destination, in both directions and nothing else.",
    )
    for site in SITES:
        yield resource(
            stack,
            f"global/backup/replication-from-{site}",
            "s3.replication",
            names.bucket(stack, site),
            {"Role": Ref("global/backup/replication-role", "Arn"), "Rules": [_replication_rule(stack, site)]},
            tagged=False,
            region=stack.region(site),
            after=(*(f"{each}/backup/versioning" for each in SITES), "global/backup/replication-role-policy"),
            terraform=f"aws_s3_bucket_replication_configuration.from_{site}",
            capability="the exports' copy in the other region" if site == "primary" else "",
            title=f"Copies what is written at the {site} site to the other. Both directions are always on, so that a "
            "failover needs no call to turn replication round.",
        )


def _tls_only(stack: Stack, site: Site) -> dict[str, Any]:
    """Requests of S3 itself, replication among them, carry no `s3:TlsVersion`: the second statement does not concern them."""
    where = [names.bucket_arn(stack, site), names.bucket_arn(stack, site, "/*")]
    old_tls = {"NumericLessThan": {"s3:TlsVersion": MINIMUM_TLS}}
    return policy(
        deny_without_tls("s3:*", where),
        statement("s3:*", where, sid="DenyOldTLS", effect="Deny", principal="*", condition=old_tls),
    )


def _archive_rule() -> dict[str, Any]:
    return {
        "ID": "archive",
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "Transitions": [{"Days": ARCHIVE_DAYS, "StorageClass": "GLACIER"}],
        "Expiration": {"Days": EXPIRE_DAYS},
        "NoncurrentVersionExpiration": {"NoncurrentDays": OLD_VERSION_DAYS},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": ABORT_DAYS},
    }


def _replication_rule(stack: Stack, site: Site) -> dict[str, Any]:
    return {
        "ID": "replicate-all",
        "Priority": 1,
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "DeleteMarkerReplication": {"Status": "Enabled"},
        # Without this S3 leaves SSE-KMS objects out, and all of ours are.
        "SourceSelectionCriteria": {"SseKmsEncryptedObjects": {"Status": "Enabled"}},
        "Destination": {
            "Bucket": names.bucket_arn(stack, other(site)),
            "StorageClass": "STANDARD",
            "EncryptionConfiguration": {"ReplicaKmsKeyID": Ref(f"{other(site)}/encryption/data-key", "Arn")},
        },
    }


def _replication_policy(stack: Stack) -> dict[str, Any]:
    """What S3 needs (user guide, "Setting up permissions for live replication" and "Replicating encrypted objects"), on these
    two buckets only.

    An export may be encrypted with any key of its region, so reading is confined by the bucket it is in, not by the key.
    """
    buckets = [names.bucket_arn(stack, site) for site in SITES]
    objects = [names.bucket_arn(stack, site, "/*") for site in SITES]
    reading = ["s3:GetObjectVersionForReplication", "s3:GetObjectVersionAcl", "s3:GetObjectVersionTagging"]
    writing = ["s3:ReplicateObject", "s3:ReplicateDelete", "s3:ReplicateTags"]
    return policy(
        statement(["s3:GetReplicationConfiguration", "s3:ListBucket"], buckets, sid="ReadConfiguration"),
        statement(reading, objects, sid="ReadObjects"),
        statement(writing, objects, sid="Replicate"),
        *(part for site in SITES for part in _use_of_keys(stack, site)),
    )


def _use_of_keys(stack: Stack, site: Site) -> Iterator[dict[str, Any]]:
    """Decrypt what lies in the site's bucket, and encrypt the replicas that arrive there with the site's data key.

    The encryption context is the object's ARN, or the bucket's with a bucket key; S3 then also decrypts the bucket key of
    the replica before it uses it.
    """
    region, bucket = stack.region(site), names.bucket_arn(stack, site)
    through_s3 = {
        "StringEquals": {"kms:ViaService": f"s3.{region}.amazonaws.com"},
        "StringLike": {"kms:EncryptionContext:aws:s3:arn": [bucket, names.bucket_arn(stack, site, "/*")]},
    }
    label = site.capitalize()
    yield statement("kms:Decrypt", names.key_arn(stack, site), sid=f"Decrypt{label}", condition=through_s3)
    # The documents name Encrypt alone for replicas; objects put under a bucket key take GenerateDataKey.
    encrypt = ["kms:Encrypt", "kms:GenerateDataKey"]
    key = Ref(f"{site}/encryption/data-key", "Arn")
    yield statement(encrypt, key, sid=f"Encrypt{label}", condition=through_s3)
