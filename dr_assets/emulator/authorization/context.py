"""Condition context of a request: AWS's global keys, the services' own, tags of the request and of the resource.

Source: IAM user guide, "AWS global condition context keys"; Service Authorization Reference, "Condition keys".
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from typing import Any

from dr_assets.emulator.answers import answers
from dr_assets.emulator.authorization.actions import Params
from dr_assets.emulator.permissions.principals import Principal, role_by_arn
from dr_assets.emulator.permissions.resource_policies import kms_key, secret
from dr_assets.emulator.permissions.state import ACCOUNT, backend

# The oldest version with which S3 takes requests (S3 user guide, "Infrastructure security").
TLS_VERSION = "1.2"
Values = dict[str, tuple[str, ...]]


def of_principal(principal: Principal, region: str, environ: Mapping[str, Any]) -> Values:
    """The keys that every request has."""
    now = datetime.now(timezone.utc)
    kind = "Account" if principal.caller.is_root else "AssumedRole" if principal.caller.role_arn else "User"
    found: Values = {
        "aws:principalarn": (principal.arn,),
        "aws:principalaccount": (principal.caller.account,),
        "aws:principaltype": (kind,),
        "aws:principalisawsservice": ("false",),
        "aws:userid": (principal.user_id,),
        "aws:requestedregion": (region,),
        # Loopback stands for TLS.
        "aws:securetransport": ("false" if answers().clear_text else "true",),
        "aws:sourceip": (str(environ.get("REMOTE_ADDR") or "127.0.0.1"),),
        "aws:useragent": (str(environ.get("HTTP_USER_AGENT") or ""),),
        "aws:currenttime": (now.strftime("%Y-%m-%dT%H:%M:%SZ"),),
        "aws:epochtime": (str(int(now.timestamp())),),
        "aws:viaawsservice": ("false",),
    }
    if principal.username:
        found["aws:username"] = (principal.username,)
    for key, value in principal.tags.items():
        found[f"aws:principaltag/{key}".lower()] = (value,)
    return found


def of_request(service: str, operation: str, params: Params) -> Values:
    """The keys that come from the request's parameters."""
    found: Values = {}
    tags = request_tags(params)
    if tags:
        found["aws:tagkeys"] = tuple(tags)
        for key, value in tags.items():
            found[f"aws:requesttag/{key}".lower()] = (value,)
            if service == "rds":
                found[f"rds:req-tag/{key}".lower()] = (value,)
    elif params.get("TagKeys"):
        found["aws:tagkeys"] = tuple(map(str, params["TagKeys"]))
    for (owner, parameter), key in _FROM_PARAMETERS.items():
        if owner == service and params.get(parameter) is not None:
            value = params[parameter]
            found[key] = tuple(_text(each) for each in (value if isinstance(value, list) else [value]))
    if service == "s3" and not answers().clear_text:
        found["s3:tlsversion"] = (TLS_VERSION,)
    if service == "route53" and operation == "ChangeResourceRecordSets":
        changes = (params.get("ChangeBatch") or {}).get("Changes") or []
        sets = [each.get("ResourceRecordSet") or {} for each in changes]
        prefix = "route53:changeresourcerecordsets"
        found[f"{prefix}normalizedrecordnames"] = tuple(str(each.get("Name", "")).rstrip(".").lower() for each in sets)
        found[f"{prefix}recordtypes"] = tuple(str(each.get("Type")) for each in sets)
        found[f"{prefix}actions"] = tuple(str(each.get("Action")) for each in changes)
    if service == "kms":
        if str(params.get("KeyId", "")).startswith("alias/"):
            found["kms:requestalias"] = (str(params["KeyId"]),)
        for key, value in (params.get("EncryptionContext") or {}).items():
            found[f"kms:encryptioncontext:{key}".lower()] = (str(value),)
    if service == "iam" and params.get("RoleName") and "iam:permissionsboundary" not in found:
        role = role_by_arn(f"arn:aws:iam::{ACCOUNT}:role/{params['RoleName']}")
        if role is not None and role.permissions_boundary_arn:
            found["iam:permissionsboundary"] = (str(role.permissions_boundary_arn),)
    return found


# (service, parameter) -> condition key.
_FROM_PARAMETERS = {
    ("cloudwatch", "Namespace"): "cloudwatch:namespace",
    ("cloudwatch", "AlarmActions"): "cloudwatch:alarmactions",
    ("iam", "PermissionsBoundary"): "iam:permissionsboundary",
    ("iam", "PolicyArn"): "iam:policyarn",
    ("iam", "AWSServiceName"): "iam:awsservicename",
    ("kms", "PendingWindowInDays"): "kms:schedulekeydeletionpendingwindowindays",
    ("kms", "BypassPolicyLockoutSafetyCheck"): "kms:bypasspolicylockoutsafetycheck",
    ("kms", "KeyUsage"): "kms:keyusage",
    ("kms", "KeySpec"): "kms:keyspec",
    ("kms", "SigningAlgorithm"): "kms:signingalgorithm",
    ("kms", "MessageType"): "kms:messagetype",
    ("kms", "MultiRegion"): "kms:multiregion",
    ("kms", "Operations"): "kms:grantoperations",
    ("kms", "GranteePrincipal"): "kms:granteeprincipal",
    ("rds", "Engine"): "rds:databaseengine",
    ("rds", "DatabaseName"): "rds:databasename",
    ("rds", "StorageEncrypted"): "rds:storageencrypted",
    ("rds", "DBInstanceClass"): "rds:databaseclass",
    ("rds", "ManageMasterUserPassword"): "rds:managemasteruserpassword",
    ("rds", "PubliclyAccessible"): "rds:publiclyaccessible",
    ("s3", "Prefix"): "s3:prefix",
    ("s3", "Delimiter"): "s3:delimiter",
    ("s3", "VersionId"): "s3:versionid",
    ("s3", "ServerSideEncryption"): "s3:x-amz-server-side-encryption",
    ("s3", "SSEKMSKeyId"): "s3:x-amz-server-side-encryption-aws-kms-key-id",
    ("s3", "StorageClass"): "s3:x-amz-storage-class",
    ("s3", "ACL"): "s3:x-amz-acl",
    ("secretsmanager", "Name"): "secretsmanager:name",
    ("secretsmanager", "SecretId"): "secretsmanager:secretid",
    ("secretsmanager", "KmsKeyId"): "secretsmanager:kmskeyid",
    ("secretsmanager", "VersionStage"): "secretsmanager:versionstage",
    ("sns", "Protocol"): "sns:protocol",
    ("sns", "Endpoint"): "sns:endpoint",
    ("sts", "ExternalId"): "sts:externalid",
    ("sts", "RoleSessionName"): "sts:rolesessionname",
}


def of_resource(arn: str) -> Values:
    """Tags of the resource, and the keys of KMS that every use of a key has."""
    service = arn.split(":")[2] if arn.count(":") >= 5 else ""
    found: Values = {}
    for key, value in resource_tags(arn).items():
        found[f"aws:resourcetag/{key}".lower()] = (value,)
        if service in ("ec2", "iam", "secretsmanager"):
            found[f"{service}:resourcetag/{key}".lower()] = (value,)
        if service == "rds":
            found[f"rds:{arn.split(':')[5]}-tag/{key}".lower()] = (value,)
    if service == "kms":
        found["kms:calleraccount"] = (ACCOUNT,)
        key = kms_key(arn.split(":")[3], arn.split(":", 5)[5])
        if key is not None:
            found["kms:resourcealiases"] = tuple(key.aliases)
    return found


def resource_tags(arn: str) -> dict[str, str]:
    """Tags of what exists, of the kinds whose tags moto keeps within reach."""
    if arn.count(":") < 5 or arn.endswith("*"):
        return {}
    _, _, service, region, _, name = arn.split(":", 5)
    raw: Any = None
    if service == "ec2":
        raw = backend("ec2", region).tags.get(name.rsplit("/", 1)[-1])
    elif service == "kms":
        key = kms_key(region, name)
        raw = backend("kms", region).tagger.get_tag_dict_for_resource(key.id) if key is not None else None
    elif service == "sns":
        raw = getattr(backend("sns", region).topics.get(arn), "_tags", None)
    elif service == "sqs":
        raw = getattr(backend("sqs", region).queues.get(name), "tags", None)
    elif service == "secretsmanager":
        raw = getattr(secret(region, arn), "tags", None)
    elif service == "iam" and name.startswith("role/"):
        raw = getattr(role_by_arn(arn), "tags", None)
    elif service == "rds" and region:
        kind, _, identifier = name.partition(":")
        held = {"cluster": "clusters", "db": "databases", "subgrp": "subnet_groups"}.get(kind, "")
        raw = getattr(getattr(backend("rds", region), held, {}).get(identifier), "tags", None) if held else None
    return _pairs(raw)


def request_tags(params: Params) -> dict[str, str]:
    """Tags given in a request, in any of AWS's spellings."""
    for name in ("Tags", "tags", "AddTags"):
        if params.get(name):
            return _pairs(params[name])
    found: dict[str, str] = {}
    for each in params.get("TagSpecifications") or []:
        found |= _pairs(each.get("Tags"))
    return found


def _pairs(raw: Any) -> dict[str, str]:
    if isinstance(raw, Mapping) and not any(isinstance(each, Mapping) for each in raw.values()):
        return {str(key): str(value) for key, value in raw.items()}
    entries: Iterable[Any] = raw.values() if isinstance(raw, Mapping) else raw or ()
    pairs = ((each.get("Key", each.get("TagKey")), each.get("Value", each.get("TagValue", ""))) for each in entries)
    return {str(key): str(value) for key, value in pairs if key is not None}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
