"""PagerDuty channel: Events API v2, pages for critical incidents and resolves them."""

from __future__ import annotations

from typing import Any

from dr_assets import utc
from dr_assets.alerting.channels.channel import WebhookChannel
from dr_assets.alerting.message import Alert
from dr_assets.secret import Secret

EVENTS_API = "https://events.pagerduty.com/v2/enqueue"


class PagerDutyChannel(WebhookChannel):
    """Critical incidents alone. PagerDuty deduplicates by incident (`dedup_key`)."""

    name, deduplicates = "pagerduty", True

    def __init__(self, routing_key: str, url: str = EVENTS_API) -> None:
        self._routing_key, self.url = Secret(routing_key), Secret(url)

    def accepts(self, alert: Alert) -> bool:
        return alert.incident.severity == "critical"

    def body(self, alert: Alert) -> dict[str, Any]:
        """https://developer.pagerduty.com/docs/events-api-v2: trigger or resolve."""
        incident = alert.incident
        body: dict[str, Any] = {
            "routing_key": self._routing_key.reveal(),
            "event_action": "resolve" if alert.step == "resolved" else "trigger",
            "dedup_key": incident.id,
            "payload": {
                "summary": alert.subject,
                "source": f"dr-assets/{incident.stack}/{incident.site}",
                "severity": incident.severity,
                "timestamp": utc.to_text(utc.from_epoch(incident.since)),
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
            body |= {"client_url": alert.link, "links": [{"href": alert.link, "text": "Open in Dagster"}]}
        return body
