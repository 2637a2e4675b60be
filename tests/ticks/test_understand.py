"""What a raw SQS message is understood as: times without a zone, texts that UTF-8 cannot hold, damage; and a dark region."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dr_assets.history.store import FolderStore
from dr_assets.monitoring.rules import sources_for
from dr_assets.monitoring.samples import Message, Snapshot
from dr_assets.monitoring.state import SensorMemory, State
from dr_assets.stack import Stack
from dr_assets.ticks.event_queue import DEADLINE_SECONDS, Queues, understand
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


# --- each message alone -------------------------------------------------------------------------------------------------------


def echo(key: object, body: dict[str, Any] | str = "CRITICAL: the writer is down") -> dict[str, Any]:
    """SNS's envelope with a message attribute (developer guide, "Amazon SNS message attributes")."""
    message = raw(body)
    envelope = json.loads(message["Body"])
    envelope["MessageAttributes"] = {"dr-assets-key": {"Type": "String", "Value": key}}
    return {**message, "Body": json.dumps(envelope)}


ODD_KEYS = ["../../x", "x" * 6000, "a\0b", "", 12, None, ["x"], {"x": 1}, f"other-writer-000001.opened.sns/../{S}"]


@pytest.mark.parametrize("key", ODD_KEYS, ids=repr)
def test_case_d1_an_echo_with_an_odd_key_beside_a_failed_switchover(stack: Stack, key: object) -> None:
    odd = understand(stack, "primary", echo(key))
    assert odd.kind == "foreign"
    genuine = understand(stack, "primary", raw(RDS_EVENT, identity="m-2"))
    processed = process(stack, SensorMemory(), [odd, genuine], {}, at(60))
    assert processed.confirmed == ()
    assert processed.open == {"primary/global-switchover-failed"}


def test_case_d1_a_failed_switchover_with_an_odd_key_of_its_own_is_an_event(stack: Stack) -> None:
    message = understand(stack, "primary", echo("../../x", RDS_EVENT))
    assert process(stack, SensorMemory(), [message], {}, at(60)).open == {"primary/global-switchover-failed"}


def test_an_echo_of_ours_confirms_and_one_of_another_stack_does_not(stack: Stack) -> None:
    own = understand(stack, "primary", echo(f"{S}-runs.verify_stack-000012.escalated.sns"))
    other = understand(stack, "primary", echo("other-writer-000001.opened.sns"))
    assert (own.kind, other.kind) == ("own", "own")
    other = replace(other, fingerprint="other")
    confirmed = process(stack, SensorMemory(), [own, other], {}, at(60)).confirmed
    assert confirmed == (f"{S}-runs.verify_stack-000012.escalated.sns",)


RAW_ITEMS = {
    "none": None,
    "text": "x",
    "empty": {},
    "no receipt": {"MessageId": "1", "Body": "{"},
    "receipt is a list": {"MessageId": "1", "ReceiptHandle": [1], "Body": "{"},
    "body is none": {"MessageId": "1", "ReceiptHandle": "r", "Body": None},
    "body is an object": {"MessageId": "1", "ReceiptHandle": "r", "Body": {"a": 1}},
    "attributes are a list": {"MessageId": "1", "ReceiptHandle": "r", "Body": "{", "Attributes": [1]},
    "id is an object": {"MessageId": {"a": 1}, "ReceiptHandle": "r", "Body": "{"},
}


@pytest.mark.parametrize("item", RAW_ITEMS.values(), ids=RAW_ITEMS)
def test_case_d1_a_raw_message_that_lacks_anything_costs_itself(stack: Stack, item: Any) -> None:
    bad = understand(stack, "primary", item)
    assert bad.kind == "poison"
    genuine = understand(stack, "primary", raw(RDS_EVENT))
    processed = process(stack, SensorMemory(), [bad, genuine], {}, at(60))
    assert processed.open == {"primary/global-switchover-failed", "primary/poison"}
    assert processed.memory.receipts == {"primary": ("r-1",)}
    assert State.loads(State(heartbeat=0.0, memory=processed.memory).dumps()).memory == processed.memory


@pytest.mark.parametrize("count", ["x", None, 3, "9" * 400, "-1"])
def test_case_d1_an_odd_receive_count_hides_no_event(stack: Stack, count: object) -> None:
    attributes = {"ApproximateReceiveCount": count, "SentTimestamp": count}
    message = understand(stack, "primary", {**raw(RDS_EVENT), "Attributes": attributes})
    assert process(stack, SensorMemory(), [message], {}, at(60)).open == {"primary/global-switchover-failed"}


@pytest.mark.parametrize(
    ("timestamp", "note"),
    [
        ("2026-11-16T12:00:00.000Z", "it is of 2026-11-16T12:00:00.000Z and arrived late"),
        ("0001-01-01T00:00:00Z", "its time, 0001-01-01T00:00:00Z, is not believed"),
        ("1970-01-01T00:00:00Z", "its time, 1970-01-01T00:00:00Z, is not believed"),
        ("9999-12-31T00:00:00Z", "its time, 9999-12-31T00:00:00Z, is not believed"),
        ("2036-01-01T00:00:00Z", "its time, 2036-01-01T00:00:00.000Z, is ahead of ours"),
    ],
)
def test_case_d1_an_event_of_last_week_or_of_no_year_is_alerted(stack: Stack, timestamp: str, note: str) -> None:
    """SQS keeps a message for up to 14 days (CreateQueue, MessageRetentionPeriod): the daemon may have been down for as long."""
    message = {**raw(RDS_EVENT, timestamp), "Attributes": {"SentTimestamp": str(int(at(0).timestamp() * 1000))}}
    memory = SensorMemory()
    for second in (60, 4000, 80_000):
        processed = process(stack, memory, [understand(stack, "primary", message)], {}, at(second))
        memory = processed.memory
        assert processed.open == {"primary/global-switchover-failed"}
    (event,) = memory.events.values()
    assert event.note == f"RDS-EVENT-0187: Global switchover failed. ({note})"
    assert process(stack, memory, [], {}, at(200_000)).open == frozenset()


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("order", [1, -1])
def test_case_d1_a_failure_of_last_week_that_ended_last_week_is_over(stack: Stack, order: int, together: bool) -> None:
    good = {**RDS_EVENT, "Event ID": RDS_EVENT["Event ID"].replace("0187", "0185")}
    messages = [
        understand(stack, "primary", raw(RDS_EVENT, "2026-11-16T12:00:00.000Z")),
        understand(stack, "primary", raw(good, "2026-11-16T13:00:00.000Z", "m-2")),
    ][::order]
    memory = SensorMemory()
    for batch in [messages] if together else [[each] for each in messages]:
        processed = process(stack, memory, batch, {}, at(60))
        memory = processed.memory
    assert processed.open == frozenset()


def test_case_d1_a_copied_message_id_hides_no_event(stack: Stack) -> None:
    first = understand(stack, "primary", raw("a text of somebody", identity="m-1"))
    genuine = understand(stack, "primary", raw(RDS_EVENT, identity="m-1"))
    again = understand(stack, "secondary", raw(RDS_EVENT, identity="m-1"))
    processed = process(stack, SensorMemory(), [first, genuine], {}, at(60))
    assert processed.open == {"primary/global-switchover-failed"}
    assert genuine.fingerprint == again.fingerprint != first.fingerprint


def test_case_d1_endless_ids_do_not_grow_the_cursor(stack: Stack) -> None:
    detail = {"service": "RDS", "eventTypeCategory": "issue", "statusCode": "open", "eventRegion": stack.primary_region}
    health = {"source": "aws.health", "time": "2026-11-23T12:00:00Z", "detail": {**detail, "eventArn": "x" * 200_000}}
    messages = [
        raw(RDS_EVENT, identity="m" * 200_000),
        raw(health, identity="n" * 200_000),
        raw("{", identity="p" * 200_000),
    ]
    messages += [raw("a text", identity=f"{n}" * 1000) for n in range(1000)]
    understood = [understand(stack, "primary", message) for message in messages]
    understood = [replace(message, receipt="r") for message in understood]
    memory = process(stack, SensorMemory(), understood, {}, at(60)).memory
    assert {name.partition(":")[0] for name in memory.events} == {
        "primary/global-switchover-failed",
        "primary/aws-health",
        "primary/poison",
    }
    assert len(State(heartbeat=0.0, memory=memory.model_copy(update={"receipts": {}})).dumps()) < 25_000


class Client:
    """SQS whose second batch, or whose deletion, fails."""

    def __init__(self, fails: str) -> None:
        self.fails, self.batches = fails, 0

    def get_queue_url(self, QueueName: str) -> dict[str, str]:
        return {"QueueUrl": QueueName}

    def receive_message(self, **_: Any) -> dict[str, Any]:
        self.batches += 1
        if self.fails == "receive" and self.batches > 1:
            raise ConnectionError("reset")
        events = [raw(RDS_EVENT, identity=f"m-{n}") for n in range(10 if self.batches == 1 else 0)]
        return {"Messages": events} if events else {}

    def delete_message_batch(self, **_: Any) -> None:
        if self.fails == "delete":
            raise ConnectionError("reset")


@pytest.mark.parametrize("fails", ["receive", "delete"])
def test_case_d1_what_was_received_before_a_later_call_failed_counts(stack: Stack, fails: str) -> None:
    clients = {stack.primary_region: Client(fails), stack.secondary_region: Client("")}
    aws = SimpleNamespace(client=lambda _, region: clients[region])
    messages, failures = Queues(stack, aws).exchange({"primary": ("r-0",)})  # type: ignore[arg-type]
    assert len([message for message in messages if message.site == "primary"]) == 10
    assert list(failures) == ["primary"]


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
