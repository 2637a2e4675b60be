"""Slack channel: an incoming webhook (Mattermost, Teams connectors and others take the same body)."""

from __future__ import annotations

from typing import Any

from dr_assets.alerting.channels.channel import WebhookChannel
from dr_assets.alerting.message import Alert
from dr_assets.secret import Secret


class SlackChannel(WebhookChannel):
    """Every alert. Slack does not deduplicate; the key is in the text."""

    name = "slack"

    def __init__(self, url: str) -> None:
        self.url = Secret(url)

    def body(self, alert: Alert) -> dict[str, Any]:
        """https://api.slack.com/messaging/webhooks: `text` is the notification, `blocks` the message."""
        head, _, rest = alert.text.partition("\n")
        return {
            "text": alert.subject,
            "blocks": [
                {"type": "header", "text": {"type": "plain_text", "text": head[:150]}},
                {"type": "section", "text": {"type": "mrkdwn", "text": rest[:2900]}},
            ],
        }
