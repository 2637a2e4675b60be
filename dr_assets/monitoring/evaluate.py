"""Apply the alert rules to samples: `decide(previous, samples, now, rules) -> Decision`. Pure.

- A breach counts once it has lasted for the rule's hold, by its source's own clock; so neither our clock's skew nor a reading
  that is read twice makes it longer. Too many breaches within a window count at once, as flapping.
- Samples of one subject are ordered by their own time: older ones and repetitions change nothing.
- A reading without a value, older than its quantity's age limit, ahead of our clock or outside its range is *unknown*: it neither
  begins nor ends a breach. Unknown for too long, by our clock, is a breach of its own.
- A rule that depends on a role applies to the site that has it now; the role is kept while no source answers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from dr_assets.core.freshness import SKEW_SECONDS, Unknown, is_future
from dr_assets.monitoring.incidents import Breach, Transition, follow, open_incident
from dr_assets.monitoring.rule import Rule
from dr_assets.monitoring.samples import ROLE, WRITER_INSIDE, Sample, newest
from dr_assets.monitoring.state import OUTSIDE, State, Track
from dr_assets.monitoring.topics import SOURCES, TOPICS, divided, runbook, within

FLAPS, FLAP_SECONDS = 4, 300.0
MEMORY_SECONDS = 3600.0
WAIT_SECONDS, MAX_WAIT_SECONDS = 60.0, 900.0
# A breach that was explained by another one gets this long to heal once that is over.
GRACE_SECONDS = 120.0
HEARTBEAT_SECONDS = 600.0


@dataclass(frozen=True)
class Observation:
    """An entry for Dagster's event log: a crossing, or the heartbeat. `passed` feeds the check evaluation."""

    rule: Rule
    kind: str  # crossed, cleared, unknown, known, heartbeat
    passed: bool | None
    value: float | None
    at: float
    note: str = ""


@dataclass(frozen=True)
class Decision:
    state: State
    transitions: tuple[Transition, ...] = ()
    observations: tuple[Observation, ...] = ()


def decide(
    previous: State,
    samples: Iterable[Sample],
    now: datetime,
    rules: Sequence[Rule] = (),
    suppressed: Collection[str] = (),
) -> Decision:
    """The state after one tick, the incidents' transitions, and what Dagster's event log gets.

    Args:
        samples: in any order, repetitions allowed; those of subjects without a rule are ignored.
        now: our own clock, UTC.
        rules: all that apply; a breach ends with its rule.
        suppressed: `stack/topic`, with all its parts, or `stack/*` under maintenance: incidents begin and end without an alert.
    """
    clock = now.timestamp()
    samples = list(samples)
    roles = _roles(previous.roles, samples, now)
    latest = _ordered(samples, now)
    tracks: dict[str, Track] = {}
    breaches: list[Breach] = []
    observations: list[Observation] = []
    for rule in rules:
        before = previous.tracks.get(rule.key) or Track(watched=clock)
        after = _follow(rule, before, latest.get(rule.key, ()), roles, now)
        tracks[rule.key] = after
        observations += _crossings(rule, before, after, clock)
        if after.raised:
            breaches.append(_breach(rule, after, clock))
        if after.silent:
            breaches.append(_unknown(rule, after, clock))
    beat = previous.heartbeat
    if clock - beat >= HEARTBEAT_SECONDS:
        beat = clock
        crossed = {observation.rule.key for observation in observations}
        observations += [
            Observation(rule, "heartbeat", passed(rule, tracks[rule.key], clock), tracks[rule.key].value, clock)
            for rule in rules
            if rule.key not in crossed and _applies(rule, roles)
        ]
    state = previous.updated(tracks=tracks, roles=roles, heartbeat=beat)
    state, transitions = _incidents(state, breaches, clock, suppressed)
    return Decision(state, tuple(transitions), tuple(observations))


def remembered(state: State, clock: float) -> set[str]:
    """Subjects whose tracks still matter: in breach or unknown, or with a new reading within MEMORY_SECONDS. Of the others nothing
    is lost: partitions, checks and AWS's events come without end."""
    return {
        key
        for key, track in state.tracks.items()
        if track.silent or track.breach_at is not None or clock - (track.known or track.watched) < MEMORY_SECONDS
    }


def _ordered(samples: Sequence[Sample], now: datetime) -> dict[str, list[Sample]]:
    found: dict[str, list[Sample]] = {}
    for sample in samples:
        found.setdefault(sample.subject, []).append(sample)
    # Those of the future first: they displace no present one.
    return {key: sorted(group, key=lambda s: (not is_future(s.at, now), s.at)) for key, group in found.items()}


def _roles(
    before: Mapping[str, tuple[str, float]], samples: Sequence[Sample], now: datetime
) -> dict[str, tuple[str, float]]:
    # One that is ahead of our clock would outlast every later one.
    roles = {stack: (site, at) for stack, (site, at) in before.items() if not _is_ahead(at, now.timestamp())}
    for sample in newest((s for s in samples if s.metric == ROLE and s.is_known_as(1.0, now)), now).values():
        at = sample.at.timestamp()
        if sample.stack not in roles or at >= roles[sample.stack][1]:
            roles[sample.stack] = (sample.site, at)
    for sample in newest((s for s in samples if s.metric == WRITER_INSIDE and s.is_known_as(0.0, now)), now).values():
        at = sample.at.timestamp()
        if sample.stack not in roles or at >= roles[sample.stack][1]:
            roles[sample.stack] = (OUTSIDE, at)
    return roles


def _applies(rule: Rule, roles: Mapping[str, tuple[str, float]]) -> bool:
    # Until a source has answered, the writer is taken to be at its home, the primary site.
    writer = roles.get(rule.stack, ("primary", 0.0))[0]
    return rule.role is None or (rule.role == "writer") == (rule.site == writer)


def _follow(
    rule: Rule, track: Track, samples: Sequence[Sample], roles: Mapping[str, tuple[str, float]], now: datetime
) -> Track:
    clock = now.timestamp()
    if not _applies(rule, roles):
        # The rule does not apply to this site now; once it does again, it starts afresh.
        return Track(watched=clock, other_role=clock)
    if track.at is not None and _is_ahead(track.at, clock):
        # Our clock went back, or the cursor is of a time when such readings counted: what was in breach stays so.
        track = replace(
            track,
            at=None,
            value=None,
            breach_at=None if track.breach_at is None else min(track.breach_at, clock),
            good_at=None,
        )
    for sample in samples:
        track = _take(rule, track, sample, now)
    silent = False
    observed = track.at is not None or bool(track.note)
    if rule.unknown_after is not None and (observed or not rule.observed_first):
        silent = clock - max(track.watched, track.known or 0.0) > rule.unknown_after
    return replace(track, silent=silent)


def _is_ahead(at: float, clock: float) -> bool:
    return at - clock > SKEW_SECONDS


def _take(rule: Rule, track: Track, sample: Sample, now: datetime) -> Track:
    clock, at, found = now.timestamp(), sample.at.timestamp(), sample.assess(now)
    if track.other_role is not None and at < track.other_role + rule.settles:
        return track
    if track.at is not None and at < track.at:
        return track
    never = rule.unknown_is_breach and sample.is_absent and not is_future(sample.at, now)
    if isinstance(found, Unknown) and not never:
        return replace(track, value=None, note=found.reason)  # its time is no reading's
    value = None if isinstance(found, Unknown) else found.value
    if at == track.at and value == track.value:
        return track
    known = clock if track.at is None or at > track.at else track.known
    track = replace(track, at=at, value=value, known=known, note=sample.note)
    bad = True if value is None else rule.breached(value, track.raised)
    if bad is None:
        return replace(track, good_at=None)
    if bad:
        flaps = track.flaps
        if track.breach_at is None:
            flaps = (*(t for t in flaps if clock - t < FLAP_SECONDS), clock)[-FLAPS:]
        begun = at if track.breach_at is None else track.breach_at
        since = track.since if track.breach_at is not None else min(at, clock)
        raised = track.raised or at - begun >= rule.hold or len(flaps) >= FLAPS
        return replace(track, breach_at=begun, good_at=None, since=since, raised=raised, flaps=flaps)
    if not track.raised:
        return replace(track, breach_at=None, good_at=None, since=None)
    good_at = at if track.good_at is None else track.good_at
    if at - good_at >= rule.clear_hold:
        return replace(track, raised=False, breach_at=None, good_at=None, since=None, flaps=())
    return replace(track, good_at=good_at)


def passed(rule: Rule, track: Track, clock: float) -> bool | None:
    """Whether the subject is within its rule at `clock` (epoch seconds). None: its last reading says nothing about now."""
    if track.raised:
        return False
    if track.silent or track.value is None or track.at is None:
        return None
    return None if clock - track.at > rule.quantity.covers + rule.quantity.age_limit else True


def _crossings(rule: Rule, before: Track, after: Track, clock: float) -> list[Observation]:
    found = []
    if after.raised != before.raised:
        kind = "crossed" if after.raised else "cleared"
        found.append(Observation(rule, kind, passed(rule, after, clock), after.value, clock, after.note))
    elif after.silent != before.silent:
        found.append(
            Observation(
                rule, "unknown" if after.silent else "known", passed(rule, after, clock), after.value, clock, after.note
            )
        )
    return found


def _breach(rule: Rule, track: Track, clock: float) -> Breach:
    return Breach(
        key=rule.key,
        topic=rule.topic,
        stack=rule.stack,
        site=rule.site,
        source=rule.source,
        metric=rule.metric,
        since=track.since or clock,
        text=rule.text,
        runbook=rule.runbook,
        value=track.value,
        unit=rule.unit,
        objective=rule.objective,
        severity=rule.severity,
        resource=rule.resource,
        covered_by=rule.covered_by,
        escalate_after=rule.escalate_after,
        note="flapping" if len(track.flaps) >= FLAPS else track.note,
    )


def _unknown(rule: Rule, track: Track, clock: float) -> Breach:
    """The subject has been unknown for too long: a breach of its site's topic `sources.SITE`."""
    return replace(
        _breach(rule, track, clock),
        key=f"{rule.key}?",
        topic=divided(SOURCES, rule.site),
        since=track.known or track.watched,
        text=f"{rule.source} {rule.metric} has not been known for more than {rule.unknown_after:g} s",
        runbook=runbook(TOPICS[SOURCES].anchor),
        value=None,
        severity="warning",
        covered_by=tuple(dict.fromkeys((*rule.covered_by, rule.topic))),
        escalate_after=3600.0,
        note=track.note,
    )


def _incidents(
    state: State, breaches: Sequence[Breach], clock: float, suppressed: Collection[str]
) -> tuple[State, list[Transition]]:
    """Every breach finds its incident: the one of its topic, or the one that explains it, or a new one."""
    incidents, numbers, covered = dict(state.incidents), dict(state.numbers), dict(state.covered)
    ended = {
        key: kept
        for key, times in state.ended.items()
        if (kept := tuple(t for t in times if clock - t < MEMORY_SECONDS))
    }
    transitions: list[Transition] = []
    homes: dict[str, list[Breach]] = {}
    # Explanations first, so that what they explain finds them open.
    for breach in sorted(breaches, key=lambda breach: len(breach.covered_by)):
        own = f"{breach.stack}/{breach.topic}"
        found = sorted(key for key in incidents.keys() | homes.keys() if key != own)
        cover = next(
            (key for topic in breach.covered_by for key in found if within(key, f"{breach.stack}/{topic}")), None
        )
        if own in incidents:
            homes.setdefault(own, []).append(breach)
        elif cover is not None:
            covered[own] = clock
            homes.setdefault(cover, []).append(breach)
        elif clock - covered.get(own, -GRACE_SECONDS) >= GRACE_SECONDS or own in homes:
            homes.setdefault(own, []).append(breach)
    for key in sorted(incidents.keys() | homes.keys()):
        mine = homes.get(key, [])
        if key not in incidents:
            first = max(mine, key=lambda breach: (breach.severity == "critical", -breach.since))
            resolve_after = min(WAIT_SECONDS * (2 ** len(ended.get(key, ())) - 1), MAX_WAIT_SECONDS)
            numbers[key] = numbers.get(key, 0) + 1
            notified = not _is_suppressed(key, suppressed)
            incident = open_incident(first, numbers[key], clock, resolve_after, notified)
            incidents[key] = incident
            others = tuple(breach for breach in mine if breach is not first)
            incidents[key] = incident = incident.updated(
                breaches=(first.key, *(breach.key for breach in others)),
                evidence=(first.line, *(breach.line for breach in others)),
            )
            transitions.append(Transition("opened" if notified else "silenced", incident, clock))
            continue
        incident, steps = follow(incidents[key], mine, clock)
        incidents[key] = incident
        if not incident.notified and not _is_suppressed(key, suppressed) and "resolved" not in steps:
            incidents[key] = incident = incident.updated(notified=True)
            transitions.append(Transition("opened", incident, clock))
        for step in steps:
            quiet = not incident.notified and step in ("escalated", "resolved")
            transitions.append(Transition("silenced" if quiet else step, incident, clock))
        if "resolved" in steps:
            del incidents[key]
            ended[key] = (*ended.get(key, ()), clock)[-8:]
    covered = {key: at for key, at in covered.items() if clock - at < GRACE_SECONDS}
    return state.updated(incidents=incidents, numbers=numbers, ended=ended, covered=covered), transitions


def _is_suppressed(key: str, suppressed: Collection[str]) -> bool:
    return f"{key.split('/', maxsplit=1)[0]}/*" in suppressed or any(within(key, each) for each in suppressed)
