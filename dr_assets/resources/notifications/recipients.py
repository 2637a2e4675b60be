"""Who receives what a topic publishes: confirmed subscriptions, without the stack's own event queues."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from dr_assets.resources import names
from dr_assets.stack import SITES, Stack


def recipients(stack: Stack, subscriptions: Iterable[Mapping[str, Any]]) -> list[str]:
    """The endpoints of a topic's subscriptions (ListSubscriptionsByTopic) through which an alert leaves the stack.

    A subscription that waits for its confirmation has no ARN (`PendingConfirmation`; SNS API, Subscription). The stack's event
    queues are read by its own sensors alone: when these have stopped, no one is notified through them.
    """
    own = {names.queue(stack, site) for site in SITES} | {names.dead_letter_queue(stack, site) for site in SITES}
    return [
        str(item["Endpoint"])
        for item in subscriptions
        if str(item["SubscriptionArn"]).startswith("arn:")
        and not (item["Protocol"] == "sqs" and str(item["Endpoint"]).rpartition(":")[2] in own)
    ]
