"""Manifests of days that are over: the hash of each file of samples and of each incident that ended, under a signed statement.

`days/STACK/DATE-NNN.json`, created once. An import may still complete a day for as long as CloudWatch holds it: then the day is
sealed again under the next number, and the verification names what changed. Later it is sealed no more. Described in docs/records.md.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from dr_assets import escape, utc
from dr_assets.documents import Document, DocumentError
from dr_assets.drills import statements
from dr_assets.drills.parts import Sha256
from dr_assets.drills.signing import Signer, configured
from dr_assets.drills.statements import SealedDay
from dr_assets.errors import DrError
from dr_assets.history.documents import StoredIncident
from dr_assets.history.store import Store

LOG = escape.logger(__name__)
_SAMPLES = re.compile(r"samples/[^/]+/[^/]+/(\d{4}-\d{2}-\d{2})\.parquet", re.ASCII)
_NAME = re.compile(r"(\d{4}-\d{2}-\d{2})-(\d{3,9})\.json", re.ASCII)
_IN_A_STATEMENT = 15  # days, so that its payload stays below the bytes that KMS signs

Files = Mapping[str, str]  # key -> SHA-256 (hex)


class DayManifest(Document):
    """Key and SHA-256 (hex) of every file of samples of one day (UTC), and of every incident that ended on it."""

    SCHEMA: ClassVar[str] = "dr-assets/day/1"

    stack: str
    date: dt.date
    files: dict[str, Sha256]


@dataclass(frozen=True)
class DayVerification:
    """What the manifests prove: problems contradict them, unknown is not covered, notes are days that were sealed again."""

    problems: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def seal_after_import(store: Store, stack: str, day: dt.date) -> None:
    """Seal the day that was imported, if it is over and a key is configured. A failure is a warning: the day can be sealed later."""
    try:
        signer = configured()
        if signer is not None:
            seal(store, stack, signer, utc.now(), {day})
    except (DrError, OSError) as error:
        LOG.warning("%s was imported and not sealed: %s Run `dr drill sign` once that is mended.", day, error)


def seal(
    store: Store, stack: str, signer: Signer, now: dt.datetime, only: Collection[dt.date] | None = None
) -> list[dt.date]:
    """Write and sign a manifest of each day (of `only`) that is over and has none of its present content; returns these days.

    Raises as `statements.sign`.
    """
    from dr_assets.history.cloudwatch_import import RETENTION  # loads boto3, which a report does not need

    today = now.astimezone(utc.UTC).date()
    claimed = statements.sealed_days(store, stack)
    waiting: list[tuple[dt.date, SealedDay]] = []
    earlier = _manifests(store, stack)
    for day, files in sorted(_contents(store, stack, only).items()):
        former = earlier.get(day, [])
        if day >= today or (former and (today - day) > RETENTION + dt.timedelta(days=1)):
            continue
        data = DayManifest(stack=stack, date=day, files=dict(files)).to_bytes()
        if former and former[-1][1] == data:
            name = former[-1][0]
        else:
            number = int(_numbered(former[-1][0])[1]) + 1 if former else 1
            name = f"{day.isoformat()}-{number:03d}.json"
            store.create(f"days/{stack}/{name}", data)
        sealed = SealedDay(file=name, sha256=hashlib.sha256(data).hexdigest())
        if claimed.get(name) != sealed.sha256:
            waiting.append((day, sealed))
    for start in range(0, len(waiting), _IN_A_STATEMENT):
        statements.sign(store, stack, signer, [sealed for _, sealed in waiting[start : start + _IN_A_STATEMENT]])
    return [day for day, _ in waiting]


def read(store: Store, stack: str, sources: Iterable[str]) -> list[tuple[str, bytes]]:
    """File name and content of the newest manifest of each day of these files of samples that has one."""
    days = {_date(match[1]) for key in sources if (match := _SAMPLES.fullmatch(key))}
    return [found[-1] for day, found in sorted(_manifests(store, stack).items()) if day in days]


def verify(store: Store, stack: str, signed: Files, now: dt.datetime) -> DayVerification:
    """Whether samples and incidents are those of the signed manifests. `signed`: `Verification.days`."""
    manifests, present = _manifests(store, stack), _contents(store, stack, None)
    names = {name for found in manifests.values() for name, _ in found}
    problems = [f"days/{stack}/{name} is signed and missing" for name in sorted(signed.keys() - names)]
    unknown: list[str] = []
    notes: list[str] = []
    for day, found in sorted(manifests.items()):
        manifest_files = [_sealed(name, data, stack, signed, problems, unknown) for name, data in found]
        sealed = [files for files in manifest_files if files]
        for number, after in enumerate(sealed[1:]):
            before = sealed[number]
            changed = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
            notes.append(f"{day} was sealed again: {', '.join(changed)}")
        if sealed:
            problems += _differences(day, sealed[-1], present.get(day, {}))
    today = now.astimezone(utc.UTC).date()
    unsealed = sorted(day for day in present if day < today and day not in manifests)
    if unsealed:
        unknown.append(f"{len(unsealed)} days with samples or incidents, from {unsealed[0]} on, are not sealed")
    return DayVerification(tuple(problems), tuple(unknown), tuple(notes))


def check_sources(
    manifests: Iterable[tuple[str, bytes | None]], signed: Files, stack: str, sources: Files
) -> DayVerification:
    """Whether the samples that a report read (`sources`) are those of the signed manifests of their days."""
    problems: list[str] = []
    unknown: list[str] = []
    sealed: dict[str, str] = {}
    for name, data in manifests:
        sealed |= _sealed(name, data or b"", stack, signed, problems, unknown)
    problems += [
        f"{key} was changed since its day was sealed"
        for key in sources
        if sealed.get(key, sources[key]) != sources[key]
    ]
    if missing := [key for key in sources if key not in sealed]:
        unknown.append(f"{len(missing)} of {len(sources)} files of samples are not sealed, such as {min(missing)}")
    return DayVerification(tuple(problems), tuple(unknown))


def _sealed(
    name: str, data: bytes, stack: str, signed: Files, problems: list[str], unknown: list[str]
) -> dict[str, str]:
    """The files of a manifest; none where it is no signed manifest of its day and stack, which is added to the findings."""
    digest = hashlib.sha256(data).hexdigest()
    if name not in signed:
        unknown.append(f"days/{stack}/{name} is not signed")
    elif signed[name] != digest:
        problems.append(f"days/{stack}/{name} was changed after it was signed")
        return {}
    try:
        manifest = DayManifest.from_bytes(data, f"days/{stack}/{name}")
    except DocumentError as error:
        problems.append(str(error))
        return {}
    if (manifest.stack, manifest.date.isoformat()) != (stack, _numbered(name)[0]):
        problems.append(f"days/{stack}/{name} is the manifest of {manifest.date} of the stack {manifest.stack!r}")
        return {}
    return manifest.files if name in signed else {}


def _differences(day: dt.date, sealed: Files, present: Files) -> list[str]:
    found = []
    for key in sorted(sealed.keys() | present.keys()):
        if key not in present:
            found.append(f"{key} is missing since {day} was sealed")
        elif key not in sealed:
            found.append(f"{key} was added after {day} was sealed")
        elif sealed[key] != present[key]:
            found.append(f"{key} was changed since {day} was sealed")
    return found


def _contents(store: Store, stack: str, only: Collection[dt.date] | None) -> dict[dt.date, dict[str, str]]:
    """The SHA-256 of what belongs to each day. What cannot be read as an incident belongs to none."""
    found: dict[dt.date, dict[str, str]] = {}

    def add(day: dt.date, key: str, data: bytes) -> None:
        if only is None or day in only:
            found.setdefault(day, {})[key] = hashlib.sha256(data).hexdigest()

    for key in store.list(f"samples/{stack}/"):
        match = _SAMPLES.fullmatch(key)
        day = _date(match[1]) if match else None
        if day is not None and (only is None or day in only) and (data := _content(store, key)) is not None:
            add(day, key, data)
    for key in store.list(f"incidents/{stack}/"):
        data = _content(store, key)
        try:
            incident = StoredIncident.from_bytes(data or b"", key)
        except DocumentError:
            continue
        if incident.ended is not None and data is not None:
            add(utc.from_epoch(incident.ended).date(), key, data)
    return found


def _manifests(store: Store, stack: str) -> dict[dt.date, list[tuple[str, bytes]]]:
    """Day -> file name and content of its manifests, oldest first."""
    found: dict[dt.date, list[tuple[int, str, bytes]]] = {}
    for key in store.list(f"days/{stack}/"):
        name = key.removeprefix(f"days/{stack}/")
        match = _NAME.fullmatch(name)
        day = _date(match[1]) if match else None
        if match and day is not None and (data := _content(store, key)) is not None:
            found.setdefault(day, []).append((int(match[2]), name, data))
    return {day: [(name, data) for _, name, data in sorted(each)] for day, each in found.items()}


def _numbered(name: str) -> Sequence[str]:
    match = _NAME.fullmatch(name)
    return match.groups() if match else ("", "0")


def _date(text: str) -> dt.date | None:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        return None


def _content(store: Store, key: str) -> bytes | None:
    try:
        return store.read(key)
    except KeyError:
        return None
