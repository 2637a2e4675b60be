"""Decide on one API call: who calls, which permissions it needs, and whether all policies together grant them.

The account's root, which every unknown access key stands for, needs no identity policy; explicit denies of resource policies and
the policies of KMS keys hold for it, too. Where no resource has a policy nothing is checked for it, and nothing parsed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dr_assets.emulator.authorization import context as keys
from dr_assets.emulator.authorization import reference
from dr_assets.emulator.authorization.actions import checks
from dr_assets.emulator.authorization.dependents import RDS_ROLE, Permission, dependents
from dr_assets.emulator.authorization.parameters import parameters
from dr_assets.emulator.authorization.refusals import Refusal, refusal
from dr_assets.emulator.permissions import may_assume, principals
from dr_assets.emulator.permissions.principals import ExpiredSessionError, Principal
from dr_assets.emulator.permissions.resource_policies import SERVICES, of_resource
from dr_assets.emulator.permissions.state import backend
from dr_assets.emulator.policies.documents import Request
from dr_assets.emulator.policies.evaluation import Verdict, decide

# What of RDS concerns the root, too: keys, and roles that RDS must be able to assume.
_RDS_CHECKED = (
    b"KmsKeyId",
    b"MonitoringRoleArn",
    b"Action=CreateDBSubnetGroup&",
    b"Action=CreateDBCluster&",
    b"Action=CreateDBInstance&",
)
# These are allowed always, even where a policy denies them (STS API reference, GetCallerIdentity).
_ALWAYS = {("sts", "GetCallerIdentity")}


@dataclass(frozen=True)
class Decision:
    """The outcome for one call.

    Attributes:
        principal: ARN of the user or role session; `None` for the account's root.
        refusal: AWS's error, where a permission is missing.
        checks: the permissions that were asked for, as the call log shows them.
    """

    principal: str | None = None
    refusal: Refusal | None = None
    checks: list[dict[str, Any]] = field(default_factory=list)


def authorize(
    service: str, operation: str, region: str, access_key: str, environ: Mapping[str, Any], body: bytes
) -> Decision:
    """Check one call. The caller holds the gateway's lock."""
    try:
        known = principals.by_access_key(access_key)
    except ExpiredSessionError:
        return Decision(refusal=Refusal(403, "ExpiredToken", "The security token included in the request is expired"))
    if (
        known is None
        and service not in SERVICES
        and not (service == "rds" and any(each in body for each in _RDS_CHECKED))
    ):
        return Decision()
    arn = known.caller.arn if known is not None else None
    if (service, operation) in _ALWAYS:
        return Decision(
            arn, None, [{"action": f"{service}:{operation}", "resource": "*", "allowed": True}] if known else []
        )
    if known is None and (service, operation) == ("sts", "AssumeRole"):
        # STS API reference, AssumeRole: "You cannot use AWS account root user credentials to call AssumeRole".
        return Decision(refusal=Refusal(403, "AccessDenied", "Roles may not be assumed by root accounts."))
    params = parameters(service, operation, environ, body)
    region = _region(service, params, region)
    needed = [Permission(action, resource) for action, resource in checks(service, operation, params, region)]
    needed += dependents(service, operation, params, region)
    principal = known or principals.root()
    common = keys.of_principal(principal, region, environ) | keys.of_request(service, operation, params)
    shown: list[dict[str, Any]] = []
    denied: tuple[Permission, Verdict] | None = None
    for permission in needed:
        verdict = _decide(principal, permission, common)
        denied = denied or (None if verdict.allowed else (permission, verdict))
        if known is not None or not verdict.allowed:
            shown.append({"action": permission.action, "resource": permission.resource, "allowed": verdict.allowed})
    if denied is None:
        if any(each.resource == RDS_ROLE for each in needed):
            backend("iam").create_service_linked_role("rds.amazonaws.com", "", "")
        return Decision(arn, _unusable_role(service, params, region), shown)
    return Decision(arn, refusal(service, principal, denied[0], denied[1].why), shown)


def _unusable_role(service: str, params: dict[str, Any], region: str) -> Refusal | None:
    """RDS refuses a monitoring role that it cannot assume [terraform-provider-aws, resource aws_db_instance]."""
    role, instance = str(params.get("MonitoringRoleArn") or ""), str(params.get("DBInstanceIdentifier") or "").lower()
    if service != "rds" or not role:
        return None
    if may_assume("monitoring.rds.amazonaws.com", role, reference.arn("rds", "db", region, instance)) is None:
        return None
    text = "IAM role ARN value is invalid or does not include the required permissions for: ENHANCED_MONITORING"
    return Refusal(400, "InvalidParameterValue", text)


def _decide(principal: Principal, permission: Permission, common: keys.Values) -> Verdict:
    policy = of_resource(permission.action, permission.resource)
    if principal.policies.identity is None and not policy.documents and policy.need == "either":
        return Verdict(True)
    request = Request(
        permission.action, permission.resource, common | keys.of_resource(permission.resource) | permission.context
    )
    return decide(
        request, principal.caller, principal.policies, policy.documents, need=policy.need, policy_name=policy.name
    )


def _region(service: str, params: dict[str, Any], region: str) -> str:
    """Buckets, topics and keys are where they are, whatever region the request was signed for."""
    if service == "s3":
        bucket = backend("s3").buckets.get(str(params.get("Bucket")))
        return str(bucket.region_name) if bucket is not None else region
    return region
