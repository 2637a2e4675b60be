"""`decide(previous, samples, now, rules) -> Decision`: what the readings mean. Pure: no clock, no I/O, no Dagster.

May import `stack`, `core` and telemetry's nouns. The state is JSON and serves as a sensor's cursor.

- A breach lasts for the rule's hold, by its source's own clock, before it counts; so neither our clock's skew nor a reading
  seen twice makes it longer. Too many breaches within a window count at once, as flapping.
- Samples of one subject are ordered by their own time: older ones and repetitions change nothing.
- No value is *unknown*: it neither begins nor ends a breach. Unknown for too long, by our clock, is a breach of its own.
- A rule that depends on a role applies to the site that has it now; who has it is read, and kept while nobody answers.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from dr_assets.errors import DrError
from dr_assets.history.documents import Incident
from dr_assets.monitoring.incidents import Breach, Transition, follow, open_incident
from dr_assets.monitoring.rule import Rule
from dr_assets.monitoring.samples import ROLE, Sample, newest
from dr_assets.monitoring.topics import SOURCES, runbook

SCHEMA = 1
FLAPS, FLAP_SECONDS = 4, 300.0
MEMORY_SECONDS = 3600.0
WAIT_SECONDS, MAX_WAIT_SECONDS = 60.0, 900.0
# A breach that was explained by another one gets this long to heal once that is over.
GRACE_SECONDS = 120.0
# A time this far ahead of ours is wrong rather than skewed; it would make every later sample look old.
FUTURE_SECONDS = 600.0
HEARTBEAT_SECONDS = 600.0


@dataclass(frozen=True)
class Track:
    """What is remembered of one subject. Times are epoch seconds; `at`, `breach_at`, `good_at` by the source's clock,
    the others by ours."""

    watched: float
    at: float | None = None
    value: float | None = None
    known: float | None = None
    breach_at: float | None = None
    good_at: float | None = None
    since: float | None = None
    raised: bool = False
    flaps: tuple[float, ...] = ()
    silent: bool = False
    note: str = ""


@dataclass(frozen=True)
class State:
    """All that a sensor remembers between ticks."""

    tracks: Mapping[str, Track] = field(default_factory=dict)
    roles: Mapping[str, tuple[str, float]] = field(default_factory=dict)  # stack -> site of the writer, when (source)
    incidents: Mapping[str, Incident] = field(default_factory=dict)  # stack/topic -> the one that is open
    numbers: Mapping[str, int] = field(default_factory=dict)  # stack/topic -> number of the last one
    ended: Mapping[str, tuple[float, ...]] = field(default_factory=dict)  # stack/topic -> when the last ones ended
    covered: Mapping[str, float] = field(default_factory=dict)  # stack/topic -> until when it was explained
    heartbeat: float = 0.0
    more: Mapping[str, Any] = field(default_factory=dict)  # a sensor's own: receipts, where it read up to

    def dumps(self) -> str:
        tracks = {
            key: {name: value for name, value in vars(track).items() if value not in (None, False, "", ())}
            for key, track in self.tracks.items()
        }
        return json.dumps(
            {
                "schema": SCHEMA,
                "tracks": tracks,
                "roles": self.roles,
                "numbers": self.numbers,
                "ended": self.ended,
                "incidents": {key: incident.as_json() for key, incident in self.incidents.items()},
                "covered": self.covered,
                "heartbeat": self.heartbeat,
                "more": self.more,
            },
            separators=(",", ":"),
            default=list,
        )

    @classmethod
    def loads(cls, text: str | None) -> State:
        """Raises DrError where the text is none of ours; None or empty: nothing is remembered."""
        if not text:
            return cls()
        try:
            data = json.loads(text)
            if data["schema"] != SCHEMA:
                raise ValueError(f"schema {data['schema']}")
            return cls(
                {k: Track(**{**v, "flaps": tuple(v.get("flaps", ()))}) for k, v in data["tracks"].items()},
                {k: (str(v[0]), float(v[1])) for k, v in data["roles"].items()},
                {k: Incident.from_json(v) for k, v in data["incidents"].items()},
                data["numbers"],
                {k: tuple(v) for k, v in data["ended"].items()},
                data["covered"],
                data["heartbeat"],
                data["more"],
            )
        except (ValueError, KeyError, TypeError) as error:
            raise DrError(
                f"The sensor's cursor cannot be read ({error}). Reset it in Dagster: open incidents are found again in the "
                "ledger of alerts."
            ) from error


@dataclass(frozen=True)
class Observation:
    """Something to put into Dagster's event log: a crossing, or the heartbeat. `passed` feeds the check evaluation."""

    rule: Rule
    kind: str  # crossed, cleared, silent, heard, heartbeat
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
    silenced: Collection[str] = (),
) -> Decision:
    """One tick further.

    Args:
        samples: in any order, repetitions allowed; of subjects without a rule they are passed over.
        now: our own clock, UTC.
        rules: what is watched; a rule that was there and is not any more takes its breach with it.
        silenced: `stack/topic` or `stack/*` under maintenance: incidents begin and end, but nobody is told.
    """
    clock = now.timestamp()
    samples = list(samples)
    roles = _roles(previous.roles, samples, clock)
    latest = _ordered(samples)
    tracks: dict[str, Track] = {}
    breaches: list[Breach] = []
    observations: list[Observation] = []
    for rule in rules:
        before = previous.tracks.get(rule.key) or Track(watched=clock)
        after = _follow(rule, before, latest.get(rule.key, ()), roles, clock)
        tracks[rule.key] = after
        observations += _crossings(rule, before, after, clock)
        if after.raised:
            breaches.append(_breach(rule, after, clock))
        if after.silent:
            breaches.append(_silence(rule, after))
    beat = previous.heartbeat
    if clock - beat >= HEARTBEAT_SECONDS:
        beat = clock
        told = {observation.rule.key for observation in observations}
        observations += [
            Observation(rule, "heartbeat", _passed(tracks[rule.key]), tracks[rule.key].value, clock)
            for rule in rules
            if rule.key not in told and _applies(rule, roles)
        ]
    state = replace(previous, tracks=tracks, roles=roles, heartbeat=beat)
    state, transitions = _incidents(state, breaches, clock, silenced)
    return Decision(state, tuple(transitions), tuple(observations))


def _ordered(samples: Sequence[Sample]) -> dict[str, list[Sample]]:
    found: dict[str, list[Sample]] = {}
    for sample in samples:
        found.setdefault(sample.subject, []).append(sample)
    return {key: sorted(group, key=lambda sample: sample.at) for key, group in found.items()}


def _roles(
    before: Mapping[str, tuple[str, float]], samples: Sequence[Sample], clock: float
) -> dict[str, tuple[str, float]]:
    roles = dict(before)
    for sample in newest(s for s in samples if s.metric == ROLE and s.value == 1.0).values():
        at = min(sample.at.timestamp(), clock + FUTURE_SECONDS)
        if sample.stack not in roles or at >= roles[sample.stack][1]:
            roles[sample.stack] = (sample.site, at)
    return roles


def _applies(rule: Rule, roles: Mapping[str, tuple[str, float]]) -> bool:
    # While nobody has told us yet, the writer is taken to be at home (the primary site).
    writer = roles.get(rule.stack, ("primary", 0.0))[0]
    return rule.role is None or (rule.role == "writer") == (rule.site == writer)


def _follow(
    rule: Rule, track: Track, samples: Sequence[Sample], roles: Mapping[str, tuple[str, float]], clock: float
) -> Track:
    if not _applies(rule, roles):
        # Nothing is demanded of this site now; when it is again, watching begins anew.
        return Track(watched=clock)
    for sample in samples:
        track = _take(rule, track, sample, clock)
    silent = False
    if rule.unknown_after is not None:
        silent = clock - max(track.watched, track.known or 0.0) > rule.unknown_after
    return replace(track, silent=silent)


def _take(rule: Rule, track: Track, sample: Sample, clock: float) -> Track:
    at = min(sample.at.timestamp(), clock + FUTURE_SECONDS)
    if track.at is not None and (at < track.at or (at == track.at and sample.value == track.value)):
        return track
    value = sample.value
    if value is None:
        return replace(track, value=None, note=sample.note)  # its time is no time of a reading
    known = clock if track.at is None or at > track.at else track.known
    track = replace(track, at=at, value=value, known=known, note=sample.note)
    bad = rule.breached(value, track.raised)
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


def _passed(track: Track) -> bool | None:
    if track.raised:
        return False
    return None if track.silent or track.value is None else True


def _crossings(rule: Rule, before: Track, after: Track, clock: float) -> list[Observation]:
    found = []
    if after.raised != before.raised:
        kind = "crossed" if after.raised else "cleared"
        found.append(Observation(rule, kind, _passed(after), after.value, clock, after.note))
    elif after.silent != before.silent:
        found.append(
            Observation(rule, "silent" if after.silent else "heard", _passed(after), after.value, clock, after.note)
        )
    return found


def _breach(rule: Rule, track: Track, clock: float) -> Breach:
    note = "flapping" if len(track.flaps) >= FLAPS else track.note
    return Breach(
        rule.key,
        rule.topic,
        rule.stack,
        rule.site,
        rule.source,
        rule.metric,
        track.since or clock,
        rule.text,
        rule.runbook,
        track.value,
        rule.unit,
        rule.objective,
        rule.severity,
        rule.resource,
        covered_by=rule.covered_by,
        escalate_after=rule.escalate_after,
        note=note,
    )


def _silence(rule: Rule, track: Track) -> Breach:
    since = track.known or track.watched
    return Breach(
        f"{rule.key}?",
        SOURCES,
        rule.stack,
        rule.site,
        rule.source,
        rule.metric,
        since,
        f"{rule.source} {rule.metric} has not been known for more than {rule.unknown_after:g} s",
        runbook("a-source-is-silent"),
        None,
        rule.unit,
        rule.objective,
        "warning",
        rule.resource,
        silent=True,
        covered_by=tuple(dict.fromkeys((*rule.covered_by, rule.topic))),
        escalate_after=3600.0,
        note=track.note,
    )


def _incidents(
    state: State, breaches: Sequence[Breach], clock: float, silenced: Collection[str]
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
        cover = next(
            (
                key
                for key in (f"{breach.stack}/{topic}" for topic in breach.covered_by)
                if key != own and (key in incidents or key in homes)
            ),
            None,
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
            wait = min(WAIT_SECONDS * (2 ** len(ended.get(key, ())) - 1), MAX_WAIT_SECONDS)
            numbers[key] = numbers.get(key, 0) + 1
            told = not _is_silenced(key, silenced)
            incident = open_incident(first, numbers[key], clock, wait, told)
            incidents[key] = incident
            others = tuple(breach for breach in mine if breach is not first)
            incidents[key] = incident = incident.updated(
                breaches=(first.key, *(breach.key for breach in others)),
                evidence=(first.words, *(breach.words for breach in others)),
            )
            transitions.append(Transition("opened" if told else "silenced", incident, clock))
            continue
        incident, steps = follow(incidents[key], mine, clock)
        incidents[key] = incident
        if not incident.notified and not _is_silenced(key, silenced) and "resolved" not in steps:
            incidents[key] = incident = incident.updated(notified=True)
            transitions.append(Transition("opened", incident, clock))
        for step in steps:
            quiet = not incident.notified and step in ("escalated", "resolved")
            transitions.append(Transition("silenced" if quiet else step, incident, clock))
        if "resolved" in steps:
            del incidents[key]
            ended[key] = (*ended.get(key, ()), clock)[-8:]
    covered = {key: at for key, at in covered.items() if clock - at < GRACE_SECONDS}
    return replace(state, incidents=incidents, numbers=numbers, ended=ended, covered=covered), transitions


def _is_silenced(key: str, silenced: Collection[str]) -> bool:
    return key in silenced or f"{key.split('/', maxsplit=1)[0]}/*" in silenced
