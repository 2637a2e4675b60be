"""What a raw SQS message is understood as: times without a zone, texts that UTF-8 cannot hold, damage; and a dark region."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from dr_assets.history.store import FolderStore
from dr_assets.monitoring.rules import sources_for
from dr_assets.monitoring.samples import Message, Snapshot
from dr_assets.monitoring.state import SensorMemory, State
from dr_assets.stack import Stack
from dr_assets.ticks.event_queue import DEADLINE_SECONDS, understand
from dr_assets.ticks.event_states import process
from dr_assets.ticks.monitor import Monitor
from tests.support.monitoring import Recorder, S, at, healthy

# The body of the event of AWS's guide: https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/USER_Events.Messages.html
RDS_EVENT = {
    "Event Source": "db-cluster",
    "Event ID": "https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/USER_Events.Messages.html#RDS-EVENT-0187",
    "Event Message": "Global switchover failed.",
    "Source ID": f"aurora-primary-{S}",
}


def raw(
    body: dict[str, Any] | str, timestamp: str = "2026-11-23T12:00:00.000Z", identity: str = "m-1"
) -> dict[str, Any]:
    """A message as SQS hands it over: SNS's envelope, in it the text that was published."""
    text = body if isinstance(body, str) else json.dumps(body)
    envelope = {"Type": "Notification", "MessageId": identity, "Message": text, "Timestamp": timestamp}
    return {"MessageId": "sqs-1", "ReceiptHandle": "r-1", "Body": json.dumps(envelope), "Attributes": {}}


def test_a_time_without_a_zone_is_utc(stack: Stack) -> None:
    message = understand(stack, "primary", raw(RDS_EVENT, "2026-11-23T12:00:05"))
    assert (message.kind, message.at) == ("rds", at(5))
    alarm = {"AlarmName": "x", "NewStateValue": "OK", "StateChangeTime": "2026-11-23T12:00:10.000"}
    message = understand(stack, "primary", raw(alarm))
    assert (message.kind, message.at) == ("alarm", at(10))


@pytest.mark.parametrize("timestamp", ["noon", "", "0001-01-01T00:00:00+14:00"])
def test_a_time_that_is_none_is_damage(stack: Stack, timestamp: str) -> None:
    assert understand(stack, "primary", raw(RDS_EVENT, timestamp)).kind == "poison"


def test_a_message_nested_too_deeply_is_damage(stack: Stack) -> None:
    assert understand(stack, "primary", raw("[" * 100_000)).kind == "poison"


@pytest.mark.parametrize(
    "source",
    [
        {"Source ID": "another-teams-cluster"},
        {"Source ID": None, "Source ARN": "arn:aws:rds:us-east-1:123456789012:cluster:another-teams-cluster"},
        {"Event Source": "db-instance", "Source ID": "another-teams-instance-1"},
        {"Event Source": "db-cluster", "Source ID": f"aurora-primary-{S}-copy"},
    ],
)
def test_case_b6_an_event_of_another_database_means_nothing_here(stack: Stack, source: dict[str, Any]) -> None:
    """A topic may carry the events of every database of the account; theirs are not our failures."""
    message = understand(stack, "primary", raw({**RDS_EVENT, **source}))
    assert message.kind == "rds"
    assert process(stack, SensorMemory(), [message], {}, at(60)).open == frozenset()


@pytest.mark.parametrize(
    "source", [f"aurora-secondary-{S}", f"aurora-primary-instance-2-{S}", f"aurora-global-{S}", None]
)
def test_case_b6_an_event_of_ours_or_of_no_named_source_counts(stack: Stack, source: str | None) -> None:
    message = understand(stack, "primary", raw({**RDS_EVENT, "Source ID": source}))
    assert process(stack, SensorMemory(), [message], {}, at(60)).open == {"primary/global-switchover-failed"}


def test_case_b6_an_event_with_a_time_of_the_future_is_ended_by_the_next_one(stack: Stack) -> None:
    begun = understand(stack, "primary", raw(RDS_EVENT, "2036-01-01T00:00:00.000Z"))
    first = process(stack, SensorMemory(), [begun], {}, at(60))
    assert first.open == {"primary/global-switchover-failed"}
    good = {**RDS_EVENT, "Event ID": RDS_EVENT["Event ID"].replace("0187", "0185")}
    ended = understand(stack, "primary", raw(good, "2026-11-23T12:02:00.000Z", "m-2"))
    assert process(stack, first.memory, [ended], {}, at(130)).open == frozenset()


# The keys of a message of CloudWatch and of RDS in AWS's documents, and what is left of it when some are lost.
DAMAGED = {
    "cut-off rds": json.dumps(RDS_EVENT)[:-20],
    "cut-off alarm": '\n {"AlarmName": "x", "NewStateVal',
    "alarm without state": json.dumps({"AlarmName": "x", "NewStateReason": "Threshold Crossed"}),
    "alarm without name": json.dumps({"NewStateValue": "ALARM"}),
    "rds without id": json.dumps({"Event Source": "db-cluster", "Source ID": "x"}),
    "rds text alone": json.dumps({"Event Message": "Global switchover failed."}),
    "rds arn alone": json.dumps({"Source ARN": f"arn:aws:rds:us-east-1:123456789012:cluster:aurora-primary-{S}"}),
    "eventbridge without source": json.dumps({"detail-type": "AWS Health Event", "detail": {"service": "RDS"}}),
    "health without detail": json.dumps({"detail-type": "AWS Health Event", "source": "aws.health"}),
}


@pytest.mark.parametrize("text", DAMAGED.values(), ids=DAMAGED)
def test_aws_19_a_damaged_message_of_a_known_kind_is_not_foreign(stack: Stack, text: str) -> None:
    """It is left to the dead-letter queue, where a person can read it; a foreign message would be deleted."""
    assert understand(stack, "primary", raw(text)).kind == "poison"


def test_aws_19_an_envelope_without_its_message_is_damaged(stack: Stack) -> None:
    body = json.dumps({"Type": "Notification", "MessageId": "m-1", "Timestamp": "2026-11-23T12:00:00.000Z"})
    assert understand(stack, "primary", {"MessageId": "q", "ReceiptHandle": "r", "Body": body}).kind == "poison"


@pytest.mark.parametrize(
    "text",
    ["[URGENT] call Ann", json.dumps({"detail-type": "EC2 Instance State-change Notification", "source": "aws.ec2"})],
)
def test_aws_19_what_another_service_or_a_person_publishes_is_foreign(stack: Stack, text: str) -> None:
    assert understand(stack, "primary", raw(text)).kind == "foreign"


def test_a_subscription_confirmation_s_token_is_not_kept(stack: Stack) -> None:
    """The token confirms a subscription to whoever has it (SNS developer guide, "Parsing Amazon SNS message formats")."""
    token = "2336412f37fb687f5d51e6e2425c464de"
    topic = "arn:aws:sns:us-east-1:123456789012:another"
    body = {
        "Type": "SubscriptionConfirmation",
        "MessageId": "165545c9",
        "Token": token,
        "TopicArn": topic,
        "Message": f"You have chosen to subscribe to the topic {topic}. Visit the SubscribeURL included in this message.",
        "SubscribeURL": f"https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn={topic}&Token={token}",
        "Timestamp": "2026-11-23T12:00:00.000Z",
    }
    message = understand(stack, "primary", {"MessageId": "q", "ReceiptHandle": "r", "Body": json.dumps(body)})
    assert (message.kind, message.id) == ("foreign", "165545c9")
    assert message.body == {"type": "SubscriptionConfirmation", "topic": topic, "length": len(body["Message"])}
    assert token not in repr(message)


class Queue:
    """A queue that hands over one message until it is deleted."""

    def __init__(self, message: Message) -> None:
        self.messages = [message]

    def exchange(self, receipts: dict[str, tuple[str, ...]]) -> tuple[list[Message], dict[str, tuple[str, str]]]:
        deleted = {receipt for each in receipts.values() for receipt in each}
        self.messages = [message for message in self.messages if message.receipt not in deleted]
        return self.messages, {}


class Poller:
    """A stack in good health."""

    def tick(self, _: float) -> Snapshot:
        return Snapshot(at(10), extra=tuple(healthy(10)))


def test_an_event_with_a_lone_surrogate_is_delivered_once_and_the_cursor_advances(stack: Stack, tmp_path: Path) -> None:
    """JSON may escape half of an emoji (RFC 8259, section 8.2); UTF-8 cannot hold it."""
    sns = Recorder()
    monitor = Monitor(
        stack,
        FolderStore(tmp_path),
        poller=Poller(),  # type: ignore[arg-type]
        channels=[sns],
        clock=lambda: at(10),
    )
    body = {**RDS_EVENT, "Event Message": "failed \ud83d"}
    queue = Queue(understand(stack, "primary", raw(body, identity="m-\udce9")))
    monitor._queues = queue  # type: ignore[assignment]
    result, _ = monitor.process_events(None)
    assert [transition.step for transition in result.transitions] == ["opened"]
    for _ in range(3):
        result, _ = monitor.process_events(result.cursor)
    assert len(sns.sent) == 1
    assert queue.messages == []
    (event,) = State.loads(result.cursor).memory.events.values()
    assert event.note == "RDS-EVENT-0187: failed \\ud83d"


def test_a_dark_region_is_recognized_within_a_source_s_deadline(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that takes the connection and never answers: one read's timeout opens the circuit breaker."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.getsockname()[1]}")
        monitor = Monitor(stack, FolderStore(tmp_path), channels=[])
        clock = [0.0]
        breaker = monitor._aws.breaker
        breaker._clock = lambda: clock[0]
        config = monitor._aws.client("sqs", stack.primary_region).meta.config
        breaker.before_send(stack.primary_region)
        clock[0] += config.read_timeout
        breaker.unanswered(stack.primary_region)
        deadlines = [source.deadline_seconds for source in sources_for([stack], monitor._aws)]
        assert clock[0] < min(DEADLINE_SECONDS, *deadlines)
        with pytest.raises(Exception, match="has not answered for 4 s"):
            breaker.before_send(stack.primary_region)
