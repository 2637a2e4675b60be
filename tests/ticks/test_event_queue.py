"""The event queues against the embedded AWS: nothing lost, nothing processed twice, one bad message alone."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest

from dr_assets import utc
from dr_assets.alerting.channels.sns import SnsChannel
from dr_assets.aws import Aws
from dr_assets.emulator import EmbeddedAws
from dr_assets.history.store import FolderStore
from dr_assets.monitoring.state import EventState
from dr_assets.stack import SITES, Stack
from dr_assets.ticks import event_queue as queues_module
from dr_assets.ticks.event_queue import KINDS, Queues
from dr_assets.ticks.event_states import apply
from dr_assets.ticks.monitor import Monitor
from dr_assets.ticks.tick import TickResult
from tests.support.monitoring import S


@pytest.fixture
def monitor(stack: Stack, cloud: EmbeddedAws, tmp_path: Path) -> Iterator[Monitor]:
    aws = Aws(read_timeout=3.0, attempts=1)
    yield Monitor(stack, FolderStore(tmp_path), aws=aws, channels=[SnsChannel(stack, aws)])
    for site in SITES:
        drain(stack, site)


def finish(monitor: Monitor, result: TickResult) -> None:
    """Tick until the queues are empty and everything received is deleted."""
    messages: list[Any] = [None]
    while messages or any(result.state.memory.receipts.values()):
        result, messages = monitor.process_events(result.cursor)


def queue_url(stack: Stack, site: str, dead: bool = False) -> tuple[Any, str]:
    client = boto3.client("sqs", stack.region("primary" if site == "primary" else "secondary"))
    name = f"db-events-{'dlq-' if dead else ''}{site}-{S}"
    return client, client.get_queue_url(QueueName=name)["QueueUrl"]


def drain(stack: Stack, site: str) -> None:
    """Delete what is visible (purging is allowed once a minute only)."""
    for dead in (False, True):
        client, url = queue_url(stack, site, dead)
        while found := client.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in found:
                client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


def waiting(stack: Stack, site: str, dead: bool = False) -> int:
    client, url = queue_url(stack, site, dead)
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = client.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return sum(int(found[name]) for name in names)


def publish(stack: Stack, site: str, body: Any) -> None:
    region = stack.region("primary" if site == "primary" else "secondary")
    arn = f"arn:aws:sns:{region}:123456789012:db-events-{site}-{S}"
    boto3.client("sns", region).publish(TopicArn=arn, Message=body if isinstance(body, str) else json.dumps(body))


def rds_event(number: str, text: str) -> dict[str, Any]:
    link = f"https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/USER_Events.Messages.html#RDS-EVENT-{number}"
    return {"Event Source": "db-cluster", "Event ID": link, "Event Message": text, "Source ID": f"aurora-primary-{S}"}


def test_a_message_is_deleted_only_after_the_tick_that_processed_it(monitor: Monitor, stack: Stack) -> None:
    publish(stack, "primary", rds_event("0187", "Global switchover failed."))
    result, messages = monitor.process_events(None)
    assert [message.kind for message in messages] == ["rds"]
    assert [t.step for t in result.transitions] == ["opened"]
    assert waiting(stack, "primary") == 2  # the event and our own alert, come back
    result, messages = monitor.process_events(result.cursor)
    assert [message.kind for message in messages] == ["own"]
    result, messages = monitor.process_events(result.cursor)
    assert messages == []
    assert waiting(stack, "primary") == 0
    publish(stack, "primary", rds_event("0185", "Global switchover finished."))
    result, _ = monitor.process_events(result.cursor)
    assert [t.step for t in result.transitions] == ["resolved"]
    finish(monitor, result)


def test_events_in_the_wrong_order_and_twice_are_harmless(monitor: Monitor, stack: Stack) -> None:
    queues = Queues(stack, Aws())
    for number in ("0241", "0240", "0240"):
        publish(stack, "primary", rds_event(number, "resync"))
    messages = sorted(queues.receive("primary"), key=queues_module.event_id, reverse=True)
    queues.delete("primary", [message.receipt for message in messages])
    events: dict[str, EventState] = {}
    later, earlier = messages[0], messages[1]
    later, earlier = replace(later, at=later.at + timedelta(seconds=60)), replace(earlier, at=later.at)
    for message in (later, earlier):
        assert apply(message, KINDS["rds"].meaning(stack, message).conditions, events) == []
    assert events["primary/resynchronizing"].done is True


@pytest.mark.parametrize("metric", ["cpu", "heartbeat-drift"])
def test_case_f7_alarm_notifications_are_evidence_and_raise_no_alert(
    monitor: Monitor, stack: Stack, metric: str
) -> None:
    body = {
        "AlarmName": f"aurora-{metric}-primary-{S}",
        "NewStateValue": "ALARM",
        "OldStateValue": "OK",
        "NewStateReason": "Threshold Crossed",
        "StateChangeTime": "2026-11-23T12:00:00.000+0000",
    }
    publish(stack, "primary", body)
    result, messages = monitor.process_events(None)
    assert [message.kind for message in messages] == ["alarm"]
    assert not [t for t in result.transitions if t.step == "opened"]
    finish(monitor, result)


# AWS Health user guide, "AWS Health events Amazon EventBridge schema", and other messages of AWS's documents that reach a topic:
# an auto scaling notification, a budget's text, an S3 event, SNS's proof of a new subscription.
FOREIGN = {
    "text": "Your budget dr-assets has exceeded its alert threshold.",
    "list": "[]",
    "null": "null",
    "number": "12",
    "object": json.dumps({"some": "thing"}),
    "s3 event": json.dumps({"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put"}]}),
    "scheduled change": json.dumps(
        {
            "version": "0",
            "id": "7bf73129-1428-4cd3-a780-95db273d1602",
            "detail-type": "AWS Health Event",
            "source": "aws.health",
            "account": "123456789012",
            "time": "2023-01-27T09:01:22Z",
            "region": "us-west-2",
            "resources": [],
            "detail": {
                "eventArn": "arn:aws:health:us-west-2::event/RDS/AWS_RDS_MAINTENANCE_SCHEDULED/x",
                "service": "RDS",
                "eventTypeCode": "AWS_RDS_MAINTENANCE_SCHEDULED",
                "eventTypeCategory": "scheduledChange",
                "statusCode": "upcoming",
                "eventRegion": "us-west-2",
            },
        }
    ),
}


@pytest.mark.parametrize("body", FOREIGN.values(), ids=FOREIGN)
def test_aws_19_a_message_of_no_known_kind_is_acknowledged_and_raises_no_alert(
    monitor: Monitor, stack: Stack, body: str
) -> None:
    publish(stack, "primary", body)
    result, messages = monitor.process_events(None)
    assert len(messages) == 1
    assert not [t for t in result.transitions if t.step == "opened"]
    finish(monitor, result)
    assert (waiting(stack, "primary"), waiting(stack, "primary", dead=True)) == (0, 0)


@pytest.mark.parametrize("body", ["not json", "[]", "12", "null", '{"Type": "Notification", "Message": [1]}', "{"])
def test_a_damaged_message_goes_to_the_dead_letter_queue(monitor: Monitor, stack: Stack, body: str) -> None:
    """What was put into the queue past the topic, or what SNS never sends."""
    client, url = queue_url(stack, "primary")
    client.send_message(QueueUrl=url, MessageBody=body)
    cursor: str | None = None
    for _ in range(4):
        result, messages = monitor.process_events(cursor)
        cursor = result.cursor
        assert all(message.kind in ("poison", "own") for message in messages)
        for message in messages:
            if message.kind == "poison":
                client.change_message_visibility(QueueUrl=url, ReceiptHandle=message.receipt, VisibilityTimeout=0)
    assert waiting(stack, "primary", dead=True) == 1
    assert waiting(stack, "primary") == 0


def health(status: str, event: str = "AWS_RDS_OPERATIONAL_ISSUE_ABC", region: str = "us-west-2") -> dict[str, Any]:
    """The example of the AWS Health user guide, "AWS Health events Amazon EventBridge schema", for RDS."""
    return {
        "version": "0",
        "id": f"id-{status}-{event}",
        "detail-type": "AWS Health Event",
        "source": "aws.health",
        "account": "123456789012",
        "time": {"open": "2026-11-23T12:00:00Z", "closed": "2026-11-23T13:00:00Z"}[status],
        "region": "us-east-1",
        "resources": [],
        "detail": {
            "eventArn": f"arn:aws:health:{region}::event/RDS/AWS_RDS_OPERATIONAL_ISSUE/{event}",
            "service": "RDS",
            "eventTypeCode": "AWS_RDS_OPERATIONAL_ISSUE",
            "eventTypeCategory": "issue",
            "eventScopeCode": "PUBLIC",
            "communicationId": "a6-1",
            "startTime": "Mon, 23 Nov 2026 11:50:00 GMT",
            "lastUpdatedTime": "Mon, 23 Nov 2026 12:00:00 GMT",
            "statusCode": status,
            "eventRegion": region,
            "eventDescription": [{"language": "en_US", "latestDescription": "Increased error rates."}],
            "affectedAccount": "123456789012",
            "page": "1",
            "totalPages": "1",
        },
    }


def test_case_b6_an_open_issue_of_aws_health_is_a_warning_until_aws_closes_it(monitor: Monitor, stack: Stack) -> None:
    """It is delivered in one region and about the other; a copy goes to a backup region (AWS Health user guide)."""
    now = utc.parse("2026-11-23T12:00:30Z")
    monitor.clock = lambda: now
    publish(stack, "primary", health("open"))
    publish(stack, "secondary", health("open"))
    publish(stack, "primary", health("open", "AWS_RDS_OPERATIONAL_ISSUE_ELSEWHERE", "eu-west-1"))
    result, _ = monitor.process_events(None)
    ((step, incident),) = [(t.step, t.incident) for t in result.transitions]
    assert (step, incident.topic, incident.severity, incident.site) == (
        "opened",
        "events.aws-health.AWS_RDS_OPERATIONAL_ISSUE_ABC.secondary",
        "warning",
        "secondary",
    )
    assert "AWS_RDS_OPERATIONAL_ISSUE: Increased error rates." in incident.evidence[0]
    publish(stack, "primary", health("open", "AWS_RDS_OPERATIONAL_ISSUE_TWO"))
    publish(stack, "primary", health("closed"))
    result, _ = monitor.process_events(result.cursor)
    first, second = (f"events.aws-health.AWS_RDS_OPERATIONAL_ISSUE_{name}.secondary" for name in ("ABC", "TWO"))
    # Each has an incident of its own.
    assert {(t.step, t.incident.topic) for t in result.transitions} == {("resolved", first), ("opened", second)}
    publish(stack, "primary", health("closed", "AWS_RDS_OPERATIONAL_ISSUE_TWO"))
    steps: list[str] = []
    while "resolved" not in steps:
        now += timedelta(seconds=30)
        assert now < utc.parse("2026-11-23T12:10:00Z")
        result, _ = monitor.process_events(result.cursor)
        steps += [t.step for t in result.transitions]
    finish(monitor, result)


@pytest.mark.parametrize(
    "bad",
    [
        {"AlarmName": "x", "NewStateValue": "ALARM", "StateChangeTime": "yesterday"},
        {"source": "aws.health", "time": 12, "detail": []},
        {"source": "aws.health", "time": "2026-11-23T12:00:00Z", "detail": {"eventDescription": 3, "service": []}},
        {"Event ID": ["RDS-EVENT-0187"], "Event Message": {}},
    ],
    ids=["alarm", "health time", "health detail", "rds"],
)
def test_aws_19_a_malformed_message_does_not_hold_up_its_neighbours(
    monitor: Monitor, stack: Stack, bad: dict[str, Any]
) -> None:
    publish(stack, "primary", bad)
    publish(stack, "primary", rds_event("0187", "Global switchover failed."))
    result, messages = monitor.process_events(None)
    assert len(messages) == 2
    assert [t.incident.topic for t in result.transitions if t.step == "opened"] == [
        "events.global-switchover-failed.primary"
    ]
    client, url = queue_url(stack, "primary")
    for message in messages:
        client.delete_message(QueueUrl=url, ReceiptHandle=message.receipt)


def test_case_d1_a_genuine_event_beside_malformed_ones_is_alerted_and_they_alone_reach_the_dead_letter_queue(
    monitor: Monitor, stack: Stack
) -> None:
    """Through the topic, the queue and its redrive policy of the embedded AWS."""
    client, url = queue_url(stack, "primary")
    deep = json.dumps({"Type": "Notification", "MessageId": "deep", "Message": "{" + '"a":{' * 100})
    malformed = [deep, '{"Type": "Notification", "MessageId": "list", "Message": [1]}', "\x1f not json"]
    for body in malformed:
        client.send_message(QueueUrl=url, MessageBody=body)
    publish(stack, "primary", {"AlarmName": "x", "NewStateValue": "ALARM", "StateChangeTime": "yesterday"})
    region, arn = stack.primary_region, f"arn:aws:sns:{stack.primary_region}:123456789012:db-events-primary-{S}"
    attributes = {"dr-assets-key": {"DataType": "String", "StringValue": "../../x"}}
    sns = boto3.client("sns", region)
    sns.publish(TopicArn=arn, Message=json.dumps(rds_event("0187", "Failed.")), MessageAttributes=attributes)
    opened: list[str] = []
    cursor: str | None = None
    for _ in range(6):
        result, messages = monitor.process_events(cursor)
        cursor = result.cursor
        opened += [t.incident.topic for t in result.transitions if t.step == "opened"]
        for message in messages:
            if message.kind == "poison":
                client.change_message_visibility(QueueUrl=url, ReceiptHandle=message.receipt, VisibilityTimeout=0)
    assert opened == ["events.global-switchover-failed.primary"]
    assert waiting(stack, "primary", dead=True) == len(malformed) + 1
    assert waiting(stack, "primary") == 0


def test_a_dead_region_s_queue_neither_blocks_nor_loses(monitor: Monitor, stack: Stack, cloud: EmbeddedAws) -> None:
    publish(stack, "primary", rds_event("0239", "Global failover failed."))
    fault = cloud.control.fault("dark", region=stack.primary_region)
    assert fault
    started = time.monotonic()
    result, messages = monitor.process_events(None)
    assert messages == []
    assert time.monotonic() - started < 20.0
    cloud.control.clear_faults()
    monitor._aws.breaker.answered(stack.primary_region)
    deadline = time.monotonic() + 40
    while not messages and time.monotonic() < deadline:
        result, messages = monitor.process_events(result.cursor)
    assert [message.kind for message in messages] == ["rds"]
    finish(monitor, result)


def test_an_unreadable_queue_alerts_once_until_it_is_readable(
    monitor: Monitor, stack: Stack, cloud: EmbeddedAws
) -> None:
    clock = [utc.now()]
    monitor.clock = lambda: clock[0]
    cloud.control.fault("error", region=stack.secondary_region, operation="ReceiveMessage", code="AccessDenied")
    cursor, steps = None, []
    for _ in range(6):
        result, _ = monitor.process_events(cursor)
        clock[0] += timedelta(seconds=15)
        cursor, steps = result.cursor, [*steps, *((t.step, t.incident) for t in result.transitions)]
    ((step, incident),) = steps
    assert (step, incident.topic, incident.resource) == (
        "opened",
        "events.unread.secondary",
        "secondary/notifications/queue",
    )
    assert "not permitted: AccessDenied" in incident.evidence[0]
    cloud.control.clear_faults()
    result, _ = monitor.process_events(cursor)
    assert [(t.step, t.incident.id) for t in result.transitions] == [("resolved", incident.id)]
    finish(monitor, result)


def test_an_alert_leaves_from_the_other_region_when_the_first_is_dead(
    stack: Stack, cloud: EmbeddedAws, monitor: Monitor
) -> None:
    cloud.control.fault("error", region=stack.primary_region, service="sns", code="InternalError")
    results = monitor.test_alert("Ann")
    assert results == {"sns": "delivered"}
    cloud.control.clear_faults()
    assert waiting(stack, "secondary") == 2
    assert waiting(stack, "primary") == 0
