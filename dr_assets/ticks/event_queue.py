"""The event queues: read, understood, and deleted only once they are dealt with.

May import `aws`, `stack`, `errors` and telemetry's nouns. What cannot be understood is left where it is: after its third
receive SQS moves it to the dead-letter queue. Alerts of our own come back through here too (the queue is subscribed to the
topic they are published to): they confirm their delivery and mean nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from dr_assets import utc
from dr_assets.alerting.channels.sns import KEY_ATTRIBUTE
from dr_assets.aws import Aws
from dr_assets.monitoring.samples import Message, Sample
from dr_assets.resources import names
from dr_assets.stack import Site, Stack

BATCH, ROUNDS = 10, 10
DEADLINE_SECONDS = 8.0


class Queues:
    """A stack's two event queues."""

    def __init__(self, stack: Stack, aws: Aws) -> None:
        self.stack, self._aws = stack, aws
        self._urls: dict[Site, str] = {}

    def receive(self, site: Site) -> list[Message]:
        """Everything that waits at the site, hidden from others for the queue's visibility timeout. Raises botocore's errors."""
        found: list[Message] = []
        client = self._client(site)
        for _ in range(ROUNDS):
            answer = client.receive_message(
                QueueUrl=self._url(site),
                MaxNumberOfMessages=BATCH,
                WaitTimeSeconds=0,
                AttributeNames=["ApproximateReceiveCount", "SentTimestamp"],
                MessageAttributeNames=["All"],
            )
            messages = answer.get("Messages", [])
            found += [understand(self.stack, site, message) for message in messages]
            if len(messages) < BATCH:
                break
        return found

    def delete(self, site: Site, receipts: Iterable[str]) -> None:
        """Delete what was dealt with. A receipt that has become invalid belongs to a message that will come again."""
        waiting = list(receipts)
        for start in range(0, len(waiting), BATCH):
            entries = [{"Id": str(n), "ReceiptHandle": r} for n, r in enumerate(waiting[start : start + BATCH])]
            self._client(site).delete_message_batch(QueueUrl=self._url(site), Entries=entries)

    def _client(self, site: Site) -> Any:
        return self._aws.client("sqs", self.stack.region(site))

    def _url(self, site: Site) -> str:
        if site not in self._urls:
            name = names.queue(self.stack, site)
            self._urls[site] = self._client(site).get_queue_url(QueueName=name)["QueueUrl"]
        return self._urls[site]


def understand(stack: Stack, site: Site, message: dict[str, Any]) -> Message:
    """What a raw SQS message is: `own`, `alarm`, `rds`, or `poison` when it is none of ours or broken."""
    receives = int(message.get("Attributes", {}).get("ApproximateReceiveCount", 1))
    kind, body, at, identity = "poison", {}, utc.now(), message["MessageId"]
    try:
        envelope = json.loads(message["Body"])
        identity = str(envelope.get("MessageId") or identity)
        at = utc.parse(envelope["Timestamp"]) if "Timestamp" in envelope else at
        attributes = envelope.get("MessageAttributes") or {}
        if KEY_ATTRIBUTE in attributes:
            kind, body = "own", {"key": attributes[KEY_ATTRIBUTE]["Value"]}
        else:
            inner = json.loads(envelope["Message"])
            if "AlarmName" in inner and "NewStateValue" in inner:
                kind, body = "alarm", inner
                at = utc.parse(inner["StateChangeTime"]) if inner.get("StateChangeTime") else at
            elif "Event ID" in inner or "Event Message" in inner:
                kind, body = "rds", inner
            # SNS proves a new subscription or topic with a message of its own kind; other JSON is nobody's.
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        body = {"problem": f"{type(error).__name__}: {error}"}
    return Message(identity, at, stack.environment_suffix, site, kind, message["ReceiptHandle"], receives, body)


def event_id(message: Message) -> str:
    """`RDS-EVENT-0181` of an RDS event, or an empty text."""
    return str(message.body.get("Event ID", "")).rpartition("#")[2]


def alarm_sample(message: Message, names: dict[str, str]) -> Sample | None:
    """An alarm's notification as evidence. `names`: alarm name -> metric, of the message's site."""
    metric = names.get(str(message.body["AlarmName"]))
    if metric is None:
        return None
    value = {"OK": 1.0, "ALARM": 0.0}.get(str(message.body["NewStateValue"]))
    note = str(message.body.get("NewStateReason", ""))[:160]
    return Sample(message.at, message.stack, message.site, "events", metric, value, "bool", note)
