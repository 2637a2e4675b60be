"""A refusal in the words and error codes of each service.

Sources: IAM user guide, "Troubleshoot access denied error messages"; botocore's service models for the codes; SNS refuses with
AuthorizationError [aws-ia/terraform-aws-control_tower_account_factory#151], EC2 with UnauthorizedOperation.
"""

from dataclasses import dataclass

from dr_assets.emulator.authorization.dependents import Permission
from dr_assets.emulator.permissions.principals import Principal

# service -> (HTTP status, code).
_CODES: dict[str, tuple[int, str]] = {
    "ec2": (403, "UnauthorizedOperation"),
    "sns": (403, "AuthorizationError"),
    "kms": (400, "AccessDeniedException"),
    "logs": (400, "AccessDeniedException"),
    "secretsmanager": (400, "AccessDeniedException"),
    "servicequotas": (400, "AccessDeniedException"),
    "resourcegroupstaggingapi": (400, "AccessDeniedException"),
    "events": (400, "AccessDeniedException"),
}
_DENIED = (403, "AccessDenied")
# What the service answers where the caller may not use the resource's key.
_KEY_CODES: dict[str, tuple[int, str, str]] = {
    "rds": (
        400,
        "KMSKeyNotAccessibleFault",
        "The specified KMS key [{key}] does not exist, is not enabled or you do not have permissions to access it.",
    ),
    "secretsmanager": (400, "AccessDeniedException", "Access to KMS is not allowed"),
    "sns": (400, "KMSAccessDenied", "{text} (Service: AWSKMS; Status Code: 400; Error Code: AccessDeniedException)"),
    "sqs": (400, "KMS.AccessDeniedException", "{text}"),
}

# RDS user guide, "Troubleshooting service-linked roles".
_NO_SERVICE_ROLE = (
    "Unable to create the resource. Verify that you have permission to create service linked role. Otherwise wait and try "
    "again later."
)


@dataclass(frozen=True)
class Refusal:
    """HTTP status, error code and message."""

    status: int
    code: str
    message: str


def refusal(service: str, principal: Principal, permission: Permission, why: str) -> Refusal:
    """AWS's answer to a call for which one permission is missing."""
    prefix, _, name = permission.action.partition(":")
    # SNS writes its own name in capitals, SQS the action in small letters.
    shown = f"SNS:{name}" if prefix == "sns" else permission.action.lower() if prefix == "sqs" else permission.action
    text = f"User: {principal.caller.arn} is not authorized to perform: {shown}"
    if permission.resource != "*" or service not in ("ec2",):
        text += f" on resource: {permission.resource}"
    if permission.action != "sts:AssumeRole":
        text += f" {why.replace(permission.action, shown)}"
    if permission.key and service in _KEY_CODES:
        status, code, template = _KEY_CODES[service]
        return Refusal(status, code, template.format(text=text, key=permission.resource))
    if permission.action == "iam:CreateServiceLinkedRole" and service != "iam":
        return Refusal(400, "InvalidParameterValue", _NO_SERVICE_ROLE)
    status, code = _CODES.get(service, _DENIED)
    if service == "ec2":
        text = f"You are not authorized to perform this operation. {text}"
    return Refusal(status, code, text)
