"""Contradictions within a record: what it claims against the figures, times and conditions that it holds.

Anybody who can write a record can also compute its hash, so a hash proves nothing about a claim. A record that contradicts
itself is not intact: it is named, and no report, sensor or list takes it for a proof.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import date

from dr_assets import utc
from dr_assets.drills.measurement.rpo_rto import split_brain
from dr_assets.drills.parts import current_name
from dr_assets.drills.record_document import Draft, Exposure, Rpo, Rto, objective_met

# Figures are rounded to a millisecond each; the parts of an RTO are four of them.
ROUNDING_SECONDS = 0.005
# Beside the recorded steps of the clock: its slewing, and the moment between a step and its discovery.
STEPPED_SECONDS = 1.0


def contradictions(record: Draft) -> list[str]:
    """Each contradiction in words, beginning with the name of the field (`rto.met is true, but …`); none: an empty list.

    Differences of wall-clock times may be off by the steps of the clock that the record itself states.
    """
    steps = [abs(step.seconds) for step in record.clock_steps]
    slack = ROUNDING_SECONDS + (sum(steps) + STEPPED_SECONDS if steps else 0.0)
    return [
        *_rto(record.rto),
        *_rpo(record.rpo),
        *(_exposure(record.exposure, slack) if record.exposure else ()),
        *_status(record),
        *_times(record, slack),
        *_rest(record),
    ]


def _rto(rto: Rto) -> Iterator[str]:
    low, high = rto.low_seconds, rto.high_seconds
    yield from _target("rto", rto.target_seconds)
    yield from _met(
        "rto", rto.met, objective_met(high, rto.target_seconds, low), f"{low} to {high} s", rto.target_seconds
    )
    if high is not None and low is None:
        yield f"rto.low_seconds is null, but rto.high_seconds is {high}"
    if high is not None and high < 0:
        yield f"rto.high_seconds is negative ({high})"
    if high is not None and low is not None and low > high + ROUNDING_SECONDS:
        yield f"rto.low_seconds ({low}) is above rto.high_seconds ({high})"
    parts = {name: getattr(rto.parts, name) for name in ("detect", "decide", "database", "traffic")}
    known = [value for value in parts.values() if value is not None]
    yield from (
        f"rto.parts.{name} is negative ({value})" for name, value in parts.items() if value is not None and value < 0
    )
    if len(known) == len(parts) and (high is None or abs(sum(known) - high) > ROUNDING_SECONDS):
        yield f"rto.parts add up to {sum(known):.3f} s, but rto.high_seconds is {json.dumps(high)}"


def _rpo(rpo: Rpo) -> Iterator[str]:
    lost, seconds, least = rpo.lost_commits, rpo.lost_seconds, rpo.lost_at_least_seconds
    acknowledged, survived = rpo.acknowledged, rpo.survived
    yield from _target("rpo", rpo.target_seconds)
    expected = objective_met(seconds, rpo.target_seconds, least)
    yield from _met(
        "rpo", rpo.met, expected, f"{least} s at least" if seconds is None else f"{seconds} s", rpo.target_seconds
    )
    for name in ("lost_commits", "lost_seconds", "lost_at_least_seconds", "in_doubt", "acknowledged", "survived"):
        value = getattr(rpo, name)
        if value is not None and value < 0:
            yield f"rpo.{name} is negative ({value})"
    if lost is None and (seconds is not None or least is not None):
        yield "rpo.lost_commits is null, but the lost time is not"
    if not (lost is None or acknowledged is None or survived is None) and lost != acknowledged - survived:
        yield f"rpo.lost_commits is {lost}, but {acknowledged} were acknowledged and {survived} survived"
    if lost == 0 and (seconds or least):
        yield f"rpo.lost_commits is 0, but the lost time is {seconds or least} s"
    if seconds is not None and least is not None:
        yield f"rpo.lost_at_least_seconds is {least}, but rpo.lost_seconds is known ({seconds})"


def _exposure(exposure: Exposure, slack: float) -> Iterator[str]:
    since, until, seconds = exposure.since, exposure.until, exposure.seconds
    for name in ("seconds", "at_least_seconds"):
        value = getattr(exposure, name)
        if value is not None and value < 0:
            yield f"exposure.{name} is negative ({value})"
    if until is None:
        if seconds is not None:
            yield f"exposure.seconds is {seconds}, but exposure.until is null: it still lasts"
        return
    between = (utc.parse(until) - utc.parse(since)).total_seconds()
    if seconds is not None and abs(between - seconds) > slack:
        yield f"exposure.seconds is {seconds}, but there are {between:.3f} s between exposure.from and exposure.until"


def _status(record: Draft) -> Iterator[str]:
    if record.status != "succeeded":
        if not record.reason:
            yield f"status is {record.status}, but reason is empty"
        return
    if record.reason:
        yield f"status is succeeded, but reason is {record.reason!r}"
    bad = [item.name for item in record.postconditions if item.passed is not True]
    if bad:
        yield f"status is succeeded, but these postconditions did not pass: {', '.join(bad)}"
    low = record.rto.low_seconds
    if low is not None and split_brain(low):
        yield f"status is succeeded, but rto.low_seconds is {low}: both writers accepted at once"
    overridden = {current_name(item.precondition) for item in record.overrides}
    for item in record.preconditions:
        if item.passed is not True and current_name(item.name) not in overridden:
            yield f"status is succeeded, but the precondition {item.name} did not pass and was not overridden"


def _times(record: Draft, slack: float) -> Iterator[str]:
    lasted = (utc.parse(record.ended_at) - utc.parse(record.started_at)).total_seconds()
    if lasted < -slack:
        yield f"ended_at ({record.ended_at}) is before started_at ({record.started_at})"
    marks = Counter(entry.mark for entry in record.timeline if entry.mark)
    yield from (f"timeline has the mark {mark} {count} times" for mark, count in sorted(marks.items()) if count > 1)
    at = {entry.mark: entry.at for entry in record.timeline if entry.mark}
    for before, after in (("T3", "T4"), ("T0", "T6")):
        if before in at and after in at and (utc.parse(at[after]) - utc.parse(at[before])).total_seconds() < -slack:
            yield f"timeline has {after} ({at[after]}) before {before} ({at[before]})"


def _rest(record: Draft) -> Iterator[str]:
    if record.scope.from_site == record.scope.to_site:
        yield f"scope.from_site and scope.to_site are both {record.scope.to_site!r}"
    for call in record.calls:
        if call.count < 1:
            yield f"calls count {call.service} {call.operation} {call.count} times"
    for action in record.corrective_actions:
        if action.due is not None and not _is_date(action.due):
            yield f"corrective_actions has the date {action.due!r}, which is not YYYY-MM-DD"


def _target(name: str, target: float) -> Iterator[str]:
    if target <= 0:
        yield f"{name}.target_seconds is {target}, not above 0"


def _met(name: str, met: bool | None, expected: bool | None, figure: str, target: float) -> Iterator[str]:
    if met is not expected:
        yield f"{name}.met is {json.dumps(met)}, but {figure} against a target of {target} s makes it {json.dumps(expected)}"


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False
