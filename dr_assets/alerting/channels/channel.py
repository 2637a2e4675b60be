"""Notification channel protocol, its errors (refused, unknown), and the HTTP POST shared by webhook channels."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from dr_assets.alerting.message import Alert
from dr_assets.errors import DrError
from dr_assets.stack import SITES, Site

HTTP_SECONDS = 5.0


class AlertRefused(DrError):
    """A channel refused the alert or could not be reached: it was certainly not delivered."""


class AlertUnknown(DrError):
    """The answer was lost: the alert may or may not have been delivered."""


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
    """A channel that takes an alert as one JSON object."""

    url: str

    def body(self, alert: Alert) -> dict[str, Any]: ...

    def send(self, alert: Alert) -> None:
        _post(self.url, self.body(alert), self.name)


def _post(url: str, body: Mapping[str, Any], name: str) -> None:
    """POST `body`. Raises AlertRefused or AlertUnknown; neither names the URL, which holds a secret."""
    try:
        request = urllib.request.Request(  # noqa: S310 (the operator's own URL)
            url, data=json.dumps(body).encode(), headers={"Content-Type": "application/json"}, method="POST"
        )
    except ValueError:
        raise AlertRefused(f"{name} has an invalid URL. Correct it.") from None
    try:
        with urllib.request.urlopen(request, timeout=HTTP_SECONDS) as answer:  # noqa: S310
            answer.read(1024)
    except urllib.error.HTTPError as error:
        raise AlertRefused(f"{name} refused the alert: HTTP {error.code}. Correct its URL or key.") from None
    except urllib.error.URLError as error:
        if isinstance(error.reason, TimeoutError):
            raise AlertUnknown(f"{name} did not answer within {HTTP_SECONDS:g} s.") from None
        raise AlertRefused(f"{name} could not be reached ({type(error.reason).__name__}).") from None
    except (http.client.InvalidURL, UnicodeError):  # before anything is sent; the error's text holds the URL
        raise AlertRefused(f"{name} has an invalid URL. Correct it.") from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise AlertUnknown(f"{name}: the answer was lost ({type(error).__name__}).") from None
