"""What stands on the page of the evidence pack, in which order, and the table behind each part. May import its neighbours.

What auditors ask for: scope, dates, participants, scenario, targets against what was achieved with method and error, pre- and
postconditions, deviations, corrective actions with owner and due date, sign-off, next due date, and an index to the standards.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from dr_assets.reports import page
from dr_assets.reports import signal as sig
from dr_assets.reports.exposure import ExposureReport
from dr_assets.reports.plots import Picture
from dr_assets.reports.readiness import PROOF_DAYS, Readiness
from dr_assets.reports.rpo import PERIOD_SECONDS, PERIODS_HELD, RpoReport, told
from dr_assets.reports.rto import RtoReport
from dr_assets.reports.standards import INDEX
from dr_assets.reports.whatif import WhatIf


@dataclass(frozen=True)
class Content:
    """Everything the page shows."""

    stack: str
    rpo_seconds: float
    rto_seconds: float
    scope: Mapping[str, Any]
    start: dt.datetime
    end: dt.datetime
    made: dt.datetime
    rpo: RpoReport
    rto: RtoReport
    exposure: ExposureReport
    readiness: Readiness
    what_if: WhatIf
    pictures: Sequence[Picture]
    records: Sequence[Mapping[str, Any]]
    sign_off: Sequence[Mapping[str, str]]
    next_due: dt.date | None
    product_version: str

    @property
    def inside(self) -> list[Mapping[str, Any]]:
        """The records that began in the period."""
        return [r for r in self.records if (at := sig.parse_utc(r.get("started_at"))) and self.start <= at < self.end]


def tables(content: Content) -> dict[str, Any]:
    """Name (of the CSV) -> DataFrame, for every table of the page and those too long for it."""
    rpo, found = content.rpo, content.what_if
    return {
        "rpo-summary": rpo.summary, "rpo-days": rpo.days, "rpo-weeks": rpo.weeks, "rpo-months": rpo.months,
        "rpo-breaches": rpo.breaches, "rpo-gaps": rpo.gaps, "rpo-drills": rpo.drills,
        "whatif-overall": found.overall, "whatif-hours": found.hours, "whatif-weekdays": found.weekdays,
        "rto-events": content.rto.events, "rto-scenarios": content.rto.scenarios,
        "exposure-intervals": content.exposure.intervals, "exposure-days": content.exposure.days, "proofs": content.exposure.proofs,
        "readiness": content.readiness.checks, "actions": _actions(content), "standards": _standards(),
    }  # fmt: skip


def headline(content: Content) -> dict[str, str]:
    """The figures that come first, in words; unknown stays unknown."""
    rpo, events = content.rpo, content.rto.events
    counts = {answer: int((events["met"] == answer).sum()) for answer in ("yes", "no", "unknown")}
    proofs = content.exposure.proofs.iloc[:-1]["last"].dropna()
    return {
        "RPO compliance": "unknown" if rpo.compliance is None else _share(rpo.compliance),
        "RPO unknown": _share(rpo.unknown_share),
        "RPO breaches": str(len(rpo.breaches)),
        "RTO met": f"{counts['yes']} of {len(events)}" if len(events) else "no drill",
        "RTO not met": str(counts["no"]),
        "RTO unknown": str(counts["unknown"]),
        "exposure": f"{content.exposure.seconds / 60:.1f} min"
        + (" and still open" if content.exposure.open_since else ""),
        "last proof": f"{max(proofs):%Y-%m-%d}" if len(proofs) else "never",
        "ready": content.readiness.answer,
        "readiness score": f"{content.readiness.score:.0f} of 100",
    }


def _share(value: float) -> str:
    """A share in percent that does not round up to a perfection that was not there."""
    for digits in (2, 4, 6):
        text = f"{100 * value:.{digits}f}"
        if value in (0.0, 1.0) or float(text) not in (0.0, 100.0):
            return f"{text} %"
    return "less than 100 %, by less than a millionth" if value > 0.5 else "more than 0 %, by less than a millionth"


def html(content: Content) -> str:
    frames, pictures = tables(content), {picture.name: picture for picture in content.pictures}
    title = f"Disaster recovery evidence, stack {content.stack}"
    top = page.paragraph(
        f"{_span(content)}. Made {content.made.astimezone(sig.UTC):%Y-%m-%d %H:%M} UTC. All times are UTC."
    )

    def table(name: str, nothing: str) -> str:
        return page.table(frames[name], name, nothing)

    def image(name: str) -> str:
        return page.figure(pictures[name])

    h3 = "<h3>{}</h3>".format
    sections = [
        ("summary", "Summary", _cards(content)),
        ("scope", "Scope and method", _scope(content)),
        (
            "rpo", "Recovery point: telemetry and drills",
            image("rpo-over-time") + table("rpo-summary", "") + h3("By month") + table("rpo-months", "")
            + h3("Breaches") + table("rpo-breaches", "No breach in the known time of this period.")
            + h3("Unknown time") + table("rpo-gaps", "There was a reading at every moment.")
            + h3("What drills and incidents lost, beside what telemetry said before the fault")
            + table("rpo-drills", "No drill and no incident in this period.")
            + f"<details><summary>By week</summary>{table('rpo-weeks', '')}</details>"
            + f"<details><summary>By day</summary>{table('rpo-days', '')}</details>",
        ),
        (
            "whatif", "Had the region failed",
            page.paragraph("Each whole minute of the period is one experiment: what had not arrived then would have been lost.")
            + image("lag-heat-map") + table("whatif-overall", "") + h3("By hour") + table("whatif-hours", "")
            + h3("By weekday") + table("whatif-weekdays", ""),
        ),
        (
            "rto", "Recovery time",
            image("rto-parts") + h3("By scenario, and what is to be expected next") + table("rto-scenarios", "")
            + h3("Every drill and incident") + table("rto-events", "No drill and no incident in this period."),
        ),
        (
            "exposure", "Exposure and proofs",
            image("exposure-calendar") + table("exposure-intervals", "No exposure is known of in this period.")
            + h3("Last proofs") + table("proofs", ""),
        ),
        ("readiness", "Ready to fail over", _readiness(content) + table("readiness", "Nothing was checked.")),
        ("events", "Drills and incidents in full", "".join(map(_event, content.inside)) or page.paragraph("None in this period.")),
        ("actions", "Corrective actions", table("actions", "None is recorded.")),
        ("signoff", "Sign-off and next date", _sign_off(content)),
        ("standards", "Index to the standards", _index()),
        ("integrity", "Integrity", _integrity(content)),
    ]  # fmt: skip
    return page.document(title, sections, top)


def _span(content: Content) -> str:
    return f"{content.start:%Y-%m-%d %H:%M} to {content.end:%Y-%m-%d %H:%M} UTC"


def _cards(content: Content) -> str:
    said, rpo, events = headline(content), content.rpo, content.rto.events
    good = None if rpo.compliance is None else bool(rpo.compliance == 1.0)
    worst = events["high_seconds"].max() if len(events) else float("nan")
    slowest = "no figure" if page.missing(worst) else f"slowest {worst:.4g} s"
    cards = [
        page.card("Known time with an RPO under " + f"{content.rpo_seconds:g} s", said["RPO compliance"], f"{said['RPO unknown']} of the time is unknown", good),
        page.card("Breaches of the RPO", said["RPO breaches"], f"worst {_or_unknown(rpo.summary.iloc[0]['max_seconds'])}", None if good is None else good),
        page.card(f"RTO under {content.rto_seconds:g} s", said["RTO met"], f"{said['RTO not met']} not, {said['RTO unknown']} unknown; {slowest}",
                  None if not len(events) else said["RTO not met"] == "0" == said["RTO unknown"]),
        page.card("Exposure", said["exposure"], "no usable reader protected the data", None),
        page.card("Last proof", said["last proof"], "succeeded within both objectives", said["last proof"] != "never"),
        page.card("Ready to fail over", said["ready"], f"score {said['readiness score']}", content.readiness.ready),
    ]  # fmt: skip
    named = page.items(rpo.problems, "") if rpo.problems else ""
    return f'<div class="cards">{"".join(cards)}</div>' + (
        f"<h3>Files of the history that could not be used</h3>{named}" if named else ""
    )


def _or_unknown(seconds: float) -> str:
    return "unknown" if page.missing(seconds) else f"{seconds:.4g} s"


def _scope(content: Content) -> str:
    people = sorted({name for record in content.inside for name in _people(record)})
    return page.facts(
        {
            **(content.scope or {"Stack": content.stack}),
            "Period": _span(content),
            "Objectives": f"RPO under {content.rpo_seconds:g} s, RTO under {content.rto_seconds:g} s",
            "Drills and incidents": f"{len(content.inside)} in the period",
            "Participants": ", ".join(people) or "none",
            "Product": content.product_version or "version not told",
        }
    ) + page.items(
        (
            f"RPO by telemetry: the replication lag as measured. A reading holds until the next one, at most {PERIODS_HELD} periods of "
            f"{PERIOD_SECONDS:g} s; after that the value is unknown, bounded above by the last reading plus its age. Error: what "
            "happened between two readings is not seen.",
            "Compliance: the share of the known time with an RPO under its objective. Unknown time is told beside it and is never "
            "counted as compliant. Percentiles are weighted by time.",
            "RPO of a drill: acknowledged commits that are not at the new writer, and the time they span. Exact for the ledger's "
            "commits; other tables were not counted.",
            "RTO: what a client saw, as an interval between the attempts around the outage; the upper end is compared with the target.",
            "Predicted RTO: every combination of detect, decide, database and traffic of up to ten earlier successful runs of the "
            "same scenario. Slower than predicted: the whole measured interval lies above the predicted p95.",
            "Exposure: the union of the times in which no usable reader protected the data.",
        ),
        "",
    )  # fmt: skip


def _people(record: Mapping[str, Any]) -> list[str]:
    who = record.get("who") or {}
    return [str(who[role]) for role in ("operator", "approved_by") if who.get(role)]


def _readiness(content: Content) -> str:
    found = content.readiness
    answer = f"{'Yes' if found.ready else 'No'}; score {found.score:.0f} of 100. A check that is unknown earns nothing."
    return page.paragraph(answer) + page.items(found.reasons, "Every check passed.")


def _event(record: Mapping[str, Any]) -> str:
    who, scope, rto, rpo = (record.get(name) or {} for name in ("who", "scope", "rto", "rpo"))
    exposure = record.get("exposure") or {}
    pages = [
        f'<article class="event"><h3>{escape(str(record.get("id")))}</h3>',
        page.facts(
            {
                "Kind and scenario": f"{record.get('kind')}, {record.get('scenario')}: {scope.get('from_site')} ({scope.get('from_region')}) to {scope.get('to_site')} ({scope.get('to_region')})",
                "Why": record.get("why"), "From, until": f"{record.get('started_at')}, {record.get('ended_at')}",
                "Participants": f"operator {who.get('operator')}, approved by {who.get('approved_by') or 'nobody'}, as {who.get('caller_arn') or 'an unknown AWS identity'}",
                "Result": f"{record.get('status')}{': ' + str(record['reason']) if record.get('reason') else ''}",
                "RTO": f"{_number(rto.get('low_seconds'))} to {_number(rto.get('high_seconds'))} s, target {_number(rto.get('target_seconds'))} s, met: {told(rto.get('met'))}",
                "RPO": f"{_number(rpo.get('lost_seconds'))} s, {_number(rpo.get('lost_commits'))} of {_number(rpo.get('acknowledged'))} acknowledged commits lost, "
                       f"{_number(rpo.get('in_doubt'))} in doubt, target {_number(rpo.get('target_seconds'))} s, met: {told(rpo.get('met'))}",
                "Exposure": f"{_number(exposure.get('seconds'))} s" if exposure else "none recorded",
                "Plan (SHA-256)": record.get("plan_hash"), "Record (SHA-256)": record.get("hash"),
            }
        ),
        "<h4>Preconditions</h4>", _conditions(record.get("preconditions") or []),
        "<h4>Overrides</h4>",
        page.items((f"{o.get('precondition')}: {o.get('reason')} (by {o.get('by')})" for o in record.get("overrides") or ()), "None."),
        "<h4>Timeline</h4>", _timeline(record.get("timeline") or []),
        "<h4>Postconditions</h4>", _conditions(record.get("postconditions") or []),
        "<h4>Deviations</h4>", page.items(map(str, record.get("deviations") or ()), "None recorded."),
        "</article>",
    ]  # fmt: skip
    return "".join(pages)


def _number(value: Any) -> str:
    return "unknown" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _conditions(found: Sequence[Mapping[str, Any]]) -> str:
    words = {False: "failed", None: "unknown"}
    bad = [
        f"{c.get('name')}: {words[c.get('passed')]}{': ' + str(c['reason']) if c.get('reason') else ''}"
        for c in found
        if c.get("passed") is not True
    ]
    good = [str(c.get("name")) for c in found if c.get("passed") is True]
    said = page.paragraph(f"Passed: {', '.join(good)}.") if good else ""
    return said + (page.items(bad, "") if bad else "") or page.paragraph("None recorded.")


def _timeline(entries: Sequence[Mapping[str, Any]]) -> str:
    rows = "".join(
        f'<tr><td class="t">{escape(str(e.get("at")))}</td><td>{escape(str(e.get("mark") or ""))}</td>'
        f"<td>{escape(str(e.get('source')))}</td><td>{escape(str(e.get('text')))}</td></tr>"
        for e in entries
    )
    head = "".join(f'<th scope="col">{name}</th>' for name in ("at (UTC)", "mark", "source", "what"))
    if not rows:
        return page.paragraph("None recorded.")
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _actions(content: Content) -> Any:
    import pandas as pd

    today = content.made.astimezone(sig.UTC).date().isoformat()
    rows = [
        {"record": record.get("id"), "action": action.get("text"), "owner": action.get("owner") or "unassigned",
         "due": action.get("due") or "no date", "overdue": "yes" if action.get("due") and str(action["due"])[:10] < today else "no"}
        for record in content.records for action in record.get("corrective_actions") or ()
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["record", "action", "owner", "due", "overdue"])


def _sign_off(content: Content) -> str:
    lines = content.sign_off or [{"role": role} for role in ("Drill operator", "Service owner", "Risk or audit")]
    rows = "".join(
        "<tr>"
        + "".join(f"<td>{escape(line.get(name, ''))}&nbsp;</td>" for name in ("role", "name", "date"))
        + '<td style="min-width:16em">&nbsp;</td></tr>'
        for line in lines
    )
    head = "".join(f'<th scope="col">{name}</th>' for name in ("role", "name", "date", "signature"))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>" + page.paragraph(
        f"Next drill due: {next_due(content)}."
    )


def next_due(content: Content) -> str:
    """The date given, or 90 days after the last proof; without one it is due at once."""
    if content.next_due:
        return content.next_due.isoformat()
    proofs = content.exposure.proofs.iloc[:-1]["last"].dropna()
    if not len(proofs):
        return "at once (nothing was proven yet)"
    return f"{max(proofs) + dt.timedelta(days=PROOF_DAYS):%Y-%m-%d} ({PROOF_DAYS:g} days after the last proof)"


def _standards() -> Any:
    import pandas as pd

    return pd.DataFrame(
        [
            {
                "framework": r.framework,
                "clause": r.clause,
                "asks": r.asks,
                "sections": " ".join(r.sections),
                "not shown here": r.limits,
            }
            for r in INDEX
        ]
    )


def _link(section: str) -> str:
    return f'<a href="#{section}">{section}</a>'


def _index() -> str:
    rows = "".join(
        f"<tr><td>{escape(r.framework)}</td><td>{escape(r.clause)}</td><td>{escape(r.asks)}</td>"
        f"<td>{', '.join(map(_link, r.sections)) or 'nowhere'}</td><td>{escape(r.limits)}</td></tr>"
        for r in INDEX
    )
    head = "".join(
        f'<th scope="col">{name}</th>' for name in ("framework", "clause", "asks (in short)", "see", "not shown here")
    )
    return (
        page.paragraph("Where to find what is asked. Whether it suffices is the auditor's to say.")
        + f'<div class="wide"><table><caption>data/standards.csv</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _integrity(content: Content) -> str:
    head = content.records[-1] if content.records else {}
    return page.facts(
        {
            "Records in this pack": len(content.records),
            "Head of their chain": f"{head.get('id')}, {head.get('hash')}" if head else "no record yet",
            "To verify": "dr report verify DIR: each file against manifest.json, each record against its hash, the chain against its head",
        }
    ) + page.paragraph(
        "manifest.json holds the SHA-256 of every file but its own; that one was told when the pack was made, and ought to be kept "
        "elsewhere. Files: index.html, data (a CSV behind every table, an empty cell is unknown), pictures, records."
    )  # fmt: skip
