"""Arm automatic failover of one stack until a given time, disarm it, and list what blocks it now.

Automatic failover is off unless armed. Armed, it is refused on stale evidence and while any precondition does not hold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, NamedTuple

from pydantic import StringConstraints

from dr_assets import utc
from dr_assets.caller import CallerIdentity
from dr_assets.core.freshness import Unknown, elapsed
from dr_assets.documents import Document, UtcTime, quoted, storable
from dr_assets.errors import RefusedError
from dr_assets.failover.vote import DEFAULT_VOTE, Recommendation, Vote
from dr_assets.history.documents import Upgradable
from dr_assets.history.reading import Refused, read_one
from dr_assets.history.store import Store

LONGEST = timedelta(days=7)
Text = Annotated[str, StringConstraints(pattern=r"\S")]


class Arming(Upgradable):
    """`armed/STACK.json`: a person allowed automatic failover of one stack; `until` is exclusive.

    caller: the AWS identity of whoever did, beside the name given; None where an earlier version wrote it. Likewise in `Disarming`.
    """

    SCHEMA = "dr-assets/arming/1"

    stack: str
    since: UtcTime
    until: UtcTime
    by: Text
    why: Text
    caller: CallerIdentity | None = None

    def covers(self, stack: str, now: datetime) -> bool:
        return self.stack == stack and self.since <= now < self.until <= self.since + LONGEST


class Disarming(Upgradable):
    """`armed/STACK/TIME-disarmed.json`: the audit trail of an arming ended early. The armings stand beside it."""

    SCHEMA = "dr-assets/disarming/1"

    stack: str
    at: UtcTime
    by: str
    was_armed: bool
    caller: CallerIdentity | None = None


def arm(
    store: Store, stack: str, now: datetime, until: datetime, by: str, why: str, caller: CallerIdentity | None = None
) -> Arming:
    """Allow automatic failover of `stack`. Raises RefusedError without an end within seven days, a person and a reason."""
    if not now < until <= now + LONGEST:
        raise RefusedError("Automatic failover is armed for seven days at most. Give an end within them.")
    if not by.strip() or not why.strip():
        raise RefusedError("Arming automatic failover needs a person and a reason. Give both.")
    arming = Arming(stack=stack, since=now, until=until, by=storable(by), why=storable(why), caller=caller)
    _audit(store, stack, now, "armed", arming)
    store.write(f"armed/{stack}.json", arming.to_bytes())
    return arming


def disarm(store: Store, stack: str, now: datetime, by: str, caller: CallerIdentity | None = None) -> bool:
    """End the arming early. Answers whether one was in force."""
    was = armed(store, stack, now) is not None
    store.delete(f"armed/{stack}.json")
    _audit(store, stack, now, "disarmed", Disarming(stack=stack, at=now, by=storable(by), was_armed=was, caller=caller))
    return was


def _audit(store: Store, stack: str, now: datetime, what: str, document: Document) -> None:
    store.write(f"armed/{stack}/{now:%Y%m%dT%H%M%S%f}-{what}.json", document.to_bytes())


class Unarmed(NamedTuple):
    """No arming is in force, and why. `damaged`: what was found is no valid arming, so that somebody may believe to be covered."""

    reason: str
    damaged: bool = False


def read_arming(store: Store, stack: str, now: datetime) -> Arming | Unarmed:
    """The arming in force, or why there is none. Raises DrError while the store does not answer."""
    key = f"armed/{stack}.json"
    arming = read_one(store, key, Arming.from_bytes)
    if arming is None:
        return Unarmed("no one has armed it")
    if isinstance(arming, Refused):
        return Unarmed(f"{arming} Arm it again (`dr alert arm`).", damaged=True)
    if arming.stack != stack:
        return Unarmed(f"{key} is an arming of another stack ({quoted(arming.stack)})", damaged=True)
    if not arming.since < arming.until <= arming.since + LONGEST:
        return Unarmed(
            f"{key} is from {utc.to_text(arming.since)} until {utc.to_text(arming.until)}: seven days are the most",
            damaged=True,
        )
    if arming.since > now:
        return Unarmed(f"{key} begins in the future, at {utc.to_text(arming.since)}: check the clocks", damaged=True)
    if now >= arming.until:
        return Unarmed(f"the arming by {arming.by} ended at {utc.to_text(arming.until)}")
    return arming


def armed(store: Store, stack: str, now: datetime) -> Arming | None:
    """The arming in force, if any; `read_arming` says why there is none. Raises DrError while the store does not answer."""
    found = read_arming(store, stack, now)
    return found if isinstance(found, Arming) else None


class Precondition(NamedTuple):
    """A precondition of the failover as evaluated; `passed` None: unknown."""

    name: str
    passed: bool | None
    reason: str | None = None


def refusals(
    recommendation: Recommendation,
    arming: Arming | None,
    preconditions: Sequence[Precondition],
    now: datetime,
    vote: Vote = DEFAULT_VOTE,
) -> list[str]:
    """Every reason not to fail over automatically; empty: it may. No `preconditions` at all is a reason, too."""
    found = []
    if arming is None:
        found.append("automatic failover is not armed for this stack")
    elif not arming.covers(recommendation.stack, now):
        found.append(f"the arming by {arming.by} is for another stack or has expired")
    if recommendation.advice != "failover":
        found.append(f"the recommendation is {recommendation.advice}: {'; '.join(recommendation.reasons)}")
    age = elapsed(recommendation.at, now)
    if isinstance(age, Unknown):
        found.append(f"the time of the recommendation is {age}")
        age = math.inf
    # What was fresh when the recommendation was made has aged since. Sources that were stale then did not vote.
    stale = [
        each.source
        for each in recommendation.evidence
        if each.verdict == "down" and (each.age_seconds is None or each.age_seconds + age > vote.fresh_seconds)
    ]
    if stale:
        found.append(f"the evidence of {', '.join(stale)} is older than {vote.fresh_seconds:g} s by now")
    if not preconditions:
        found.append("no precondition was evaluated")
    found += [
        f"precondition {each.name} {'is unknown' if each.passed is None else 'fails'}: {each.reason or ''}"
        for each in preconditions
        if each.passed is not True
    ]
    return found
