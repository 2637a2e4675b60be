"""RDS events of global clusters: answered by DescribeEvents, and sent to the topics of the event subscriptions.

Identifiers and categories are AWS's (Aurora user guide, "Amazon RDS event categories and
event messages"); messages are shortened.
"""

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, Literal

from moto.core.utils import utcnow
from moto.rds.exceptions import InvalidParameterCombination

from dr_assets.emulator.permissions import may_publish

MESSAGES = {
    "RDS-EVENT-0181": "Global switchover to DB cluster {cluster} in Region {region} started.",
    "RDS-EVENT-0182": "Old primary DB cluster {cluster} in Region {region} successfully shut down.",
    "RDS-EVENT-0184": "New primary DB cluster {cluster} in Region {region} was successfully promoted.",
    "RDS-EVENT-0185": "Global switchover to DB cluster {cluster} in Region {region} finished.",
    "RDS-EVENT-0187": "Global switchover to DB cluster {cluster} in Region {region} failed.",
    "RDS-EVENT-0238": "Global failover to DB cluster {cluster} in Region {region} completed.",
    "RDS-EVENT-0239": "Global failover to DB cluster {cluster} in Region {region} failed.",
    "RDS-EVENT-0240": "Started resynchronizing members of DB cluster {cluster} in Region {region} post global failover.",
    "RDS-EVENT-0241": "Finished resynchronizing members of DB cluster {cluster} in Region {region} post global failover.",
    "RDS-EVENT-0397": "Aurora finished changing the DNS entry for the global writer endpoint to DB cluster {cluster}.",
}
CATEGORY = "global-failover"
Trouble = Literal["none", "missing", "disordered"]


@dataclass
class ClusterEvent:
    """One event, with the attributes that moto's DescribeEvents answers."""

    id: str
    source_identifier: str
    source_arn: str
    message: str
    source_type: str = "db-cluster"
    event_categories: list[str] = field(default_factory=lambda: [CATEGORY])
    date: datetime = field(default_factory=utcnow)


class EventPublisher:
    """Publishes events of global clusters. `trouble`: none are published, or those of one change in reverse order."""

    def __init__(self) -> None:
        self.trouble: Trouble = "none"
        self._held: list[tuple[Any, ClusterEvent]] = []

    def publish(self, cluster: Any, *identifiers: str) -> None:
        """Publish events by identifier, in the cluster's region."""
        for identifier in identifiers:
            text = MESSAGES[identifier].format(cluster=cluster.db_cluster_identifier, region=cluster.region)
            event = ClusterEvent(identifier, cluster.db_cluster_identifier, str(cluster.arn), text)
            if self.trouble == "disordered":
                self._held.append((cluster, event))
            elif self.trouble == "none":
                self._send(cluster, event)

    def release(self) -> None:
        """Publish what was held back during a change, in reverse order."""
        held, self._held = self._held, []
        for cluster, event in reversed(held):
            self._send(cluster, event)

    def _send(self, cluster: Any, event: ClusterEvent) -> None:
        from moto.sns.models import sns_backends

        backend = cluster.backend
        backend.events.append(event)
        for subscription in backend.event_subscriptions.values():
            if not subscription.enabled or subscription.source_type not in (None, "db-cluster"):
                continue
            if subscription.source_ids and event.source_identifier not in subscription.source_ids:
                continue
            if subscription.event_categories and CATEGORY not in subscription.event_categories:
                continue
            topics = sns_backends[cluster.account_id][cluster.region]
            # Without permission the message is lost (RDS user guide, "Granting permissions to publish notifications").
            if subscription.sns_topic_arn in topics.topics and not may_publish(
                "events.rds.amazonaws.com", subscription.sns_topic_arn, event.source_arn
            ):
                topics.publish(
                    message=notification(event, cluster.region),
                    arn=subscription.sns_topic_arn,
                    subject="RDS Notification Message",
                )


def notification(event: ClusterEvent, region: str) -> str:
    """The message (JSON) that RDS publishes to a topic."""
    console = f"https://console.aws.amazon.com/rds/home?region={region}#dbclusters:id={event.source_identifier}"
    return json.dumps(
        {
            "Event Source": event.source_type,
            "Event Time": event.date.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3],
            "Identifier Link": console,
            "Source ID": event.source_identifier,
            "Source ARN": event.source_arn,
            "Event ID": f"http://docs.amazonwebservices.com/AmazonRDS/latest/UserGuide/USER_Events.html#{event.id}",
            "Event Message": event.message,
        }
    )


event_publisher = EventPublisher()


def select_events(events: list[Any], params: dict[str, Any]) -> list[Any]:
    """DescribeEvents' filters. moto: filters by source identifier and type alone, and answers every event since the start."""
    if params.get("source_identifier") and not params.get("source_type"):
        raise InvalidParameterCombination("Cannot specify source identifier without source type")
    end = _moment(params.get("end_time")) or _moment(utcnow())
    begin = _moment(params.get("start_time"))
    if begin is None and end is not None:
        begin = end - timedelta(minutes=int(params.get("duration") or 60))
    wanted = set(params.get("event_categories") or [])
    found = []
    for event in events:
        at = _moment(event.date)
        if at is None or begin is None or end is None or not begin <= at <= end:
            continue
        if params.get("source_identifier") not in (None, event.source_identifier):
            continue
        if params.get("source_type") not in (None, event.source_type):
            continue
        if wanted and not wanted & set(event.event_categories):
            continue
        found.append(event)
    return found


def _moment(value: Any) -> datetime | None:
    if value is None:
        return None
    found = value if isinstance(value, datetime) else datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)
