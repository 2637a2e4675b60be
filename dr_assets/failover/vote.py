"""Should the writer move? Evidence from independent sources, combined by a declared rule into a recommendation. Pure.

May import `errors`, `history.store` (for the arming) and telemetry's nouns. It recommends; acting is another matter: off by
default, armed for one stack until a given time, refused on stale evidence and while any precondition does not hold.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from dr_assets import utc
from dr_assets.errors import RefusedError
from dr_assets.history.store import Store
from dr_assets.monitoring.samples import CONNECTIVITY, Sample, newest
from dr_assets.stack import Site, Stack

Verdict = Literal["down", "up", "unknown"]
Advice = Literal["failover", "hold", "unknown"]

# Where each source's knowledge comes from. The alarm reads the probe's metric and the health check reads the alarm's data,
# so these three agree even when the probe alone is wrong: they are one origin.
ORIGIN: Mapping[str, str] = {
    "probe": "probe",
    "alarm": "probe",
    "health-check": "probe",
    "topology": "control plane",
    "sql": "database",
}
LONGEST_ARMED = timedelta(days=7)
LAUNCH = 'dr drill failover --incident --why "..."'
# Dagster's own way to a job's launchpad, whatever its code location is called.
JOB_PAGE = "/guess/failover_drill/playground"


@dataclass(frozen=True)
class Vote:
    """`n` of the `m` sources say down, from at least `origins` independent origins, none older than `fresh_seconds`; and none
    of the `veto` sources, which write to the database themselves, says up.

    More than two are not demanded: when the region that is dark is us-east-1, CloudWatch's view of the writer and Route 53's
    health-check status are dark with it, and only the silent control plane and the database's own refusal are left.
    """

    n: int = 2
    origins: int = 2
    fresh_seconds: float = 60.0
    sources: tuple[str, ...] = ("probe", "health-check", "alarm", "topology", "sql")
    veto: tuple[str, ...] = ("sql", "probe")
    origin: Mapping[str, str] = field(default_factory=lambda: ORIGIN)

    @property
    def m(self) -> int:
        return len(self.sources)


DEFAULT_VOTE = Vote()
# Where one process both asks the database and publishes the probe's metric, a fault of its own network looks like four
# sources: they count as one origin, and only the control plane can second them.
OWN_PROBE_VOTE = Vote(origin={**ORIGIN, "sql": "probe"})


@dataclass(frozen=True)
class Evidence:
    """One source's verdict on the writer, and its age in seconds (None: it never said anything)."""

    source: str
    verdict: Verdict
    age_seconds: float | None
    text: str


@dataclass(frozen=True)
class Recommendation:
    """What the evidence says. `reasons`: why, or why not."""

    stack: str
    at: datetime
    advice: Advice
    writer: Site
    target: Site
    evidence: tuple[Evidence, ...]
    reasons: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "stack": self.stack,
            "at": utc.to_text(self.at),
            "advice": self.advice,
            "from_site": self.writer,
            "to_site": self.target,
            "reasons": list(self.reasons),
            "evidence": [vars(each) for each in self.evidence],
            "launch": LAUNCH,
        }

    def lines(self, link: str = "") -> list[str]:
        """For a person, as evidence in an alert: the advice, each source's word, and how to launch it. `link`: Dagster's."""
        said = [
            f"{each.source} says {each.verdict}"
            + ("" if each.age_seconds is None else f", {each.age_seconds:.0f} s old")
            + f" ({each.text})"
            for each in self.evidence
        ]
        launch = [f"launch: {LAUNCH}" + (f", or {link.rstrip('/')}{JOB_PAGE}" if link else "")]
        return [
            f"recommendation: {self.advice}: {'; '.join(self.reasons)}",
            *said,
            *(launch if self.advice == "failover" else []),
        ]


def recommend(
    stack: Stack, samples: Iterable[Sample], now: datetime, writer: Site = "primary", vote: Vote = DEFAULT_VOTE
) -> Recommendation:
    """Combine what the sources said last. `writer` is the site that held the role when it was last known."""
    mine = [sample for sample in samples if sample.stack == stack.environment_suffix]
    latest = newest(mine)
    target: Site = "secondary" if writer == "primary" else "primary"
    evidence = tuple(_evidence(source, latest, stack, writer, now, vote) for source in vote.sources)
    down = [each for each in evidence if each.verdict == "down"]
    up = [each for each in evidence if each.verdict == "up"]
    origins = {vote.origin[each.source] for each in down}
    count = f"{len(down)} of {vote.m} sources say the writer at {writer} is down ({', '.join(e.source for e in down) or 'none'})"
    reasons = [count]
    direct = [each for each in up if each.source in vote.veto]
    advice: Advice
    if direct:
        advice = "hold"
        who = " and ".join(each.source for each in direct)
        reasons.append(f"{who} wrote to the database: whatever else is wrong, it is not the writer")
    elif len(down) >= vote.n and len(origins) >= vote.origins:
        advice = "failover"
    elif len(down) >= vote.n:
        advice = "hold"
        reasons.append(
            f"they all depend on {', '.join(sorted(origins))}; {vote.origins} independent origins are demanded"
        )
    elif len(up) + len(down) < vote.n:
        advice = "unknown"
        reasons.append(f"only {len(up) + len(down)} sources say anything; {vote.n} are demanded")
    else:
        advice = "hold"
    return Recommendation(stack.environment_suffix, now, advice, writer, target, evidence, tuple(reasons))


def _evidence(
    source: str, latest: Mapping[str, Sample], stack: Stack, writer: Site, now: datetime, vote: Vote
) -> Evidence:
    s = stack.environment_suffix
    subject = {
        "probe": f"{s}/{writer}/metric/{CONNECTIVITY}",
        "alarm": f"{s}/{writer}/alarm/{CONNECTIVITY}",
        "health-check": f"{s}/{writer}/health-check/health-check",
        "sql": f"{s}/{writer}/sql/{CONNECTIVITY}",
        "topology": f"{s}/{writer}/region/answers",
    }[source]
    sample = latest.get(subject)
    if sample is None:
        return Evidence(source, "unknown", None, "said nothing")
    age = max(0.0, (now - sample.at).total_seconds())
    if sample.value is None:
        return Evidence(source, "unknown", age, sample.note or "has no value")
    if age > vote.fresh_seconds:
        return Evidence(source, "unknown", age, f"said {sample.value:g} {age:.0f} s ago: stale")
    verdict: Verdict = "up" if sample.value >= 1.0 else "down"
    return Evidence(source, verdict, age, sample.note or f"value {sample.value:g}")


# --- acting on it: off unless armed ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Arming:
    """Somebody allowed automatic failover of one stack until a given time (UTC)."""

    stack: str
    since: datetime
    until: datetime
    by: str
    why: str


def arm(store: Store, stack: str, now: datetime, until: datetime, by: str, why: str) -> Arming:
    """Allow automatic failover of `stack`. Raises RefusedError without an end within seven days, a person and a reason."""
    if not now < until <= now + LONGEST_ARMED:
        raise RefusedError("Automatic failover is armed for seven days at most. Give an end within them.")
    if not by.strip() or not why.strip():
        raise RefusedError("Arming automatic failover needs a person and a reason. Give both.")
    document = {"stack": stack, "since": utc.to_text(now), "until": utc.to_text(until), "by": by, "why": why}
    _trace(store, stack, now, "armed", document)
    store.write(f"armed/{stack}.json", json.dumps(document, indent=1).encode())
    return Arming(stack, now, until, by, why)


def disarm(store: Store, stack: str, now: datetime, by: str) -> bool:
    """End the arming before its time. Answers whether there was one in force."""
    was = armed(store, stack, now) is not None
    store.delete(f"armed/{stack}.json")
    _trace(store, stack, now, "disarmed", {"stack": stack, "at": utc.to_text(now), "by": by, "was_armed": was})
    return was


def _trace(store: Store, stack: str, now: datetime, what: str, document: Mapping[str, Any]) -> None:
    """Who allowed it and who ended it stays on record, also once it is over."""
    name = f"armed/{stack}/{now:%Y%m%dT%H%M%S%f}-{what}.json"
    store.write(name, json.dumps(document, indent=1).encode())


def armed(store: Store, stack: str, now: datetime) -> Arming | None:
    """The arming in force, or None: absent, expired or unreadable is not armed. Raises DrError while the store refuses."""
    try:
        data = json.loads(store.read(f"armed/{stack}.json"))
        arming = Arming(data["stack"], utc.parse(data["since"]), utc.parse(data["until"]), data["by"], data["why"])
    except (KeyError, ValueError, TypeError):
        return None
    return arming if arming.stack == stack and arming.since <= now < arming.until else None


def refusals(
    recommendation: Recommendation,
    arming: Arming | None,
    preconditions: Sequence[Mapping[str, Any]],
    now: datetime,
    vote: Vote = DEFAULT_VOTE,
) -> list[str]:
    """Every reason not to act by itself; empty: it may.

    Args:
        preconditions: as in a record: name, passed (True, False, None: unknown), reason. None given counts as a refusal.
    """
    found = []
    if arming is None:
        found.append("automatic failover is not armed for this stack")
    elif arming.stack != recommendation.stack or not arming.since <= now < arming.until:
        found.append(f"the arming by {arming.by} is for another stack or has expired")
    if recommendation.advice != "failover":
        found.append(f"the recommendation is {recommendation.advice}: {'; '.join(recommendation.reasons)}")
    age = (now - recommendation.at).total_seconds()
    if age < -vote.fresh_seconds:
        found.append("the recommendation is from the future: correct the clock")
    # What was fresh when the recommendation was made has aged since. Sources that were stale then did not vote.
    stale = [
        each.source
        for each in recommendation.evidence
        if each.verdict == "down" and (each.age_seconds or 0.0) + age > vote.fresh_seconds
    ]
    if stale:
        found.append(f"the evidence of {', '.join(stale)} is older than {vote.fresh_seconds:g} s by now")
    if not preconditions:
        found.append("no precondition was evaluated")
    found += [
        f"precondition {item['name']} {'is unknown' if item['passed'] is None else 'fails'}: {item.get('reason') or ''}"
        for item in preconditions
        if item["passed"] is not True
    ]
    return found
