"""Table of alert conditions: which RDS event ID opens or clears each, and the failures of the event queues. Pure data."""

from __future__ import annotations

from dataclasses import dataclass

from dr_assets.monitoring.rule import Severity
from dr_assets.monitoring.topics import SOURCES, UNPROTECTED, WRITER


@dataclass(frozen=True)
class EventCondition:
    """Something wrong that lasts from one event to another. It is the topic `events.NAME`, at one site.

    begins/ends  RDS event identifiers
    hold         seconds before it is alerted
    resource     its resource, without the site
    covered_by   topics that explain it
    longest      seconds after which it is taken to be over, when no event ended it
    """

    name: str
    text: str
    begins: tuple[str, ...] = ()
    ends: tuple[str, ...] = ()
    severity: Severity = "warning"
    hold: float = 30.0
    resource: str = "aurora/cluster"
    covered_by: tuple[str, ...] = ()
    longest: float = 24 * 3600.0


# The condition of AWS's own reports; each is followed by the event's id, `aws-health:EVENT`, so that one ends without the others.
AWS_HEALTH = "aws-health"

# Identifiers as the Aurora user guide lists them (USER_Events.Messages). All others are news, nothing is wrong: 0181-0184 and
# 0390-0397 report the steps of a switchover.
CONDITIONS: dict[str, EventCondition] = {
    condition.name: condition
    for condition in (
        EventCondition(
            name="failover-failed",
            text="A failover within the cluster failed",
            begins=("RDS-EVENT-0069",),
            ends=("RDS-EVENT-0071",),
            severity="critical",
            hold=0.0,
        ),
        EventCondition(
            name="global-switchover-failed",
            text="A global switchover failed",
            begins=("RDS-EVENT-0187",),
            ends=("RDS-EVENT-0185",),
            severity="critical",
            hold=0.0,
        ),
        EventCondition(
            name="global-failover-failed",
            text="A global failover failed",
            begins=("RDS-EVENT-0239",),
            ends=("RDS-EVENT-0238",),
            severity="critical",
            hold=0.0,
        ),
        EventCondition(
            name="resynchronizing",
            text="The old primary is being rebuilt after a failover: the stack is unprotected",
            begins=("RDS-EVENT-0240",),
            ends=("RDS-EVENT-0241",),
            covered_by=(WRITER, UNPROTECTED),
        ),
        EventCondition(
            name=AWS_HEALTH,
            text="AWS reports an open issue with RDS in the site's region",
            hold=0.0,
            covered_by=(WRITER,),
            longest=7 * 24 * 3600.0,
        ),
        EventCondition(
            name="poison",
            text="The event queue holds a damaged message",
            resource="notifications/dead-letter-queue",
            longest=600.0,  # after three receives, about three minutes, it is in the dead-letter queue
        ),
        EventCondition(name="unread", text="The event queue refuses to be read", resource="notifications/queue"),
        EventCondition(
            name="unanswered",
            text="The event queue does not answer",
            hold=240.0,  # a dark region is alerted before that, and explains it
            resource="notifications/queue",
            covered_by=(WRITER, SOURCES),
        ),
    )
}


def condition_of(name: str) -> EventCondition:
    """The condition of an event state's name; one that the table no longer has keeps its name."""
    return CONDITIONS.get(name.partition(":")[0], EventCondition(name=name, text=name))


def meaning(event: str) -> list[tuple[str, bool]]:
    """The conditions that an RDS event begins (True) or ends (False); none for mere news."""
    begun = [(each.name, True) for each in CONDITIONS.values() if event in each.begins]
    return begun + [(each.name, False) for each in CONDITIONS.values() if event in each.ends]
