"""The SNS channel: the first site that takes it, and whether a failure is a refusal or unknown."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError, UnauthorizedSSOTokenError

from dr_assets.alerting.channels.channel import AlertRefused, AlertUnknown
from dr_assets.alerting.channels.sns import KEY_ATTRIBUTE, SnsChannel
from dr_assets.alerting.message import Alert
from dr_assets.stack import Stack
from tests.support.monitoring import S


def refusal(code: str, status: int) -> ClientError:
    answer: Any = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "Publish")


# SNS API reference, Publish, "Errors".
DENIED = refusal("AuthorizationError", 403)
THROTTLED = refusal("Throttled", 429)
INTERNAL = refusal("InternalError", 500)
UNREACHABLE = EndpointConnectionError(endpoint_url="https://sns.us-east-1.amazonaws.com")
LOST = ReadTimeoutError(endpoint_url="https://sns.us-east-1.amazonaws.com")


class Sns:
    """Clients of both regions; `failures` by region are raised instead of publishing."""

    def __init__(self, **failures: Exception) -> None:
        self.failures = {region.replace("_", "-"): error for region, error in failures.items()}
        self.published: list[dict[str, Any]] = []

    def account(self, regions: list[str]) -> str:
        return "123456789012"

    def client(self, service: str, region: str) -> Sns:
        self.region = region
        return self

    def publish(self, **request: Any) -> None:
        if self.region in self.failures:
            raise self.failures[self.region]
        self.published.append(request)


def send(stack: Stack, sns: Sns, alert: Alert) -> None:
    SnsChannel(stack, sns).send(alert)  # type: ignore[arg-type]  # the two calls that it makes


def test_the_primary_site_s_topic_gets_it_with_its_key(stack: Stack, alert: Alert) -> None:
    send(stack, sns := Sns(), alert)
    (request,) = sns.published
    assert request["TopicArn"] == f"arn:aws:sns:us-east-1:123456789012:db-events-primary-{S}"
    assert (request["Subject"], request["Message"]) == (alert.subject, alert.text)
    assert request["MessageAttributes"][KEY_ATTRIBUTE]["StringValue"] == f"{alert.key}.sns"


@pytest.mark.parametrize("error", [DENIED, UNREACHABLE, LOST])
def test_the_other_site_s_topic_gets_it_where_the_first_fails(stack: Stack, alert: Alert, error: Exception) -> None:
    send(stack, sns := Sns(us_east_1=error), alert)
    assert [each["TopicArn"] for each in sns.published] == [
        f"arn:aws:sns:us-west-2:123456789012:db-events-secondary-{S}"
    ]


def test_the_site_that_answers_first_in_the_monitor_s_order_gets_it(stack: Stack, alert: Alert) -> None:
    channel = SnsChannel(stack, sns := Sns())  # type: ignore[arg-type]  # the two calls that it makes
    channel.sites = ["secondary", "primary"]
    channel.send(alert)
    assert sns.published[0]["TopicArn"].endswith(f":db-events-secondary-{S}")


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [(DENIED, UNREACHABLE, AlertRefused), (DENIED, LOST, AlertUnknown), (LOST, DENIED, AlertUnknown)],
)
def test_a_lost_answer_is_unknown_and_every_other_failure_a_refusal(
    stack: Stack, alert: Alert, first: Exception, second: Exception, expected: type[Exception]
) -> None:
    with pytest.raises(expected):
        send(stack, Sns(us_east_1=first, us_west_2=second), alert)


@pytest.mark.parametrize(
    "unclear",
    [INTERNAL, refusal("ServiceUnavailable", 503), refusal("RequestTimeout", 400), KeyError("MessageId")],
    ids=repr,
)
def test_case_c4_an_answer_that_may_hide_a_delivery_is_no_refusal(
    stack: Stack, alert: Alert, unclear: Exception
) -> None:
    sns = Sns(us_east_1=unclear, us_west_2=THROTTLED)
    with pytest.raises(AlertUnknown):
        send(stack, sns, alert)


def test_case_c4_a_refusal_for_lack_of_credentials_is_certain(stack: Stack, alert: Alert) -> None:
    expired = UnauthorizedSSOTokenError()
    with pytest.raises(AlertRefused):
        send(stack, Sns(us_east_1=expired, us_west_2=expired), alert)
