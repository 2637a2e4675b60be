"""Slack channel: an incoming webhook (Mattermost, Teams connectors and others take the same body)."""

from __future__ import annotations

import re
from typing import Any

from dr_assets import escape
from dr_assets.alerting.channels.channel import WebhookChannel
from dr_assets.alerting.message import Alert
from dr_assets.secret import Secret

_LINK = re.compile(r"^((?:Do|Link): )(https?://[^\s|]+)$", re.MULTILINE)


class SlackChannel(WebhookChannel):
    """Every alert. Slack does not deduplicate; the key is in the text."""

    name = "slack"

    def __init__(self, url: str) -> None:
        self.url = Secret(url)

    def body(self, alert: Alert) -> dict[str, Any]:
        """https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks: `text` is the notification, `blocks` the message.

        At most 150 characters in a header and 3,000 in a section, which may not be empty (reference of Block Kit). `verbatim`: Slack
        makes no mention of an `@channel` in the text, and no link; the alert's own addresses are given as links.
        """
        head, _, rest = alert.text.partition("\n")
        blocks: list[dict[str, Any]] = [{"type": "header", "text": {"type": "plain_text", "text": head[:150]}}]
        if rest:
            text = _LINK.sub(r"\1<\2>", escape.slack(rest, 2900))
            blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}})
        return {"text": escape.slack(alert.subject, 3000), "blocks": blocks}
