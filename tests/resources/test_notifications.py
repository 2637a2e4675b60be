"""SNS, SQS and RDS event subscriptions: texts to values and back, and who may publish what where."""

import json
from typing import Any

import pytest

from dr_assets.resources.registry import KINDS
from dr_assets.stack import SITES, Site, Stack, parse_stack
from tests.support.aws_double import (
    ACCOUNT,
    Answer,
    FakeReads,
    creation,
    deletion,
    error,
    fields,
    look,
    next_call,
    tag_list,
    target,
)

TOPIC = f"arn:aws:sns:us-east-1:{ACCOUNT}:db-events-primary-l6p3z2w4"
URL = "https://sqs.us-east-1.amazonaws.com/123456789012/db-events-primary-l6p3z2w4"
SUBSCRIPTION = f"{TOPIC}:6b0e71bd"
AT = "primary/notifications"


# --- topic -------------------------------------------------------------------------------------------------------------


def topic_reads(stack: Stack, kind: str, tags: dict[str, str] | None = None, **attributes: str) -> FakeReads:
    want = target(stack, f"{AT}/topic").desired
    policy = target(stack, f"{AT}/topic-policy").desired["Policy"]
    shown = {"TopicArn": TOPIC, "KmsMasterKeyId": want["KmsMasterKeyId"], "Policy": json.dumps(policy), **attributes}
    return FakeReads(
        KINDS[kind],
        get_topic_attributes={"Attributes": shown},
        list_tags_for_resource={"Tags": tag_list({**want["Tags"], **(tags or {})})},
    )


def test_a_topic_and_its_policy_ask_the_same_question(stack: Stack) -> None:
    topic, policy = target(stack, f"{AT}/topic"), target(stack, f"{AT}/topic-policy")
    one, two = topic_reads(stack, "sns.topic"), topic_reads(stack, "sns.topic_policy")
    assert fields(topic, look(one, topic)) == []
    assert fields(policy, look(two, policy)) == []
    assert one.calls[0] == two.calls[0] == ("get_topic_attributes", "us-east-1", {"TopicArn": TOPIC})
    assert len(two.calls) == 1


@pytest.mark.parametrize("row", ["topic", "topic-policy"])
def test_no_topic_is_absent(stack: Stack, row: str) -> None:
    of = target(stack, f"{AT}/{row}")
    assert look(FakeReads(KINDS[of.kind], get_topic_attributes=error("NotFound")), of) is None


def test_the_topics_next_call(stack: Stack) -> None:
    of = target(stack, f"{AT}/topic")
    operation, params = creation(of)
    assert operation == "create_topic"
    assert params["Attributes"] == {"KmsMasterKeyId": "primary/encryption/notifications-key#Arn"}
    plain = look(topic_reads(stack, "sns.topic", {"Site": "x"}, KmsMasterKeyId="alias/aws/sns"), of)
    assert fields(of, plain) == ["KmsMasterKeyId", "Tags.Site"]
    assert next_call(of, plain)[1]["AttributeName"] == "KmsMasterKeyId"
    operation, params = next_call(of, look(topic_reads(stack, "sns.topic", {"Site": "x"}), of))
    assert (operation, params["Tags"]) == ("tag_resource", [{"Key": "Site", "Value": "primary"}])
    assert deletion(of, plain) == ("delete_topic", {"TopicArn": TOPIC})


def test_awss_own_policy_is_drift_and_goes_with_the_topic(stack: Stack) -> None:
    of = target(stack, f"{AT}/topic-policy")
    default = {
        "Version": "2008-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "SNS:Publish"}],
    }
    observed = look(topic_reads(stack, "sns.topic_policy", Policy=json.dumps(default)), of)
    assert fields(of, observed) == ["Policy"]
    operation, params = next_call(of, observed)
    assert (operation, params["AttributeName"], params["TopicArn"]) == ("set_topic_attributes", "Policy", TOPIC)
    assert observed is not None
    assert KINDS[of.kind].delete(of, observed) is None


def test_only_the_account_manages_and_only_its_own_services_publish(stack: Stack) -> None:
    of = target(stack, f"{AT}/topic-policy")
    manage, alarms, events, deny = of.desired["Policy"]["Statement"]
    assert manage["Principal"] == {"AWS": [f"arn:aws:iam::{ACCOUNT}:root"]}
    for publish, service, source in (
        (alarms, "cloudwatch.amazonaws.com", f"arn:aws:cloudwatch:us-east-1:{ACCOUNT}:alarm:*"),
        (events, "events.rds.amazonaws.com", f"arn:aws:rds:us-east-1:{ACCOUNT}:*"),
    ):
        assert publish["Principal"] == {"Service": [service]}
        assert publish["Action"] == ["sns:Publish"]
        assert publish["Condition"] == {
            "StringEquals": {"aws:SourceAccount": [ACCOUNT]},
            "ArnLike": {"aws:SourceArn": [source]},
        }
    assert (deny["Effect"], deny["Principal"], deny["Action"]) == ("Deny", "*", ["sns:Publish"])
    assert deny["Condition"] == {"Bool": {"aws:SecureTransport": ["false"]}}
    assert manage["Resource"] == alarms["Resource"] == events["Resource"] == deny["Resource"] == [TOPIC]


# --- queues ------------------------------------------------------------------------------------------------------------


def queue_reads(
    stack: Stack, kind: str, row: str = "queue", tags: dict[str, str] | None = None, **attributes: str
) -> FakeReads:
    want = target(stack, f"{AT}/{row}").desired
    redrive = want.get("RedrivePolicy")
    shown = {
        "QueueArn": f"arn:aws:sqs:us-east-1:{ACCOUNT}:{target(stack, f'{AT}/{row}').name}",
        "MessageRetentionPeriod": str(want["MessageRetentionPeriod"]),
        "VisibilityTimeout": str(want["VisibilityTimeout"]),
        "KmsMasterKeyId": want["KmsMasterKeyId"],
        **({"RedrivePolicy": json.dumps({**redrive, "maxReceiveCount": "3"})} if redrive else {}),
        **attributes,
    }
    return FakeReads(
        KINDS[kind],
        get_queue_url={"QueueUrl": URL},
        get_queue_attributes={"Attributes": {name: text for name, text in shown.items() if text}},
        list_queue_tags={"Tags": {**want["Tags"], "aws:cloudformation:x": "1", **(tags or {})}},
    )


@pytest.mark.parametrize("row", ["queue", "dead-letter-queue"])
def test_texts_become_values(stack: Stack, row: str) -> None:
    of = target(stack, f"{AT}/{row}")
    observed = look(queue_reads(stack, "sqs.queue", row), of)
    assert fields(of, observed) == []
    assert observed is not None
    assert observed["QueueUrl"] == URL
    assert (observed["RedrivePolicy"] is None) == (row == "dead-letter-queue")


def test_a_queue_without_tags_without_key_and_without_redrive(stack: Stack) -> None:
    of = target(stack, f"{AT}/queue")
    reads = queue_reads(stack, "sqs.queue", RedrivePolicy="", KmsMasterKeyId="")
    reads._answers["list_queue_tags"] = {}
    observed = look(reads, of)
    assert {"KmsMasterKeyId", "RedrivePolicy", "Tags.Name"} <= set(fields(of, observed))


@pytest.mark.parametrize("code", ["AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"])
@pytest.mark.parametrize("row", ["queue", "queue-policy"])
def test_no_queue_is_absent_also_when_it_goes_between_two_calls(stack: Stack, row: str, code: str) -> None:
    of = target(stack, f"{AT}/{row}")
    assert look(FakeReads(KINDS[of.kind], get_queue_url=error(code)), of) is None
    going = FakeReads(KINDS[of.kind], get_queue_url={"QueueUrl": URL}, get_queue_attributes=error(code))
    assert look(going, of) is None


def test_a_queue_and_its_policy_ask_the_same_questions(stack: Stack) -> None:
    policy = target(stack, f"{AT}/queue-policy")
    two = queue_reads(stack, "sqs.queue_policy", Policy=json.dumps(policy.desired["Policy"]))
    one = queue_reads(stack, "sqs.queue")
    assert fields(policy, look(two, policy)) == []
    look(one, target(stack, f"{AT}/queue"))
    assert one.calls[:2] == two.calls
    assert two.calls[1][2]["AttributeNames"] == ["All"]


def test_a_queue_is_created_with_everything_it_needs(stack: Stack) -> None:
    operation, params = creation(target(stack, f"{AT}/queue"))
    assert operation == "create_queue"
    assert params["Attributes"]["MessageRetentionPeriod"] == "345600"
    assert json.loads(params["Attributes"]["RedrivePolicy"]) == {
        "deadLetterTargetArn": f"{AT}/dead-letter-queue#Arn",
        "maxReceiveCount": 3,
    }
    assert params["tags"]["DR-Tier"] == "critical"
    _, dead = creation(target(stack, f"{AT}/dead-letter-queue"))
    assert dead["Attributes"]["MessageRetentionPeriod"] == "1209600"
    assert "RedrivePolicy" not in dead["Attributes"]


def test_only_what_differs_is_set_and_tags_come_after(stack: Stack) -> None:
    of = target(stack, f"{AT}/queue")
    both = queue_reads(stack, "sqs.queue", VisibilityTimeout="30", tags={"Site": "x"})
    operation, params = next_call(of, look(both, of))
    assert (operation, params["Attributes"]) == ("set_queue_attributes", {"VisibilityTimeout": "60"})
    operation, params = next_call(of, look(queue_reads(stack, "sqs.queue", tags={"Site": "x"}), of))
    assert (operation, params["Tags"]) == ("tag_queue", {"Site": "primary"})


def test_a_queue_without_a_policy_has_none_and_gets_one(stack: Stack) -> None:
    of = target(stack, f"{AT}/queue-policy")
    assert look(queue_reads(stack, "sqs.queue_policy"), of) is None
    operation, params = creation(of)
    assert operation == "set_queue_attributes"
    assert json.loads(params["Attributes"]["Policy"]) == of.desired["Policy"]


@pytest.mark.parametrize("site", SITES)
def test_only_the_sites_own_topic_may_send_and_only_with_tls(stack: Stack, site: Site) -> None:
    events = target(stack, f"{site}/notifications/queue-policy").desired["Policy"]["Statement"]
    dead = target(stack, f"{site}/notifications/dead-letter-policy").desired["Policy"]["Statement"]
    (allow,) = [statement for statement in events if statement["Effect"] == "Allow"]
    assert allow["Principal"] == {"Service": ["sns.amazonaws.com"]}
    assert allow["Action"] == ["sqs:SendMessage"]
    assert allow["Condition"] == {"ArnEquals": {"aws:SourceArn": [f"{site}/notifications/topic#Arn"]}}
    for statements in (events, dead):
        (deny,) = [statement for statement in statements if statement["Effect"] == "Deny"]
        assert (deny["Principal"], deny["Action"]) == ("*", ["sqs:*"])
        assert deny["Condition"] == {"Bool": {"aws:SecureTransport": ["false"]}}
    assert len(dead) == 1


# --- subscriptions -----------------------------------------------------------------------------------------------------


@pytest.fixture
def mailing(raw_stack: dict[str, Any]) -> Stack:
    return parse_stack({**raw_stack, "alert_emails": ["dba@example.com"]})


def listed(stack: Stack, row: str, arn: str, raw: str = "false") -> FakeReads:
    want = target(stack, f"{AT}/{row}").identity
    ours = {"SubscriptionArn": arn, "Protocol": want["Protocol"], "Endpoint": want["Endpoint"], "TopicArn": TOPIC}
    answers: dict[str, Answer] = {
        "list_subscriptions_by_topic": {"Subscriptions": [{**ours, "Endpoint": "someone@else.example"}, ours]},
        "get_subscription_attributes": {"Attributes": {"RawMessageDelivery": raw}},
    }
    return FakeReads(KINDS["sns.subscription"], **answers)


def test_the_queues_subscription(stack: Stack) -> None:
    of = target(stack, f"{AT}/queue-subscription")
    assert fields(of, look(listed(stack, "queue-subscription", SUBSCRIPTION), of)) == []
    raw = look(listed(stack, "queue-subscription", SUBSCRIPTION, raw="true"), of)
    operation, params = next_call(of, raw)
    assert (operation, params["AttributeValue"]) == ("set_subscription_attributes", "false")
    assert creation(of)[1]["Endpoint"] == f"{AT}/queue#Arn"
    assert deletion(of, raw) == ("unsubscribe", {"SubscriptionArn": SUBSCRIPTION})


def test_an_unconfirmed_mail_subscription_is_there_with_a_note(mailing: Stack) -> None:
    of = target(mailing, f"{AT}/email-1")
    observed = look(listed(mailing, "email-1", "PendingConfirmation"), of)
    assert observed is not None
    assert fields(of, observed) == []
    assert "confirmed" in observed["Status"]
    assert KINDS[of.kind].waiting(observed) is None
    assert KINDS[of.kind].delete(of, observed) is None
    assert creation(of)[1]["Protocol"] == "email"


def test_a_mail_subscription_that_its_reader_left_is_absent(mailing: Stack) -> None:
    assert look(listed(mailing, "email-1", "Deleted"), target(mailing, f"{AT}/email-1")) is None


def test_no_topic_no_subscription(stack: Stack) -> None:
    of = target(stack, f"{AT}/queue-subscription")
    assert look(FakeReads(KINDS[of.kind], list_subscriptions_by_topic=error("NotFound")), of) is None


# --- RDS events --------------------------------------------------------------------------------------------------------

EVENTS = f"{AT}/event-subscription"
EVENTS_ARN = f"arn:aws:rds:us-east-1:{ACCOUNT}:es:rds-event-sub-primary-l6p3z2w4"


def event_reads(stack: Stack, tags: dict[str, str] | None = None, **changes: Any) -> FakeReads:
    want = target(stack, EVENTS).desired
    found = {
        "CustSubscriptionId": "rds-event-sub-primary-l6p3z2w4",
        "EventSubscriptionArn": EVENTS_ARN,
        "Status": "active",
        "SnsTopicArn": want["SnsTopicArn"],
        "SourceType": want["SourceType"],
        "SourceIdsList": want["SourceIds"],
        "EventCategoriesList": list(reversed(want["EventCategories"])),
        "Enabled": True,
        **changes,
    }
    return FakeReads(
        KINDS["rds.event_subscription"],
        describe_event_subscriptions={"EventSubscriptionsList": [found]},
        list_tags_for_resource={"TagList": tag_list({**want["Tags"], **(tags or {})})},
    )


def test_the_event_subscription_in_sync(stack: Stack) -> None:
    of = target(stack, EVENTS)
    assert fields(of, look(event_reads(stack), of)) == []
    assert creation(of)[1]["SourceIds"] == ["aurora-primary-l6p3z2w4"]
    assert deletion(of, look(event_reads(stack), of))[0] == "delete_event_subscription"


@pytest.mark.parametrize("code", ["SubscriptionNotFound", "SubscriptionNotFoundFault"])
def test_no_event_subscription(stack: Stack, code: str) -> None:
    of = target(stack, EVENTS)
    assert look(FakeReads(KINDS[of.kind], describe_event_subscriptions=error(code)), of) is None


def test_sources_are_added_before_others_are_taken_away_and_never_modified(stack: Stack) -> None:
    of = target(stack, EVENTS)
    other = look(event_reads(stack, SourceIdsList=["aurora-other"], Enabled=False), of)
    operation, params = next_call(of, other)
    assert (operation, params["SourceIdentifier"]) == (
        "add_source_identifier_to_subscription",
        "aurora-primary-l6p3z2w4",
    )
    both = look(event_reads(stack, SourceIdsList=["aurora-other", "aurora-primary-l6p3z2w4"]), of)
    operation, params = next_call(of, both)
    assert (operation, params["SourceIdentifier"]) == ("remove_source_identifier_from_subscription", "aurora-other")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"EventCategoriesList": ["failover"]}, "EventCategories"),
        ({"Enabled": False}, "Enabled"),
        ({"SnsTopicArn": "arn:aws:sns:us-east-1:1:other"}, "SnsTopicArn"),
        ({"Status": "no-permission"}, "Enabled"),
        ({"Status": "topic-not-exist"}, "Enabled"),
    ],
)
def test_everything_else_is_modified(stack: Stack, change: dict[str, Any], field: str) -> None:
    of = target(stack, EVENTS)
    observed = look(event_reads(stack, **change), of)
    assert fields(of, observed) == [field]
    operation, params = next_call(of, observed)
    assert operation == "modify_event_subscription"
    assert "SourceIds" not in params and params["Enabled"] is True


def test_tags_alone_by_arn(stack: Stack) -> None:
    of = target(stack, EVENTS)
    operation, params = next_call(of, look(event_reads(stack, {"Site": "x"}), of))
    assert (operation, params["ResourceName"]) == ("add_tags_to_resource", EVENTS_ARN)


@pytest.mark.parametrize(("status", "waits"), [("creating", True), ("modifying", True), ("active", False)])
def test_it_waits_while_rds_is_at_work(stack: Stack, status: str, waits: bool) -> None:
    of = target(stack, EVENTS)
    observed = look(event_reads(stack, Status=status), of)
    assert observed is not None
    assert (KINDS[of.kind].waiting(observed) is not None) == waits


def test_a_key_that_is_shown_by_its_id_is_the_same_key(stack: Stack) -> None:
    """SNS API, GetTopicAttributes and SQS API, SetQueueAttributes: KmsMasterKeyId is "the ID of a … customer master key"."""
    key_id = "1234abcd-12ab-34cd-56ef-1234567890ab"
    key = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/{key_id}"
    topic, queue = (target(stack, f"{AT}/{row}", KmsMasterKeyId=key) for row in ("topic", "queue"))
    for shown in (key_id, key):
        assert fields(topic, look(topic_reads(stack, "sns.topic", KmsMasterKeyId=shown), topic)) == []
        assert fields(queue, look(queue_reads(stack, "sqs.queue", KmsMasterKeyId=shown), queue)) == []
