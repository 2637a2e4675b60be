"""Notification channel protocol, its errors (refused, unknown), and what webhook channels share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from dr_assets.alerting.channels.https import AlertRefused, AlertUnknown, post
from dr_assets.alerting.message import Alert
from dr_assets.secret import Secret
from dr_assets.stack import SITES, Site

__all__ = ["HTTP_SECONDS", "AlertRefused", "AlertUnknown", "Channel", "WebhookChannel"]

HTTP_SECONDS = 5.0


class Channel(Protocol):
    """A notification channel.

    deduplicates  sending the same key twice notifies once
    sites         those that answer first, for a channel that depends on a region; the monitor keeps the order
    """

    name: str
    deduplicates: bool = False
    sites: Sequence[Site] = SITES

    def accepts(self, alert: Alert) -> bool:
        """Whether this channel delivers such an alert at all."""
        return True

    def send(self, alert: Alert) -> None:
        """Deliver it. Raises AlertRefused (certainly not delivered) or AlertUnknown."""


class WebhookChannel(Channel, Protocol):
    """A channel that takes an alert as one JSON object. `url` holds a secret."""

    url: Secret

    def body(self, alert: Alert) -> dict[str, Any]: ...

    def send(self, alert: Alert) -> None:
        failure = post(self.url, self.body(alert), self.name, HTTP_SECONDS)
        if failure:
            raise failure
