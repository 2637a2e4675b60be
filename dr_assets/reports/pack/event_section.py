"""One drill or incident in full, as it stands on the evidence pack's page. May import its neighbours; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from dr_assets.reports.analysis.rpo import told
from dr_assets.reports.pack import html


def anchor(record: Mapping[str, Any]) -> str:
    """The name of a record's place on the page."""
    return f"record-{record.get('id')}"


def people(record: Mapping[str, Any]) -> list[str]:
    who = record.get("who") or {}
    return [str(who[role]) for role in ("operator", "approved_by") if who.get(role)]


def event(record: Mapping[str, Any], file: str) -> str:
    """The article of one record; `file` is its place in the pack."""
    who, scope, rto, rpo = (record.get(name) or {} for name in ("who", "scope", "rto", "rpo"))
    exposure = record.get("exposure") or {}
    pages = [
        f'<article class="event" id="{escape(anchor(record), quote=True)}"><h3>{escape(str(record.get("id")))}</h3>',
        html.facts(
            {
                "Kind and scenario": f"{record.get('kind')}, {record.get('scenario')}: {_site(scope, 'from')} to {_site(scope, 'to')}",
                "Why": record.get("why"),
                "From, until": f"{_time(record.get('started_at'))} to {_time(record.get('ended_at'))} UTC",
                "Participants": f"operator {who.get('operator')}, approved by {who.get('approved_by') or 'nobody'}, "
                f"as {who.get('caller_arn') or 'an unknown AWS identity'}",
                "Result": f"{record.get('status')}{': ' + str(record['reason']) if record.get('reason') else ''}",
                "RTO": f"{_span(rto)}, target {_number(rto.get('target_seconds'))} s, met: {told(rto.get('met'))}",
                "RPO": _loss(rpo),
                "Exposure": _exposure(exposure),
                "Preconditions": _conditions(record.get("preconditions") or []),
                "Overrides": "; ".join(map(_override, record.get("overrides") or ())) or "none",
                "Postconditions": _conditions(record.get("postconditions") or []),
                "Deviations": "; ".join(map(str, record.get("deviations") or ())) or "none recorded",
                "Plan (SHA-256)": record.get("plan_hash"),
                "Record (SHA-256)": record.get("hash"),
                "File": file,
            }
        ),
        "<h4>Timeline</h4>",
        _timeline(record.get("timeline") or []),
        "</article>",
    ]
    return "".join(pages)


def _site(scope: Mapping[str, Any], end: str) -> str:
    return f"{scope.get(f'{end}_site')} ({scope.get(f'{end}_region')})"


def _override(taken: Mapping[str, Any]) -> str:
    return f"{taken.get('precondition')}: {taken.get('reason')} (by {taken.get('by')})"


def _time(text: Any) -> str:
    return "unknown" if text is None else str(text).replace("T", " ").removesuffix("Z")


def _span(rto: Mapping[str, Any]) -> str:
    low, high = (_number(rto.get(name)) for name in ("low_seconds", "high_seconds"))
    return "unknown" if low == high == html.UNKNOWN else f"{low} to {high} s"


def _loss(rpo: Mapping[str, Any]) -> str:
    lost = rpo.get("lost_seconds"), rpo.get("lost_commits")
    said = (
        f"unknown; {_number(rpo.get('acknowledged'))} commits were acknowledged"
        if lost == (None, None)
        else f"{_seconds(lost[0])}, {_number(lost[1])} of {_number(rpo.get('acknowledged'))} acknowledged commits lost, "
        f"{_number(rpo.get('in_doubt'))} in doubt"
    )
    return f"{said}; target {_number(rpo.get('target_seconds'))} s, met: {told(rpo.get('met'))}"


def _exposure(exposure: Mapping[str, Any]) -> str:
    if not exposure:
        return "none recorded"
    if exposure.get("until") is None:
        return f"from {_time(exposure.get('from'))} UTC; its end was not seen"
    return f"{_seconds(exposure.get('seconds'))}, from {_time(exposure.get('from'))} UTC"


def _seconds(value: Any) -> str:
    return "unknown" if value is None else f"{_number(value)} s"


def _number(value: Any) -> str:
    return html.UNKNOWN if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _conditions(found: Sequence[Mapping[str, Any]]) -> str:
    words = {False: "failed", None: "unknown"}
    bad = [
        f"{c.get('name')}: {words[c.get('passed')]}{': ' + str(c['reason']) if c.get('reason') else ''}"
        for c in found
        if c.get("passed") is not True
    ]
    good = [str(c.get("name")) for c in found if c.get("passed") is True]
    return ". ".join([*bad, *([f"passed: {', '.join(good)}"] if good else [])]) or "none recorded"


def _timeline(entries: Sequence[Mapping[str, Any]]) -> str:
    rows = "".join(
        f'<tr><td class="t">{escape(_time(e.get("at")))}</td><td>{escape(str(e.get("mark") or ""))}</td>'
        f"<td>{escape(str(e.get('source')))}</td><td>{escape(str(e.get('text')))}</td></tr>"
        for e in entries
    )
    head = "".join(f'<th scope="col">{name}</th>' for name in ("at (UTC)", "mark", "source", "what"))
    if not rows:
        return html.paragraph("None recorded.")
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
