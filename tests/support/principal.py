"""Act as an IAM principal with exactly the given policies in the embedded AWS, and read from its call log what was refused or unused.

The role is created with the root account's key. Inside the block, boto3 and the product find the credentials of a session of
that role in the environment.
"""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import boto3

from dr_assets.emulator import ACCOUNT_ID, EmbeddedAws

# IAM user guide, "IAM and AWS STS quotas". Blanks do not count.
INLINE_CHARACTERS = 10_240
MANAGED_CHARACTERS = 6_144
MANAGED_POLICIES = 10
_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


def client(
    aws: EmbeddedAws, service: str, credentials: Mapping[str, str] | None = None, region: str = "us-east-1"
) -> Any:
    """A boto3 client of the embedded AWS: as the account's root, or with the credentials of an environment."""
    found = credentials or aws.env()
    return boto3.client(
        service,
        region,
        endpoint_url=aws.endpoint_url,
        aws_access_key_id=found["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=found["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=found.get("AWS_SESSION_TOKEN"),
    )


def size(policy: Mapping[str, Any]) -> int:
    """Characters that count against IAM's limits."""
    return len(json.dumps(policy, separators=(",", ":")))


def create_role(
    aws: EmbeddedAws,
    policies: Sequence[Mapping[str, Any]],
    *,
    boundary: Mapping[str, Any] | None = None,
    trust: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
) -> str:
    """ARN of a new role with these policies: inline, or managed where they exceed what fits inline.

    AssertionError where they fit neither way.
    """
    iam, name = client(aws, "iam"), f"test-{uuid.uuid4().hex[:12]}"
    delegated = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT_ID}:root"}, "Action": "sts:AssumeRole"}
    document = trust or {"Version": "2012-10-17", "Statement": [delegated]}
    limits: dict[str, Any] = {"Tags": [{"Key": key, "Value": value} for key, value in (tags or {}).items()]}
    if boundary is not None:
        limits["PermissionsBoundary"] = _managed(iam, f"{name}-boundary", boundary)
    made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(document), **limits)
    inline = sum(map(size, policies)) <= INLINE_CHARACTERS
    assert inline or len(policies) <= MANAGED_POLICIES, f"{len(policies)} managed policies exceed IAM's quota"
    for number, policy in enumerate(policies):
        if inline:
            iam.put_role_policy(RoleName=name, PolicyName=f"policy-{number}", PolicyDocument=json.dumps(policy))
        else:
            iam.attach_role_policy(RoleName=name, PolicyArn=_managed(iam, f"{name}-{number}", policy))
    return str(made["Role"]["Arn"])


def _managed(iam: Any, name: str, policy: Mapping[str, Any]) -> str:
    assert size(policy) <= MANAGED_CHARACTERS, f"{size(policy)} characters exceed IAM's {MANAGED_CHARACTERS}"
    return str(iam.create_policy(PolicyName=name, PolicyDocument=json.dumps(policy))["Policy"]["Arn"])


def user(aws: EmbeddedAws, action: str) -> dict[str, str]:
    """Keys, as environment variables, of a new user who may do this: the root may assume no role (STS API reference, AssumeRole)."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    iam, statement = client(aws, "iam"), {"Effect": "Allow", "Action": action, "Resource": "*"}
    iam.create_user(UserName=name)
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName=name, PolicyName="allowed", PolicyDocument=policy)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}


def session(aws: EmbeddedAws, role_arn: str, **options: Any) -> dict[str, str]:
    """Environment of a session of that role. `options` go to AssumeRole, a session `Policy` or an `ExternalId` for example."""
    caller = user(aws, "sts:AssumeRole")
    sts = client(aws, "sts", caller)
    found = sts.assume_role(RoleArn=role_arn, RoleSessionName="test", **options)["Credentials"]
    values = (found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"])
    return {**aws.env(), **dict(zip(_CREDENTIALS, values, strict=True))}


@contextmanager
def acting_as(
    aws: EmbeddedAws, policies: Sequence[Mapping[str, Any]], *, boundary: Mapping[str, Any] | None = None
) -> Iterator[Mapping[str, str]]:
    """Inside the block the environment holds the credentials of a role with exactly these policies, and it is yielded."""
    environment = session(aws, create_role(aws, policies, boundary=boundary))
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        yield environment
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def let_topic_send(sqs: Any, queue_url: str, topic_arn: str) -> str:
    """Give a queue the policy with which a topic may send to it (SNS developer guide); return the queue's ARN."""
    arn = str(sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"])
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": topic_arn}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    sqs.set_queue_attributes(QueueUrl=queue_url, Attributes={"Policy": policy})
    return arn


def denied_calls(calls: Iterable[Mapping[str, Any]]) -> list[str]:
    """What the call log (`Control.calls()`) has refused, one line each: operation, then the permissions that were missing."""
    return [
        f"{call['service']}:{call['operation']} in {call['region']} needs "
        + ", ".join(f"{check['action']} on {check['resource']}" for check in call["checks"] if not check["allowed"])
        for call in calls
        if call["denied"]
    ]


def unused_grants(policies: Iterable[Mapping[str, Any]], calls: Iterable[Mapping[str, Any]]) -> list[str]:
    """Actions that the policies allow and no call needed, as `Sid: action`; a wildcard counts as one action."""
    needed = {(check["action"], check["resource"]) for call in calls for check in call["checks"]}
    return [
        f"{statement.get('Sid', '?')}: {action}"
        for policy in policies
        for statement in _listed(policy["Statement"])
        if statement["Effect"] == "Allow"
        for action in _listed(statement["Action"])
        if not any(
            _like(action.lower(), one.lower()) and any(_like(each, arn) for each in _listed(statement["Resource"]))
            for one, arn in needed
        )
    ]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _like(pattern: str, text: str) -> bool:
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), text) is not None
