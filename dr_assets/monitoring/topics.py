"""Alert topics (not SNS topics): owning sensor, team to notify, runbook anchor. Pure data."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

WRITER, REPLICATION, CAPACITY, SOURCES = "writer", "replication", "capacity", "sources"
TWO_WRITERS, WRITER_OUTSIDE, UNPROTECTED, KEYS = "two-writers", "writer-outside", "unprotected", "keys"
EVENTS, DRIFT, RUNS, DRILLS = "events", "drift", "runs", "drills"
ON_CALL, DATABASE, PLATFORM = "on-call", "database", "platform"
# Characters of a topic: an incident's id is a file's name in the history, with up to 50 more.
TOPIC_LENGTH = 100


@dataclass(frozen=True)
class Topic:
    """What one incident is about. A topic may be divided further, as in `runs.verify_stack`.

    sensor  the one sensor that opens and resolves its incidents
    team    the owning team, notified first
    anchor  heading of docs/runbooks.md, as GitHub links to it
    text    what an incident of this topic means
    """

    name: str
    sensor: str
    team: str
    anchor: str
    text: str


TOPICS: dict[str, Topic] = {
    topic.name: topic
    for topic in (
        Topic(WRITER, "health_checks", ON_CALL, "the-writer-is-down", "The writer does not accept writes"),
        Topic(REPLICATION, "replication_lag", ON_CALL, "replication-is-behind", "A failover now would lose commits"),
        Topic(
            TWO_WRITERS,
            "health_checks",
            ON_CALL,
            "both-sites-accept-writes",
            "Both sites accept writes: their data diverge",
        ),
        Topic(
            WRITER_OUTSIDE,
            "health_checks",
            ON_CALL,
            "the-writer-is-outside-both-sites",
            "The writer is in a region that the stack does not know: never fail over, move it back",
        ),
        Topic(
            UNPROTECTED,
            "health_checks",
            ON_CALL,
            "the-reader-is-lost",
            "A site has left the global cluster, or its database does not run: an outage would lose everything since",
        ),
        Topic(CAPACITY, "replication_lag", DATABASE, "capacity", "The writer is close to its limits"),
        Topic(SOURCES, "health_checks", PLATFORM, "a-source-is-silent", "A source has stopped answering"),
        Topic(KEYS, "health_checks", ON_CALL, "a-key-cannot-be-used", "A key is disabled or scheduled for deletion"),
        Topic(EVENTS, "event_queue", ON_CALL, "events", "RDS or an event queue reports a failure"),
        Topic(DRIFT, "drift", PLATFORM, "drift", "A resource differs from the stack file"),
        Topic(RUNS, "run_failure", PLATFORM, "a-run-failed", "A run failed and has not succeeded since"),
        Topic(DRILLS, "drill_overdue", ON_CALL, "a-drill-is-overdue", "The proof of a drill is out of date"),
    )
}


def divided(family: str, *about: str) -> str:
    """The topic for one part of a family, as in `runs.verify_stack`; another one for each other `about`, whatever its
    characters and its length."""
    topic = ".".join((family, *map(_part, about)))
    return topic if len(topic) <= TOPIC_LENGTH else f"{topic[: TOPIC_LENGTH - 9]}_{_digest(topic)}"


def within(topic: str, family: str) -> bool:
    """Whether a topic is the family or a part of it."""
    return topic == family or topic.startswith(f"{family}.")


def _part(text: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9_-]+", "_", text)
    return text if text and plain == text else f"{plain}_{_digest(text)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def runbook(anchor: str) -> str:
    """The link that an alert shows: `docs/runbooks.md#ANCHOR`."""
    return f"docs/runbooks.md#{anchor}"


def topic_of(name: str) -> Topic | None:
    """The declared topic of `name`, which may be divided further; None for a test alert."""
    return TOPICS.get(name.split(".", maxsplit=1)[0])


def owner_of(name: str) -> str:
    """The sensor that owns a topic; empty for a test alert."""
    topic = topic_of(name)
    return topic.sensor if topic else ""


def team_of(name: str) -> str:
    """The owning team."""
    topic = topic_of(name)
    return topic.team if topic else ON_CALL
