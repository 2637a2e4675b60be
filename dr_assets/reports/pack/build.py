"""Build and write the evidence pack's files: page, a CSV for each table, charts, raw records, manifest.

Reads neither network nor AWS and never changes the history.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dr_assets import utc
from dr_assets.drills.parts import Reconciliation
from dr_assets.history.documents import ActionChange, StoredIncident
from dr_assets.reports.analysis.readiness import Check
from dr_assets.reports.analysis.report import StackReport, Subject, stack_report
from dr_assets.reports.pack import charts, folder, formatting, page, sections
from dr_assets.reports.pack.drawing import Picture
from dr_assets.reports.pack.exposure_calendar import exposure_calendar
from dr_assets.reports.pack.manifest import MANIFEST, ChainHead, Manifest, ManifestFile, sha256
from dr_assets.reports.pack.sections import Signature
from dr_assets.stack import Stack


@dataclass(frozen=True)
class Pack:
    """A written pack: its folder, its headline figures as text, the SHA-256 of its manifest (keep that elsewhere), its contents.

    `files` are the paths of its files below the folder, the manifest last.
    """

    directory: Path
    files: Sequence[str]
    headline: Mapping[str, str]
    manifest_sha256: str
    report: StackReport
    pictures: Sequence[Picture]


def pictures(report: StackReport, names: Sequence[str] = ()) -> list[Picture]:
    """The charts of a report: all of them, or those that are named."""
    name = report.rpo.stack
    drawn: dict[str, Callable[[], Picture]] = {
        "rpo-over-time": lambda: charts.rpo_over_time(report.rpo),
        "lag-heat-map": lambda: charts.lag_heat_map(report.what_if, name),
        "rto-parts": lambda: charts.rto_parts(report.rto, name),
        "exposure-calendar": lambda: exposure_calendar(report.exposure, name),
    }
    return [drawn[each]() for each in names or drawn]


def write_pack(
    directory: Path | str,
    stack: Stack | Subject,
    start: dt.datetime,
    end: dt.datetime,
    samples: Any,
    records: Sequence[Mapping[str, Any]],
    *,
    now: dt.datetime | None = None,
    checks: Sequence[Check] = (),
    restores: Sequence[dt.datetime] = (),
    problems: Sequence[str] = (),
    incidents: Sequence[StoredIncident] = (),
    changes: Sequence[ActionChange] = (),
    statements: Sequence[tuple[str, bytes | None]] = (),
    days: Sequence[tuple[str, bytes]] = (),
    proposals: Mapping[str, Reconciliation] | None = None,
    sources: Mapping[str, str] | None = None,
    sign_off: Sequence[Signature] = (),
    next_due: dt.date | None = None,
    product_version: str = "",
) -> Pack:
    """Write the pack of [start, end) into `directory`, replacing an earlier pack there.

    Args:
        records: all of the stack's in the order of their chain; those before the period serve predictions and proofs.
        checks, restores, problems, incidents, changes: as for `stack_report`; the page lists `problems`.
        statements: name and content of each signed statement over the chain of records.
        days: name and content of the newest manifest of each day with samples.
        proposals: drill -> the newest proposal for its lost writes; it may be made after the record.
        sources: the key and the SHA-256 of each file of samples that was read, to which every figure can be traced.
        sign_off: who signed; without any, the page has lines to sign on.
        next_due: when the next drill is due; by default 90 days after the last proof.

    Raises RefusedError where `directory` holds anything but an unchanged pack of this stack, DrError where it cannot be written.
    """
    subject = stack if isinstance(stack, Subject) else Subject.of(stack)
    made = now or utc.now()
    target = Path(directory).absolute()
    folder.require_replaceable(target, subject.name)
    report = stack_report(subject, start, end, samples, records, made, checks, restores, problems, incidents, changes)
    drawn = pictures(report)
    content = sections.Content(
        report=report,
        start=start,
        end=end,
        made=made,
        pictures=drawn,
        records=records,
        proposals=proposals or {},
        sources=sources or {},
        sign_off=sign_off,
        next_due=next_due,
        product_version=product_version,
    )
    files: dict[str, bytes] = {"index.html": page.render(sections.page(content)).encode()}
    files |= {f"data/{name}.csv": formatting.csv(frame) for name, frame in sections.frames(content).items()}
    for picture in drawn:
        files |= {f"pictures/{picture.name}.png": picture.png, f"pictures/{picture.name}.svg": picture.svg}
    for place, record in enumerate(records, 1):
        files[f"records/{place:06d}.json"] = (json.dumps(record, indent=1) + "\n").encode()
    for key, data in statements:
        if data is not None:
            files[f"statements/{key.rpartition('/')[2]}"] = data
    files |= {f"days/{name}": data for name, data in days}
    shown = set(report.incidents["id"])
    for incident in incidents:
        if incident.id in shown:
            files[f"incidents/{_file_name(incident.id)}.json"] = incident.to_bytes()
    manifest = Manifest(
        stack=subject.name,
        start=start,
        end=end,
        made_at=made,
        product_version=product_version,
        records=len(records),
        chain_head=ChainHead.of(records[-1] if records else None),
        files={name: ManifestFile(sha256=sha256(data), bytes=len(data)) for name, data in sorted(files.items())},
    )
    folder.put(target, subject.name, files, manifest.to_bytes())
    return Pack(target, [*files, MANIFEST], sections.headline(content), sha256(manifest.to_bytes()), report, drawn)


def _file_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", text).lstrip(".")
