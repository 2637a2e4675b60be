"""Alerts: what a person reads, and the ledger that makes sure each is delivered once and none is lost.

May import `aws`, `history.store`, `errors` and telemetry's nouns.

The ledger holds one claim for each attempt and one confirmation for each delivery, all created where there was nothing:
of two who try, one wins. What that gives:
- confirmed: never sent again, whoever asks, however often the daemon restarts;
- refused by the transport: the claim is taken back, the tick fails, the next tick tries again;
- the store does not answer: it is sent without a claim, once by this process, and its sensor's cursor remembers that; only a
  process that dies within that tick, or a second daemon, tells twice. Rather twice than never;
- claimed and neither (killed in between, or the answer was lost): nobody knows. When the claim is older than its lease it is
  sent again. PagerDuty drops the repetition by its key. SNS and Slack have no such key; SNS's own copy of the alert comes
  back through the site's event queue and confirms the claim before the lease is over. So: PagerDuty exactly once; SNS
  once, but twice where the process died within milliseconds of publishing *and* the queue was not read for a whole lease;
  Slack at least once, with the key in its text.
"""

from __future__ import annotations

import contextlib
import json
import logging
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from dr_assets import utc
from dr_assets.aws import Aws, explain
from dr_assets.core.model import Resource
from dr_assets.errors import DrError, UnansweredError
from dr_assets.history.documents import Incident
from dr_assets.history.store import Store
from dr_assets.monitoring.incidents import TOLD, Transition
from dr_assets.monitoring.topics import team_of
from dr_assets.resources import names
from dr_assets.resources.lineage import capabilities_lost, dependents
from dr_assets.stack import SITES, Site, Stack

LEASE_SECONDS = 60.0
HTTP_SECONDS = 5.0
PAGERDUTY = "https://events.pagerduty.com/v2/enqueue"
KEY_ATTRIBUTE = "dr-assets-key"
_NEVER_SENT = ("EndpointConnectionError", "ConnectTimeoutError", "RegionDarkError", "NoCredentialsError")
STORE_TROUBLE = (DrError, OSError)

log = logging.getLogger(__name__)


class AlertRefused(DrError):
    """A transport said no, or could not be reached: the alert was certainly not delivered."""


class AlertUnknown(DrError):
    """The answer was lost: the alert may or may not have been delivered."""


class AlertPending(DrError):
    """Somebody else is delivering this alert right now, or died while doing so."""


@dataclass(frozen=True)
class Alert:
    """What is told. `key` is the transition's; `link` leads to the console or to Dagster."""

    key: str
    step: str
    incident: Incident
    subject: str
    text: str
    team: str
    link: str
    lost: tuple[str, ...]


def compose(transition: Transition, resources: Mapping[str, Resource], link: str = "") -> Alert:
    """The message: what, since when, value against objective, capability lost, runbook step, link."""
    incident = transition.incident
    lost = tuple(capabilities_lost(resources, incident.resource)) if incident.resource in resources else ()
    radius = len(dependents(resources, incident.resource)) if incident.resource in resources else 0
    word = {"opened": incident.severity.upper(), "escalated": "ESCALATED", "resolved": "RESOLVED"}.get(
        transition.step, transition.step.upper()
    )
    value = "unknown" if incident.value is None else f"{incident.value:g} {incident.unit}".strip()
    until = f" until {_clock(incident.ended)}" if incident.ended else ""
    lines = [
        f"{word}: {incident.text} (stack {incident.stack}, {incident.site})",
        f"Since: {_clock(incident.since)}{until}",
        f"Value: {value}; objective: {incident.objective}",
        *([f"Lost: {'; '.join(lost)}"] if lost else []),
        *([f"Depends on {incident.resource}: {radius} resources"] if radius else []),
        f"Do: {incident.runbook}",
        "Evidence:",
        *(f"- {line}" for line in incident.evidence),
        *([f"Link: {link}"] if link else []),
        f"Owner: {team_of(incident.topic)}. Incident: {incident.id}. Key: {transition.key}",
    ]
    subject = f"[{word}] {incident.stack}: {incident.text}"
    ascii_subject = subject.encode("ascii", "replace").decode()[:100]  # SNS takes no others, and no more
    return Alert(
        transition.key, transition.step, incident, ascii_subject, "\n".join(lines), team_of(incident.topic), link, lost
    )


def _clock(seconds: float) -> str:

    return utc.from_epoch(seconds).strftime("%Y-%m-%d %H:%M:%S UTC")


class Transport(Protocol):
    """A way to people. `deduplicates`: sending the same key twice tells once."""

    name: str
    deduplicates: bool

    def wants(self, alert: Alert) -> bool: ...

    def send(self, alert: Alert) -> None:
        """Raises AlertRefused (certainly not delivered) or AlertUnknown."""


class SnsTransport:
    """The topic of the healthy site; the other one's when that does not take it. No deduplication (standard topics)."""

    name, deduplicates = "sns", False

    def __init__(self, stack: Stack, aws: Aws | None = None, sites: Sequence[Site] = SITES) -> None:
        # One attempt: botocore's own repetitions after a lost answer would tell twice.
        self._aws = aws or Aws(read_timeout=HTTP_SECONDS, attempts=1)
        self._stack, self.sites = stack, tuple(sites)
        self._account = ""

    def wants(self, alert: Alert) -> bool:
        return True

    def send(self, alert: Alert) -> None:
        refused: list[str] = []
        unknown: list[str] = []
        if not self._account:
            try:
                self._account = self._aws.account([self._stack.region(site) for site in self.sites])
            except DrError as error:
                raise AlertRefused(f"{alert.key} was not sent to SNS: {error}") from error
        for site in self.sites:
            region = self._stack.region(site)
            try:
                self._publish(alert, site, region)
                return
            except Exception as error:
                problem = explain(error, "sns", "publish", region)
                # An error that AWS answered is a no, and so is never having been connected; a lost answer may have been a yes.
                answered = hasattr(error, "response") or type(error).__name__ in _NEVER_SENT
                (refused if answered else unknown).append(str(problem))
        if unknown:
            raise AlertUnknown(f"SNS did not answer for {alert.key}: {'; '.join(unknown + refused)}")
        raise AlertRefused(f"SNS took {alert.key} in neither region: {'; '.join(refused)}")

    def _publish(self, alert: Alert, site: Site, region: str) -> None:
        name = names.topic(self._stack, site)
        partition = "aws-us-gov" if "-gov-" in region else "aws-cn" if region.startswith("cn-") else "aws"
        self._aws.client("sns", region).publish(
            TopicArn=f"arn:{partition}:sns:{region}:{self._account}:{name}",
            Subject=alert.subject,
            Message=alert.text,
            MessageAttributes={KEY_ATTRIBUTE: {"DataType": "String", "StringValue": f"{alert.key}.{self.name}"}},
        )


class SlackTransport:
    """An incoming webhook as Slack has them (Mattermost, Teams connectors and others take the same body)."""

    name, deduplicates = "slack", False

    def __init__(self, url: str) -> None:
        self._url = url

    def wants(self, alert: Alert) -> bool:
        return True

    def send(self, alert: Alert) -> None:
        _post(self._url, slack_body(alert), self.name)


class PagerDutyTransport:
    """PagerDuty's Events API v2: pages for what is critical (or was), and resolves. Deduplicates by incident."""

    name, deduplicates = "pagerduty", True

    def __init__(self, routing_key: str, url: str = PAGERDUTY) -> None:
        self._routing_key, self._url = routing_key, url

    def wants(self, alert: Alert) -> bool:
        return alert.incident.severity == "critical"

    def send(self, alert: Alert) -> None:
        _post(self._url, {"routing_key": self._routing_key, **pagerduty_body(alert)}, self.name)


def slack_body(alert: Alert) -> dict[str, Any]:
    """https://api.slack.com/messaging/webhooks: `text` is the notification, `blocks` the message."""
    head, _, rest = alert.text.partition("\n")
    return {
        "text": alert.subject,
        "blocks": [
            {"type": "header", "text": {"type": "plain_text", "text": head[:150]}},
            {"type": "section", "text": {"type": "mrkdwn", "text": rest[:2900]}},
        ],
    }


def pagerduty_body(alert: Alert) -> dict[str, Any]:
    """https://developer.pagerduty.com/docs/events-api-v2: trigger or resolve, without the routing key."""
    incident = alert.incident
    body: dict[str, Any] = {
        "event_action": "resolve" if alert.step == "resolved" else "trigger",
        "dedup_key": incident.id,
        "payload": {
            "summary": alert.subject[:1024],
            "source": f"dr-assets/{incident.stack}/{incident.site}",
            "severity": incident.severity,
            "timestamp": utc.to_text(datetime.fromtimestamp(incident.since, utc.now().tzinfo)),
            "component": incident.resource or incident.topic,
            "group": incident.stack,
            "class": incident.topic,
            "custom_details": {
                "text": alert.text,
                "owner": alert.team,
                "key": alert.key,
                "lost": list(alert.lost),
                "runbook": incident.runbook,
            },
        },
        "client": "dr-assets",
    }
    if alert.link:
        body["client_url"] = alert.link
        body["links"] = [{"href": alert.link, "text": "Look at it"}]
    return body


def _post(url: str, body: Mapping[str, Any], name: str) -> None:
    """Raises AlertRefused or AlertUnknown; neither names the URL, which holds a secret."""
    request = urllib.request.Request(  # noqa: S310 (the operator's own URL)
        url, data=json.dumps(body).encode(), headers={"Content-Type": "application/json"}, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=HTTP_SECONDS) as answer:  # noqa: S310
            answer.read(1024)
    except urllib.error.HTTPError as error:
        raise AlertRefused(f"{name} refused the alert: HTTP {error.code}. Correct its URL or key.") from None
    except urllib.error.URLError as error:
        if isinstance(error.reason, TimeoutError):
            raise AlertUnknown(f"{name} did not answer within {HTTP_SECONDS:g} s.") from None
        raise AlertRefused(f"{name} could not be reached ({type(error.reason).__name__}).") from None
    except (OSError, ValueError) as error:
        raise AlertUnknown(f"{name}: the answer was lost ({type(error).__name__}).") from None


Result = Literal["delivered", "already"]


class Ledger:
    """Who has been told what, in the history store: `alerts/{stack}/{transition}.{transport}.json` and its claims."""

    def __init__(self, store: Store, lease_seconds: float = LEASE_SECONDS) -> None:
        self.store, self._lease = store, lease_seconds
        self._me = uuid.uuid4().hex
        self._delivered: set[str] = set()  # by this process: also known while the store is not

    def deliver(self, alert: Alert, transport: Transport, now: datetime) -> Result:
        """Claim, send, confirm. Raises AlertRefused, AlertUnknown or AlertPending: then the tick must fail."""
        base = f"alerts/{alert.incident.stack}/{alert.key}.{transport.name}"
        document = {"by": self._me, "text": alert.text, "step": alert.step, "incident": alert.incident.as_json()}
        if base in self._delivered:
            self._try("confirm", lambda: self._confirm(base, {**document, "at": utc.to_text(now)}))
            return "already"
        attempt: int | None = 0  # without a claim
        try:
            attempt = None if self._has(f"{base}.json") else self._claim(base, transport, document, now)
        except AlertPending:
            raise
        except STORE_TROUBLE as error:
            log.warning("%s is sent without a claim: the ledger in %s cannot be used: %s", base, self.store.uri, error)
        if attempt is None:
            return "already"
        try:
            transport.send(alert)
        except AlertRefused:
            if attempt:
                self._try("withdraw", lambda: self.store.delete(f"{base}.claim-{attempt:03d}.json"))
            raise
        self._delivered.add(base)
        self._try("confirm", lambda: self._confirm(base, {**document, "attempt": attempt, "at": utc.to_text(now)}))
        return "delivered"

    def _try(self, what: str, do: Callable[[], None]) -> None:
        """What the store refuses must not keep an alert back, nor tell of it anew."""
        try:
            do()
        except STORE_TROUBLE as error:
            log.warning("the ledger in %s did not take what was to %s: %s", self.store.uri, what, error)

    def echoed(self, stack: str, name: str, at: datetime) -> None:
        """A transport shows that it delivered `name` (transition and transport): an open claim is thereby confirmed."""
        base = f"alerts/{stack}/{name}"
        claims = self.store.list(f"{base}.claim-")
        if claims and not self._has(f"{base}.json"):
            self._confirm(
                base, {**json.loads(self.store.read(claims[-1])), "at": utc.to_text(at), "confirmed_by": "echo"}
            )

    def _claim(self, base: str, transport: Transport, document: Mapping[str, Any], now: datetime) -> int | None:
        claims = self.store.list(f"{base}.claim-")
        attempt = 1
        if claims:
            last = json.loads(self.store.read(claims[-1]))
            attempt = int(last["attempt"]) + 1
            age = (now - utc.parse(last["at"])).total_seconds()
            # Where a repetition is dropped there is nothing to wait for, unless somebody is at it this very moment.
            if age < (self._lease if not transport.deduplicates else HTTP_SECONDS):
                raise AlertPending(
                    f"{base} was claimed {age:.0f} s ago and is not confirmed; it is sent again after {self._lease:.0f} s."
                )
        try:
            self.store.create(
                f"{base}.claim-{attempt:03d}.json",
                json.dumps({**document, "attempt": attempt, "at": utc.to_text(now)}, sort_keys=True).encode(),
            )
        except FileExistsError:
            raise AlertPending(f"{base} is being delivered by another daemon at this moment.") from None
        # Whoever held the claim before may have confirmed between our two looks.
        return None if self._has(f"{base}.json") else attempt

    def _confirm(self, base: str, document: Mapping[str, Any]) -> None:
        with contextlib.suppress(FileExistsError):  # the echo was faster
            self.store.create(f"{base}.json", json.dumps(document, sort_keys=True).encode())

    def _has(self, key: str) -> bool:
        try:
            self.store.read(key)
        except KeyError:
            return False
        return True

    def told(self, stack: str) -> dict[str, tuple[int, Incident | None, float | None]]:
        """For each topic of the stack: the last number told of, its incident while it is open, else when it ended.

        This is how a sensor without a cursor finds its way back, and how one with an old cursor notices.
        """
        steps: dict[str, dict[int, dict[str, str]]] = {}
        for key in self.store.list(f"alerts/{stack}/"):
            name = key.rsplit("/", 1)[1]
            if ".claim-" in name:
                continue
            incident, step, *_ = name.removesuffix(".json").rsplit(".", 2)
            topic, _, digits = incident.removeprefix(f"{stack}-").rpartition("-")
            if digits.isdigit() and step in TOLD:
                steps.setdefault(topic, {}).setdefault(int(digits), {})[step] = key
        found: dict[str, tuple[int, Incident | None, float | None]] = {}
        for topic, numbers in steps.items():
            number = max(numbers)
            seen = numbers[number]
            last = seen.get("resolved") or seen.get("escalated") or seen["opened"]
            incident_told = Incident.from_json(json.loads(self.store.read(last))["incident"])
            is_over = incident_told.ended is not None
            found[topic] = (number, None if is_over else incident_told, incident_told.ended)
        return found


def transports_from(stack: Stack, environ: Mapping[str, str], aws: Aws | None = None) -> list[Transport]:
    """SNS always; Slack with DR_ALERT_SLACK_URL, PagerDuty with DR_ALERT_PAGERDUTY_KEY (and DR_ALERT_PAGERDUTY_URL)."""
    found: list[Transport] = [SnsTransport(stack, aws)]
    if environ.get("DR_ALERT_SLACK_URL"):
        found.append(SlackTransport(environ["DR_ALERT_SLACK_URL"]))
    if environ.get("DR_ALERT_PAGERDUTY_KEY"):
        url = environ.get("DR_ALERT_PAGERDUTY_URL") or PAGERDUTY
        found.append(PagerDutyTransport(environ["DR_ALERT_PAGERDUTY_KEY"], url))
    return found


def deliver(ledger: Ledger, transports: Sequence[Transport], alert: Alert, now: datetime) -> dict[str, Result]:
    """Through every transport that wants it. Raises the first failure, after all have been tried."""
    results: dict[str, Result] = {}
    problems: list[DrError] = []
    for transport in transports:
        if not transport.wants(alert):
            continue
        try:
            results[transport.name] = ledger.deliver(alert, transport, now)
        except (AlertRefused, AlertUnknown, AlertPending, UnansweredError) as error:
            problems.append(error)
    if problems:
        raise problems[0]
    return results
