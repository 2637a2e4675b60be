"""The stack's two event queues: read them, recognize each kind of message, and delete what was processed.

A topic may carry anything. What is of no known kind is logged, without its text, and deleted. What is damaged, or has some fields
of a known kind without the others, stays in the queue: after its third receive SQS moves it to the dead-letter queue. Alerts of our own return here too, because the queue subscribes to the topic they are
published to: they confirm their delivery.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dr_assets import escape, utc
from dr_assets.alerting.channels.sns import KEY_ATTRIBUTE
from dr_assets.aws import Aws, explain
from dr_assets.documents import DocumentError, parse, storable
from dr_assets.errors import UnansweredError
from dr_assets.monitoring import event_conditions
from dr_assets.monitoring.incidents import NOTIFIED_STEPS
from dr_assets.monitoring.samples import REPORTED, Message, Sample
from dr_assets.monitoring.sources.cloudwatch import ALARM_METRICS
from dr_assets.resources import names
from dr_assets.stack import SITES, Site, Stack

BATCH, ROUNDS = 10, 10
DEADLINE_SECONDS = 8.0


@dataclass(frozen=True)
class Meaning:
    """What a message changes.

    confirms    the delivery that it proves, as TRANSITION.CHANNEL
    samples     readings in it
    conditions  conditions that it begins (True) or ends (False)
    site        where they are; None: where the message arrived
    note        the evidence; empty: the text of the RDS event
    """

    confirms: tuple[str, ...] = ()
    samples: tuple[Sample, ...] = ()
    conditions: tuple[tuple[str, bool], ...] = ()
    site: Site | None = None
    note: str = ""


@dataclass(frozen=True)
class MessageKind:
    """A row of the table of kinds.

    recognize  the body of a message of this kind, from SNS's envelope; None: it is of another kind
    meaning    what such a message changes
    text       what such a message reports, for the reader of the table
    anchor     heading of docs/runbooks.md
    time       the key of the body that holds its time; empty: SNS's time counts
    """

    name: str
    recognize: Callable[[Mapping[str, Any]], dict[str, Any] | None]
    meaning: Callable[[Stack, Message], Meaning]
    text: str
    anchor: str = "events"
    time: str = ""


def _json(text: Any) -> Any:
    """JSON of a message. Other teams' may hold unsigned 64-bit numbers, of 20 digits. Raises DocumentError; TypeError for no text."""
    if not isinstance(text, str):
        raise TypeError(f"JSON is a text, not {type(text).__name__}")
    return parse(text, digits=20)


def _inner(envelope: Mapping[str, Any]) -> Mapping[str, Any]:
    """What was published, where it is a JSON object; else nothing. Without SNS's envelope (raw delivery) the body itself."""
    if "Message" not in envelope:
        return envelope
    try:
        inner = _json(envelope["Message"])
    except (TypeError, DocumentError):
        return {}
    return inner if isinstance(inner, dict) else {}


# Keys that only these kinds have; a message with one of them is of that kind or damaged. `detail-type` with another `source` is
# another EventBridge event.
_MARKS = frozenset(
    {"AlarmName", "NewStateValue", "Event Source", "Event ID", "Event Message", "Source ARN", "Identifier Link"}
)

# A person's text may begin with a bracket, as in "[URGENT]".
_LIKE_JSON = re.compile(r"[\ufeff\s]*(\{|\[\s*[\[{])")


def _foreign(envelope: Mapping[str, Any]) -> dict[str, Any]:
    """What of a message of no known kind may be logged: never its text, which may hold a token (SNS developer guide, "Parsing
    Amazon SNS message formats": SubscriptionConfirmation has `Token` and `SubscribeURL`).

    Raises ValueError or DocumentError where the message is one of a known kind that was damaged: such a message is not deleted.
    """
    text = envelope.get("Message")
    if text is None and envelope.get("Type") == "Notification":
        raise ValueError("a notification without Message")
    if isinstance(text, str) and _LIKE_JSON.match(text):
        _json(text)  # JSON that was cut off
    inner = _inner(envelope)
    marks = sorted(_MARKS & inner.keys())
    if marks:
        raise ValueError(f"has {', '.join(marks)} and lacks other fields of that kind of message")
    if "detail-type" in inner and not isinstance(inner.get("source"), str):
        raise ValueError("has detail-type and no source")
    return {
        "type": str(envelope.get("Type", ""))[:80],
        "topic": str(envelope.get("TopicArn", ""))[:200],
        "length": len(text) if isinstance(text, str) else len(json.dumps(envelope)),
    }


# The idempotency key of a transition, and the channel: STACK-TOPIC-NUMBER.STEP.CHANNEL.
_OWN_KEY = re.compile(rf"[a-z0-9]+-[\w.-]{{1,150}}-\d{{6,20}}\.({'|'.join(NOTIFIED_STEPS)})\.[a-z]{{1,20}}", re.ASCII)


def _own(envelope: Mapping[str, Any]) -> dict[str, Any] | None:
    """Any other value of the attribute is none of ours; the message may still be of another kind."""
    attributes = envelope.get("MessageAttributes")
    found = attributes.get(KEY_ATTRIBUTE) if isinstance(attributes, dict) else None
    key = found.get("Value") if isinstance(found, dict) else None
    return {"key": key} if isinstance(key, str) and _OWN_KEY.fullmatch(key) else None


def _own_meaning(stack: Stack, message: Message) -> Meaning:
    key = str(message.body["key"])
    return Meaning(confirms=(key,)) if key.startswith(f"{stack.environment_suffix}-") else Meaning()


def _alarm(envelope: Mapping[str, Any]) -> dict[str, Any] | None:
    inner = _inner(envelope)
    return dict(inner) if "AlarmName" in inner and "NewStateValue" in inner else None


def _rds(envelope: Mapping[str, Any]) -> dict[str, Any] | None:
    inner = _inner(envelope)
    return dict(inner) if "Event ID" in inner else None


def _rds_meaning(stack: Stack, message: Message) -> Meaning:
    """The event's conditions where its source is of this stack, or is not named; another database's events mean nothing.
    Raises TypeError where "Event ID" is no text."""
    body = message.body
    if not isinstance(body["Event ID"], str):
        raise TypeError("Event ID is no text")
    source = str(body.get("Source ID") or "") or str(body.get("Source ARN") or "").rpartition(":")[2]
    numbers = range(1, stack.instances_per_cluster + 1)
    own = {stack.global_cluster_name, *(names.cluster(stack, site) for site in SITES)}
    own |= {names.instance(stack, site, n) for site in SITES for n in numbers}
    if source and source not in own:
        return Meaning()
    return Meaning(conditions=tuple(event_conditions.meaning(event_id(message))))


def _aws_health(envelope: Mapping[str, Any]) -> dict[str, Any] | None:
    inner = _inner(envelope)
    return dict(inner) if inner.get("source") == "aws.health" else None


_EVENT = re.compile(r"[\w.:-]{1,120}", re.ASCII)


def _aws_health_meaning(stack: Stack, message: Message) -> Meaning:
    """An issue with RDS in a region of the stack, which lasts until AWS closes it; everything else means nothing.
    Raises TypeError without `detail`.

    Shape: AWS Health user guide, "AWS Health events Amazon EventBridge schema". `region` is where the message was delivered,
    `detail.eventRegion` what it is about; a copy goes to a backup region, with the same `eventArn`.
    """
    detail = message.body.get("detail")
    if not isinstance(detail, dict):
        raise TypeError("an event of AWS Health without detail")
    if detail.get("service") != "RDS" or detail.get("eventTypeCategory") != "issue":
        return Meaning()
    site = stack.site_in(str(detail.get("eventRegion") or message.body.get("region")))
    status = str(detail.get("statusCode", ""))
    if site is None or status not in ("open", "closed"):
        return Meaning()
    event = str(detail.get("eventArn") or message.id).rpartition("/")[2]
    if not _EVENT.fullmatch(event):  # it becomes a part of the cursor
        event = hashlib.sha256(event.encode()).hexdigest()[:16]
    name = f"{event_conditions.AWS_HEALTH}:{event}"
    note = f"{detail.get('eventTypeCode', '')}: {_description(detail)}"[:200]
    return Meaning(conditions=((name, status == "open"),), site=site, note=note)


def _description(detail: Mapping[str, Any]) -> str:
    """The first text of `eventDescription`, a list of {language, latestDescription}."""
    found = detail.get("eventDescription")
    first = found[0] if isinstance(found, list) and found else None
    return str(first.get("latestDescription", "")) if isinstance(first, dict) else ""


def _alarm_meaning(stack: Stack, message: Message) -> Meaning:
    """An alarm of this stack as evidence; others mean nothing. Raises TypeError where its name or state is no text."""
    if not (isinstance(message.body["AlarmName"], str) and isinstance(message.body["NewStateValue"], str)):
        raise TypeError("AlarmName or NewStateValue is no text")
    site: Site = "secondary" if message.site == "secondary" else "primary"
    metrics = {names.alarm(stack, site, metric): metric for metric in ALARM_METRICS}
    metric = metrics.get(str(message.body["AlarmName"]))
    if metric is None:
        return Meaning()
    value = {"OK": 1.0, "ALARM": 0.0}.get(str(message.body["NewStateValue"]))
    note = str(message.body.get("NewStateReason", ""))[:160]
    return Meaning(samples=(Sample(message.at, message.stack, site, "events", metric, value, REPORTED, note),))


KINDS: dict[str, MessageKind] = {
    kind.name: kind
    for kind in (
        MessageKind(
            name="own",
            recognize=_own,
            meaning=_own_meaning,
            text="An alert of ours, returned by the topic it was published to",
        ),
        MessageKind(
            name="alarm",
            recognize=_alarm,
            meaning=_alarm_meaning,
            text="A CloudWatch alarm changed its state",
            time="StateChangeTime",
        ),
        MessageKind(name="rds", recognize=_rds, meaning=_rds_meaning, text="RDS reports an event"),
        MessageKind(
            name="aws-health",
            recognize=_aws_health,
            meaning=_aws_health_meaning,
            text="AWS Health reports an event, through EventBridge",
            time="time",
        ),
        # Whatever else a topic carries: another team's events, SNS's proof of a new subscription, a person's text.
        MessageKind(
            name="foreign",
            recognize=_foreign,
            meaning=lambda _stack, _message: Meaning(),
            text="A message of no known kind, which is logged without its text and deleted",
        ),
        MessageKind(
            name="poison",
            recognize=lambda _envelope: None,
            meaning=lambda _stack, _message: Meaning(conditions=(("poison", True),)),
            text="A message that is damaged",
        ),
    )
}


class Queues:
    """A stack's two event queues."""

    def __init__(self, stack: Stack, aws: Aws) -> None:
        self.stack, self._aws = stack, aws
        self._urls: dict[Site, str] = {}

    def receive(self, site: Site) -> list[Message]:
        """All messages at the site, hidden from other readers for the queue's visibility timeout. Raises botocore's errors."""
        found: list[Message] = []
        self._receive(site, found)
        return found

    def _receive(self, site: Site, found: list[Message]) -> None:
        """As `receive`; `found` keeps what was received before an error."""
        client = self._client(site)
        for _ in range(ROUNDS):
            answer = client.receive_message(
                QueueUrl=self._url(site),
                MaxNumberOfMessages=BATCH,
                WaitTimeSeconds=0,
                AttributeNames=["ApproximateReceiveCount", "SentTimestamp"],
                MessageAttributeNames=["All"],
            )
            messages = answer.get("Messages") or []
            found += [understand(self.stack, site, message) for message in messages]
            if len(messages) < BATCH:
                break

    def delete(self, site: Site, receipts: Iterable[str]) -> None:
        """Delete processed messages. An expired receipt belongs to a message that will be received again."""
        waiting = list(receipts)
        for start in range(0, len(waiting), BATCH):
            entries = [{"Id": str(n), "ReceiptHandle": r} for n, r in enumerate(waiting[start : start + BATCH])]
            self._client(site).delete_message_batch(QueueUrl=self._url(site), Entries=entries)

    def exchange(self, receipts: Mapping[str, Sequence[str]]) -> tuple[list[Message], dict[Site, tuple[str, str]]]:
        """Delete what was processed and receive what is new, at both sites at once, each with a deadline.

        Returns the messages, and for each site that failed its condition (`unread`: it refused, `unanswered`: it did not
        answer) and why. What such a site yielded before that counts; the rest is received again.
        """
        received: dict[Site, list[Message]] = {site: [] for site in SITES}
        failed: dict[Site, tuple[str, str]] = {}
        done: set[Site] = set()

        def attempt(site: Site, operation: str, run: Callable[[], None]) -> None:
            try:
                run()
            except Exception as error:
                problem = explain(error, "sqs", operation, self.stack.region(site))
                failed[site] = ("unanswered" if isinstance(problem, UnansweredError) else "unread", str(problem))

        def exchange_at(site: Site) -> None:
            # What cannot be deleted is received again, and changes nothing then.
            attempt(site, "delete_message_batch", lambda: self.delete(site, receipts.get(site, ())))
            attempt(site, "receive_message", lambda: self._receive(site, received[site]))
            done.add(site)

        threads = [threading.Thread(target=exchange_at, args=(site,), daemon=True) for site in SITES]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE_SECONDS)
        late = ("unanswered", f"no answer within {DEADLINE_SECONDS:g} s")
        failures = {site: failed.get(site, late) for site in SITES if site in failed or site not in done}
        return [message for site in SITES for message in list(received[site])], failures

    def _client(self, site: Site) -> Any:
        return self._aws.client("sqs", self.stack.region(site))

    def _url(self, site: Site) -> str:
        if site not in self._urls:
            name = names.queue(self.stack, site)
            self._urls[site] = self._client(site).get_queue_url(QueueName=name)["QueueUrl"]
        return self._urls[site]


def understand(stack: Stack, site: Site, raw: Any) -> Message:
    """A raw SQS message as the first kind that recognizes it; `poison` where it is no JSON object or its kind's fields are damaged.

    Never raises: each message stands alone. Its time is SNS's, or its body's; where that is of no year of ours, SQS's. One without a
    receipt is processed and cannot be deleted.
    """
    raw = raw if isinstance(raw, dict) else {}
    attributes = raw["Attributes"] if isinstance(raw.get("Attributes"), dict) else {}
    sent = _number(attributes.get("SentTimestamp")) / 1000
    arrived = utc.from_epoch(sent) if 0 < sent < utc.now().timestamp() else utc.now()
    receives = int(_number(attributes.get("ApproximateReceiveCount"))) or 1
    receipt = raw["ReceiptHandle"] if isinstance(raw.get("ReceiptHandle"), str) else ""
    name, body, identity, content = "poison", {}, raw.get("MessageId"), str(raw.get("Body"))
    at, doubt = arrived, ""
    try:
        envelope = _json(raw.get("Body"))
        if not isinstance(envelope, dict):
            raise TypeError(f"the body is no JSON object but {type(envelope).__name__}")
        if not isinstance(envelope.get("Message", ""), str):
            raise TypeError("SNS's Message is no text")
        if envelope.get("MessageId"):
            identity, content = envelope["MessageId"], f"{envelope.get('Timestamp')}\0{envelope.get('Message')}"
        if "Timestamp" in envelope:
            at, doubt = _time(envelope["Timestamp"], arrived)
        for kind in KINDS.values():
            found = kind.recognize(envelope)
            if found is not None:
                if kind.time and found.get(kind.time):
                    at, doubt = _time(found[kind.time], arrived)
                shown = escape.line(identity)[:64]
                read = Message(shown, at, stack.environment_suffix, site, kind.name, "", receives, storable(found))
                kind.meaning(stack, read)  # what cannot be processed later is damaged
                name, body = kind.name, read.body
                break
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, DocumentError) as error:
        body = {"problem": escape.line(f"{type(error).__name__}: {error}"[:500])}
    # Anybody may publish under an id that was used before: only the same content under it is a repetition.
    fingerprint = hashlib.sha256(f"{identity}\0{content}".encode("utf-8", "backslashreplace")).hexdigest()[:16]
    return Message(
        id=escape.line(identity)[:64],
        at=at,
        stack=stack.environment_suffix,
        site=site,
        kind=name,
        receipt=receipt,
        receives=receives,
        body=body,
        fingerprint=fingerprint,
        doubt=doubt,
    )


def _number(text: object) -> float:
    """SQS's attributes are texts of digits; 0 for anything else."""
    return float(text) if isinstance(text, str) and re.fullmatch(r"[0-9]{1,15}", text) else 0.0


def _time(text: object, arrived: datetime) -> tuple[datetime, str]:
    """A message's time, and what is doubtful about it. Raises ValueError for what is no time at all."""
    try:
        return utc.parse(text, assume_utc=True), ""
    except utc.OutOfRangeError:
        return arrived, f"its time, {escape.line(text)}, is not believed"


def event_id(message: Message) -> str:
    """`RDS-EVENT-0181` of an RDS event, or an empty text. "Event ID" is a link to the user guide that ends with it."""
    return str(message.body.get("Event ID", "")).rpartition("#")[2]
