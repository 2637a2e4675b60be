"""What AWS refuses in the policies of resources: principals that do not exist, and public bucket policies; the root assumes no role."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from dr_assets.emulator import ACCOUNT_ID, EmbeddedAws
from dr_assets.emulator.policies.public import is_public

from .conftest import Clients

ROOT = f"arn:aws:iam::{ACCOUNT_ID}:root"


def refused(call: Callable[..., Any], **params: Any) -> tuple[str, str]:
    """Error code and message of a call; empty where it succeeds."""
    try:
        call(**params)
    except ClientError as error:
        return str(error.response["Error"]["Code"]), str(error.response["Error"]["Message"])
    return "", ""


def document(principal: Any, action: str, **more: Any) -> str:
    statement = {"Effect": "Allow", "Principal": principal, "Action": action, **more}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


# Codes and messages: hashicorp/terraform-provider-aws, resources aws_s3_bucket_policy, aws_iam_role and
# aws_secretsmanager_secret_policy and issue 26041 (SNS); aws/aws-cdk issue 15602 (SQS).
REFUSALS = {
    "s3": ("MalformedPolicy", "Invalid principal in policy"),
    "sns": ("InvalidParameter", "Invalid parameter: Policy Error: PrincipalNotFound"),
    "sqs": ("InvalidAttributeValue", "Invalid value for the parameter Policy."),
    "secretsmanager": ("MalformedPolicyDocumentException", "This resource policy contains an unsupported principal"),
}


@pytest.mark.parametrize("service", [*REFUSALS, "iam"])
def test_aws_20_a_resource_policy_may_name_only_principals_that_exist(client: Clients, name: str, service: str) -> None:
    """IAM user guide, "AWS JSON policy elements: Principal": also no wildcard within a name, and no service that is none."""
    role = f"arn:aws:iam::{ACCOUNT_ID}:role/{name}"

    def put(principal: Any) -> tuple[str, str]:
        if service == "s3":
            policy = document(principal, "s3:GetObject", Resource=f"arn:aws:s3:::{name}/*")
            return refused(client("s3").put_bucket_policy, Bucket=name, Policy=policy)
        if service == "sns":
            topic = f"arn:aws:sns:us-east-1:{ACCOUNT_ID}:{name}"
            params = {"TopicArn": topic, "AttributeName": "Policy"}
            policy = document(principal, "sns:Publish", Resource=topic)
            return refused(client("sns").set_topic_attributes, **params, AttributeValue=policy)
        if service == "sqs":
            queue = client("sqs").get_queue_url(QueueName=name)["QueueUrl"]
            policy = document(principal, "sqs:SendMessage", Resource="*")
            return refused(client("sqs").set_queue_attributes, QueueUrl=queue, Attributes={"Policy": policy})
        policy = document(principal, "secretsmanager:GetSecretValue", Resource="*")
        return refused(client("secretsmanager").put_resource_policy, SecretId=name, ResourcePolicy=policy)

    def put_trust(principal: Any) -> tuple[str, str]:
        policy = document(principal, "sts:AssumeRole")
        return refused(client("iam").update_assume_role_policy, RoleName=f"{name}-trusting", PolicyDocument=policy)

    client("s3").create_bucket(Bucket=name)
    client("sns").create_topic(Name=name)
    client("sqs").create_queue(QueueName=name)
    client("secretsmanager").create_secret(Name=name)
    iam = client("iam")
    iam.create_role(RoleName=f"{name}-trusting", AssumeRolePolicyDocument=document({"AWS": ROOT}, "sts:AssumeRole"))
    write = put_trust if service == "iam" else put
    for principal in (
        {"AWS": role},
        {"AWS": [ROOT, role]},
        {"AWS": f"arn:aws:iam::{ACCOUNT_ID}:user/{name}"},
        {"AWS": f"arn:aws:iam::{ACCOUNT_ID}:role/*"},
        {"AWS": "AROAEXAMPLEEXAMPLE000"},
        {"Service": "nothing.example.com"},
    ):
        kind, value = next((k, v[-1] if isinstance(v, list) else v) for k, v in principal.items())
        trust = ("MalformedPolicyDocument", f'Invalid principal in policy: "{kind.upper()}":"{value}"')
        assert write(principal) == REFUSALS.get(service, trust)
    if service == "iam":
        trust = ("MalformedPolicyDocument", f'Invalid principal in policy: "AWS":"{role}"')
        policy = document({"AWS": role}, "sts:AssumeRole")
        assert refused(iam.create_role, RoleName=f"{name}-2", AssumeRolePolicyDocument=policy) == trust
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=document({"AWS": ROOT}, "sts:AssumeRole"))
    for principal in ({"AWS": role}, {"AWS": ROOT}, {"AWS": ACCOUNT_ID}, {"Service": "sns.amazonaws.com"}):
        assert write(principal) == ("", "")


# S3 user guide, "The meaning of 'public'": its examples and its list of keys.
@pytest.mark.parametrize(
    ("principal", "condition", "public"),
    [
        ("*", {}, True),
        ({"AWS": "*"}, {}, True),
        ({"AWS": [ROOT, "*"]}, {}, True),
        ({"AWS": ROOT}, {}, False),
        ({"Service": "cloudtrail.amazonaws.com"}, {}, False),
        ("*", {"Bool": {"aws:SecureTransport": "true"}}, True),
        ("*", {"StringLike": {"aws:SourceVpc": "vpc-*"}}, True),
        ("*", {"StringEquals": {"aws:SourceVpc": "vpc-91237329"}}, False),
        ("*", {"StringNotEquals": {"aws:SourceVpc": "vpc-91237329"}}, True),
        ("*", {"StringEqualsIfExists": {"aws:SourceVpc": "vpc-91237329"}}, True),
        ("*", {"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}, False),
        ("*", {"IpAddress": {"aws:SourceIp": ["192.0.2.0/24", "0.0.0.0/1"]}}, True),
        ("*", {"StringEquals": {"aws:PrincipalTag/team": "blue"}}, True),
    ],
)
def test_which_bucket_policies_are_public(principal: Any, condition: dict[str, Any], public: bool) -> None:
    assert is_public(document(principal, "s3:GetObject", Resource="*", Condition=condition)) is public


def test_aws_20_a_bucket_that_blocks_public_policies_takes_none(client: Clients, name: str) -> None:
    """S3 user guide, "Block public access settings": BlockPublicPolicy rejects PutBucketPolicy; a Deny is never public."""
    s3 = client("s3")
    s3.create_bucket(Bucket=name)
    everybody = {"Bucket": name, "Policy": document("*", "s3:GetObject", Resource=f"arn:aws:s3:::{name}/*")}
    deny = everybody | {"Policy": everybody["Policy"].replace("Allow", "Deny")}
    assert refused(s3.put_bucket_policy, **everybody) == ("AccessDenied", "Access Denied")
    assert refused(s3.put_bucket_policy, **deny) == ("", "")
    s3.delete_public_access_block(Bucket=name)
    assert refused(s3.put_bucket_policy, **everybody) == ("", "")


def test_aws_20_the_root_assumes_no_role(client: Clients, name: str) -> None:
    """STS API reference, AssumeRole; the message: kubeflow/testing pull request 961."""
    trust = document({"AWS": ROOT}, "sts:AssumeRole")
    role = client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    denied = ("AccessDenied", "Roles may not be assumed by root accounts.")
    assert refused(client("sts").assume_role, RoleArn=role, RoleSessionName="test") == denied


@pytest.mark.parametrize(("minimum", "code"), [("1.2", ""), ("1.3", "AccessDenied")])
def test_aws_20_requests_to_s3_carry_the_version_of_tls(
    aws: EmbeddedAws, client: Clients, name: str, minimum: str, code: str
) -> None:
    """S3 user guide, "Bucket policy examples using condition keys": s3:TlsVersion. S3 accepts 1.2, so requests may have it."""
    s3 = client("s3")
    s3.create_bucket(Bucket=name)
    old = {"NumericLessThan": {"s3:TlsVersion": minimum}}
    policy = document("*", "s3:PutObject", Resource=f"arn:aws:s3:::{name}/*", Condition=old).replace("Allow", "Deny")
    s3.put_bucket_policy(Bucket=name, Policy=policy)
    assert refused(s3.put_object, Bucket=name, Key="a")[0] == code
    aws.control.answers(clear_text=True)
    assert refused(s3.put_object, Bucket=name, Key="a")[0] == ""  # no TLS: no such key
