"""Notifications: each site's topic and queues with their policies, subscriptions, and the RDS event subscription."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dr_assets.core.expressions import Ref, Text
from dr_assets.core.model import Resource
from dr_assets.resources import names
from dr_assets.resources.row import deny_without_tls, from_source, policy, resource, statement
from dr_assets.stack import Site, Stack

EVENT_CATEGORIES = ("failover", "failure", "global-failover", "maintenance", "notification")
RECEIVES_BEFORE_DEAD_LETTER = 3
DEAD_LETTER_SECONDS = 14 * 24 * 3600
EVENT_SECONDS = 4 * 24 * 3600
VISIBILITY_SECONDS = 60
LOST = "alerts would not be delivered"


def site_rows(stack: Stack, site: Site) -> Iterator[Resource]:
    at = f"{site}/notifications"
    key = Ref(f"{site}/encryption/notifications-key", "Arn")
    name = names.topic(stack, site)
    topic = Ref(f"{at}/topic", "Arn")
    yield resource(
        stack,
        f"{at}/topic",
        "sns.topic",
        name,
        {"KmsMasterKeyId": key},
        terraform=f"module.{site}.aws_sns_topic.events",
        title="Where this site's alarms and RDS events are published.",
    )
    yield resource(
        stack,
        f"{at}/topic-policy",
        "sns.topic_policy",
        name,
        {"Policy": _topic_policy(stack, site)},
        tagged=False,
        settings={"TopicArn": topic},
        terraform=f"module.{site}.aws_sns_topic_policy.events",
        title="RDS events and alarms of this account and region may publish, with TLS only; nothing else may.",
    )
    for part, twin, queue, retention, redrive, title in (
        (
            "dead-letter",
            "dead_letter",
            names.dead_letter_queue(stack, site),
            DEAD_LETTER_SECONDS,
            None,
            "Keeps for 14 days what could not be dealt with.",
        ),
        (
            "",
            "events",
            names.queue(stack, site),
            EVENT_SECONDS,
            f"{at}/dead-letter-queue",
            "The site's events, waiting for the sensors.",
        ),
    ):
        prefix = f"{at}/{part + '-' if part else ''}"
        policy_key = f"{at}/dead-letter-policy" if part else f"{at}/queue-policy"
        arn = names.queue_arn(stack, site, queue)
        desired: dict[str, Any] = {
            "MessageRetentionPeriod": retention,
            "VisibilityTimeout": VISIBILITY_SECONDS,
            "KmsMasterKeyId": key,
        }
        if redrive:
            desired["RedrivePolicy"] = {
                "deadLetterTargetArn": Ref(redrive, "Arn"),
                "maxReceiveCount": RECEIVES_BEFORE_DEAD_LETTER,
            }
        address = f"module.{site}.aws_sqs_queue.{twin}"
        yield resource(stack, f"{prefix}queue", "sqs.queue", queue, desired, terraform=address, title=title)
        yield resource(
            stack,
            policy_key,
            "sqs.queue_policy",
            queue,
            {"Policy": _queue_policy(arn, None if part else topic)},
            tagged=False,
            settings={"QueueUrl": Ref(f"{prefix}queue", "QueueUrl")},
            terraform=f"module.{site}.aws_sqs_queue_policy.{twin}",
            title="TLS only." if part else "The site's topic may send, with TLS only.",
        )
    yield resource(
        stack,
        f"{at}/queue-subscription",
        "sns.subscription",
        f"{name} to its queue",
        {"RawMessageDelivery": False},
        tagged=False,
        identity={"TopicArn": topic, "Protocol": "sqs", "Endpoint": Ref(f"{at}/queue", "Arn")},
        after=(f"{at}/queue-policy",),
        terraform=f"module.{site}.aws_sns_topic_subscription.queue",
        capability=f"news of the {site} site's alarms and events",
        title="Carries every event of the topic into the queue.",
    )
    for n, address in enumerate(stack.alert_emails, start=1):
        yield resource(
            stack,
            f"{at}/email-{n}",
            "sns.subscription",
            f"{name} to {address}",
            {"RawMessageDelivery": False},
            tagged=False,
            identity={"TopicArn": topic, "Protocol": "email", "Endpoint": address},
            terraform=f'module.{site}.aws_sns_topic_subscription.email["{address}"]',
            title=f"Mails every event of the topic to {address}, once confirmed there.",
        )
    yield resource(
        stack,
        f"{at}/event-subscription",
        "rds.event_subscription",
        names.event_subscription(stack, site),
        {
            "SnsTopicArn": topic,
            "SourceType": "db-cluster",
            "SourceIds": [names.cluster(stack, site)],
            "EventCategories": list(EVENT_CATEGORIES),
            "Enabled": True,
        },
        after=(f"{site}/aurora/cluster", f"{at}/topic-policy"),
        terraform=f"aws_db_event_subscription.{site}",
        title="RDS's own news of this cluster: failovers, failures, maintenance.",
    )


def _topic_policy(stack: Stack, site: Site) -> dict[str, Any]:
    """Sources of the conditions: "Example cases for Amazon SNS access control" (SNS developer guide, alarms) and "Granting
    permissions to publish notifications to an Amazon SNS topic" (Aurora user guide)."""
    topic, region = names.topic_arn(stack, site), stack.region(site)
    administration = ["AddPermission", "DeleteTopic", "GetTopicAttributes", "ListSubscriptionsByTopic", "Publish"]
    administration += ["RemovePermission", "SetTopicAttributes", "Subscribe"]
    account = {"AWS": names.account_root(stack)}

    def publishes(sid: str, service: str, sources: str, resource: str) -> dict[str, Any]:
        source = Text(names.arn(sources, resource, region=region, account=names.ACCOUNT))
        return statement("sns:Publish", topic, sid=sid, service=service, condition=from_source(source))

    return policy(
        statement(
            [f"sns:{action}" for action in administration], topic, sid="AccountAdministration", principal=account
        ),
        publishes("AlarmsPublish", "cloudwatch.amazonaws.com", "cloudwatch", "alarm:*"),
        publishes("DatabaseEventsPublish", "events.rds.amazonaws.com", "rds", "*"),
        deny_without_tls("sns:Publish", topic),
    )


def _queue_policy(queue: Text, topic: Ref | None) -> dict[str, Any]:
    statements = [deny_without_tls("sqs:*", queue)]
    if topic:
        from_topic = {"ArnEquals": {"aws:SourceArn": topic}}
        sns = "sns.amazonaws.com"
        statements.append(statement("sqs:SendMessage", queue, sid="TopicMaySend", service=sns, condition=from_topic))
    return policy(*statements)
