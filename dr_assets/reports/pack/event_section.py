"""One drill or incident in full, as data for its article on the evidence page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dr_assets.drills.parts import Reconciliation
from dr_assets.reports.analysis.rpo import yes_no_unknown
from dr_assets.reports.pack.formatting import UNKNOWN, plain


@dataclass(frozen=True)
class Fact:
    """A name and its value in a list of facts."""

    name: str
    value: str


@dataclass(frozen=True)
class TimelineLine:
    """A line of a record's timeline."""

    at: str
    mark: str
    source: str
    text: str


@dataclass(frozen=True)
class Event:
    """The article of one record."""

    anchor: str
    title: str
    facts: tuple[Fact, ...]
    timeline: tuple[TimelineLine, ...]


def facts(pairs: Mapping[str, Any]) -> tuple[Fact, ...]:
    """A list of names and values; None is unknown."""
    return tuple(Fact(name, plain(value)) for name, value in pairs.items())


def participants(record: Mapping[str, Any]) -> list[str]:
    """The operator and the approver of a record, where they are known."""
    who = record.get("who") or {}
    return [str(who[role]) for role in ("operator", "approved_by") if who.get(role)]


def event(record: Mapping[str, Any], file: str, proposal: Reconciliation | None = None) -> Event:
    """The article of one record. `file`: its path in the pack; `proposal`: the newest for its lost writes."""
    who, scope, rto, rpo = (record.get(name) or {} for name in ("who", "scope", "rto", "rpo"))
    found = {
        "Kind and scenario": f"{record.get('kind')}, {record.get('scenario')}: {_site(scope, 'from')} to {_site(scope, 'to')}",
        "Why": record.get("why"),
        "From, until": f"{_time(record.get('started_at'))} to {_time(record.get('ended_at'))} UTC",
        "Participants": f"operator {who.get('operator')}, approved by {who.get('approved_by') or 'nobody'}, "
        f"as {who.get('caller_arn') or 'an unknown AWS identity'}",
        "Result": f"{record.get('status')}{': ' + str(record['reason']) if record.get('reason') else ''}",
        "RTO": f"{_interval(rto)}, target {_number(rto.get('target_seconds'))} s, met: {yes_no_unknown(rto.get('met'))}",
        "RPO": _loss(rpo),
        "Reconciliation": _reconciliation(rpo, record.get("reconciliation"), proposal),
        "Exposure": _exposure(record.get("exposure") or {}),
        "Preconditions": _conditions(record.get("preconditions") or []),
        "Overrides": "; ".join(map(_override, record.get("overrides") or ())) or "none",
        "Postconditions": _conditions(record.get("postconditions") or []),
        "Deviations": "; ".join(map(str, record.get("deviations") or ())) or "none recorded",
        "Plan (SHA-256)": record.get("plan_hash"),
        "Record (SHA-256)": record.get("hash"),
        "File": file,
    }
    timeline = tuple(
        TimelineLine(_time(each.get("at")), str(each.get("mark") or ""), str(each.get("source")), str(each.get("text")))
        for each in record.get("timeline") or ()
    )
    return Event(f"record-{record.get('id')}", str(record.get("id")), facts(found), timeline)


def _site(scope: Mapping[str, Any], end: str) -> str:
    return f"{scope.get(f'{end}_site')} ({scope.get(f'{end}_region')})"


def _override(taken: Mapping[str, Any]) -> str:
    return f"{taken.get('precondition')}: {taken.get('reason')} (by {taken.get('by')})"


def _time(text: Any) -> str:
    return UNKNOWN if text is None else str(text).replace("T", " ").removesuffix("Z")


def _interval(rto: Mapping[str, Any]) -> str:
    low, high = (_number(rto.get(name)) for name in ("low_seconds", "high_seconds"))
    if low == high == UNKNOWN:
        return UNKNOWN
    return f"at least {low} s" if high == UNKNOWN else f"{low} to {high} s"


def _loss(rpo: Mapping[str, Any]) -> str:
    lost = rpo.get("lost_seconds"), rpo.get("lost_commits")
    text = (
        f"unknown; {_number(rpo.get('acknowledged'))} commits were acknowledged"
        if lost == (None, None)
        else f"{_seconds(lost[0], rpo.get('lost_at_least_seconds'))}, {_number(lost[1])} of {_number(rpo.get('acknowledged'))} acknowledged commits lost, "
        f"{_number(rpo.get('in_doubt'))} in doubt"
    )
    return f"{text}; target {_number(rpo.get('target_seconds'))} s, met: {yes_no_unknown(rpo.get('met'))}"


def _reconciliation(rpo: Mapping[str, Any], own: Mapping[str, Any] | None, newest: Reconciliation | None) -> str:
    """The newest proposal; where it was made after the record, that is stated."""
    shown = newest.model_dump() if newest is not None else own
    if not shown:
        return "none needed: no commit was lost" if rpo.get("lost_commits") == 0 else "no proposal was made"
    counts = ", ".join(f"{shown[name]} to {name}" for name in ("insert", "update", "delete"))
    later = "" if own and dict(own) == dict(shown) else " (proposed after the record was written)"
    return f"{shown['file']}: {counts}{later}; a proposal is never applied by itself"


def _exposure(exposure: Mapping[str, Any]) -> str:
    if not exposure:
        return "none recorded"
    if exposure.get("until") is None:
        lasted = _seconds(None, exposure.get("at_least_seconds"))
        return f"{lasted}, from {_time(exposure.get('from'))} UTC; its end was not recorded"
    return f"{_seconds(exposure.get('seconds'))}, from {_time(exposure.get('from'))} UTC"


def _seconds(value: Any, at_least: Any = None) -> str:
    if value is None:
        return UNKNOWN if at_least is None else f"at least {_number(at_least)} s"
    return f"{_number(value)} s"


def _number(value: Any) -> str:
    return UNKNOWN if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _conditions(found: Sequence[Mapping[str, Any]]) -> str:
    words = {False: "failed", None: UNKNOWN}
    bad = [
        f"{each.get('name')}: {words[each.get('passed')]}{': ' + str(each['reason']) if each.get('reason') else ''}"
        for each in found
        if each.get("passed") is not True
    ]
    good = [str(each.get("name")) for each in found if each.get("passed") is True]
    return ". ".join([*bad, *([f"passed: {', '.join(good)}"] if good else [])]) or "none recorded"
