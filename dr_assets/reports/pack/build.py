"""The evidence pack: one page, the CSV of every table, every picture, the raw records and a manifest that proves them whole.

May import `stack`, `errors` and its neighbours. Never reads the network or AWS, and never changes the history. A pack is
written beside its place and renamed, so that there is a whole one or none.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from dr_assets import utc
from dr_assets.errors import DrError, RefusedError
from dr_assets.reports.analysis.report import Figures, Subject, figures
from dr_assets.reports.pack import charts, html, sections
from dr_assets.reports.pack.drawing import Picture
from dr_assets.reports.pack.exposure_calendar import exposure_calendar
from dr_assets.stack import Stack

SCHEMA = "dr-assets/pack/1"
MANIFEST = "manifest.json"
_LEFT_SECONDS = 3600.0


@dataclass(frozen=True)
class Pack:
    """Where it is, its headline figures in words, and the SHA-256 of its manifest: keep that elsewhere. And what it was made of."""

    directory: Path
    headline: Mapping[str, str]
    manifest_sha256: str
    figures: Figures
    pictures: Sequence[Picture]


def pictures(found: Figures, names: Sequence[str] = ()) -> list[Picture]:
    """The pictures of these reports: all of them, or those that are named."""
    name = found.rpo.stack
    drawn: dict[str, Callable[[], Picture]] = {
        "rpo-over-time": lambda: charts.rpo_over_time(found.rpo),
        "lag-heat-map": lambda: charts.lag_heat_map(found.what_if, name),
        "rto-parts": lambda: charts.rto_parts(found.rto, name),
        "exposure-calendar": lambda: exposure_calendar(found.exposure, name),
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
    checks: Sequence[Mapping[str, Any]] = (),
    restores: Sequence[dt.datetime] = (),
    problems: Sequence[str] = (),
    incidents: Sequence[Mapping[str, Any]] = (),
    changes: Sequence[Mapping[str, Any]] = (),
    sources: Mapping[str, str] | None = None,
    sign_off: Sequence[Mapping[str, str]] = (),
    next_due: dt.date | None = None,
    product_version: str = "",
) -> Pack:
    """Write the pack of [start, end) into `directory`, replacing an earlier pack there.

    Args:
        records: all of the stack in the order of their chain; those before the period serve predictions and proofs.
        checks, restores, problems, incidents, changes: as for `figures`; `problems` stand on the page.
        sources: the key and the SHA-256 of each file of samples that was read: what the figures can be traced to.
        sign_off: `role`, `name`, `date` of those who signed; without any, there are lines to sign on.
        next_due: when the next drill is due; by default 90 days after the last proof.

    Raises RefusedError where `directory` holds something else, DrError where it cannot be written.
    """
    subject = stack if isinstance(stack, Subject) else Subject.of(stack)
    made = now or dt.datetime.now(utc.UTC)
    target = Path(directory).absolute()
    _replaceable(target)
    found = figures(subject, start, end, samples, records, made, checks, restores, problems, incidents, changes)
    drawn = pictures(found)
    content = sections.Content(
        found, start, end, made, drawn, records, sources or {}, sign_off, next_due, product_version
    )
    files: dict[str, bytes] = {"index.html": sections.html(content).encode()}
    files |= {f"data/{name}.csv": html.csv(frame) for name, frame in sections.tables(content).items()}
    for picture in drawn:
        files |= {f"pictures/{picture.name}.png": picture.png, f"pictures/{picture.name}.svg": picture.svg}
    for place, record in enumerate(records, 1):
        files[f"records/{place:06d}.json"] = (json.dumps(record, indent=1) + "\n").encode()
    shown = set(found.incidents["id"])
    for incident in incidents:
        if incident["id"] in shown:
            files[f"incidents/{_file_name(incident['id'])}.json"] = (
                json.dumps(incident, indent=1, sort_keys=True) + "\n"
            ).encode()
    head = records[-1] if records else None
    manifest = {
        "schema": SCHEMA,
        "stack": subject.name,
        "from": utc.to_text(start),
        "to": utc.to_text(end),
        "made_at": utc.to_text(made),
        "product_version": product_version,
        "records": len(records),
        "chain_head": {"id": head.get("id"), "hash": head.get("hash")} if head else None,
        "files": {name: {"sha256": _sha(data), "bytes": len(data)} for name, data in sorted(files.items())},
    }
    files[MANIFEST] = (json.dumps(manifest, indent=1) + "\n").encode()
    _put(target, files)
    return Pack(target, sections.headline(content), _sha(files[MANIFEST]), found, drawn)


def _file_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", text).lstrip(".")


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _replaceable(target: Path) -> None:
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not (target / MANIFEST).is_file() or not (target / "index.html").is_file():
        raise RefusedError(
            f"{target} holds something that is no evidence pack; nothing was written. Choose another folder."
        )


def _put(target: Path, files: Mapping[str, bytes]) -> None:
    """All files into a folder beside the target, flushed, then two renames; killed in between, the old pack is still beside it."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for left in target.parent.glob(f".{target.name}.*"):  # of a writer that was killed
            if left.suffix in (".part", ".old") and time.time() - left.stat().st_mtime > _LEFT_SECONDS:
                shutil.rmtree(left, ignore_errors=True)
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
        part.chmod(0o755)  # mkdtemp's own is for its owner alone
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


# --- proof ------------------------------------------------------------------------------------------------------------------


def verify_pack(directory: Path | str, manifest_sha256: str | None = None) -> list[str]:
    """What is wrong with the pack, in words; an empty list proves that its files are those it was written with.

    The manifest proves the files, the chain proves the records. The manifest itself is proven by its SHA-256, which
    `write_pack` answers and which ought to be kept elsewhere. Raises nothing for a damaged pack.
    """
    root = Path(directory)
    try:
        data = (root / MANIFEST).read_bytes()
        if manifest_sha256 and _sha(data) != manifest_sha256.strip().lower():
            return [f"{MANIFEST} was changed: its SHA-256 is {_sha(data)}"]
        manifest = json.loads(data)
    except OSError as error:
        return [f"{root / MANIFEST} cannot be read ({error.strerror}): this is no evidence pack"]
    except ValueError as error:
        return [f"{MANIFEST} is not JSON ({error})"]
    if (
        not isinstance(manifest, dict)
        or manifest.get("schema") != SCHEMA
        or not isinstance(manifest.get("files"), dict)
    ):
        return [f"{MANIFEST} is none of {SCHEMA}"]
    problems = []
    for name, told in manifest["files"].items():
        problems += _verify_file(root, name, told)
    listed = {*manifest["files"], MANIFEST}
    there = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_symlink() or not path.is_dir()}
    problems += [f"{name} is not in the manifest: it was added" for name in sorted(there - listed)]
    return problems + _verify_records(root, manifest)


def _verify_file(root: Path, name: str, told: Any) -> list[str]:
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts or not isinstance(told, dict):
        return [f"{name} in the manifest is no file of a pack"]
    path = root / name
    if path.is_symlink():
        return [f"{name} is a link: a pack holds its files itself"]
    try:
        data = path.read_bytes()
    except OSError as error:
        return [f"{name} cannot be read ({error.strerror})"]
    return [] if _sha(data) == told.get("sha256") else [f"{name} was changed: its SHA-256 is not the manifest's"]


def _verify_records(root: Path, manifest: Mapping[str, Any]) -> list[str]:
    names = sorted(name for name in manifest["files"] if re.fullmatch(r"records/\d{6,}\.json", name))
    problems = (
        []
        if len(names) == manifest.get("records")
        else [f"{len(names)} records are listed, {manifest.get('records')} counted"]
    )
    before: Any = None
    last: dict[str, Any] | None = None
    for name in names:
        try:
            record = json.loads((root / name).read_bytes())
            found = record_hash(record)
        except (OSError, ValueError, AttributeError):
            problems.append(f"{name} is no record")
            before = None
            continue
        if record.get("hash") != found:
            problems.append(f"{name}: the record's hash does not fit what it says")
        if last is not None and before is not None and record.get("previous_hash") != before:
            problems.append(f"{name}: it is not chained to the record before it")
        before, last = record.get("hash"), record
    head = {"id": last.get("id"), "hash": last.get("hash")} if last else None
    if head != manifest.get("chain_head"):
        problems.append("the head of the chain of records is not the manifest's")
    return problems


def record_hash(record: Mapping[str, Any]) -> str:
    """SHA-256 over the record's canonical JSON without `hash` (docs/records.md, "The chain")."""
    body = {name: value for name, value in record.items() if name != "hash"}
    return _sha(json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False).encode())
