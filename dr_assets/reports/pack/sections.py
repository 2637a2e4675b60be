"""The evidence page as data: sentences, cards, facts, tables and events, in the order in which the template shows them.

What auditors ask for: scope, dates, participants, scenario, targets against results with method and error, pre- and
postconditions, deviations, corrective actions with owner and due date, sign-off, next due date, and an index to the standards.
"""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dr_assets import utc
from dr_assets.drills.parts import Reconciliation
from dr_assets.reports.analysis import timeseries as sig
from dr_assets.reports.analysis.corrective_actions import actions_table
from dr_assets.reports.analysis.readiness import PROOF_DAYS
from dr_assets.reports.analysis.report import StackReport
from dr_assets.reports.analysis.rpo import PERIOD_SECONDS, PERIODS_HELD, UNKNOWN_SHARE
from dr_assets.reports.pack import event_section, formatting
from dr_assets.reports.pack import tables as views
from dr_assets.reports.pack.drawing import Picture
from dr_assets.reports.pack.event_section import Event, Fact, facts
from dr_assets.reports.pack.standards import INDEX, Requirement
from dr_assets.reports.pack.tables import Table, table


@dataclass(frozen=True)
class Signature:
    """Who signed, in which role and on which date (`2026-11-01`); empty where there is a line to sign on."""

    role: str
    name: str = ""
    date: str = ""


@dataclass(frozen=True)
class Content:
    """Everything the pack shows.

    `proposals`: drill -> the newest proposal for its lost writes. `sources`: key -> SHA-256 of each file of samples that was read.
    """

    report: StackReport
    start: dt.datetime
    end: dt.datetime
    made: dt.datetime
    pictures: Sequence[Picture]
    records: Sequence[Mapping[str, Any]]
    proposals: Mapping[str, Reconciliation]
    sources: Mapping[str, str]
    sign_off: Sequence[Signature]
    next_due: dt.date | None
    product_version: str

    @property
    def period(self) -> str:
        return f"{formatting.moment(self.start)} to {formatting.moment(self.end)} UTC"

    @property
    def records_in_period(self) -> list[tuple[str, Mapping[str, Any]]]:
        """The records that began in the period, each with its file in the pack."""
        numbered = [(f"records/{place:06d}.json", record) for place, record in enumerate(self.records, 1)]
        return [
            (f, r) for f, r in numbered if (at := sig.parse_utc(r.get("started_at"))) and self.start <= at < self.end
        ]


@dataclass(frozen=True)
class Card:
    """A headline figure. `tone`: good, bad or open."""

    label: str
    value: str
    detail: str
    tone: str


@dataclass(frozen=True)
class Image:
    """A chart on the page: sizes in CSS pixels, `svg` in base64."""

    name: str
    alt: str
    width: int
    min_width: int
    svg: str


@dataclass(frozen=True)
class Page:
    """What `templates/page.html.j2` shows, as text that is not escaped yet."""

    title: str
    period: str
    made: str
    answers: tuple[str, ...]
    cards: tuple[Card, ...]
    problems: tuple[str, ...]
    scope: tuple[Fact, ...]
    periods_held: int
    sample_period: str
    images: Mapping[str, Image]
    tables: Mapping[str, Table]
    readiness: str
    readiness_reasons: tuple[str, ...]
    detection_seconds: str | None
    events: tuple[Event, ...]
    sign_off: tuple[Signature, ...]
    next_due: str
    standards: tuple[Requirement, ...]
    integrity: tuple[Fact, ...]


def frames(content: Content) -> dict[str, Any]:
    """Name of the CSV file -> DataFrame, for every table of the page and those too long for it."""
    found = content.report
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
    """The headline figures as text; unknown stays unknown."""
    found = content.report
    rpo, events, exposure = found.rpo, found.rto.events, found.exposure
    counts = {answer: int((events["met"] == answer).sum()) for answer in ("yes", "no", "unknown")}
    proofs = exposure.proofs.iloc[:-1]["last"].dropna()
    return {
        "RPO compliance": "unknown" if rpo.compliance is None else formatting.share(rpo.compliance),
        "RPO unknown": formatting.share(rpo.unknown_share),
        "RPO breaches": str(len(rpo.breaches)),
        "RTO met": f"{counts['yes']} of {len(events)}" if len(events) else "no drill",
        "RTO not met": str(counts["no"]),
        "RTO unknown": str(counts["unknown"]),
        "exposure": f"{exposure.seconds / 60:.1f} min" + (" and still open" if exposure.open_since else ""),
        "last proof": f"{max(proofs):%Y-%m-%d}" if len(proofs) else "never",
        "ready": found.readiness.answer,
        "readiness score": f"{found.readiness.score:.0f} of 100",
    }


def page(content: Content) -> Page:
    """The page's data. The template has the wording that is the same for every report."""
    report, subject = content.report, content.report.subject
    ready = report.readiness
    people = sorted({name for _, record in content.records_in_period for name in event_section.participants(record)})
    kinds = [record.get("kind") for _, record in content.records_in_period]
    head = content.records[-1] if content.records else {}
    noticed = subject.detection_seconds
    return Page(
        title=f"Disaster recovery evidence, stack {subject.name}",
        period=content.period,
        made=formatting.moment(content.made.astimezone(utc.UTC)),
        answers=_answers(content),
        cards=_cards(content),
        problems=tuple(report.rpo.problems),
        scope=facts(
            {
                **(subject.scope or {"Stack": subject.name}),
                "Period": content.period,
                "Objectives": f"RPO under {subject.rpo_seconds:g} s, RTO under {subject.rto_seconds:g} s",
                "Drills and incidents": f"{kinds.count('drill')} and {kinds.count('incident')} in the period",
                "Participants": ", ".join(people) or "none",
                "Product": content.product_version or "unknown version",
            }
        ),
        periods_held=PERIODS_HELD,
        sample_period=f"{PERIOD_SECONDS:g}",
        images={each.name: _image(each) for each in content.pictures},
        tables=_tables(content),
        readiness=f"{'Yes' if ready.ready else 'No'}, as of {formatting.moment(content.end)} UTC; score {ready.score:.0f} of 100: "
        "the points below. A check that is unknown earns nothing.",
        readiness_reasons=ready.reasons,
        detection_seconds=None if noticed is None else f"{noticed:g}",
        events=tuple(
            event_section.event(record, file, content.proposals.get(str(record.get("id"))))
            for file, record in content.records_in_period
        ),
        sign_off=tuple(content.sign_off) or tuple(map(Signature, ("Drill operator", "Service owner", "Risk or audit"))),
        next_due=next_due(content),
        standards=INDEX,
        integrity=facts(
            {
                "Records in this pack": len(content.records),
                "Head of their chain": f"{head.get('id')}, {head.get('hash')}" if head else "no record yet",
                "To verify": "dr report verify DIR: each file against manifest.json, each record against its hash, the chain against its head",
            }
        ),
    )


def _tables(content: Content) -> dict[str, Table]:
    report = content.report
    shown = {
        "rpo-breaches": views.breaches(report),
        "rpo-drills": views.losses(report),
        "rto-events": views.recovery_times(report),
        "exposure-intervals": views.exposure_intervals(report),
        "incidents": views.incidents(report),
    }
    empty = {
        "rto-scenarios": {"trend_seconds_per_30_days": "too few"},
        "proofs": {"last": "never", "days_ago": "never"},
        "incidents": {"end": "open", "duration_seconds": "open"},
    }
    fold = {"rpo-breaches": "breaches", "rpo-gaps": "stretches"}
    return {
        name: table(name, frame, shown.get(name), empty.get(name), fold.get(name, ""))
        for name, frame in frames(content).items()
    }


def _image(picture: Picture) -> Image:
    width = round(106 * picture.width)
    return Image(picture.name, picture.alt, width, min(640, width), base64.b64encode(picture.svg).decode())


def _answers(content: Content) -> tuple[str, ...]:
    """Whether the objectives were met, since when, and when not: in sentences."""
    found, subject = content.report, content.report.subject
    rpo, breaches, events = found.rpo, found.rpo.breaches, found.rto.events
    if rpo.compliance is None:
        sentences = ["Recovery point: unknown. There is no reading in this period."]
    elif not len(breaches):
        only = " only, so it is open whether it was in the rest" if rpo.unknown_share > UNKNOWN_SHARE else ""
        sentences = [
            f"Recovery point: under {subject.rpo_seconds:g} s in all of the known time, which is "
            f"{formatting.share(1 - rpo.unknown_share)} of the period{only}."
        ]
    else:
        last = breaches.iloc[-1]
        worst = breaches.loc[breaches["depth_seconds"].idxmax()]
        words = {
            "recovered": f"none is known since {formatting.moment(last['end'])}",
            "period ended": "the last one goes on",
        }
        since = words.get(last["ended_by"], "how the last one ended is unknown")
        sentences = [
            f"Recovery point: under {subject.rpo_seconds:g} s in {formatting.share(rpo.compliance)} of the known time, which is "
            f"{formatting.share(1 - rpo.unknown_share)} of the period. {len(breaches)} breach{'es' if len(breaches) > 1 else ''}, the deepest "
            f"{worst['depth_seconds']:.1f} s from {formatting.moment(worst['start'])}; {since}."
        ]
    if not len(events):
        sentences.append("Recovery time: no drill and no incident in this period, so nothing was proven in it.")
    else:
        met = int((events["met"] == "yes").sum())
        text = f"Recovery time: {met} of {len(events)} drills and incidents under {subject.rto_seconds:g} s."
        for _, event in events[events["met"] != "yes"].iterrows():
            took = (
                "without a measured time"
                if formatting.missing(event["high_seconds"])
                else f"{event['high_seconds']:.4g} s"
            )
            text += f" {views.scenario_and_kind(event).capitalize()} on {event['started_at']:%Y-%m-%d}: {event['status']}, {took}."
        sentences.append(text)
    return tuple(sentences)


def _cards(content: Content) -> tuple[Card, ...]:
    report, subject, figures = content.report, content.report.subject, headline(content)
    rpo, events, opened = report.rpo, report.rto.events, report.exposure.open_since
    under = None if rpo.compliance is None else bool(rpo.compliance == 1.0)
    much, limit = rpo.unknown_share > UNKNOWN_SHARE, formatting.share(UNKNOWN_SHARE)
    if under and much:
        under = None  # what is known is good, and too much is not known
    worst = events["high_seconds"].max() if len(events) else float("nan")
    slowest = "no figure" if formatting.missing(worst) else f"slowest {worst:.4g} s"
    recovered = None if not len(events) else figures["RTO not met"] == "0" == figures["RTO unknown"]
    still_open = f"; open since {formatting.moment(opened)}" if opened else ""
    cards = (
        (
            f"Known time with an RPO under {subject.rpo_seconds:g} s",
            figures["RPO compliance"],
            f"{figures['RPO unknown']} of the time is unknown" + (f", more than {limit}" if much else ""),
            under,
        ),
        (
            "Breaches of the RPO",
            figures["RPO breaches"],
            f"worst {formatting.seconds(rpo.summary.iloc[0]['max_seconds'])}",
            under,
        ),
        (
            f"RTO under {subject.rto_seconds:g} s",
            figures["RTO met"],
            f"{figures['RTO not met']} not, {figures['RTO unknown']} unknown; {slowest}",
            recovered,
        ),
        (
            "Exposure (h:mm:ss)",
            formatting.clock(round(report.exposure.seconds)),
            f"no usable reader protected the data{still_open}",
            False if opened else None,
        ),
        (
            "Last proof",
            figures["last proof"],
            f"succeeded within both objectives; must be no older than {PROOF_DAYS:g} days",
            bool(report.exposure.proofs.iloc[:-1]["days_ago"].min() <= PROOF_DAYS),  # NaN, never, is not
        ),
        (
            f"Ready to fail over, {formatting.moment(content.end)}",
            figures["ready"],
            f"score {figures['readiness score']}",
            report.readiness.ready,
        ),
    )
    tones = {True: "good", False: "bad", None: "open"}
    return tuple(Card(label, value, detail, tones[good]) for label, value, detail, good in cards)


def next_due(content: Content) -> str:
    """The date given, or 90 days after the last proof; without one it is due at once."""
    if content.next_due:
        return content.next_due.isoformat()
    proofs = content.report.exposure.proofs.iloc[:-1]["last"].dropna()
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
