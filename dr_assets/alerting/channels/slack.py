"""Slack channel: an incoming webhook (Mattermost, Teams connectors and others take the same body)."""

from __future__ import annotations

from typing import Any

from dr_assets.alerting.channels.channel import post_json
from dr_assets.alerting.message import Alert


class SlackChannel:
    """Every alert. Webhooks do not deduplicate; the key is in the text."""

    name, deduplicates = "slack", False

    def __init__(self, url: str) -> None:
        self._url = url

    def accepts(self, alert: Alert) -> bool:
        return True

    def send(self, alert: Alert) -> None:
        post_json(self._url, slack_body(alert), self.name)


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
