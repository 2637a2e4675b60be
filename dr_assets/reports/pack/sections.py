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

from dr_assets import utc
from dr_assets.reports.analysis import timeseries as sig
from dr_assets.reports.analysis.corrective_actions import actions_table
from dr_assets.reports.analysis.readiness import PROOF_DAYS
from dr_assets.reports.analysis.report import Figures
from dr_assets.reports.analysis.rpo import PERIOD_SECONDS, PERIODS_HELD
from dr_assets.reports.pack import event_section
from dr_assets.reports.pack import html as page
from dr_assets.reports.pack import tables as views
from dr_assets.reports.pack.drawing import Picture
from dr_assets.reports.pack.standards import INDEX

_FOLD = 12  # longer lists are folded


@dataclass(frozen=True)
class Content:
    """Everything the page shows. `sources`: key -> SHA-256 of each file of samples that was read."""

    figures: Figures
    start: dt.datetime
    end: dt.datetime
    made: dt.datetime
    pictures: Sequence[Picture]
    records: Sequence[Mapping[str, Any]]
    sources: Mapping[str, str]
    sign_off: Sequence[Mapping[str, str]]
    next_due: dt.date | None
    product_version: str

    @property
    def inside(self) -> list[tuple[str, Mapping[str, Any]]]:
        """The records that began in the period, each with its file in the pack."""
        numbered = [(f"records/{place:06d}.json", record) for place, record in enumerate(self.records, 1)]
        return [
            (f, r) for f, r in numbered if (at := sig.parse_utc(r.get("started_at"))) and self.start <= at < self.end
        ]


def tables(content: Content) -> dict[str, Any]:
    """Name (of the CSV) -> DataFrame, for every table of the page and those too long for it."""
    found = content.figures
    rpo, guess, exposure = found.rpo, found.what_if, found.exposure
    return {
        "rpo-summary": rpo.summary,
        "rpo-days": rpo.days,
        "rpo-weeks": rpo.weeks,
        "rpo-months": rpo.months,
        "rpo-breaches": rpo.breaches,
        "rpo-gaps": rpo.gaps,
        "rpo-drills": rpo.drills,
        "whatif-overall": guess.overall,
        "whatif-hours": guess.hours,
        "whatif-weekdays": guess.weekdays,
        "rto-events": found.rto.events,
        "rto-scenarios": found.rto.scenarios,
        "exposure-intervals": exposure.intervals,
        "exposure-days": exposure.days,
        "proofs": exposure.proofs,
        "incidents": found.incidents,
        "readiness": found.readiness.checks,
        "actions": actions_table(found.actions, content.made.astimezone(utc.UTC).date()),
        "standards": _standards(),
        "sources": _sources(content),
    }


def headline(content: Content) -> dict[str, str]:
    """The figures that come first, in words; unknown stays unknown."""
    found = content.figures
    rpo, events, exposure = found.rpo, found.rto.events, found.exposure
    counts = {answer: int((events["met"] == answer).sum()) for answer in ("yes", "no", "unknown")}
    proofs = exposure.proofs.iloc[:-1]["last"].dropna()
    return {
        "RPO compliance": "unknown" if rpo.compliance is None else page.share(rpo.compliance),
        "RPO unknown": page.share(rpo.unknown_share),
        "RPO breaches": str(len(rpo.breaches)),
        "RTO met": f"{counts['yes']} of {len(events)}" if len(events) else "no drill",
        "RTO not met": str(counts["no"]),
        "RTO unknown": str(counts["unknown"]),
        "exposure": f"{exposure.seconds / 60:.1f} min" + (" and still open" if exposure.open_since else ""),
        "last proof": f"{max(proofs):%Y-%m-%d}" if len(proofs) else "never",
        "ready": found.readiness.answer,
        "readiness score": f"{found.readiness.score:.0f} of 100",
    }


def html(content: Content) -> str:
    frames, pictures = tables(content), {picture.name: picture for picture in content.pictures}
    found, subject = content.figures, content.figures.subject
    title = f"Disaster recovery evidence, stack {subject.name}"
    top = page.paragraph(
        f"{_span(content)}. Made {content.made.astimezone(utc.UTC):%Y-%m-%d %H:%M} UTC. All times are UTC."
    )

    def table(name: str, nothing: str, **more: Any) -> str:
        return page.table(frames[name], name, nothing, **more)

    def long(name: str, nothing: str, what: str, **more: Any) -> str:
        frame = frames[name]
        if len(frame) <= _FOLD:
            return table(name, nothing, **more)
        total = page.clock(float(frame["duration_seconds"].sum()))
        worst = page.clock(float(frame["duration_seconds"].max()))
        return page.folded(f"{len(frame)} {what}, {total} in all, the longest {worst}", table(name, nothing, **more))

    def image(name: str) -> str:
        return page.figure(pictures[name])

    h3 = "<h3>{}</h3>".format
    noticed = (
        ""
        if subject.detection_seconds is None
        else f" A failure is to be noticed within {subject.detection_seconds:g} s."
    )
    events = "".join(event_section.event(record, file) for file, record in content.inside)
    sections = [
        ("summary", "Summary", _answer(content) + _cards(content)),
        ("scope", "Scope and method", _scope(content)),
        (
            "rpo",
            "Recovery point: telemetry and drills",
            image("rpo-over-time")
            + h3("The stack, and each site and source by itself")
            + table("rpo-summary", "")
            + h3("By month")
            + table("rpo-months", "")
            + h3("Breaches")
            + long(
                "rpo-breaches", "No breach in the known time of this period.", "breaches", shown=views.breaches(found)
            )
            + h3("Unknown time")
            + long("rpo-gaps", "There was a reading at every moment.", "stretches")
            + h3("What drills and incidents lost, beside what telemetry said before the fault")
            + table("rpo-drills", "No drill and no incident in this period.", shown=views.lost(found))
            + page.folded("By week", table("rpo-weeks", ""))
            + page.folded("By day", table("rpo-days", "")),
        ),
        (
            "whatif",
            "Had the region failed",
            page.paragraph("Each whole minute is one experiment: what had not arrived then would have been lost.")
            + image("lag-heat-map")
            + table("whatif-overall", "")
            + page.folded("By hour", table("whatif-hours", ""))
            + page.folded("By weekday", table("whatif-weekdays", "")),
        ),
        (
            "rto",
            "Recovery time",
            image("rto-parts")
            + h3("Every drill and incident")
            + table("rto-events", "No drill and no incident in this period.", shown=views.took(found))
            + h3("By scenario, and what is to be expected next")
            + table("rto-scenarios", "", empty={"trend_seconds_per_30_days": "too few"}),
        ),
        (
            "exposure",
            "Exposure and proofs",
            image("exposure-calendar")
            + table("exposure-intervals", "No exposure is known of in this period.", shown=views.exposed(found))
            + h3("Last proofs")
            + table("proofs", "", empty={"last": "never", "days_ago": "never"}),
        ),
        ("readiness", "Ready to fail over", _readiness(content) + table("readiness", "Nothing was checked.")),
        (
            "incidents",
            "Incidents seen by the sensors",
            page.paragraph(
                f"From the first bad reading, by its source's clock.{noticed} What a failover took: see Recovery time."
            )
            + table(
                "incidents",
                "None in this period.",
                shown=views.incidents(found),
                empty={"end": "open", "duration_seconds": "open"},
            ),
        ),
        ("events", "Drills and incidents in full", events or page.paragraph("None in this period.")),
        ("actions", "Corrective actions", table("actions", "None is recorded.")),
        ("signoff", "Sign-off and next date", _sign_off(content)),
        ("standards", "Index to the standards", _index()),
        (
            "integrity",
            "Integrity",
            _integrity(content)
            + page.folded("The files of samples behind the figures", table("sources", "No sample was found.")),
        ),
    ]
    return page.document(title, sections, top)


def _span(content: Content) -> str:
    return f"{content.start:%Y-%m-%d %H:%M} to {content.end:%Y-%m-%d %H:%M} UTC"


def _answer(content: Content) -> str:
    """Within the objectives, since when, and when not: in sentences."""
    found, subject = content.figures, content.figures.subject
    rpo, breaches, events = found.rpo, found.rpo.breaches, found.rto.events
    if rpo.compliance is None:
        said = ["Recovery point: unknown. There is no reading in this period."]
    elif not len(breaches):
        said = [
            f"Recovery point: under {subject.rpo_seconds:g} s in all of the known time, which is {page.share(1 - rpo.unknown_share)} of the period."
        ]
    else:
        last = breaches.iloc[-1]
        worst = breaches.loc[breaches["depth_seconds"].idxmax()]
        words = {
            "recovered": f"none is known since {last['end']:%Y-%m-%d %H:%M}",
            "period ended": "the last one goes on",
        }
        since = words.get(last["ended_by"], "how the last one ended is unknown")
        said = [
            f"Recovery point: under {subject.rpo_seconds:g} s in {page.share(rpo.compliance)} of the known time, which is "
            f"{page.share(1 - rpo.unknown_share)} of the period. {len(breaches)} breach{'es' if len(breaches) > 1 else ''}, the deepest "
            f"{worst['depth_seconds']:.1f} s from {worst['start']:%Y-%m-%d %H:%M}; {since}."
        ]
    if not len(events):
        said.append("Recovery time: no drill and no incident in this period, so nothing was proven in it.")
    else:
        met = int((events["met"] == "yes").sum())
        text = f"Recovery time: {met} of {len(events)} drills and incidents under {subject.rto_seconds:g} s."
        for _, event in events[events["met"] != "yes"].iterrows():
            took = (
                "without a measured time" if page.missing(event["high_seconds"]) else f"{event['high_seconds']:.4g} s"
            )
            text += f" {views.what(event).capitalize()} on {event['started_at']:%Y-%m-%d}: {event['status']}, {took}."
        said.append(text)
    return "".join(f'<p class="answer">{escape(text)}</p>' for text in said)


def _cards(content: Content) -> str:
    found, subject = content.figures, content.figures.subject
    said, rpo, events = headline(content), found.rpo, found.rto.events
    good = None if rpo.compliance is None else bool(rpo.compliance == 1.0)
    worst = events["high_seconds"].max() if len(events) else float("nan")
    slowest = "no figure" if page.missing(worst) else f"slowest {worst:.4g} s"
    opened = found.exposure.open_since
    cards = [
        page.card(
            f"Known time with an RPO under {subject.rpo_seconds:g} s",
            said["RPO compliance"],
            f"{said['RPO unknown']} of the time is unknown",
            good,
        ),
        page.card(
            "Breaches of the RPO",
            said["RPO breaches"],
            f"worst {_or_unknown(rpo.summary.iloc[0]['max_seconds'])}",
            good,
        ),
        page.card(
            f"RTO under {subject.rto_seconds:g} s",
            said["RTO met"],
            f"{said['RTO not met']} not, {said['RTO unknown']} unknown; {slowest}",
            None if not len(events) else said["RTO not met"] == "0" == said["RTO unknown"],
        ),
        page.card(
            "Exposure (h:mm:ss)",
            page.clock(round(found.exposure.seconds)),
            "no usable reader protected the data" + (f"; open since {opened:%Y-%m-%d %H:%M}" if opened else ""),
            False if opened else None,
        ),
        page.card("Last proof", said["last proof"], "succeeded within both objectives", said["last proof"] != "never"),
        page.card(
            f"Ready to fail over, {content.end:%Y-%m-%d %H:%M}",
            said["ready"],
            f"score {said['readiness score']}",
            found.readiness.ready,
        ),
    ]
    named = page.items(rpo.problems, "") if rpo.problems else ""
    return f'<div class="cards">{"".join(cards)}</div>' + (
        f"<h3>Files of the history that could not be used</h3>{named}" if named else ""
    )


def _or_unknown(seconds: float) -> str:
    return "unknown" if page.missing(seconds) else f"{seconds:.4g} s"


def _scope(content: Content) -> str:
    subject = content.figures.subject
    people = sorted({name for _, record in content.inside for name in event_section.people(record)})
    kinds = [record.get("kind") for _, record in content.inside]
    return page.facts(
        {
            **(subject.scope or {"Stack": subject.name}),
            "Period": _span(content),
            "Objectives": f"RPO under {subject.rpo_seconds:g} s, RTO under {subject.rto_seconds:g} s",
            "Drills and incidents": f"{kinds.count('drill')} and {kinds.count('incident')} in the period",
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
            "Exposure: the union of the times in which no usable reader protected the data, as drills and sensors saw them. Where a "
            "drill broke off before it saw the end, a later record or 15 minutes of readings tell it.",
        ),
        "",
    )


def _readiness(content: Content) -> str:
    found = content.figures.readiness
    answer = (
        f"{'Yes' if found.ready else 'No'}, as of {content.end:%Y-%m-%d %H:%M} UTC; score {found.score:.0f} of 100: the points below. "
        "A check that is unknown earns nothing."
    )
    return page.paragraph(answer) + page.items(found.reasons, "Every check passed.")


def _sign_off(content: Content) -> str:
    lines = content.sign_off or [{"role": role} for role in ("Drill operator", "Service owner", "Risk or audit")]
    rows = "".join(
        "<tr>"
        + "".join(f"<td>{escape(line.get(name, ''))}&nbsp;</td>" for name in ("role", "name", "date"))
        + '<td class="sign">&nbsp;</td></tr>'
        for line in lines
    )
    head = "".join(f'<th scope="col">{name}</th>' for name in ("role", "name", "date", "signature"))
    return (
        f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
        + page.paragraph(f"Next drill due: {next_due(content)}.")
    )


def next_due(content: Content) -> str:
    """The date given, or 90 days after the last proof; without one it is due at once."""
    if content.next_due:
        return content.next_due.isoformat()
    proofs = content.figures.exposure.proofs.iloc[:-1]["last"].dropna()
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


def _sources(content: Content) -> Any:
    import pandas as pd

    rows = [{"file": key, "sha256": found} for key, found in sorted(content.sources.items())]
    return pd.DataFrame(rows, columns=["file", "sha256"])


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
        "elsewhere. Files: index.html, data (a CSV behind every table, an empty cell is unknown), pictures, records and incidents as "
        "they are kept. data/sources.csv names the Parquet files of the history that were read, with the SHA-256 of each."
    )
