"""Lines of `dr doctor` about one region of AWS: credentials, clock, heartbeat alarms and their notifications, topic, queue."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from dr_assets.aws import Aws, explain
from dr_assets.errors import DrError
from dr_assets.preflight.survey import Finding, fails, ok, unknown
from dr_assets.resources import names
from dr_assets.resources.alarms.rows import WATCHERS
from dr_assets.resources.notifications.recipients import recipients
from dr_assets.stack import Site, Stack
from dr_assets.ticks.heartbeat import SKEW_SECONDS

T = TypeVar("T")


def credentials(stack: Stack, aws: Aws, site: Site) -> Finding:
    region = stack.region(site)
    return ok(f"{_caller(aws, region)['Arn']} in {region}")


def clock(stack: Stack, aws: Aws, site: Site, now: Callable[[], datetime]) -> Finding:
    """This host's clock beside AWS's, from the `Date` of an answer (whole seconds; RFC 9110, 6.6.1)."""
    region = stack.region(site)
    answer = _call(aws, "sts", "get_caller_identity", region)
    ahead = (now() - parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])).total_seconds()
    if abs(ahead) > SKEW_SECONDS:
        return fails(f"{abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} {region}", "Synchronise it (NTP).")
    return ok(f"agrees with {region} within {SKEW_SECONDS:.0f} s")


def heartbeats(stack: Stack, aws: Aws, site: Site) -> Finding:
    region = stack.region(site)
    wanted = {names.alarm(stack, site, f"heartbeat-{each.replace('_', '-')}"): each for each in WATCHERS}
    found = _pages(aws, "cloudwatch", "describe_alarms", region, "MetricAlarms", AlarmNames=sorted(wanted))
    by_name = {each["AlarmName"]: each for each in found}

    def having(condition: Callable[[dict[str, Any] | None], bool]) -> str:
        chosen = [watcher for name, watcher in wanted.items() if condition(by_name.get(name))]
        return "all watchers" if len(chosen) == len(wanted) else ", ".join(chosen)

    if absent := having(lambda alarm: alarm is None):
        return fails(f"{region} has no alarm for {absent}", "`dr provision`.")
    if mute := having(lambda alarm: not (alarm and alarm["ActionsEnabled"] and alarm.get("AlarmActions"))):
        return fails(f"the alarms in {region} notify no one about {mute}", "`dr provision`.")
    if silent := having(lambda alarm: bool(alarm and alarm["StateValue"] == "ALARM")):
        return fails(f"none reaches {region} from {silent}", "Runbook: No heartbeat.")
    if open_ := having(lambda alarm: not (alarm and alarm["StateValue"] == "OK")):
        return unknown(f"{region} has not evaluated yet: {open_}")
    return ok(f"all {len(wanted)} reach {region}")


def alarm_actions(stack: Stack, aws: Aws, site: Site, now: datetime) -> Finding:
    """The last action of each of the stack's alarms, among the account's newest 100 of 24 hours. The history alone tells that a
    notification failed (AWS re:Post, "How do I troubleshoot SNS notifications from CloudWatch alarms?")."""
    region = stack.region(site)
    day = {"HistoryItemType": "Action", "StartDate": now - timedelta(days=1), "EndDate": now + timedelta(minutes=1)}
    answer = _call(aws, "cloudwatch", "describe_alarm_history", region, MaxRecords=100, **day)
    last: dict[str, str] = {}
    for item in answer.get("AlarmHistoryItems", []):  # the newest first
        if item["AlarmName"].endswith(f"-{site}-{stack.environment_suffix}"):
            last.setdefault(item["AlarmName"], item["HistorySummary"])
    failed = [f"{name}: {text}" for name, text in last.items() if text.startswith("Failed")]
    if failed:
        more = f", and {len(failed) - 1} more" if len(failed) > 1 else ""
        return fails(
            f"{failed[0][:300]}{more}", "`dr verify` shows the policy of the topic or of its key that differs."
        )
    return ok(f"none failed in {region} for 24 h")


def topic_recipients(stack: Stack, aws: Aws, site: Site) -> Finding:
    region, topic = stack.region(site), names.topic(stack, site)
    arn = names.arn("sns", topic, region=region, account=_caller(aws, region)["Account"])
    found = recipients(stack, _pages(aws, "sns", "list_subscriptions_by_topic", region, "Subscriptions", TopicArn=arn))
    if not found:
        return fails(
            f"{topic} notifies no one: it has no confirmed subscription but the stack's own queue",
            "Set alert_emails, provision, and confirm the e-mail.",
        )
    return ok(f"{topic}: {len(found)}")


def queues(stack: Stack, aws: Aws, site: Site) -> Finding:
    region, name = stack.region(site), names.dead_letter_queue(stack, site)
    url = _call(aws, "sqs", "get_queue_url", region, QueueName=name)["QueueUrl"]
    wanted = ["ApproximateNumberOfMessages"]
    answer = _call(aws, "sqs", "get_queue_attributes", region, QueueUrl=url, AttributeNames=wanted)
    count = int(answer["Attributes"][wanted[0]])
    if count:
        return fails(f"{count} messages in {name} could not be processed", "Runbook: Events.")
    return ok(f"{name} is empty")


def _caller(aws: Aws, region: str) -> dict[str, Any]:
    answer = _call(aws, "sts", "get_caller_identity", region)
    if not (answer.get("Arn") and answer.get("Account")):
        raise DrError(f"STS in {region} names no caller.")
    return answer


def _call(aws: Aws, service: str, operation: str, region: str, **params: Any) -> dict[str, Any]:
    return _explained(service, operation, region, lambda: aws.reads().call(service, operation, region, **params))


def _pages(aws: Aws, service: str, operation: str, region: str, result: str, **params: Any) -> Iterable[dict[str, Any]]:
    return _explained(
        service, operation, region, lambda: aws.reads().pages(service, operation, region, result, **params)
    )


def _explained(service: str, operation: str, region: str, read: Callable[[], T]) -> T:
    """Raises DrError with AWS's reason instead of botocore's errors."""
    try:
        return read()
    except DrError:
        raise
    except Exception as error:
        raise DrError(str(explain(error, service, operation, region))) from error
