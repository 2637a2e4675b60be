"""Which subscriptions notify somebody: items as ListSubscriptionsByTopic answers them (SNS API, Subscription)."""

from __future__ import annotations

from typing import Any

import pytest

from dr_assets.resources.notifications.recipients import recipients
from dr_assets.stack import Stack

TOPIC = "arn:aws:sns:us-east-1:123456789012:db-events-primary-l6p3z2w4"


def item(protocol: str, endpoint: str, arn: str = f"{TOPIC}:8a21d249-4329-4871-acc6-7be709c6ea7f") -> dict[str, Any]:
    return {
        "SubscriptionArn": arn,
        "Owner": "123456789012",
        "Protocol": protocol,
        "Endpoint": endpoint,
        "TopicArn": TOPIC,
    }


@pytest.mark.parametrize("site", ["primary", "secondary"])
def test_case_f7_the_stacks_own_queue_notifies_no_one(stack: Stack, site: str) -> None:
    assert recipients(stack, [item("sqs", f"arn:aws:sqs:us-east-1:123456789012:db-events-{site}-l6p3z2w4")]) == []


def test_an_unconfirmed_email_notifies_no_one(stack: Stack) -> None:
    assert recipients(stack, [item("email", "dba@example.com", "PendingConfirmation")]) == []


@pytest.mark.parametrize(
    ("protocol", "endpoint"),
    [
        ("email", "dba@example.com"),
        ("https", "https://events.example.com/x"),
        ("sqs", "arn:aws:sqs:us-east-1:123456789012:on-call"),
        ("sqs", "arn:aws:sqs:us-east-1:123456789012:db-events-primary-other1"),  # another stack's
    ],
)
def test_everyone_elses_subscription_does(stack: Stack, protocol: str, endpoint: str) -> None:
    assert recipients(stack, [item(protocol, endpoint)]) == [endpoint]
