"""Round trips of the kinds in KMS, IAM, S3, SNS, SQS, logs, CloudWatch and Secrets Manager."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from .conftest import PRIMARY, SECONDARY, Clients

ACCOUNT = "123456789012"
TAGS = [{"Key": "Name", "Value": "n"}, {"Key": "Site", "Value": "primary"}]


def code_of(caught: pytest.ExceptionInfo[ClientError]) -> str:
    return str(caught.value.response["Error"]["Code"])


def by_key(tags: list[dict[str, str]], key: str = "Key", value: str = "Value") -> dict[str, str]:
    return {tag[key]: tag[value] for tag in tags}


# -- KMS ---------------------------------------------------------------------------------------------------------------


def test_kms_key_and_alias(client: Clients, name: str) -> None:
    kms = client("kms")
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "root",
                "Effect": "Allow",
                "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
                "Action": "kms:*",
                "Resource": "*",
            }
        ],
    }
    tags = [{"TagKey": "Name", "TagValue": name}, {"TagKey": "Site", "TagValue": "primary"}]
    created = kms.create_key(Description="data", Policy=json.dumps(policy), Tags=tags)["KeyMetadata"]
    key = created["KeyId"]
    assert created["Arn"] == f"arn:aws:kms:{PRIMARY}:{ACCOUNT}:key/{key}"
    assert (created["KeyManager"], created["KeyState"], created["Enabled"]) == ("CUSTOMER", "Enabled", True)
    assert by_key(kms.list_resource_tags(KeyId=key)["Tags"], "TagKey", "TagValue") == {"Name": name, "Site": "primary"}
    assert json.loads(kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"]) == policy
    policy["Statement"].append({**policy["Statement"][0], "Sid": "more"})  # type: ignore[attr-defined, dict-item]
    kms.put_key_policy(KeyId=key, PolicyName="default", Policy=json.dumps(policy))
    assert json.loads(kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"]) == policy
    assert kms.get_key_rotation_status(KeyId=key)["KeyRotationEnabled"] is False
    kms.enable_key_rotation(KeyId=key)
    assert kms.get_key_rotation_status(KeyId=key)["KeyRotationEnabled"] is True
    kms.disable_key_rotation(KeyId=key)
    assert kms.get_key_rotation_status(KeyId=key)["KeyRotationEnabled"] is False
    kms.update_key_description(KeyId=key, Description="changed")
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["Description"] == "changed"
    kms.tag_resource(KeyId=key, Tags=[{"TagKey": "Site", "TagValue": "x"}, {"TagKey": "More", "TagValue": "1"}])
    kms.untag_resource(KeyId=key, TagKeys=["More"])
    assert by_key(kms.list_resource_tags(KeyId=key)["Tags"], "TagKey", "TagValue") == {"Name": name, "Site": "x"}

    alias = f"alias/{name}"
    kms.create_alias(AliasName=alias, TargetKeyId=key)
    assert kms.describe_key(KeyId=alias)["KeyMetadata"]["KeyId"] == key
    with pytest.raises(ClientError) as caught:
        kms.create_alias(AliasName=alias, TargetKeyId=key)
    assert code_of(caught) == "AlreadyExistsException"
    other = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.update_alias(AliasName=alias, TargetKeyId=other)
    found = [
        a for page in kms.get_paginator("list_aliases").paginate() for a in page["Aliases"] if a["AliasName"] == alias
    ]
    assert [a["TargetKeyId"] for a in found] == [other]
    assert kms.list_aliases(KeyId=other)["Aliases"][0]["AliasName"] == alias
    kms.delete_alias(AliasName=alias)
    with pytest.raises(ClientError) as caught:
        kms.describe_key(KeyId=alias)
    assert code_of(caught) == "NotFoundException"

    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    shown = kms.describe_key(KeyId=key)["KeyMetadata"]
    assert (shown["KeyState"], shown["Enabled"]) == ("PendingDeletion", False) and shown["DeletionDate"]
    with pytest.raises(ClientError) as caught:
        kms.enable_key_rotation(KeyId=key)
    assert code_of(caught) == "KMSInvalidStateException"
    kms.cancel_key_deletion(KeyId=key)
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "Disabled"
    with pytest.raises(ClientError) as caught:
        client("kms", SECONDARY).describe_key(KeyId=key)
    assert code_of(caught) == "NotFoundException"


# -- IAM ---------------------------------------------------------------------------------------------------------------


def trust(service: str) -> str:
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def test_iam_role_with_managed_and_inline_policy(client: Clients, name: str) -> None:
    iam = client("iam")
    created = iam.create_role(
        RoleName=name, AssumeRolePolicyDocument=trust("monitoring.rds.amazonaws.com"), Description="d", Tags=TAGS
    )["Role"]
    assert created["Arn"] == f"arn:aws:iam::{ACCOUNT}:role/{name}"
    shown = iam.get_role(RoleName=name)["Role"]
    assert by_key(shown["Tags"]) == by_key(TAGS) and shown["Description"] == "d"
    assert shown["AssumeRolePolicyDocument"] == json.loads(trust("monitoring.rds.amazonaws.com"))
    assert shown["MaxSessionDuration"] == 3600
    iam.update_assume_role_policy(RoleName=name, PolicyDocument=trust("s3.amazonaws.com"))
    assert iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"] == json.loads(trust("s3.amazonaws.com"))
    iam.update_role(RoleName=name, Description="e", MaxSessionDuration=7200)
    shown = iam.get_role(RoleName=name)["Role"]
    assert (shown["Description"], shown["MaxSessionDuration"]) == ("e", 7200)
    iam.tag_role(RoleName=name, Tags=[{"Key": "Site", "Value": "x"}, {"Key": "More", "Value": "1"}])
    iam.untag_role(RoleName=name, TagKeys=["More"])
    assert by_key(iam.list_role_tags(RoleName=name)["Tags"]) == {"Name": "n", "Site": "x"}

    managed = "arn:aws:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole"
    iam.attach_role_policy(RoleName=name, PolicyArn=managed)
    attached = iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]
    assert [p["PolicyArn"] for p in attached] == [managed]
    document = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": ["s3:GetObjectVersion"], "Resource": ["arn:aws:s3:::b/*"]}],
    }
    iam.put_role_policy(RoleName=name, PolicyName="inline", PolicyDocument=json.dumps(document))
    assert iam.get_role_policy(RoleName=name, PolicyName="inline")["PolicyDocument"] == document
    document["Statement"][0]["Resource"] = ["arn:aws:s3:::c/*"]  # type: ignore[index]
    iam.put_role_policy(RoleName=name, PolicyName="inline", PolicyDocument=json.dumps(document))
    assert iam.get_role_policy(RoleName=name, PolicyName="inline")["PolicyDocument"] == document
    assert iam.list_role_policies(RoleName=name)["PolicyNames"] == ["inline"]
    with pytest.raises(ClientError) as caught:
        iam.delete_role(RoleName=name)
    assert code_of(caught) == "DeleteConflict"
    iam.detach_role_policy(RoleName=name, PolicyArn=managed)
    iam.delete_role_policy(RoleName=name, PolicyName="inline")
    iam.delete_role(RoleName=name)
    for call in (iam.get_role, iam.list_attached_role_policies):
        with pytest.raises(ClientError) as caught:
            call(RoleName=name)
        assert code_of(caught) == "NoSuchEntity"


# -- S3 ----------------------------------------------------------------------------------------------------------------


def test_s3_bucket_settings(client: Clients, name: str) -> None:
    s3 = client("s3", SECONDARY)
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": SECONDARY})
    assert s3.get_bucket_location(Bucket=name)["LocationConstraint"] == SECONDARY
    assert s3.head_bucket(Bucket=name)["ResponseMetadata"]["HTTPHeaders"]["x-amz-bucket-region"] == SECONDARY
    with pytest.raises(ClientError) as caught:
        s3.get_bucket_tagging(Bucket=name)
    assert code_of(caught) == "NoSuchTagSet"
    s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": TAGS})
    assert by_key(s3.get_bucket_tagging(Bucket=name)["TagSet"]) == by_key(TAGS)

    assert "Status" not in s3.get_bucket_versioning(Bucket=name)
    for status in ("Enabled", "Suspended", "Enabled"):
        s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": status})
        assert s3.get_bucket_versioning(Bucket=name)["Status"] == status

    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": True}
    s3.put_bucket_encryption(Bucket=name, ServerSideEncryptionConfiguration={"Rules": [rule]})
    shown = s3.get_bucket_encryption(Bucket=name)["ServerSideEncryptionConfiguration"]["Rules"]
    assert shown == [rule]

    block = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True)
    s3.put_public_access_block(Bucket=name, PublicAccessBlockConfiguration=block)
    assert s3.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"] == block
    s3.delete_public_access_block(Bucket=name)
    with pytest.raises(ClientError) as caught:
        s3.get_public_access_block(Bucket=name)
    assert code_of(caught) == "NoSuchPublicAccessBlockConfiguration"

    with pytest.raises(ClientError) as caught:
        s3.get_bucket_policy(Bucket=name)
    assert code_of(caught) == "NoSuchBucketPolicy"
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "tls",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": [f"arn:aws:s3:::{name}", f"arn:aws:s3:::{name}/*"],
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            }
        ],
    }
    s3.put_bucket_policy(Bucket=name, Policy=json.dumps(policy))
    assert json.loads(s3.get_bucket_policy(Bucket=name)["Policy"]) == policy
    s3.delete_bucket_policy(Bucket=name)

    with pytest.raises(ClientError) as caught:
        s3.get_bucket_lifecycle_configuration(Bucket=name)
    assert code_of(caught) == "NoSuchLifecycleConfiguration"
    lifecycle = {
        "ID": "archive",
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "Transitions": [{"Days": 30, "StorageClass": "GLACIER"}],
        "Expiration": {"Days": 365},
        "NoncurrentVersionExpiration": {"NoncurrentDays": 90},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
    }
    s3.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": [lifecycle]})
    assert s3.get_bucket_lifecycle_configuration(Bucket=name)["Rules"] == [lifecycle]
    empty = {**lifecycle, "Filter": {}}
    s3.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": [empty]})
    shown = s3.get_bucket_lifecycle_configuration(Bucket=name)["Rules"][0]
    assert {k: v for k, v in shown.items() if k != "Filter"} == {k: v for k, v in empty.items() if k != "Filter"}
    assert shown["Filter"] in ({}, {"Prefix": ""})
    s3.delete_bucket_lifecycle(Bucket=name)
    s3.put_object(Bucket=name, Key="a", Body=b"1")
    with pytest.raises(ClientError) as caught:
        s3.delete_bucket(Bucket=name)
    assert code_of(caught) == "BucketNotEmpty"
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=name):
        for item in page.get("Versions", []) + page.get("DeleteMarkers", []):
            s3.delete_object(Bucket=name, Key=item["Key"], VersionId=item["VersionId"])
    s3.delete_bucket(Bucket=name)
    with pytest.raises(ClientError) as caught:
        s3.head_bucket(Bucket=name)
    assert code_of(caught) == "404"


def test_s3_replication(client: Clients, name: str) -> None:
    east, west = client("s3"), client("s3", SECONDARY)
    east.create_bucket(Bucket=name)
    west.create_bucket(Bucket=name + "-w", CreateBucketConfiguration={"LocationConstraint": SECONDARY})
    role = client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=trust("s3.amazonaws.com"))["Role"]["Arn"]
    rule = {
        "ID": "replicate-all",
        "Priority": 1,
        "Status": "Enabled",
        "Filter": {},
        "DeleteMarkerReplication": {"Status": "Enabled"},
        "Destination": {"Bucket": f"arn:aws:s3:::{name}-w", "StorageClass": "STANDARD"},
    }
    configuration = {"Role": role, "Rules": [rule]}
    with pytest.raises(ClientError) as caught:
        east.get_bucket_replication(Bucket=name)
    assert code_of(caught) == "ReplicationConfigurationNotFoundError"
    with pytest.raises(ClientError) as caught:
        east.put_bucket_replication(Bucket=name, ReplicationConfiguration=configuration)
    assert code_of(caught) == "InvalidRequest"
    east.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    with pytest.raises(ClientError) as caught:
        east.put_bucket_replication(Bucket=name, ReplicationConfiguration=configuration)
    assert code_of(caught) == "InvalidRequest"
    west.put_bucket_versioning(Bucket=name + "-w", VersioningConfiguration={"Status": "Enabled"})
    east.put_bucket_replication(Bucket=name, ReplicationConfiguration=configuration)
    shown = east.get_bucket_replication(Bucket=name)["ReplicationConfiguration"]
    assert shown["Role"] == role
    assert normal(shown["Rules"][0]) == normal(rule)
    rule["Status"] = "Disabled"
    rule["DeleteMarkerReplication"] = {"Status": "Disabled"}
    east.put_bucket_replication(Bucket=name, ReplicationConfiguration=configuration)
    assert normal(east.get_bucket_replication(Bucket=name)["ReplicationConfiguration"]["Rules"][0]) == normal(rule)
    rule["Filter"] = {"Prefix": "x/"}
    east.put_bucket_replication(Bucket=name, ReplicationConfiguration=configuration)
    assert normal(east.get_bucket_replication(Bucket=name)["ReplicationConfiguration"]["Rules"][0]) == normal(rule)
    with pytest.raises(ClientError) as caught:
        east.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Suspended"})
    assert code_of(caught) == "InvalidBucketState"
    east.delete_bucket_replication(Bucket=name)
    with pytest.raises(ClientError) as caught:
        east.get_bucket_replication(Bucket=name)
    assert code_of(caught) == "ReplicationConfigurationNotFoundError"


def normal(rule: dict[str, Any]) -> dict[str, Any]:
    """AWS answers an empty filter as `{}` or as an empty prefix."""
    return {**rule, "Filter": rule.get("Filter") if rule.get("Filter") != {"Prefix": ""} else {}}


# -- SNS and SQS -------------------------------------------------------------------------------------------------------


def test_sns_topic(client: Clients, name: str) -> None:
    sns = client("sns")
    key = client("kms").create_key()["KeyMetadata"]["Arn"]
    arn = sns.create_topic(Name=name, Attributes={"KmsMasterKeyId": key, "DisplayName": "d"}, Tags=TAGS)["TopicArn"]
    assert arn == f"arn:aws:sns:{PRIMARY}:{ACCOUNT}:{name}"
    shown = sns.get_topic_attributes(TopicArn=arn)["Attributes"]
    assert (shown["KmsMasterKeyId"], shown["DisplayName"], shown["Owner"]) == (key, "d", ACCOUNT)
    assert by_key(sns.list_tags_for_resource(ResourceArn=arn)["Tags"]) == by_key(TAGS)
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "rds",
                "Effect": "Allow",
                "Principal": {"Service": "events.rds.amazonaws.com"},
                "Action": "sns:Publish",
                "Resource": arn,
                "Condition": {"StringEquals": {"aws:SourceAccount": ACCOUNT}},
            }
        ],
    }
    sns.set_topic_attributes(TopicArn=arn, AttributeName="Policy", AttributeValue=json.dumps(policy))
    assert json.loads(sns.get_topic_attributes(TopicArn=arn)["Attributes"]["Policy"]) == policy
    other = client("kms").create_key()["KeyMetadata"]["Arn"]
    sns.set_topic_attributes(TopicArn=arn, AttributeName="KmsMasterKeyId", AttributeValue=other)
    assert sns.get_topic_attributes(TopicArn=arn)["Attributes"]["KmsMasterKeyId"] == other
    sns.tag_resource(ResourceArn=arn, Tags=[{"Key": "Site", "Value": "x"}, {"Key": "More", "Value": "1"}])
    sns.untag_resource(ResourceArn=arn, TagKeys=["More"])
    assert by_key(sns.list_tags_for_resource(ResourceArn=arn)["Tags"]) == {"Name": "n", "Site": "x"}
    sns.delete_topic(TopicArn=arn)
    with pytest.raises(ClientError) as caught:
        sns.get_topic_attributes(TopicArn=arn)
    assert code_of(caught) == "NotFound"


def test_sqs_queues_and_delivery(client: Clients, name: str) -> None:
    sqs, sns = client("sqs"), client("sns")
    # Who sends to an encrypted queue needs its key, SNS as everybody (SQS developer guide, "Key management").
    root = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "kms:*", "Resource": "*"}
    service = {**root, "Principal": {"Service": "sns.amazonaws.com"}, "Action": ["kms:Decrypt", "kms:GenerateDataKey*"]}
    key_policy = json.dumps({"Version": "2012-10-17", "Statement": [root, service]})
    key = client("kms").create_key(Policy=key_policy)["KeyMetadata"]["Arn"]
    attributes = {"MessageRetentionPeriod": "1209600", "KmsMasterKeyId": key}
    tags = {"Name": name, "Site": "primary"}
    dead = sqs.create_queue(QueueName=f"{name}-dlq", Attributes=attributes, tags=tags)["QueueUrl"]
    shown = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["All"])["Attributes"]
    assert (shown["MessageRetentionPeriod"], shown["KmsMasterKeyId"]) == ("1209600", key)
    assert sqs.list_queue_tags(QueueUrl=dead)["Tags"] == tags
    redrive = {"deadLetterTargetArn": shown["QueueArn"], "maxReceiveCount": 3}
    attributes = {
        "RedrivePolicy": json.dumps(redrive),
        "VisibilityTimeout": "60",
        "MessageRetentionPeriod": "345600",
        "KmsMasterKeyId": key,
    }
    queue = sqs.create_queue(QueueName=name, Attributes=attributes, tags=tags)["QueueUrl"]
    shown = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
    arn = shown["QueueArn"]
    assert arn == f"arn:aws:sqs:{PRIMARY}:{ACCOUNT}:{name}"
    assert json.loads(shown["RedrivePolicy"]) == redrive
    assert (shown["VisibilityTimeout"], shown["MessageRetentionPeriod"]) == ("60", "345600")
    changed = {"VisibilityTimeout": "30", "RedrivePolicy": json.dumps({**redrive, "maxReceiveCount": 5})}
    sqs.set_queue_attributes(QueueUrl=queue, Attributes=changed)
    shown = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
    assert shown["VisibilityTimeout"] == "30" and json.loads(shown["RedrivePolicy"])["maxReceiveCount"] == 5
    topic = sns.create_topic(Name=name)["TopicArn"]
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "sns",
                "Effect": "Allow",
                "Principal": {"Service": "sns.amazonaws.com"},
                "Action": "sqs:SendMessage",
                "Resource": arn,
                "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
            }
        ],
    }
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": json.dumps(policy)})
    shown = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["Policy"])["Attributes"]
    assert json.loads(shown["Policy"]) == policy
    sqs.tag_queue(QueueUrl=queue, Tags={"Site": "x", "More": "1"})
    sqs.untag_queue(QueueUrl=queue, TagKeys=["More"])
    assert sqs.list_queue_tags(QueueUrl=queue)["Tags"] == {"Name": name, "Site": "x"}
    assert sqs.get_queue_url(QueueName=name)["QueueUrl"] == queue

    subscription = sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, ReturnSubscriptionArn=True)[
        "SubscriptionArn"
    ]
    again = sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, ReturnSubscriptionArn=True)["SubscriptionArn"]
    assert again == subscription
    shown = sns.get_subscription_attributes(SubscriptionArn=subscription)["Attributes"]
    assert (shown["Protocol"], shown["Endpoint"], shown["TopicArn"]) == ("sqs", arn, topic)
    assert shown["RawMessageDelivery"] == "false"
    sns.set_subscription_attributes(
        SubscriptionArn=subscription, AttributeName="RawMessageDelivery", AttributeValue="true"
    )
    shown = sns.get_subscription_attributes(SubscriptionArn=subscription)["Attributes"]
    assert shown["RawMessageDelivery"] == "true"
    listed = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert [item["SubscriptionArn"] for item in listed] == [subscription]
    sns.publish(TopicArn=topic, Message="hello")
    assert sqs.receive_message(QueueUrl=queue)["Messages"][0]["Body"] == "hello"
    email = sns.subscribe(TopicArn=topic, Protocol="email", Endpoint="a@example.com")["SubscriptionArn"]
    assert email == "pending confirmation"
    listed = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert {item["Protocol"]: item["SubscriptionArn"] for item in listed} == {
        "sqs": subscription,
        "email": "PendingConfirmation",
    }
    sns.unsubscribe(SubscriptionArn=subscription)
    with pytest.raises(ClientError) as caught:
        sns.get_subscription_attributes(SubscriptionArn=subscription)
    assert code_of(caught) == "NotFound"
    sqs.delete_queue(QueueUrl=queue)
    with pytest.raises(ClientError) as caught:
        sqs.get_queue_url(QueueName=name)
    assert code_of(caught) in ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist")


# -- logs and CloudWatch -----------------------------------------------------------------------------------------------


def test_log_group(client: Clients, name: str) -> None:
    logs = client("logs")
    group = f"/aws/rds/cluster/{name}/postgresql"
    key = client("kms").create_key()["KeyMetadata"]["Arn"]
    logs.create_log_group(logGroupName=group, tags={"Name": name, "Site": "primary"}, kmsKeyId=key)
    with pytest.raises(ClientError) as caught:
        logs.create_log_group(logGroupName=group)
    assert code_of(caught) == "ResourceAlreadyExistsException"
    logs.put_retention_policy(logGroupName=group, retentionInDays=30)
    shown = logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"][0]
    assert (shown["retentionInDays"], shown["kmsKeyId"]) == (30, key)
    arn = f"arn:aws:logs:{PRIMARY}:{ACCOUNT}:log-group:{group}"
    assert shown["logGroupArn"] == arn and shown["arn"] == arn + ":*"
    assert logs.list_tags_for_resource(resourceArn=arn)["tags"] == {"Name": name, "Site": "primary"}
    logs.tag_resource(resourceArn=arn, tags={"Site": "x", "More": "1"})
    logs.untag_resource(resourceArn=arn, tagKeys=["More"])
    assert logs.list_tags_for_resource(resourceArn=arn)["tags"] == {"Name": name, "Site": "x"}
    logs.delete_retention_policy(logGroupName=group)
    assert "retentionInDays" not in logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"][0]
    logs.delete_log_group(logGroupName=group)
    assert logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"] == []


def test_alarm(client: Clients, name: str) -> None:
    cloudwatch = client("cloudwatch")
    topic = client("sns").create_topic(Name=name)["TopicArn"]
    wanted = {
        "AlarmName": name,
        "AlarmDescription": "lag",
        "ActionsEnabled": False,
        "AlarmActions": [topic],
        "OKActions": [topic],
        "InsufficientDataActions": [],
        "Namespace": "AWS/RDS",
        "MetricName": "AuroraGlobalDBReplicationLag",
        "Dimensions": [{"Name": "DBClusterIdentifier", "Value": "c"}],
        "Statistic": "Maximum",
        "Period": 60,
        "EvaluationPeriods": 2,
        "DatapointsToAlarm": 2,
        "Threshold": 60000.0,
        "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": "breaching",
    }
    cloudwatch.put_metric_alarm(**wanted, Tags=TAGS)

    def shown() -> dict[str, Any]:
        item: dict[str, Any] = cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"][0]
        return item

    assert {key: shown()[key] for key in wanted} == wanted
    assert shown()["StateValue"] == "INSUFFICIENT_DATA"
    arn = shown()["AlarmArn"]
    assert by_key(cloudwatch.list_tags_for_resource(ResourceARN=arn)["Tags"]) == by_key(TAGS)
    cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="test")
    changes = {"TreatMissingData": "notBreaching", "ActionsEnabled": True, "Threshold": 1.0, "Statistic": "Minimum"}
    wanted.update(changes)
    cloudwatch.put_metric_alarm(**wanted)
    assert {key: shown()[key] for key in wanted} == wanted
    # Tags of an existing alarm are changed with TagResource only, and its state survives an update.
    assert by_key(cloudwatch.list_tags_for_resource(ResourceARN=arn)["Tags"]) == by_key(TAGS)
    assert shown()["StateValue"] == "ALARM"
    cloudwatch.tag_resource(ResourceARN=arn, Tags=[{"Key": "Site", "Value": "x"}, {"Key": "More", "Value": "1"}])
    cloudwatch.untag_resource(ResourceARN=arn, TagKeys=["More"])
    assert by_key(cloudwatch.list_tags_for_resource(ResourceARN=arn)["Tags"]) == {"Name": "n", "Site": "x"}
    del wanted["TreatMissingData"], wanted["DatapointsToAlarm"]
    cloudwatch.put_metric_alarm(**wanted)
    assert shown().get("TreatMissingData", "missing") == "missing" and "DatapointsToAlarm" not in shown()
    cloudwatch.disable_alarm_actions(AlarmNames=[name])
    assert shown()["ActionsEnabled"] is False
    cloudwatch.delete_alarms(AlarmNames=[name])
    assert cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"] == []


def test_metrics(client: Clients, name: str) -> None:
    from datetime import datetime, timedelta, timezone

    cloudwatch = client("cloudwatch", SECONDARY)
    now = datetime.now(timezone.utc).replace(second=0, microsecond=0)
    dimensions = [{"Name": "Stack", "Value": name}]
    for minutes, value in ((3, 1.0), (2, 5.0), (1, 0.0)):
        datum = {"MetricName": "Lag", "Dimensions": dimensions, "Value": value, "Unit": "Milliseconds"}
        cloudwatch.put_metric_data(
            Namespace="DRAssets", MetricData=[{**datum, "Timestamp": now - timedelta(minutes=minutes)}]
        )
    query = {
        "Id": "lag",
        "MetricStat": {
            "Metric": {"Namespace": "DRAssets", "MetricName": "Lag", "Dimensions": dimensions},
            "Period": 60,
            "Stat": "Maximum",
        },
    }
    result = cloudwatch.get_metric_data(
        MetricDataQueries=[query], StartTime=now - timedelta(minutes=5), EndTime=now, ScanBy="TimestampAscending"
    )["MetricDataResults"][0]
    assert result["Values"] == [1.0, 5.0, 0.0]


# -- Secrets Manager ---------------------------------------------------------------------------------------------------


def test_secret_and_versions(client: Clients, name: str) -> None:
    secrets = client("secretsmanager")
    key = client("kms").create_key()["KeyMetadata"]["Arn"]
    created = secrets.create_secret(Name=name, Description="d", KmsKeyId=key, Tags=TAGS)
    arn = created["ARN"]
    assert "VersionId" not in created
    shown = secrets.describe_secret(SecretId=name)
    assert (shown["Name"], shown["Description"], shown["KmsKeyId"]) == (name, "d", key)
    assert by_key(shown["Tags"]) == by_key(TAGS)
    with pytest.raises(ClientError) as caught:
        secrets.create_secret(Name=name)
    assert code_of(caught) == "ResourceExistsException"
    with pytest.raises(ClientError) as caught:
        secrets.get_secret_value(SecretId=name)
    assert code_of(caught) == "ResourceNotFoundException"

    password = secrets.get_random_password(PasswordLength=32, ExcludePunctuation=True)["RandomPassword"]
    assert len(password) == 32 and password.isalnum()
    first, second = "a" * 32, "b" * 32
    put = secrets.put_secret_value(SecretId=name, ClientRequestToken=first, SecretString="one")
    assert put["VersionId"] == first and put["VersionStages"] == ["AWSCURRENT"]
    again = secrets.put_secret_value(SecretId=name, ClientRequestToken=first, SecretString="one")
    assert again["VersionId"] == first
    with pytest.raises(ClientError) as caught:
        secrets.put_secret_value(SecretId=name, ClientRequestToken=first, SecretString="other")
    assert code_of(caught) == "ResourceExistsException"
    secrets.put_secret_value(SecretId=name, ClientRequestToken=second, SecretString="two", VersionStages=["AWSPENDING"])
    assert secrets.get_secret_value(SecretId=name)["SecretString"] == "one"
    assert secrets.get_secret_value(SecretId=name, VersionStage="AWSPENDING")["SecretString"] == "two"
    stages = secrets.describe_secret(SecretId=name)["VersionIdsToStages"]
    assert stages == {first: ["AWSCURRENT"], second: ["AWSPENDING"]}
    secrets.update_secret_version_stage(
        SecretId=name, VersionStage="AWSCURRENT", MoveToVersionId=second, RemoveFromVersionId=first
    )
    assert secrets.get_secret_value(SecretId=name)["SecretString"] == "two"
    stages = secrets.describe_secret(SecretId=name)["VersionIdsToStages"]
    assert stages[first] == ["AWSPREVIOUS"] and "AWSCURRENT" in stages[second]
    third = secrets.put_secret_value(SecretId=arn, SecretString="three")["VersionId"]
    stages = secrets.describe_secret(SecretId=name)["VersionIdsToStages"]
    assert stages[third] == ["AWSCURRENT"] and "AWSPREVIOUS" in stages[second]
    assert secrets.get_secret_value(SecretId=name, VersionId=second)["SecretString"] == "two"

    secrets.tag_resource(SecretId=name, Tags=[{"Key": "Site", "Value": "x"}, {"Key": "More", "Value": "1"}])
    secrets.untag_resource(SecretId=name, TagKeys=["More"])
    assert by_key(secrets.describe_secret(SecretId=name)["Tags"]) == {"Name": "n", "Site": "x"}
    other = client("kms").create_key()["KeyMetadata"]["Arn"]
    secrets.update_secret(SecretId=name, Description="e", KmsKeyId=other)
    shown = secrets.describe_secret(SecretId=name)
    assert (shown["Description"], shown["KmsKeyId"]) == ("e", other)
    assert by_key(shown["Tags"]) == {"Name": "n", "Site": "x"}
    assert secrets.get_secret_value(SecretId=name)["SecretString"] == "three"
    secrets.delete_secret(SecretId=name, RecoveryWindowInDays=7)
    assert secrets.describe_secret(SecretId=name)["DeletedDate"]
    with pytest.raises(ClientError) as caught:
        secrets.get_secret_value(SecretId=name)
    assert code_of(caught) == "InvalidRequestException"
    secrets.restore_secret(SecretId=name)
    secrets.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
    with pytest.raises(ClientError) as caught:
        secrets.describe_secret(SecretId=name)
    assert code_of(caught) == "ResourceNotFoundException"


def test_sts(client: Clients) -> None:
    assert client("sts", SECONDARY).get_caller_identity()["Account"] == ACCOUNT


def test_a_tls_only_bucket_takes_objects_and_a_denied_one_does_not(client: Clients, name: str) -> None:
    s3 = client("s3")
    s3.create_bucket(Bucket=name)
    deny = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": [f"arn:aws:s3:::{name}/*"]}
    conditional = {**deny, "Condition": {"Bool": {"aws:SecureTransport": "false"}}}
    policy = {"Version": "2012-10-17", "Statement": [conditional]}
    s3.put_bucket_policy(Bucket=name, Policy=json.dumps(policy))
    s3.put_object(Bucket=name, Key="a", Body=b"x")
    s3.put_bucket_policy(Bucket=name, Policy=json.dumps({**policy, "Statement": [conditional, deny]}))
    with pytest.raises(ClientError) as caught:
        s3.put_object(Bucket=name, Key="b", Body=b"x")
    assert code_of(caught) == "AccessDenied"


@pytest.mark.parametrize(
    ("unlike", "refused"),
    [
        ({}, True),
        ({"Principal": {"AWS": "*"}}, True),
        ({"Principal": {"AWS": "arn:aws:iam::123456789012:role/of-another"}}, False),
        # A negated operator holds where the request has no such key (IAM user guide, "Condition operators").
        ({"Condition": {"StringNotEquals": {"s3:x-amz-server-side-encryption": "aws:kms"}}}, True),
        ({"Condition": {"StringEquals": {"s3:x-amz-server-side-encryption": "aws:kms"}}}, False),
        ({"Effect": "Allow", "Principal": {"AWS": "123456789012"}}, False),
        ({"Action": "s3:DeleteObject"}, False),
    ],
)
def test_which_statements_of_a_bucket_policy_are_enforced(
    client: Clients, name: str, unlike: dict[str, Any], refused: bool
) -> None:
    s3 = client("s3")
    s3.create_bucket(Bucket=name)
    if "of-another" in json.dumps(unlike):
        nobody = json.dumps({"Version": "2012-10-17", "Statement": []})
        client("iam").create_role(RoleName="of-another", AssumeRolePolicyDocument=nobody)
    deny = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": f"arn:aws:s3:::{name}/*"}
    s3.put_bucket_policy(Bucket=name, Policy=json.dumps({"Version": "2012-10-17", "Statement": {**deny, **unlike}}))
    if refused:
        with pytest.raises(ClientError):
            s3.put_object(Bucket=name, Key="a", Body=b"x")
    else:
        s3.put_object(Bucket=name, Key="a", Body=b"x")


def test_nothing_is_delivered_before_a_subscription_is_confirmed(client: Clients, name: str) -> None:
    sns = client("sns")
    topic = sns.create_topic(Name=name)["TopicArn"]
    # Nothing listens there: a delivery would fail.
    sns.subscribe(TopicArn=topic, Protocol="http", Endpoint="http://127.0.0.1:9/")
    assert sns.publish(TopicArn=topic, Message="x")["MessageId"]


def test_a_managed_policy_in_use_or_of_several_versions_is_not_deleted(client: Clients, name: str) -> None:
    """IAM API, DeletePolicy."""
    iam = client("iam")
    document = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})
    trust = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    arn = iam.create_policy(PolicyName=name, PolicyDocument=document)["Policy"]["Arn"]

    def refused() -> bool:
        with pytest.raises(ClientError) as caught:
            iam.delete_policy(PolicyArn=arn)
        return code_of(caught) == "DeleteConflict"

    iam.create_policy_version(PolicyArn=arn, PolicyDocument=document, SetAsDefault=True)
    assert refused()
    iam.delete_policy_version(PolicyArn=arn, VersionId="v1")
    limits = {"PermissionsBoundary": arn}
    role = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=role, **limits)
    assert refused()
    iam.delete_role_permissions_boundary(RoleName=name)
    iam.attach_role_policy(RoleName=name, PolicyArn=arn)
    assert refused()
    iam.detach_role_policy(RoleName=name, PolicyArn=arn)
    iam.delete_role(RoleName=name)
    iam.delete_policy(PolicyArn=arn)
