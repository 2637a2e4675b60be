"""Services that act by themselves need the policies of topics, queues, keys and roles, as AWS's do."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from dr_assets.emulator import ACCOUNT_ID, EmbeddedAws
from tests.support.principal import client, let_topic_send

REGION = "us-east-1"
OTHER_ACCOUNT = "999999999999"
ROOT = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT_ID}:root"}, "Action": "*", "Resource": "*"}


def service(name: str, actions: Any, resource: str = "*", **condition: Any) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Principal": {"Service": name}, "Action": actions, "Resource": resource}
    return {**statement, **({"Condition": condition} if condition else {})}


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


class Alarm:
    """An alarm whose topic has a queue behind it."""

    def __init__(self, aws: EmbeddedAws, name: str, **topic: str) -> None:
        self.cloudwatch, self.sns, self.sqs = (client(aws, each) for each in ("cloudwatch", "sns", "sqs"))
        self.name, self.arn = name, f"arn:aws:cloudwatch:{REGION}:{ACCOUNT_ID}:alarm:{name}"
        self.topic = self.sns.create_topic(Name=name, Attributes=topic)["TopicArn"]
        self.queue = self.sqs.create_queue(QueueName=name)["QueueUrl"]
        queue_arn = let_topic_send(self.sqs, self.queue, self.topic)
        self.sns.subscribe(TopicArn=self.topic, Protocol="sqs", Endpoint=queue_arn)
        self.cloudwatch.put_metric_alarm(
            AlarmName=name,
            Namespace="n",
            MetricName="m",
            Statistic="Average",
            Period=60,
            EvaluationPeriods=1,
            Threshold=1,
            ComparisonOperator="GreaterThanThreshold",
            AlarmActions=[self.topic],
            OKActions=[self.topic],
        )

    def permit(self, *statements: dict[str, Any]) -> None:
        self.sns.set_topic_attributes(TopicArn=self.topic, AttributeName="Policy", AttributeValue=document(*statements))

    def publish(self, state: str = "ALARM") -> tuple[int, str]:
        """(messages delivered, the newest action in the alarm's history)."""
        self.cloudwatch.set_alarm_state(AlarmName=self.name, StateValue=state, StateReason="test")
        found = self.sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10).get("Messages", [])
        history = self.cloudwatch.describe_alarm_history(AlarmName=self.name, HistoryItemType="Action")
        return len(found), history["AlarmHistoryItems"][0]["HistorySummary"]


@pytest.fixture
def alarm(aws: EmbeddedAws, name: str) -> Alarm:
    return Alarm(aws, name)


def test_aws_20_the_default_policy_of_a_topic_permits_alarms_of_the_account(alarm: Alarm) -> None:
    assert alarm.publish() == (1, f"Successfully executed action {alarm.topic}")


def test_aws_20_an_alarm_that_the_topic_does_not_permit_is_lost(alarm: Alarm) -> None:
    alarm.permit(service("events.rds.amazonaws.com", "sns:Publish", alarm.topic))
    # AWS re:Post, "How do I troubleshoot SNS notifications from CloudWatch alarms?"
    text = f"Resource: {alarm.arn} is not authorized to perform: SNS:Publish on resource: {alarm.topic}"
    assert alarm.publish() == (0, f'Failed to execute action {alarm.topic}. Received error: "{text}"')


@pytest.mark.parametrize(
    ("condition", "delivered"),
    [
        ({"StringEquals": {"aws:SourceAccount": ACCOUNT_ID}}, 1),
        ({"StringEquals": {"aws:SourceAccount": OTHER_ACCOUNT}}, 0),
        ({"ArnLike": {"aws:SourceArn": f"arn:aws:cloudwatch:{REGION}:{ACCOUNT_ID}:alarm:*"}}, 1),
        ({"ArnLike": {"aws:SourceArn": f"arn:aws:cloudwatch:{REGION}:{OTHER_ACCOUNT}:alarm:*"}}, 0),
        ({"ArnLike": {"aws:SourceArn": f"arn:aws:cloudwatch:eu-west-1:{ACCOUNT_ID}:alarm:*"}}, 0),
    ],
)
def test_aws_20_a_confused_deputy_is_refused(alarm: Alarm, condition: dict[str, Any], delivered: int) -> None:
    alarm.permit(service("cloudwatch.amazonaws.com", "sns:Publish", alarm.topic, **condition))
    assert alarm.publish()[0] == delivered


def test_aws_20_the_key_of_a_topic_must_permit_the_service(aws: EmbeddedAws, name: str) -> None:
    kms = client(aws, "kms")
    key = kms.create_key(Policy=document(ROOT))["KeyMetadata"]["Arn"]
    alarm = Alarm(aws, name, KmsMasterKeyId=key)
    count, summary = alarm.publish()
    assert count == 0
    assert "CloudWatch Alarms does not have authorization to access the SNS topic encryption key." in summary
    use = ["kms:Decrypt", "kms:GenerateDataKey*"]
    other = service("cloudwatch.amazonaws.com", use, StringEquals={"aws:SourceAccount": OTHER_ACCOUNT})
    kms.put_key_policy(KeyId=key, PolicyName="default", Policy=document(ROOT, other))
    assert alarm.publish("OK")[0] == 0
    own = service("cloudwatch.amazonaws.com", use, StringEquals={"aws:SourceAccount": ACCOUNT_ID})
    kms.put_key_policy(KeyId=key, PolicyName="default", Policy=document(ROOT, own))
    assert alarm.publish()[0] == 1
    kms.disable_key(KeyId=key)
    assert alarm.publish("OK")[0] == 0


def test_aws_20_services_cannot_use_awss_own_key_of_sns(aws: EmbeddedAws, name: str) -> None:
    assert Alarm(aws, name, KmsMasterKeyId="alias/aws/sns").publish()[0] == 0


def test_aws_20_a_queue_receives_what_its_policy_lets_the_topic_send(aws: EmbeddedAws, name: str) -> None:
    sns, sqs = client(aws, "sns"), client(aws, "sqs")
    topic, other = (sns.create_topic(Name=each)["TopicArn"] for each in (name, f"{name}-other"))
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)

    def delivered() -> int:
        sns.publish(TopicArn=topic, Message="x")
        return len(sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []))

    assert delivered() == 0
    let_topic_send(sqs, url, other)
    assert delivered() == 0
    let_topic_send(sqs, url, topic)
    assert delivered() == 1


@pytest.mark.parametrize("sent", [False, True])
def test_aws_20_a_topic_names_only_its_arn_to_a_queue_and_perhaps_its_account(
    aws: EmbeddedAws, name: str, sent: bool
) -> None:
    """SNS developer guide, "Allow the SNS topic to send messages to the queue", has aws:SourceArn only."""
    sns, sqs = client(aws, "sns"), client(aws, "sqs")
    topic = sns.create_topic(Name=name)["TopicArn"]
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    asked = service("sns.amazonaws.com", "sqs:SendMessage", arn, StringEquals={"aws:SourceAccount": ACCOUNT_ID})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": document(asked)})
    aws.control.answers(undocumented_source_keys=sent)
    sns.publish(TopicArn=topic, Message="x")
    assert len(sqs.receive_message(QueueUrl=url).get("Messages", [])) == int(sent)


@pytest.mark.parametrize(
    ("trust", "accepted"),
    [
        (service("monitoring.rds.amazonaws.com", "sts:AssumeRole"), True),
        (service("rds.amazonaws.com", "sts:AssumeRole"), False),
        (
            service("monitoring.rds.amazonaws.com", "sts:AssumeRole", StringEquals={"aws:SourceAccount": ACCOUNT_ID}),
            True,
        ),
        (
            service(
                "monitoring.rds.amazonaws.com", "sts:AssumeRole", StringEquals={"aws:SourceAccount": OTHER_ACCOUNT}
            ),
            False,
        ),
    ],
)
def test_aws_20_rds_must_be_able_to_assume_the_monitoring_role(
    aws: EmbeddedAws, name: str, trust: dict[str, Any], accepted: bool
) -> None:
    trust = {key: value for key, value in trust.items() if key != "Resource"}
    role = client(aws, "iam").create_role(RoleName=name, AssumeRolePolicyDocument=document(trust))["Role"]["Arn"]
    rds = client(aws, "rds")
    rds.create_db_cluster(
        DBClusterIdentifier=name, Engine="aurora-postgresql", MasterUsername="u", MasterUserPassword="password-1"
    )
    params = {
        "DBInstanceIdentifier": name,
        "DBClusterIdentifier": name,
        "DBInstanceClass": "db.r6g.large",
        "Engine": "aurora-postgresql",
        "MonitoringInterval": 60,
        "MonitoringRoleArn": role,
    }
    if accepted:
        rds.create_db_instance(**params)
        return
    with pytest.raises(
        ClientError, match="does not include the required permissions for: ENHANCED_MONITORING"
    ) as caught:
        rds.create_db_instance(**params)
    assert caught.value.response["Error"]["Code"] == "InvalidParameterValue"
