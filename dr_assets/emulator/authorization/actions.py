"""From an operation and its parameters to IAM actions and the ARNs they are checked against.

Source: Service Authorization Reference; where it is silent, AWS's own refusals as people quote them: an identifier that is left
out is checked as the wildcard of its type [awslabs/pireporter#8, aws/neptune-export#120], CloudWatch Logs names the log
streams of a group [terraform-provider-aws#8804], DescribeAlarms all alarms [aws-samples/amazon-cloudwatch-auto-alarms#1].
"""

from collections.abc import Iterable, Iterator
from typing import Any

from dr_assets.emulator.authorization.reference import arn, resource_types
from dr_assets.emulator.permissions.resource_policies import kms_key, secret
from dr_assets.emulator.permissions.state import ACCOUNT, PARTITION, backend

Params = dict[str, Any]
Check = tuple[str, str]
"""An action and the ARN that it is checked against."""

# Services whose prefix in policies differs from boto3's name.
PREFIXES = {"monitoring": "cloudwatch", "service-quotas": "servicequotas", "resourcegroupstaggingapi": "tag"}
# S3's actions have other names than its operations.
_S3_ACTIONS = {
    "HeadBucket": "ListBucket",
    "ListObjects": "ListBucket",
    "ListObjectsV2": "ListBucket",
    "ListBuckets": "ListAllMyBuckets",
    "ListObjectVersions": "ListBucketVersions",
    "ListMultipartUploads": "ListBucketMultipartUploads",
    "ListParts": "ListMultipartUploadParts",
    "HeadObject": "GetObject",
    "CreateMultipartUpload": "PutObject",
    "UploadPart": "PutObject",
    "CompleteMultipartUpload": "PutObject",
    "CopyObject": "PutObject",
    "UploadPartCopy": "PutObject",
    "GetBucketEncryption": "GetEncryptionConfiguration",
    "PutBucketEncryption": "PutEncryptionConfiguration",
    "DeleteBucketEncryption": "PutEncryptionConfiguration",
    "GetBucketLifecycleConfiguration": "GetLifecycleConfiguration",
    "PutBucketLifecycleConfiguration": "PutLifecycleConfiguration",
    "DeleteBucketLifecycle": "PutLifecycleConfiguration",
    "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
    "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
    "DeletePublicAccessBlock": "PutBucketPublicAccessBlock",
    "GetBucketReplication": "GetReplicationConfiguration",
    "PutBucketReplication": "PutReplicationConfiguration",
    "DeleteBucketReplication": "PutReplicationConfiguration",
    "DeleteBucketTagging": "PutBucketTagging",
    "DeleteBucketCors": "PutBucketCORS",
    "GetBucketCors": "GetBucketCORS",
    "PutBucketCors": "PutBucketCORS",
    "DeleteBucketOwnershipControls": "PutBucketOwnershipControls",
    "GetBucketAccelerateConfiguration": "GetAccelerateConfiguration",
    "PutBucketAccelerateConfiguration": "PutAccelerateConfiguration",
    "GetBucketNotificationConfiguration": "GetBucketNotification",
    "PutBucketNotificationConfiguration": "PutBucketNotification",
    "GetObjectLockConfiguration": "GetBucketObjectLockConfiguration",
    "PutObjectLockConfiguration": "PutBucketObjectLockConfiguration",
}
# These have a second name for one version of an object.
_S3_VERSIONED = {
    "GetObject",
    "GetObjectAcl",
    "GetObjectTagging",
    "PutObjectAcl",
    "PutObjectTagging",
    "DeleteObject",
    "DeleteObjectTagging",
    "GetObjectAttributes",
}
# (service, type of resource) -> parameters that name one.
_NAMED_BY: dict[tuple[str, str], tuple[str, ...]] = {
    ("rds", "cluster"): (
        "DBClusterIdentifier",
        "DbClusterIdentifier",
        "SourceDBClusterIdentifier",
        "TargetDbClusterIdentifier",
    ),
    ("rds", "db"): ("DBInstanceIdentifier", "SourceDBInstanceIdentifier"),
    ("rds", "cluster-pg"): ("DBClusterParameterGroupName",),
    ("rds", "pg"): ("DBParameterGroupName",),
    ("rds", "subgrp"): ("DBSubnetGroupName",),
    ("rds", "es"): ("SubscriptionName",),
    ("rds", "og"): ("OptionGroupName",),
    ("rds", "global-cluster"): ("GlobalClusterIdentifier",),
    ("rds", "cluster-endpoint"): ("DBClusterEndpointIdentifier",),
    ("rds", "cluster-snapshot"): ("DBClusterSnapshotIdentifier", "FinalDBSnapshotIdentifier", "SnapshotIdentifier"),
    ("rds", "snapshot"): ("DBSnapshotIdentifier",),
    ("ec2", "vpc"): ("VpcId",),
    ("ec2", "subnet"): ("SubnetId", "SubnetIds"),
    ("ec2", "security-group"): ("GroupId", "GroupIds"),
    ("ec2", "route-table"): ("RouteTableId",),
    ("ec2", "vpc-peering-connection"): ("VpcPeeringConnectionId",),
    ("kms", "key"): ("KeyId", "TargetKeyId"),
    ("sns", "topic"): ("TopicArn", "TargetArn", "Name"),
    ("sqs", "queue"): ("QueueUrl", "QueueName"),
    ("secretsmanager", "Secret"): ("SecretId", "Name", "SecretIdList"),
    ("cloudwatch", "alarm"): ("AlarmName", "AlarmNames"),
    ("route53", "hostedzone"): ("HostedZoneId", "Id"),
    ("route53", "healthcheck"): ("HealthCheckId",),
    ("route53", "change"): ("Id",),
    ("iam", "role"): ("RoleName",),
    ("iam", "user"): ("UserName",),
    ("iam", "group"): ("GroupName",),
    ("iam", "policy"): ("PolicyArn", "PolicyName"),
    ("sts", "role"): ("RoleArn",),
    ("logs", "log-group"): ("logGroupName", "logGroupIdentifier"),
}
# Parameters that hold the ARN of whatever resource is meant.
_ARNS = ("ResourceName", "ResourceArn", "ResourceARN", "resourceArn", "resourceIdentifier", "PolicySourceArn")
# The reference lists types for these, but AWS checks them against all resources of the type.
_ALWAYS_ALL = {("cloudwatch", "DescribeAlarms"), ("cloudwatch", "DescribeAlarmHistory")}
# Optional types of which AWS checks the default that it takes itself (cloud-gov/terraform-provision#2350).
_DEFAULTS_CHECKED = {("rds", "CreateDBInstance", "og")}
_EC2_TYPES = {
    "vpc": "vpc",
    "subnet": "subnet",
    "sg": "security-group",
    "sgr": "security-group-rule",
    "rtb": "route-table",
} | {"pcx": "vpc-peering-connection", "igw": "internet-gateway"}


def checks(service: str, operation: str, params: Params, region: str) -> list[Check]:
    """The actions of an operation itself, each with every resource that it must be allowed on."""
    prefix = PREFIXES.get(service, service)
    if prefix == "s3":
        return list(_s3(operation, params, region))
    # SNS and SQS authorize a batch by the action of one message (SQS developer guide, "Amazon SQS API permissions").
    action = operation.removesuffix("Batch") if prefix in ("sns", "sqs") else operation
    types = resource_types(prefix, action)
    if prefix == "logs" and action == "DescribeLogGroups":
        found = [
            f"arn:{PARTITION}:logs:{region}:{ACCOUNT}:log-group:{params.get('logGroupNamePrefix', '')}:log-stream:"
        ]
    elif not types:
        found = ["*"]
    else:
        found = list(dict.fromkeys(_resources(prefix, action, params, region, types)))
    return [(f"{prefix}:{action}", each) for each in found]


def _resources(prefix: str, action: str, params: Params, region: str, types: dict[str, bool]) -> Iterator[str]:
    """The ARNs of the resources that an action is about."""
    for parameter in _ARNS:
        if str(params.get(parameter, "")).startswith("arn:"):
            yield str(params[parameter])
            return
    if prefix == "ec2" and action in ("CreateTags", "DeleteTags"):
        yield from _by_id(params, region)
        return
    if prefix == "route53" and "ResourceType" in params:
        wanted = [*_listed(params.get("ResourceIds")), *_listed(params.get("ResourceId"))]
        yield from (arn(prefix, params["ResourceType"], region, each) for each in wanted)
        return
    named = {kind: list(_named(prefix, action, kind, params, region)) for kind in types}
    # Optional types count only where they are named, or where there is no other and all of them are meant (describe).
    nothing = not any(named.values()) and not any(types.values())
    all_meant = nothing and action.startswith(("Describe", "List", "Get", "Batch"))
    if nothing and not all_meant:
        yield "*"
    for kind, required in types.items():
        if named[kind]:
            yield from named[kind]
        elif required or all_meant or (prefix, action, kind) in _DEFAULTS_CHECKED:
            yield from _unnamed(prefix, action, kind, params, region)


def _named(prefix: str, action: str, kind: str, params: Params, region: str) -> Iterator[str]:
    if (prefix, action) in _ALWAYS_ALL:
        return
    for parameter in _NAMED_BY.get((prefix, kind), ()):
        for value in _listed(params.get(parameter)):
            if value:
                yield _arn_of(prefix, kind, str(value), region)
    if prefix == "kms":
        yield from _of_alias(action, kind, params, region)
    if prefix == "ec2" and params.get("AssociationId"):
        yield from _of_association(str(params["AssociationId"]), kind, region)
    if (action, kind) == ("CreateVpcPeeringConnection", "vpc") and params.get("PeerRegion", region) == region:
        # A VPC of another region is checked when it accepts.
        yield arn(prefix, kind, region, str(params.get("PeerVpcId")))
    if prefix == "ec2" and action == "AcceptVpcPeeringConnection" and kind == "vpc":
        peering = backend("ec2", region).vpc_pcxs.get(params.get("VpcPeeringConnectionId"))
        if peering is not None:
            yield arn(prefix, kind, region, peering.accepter_vpc_info["VpcId"])


def _of_association(association: str, kind: str, region: str) -> Iterator[str]:
    """The route table and the subnet of a route table's association."""
    for table in list(backend("ec2", region).route_tables.values()):
        if association in table._associations:
            found = {"route-table": table.id, "subnet": table._associations[association]}.get(kind)
            if found:
                yield arn("ec2", kind, region, str(found))


def _arn_of(prefix: str, kind: str, value: str, region: str) -> str:
    if prefix == "kms":
        if kind == "alias":
            return value if value.startswith("arn:") else arn(prefix, kind, region, value.removeprefix("alias/"))
        key = kms_key(region, value)
        return str(key.arn) if key else value if value.startswith("arn:") else arn(prefix, kind, region, value)
    if prefix == "secretsmanager":
        found = secret(region, value)
        return str(found.arn) if found else value if value.startswith("arn:") else arn(prefix, kind, region, value)
    if value.startswith("arn:"):
        return value
    if prefix == "iam":
        return _iam_arn(kind, value)
    if prefix == "logs":
        return f"{arn(prefix, kind, region, value)}:log-stream:"
    if prefix == "rds":
        value = value.lower()
    if prefix in ("sqs", "route53"):
        value = value.rstrip("/").rsplit("/", 1)[-1]
    return arn(prefix, kind, region, value)


def _iam_arn(kind: str, name: str) -> str:
    """With the path of what exists."""
    iam = backend("iam")
    if kind == "role":
        for role in list(iam.roles.values()):
            if role.name == name:
                return str(role.arn)
    if kind == "user" and name in iam.users:
        return str(iam.users[name].arn)
    return arn("iam", kind, "", name)


def _of_alias(action: str, kind: str, params: Params, region: str) -> Iterator[str]:
    """An alias is authorized along with the key behind it (KMS developer guide, "Controlling access to aliases")."""
    name = str(params.get("AliasName", ""))
    if not name:
        return
    if kind == "alias":
        yield arn("kms", kind, region, name.removeprefix("alias/"))
    elif action in ("UpdateAlias", "DeleteAlias") and (key := kms_key(region, name)):
        yield str(key.arn)


def _unnamed(prefix: str, action: str, kind: str, params: Params, region: str) -> Iterator[str]:
    creates = action.startswith("Create")
    if prefix == "rds" and creates and kind in ("og", "cluster-pg", "pg"):
        # What is not named is AWS's default of the engine's family.
        major = str(params.get("EngineVersion") or "14").split(".")[0]
        engine = str(params.get("Engine") or "aurora-postgresql")
        yield arn(prefix, kind, region, f"default:{engine}-{major}" if kind == "og" else f"default.{engine}{major}")
    elif prefix == "rds" and creates and kind == "subgrp":
        yield arn(prefix, kind, region, "default")
    elif prefix == "rds" and (action, kind) in (
        ("CreateGlobalCluster", "cluster"),
        ("DeleteDBCluster", "cluster-snapshot"),
    ):
        return  # only where the call names one
    elif prefix == "iam" and action == "CreateServiceLinkedRole":
        service = str(params.get("AWSServiceName", "*"))
        yield arn(prefix, kind, "", f"aws-service-role/{service}/*")
    elif prefix == "logs":
        yield f"{arn(prefix, kind, region)}:log-stream:" if kind == "log-group" else arn(prefix, kind, region)
    elif prefix == "kms" and action in ("Decrypt", "ReEncrypt"):
        yield from _of_ciphertext(params, region)
    else:
        yield arn(prefix, kind, region)


def _of_ciphertext(params: Params, region: str) -> Iterator[str]:
    """The ciphertext names its key: moto writes its id first."""
    import base64
    import contextlib

    blob = params.get("CiphertextBlob", b"")
    with contextlib.suppress(ValueError):
        raw = base64.b64decode(blob) if isinstance(blob, str) else bytes(blob)
        key = backend("kms", region).keys.get(raw[:36].decode("utf-8", "replace"))
        if key is not None:
            yield str(key.arn)


def _by_id(params: Params, region: str) -> Iterator[str]:
    for each in _listed(params.get("Resources")):
        kind = _EC2_TYPES.get(str(each).split("-")[0])
        yield arn("ec2", kind, region, str(each)) if kind else f"arn:{PARTITION}:ec2:{region}:{ACCOUNT}:*/{each}"


def _s3(operation: str, params: Params, region: str) -> Iterator[Check]:
    bucket, key = str(params.get("Bucket") or "*"), params.get("Key")
    versioned = bool(params.get("VersionId"))
    if operation == "DeleteObjects":
        for each in _listed((params.get("Delete") or {}).get("Objects")):
            action = "DeleteObjectVersion" if each.get("VersionId") else "DeleteObject"
            yield f"s3:{action}", arn("s3", "object", region, bucket, str(each.get("Key")))
        return
    action = _S3_ACTIONS.get(operation, operation)
    if versioned and action in _S3_VERSIONED:
        action = action.replace("Object", "ObjectVersion")
    if action == "ListAllMyBuckets":
        yield "s3:ListAllMyBuckets", "*"
        return
    types = resource_types("s3", action) or {}
    place = (
        arn("s3", "object", region, bucket, str(key))
        if key and "object" in types
        else arn("s3", "bucket", region, bucket)
    )
    yield f"s3:{action}", place
    if operation in ("CopyObject", "UploadPartCopy"):
        source = str(params.get("CopySource") or "").lstrip("/").partition("?")
        read = "s3:GetObjectVersion" if source[2] else "s3:GetObject"
        yield read, f"arn:{PARTITION}:s3:::{source[0]}"
    if operation == "PutObject" and params.get("Tagging"):
        yield "s3:PutObjectTagging", place


def _listed(value: Any) -> Iterable[Any]:
    return () if value is None else value if isinstance(value, list | tuple) else (value,)
