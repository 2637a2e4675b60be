"""Recommend a failover or not: independent sources vote on whether the writer is down. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from dr_assets.core.freshness import Unknown
from dr_assets.errors import RefusedError
from dr_assets.monitoring.samples import CONNECTIVITY, Sample, newest
from dr_assets.stack import Site, Stack

Verdict = Literal["down", "up", "unknown"]
Advice = Literal["failover", "hold", "unknown"]

# What each source depends on. The alarm reads the probe's metric and the health check reads the alarm's data,
# so these three agree even when the probe alone is wrong: they are one origin.
ORIGIN: Mapping[str, str] = {
    "probe": "probe",
    "alarm": "probe",
    "health-check": "probe",
    "topology": "control plane",
    "sql": "database",
}
# A role that was read longer ago is named with its age: while no region answers, none is newer.
ROLE_SECONDS = 60.0
LONGEST_FRESH_SECONDS = 300.0
LAUNCH = 'dr drill failover --incident --why "..."'
# Dagster's redirect to a job's launchpad, whatever its code location is called.
JOB_PAGE = "/guess/failover_drill/playground"


@dataclass(frozen=True)
class Vote:
    """Fail over when `n` of the `sources` report down, from at least `origins` independent origins, none older than
    `fresh_seconds`, and none of the `veto` sources, which write to the database themselves, reports up.

    More than two are not required: when the region that is dark is us-east-1, CloudWatch's view of the writer and Route 53's
    health-check status are dark with it, and only the silent control plane and the database's own refusal are left.
    """

    n: int = 2
    origins: int = 2
    fresh_seconds: float = 60.0
    sources: tuple[str, ...] = ("probe", "health-check", "alarm", "topology", "sql")
    veto: tuple[str, ...] = ("sql", "probe")
    origin: Mapping[str, str] = field(default_factory=lambda: ORIGIN)

    def __post_init__(self) -> None:
        """Raises RefusedError for numbers by which nothing, or what is long past, would recommend a failover."""
        if not 1 <= self.n <= len(self.sources) or not 1 <= self.origins <= self.n:
            raise RefusedError(
                f"A vote of {self.n} sources and {self.origins} origins decides nothing: it takes 1 to {len(self.sources)} sources, and at "
                "least one origin of theirs."
            )
        if not 1.0 <= self.fresh_seconds <= LONGEST_FRESH_SECONDS:
            raise RefusedError(
                f"fresh_seconds is {self.fresh_seconds:g}; it must lie between 1 and {LONGEST_FRESH_SECONDS:g}."
            )


DEFAULT_VOTE = Vote()
# Where one process both queries the database and publishes the probe's metric, a fault of its own network looks like four
# sources: they count as one origin, and only the control plane can confirm them.
OWN_PROBE_VOTE = Vote(origin={**ORIGIN, "sql": "probe"})


@dataclass(frozen=True)
class SourceEvidence:
    """One source's verdict on the writer, and its age in seconds (None: unknown)."""

    source: str
    verdict: Verdict
    age_seconds: float | None
    text: str


@dataclass(frozen=True)
class Recommendation:
    """Whether to fail over from site `writer` to `target`, with the evidence. `reasons`: why, or why not."""

    stack: str
    at: datetime
    advice: Advice
    writer: Site
    target: Site
    evidence: tuple[SourceEvidence, ...]
    reasons: tuple[str, ...]

    def held(self, reason: str) -> Recommendation:
        """No failover, whatever the sources report, for this reason."""
        return replace(self, advice="hold", reasons=(reason,), evidence=())

    def with_role_read(self, age: float | Unknown) -> Recommendation:
        """Qualified by the age in seconds of the reading that named the writer's site: where it was never read, `failover` becomes
        `unknown`, because nothing says which site to leave."""
        if isinstance(age, Unknown):
            advice: Advice = "unknown" if self.advice == "failover" else self.advice
            reason = f"which site has the writer is not known ({age.reason}); taken to be {self.writer}"
            return replace(self, advice=advice, reasons=(*self.reasons, reason))
        if age <= ROLE_SECONDS:
            return self
        reason = f"{self.writer} was last read to have the writer {age:.0f} s ago"
        return replace(self, reasons=(*self.reasons, reason))

    def lines(self, link: str = "") -> list[str]:
        """For an alert: the advice, each source's verdict, and how to launch the failover. `link`: Dagster's URL."""
        verdicts = [
            f"{each.source} reports {each.verdict}"
            + ("" if each.age_seconds is None else f", {each.age_seconds:.0f} s old")
            + f" ({each.text})"
            for each in self.evidence
        ]
        launch = [f"launch: {LAUNCH}" + (f", or {link.rstrip('/')}{JOB_PAGE}" if link else "")]
        return [
            f"recommendation: {self.advice}: {'; '.join(self.reasons)}",
            *verdicts,
            *(launch if self.advice == "failover" else []),
        ]


def recommend(
    stack: Stack, samples: Iterable[Sample], now: datetime, writer: Site = "primary", vote: Vote = DEFAULT_VOTE
) -> Recommendation:
    """Let the latest sample of each source vote. `writer`: the site that held the role when it was last known."""
    own = [sample for sample in samples if sample.stack == stack.environment_suffix]
    latest = newest(own, now)
    target: Site = "secondary" if writer == "primary" else "primary"
    evidence = tuple(_evidence(source, latest, stack, writer, now, vote) for source in vote.sources)
    down = [each for each in evidence if each.verdict == "down"]
    up = [each for each in evidence if each.verdict == "up"]
    origins = {vote.origin[each.source] for each in down}
    count = f"{len(down)} of {len(vote.sources)} sources report the writer at {writer} down ({', '.join(e.source for e in down) or 'none'})"
    reasons = [count]
    direct = [each for each in up if each.source in vote.veto]
    advice: Advice
    if direct:
        advice = "hold"
        writing = " and ".join(each.source for each in direct)
        reasons.append(f"{writing} wrote to the database: whatever else has failed, the writer is up")
    elif len(down) >= vote.n and len(origins) >= vote.origins:
        advice = "failover"
    elif len(down) >= vote.n:
        advice = "hold"
        reasons.append(
            f"they all depend on {', '.join(sorted(origins))}; {vote.origins} independent origins are required"
        )
    elif len(up) + len(down) < vote.n:
        advice = "unknown"
        reasons.append(f"only {len(up) + len(down)} sources report anything; {vote.n} are required")
    else:
        advice = "hold"
    return Recommendation(stack.environment_suffix, now, advice, writer, target, evidence, tuple(reasons))


def _evidence(
    source: str, latest: Mapping[str, Sample], stack: Stack, writer: Site, now: datetime, vote: Vote
) -> SourceEvidence:
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
        return SourceEvidence(source, "unknown", None, "no sample")
    found = sample.assess(now, vote.fresh_seconds)
    if isinstance(found, Unknown):
        return SourceEvidence(source, "unknown", None, found.reason)
    verdict: Verdict = "up" if found.value == 1.0 else "down"
    return SourceEvidence(source, verdict, found.age, sample.note or f"value {found.value:g}")
