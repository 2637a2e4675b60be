"""SNS topics and subscriptions, SQS queues, RDS event subscriptions.

SNS and SQS hold policies as attributes of the topic or queue: the kinds ask for all attributes at once, so one answer
serves both the thing and its policy.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from dr_assets.core.compare import normal_policy
from dr_assets.core.model import ALL, Call, Drift, Kind, Observed, Reads, Target, changed_fields, permit
from dr_assets.resources.names import arn, full_key_arn
from dr_assets.resources.tags import changed_tags, drifted_tags, from_tag_list, own_tags, rds_tags, tag_rds, to_tag_list

# What lists have instead of an ARN: an unconfirmed e-mail subscription, and one that its reader ended.
PENDING = "PendingConfirmation"
DELETED = "Deleted"


_NO_TOPIC = ("NotFound", "NotFoundException")


def _topic_attributes(reads: Reads, region: str, arn: str) -> Mapping[str, str]:
    attributes: Mapping[str, str] = reads.call("sns", "get_topic_attributes", region, TopicArn=arn)["Attributes"]
    return attributes


def topic_arn(reads: Reads, region: str, name: str) -> str:
    """A topic's ARN follows from its name."""
    return arn("sns", name, region=region, account=reads.account)


class Topic(Kind):
    """`KmsMasterKeyId` is what was set: SNS keeps an id, an ARN or an alias as it came; we set the key's ARN."""

    name = "sns.topic"
    label = "SNS topic"
    compute_kinds = ("sns",)
    absent_codes = _NO_TOPIC
    resource_arn = "sns:{region}:{account}:{name}"
    read_actions = permit("sns:GetTopicAttributes", "sns:ListTagsForResource")
    write_actions = permit("sns:CreateTopic", "sns:SetTopicAttributes", "sns:TagResource", "sns:DeleteTopic")
    least_reads = (2, 0)  # attributes (the policy is one of them), tags
    terraform = ("aws_sns_topic",)
    import_field = "Arn"
    console_url = "https://{region}.console.aws.amazon.com/sns/v3/home?region={region}#/topics"

    def observe(self, reads: Reads, target: Target) -> Observed | None:
        arn = topic_arn(reads, target.region, target.name)
        attributes = _topic_attributes(reads, target.region, arn)
        tags = reads.call("sns", "list_tags_for_resource", target.region, ResourceArn=arn)["Tags"]
        key = full_key_arn(attributes.get("KmsMasterKeyId"), region=target.region, account=reads.account)
        return {"Arn": arn, "KmsMasterKeyId": key, "Tags": from_tag_list(tags)}

    def create(self, target: Target) -> Call:
        params = {
            "Name": target.name,
            "Attributes": {"KmsMasterKeyId": target.desired["KmsMasterKeyId"]},
            "Tags": to_tag_list(target.desired["Tags"]),
        }
        return Call("sns", "create_topic", params)

    def update(self, target: Target, observed: Observed, drift: Sequence[Drift]) -> Call:
        arn = observed["Arn"]
        if "KmsMasterKeyId" in changed_fields(drift):
            value = target.desired["KmsMasterKeyId"]
            params = {"TopicArn": arn, "AttributeName": "KmsMasterKeyId", "AttributeValue": value}
            return Call("sns", "set_topic_attributes", params)
        tags = changed_tags(target, drift)
        return Call("sns", "tag_resource", {"ResourceArn": arn, "Tags": tags})

    def delete(self, target: Target, observed: Observed) -> Call:
        return Call("sns", "delete_topic", {"TopicArn": observed["Arn"]})


class TopicPolicy(Kind):
    """A topic always has a policy (AWS's default at first), so this is absent only with its topic."""

    name = "sns.topic_policy"
    label = "topic policy"
    compute_kinds = ("sns",)
    absent_codes = _NO_TOPIC
    resource_arn = "sns:{region}:{account}:{name}"
    read_actions = permit("sns:GetTopicAttributes")
    write_actions = permit("sns:SetTopicAttributes")
    least_reads = (0, 0)  # an attribute of the topic
    terraform = ("aws_sns_topic_policy",)
    import_field = "TopicArn"

    def observe(self, reads: Reads, target: Target) -> Observed | None:
        arn = topic_arn(reads, target.region, target.name)
        attributes = _topic_attributes(reads, target.region, arn)
        return {"TopicArn": arn, "Policy": normal_policy(json.loads(attributes.get("Policy") or "{}"))}

    def _set(self, target: Target, arn: str) -> Call:
        policy = json.dumps(target.desired["Policy"])
        return Call(
            "sns", "set_topic_attributes", {"TopicArn": arn, "AttributeName": "Policy", "AttributeValue": policy}
        )

    def create(self, target: Target) -> Call:
        return self._set(target, target.settings["TopicArn"])

    def update(self, target: Target, observed: Observed, drift: Sequence[Drift]) -> Call:
        return self._set(target, observed["TopicArn"])

    def delete(self, target: Target, observed: Observed) -> Call | None:
        return None


class Subscription(Kind):
    """identity: TopicArn, Protocol, Endpoint. An e-mail one is there as soon as it waits to be confirmed."""

    name = "sns.subscription"
    label = "subscription"
    compute_kinds = ("sns",)
    absent_codes = _NO_TOPIC
    read_actions = permit("sns:ListSubscriptionsByTopic", on="sns.topic") | permit(
        "sns:GetSubscriptionAttributes", on=ALL
    )
    write_actions = permit("sns:Subscribe", on="sns.topic") | permit(
        "sns:SetSubscriptionAttributes", "sns:Unsubscribe", on=ALL
    )
    least_reads = (1, 1)  # attributes; listed once a topic
    terraform = ("aws_sns_topic_subscription",)
    import_field = "Arn"

    def observe(self, reads: Reads, target: Target) -> Observed | None:
        want = target.identity
        topic = want["TopicArn"]
        for item in reads.pages("sns", "list_subscriptions_by_topic", target.region, "Subscriptions", TopicArn=topic):
            arn = item["SubscriptionArn"]
            same = (item["Protocol"], item["Endpoint"]) == (want["Protocol"], want["Endpoint"])
            if same and arn != DELETED:
                if arn == PENDING:
                    return {"Arn": None, "Status": "waiting to be confirmed by its reader", "RawMessageDelivery": False}
                more = reads.call("sns", "get_subscription_attributes", target.region, SubscriptionArn=arn)
                raw = more["Attributes"].get("RawMessageDelivery", "false") == "true"
                return {"Arn": arn, "RawMessageDelivery": raw}
        return None

    def create(self, target: Target) -> Call:
        params = {name: target.identity[name] for name in ("TopicArn", "Protocol", "Endpoint")}
        return Call("sns", "subscribe", {**params, "ReturnSubscriptionArn": True})

    def update(self, target: Target, observed: Observed, drift: Sequence[Drift]) -> Call:
        value = "true" if target.desired["RawMessageDelivery"] else "false"
        params = {"SubscriptionArn": observed["Arn"], "AttributeName": "RawMessageDelivery", "AttributeValue": value}
        return Call("sns", "set_subscription_attributes", params)

    def delete(self, target: Target, observed: Observed) -> Call | None:
        # An unconfirmed one has no ARN to delete by; AWS drops it after 48 hours.
        return Call("sns", "unsubscribe", {"SubscriptionArn": observed["Arn"]}) if observed["Arn"] else None


_NO_QUEUE = ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist")


def _queue(reads: Reads, region: str, name: str) -> tuple[str, Mapping[str, str]]:
    """A queue's URL and all its attributes."""
    url = reads.call("sqs", "get_queue_url", region, QueueName=name)["QueueUrl"]
    answer = reads.call("sqs", "get_queue_attributes", region, QueueUrl=url, AttributeNames=["All"])
    return url, answer["Attributes"]


_NUMBERS = ("MessageRetentionPeriod", "VisibilityTimeout")


class Queue(Kind):
    """SQS takes and gives attributes as texts: numbers and the redrive policy (JSON in a text) are turned to and fro."""

    name = "sqs.queue"
    keeps_data = "Correct the stack file, or receive the queue's messages first: they are alerts not processed yet."
    label = "SQS queue"
    compute_kinds = ("sqs",)
    parity = ("MessageRetentionPeriod", "VisibilityTimeout")
    absent_codes = _NO_QUEUE
    resource_arn = "sqs:{region}:{account}:{name}"
    read_actions = permit("sqs:GetQueueUrl", "sqs:GetQueueAttributes", "sqs:ListQueueTags")
    write_actions = permit("sqs:CreateQueue", "sqs:SetQueueAttributes", "sqs:TagQueue", "sqs:DeleteQueue")
    least_reads = (2, 1)  # attributes (the policy is one of them), tags; listed once a region
    terraform = ("aws_sqs_queue",)
    import_field = "QueueUrl"
    console_url = "https://{region}.console.aws.amazon.com/sqs/v3/home?region={region}#/queues"

    def observe(self, reads: Reads, target: Target) -> Observed | None:
        url, attributes = _queue(reads, target.region, target.name)
        redrive = json.loads(attributes.get("RedrivePolicy") or "null")
        if redrive:
            redrive["maxReceiveCount"] = int(redrive["maxReceiveCount"])
        tags = reads.call("sqs", "list_queue_tags", target.region, QueueUrl=url).get("Tags", {})
        return {
            "QueueUrl": url,
            "Arn": attributes["QueueArn"],
            **{name: int(attributes[name]) for name in _NUMBERS},
            "KmsMasterKeyId": full_key_arn(
                attributes.get("KmsMasterKeyId"), region=target.region, account=reads.account
            ),
            "RedrivePolicy": redrive,
            "Tags": own_tags(tags),
        }

    def create(self, target: Target) -> Call:
        fields = [name for name in target.desired if name != "Tags"]
        params = {"QueueName": target.name, "Attributes": _texts(target, fields), "tags": dict(target.desired["Tags"])}
        return Call("sqs", "create_queue", params)

    def update(self, target: Target, observed: Observed, drift: Sequence[Drift]) -> Call:
        fields = sorted(changed_fields(drift) - {"Tags"})
        if fields:
            params = {"QueueUrl": observed["QueueUrl"], "Attributes": _texts(target, fields)}
            return Call("sqs", "set_queue_attributes", params)
        return Call("sqs", "tag_queue", {"QueueUrl": observed["QueueUrl"], "Tags": drifted_tags(target.desired, drift)})

    def delete(self, target: Target, observed: Observed) -> Call:
        return Call("sqs", "delete_queue", {"QueueUrl": observed["QueueUrl"]})


def _texts(target: Target, fields: Sequence[str]) -> dict[str, str]:
    values = {name: target.desired[name] for name in fields if target.desired[name] is not None}
    return {name: json.dumps(value) if isinstance(value, dict) else str(value) for name, value in values.items()}


class QueuePolicy(Kind):
    name = "sqs.queue_policy"
    label = "queue policy"
    compute_kinds = ("sqs",)
    absent_codes = _NO_QUEUE
    resource_arn = "sqs:{region}:{account}:{name}"
    read_actions = permit("sqs:GetQueueUrl", "sqs:GetQueueAttributes")
    write_actions = permit("sqs:SetQueueAttributes")
    least_reads = (0, 0)  # an attribute of the queue
    terraform = ("aws_sqs_queue_policy",)
    import_field = "QueueUrl"

    def observe(self, reads: Reads, target: Target) -> Observed | None:
        url, attributes = _queue(reads, target.region, target.name)
        policy = attributes.get("Policy")
        return {"QueueUrl": url, "Policy": normal_policy(json.loads(policy))} if policy else None

    def create(self, target: Target) -> Call:
        policy = json.dumps(target.desired["Policy"])
        return Call(
            "sqs", "set_queue_attributes", {"QueueUrl": target.settings["QueueUrl"], "Attributes": {"Policy": policy}}
        )

    def delete(self, target: Target, observed: Observed) -> Call | None:
        return None


# The topic's policy does not let RDS publish any more; the topic was deleted.
_MUTE = ("no-permission", "topic-not-exist")


class EventSubscription(Kind):
    """`SourceIds` and `EventCategories` are called SourceIdsList and EventCategoriesList when read.

    `Enabled` is false too where the status shows that RDS cannot publish: RDS still reports such a subscription as enabled,
    but delivers no event. Modifying it makes RDS check the topic again.
    """

    name = "rds.event_subscription"
    label = "RDS event subscription"
    compute_kinds = ("rds", "sns")
    parity = ("EventCategories", "Enabled", "SourceType")
    absent_codes = ("SubscriptionNotFound", "SubscriptionNotFoundFault")
    resource_arn = "rds:{region}:{account}:es:{name}"
    read_actions = permit("rds:DescribeEventSubscriptions", "rds:ListTagsForResource")
    write_actions = permit(
        "rds:CreateEventSubscription",
        "rds:ModifyEventSubscription",
        "rds:AddSourceIdentifierToSubscription",
        "rds:RemoveSourceIdentifierFromSubscription",
        "rds:DeleteEventSubscription",
        "rds:AddTagsToResource",
    )
    least_reads = (2, 0)  # describe, tags
    terraform = ("aws_db_event_subscription",)

    def observe(self, reads: Reads, target: Target) -> Observed | None:
        answer = reads.call("rds", "describe_event_subscriptions", target.region, SubscriptionName=target.name)
        found = answer["EventSubscriptionsList"][0]
        tags = rds_tags(reads, target, found["EventSubscriptionArn"])
        return {
            "Arn": found["EventSubscriptionArn"],
            "Status": found["Status"],
            "SnsTopicArn": found["SnsTopicArn"],
            "SourceType": found.get("SourceType"),
            "SourceIds": sorted(found.get("SourceIdsList", ())),
            "EventCategories": sorted(found.get("EventCategoriesList", ())),
            "Enabled": found["Enabled"] and found["Status"] not in _MUTE,
            "Tags": tags,
        }

    def create(self, target: Target) -> Call:
        params = {name: value for name, value in target.desired.items() if name != "Tags"}
        return Call(
            "rds",
            "create_event_subscription",
            {"SubscriptionName": target.name, **params, "Tags": to_tag_list(target.desired["Tags"])},
        )

    def update(self, target: Target, observed: Observed, drift: Sequence[Drift]) -> Call:
        changed = changed_fields(drift)
        want, name = target.desired, {"SubscriptionName": target.name}
        if "SourceIds" in changed:
            # A subscription may not be left without a source: add before taking away.
            missing = sorted(set(want["SourceIds"]) - set(observed["SourceIds"]))
            if missing:
                return Call("rds", "add_source_identifier_to_subscription", {**name, "SourceIdentifier": missing[0]})
            surplus = sorted(set(observed["SourceIds"]) - set(want["SourceIds"]))
            return Call("rds", "remove_source_identifier_from_subscription", {**name, "SourceIdentifier": surplus[0]})
        if changed - {"Tags"}:
            params = {field: want[field] for field in ("SnsTopicArn", "SourceType", "EventCategories", "Enabled")}
            return Call("rds", "modify_event_subscription", {**name, **params})
        return tag_rds(target, observed, drift)

    def delete(self, target: Target, observed: Observed) -> Call:
        return Call("rds", "delete_event_subscription", {"SubscriptionName": target.name})

    def waiting(self, observed: Observed) -> str | None:
        status = observed["Status"]
        return f"the subscription is {status}" if status in ("creating", "modifying", "deleting") else None


KINDS: tuple[Kind, ...] = (Topic(), TopicPolicy(), Subscription(), Queue(), QueuePolicy(), EventSubscription())
