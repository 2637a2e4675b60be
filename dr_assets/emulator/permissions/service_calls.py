"""What AWS services may do by themselves: publish to topics and queues, use their keys, assume roles.

The only questions a service asks before it acts for the account rather than for a caller. Each answers `None`, or why it is denied.

Sources: SNS developer guide, "Enable compatibility between event sources from AWS services and encrypted topics" and "Key
management"; SQS developer guide, "Key management"; IAM user guide, "The confused deputy problem".
"""

from dataclasses import dataclass
from datetime import datetime, timezone

from dr_assets.emulator.answers import answers
from dr_assets.emulator.permissions import principals
from dr_assets.emulator.permissions.resource_policies import kms_key, of_resource
from dr_assets.emulator.permissions.state import ACCOUNT, backend
from dr_assets.emulator.policies.documents import Caller, Request
from dr_assets.emulator.policies.evaluation import Policies, decide


@dataclass(frozen=True)
class Denied:
    """Why a service may not act.

    Attributes:
        action / resource: the permission that is missing.
        kms: whether it is one of the resource's key.
    """

    action: str
    resource: str
    why: str
    kms: bool = False


def may_publish(service: str, arn: str, source_arn: str, source_account: str = ACCOUNT) -> Denied | None:
    """Whether a service (`cloudwatch.amazonaws.com`) may publish to a topic, or send to a queue, that may be encrypted.

    Args:
        arn: of the topic or queue.
        source_arn: the alarm, cluster or topic on whose behalf the service acts.
    """
    region = arn.split(":")[3]
    is_topic = arn.split(":")[2] == "sns"
    if denied := may_use(service, "sns:Publish" if is_topic else "sqs:SendMessage", arn, source_arn, source_account):
        return denied
    key_id = _master_key(arn)
    if not key_id:
        return None
    context = (
        {"kms:encryptioncontext:aws:sns:topicarn": arn} if is_topic else {"kms:encryptioncontext:aws:sqs:arn": arn}
    )
    key = kms_key(region, key_id)
    if key is None:
        # alias/aws/sns and alias/aws/sqs: AWS's own keys serve the account's principals only, no service.
        missing = f"arn:aws:kms:{region}:{ACCOUNT}:{key_id}"
        return Denied("kms:GenerateDataKey", missing, "because no resource-based policy allows it", kms=True)
    if key.key_state != "Enabled":
        return Denied("kms:GenerateDataKey", key.arn, f"because the key's state is {key.key_state}", kms=True)
    for action in ("kms:GenerateDataKey", "kms:Decrypt"):
        if denied := may_use(service, action, key.arn, source_arn, source_account, context):
            return Denied(denied.action, denied.resource, denied.why, kms=True)
    return None


def may_assume(service: str, role_arn: str, source_arn: str, source_account: str = ACCOUNT) -> Denied | None:
    """Whether a service may assume a role on behalf of a resource. A role that does not exist is denied."""
    return may_use(service, "sts:AssumeRole", role_arn, source_arn, source_account)


def _source(service: str, action: str, source_arn: str, source_account: str) -> dict[str, str]:
    """What the service names as its source.

    Alarms and RDS events name both (SNS developer guide, "Example cases for access control"; RDS user guide, "Granting permissions to
    publish notifications"), RDS as well when it assumes the monitoring role (RDS user guide, "Setting up Enhanced Monitoring"). Only
    aws:SourceArn is documented of SNS when it sends to a queue, and neither of S3 when it assumes the replication role: the answer
    undocumented_source_keys has them.
    """
    # What the default policy of a topic asks for (SNS developer guide, "Example cases for access control").
    owner = {"aws:sourceowner": source_account} if action.startswith("sns:") else {}
    arn, account = {"aws:sourcearn": source_arn}, {"aws:sourceaccount": source_account}
    if answers().undocumented_source_keys or service not in ("sns.amazonaws.com", "s3.amazonaws.com"):
        return arn | account | owner
    return arn if service == "sns.amazonaws.com" else {}


def may_use(
    service: str,
    action: str,
    arn: str,
    source_arn: str,
    source_account: str = ACCOUNT,
    more: dict[str, str] | None = None,
) -> Denied | None:
    """Whether the resource's own policy lets the service do this. `more` are further condition keys, in lower case."""
    now = datetime.now(timezone.utc)
    values = {
        **_source(service, action, source_arn, source_account),
        "aws:principalisawsservice": "true",
        "aws:principalservicename": service,
        "aws:securetransport": "true",
        "aws:currenttime": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "aws:epochtime": str(int(now.timestamp())),
        **(more or {}),
    }
    if region := arn.split(":")[3]:
        values["aws:requestedregion"] = region
    request = Request(action, arn, {key: (value,) for key, value in values.items()})
    policy = of_resource(action, arn)
    verdict = decide(
        request, Caller(service=service), Policies(), policy.documents, need=policy.need, policy_name=policy.name
    )
    return None if verdict.allowed else Denied(action, arn, verdict.why)


def role_may(role_arn: str, session: str, action: str, arn: str, more: dict[str, str] | None = None) -> bool:
    """Whether a role that a service has assumed may do this: its own policies and the resource's decide."""
    role = principals.role_by_arn(role_arn)
    if role is None:
        return False
    holder = principals.of_role(role, session)
    values = {
        "aws:securetransport": "true",
        "aws:principalarn": holder.arn,
        "aws:principalaccount": ACCOUNT,
        "aws:principaltype": "AssumedRole",
        "aws:principalisawsservice": "false",
        "kms:calleraccount": ACCOUNT,
        **(more or {}),
    }
    request = Request(action, arn, {key: (value,) for key, value in values.items()})
    policy = of_resource(action, arn)
    return decide(
        request, holder.caller, holder.policies, policy.documents, need=policy.need, policy_name=policy.name
    ).allowed


def _master_key(arn: str) -> str:

    _, _, service, region, _, name = arn.split(":", 5)
    if service == "sns":
        return str(getattr(backend("sns", region).topics.get(arn), "kms_master_key_id", "") or "")
    return str(getattr(backend("sqs", region).queues.get(name), "kms_master_key_id", "") or "")
