"""Mutated queue messages beside a genuine failure event: the genuine one is alerted, and no failure event is deleted unread.

The seeds are messages of AWS's documents: RDS "USER_Events.Messages" and "Parsing Amazon SNS message formats"; the CloudWatch alarm
notification; the AWS Health EventBridge schema; an S3 event; SNS's SubscriptionConfirmation.
"""

from __future__ import annotations

import copy
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dr_assets.monitoring.samples import Message, Snapshot
from dr_assets.stack import Stack
from dr_assets.ticks.event_queue import understand
from dr_assets.ticks.monitor import Monitor
from tests.fuzz import mutate
from tests.fuzz.memory_store import MemoryStore
from tests.support.monitoring import Recorder, S, at, healthy

GUIDE = "https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/USER_Events.Messages.html#RDS-EVENT-"
FAILED = {
    "Event Source": "db-cluster",
    "Event Time": "2026-11-23 12:00:00.000",
    "Identifier Link": "https://console.aws.amazon.com/rds/home",
    "Source ID": f"aurora-primary-{S}",
    "Source ARN": f"arn:aws:rds:us-east-1:123456789012:cluster:aurora-primary-{S}",
    "Event ID": f"{GUIDE}0187",
    "Event Message": "Global switchover to DB cluster failed.",
}
SEEDS: dict[str, Any] = {
    "rds": FAILED,
    "alarm": {
        "AlarmName": f"aurora-cpu-primary-{S}",
        "NewStateValue": "ALARM",
        "OldStateValue": "OK",
        "NewStateReason": "Threshold Crossed: 1 datapoint was greater than the threshold.",
        "StateChangeTime": "2026-11-23T12:00:00.000+0000",
        "Region": "US East (N. Virginia)",
        "Trigger": {"MetricName": "CPUUtilization", "Dimensions": [{"name": "DBClusterIdentifier", "value": "x"}]},
    },
    "health": {
        "version": "0",
        "id": "7bf73129-1428-4cd3-a780-95db273d1602",
        "detail-type": "AWS Health Event",
        "source": "aws.health",
        "time": "2026-11-23T12:00:00Z",
        "region": "us-east-1",
        "detail": {
            "eventArn": "arn:aws:health:us-east-1::event/RDS/AWS_RDS_OPERATIONAL_ISSUE/RDS_7bf7",
            "service": "RDS",
            "eventTypeCode": "AWS_RDS_OPERATIONAL_ISSUE",
            "eventTypeCategory": "issue",
            "eventRegion": "us-east-1",
            "statusCode": "open",
            "eventDescription": [{"language": "en_US", "latestDescription": "Connectivity issues"}],
        },
    },
    "s3": {"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put"}]},
    "text": "Your budget has exceeded its alert threshold.",
}
FOUND = Path(__file__).parent / "seeds" / "queue.json"


def raw(published: Any, identity: str) -> dict[str, Any]:
    envelope = {
        "Type": "Notification",
        "MessageId": identity,
        "TopicArn": f"arn:aws:sns:us-east-1:123456789012:db-events-primary-{S}",
        "Message": published if isinstance(published, str) else json.dumps(published),
        "Timestamp": "2026-11-23T12:00:00.000Z",
        "SignatureVersion": "1",
        "MessageAttributes": {"dr-assets-key": {"Type": "String", "Value": f"{S}-writer-000001.opened.sns"}},
    }
    if published is not SEEDS["text"]:
        del envelope["MessageAttributes"]
    return {
        "MessageId": f"sqs-{identity}",
        "ReceiptHandle": f"receipt-{identity}",
        "Body": json.dumps(envelope),
        "Attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": str(int(at(0).timestamp() * 1000))},
    }


def mutant(rng: random.Random) -> Any:
    """A raw message changed in its own fields, in SNS's envelope, in what was published, or in its bytes."""
    published = copy.deepcopy(SEEDS[rng.choice(list(SEEDS))])
    layer = rng.randrange(8)
    if layer < 4:
        published = mutate.value(rng, published, rng.choice((1, 1, 2)))
    found = raw(_text(published), "bad")
    if layer in (4, 5):
        envelope = mutate.value(rng, json.loads(found["Body"]), rng.choice((1, 1, 2)))
        found["Body"] = _text(envelope)
    elif layer == 6:
        changed = mutate.data(rng, found["Body"].encode(), [json.dumps(each).encode() for each in SEEDS.values()])
        found["Body"] = changed.decode("utf-8", "surrogateescape")
    elif layer == 7:
        return mutate.value(rng, found, rng.choice((1, 1, 2)))
    return found


def _text(content: Any) -> str:
    try:
        return content if isinstance(content, str) else json.dumps(content)
    except (RecursionError, ValueError):
        return "[" * 2000


def failed(message: Any) -> bool | None:
    """Whether it plainly reports that our switchover failed, by AWS's documents: read here, not by the product. None: damaged."""
    try:
        envelope = json.loads(message["Body"])
        text = envelope["Message"] if "Message" in envelope else message["Body"]
        event = json.loads(text)
        number = event["Event ID"].rpartition("#")[2]
        source = event.get("Source ID") or str(event.get("Source ARN") or "").rpartition(":")[2]
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        return None
    return number == "RDS-EVENT-0187" and source in ("", None, FAILED["Source ID"])


class World:
    """A monitor whose queues hold what a test gives: at each tick the messages that were not deleted."""

    def __init__(self, stack: Stack, *messages: tuple[str, Any]) -> None:
        self.stack, self.waiting, self.deleted = stack, list(messages), list[str]()
        self.second, self.channel = 60.0, Recorder("sns")
        poller: Any = self
        self.monitor = Monitor(
            stack,
            MemoryStore(),
            poller=poller,
            channels=[self.channel],
            clock=lambda: at(self.second),
            heartbeats=poller,
        )
        queues: Any = self
        self.monitor._queues = queues

    def tick(self, _: float) -> Snapshot:
        return Snapshot(at(self.second), extra=tuple(healthy(self.second)))

    def exchange(self, receipts: Any) -> tuple[list[Message], dict[Any, Any]]:
        self.deleted += [receipt for each in receipts.values() for receipt in each]
        messages = [
            understand(self.stack, "primary" if site == "primary" else "secondary", each) for site, each in self.waiting
        ]
        return [each for each in messages if each.receipt not in self.deleted], {}


def problems(stack: Stack, message: Any) -> Iterator[str]:
    """What is wrong with how the message was processed, beside a genuine event of the other site."""
    genuine = {**FAILED, "Source ID": f"aurora-secondary-{S}", "Event Message": "The genuine one failed."}
    world = World(stack, ("primary", message), ("secondary", raw(genuine, "genuine")))
    cursor: str | None = None
    first: list[Message] = []
    for tick in range(3):
        result, messages = world.monitor.process_events(cursor)
        first = first or messages
        cursor, world.second = result.cursor, world.second + 10
        if tick == 1 and "receipt-genuine" not in world.deleted:
            yield "the genuine event was not deleted"
    texts = [alert.text for alert in world.channel.sent if alert.incident.topic.startswith("events")]
    if not any("The genuine one failed." in text for text in texts):
        yield f"the genuine event is not alerted: {[alert.key for alert in world.channel.sent]}"
    if len(cursor or "") > 20_000:
        yield f"the cursor has {len(cursor or '')} characters"
    read = next(each for each in first if each.site == "primary")
    if read.kind == "poison" and read.receipt and read.receipt in world.deleted:
        yield "poison was deleted"
    conditions = {name for name in result.state.memory.events if name.startswith("primary/")}
    told = "primary/global-switchover-failed" in conditions
    if failed(message) and not told and read.kind != "poison":
        yield f"a failed switchover was read as {read.kind} {conditions}"
    if failed(message) is False and told:
        yield "a failed switchover was invented"


def run(stack: Stack, number: int) -> None:
    seed, wrong = mutate.seed(), []
    for n in range(number):
        message = mutant(mutate.generator(seed, "queue", n))
        wrong += [f"input {n}: {problem}: {str(message)[:300]}" for problem in problems(stack, message)]
    assert not wrong, f"{mutate.SEED_VARIABLE}={seed}: {len(wrong)} of {number}\n" + "\n".join(wrong[:10])


def test_case_d1_mutated_messages_cost_themselves_alone(stack: Stack) -> None:
    run(stack, 300)


@pytest.mark.exhaustive
def test_case_d1_five_thousand_mutated_messages(stack: Stack) -> None:
    run(stack, 5000)


def found() -> list[dict[str, Any]]:
    """The inputs in seeds/queue.json. `@x*200@`: x two hundred times."""
    text = re.sub(r"@(.)\*(\d+)@", lambda match: match[1] * int(match[2]), FOUND.read_text())
    inputs: list[dict[str, Any]] = json.loads(text)
    return inputs


@pytest.mark.parametrize("message", found(), ids=lambda each: each["name"])
def test_case_d1_messages_that_once_ended_a_tick_or_were_lost(stack: Stack, message: dict[str, Any]) -> None:
    given = message["raw"] if "raw" in message else raw(message["published"], "bad")
    assert list(problems(stack, given)) == []
