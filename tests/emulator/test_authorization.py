"""IAM enforced: calls are refused as AWS refuses them, and what is allowed is what all policies together allow."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from dr_assets.emulator import ACCOUNT_ID, EmbeddedAws
from tests.support.principal import acting_as, client, create_role, denied_calls, session, unused_grants

REGION = "us-east-1"


def allow(*actions: str, on: Any = "*", **more: Any) -> dict[str, Any]:
    return {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": list(actions), "Resource": on, **more}],
    }


def deny(*actions: str, on: Any = "*", **more: Any) -> dict[str, Any]:
    found = allow(*actions, on=on, **more)
    found["Statement"][0]["Effect"] = "Deny"
    return found


def as_role(aws: EmbeddedAws, service: str, *policies: dict[str, Any], region: str = REGION, **options: Any) -> Any:
    """A client with the credentials of a new role that has exactly these policies."""
    return client(aws, service, session(aws, create_role(aws, policies), **options), region)


def refusal(call: Any, **params: Any) -> tuple[str, int, str]:
    """(code, HTTP status, message)."""
    with pytest.raises(ClientError) as caught:
        call(**params)
    answer = caught.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Message"]


# -- the errors of each service ----------------------------------------------------------------------------------------

REFUSALS = {
    "rds": ("describe_db_clusters", {}, "AccessDenied", 403),
    "ec2": ("describe_vpcs", {}, "UnauthorizedOperation", 403),
    "kms": ("list_keys", {}, "AccessDeniedException", 400),
    "s3": ("list_buckets", {}, "AccessDenied", 403),
    "sns": ("list_topics", {}, "AuthorizationError", 403),
    "sqs": ("list_queues", {}, "AccessDenied", 403),
    "secretsmanager": ("list_secrets", {}, "AccessDeniedException", 400),
    "logs": ("describe_log_groups", {}, "AccessDeniedException", 400),
    "cloudwatch": ("describe_alarms", {}, "AccessDenied", 403),
    "route53": ("list_health_checks", {}, "AccessDenied", 403),
    "iam": ("list_roles", {}, "AccessDenied", 403),
    "sts": (
        "assume_role",
        {"RoleArn": f"arn:aws:iam::{ACCOUNT_ID}:role/x", "RoleSessionName": "test"},
        "AccessDenied",
        403,
    ),
}


@pytest.mark.parametrize("service", REFUSALS)
def test_aws_20_a_call_without_permission_is_refused_in_the_form_of_its_service(aws: EmbeddedAws, service: str) -> None:
    operation, params, code, status = REFUSALS[service]
    role = as_role(aws, service, allow("tag:GetResources"))
    found = refusal(getattr(role, operation), **params)
    assert found[:2] == (code, status)
    assert f"User: arn:aws:sts::{ACCOUNT_ID}:assumed-role/" in found[2]
    assert "is not authorized to perform: " in found[2]


def test_aws_20_the_message_names_caller_action_resource_and_reason(aws: EmbeddedAws) -> None:
    rds = as_role(aws, "rds", allow("rds:DescribeDBClusters", on=f"arn:aws:rds:*:{ACCOUNT_ID}:cluster:mine-*"))
    _, _, message = refusal(rds.describe_db_clusters, DBClusterIdentifier="other")
    resource = f"arn:aws:rds:{REGION}:{ACCOUNT_ID}:cluster:other"
    assert message.endswith(
        f"is not authorized to perform: rds:DescribeDBClusters on resource: {resource} "
        "because no identity-based policy allows the rds:DescribeDBClusters action"
    )
    assert refusal(rds.describe_db_clusters, DBClusterIdentifier="mine-1")[0] == "DBClusterNotFoundFault"


def test_aws_20_a_head_request_is_refused_without_a_body(aws: EmbeddedAws, name: str) -> None:
    client(aws, "s3").create_bucket(Bucket=name)
    assert refusal(as_role(aws, "s3", allow("s3:GetObject")).head_bucket, Bucket=name)[:2] == ("403", 403)


# -- what an action is checked against ---------------------------------------------------------------------------------

CHECKED = [
    # Without its identifier a describe is checked against the wildcard of its type (awslabs/pireporter#8).
    ("rds", "describe_db_instances", {}, f"arn:aws:rds:{REGION}:{ACCOUNT_ID}:db:*"),
    ("rds", "describe_db_clusters", {}, f"arn:aws:rds:{REGION}:{ACCOUNT_ID}:cluster:*"),
    ("rds", "describe_global_clusters", {}, f"arn:aws:rds::{ACCOUNT_ID}:global-cluster:*"),
    ("rds", "describe_db_clusters", {"DBClusterIdentifier": "Mine"}, f"arn:aws:rds:{REGION}:{ACCOUNT_ID}:cluster:mine"),
    ("rds", "describe_events", {}, "*"),
    # terraform-provider-aws#8804
    (
        "logs",
        "describe_log_groups",
        {"logGroupNamePrefix": "/a"},
        f"arn:aws:logs:{REGION}:{ACCOUNT_ID}:log-group:/a:log-stream:",
    ),
    # aws-samples/amazon-cloudwatch-auto-alarms#1
    ("cloudwatch", "describe_alarms", {"AlarmNames": ["a"]}, f"arn:aws:cloudwatch:{REGION}:{ACCOUNT_ID}:alarm:*"),
    ("cloudwatch", "list_metrics", {}, "*"),
    ("ec2", "describe_vpcs", {}, "*"),
    ("ec2", "create_vpc", {"CidrBlock": "10.0.0.0/16"}, f"arn:aws:ec2:{REGION}:{ACCOUNT_ID}:vpc/*"),
    ("sqs", "get_queue_url", {"QueueName": "q"}, f"arn:aws:sqs:{REGION}:{ACCOUNT_ID}:q"),
    ("sns", "create_topic", {"Name": "t"}, f"arn:aws:sns:{REGION}:{ACCOUNT_ID}:t"),
    ("s3", "get_object", {"Bucket": "b", "Key": "x/y"}, "arn:aws:s3:::b/x/y"),
    ("s3", "get_bucket_encryption", {"Bucket": "b"}, "arn:aws:s3:::b"),
    ("iam", "get_role", {"RoleName": "r"}, f"arn:aws:iam::{ACCOUNT_ID}:role/r"),
    ("route53", "get_hosted_zone", {"Id": "/hostedzone/Z1"}, "arn:aws:route53:::hostedzone/Z1"),
]


@pytest.mark.parametrize(("service", "operation", "params", "resource"), CHECKED)
def test_aws_20_an_action_is_checked_against_its_resource(
    aws: EmbeddedAws, service: str, operation: str, params: dict[str, Any], resource: str
) -> None:
    role = as_role(aws, service, allow("tag:GetResources"))
    with pytest.raises(ClientError):
        getattr(role, operation)(**params)
    call = aws.control.calls()[-1]
    assert call["denied"]
    assert [check["resource"] for check in call["checks"]] == [resource]


def test_aws_20_arns_alone_do_not_allow_an_action_without_resources(aws: EmbeddedAws) -> None:
    ec2 = as_role(aws, "ec2", allow("ec2:DescribeVpcs", on=f"arn:aws:ec2:*:{ACCOUNT_ID}:vpc/*"))
    assert refusal(ec2.describe_vpcs)[0] == "UnauthorizedOperation"


def test_aws_20_an_association_is_checked_as_its_route_table_and_subnet(aws: EmbeddedAws) -> None:
    ec2 = client(aws, "ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    association = ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)["AssociationId"]
    own = [
        f"arn:aws:ec2:{REGION}:{ACCOUNT_ID}:route-table/{table}",
        f"arn:aws:ec2:{REGION}:{ACCOUNT_ID}:subnet/{subnet}",
    ]
    only_table = as_role(aws, "ec2", allow("ec2:DisassociateRouteTable", on=own[0]))
    assert own[1] in refusal(only_table.disassociate_route_table, AssociationId=association)[2]
    as_role(aws, "ec2", allow("ec2:DisassociateRouteTable", on=own)).disassociate_route_table(AssociationId=association)


def test_aws_20_tags_on_creation_need_the_permission_to_tag(aws: EmbeddedAws) -> None:
    ec2 = as_role(aws, "ec2", allow("ec2:CreateVpc"))
    tags = [{"ResourceType": "vpc", "Tags": [{"Key": "a", "Value": "b"}]}]
    assert "ec2:CreateTags" in refusal(ec2.create_vpc, CidrBlock="10.0.0.0/16", TagSpecifications=tags)[2]
    ec2.create_vpc(CidrBlock="10.0.0.0/16")


# -- identity policies, boundaries, sessions ---------------------------------------------------------------------------


def test_aws_20_users_and_groups(aws: EmbeddedAws, name: str) -> None:
    iam = client(aws, "iam")
    iam.create_user(UserName=name)
    iam.create_group(GroupName=name)
    iam.add_user_to_group(GroupName=name, UserName=name)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    credentials = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
    user = client(aws, "sns", credentials)
    assert f"user/{name}" in refusal(user.list_topics)[2]
    iam.put_group_policy(GroupName=name, PolicyName="p", PolicyDocument=json.dumps(allow("sns:ListTopics")))
    user.list_topics()
    iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=json.dumps(deny("sns:*")))
    assert "with an explicit deny in an identity-based policy" in refusal(user.list_topics)[2]
    assert client(aws, "sts", credentials).get_caller_identity()["Arn"] == f"arn:aws:iam::{ACCOUNT_ID}:user/{name}"


def test_aws_20_a_boundary_and_a_session_policy_only_take_away(aws: EmbeddedAws) -> None:
    role = create_role(aws, [allow("sns:ListTopics", "sqs:ListQueues")], boundary=allow("sns:*", "s3:*"))
    bounded = session(aws, role)
    client(aws, "sns", bounded).list_topics()
    assert "no permissions boundary allows" in refusal(client(aws, "sqs", bounded).list_queues)[2]
    assert "no identity-based policy allows" in refusal(client(aws, "s3", bounded).list_buckets)[2]
    scoped = session(aws, role, Policy=json.dumps(allow("sqs:*")))
    assert "no session policy allows" in refusal(client(aws, "sns", scoped).list_topics)[2]


def test_aws_20_managed_policies_count_in_their_default_version(aws: EmbeddedAws, name: str) -> None:
    iam = client(aws, "iam")
    arn = iam.create_policy(PolicyName=name, PolicyDocument=json.dumps(allow("sns:ListTopics")))["Policy"]["Arn"]
    role = create_role(aws, [])
    iam.attach_role_policy(RoleName=role.split("/")[-1], PolicyArn=arn)
    sns = client(aws, "sns", session(aws, role))
    sns.list_topics()
    iam.create_policy_version(PolicyArn=arn, PolicyDocument=json.dumps(allow("sqs:ListQueues")), SetAsDefault=True)
    assert refusal(sns.list_topics)[0] == "AuthorizationError"


def test_aws_20_conditions_on_region_and_tags_of_the_request(aws: EmbeddedAws, name: str) -> None:
    here = {"StringEquals": {"aws:RequestedRegion": REGION, "aws:RequestTag/Team": "${aws:PrincipalTag/Team}"}}
    policies = [allow("sns:CreateTopic", "sns:TagResource", Condition=here)]
    credentials = session(aws, create_role(aws, policies, tags={"Team": "blue"}))
    sns = client(aws, "sns", credentials)
    assert refusal(sns.create_topic, Name=name)[0] == "AuthorizationError"
    assert refusal(sns.create_topic, Name=name, Tags=[{"Key": "Team", "Value": "red"}])[0] == "AuthorizationError"
    sns.create_topic(Name=name, Tags=[{"Key": "Team", "Value": "blue"}])
    elsewhere = client(aws, "sns", credentials, "us-west-2")
    assert (
        refusal(elsewhere.create_topic, Name=name, Tags=[{"Key": "Team", "Value": "blue"}])[0] == "AuthorizationError"
    )


def test_aws_20_the_tags_of_the_resource(aws: EmbeddedAws, name: str) -> None:
    root = client(aws, "sqs")
    url = root.create_queue(QueueName=name, tags={"Team": "blue"})["QueueUrl"]
    other = root.create_queue(QueueName=f"{name}-other")["QueueUrl"]
    mine = {"StringEquals": {"aws:ResourceTag/Team": "blue"}}
    sqs = as_role(aws, "sqs", allow("sqs:SendMessage", Condition=mine))
    sqs.send_message(QueueUrl=url, MessageBody="x")
    assert refusal(sqs.send_message, QueueUrl=other, MessageBody="x")[0] == "AccessDenied"


# -- roles -------------------------------------------------------------------------------------------------------------


def test_aws_20_assuming_a_role_needs_its_trust_and_the_external_id(aws: EmbeddedAws) -> None:
    caller = create_role(aws, [allow("sts:AssumeRole")])
    statement = {"Effect": "Allow", "Principal": {"AWS": caller}, "Action": "sts:AssumeRole"}
    condition = {"StringEquals": {"sts:ExternalId": "shared"}}
    trust = {"Version": "2012-10-17", "Statement": [{**statement, "Condition": condition}]}
    target = create_role(aws, [allow("s3:ListAllMyBuckets")], trust=trust)
    sts = client(aws, "sts", session(aws, caller))
    assert refusal(sts.assume_role, RoleArn=target, RoleSessionName="test")[0] == "AccessDenied"
    assert refusal(sts.assume_role, RoleArn=target, RoleSessionName="test", ExternalId="guess")[0] == "AccessDenied"
    assert sts.assume_role(RoleArn=target, RoleSessionName="test", ExternalId="shared")["AssumedRoleUser"][
        "Arn"
    ].endswith("/test")
    stranger = as_role(aws, "sts", allow("sts:AssumeRole"))
    assert (
        refusal(stranger.assume_role, RoleArn=target, RoleSessionName="test", ExternalId="shared")[0] == "AccessDenied"
    )


def test_aws_20_passing_a_role_is_a_permission_of_its_own(aws: EmbeddedAws, name: str) -> None:
    s3 = client(aws, "s3")
    for bucket in (name, f"{name}-copy"):
        s3.create_bucket(Bucket=bucket)
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    trust = {"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sts:AssumeRole"}
    role = create_role(aws, [], trust={"Version": "2012-10-17", "Statement": [trust]})
    rule = {
        "ID": "r",
        "Priority": 1,
        "Status": "Enabled",
        "Filter": {},
        "DeleteMarkerReplication": {"Status": "Disabled"},
    }
    rule["Destination"] = {"Bucket": f"arn:aws:s3:::{name}-copy"}
    params = {"Bucket": name, "ReplicationConfiguration": {"Role": role, "Rules": [rule]}}
    put = allow("s3:PutReplicationConfiguration")
    to_rds = {"StringEquals": {"iam:PassedToService": "rds.amazonaws.com"}}
    assert "iam:PassRole" in refusal(as_role(aws, "s3", put).put_bucket_replication, **params)[2]
    wrong = as_role(aws, "s3", put, allow("iam:PassRole", on=role, Condition=to_rds))
    assert "iam:PassRole" in refusal(wrong.put_bucket_replication, **params)[2]
    to_s3 = {"StringEquals": {"iam:PassedToService": "s3.amazonaws.com"}}
    as_role(aws, "s3", put, allow("iam:PassRole", on=role, Condition=to_s3)).put_bucket_replication(**params)


def test_aws_20_root_is_itself(aws: EmbeddedAws) -> None:
    assert client(aws, "sts").get_caller_identity()["Arn"] == f"arn:aws:iam::{ACCOUNT_ID}:root"


def test_aws_20_rds_creates_its_service_linked_role_with_the_callers_rights() -> None:
    with EmbeddedAws() as fresh:
        iam = client(fresh, "iam")
        create = {"DBClusterIdentifier": "a", "Engine": "aurora-postgresql", "MasterUsername": "u"}
        create["MasterUserPassword"] = "password-1"
        # the subnet group, which comes first, needs it as well: terraform-aws-modules/terraform-aws-rds#364
        group = {"DBSubnetGroupName": "g", "DBSubnetGroupDescription": "d", "SubnetIds": ["subnet-1", "subnet-2"]}
        text = refusal(as_role(fresh, "rds", allow("rds:*")).create_db_subnet_group, **group)[2]
        assert "create service linked role" in text
        code, _, message = refusal(as_role(fresh, "rds", allow("rds:*")).create_db_cluster, **create)
        assert (code, "create service linked role" in message) == ("InvalidParameterValue", True)
        for_rds = {"StringEquals": {"iam:AWSServiceName": "rds.amazonaws.com"}}
        may = allow("iam:CreateServiceLinkedRole", Condition=for_rds)
        as_role(fresh, "rds", allow("rds:*"), may).create_db_cluster(**create)
        iam.get_role(RoleName="AWSServiceRoleForRDS")
        as_role(fresh, "rds", allow("rds:*")).create_db_cluster(**{**create, "DBClusterIdentifier": "b"})


# -- keys --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def key(aws: EmbeddedAws) -> Iterator[str]:
    kms = client(aws, "kms")
    yield kms.create_key()["KeyMetadata"]["Arn"]


def key_policy(*statements: dict[str, Any], delegated: bool = True) -> str:
    root = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT_ID}:root"},
        "Action": "kms:*",
        "Resource": "*",
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [*([root] if delegated else []), *statements]})


def test_aws_20_a_key_policy_must_allow_or_delegate(aws: EmbeddedAws, key: str) -> None:
    kms = client(aws, "kms")
    role = create_role(aws, [allow("kms:DescribeKey")])
    mine = client(aws, "kms", session(aws, role))
    mine.describe_key(KeyId=key)
    # Not delegated: identity policies alone do not help (KMS developer guide, "Key policies").
    administrator = {"Effect": "Allow", "Principal": {"AWS": create_role(aws, [])}, "Action": "kms:*", "Resource": "*"}
    kms.put_key_policy(KeyId=key, PolicyName="default", Policy=key_policy(administrator, delegated=False))
    assert (
        "because no resource-based policy allows the kms:DescribeKey action" in refusal(mine.describe_key, KeyId=key)[2]
    )
    assert refusal(kms.describe_key, KeyId=key)[0] == "AccessDeniedException"  # not even the root


def test_aws_20_a_key_policy_alone_is_enough(aws: EmbeddedAws, key: str) -> None:
    role = create_role(aws, [])
    grant = {"Effect": "Allow", "Principal": {"AWS": role}, "Action": "kms:DescribeKey", "Resource": "*"}
    client(aws, "kms").put_key_policy(KeyId=key, PolicyName="default", Policy=key_policy(grant))
    client(aws, "kms", session(aws, role)).describe_key(KeyId=key)


def test_aws_20_a_secret_with_a_key_needs_the_key_through_secrets_manager(
    aws: EmbeddedAws, key: str, name: str
) -> None:
    client(aws, "secretsmanager").create_secret(Name=name, SecretString="s", KmsKeyId=key)
    read = allow("secretsmanager:GetSecretValue")
    code, _, message = refusal(as_role(aws, "secretsmanager", read).get_secret_value, SecretId=name)
    assert (code, message) == ("AccessDeniedException", "Access to KMS is not allowed")
    through = {"StringEquals": {"kms:ViaService": f"secretsmanager.{REGION}.amazonaws.com"}}
    as_role(aws, "secretsmanager", read, allow("kms:Decrypt", on=key, Condition=through)).get_secret_value(
        SecretId=name
    )


def test_aws_20_publishing_to_an_encrypted_topic_needs_its_key(aws: EmbeddedAws, key: str, name: str) -> None:
    topic = client(aws, "sns").create_topic(Name=name, Attributes={"KmsMasterKeyId": key})["TopicArn"]
    publish = allow("sns:Publish", on=topic)
    found = refusal(as_role(aws, "sns", publish).publish, TopicArn=topic, Message="x")
    assert found[0] == "KMSAccessDenied"
    assert "kms:GenerateDataKey" in found[2]
    as_role(aws, "sns", publish, allow("kms:GenerateDataKey*", "kms:Decrypt", on=key)).publish(
        TopicArn=topic, Message="x"
    )


def test_aws_20_an_encrypted_cluster_needs_a_grant_on_its_key(aws: EmbeddedAws, key: str, name: str) -> None:
    create = {
        "DBClusterIdentifier": name,
        "Engine": "aurora-postgresql",
        "MasterUsername": "u",
        "MasterUserPassword": "password-1",
        "StorageEncrypted": True,
        "KmsKeyId": key,
    }
    own = allow("rds:*", "iam:CreateServiceLinkedRole")
    assert refusal(as_role(aws, "rds", own).create_db_cluster, **create)[0] == "KMSKeyNotAccessibleFault"
    direct = {"Bool": {"kms:GrantIsForAWSResource": "false"}}
    wrong = as_role(
        aws, "rds", own, allow("kms:DescribeKey", on=key), allow("kms:CreateGrant", on=key, Condition=direct)
    )
    assert refusal(wrong.create_db_cluster, **create)[0] == "KMSKeyNotAccessibleFault"
    through = {"StringEquals": {"kms:ViaService": f"rds.{REGION}.amazonaws.com", "kms:CallerAccount": ACCOUNT_ID}}
    through |= {"Bool": {"kms:GrantIsForAWSResource": "true"}}
    as_role(
        aws, "rds", own, allow("kms:DescribeKey", on=key), allow("kms:CreateGrant", on=key, Condition=through)
    ).create_db_cluster(**create)


def test_aws_20_encrypted_objects_need_their_key_through_s3(aws: EmbeddedAws, key: str, name: str) -> None:
    s3 = client(aws, "s3")
    s3.create_bucket(Bucket=name)
    default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
    rules = {"Rules": [{"ApplyServerSideEncryptionByDefault": default}]}
    s3.put_bucket_encryption(Bucket=name, ServerSideEncryptionConfiguration=rules)
    both = allow("s3:PutObject", "s3:GetObject", on=f"arn:aws:s3:::{name}/*")
    without = as_role(aws, "s3", both)
    found = refusal(without.put_object, Bucket=name, Key="a", Body=b"x")
    assert found[0] == "AccessDenied" and "kms:GenerateDataKey" in found[2]
    through = {"StringEquals": {"kms:ViaService": f"s3.{REGION}.amazonaws.com"}}
    through["StringEquals"]["kms:EncryptionContext:aws:s3:arn"] = f"arn:aws:s3:::{name}/a"
    permitted = as_role(aws, "s3", both, allow("kms:GenerateDataKey", "kms:Decrypt", on=key, Condition=through))
    permitted.put_object(Bucket=name, Key="a", Body=b"x")
    assert permitted.get_object(Bucket=name, Key="a")["Body"].read() == b"x"
    assert "kms:Decrypt" in refusal(without.get_object, Bucket=name, Key="a")[2]
    assert refusal(permitted.put_object, Bucket=name, Key="b", Body=b"x")[0] == "AccessDenied"
    without.put_object(Bucket=name, Key="c", Body=b"x", ServerSideEncryption="AES256")


# -- buckets, topics, queues, secrets ----------------------------------------------------------------------------------


def test_aws_20_a_bucket_policy_permits_and_denies(aws: EmbeddedAws, name: str) -> None:
    s3 = client(aws, "s3")
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="a", Body=b"x")
    role = create_role(aws, [])
    mine = client(aws, "s3", session(aws, role))
    assert refusal(mine.get_object, Bucket=name, Key="a")[0] == "AccessDenied"
    read = {
        "Effect": "Allow",
        "Principal": {"AWS": role},
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{name}/*",
    }
    s3.put_bucket_policy(Bucket=name, Policy=json.dumps({"Version": "2012-10-17", "Statement": [read]}))
    mine.get_object(Bucket=name, Key="a")
    no_tls = {"Bool": {"aws:SecureTransport": "false"}}
    tls_only = {**read, "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Condition": no_tls}
    s3.put_bucket_policy(Bucket=name, Policy=json.dumps({"Version": "2012-10-17", "Statement": [read, tls_only]}))
    mine.get_object(Bucket=name, Key="a")
    aws.control.answers(clear_text=True)
    try:
        assert "explicit deny in a resource-based policy" in refusal(mine.get_object, Bucket=name, Key="a")[2]
        assert refusal(s3.get_object, Bucket=name, Key="a")[0] == "AccessDenied"  # the root, too
    finally:
        aws.control.answers(clear_text=False)


def test_aws_20_topic_queue_and_secret_policies_count(aws: EmbeddedAws, name: str) -> None:
    role = create_role(aws, [])
    credentials = session(aws, role)
    topic = client(aws, "sns").create_topic(Name=name)["TopicArn"]
    url = client(aws, "sqs").create_queue(QueueName=name)["QueueUrl"]
    secret = client(aws, "secretsmanager").create_secret(Name=name, SecretString="s")["ARN"]

    def policy(action: str, resource: str) -> str:
        statement = {"Effect": "Allow", "Principal": {"AWS": role}, "Action": action, "Resource": resource}
        return json.dumps({"Version": "2012-10-17", "Statement": [statement]})

    sns, sqs, secrets = (client(aws, each, credentials) for each in ("sns", "sqs", "secretsmanager"))
    none = json.dumps(
        {"Version": "2012-10-17", "Statement": [json.loads(policy("sns:GetTopicAttributes", topic))["Statement"][0]]}
    )
    client(aws, "sns").set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=none)
    assert refusal(sns.publish, TopicArn=topic, Message="x")[0] == "AuthorizationError"
    assert refusal(sqs.send_message, QueueUrl=url, MessageBody="x")[0] == "AccessDenied"
    assert refusal(secrets.get_secret_value, SecretId=name)[0] == "AccessDeniedException"
    client(aws, "sns").set_topic_attributes(
        TopicArn=topic, AttributeName="Policy", AttributeValue=policy("sns:Publish", topic)
    )
    arn = f"arn:aws:sqs:{REGION}:{ACCOUNT_ID}:{name}"
    client(aws, "sqs").set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy("sqs:SendMessage", arn)})
    client(aws, "secretsmanager").put_resource_policy(
        SecretId=secret, ResourcePolicy=policy("secretsmanager:GetSecretValue", "*")
    )
    sns.publish(TopicArn=topic, Message="x")
    sqs.send_message(QueueUrl=url, MessageBody="x")
    assert secrets.get_secret_value(SecretId=name)["SecretString"] == "s"


# -- simulation, call log ----------------------------------------------------------------------------------------------


def test_aws_20_simulation_answers_as_enforcement_does(aws: EmbeddedAws) -> None:
    arn = create_role(aws, [allow("sns:*", on=f"arn:aws:sns:*:{ACCOUNT_ID}:mine-*"), deny("sns:DeleteTopic")])
    iam = client(aws, "iam")
    mine = f"arn:aws:sns:{REGION}:{ACCOUNT_ID}:mine-1"
    answer = iam.simulate_principal_policy(
        PolicySourceArn=arn, ActionNames=["sns:Publish", "sns:DeleteTopic", "sqs:SendMessage"], ResourceArns=[mine]
    )
    assert {each["EvalActionName"]: each["EvalDecision"] for each in answer["EvaluationResults"]} == {
        "sns:Publish": "allowed",
        "sns:DeleteTopic": "explicitDeny",
        "sqs:SendMessage": "implicitDeny",
    }
    of_session = f"arn:aws:sts::{ACCOUNT_ID}:assumed-role/x/y"
    assert (
        refusal(iam.simulate_principal_policy, PolicySourceArn=of_session, ActionNames=["s3:GetObject"])[0]
        == "InvalidInput"
    )
    missing = f"arn:aws:iam::{ACCOUNT_ID}:role/absent"
    assert (
        refusal(iam.simulate_principal_policy, PolicySourceArn=missing, ActionNames=["s3:GetObject"])[0]
        == "NoSuchEntity"
    )


def test_aws_20_the_call_log_shows_what_was_refused_and_what_was_never_used(aws: EmbeddedAws) -> None:
    policy = allow("sns:ListTopics", "sqs:ListQueues")
    policy["Statement"][0]["Sid"] = "Lists"
    start = aws.control.calls()[-1]["n"] if aws.control.calls() else 0
    with acting_as(aws, [policy]) as credentials:
        client(aws, "sns", credentials).list_topics()
        refusal(client(aws, "s3", credentials).list_buckets)
    calls = aws.control.calls(start)
    assert denied_calls(calls) == ["s3:ListBuckets in us-east-1 needs s3:ListAllMyBuckets on *"]
    assert unused_grants([policy], calls) == ["Lists: sqs:ListQueues"]
    assert {call["principal"] for call in calls if call["service"] == "sns"} == {
        client(aws, "sts", credentials).get_caller_identity()["Arn"]
    }


def test_aws_20_a_new_instance_is_checked_against_the_option_group_that_it_gets_by_default(
    aws: EmbeddedAws, name: str
) -> None:
    """cloud-gov/terraform-provision#2350: CreateDBInstance was refused on …:og:default:… with a policy for the instances alone."""
    rds = as_role(
        aws, "rds", *(allow("rds:*", on=f"arn:aws:rds:*:{ACCOUNT_ID}:{kind}:*") for kind in ("db", "cluster"))
    )
    params = {"DBInstanceClass": "db.r6g.large", "Engine": "aurora-postgresql", "DBClusterIdentifier": name}
    _, _, message = refusal(rds.create_db_instance, DBInstanceIdentifier=name, **params)
    assert (
        f"rds:CreateDBInstance on resource: arn:aws:rds:{REGION}:{ACCOUNT_ID}:og:default:aurora-postgresql-14"
        in message
    )
