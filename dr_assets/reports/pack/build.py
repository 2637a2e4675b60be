"""Build and write the evidence pack's files: page, a CSV for each table, charts, raw records, manifest.

Reads neither network nor AWS and never changes the history. A pack is written beside its place and renamed, so that a reader finds
a whole one or none.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dr_assets import utc
from dr_assets.errors import DrError, RefusedError
from dr_assets.history.documents import ActionChange, StoredIncident
from dr_assets.reports.analysis.readiness import Check
from dr_assets.reports.analysis.report import StackReport, Subject, stack_report
from dr_assets.reports.pack import charts, formatting, page, sections
from dr_assets.reports.pack.drawing import Picture
from dr_assets.reports.pack.exposure_calendar import exposure_calendar
from dr_assets.reports.pack.manifest import MANIFEST, ChainHead, Manifest, ManifestFile, sha256
from dr_assets.reports.pack.sections import Signature
from dr_assets.stack import Stack

_STALE_SECONDS = 3600.0  # age at which folders of a killed writer are removed


@dataclass(frozen=True)
class Pack:
    """A written pack: its folder, its headline figures as text, the SHA-256 of its manifest (keep that elsewhere), its contents."""

    directory: Path
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
    sources: Mapping[str, str] | None = None,
    sign_off: Sequence[Signature] = (),
    next_due: dt.date | None = None,
    product_version: str = "",
) -> Pack:
    """Write the pack of [start, end) into `directory`, replacing an earlier pack there.

    Args:
        records: all of the stack's in the order of their chain; those before the period serve predictions and proofs.
        checks, restores, problems, incidents, changes: as for `stack_report`; the page lists `problems`.
        sources: the key and the SHA-256 of each file of samples that was read, to which every figure can be traced.
        sign_off: who signed; without any, the page has lines to sign on.
        next_due: when the next drill is due; by default 90 days after the last proof.

    Raises RefusedError where `directory` holds something else, DrError where it cannot be written.
    """
    subject = stack if isinstance(stack, Subject) else Subject.of(stack)
    made = now or dt.datetime.now(utc.UTC)
    target = Path(directory).absolute()
    _replaceable(target)
    report = stack_report(subject, start, end, samples, records, made, checks, restores, problems, incidents, changes)
    drawn = pictures(report)
    content = sections.Content(
        report=report,
        start=start,
        end=end,
        made=made,
        pictures=drawn,
        records=records,
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
    files[MANIFEST] = manifest.to_bytes()
    _put(target, files)
    return Pack(target, sections.headline(content), sha256(files[MANIFEST]), report, drawn)


def _file_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", text).lstrip(".")


def _replaceable(target: Path) -> None:
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not (target / MANIFEST).is_file() or not (target / "index.html").is_file():
        raise RefusedError(
            f"{target} holds something that is no evidence pack; nothing was written. Choose another folder."
        )


def _put(target: Path, files: Mapping[str, bytes]) -> None:
    """Write all files into a folder beside the target, flush, then rename twice; after a kill in between the old pack is beside it."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for stale in target.parent.glob(f".{target.name}.*"):  # of a killed writer
            if stale.suffix in (".part", ".old") and time.time() - stale.stat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(stale, ignore_errors=True)
        part = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent))
    except OSError as error:
        raise DrError(f"{target.parent} cannot be written ({error.strerror}). Choose another folder.") from error
    try:
        for name, data in files.items():
            path = part / name
            path.parent.mkdir(exist_ok=True)
            with path.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        part.chmod(0o755)  # mkdtemp lets only the owner in
        old = part.with_suffix(".old")
        if target.exists():
            target.rename(old)
        try:
            part.rename(target)
        except OSError:
            with contextlib.suppress(OSError):
                old.rename(target)
            raise
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise DrError(
            f"The pack could not be written to {target} ({error.strerror}). Choose another folder."
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
