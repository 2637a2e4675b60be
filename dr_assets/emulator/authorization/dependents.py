"""Permissions that a call needs beyond its own action: tags on creation, passed roles, keys used on the caller's behalf.

Sources: Service Authorization Reference, "Dependent actions"; IAM user guide, "Granting a user permissions to pass a role";
Aurora user guide, "AWS KMS key management"; the KMS developer guide's pages on Secrets Manager and S3; SNS and SQS developer
guides, "Key management".
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from dr_assets.emulator.authorization.actions import Params, checks
from dr_assets.emulator.authorization.reference import arn
from dr_assets.emulator.permissions.principals import role_by_arn
from dr_assets.emulator.permissions.resource_policies import kms_key, secret
from dr_assets.emulator.permissions.state import ACCOUNT, PARTITION, backend


@dataclass(frozen=True)
class Permission:
    """One permission that a call needs. `context` are condition keys of its own, `key` marks those of a KMS key."""

    action: str
    resource: str
    context: dict[str, tuple[str, ...]] = field(default_factory=dict)
    key: bool = False


# What tags given on creation need.
_TAGGING = {
    "rds": "rds:AddTagsToResource",
    "kms": "kms:TagResource",
    "sns": "sns:TagResource",
    "sqs": "sqs:TagQueue",
    "logs": "logs:TagResource",
    "secretsmanager": "secretsmanager:TagResource",
    "cloudwatch": "cloudwatch:TagResource",
}
# (service, parameter) -> the service that the role is passed to.
_PASSED = {
    ("rds", "MonitoringRoleArn"): "monitoring.rds.amazonaws.com",
    ("rds", "RoleArn"): "rds.amazonaws.com",
    ("rds", "IamRoleArn"): "export.rds.amazonaws.com",
}
# RDS creates it with the rights of the first caller who needs it (RDS user guide, "Using service-linked roles").
RDS_ROLE = f"arn:{PARTITION}:iam::{ACCOUNT}:role/aws-service-role/rds.amazonaws.com/AWSServiceRoleForRDS"
# Which call is the first is known from reports: terraform-aws-modules/terraform-aws-rds#364 (the subnet group).
_RDS_NEEDS_ROLE = ("CreateDBSubnetGroup", "CreateDBCluster", "CreateDBInstance")
_RDS_WITH_KEY = ("CreateDBCluster", "CreateDBInstance", "RestoreDBClusterFromSnapshot", "RestoreDBClusterToPointInTime")


def dependents(service: str, operation: str, params: Params, region: str) -> Iterator[Permission]:
    """What the call needs beyond its own action."""
    yield from _tagging(service, operation, params, region)
    for (owner, parameter), to in _PASSED.items():
        if owner == service and str(params.get(parameter, "")).startswith("arn:"):
            yield Permission("iam:PassRole", params[parameter], {"iam:passedtoservice": (to,)})
    if service == "s3" and operation == "PutBucketReplication":
        role = (params.get("ReplicationConfiguration") or {}).get("Role")
        if role:
            yield Permission("iam:PassRole", role, {"iam:passedtoservice": ("s3.amazonaws.com",)})
    uses = _KEYS.get(service)
    if uses is not None:
        yield from uses(operation, params, region)


def _tagging(service: str, operation: str, params: Params, region: str) -> Iterator[Permission]:
    if service == "ec2":
        for each in params.get("TagSpecifications") or []:
            made = arn("ec2", str(each.get("ResourceType")), region)
            yield Permission("ec2:CreateTags", made, {"ec2:createaction": (operation,)})
        return
    given = next((params[name] for name in ("Tags", "tags") if params.get(name)), None)
    # IAM user guide, "Tags for IAM resources": TagRole for roles, TagPolicy for policies.
    action = f"iam:Tag{operation.removeprefix('Create')}" if service == "iam" else _TAGGING.get(service)
    if not given or action is None or not operation.startswith(("Create", "PutMetricAlarm")):
        return
    if service == "kms":
        yield Permission(action, arn("kms", "key", region))
        return
    own = [each for _, each in checks(service, operation, params, region)]
    kind = _created(service, operation)
    yield from (Permission(action, each) for each in own if kind is None or f":{kind}:" in each)


def _created(service: str, operation: str) -> str | None:
    """Of several resources of a call, the type of the new one as it stands in its ARN."""
    if service != "rds":
        return None
    kinds = {"CreateDBCluster": "cluster", "CreateDBInstance": "db", "CreateGlobalCluster": "global-cluster"}
    return kinds.get(operation)


# -- keys --------------------------------------------------------------------------------------------------------------


def _use(
    service: str, region: str, key_id: Any, actions: tuple[str, ...], **context: tuple[str, ...]
) -> Iterator[Permission]:
    """Use of a key through a service; AWS's own keys (`alias/aws/…`) serve every principal of the account."""
    if not key_id or "alias/aws/" in str(key_id):
        return
    key = kms_key(region, str(key_id))
    if key is None or key.key_manager == "AWS":
        return
    own = {"kms:viaservice": (f"{service}.{region}.amazonaws.com",), **context}
    yield from (Permission(action, str(key.arn), own, key=True) for action in actions)


def _rds(operation: str, params: Params, region: str) -> Iterator[Permission]:
    """RDS encrypts with a grant that it creates with the caller's rights."""
    if operation in _RDS_NEEDS_ROLE and role_by_arn(RDS_ROLE) is None:
        yield Permission("iam:CreateServiceLinkedRole", RDS_ROLE, {"iam:awsservicename": ("rds.amazonaws.com",)})
    grants = {"kms:grantisforawsresource": ("true",)}
    if operation in _RDS_WITH_KEY and params.get("KmsKeyId"):
        yield from _use("rds", region, params["KmsKeyId"], ("kms:DescribeKey",))
        yield from _use("rds", region, params["KmsKeyId"], ("kms:CreateGrant",), **grants)
    if key := params.get("PerformanceInsightsKMSKeyId"):
        yield from _use("rds", region, key, ("kms:DescribeKey",))
        yield from _use("rds", region, key, ("kms:CreateGrant",), **grants)


def _secretsmanager(operation: str, params: Params, region: str) -> Iterator[Permission]:
    found = secret(region, str(params.get("SecretId") or ""))
    own, new = getattr(found, "kms_key_id", None), params.get("KmsKeyId")
    context = {"kms:encryptioncontext:secretarn": (str(found.arn),)} if found is not None else {}
    both = ("kms:GenerateDataKey", "kms:Decrypt")
    if operation == "GetSecretValue":
        yield from _use("secretsmanager", region, own, ("kms:Decrypt",), **context)
    elif operation == "CreateSecret":
        yield from _use("secretsmanager", region, new, both)
    elif operation == "PutSecretValue" or (operation == "UpdateSecret" and (new or "SecretString" in params)):
        yield from _use("secretsmanager", region, new or own, both, **context)


def _sns(operation: str, params: Params, region: str) -> Iterator[Permission]:
    topic_arn = str(params.get("TopicArn") or params.get("TargetArn") or "")
    if operation in ("Publish", "PublishBatch"):
        topic = backend("sns", region).topics.get(topic_arn)
        context = {"kms:encryptioncontext:aws:sns:topicarn": (topic_arn,)}
        key = getattr(topic, "kms_master_key_id", None)
        yield from _use("sns", region, key, ("kms:GenerateDataKey", "kms:Decrypt"), **context)


def _sqs(operation: str, params: Params, region: str) -> Iterator[Permission]:
    name = str(params.get("QueueUrl") or "").rsplit("/", 1)[-1]
    queue = backend("sqs", region).queues.get(name)
    actions = {
        "SendMessage": ("kms:GenerateDataKey", "kms:Decrypt"),
        "SendMessageBatch": ("kms:GenerateDataKey", "kms:Decrypt"),
        "ReceiveMessage": ("kms:Decrypt",),
    }.get(operation)
    if actions and queue is not None:
        context = {"kms:encryptioncontext:aws:sqs:arn": (str(queue.queue_arn),)}
        yield from _use("sqs", region, getattr(queue, "kms_master_key_id", None), actions, **context)


def _s3(operation: str, params: Params, region: str) -> Iterator[Permission]:
    bucket = backend("s3").buckets.get(str(params.get("Bucket")))
    if bucket is None:
        return
    region, place = str(bucket.region_name), f"arn:{PARTITION}:s3:::{bucket.name}"
    if operation in ("CopyObject", "UploadPartCopy"):
        yield from _source_key(params)
    if operation in ("PutObject", "CopyObject", "CreateMultipartUpload"):
        algorithm, key, whole = _default_encryption(bucket)
        if asked := params.get("ServerSideEncryption"):
            # Without a key it means AWS's own, also where the bucket's default names one (S3 user guide, "Specifying SSE-KMS").
            algorithm, key = str(asked), params.get("SSEKMSKeyId")
        whole = whole if params.get("BucketKeyEnabled") is None else bool(params["BucketKeyEnabled"])
        actions = ("kms:GenerateDataKey", *(("kms:Decrypt",) if operation == "CreateMultipartUpload" else ()))
    elif operation == "GetObject":
        yield from _object_key(bucket, str(params.get("Key")), params.get("VersionId"))
        return
    else:
        return
    if algorithm.startswith("aws:kms"):
        context = {"kms:encryptioncontext:aws:s3:arn": (place if whole else f"{place}/{params.get('Key')}",)}
        yield from _use("s3", region, key, actions, **context)


def _source_key(params: Params) -> Iterator[Permission]:
    """A copy decrypts its source with the caller's rights (S3 user guide, "Copying objects": encryption)."""
    source = params.get("CopySource") or ""
    if isinstance(source, dict):
        name, key, version = str(source.get("Bucket")), str(source.get("Key")), source.get("VersionId")
    else:
        path, _, query = str(source).lstrip("/").partition("?")
        name, _, key = unquote(path).partition("/")
        version = query.removeprefix("versionId=") or None
    bucket = backend("s3").buckets.get(name)
    if bucket is not None:
        yield from _object_key(bucket, key, version)


def _object_key(bucket: Any, name: str, version: Any) -> Iterator[Permission]:
    """kms:Decrypt of the key of an object's version; of the newest without a version."""
    versions = bucket.keys.getlist(name, [])
    item = next((each for each in reversed(versions) if version in (None, getattr(each, "version_id", None))), None)
    if str(getattr(item, "encryption", None) or "").startswith("aws:kms"):
        place = f"arn:{PARTITION}:s3:::{bucket.name}"
        whole = str(getattr(item, "bucket_key_enabled", None)).lower() == "true"
        context = {"kms:encryptioncontext:aws:s3:arn": (place if whole else f"{place}/{name}",)}
        yield from _use("s3", str(bucket.region_name), getattr(item, "kms_key_id", None), ("kms:Decrypt",), **context)


def _default_encryption(bucket: Any) -> tuple[str, Any, bool]:
    rule = (bucket.encryption or {}).get("Rule") or {}
    rule = rule[0] if isinstance(rule, list) else rule
    default = rule.get("ApplyServerSideEncryptionByDefault") or {}
    bucket_key = str(rule.get("BucketKeyEnabled", "")).lower() == "true"
    return str(default.get("SSEAlgorithm") or ""), default.get("KMSMasterKeyID"), bucket_key


_KEYS = {"rds": _rds, "secretsmanager": _secretsmanager, "sns": _sns, "sqs": _sqs, "s3": _s3}
