"""The manifest of an evidence pack, and the verification of a pack against its manifest and its chain of records."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from pydantic import Field

from dr_assets.documents import Document, DocumentError, Part, UtcTime
from dr_assets.drills.record import check_chain
from dr_assets.drills.sealed_days import check_sources
from dr_assets.drills.signing import PublicKey
from dr_assets.drills.statements import Verification, check

MANIFEST = "manifest.json"
PENDING = ".dr-pack-pending"  # the folder in which the files of a newer pack are staged
_HALF = f"{PENDING} holds files of a newer pack: writing it was interrupted. Run `dr report` with the same --out again"
_RECORD = re.compile(r"records/\d{6,}\.json")
_DAY = re.compile(r"days/\d{4}-\d{2}-\d{2}-\d{3,9}\.json", re.ASCII)
_STATEMENT = re.compile(r"statements/\d{6,}\.json")


class ManifestFile(Part):
    """A file of the pack: the SHA-256 (hex) of its bytes and their number."""

    sha256: str
    bytes: int | None = None


class ChainHead(Part):
    """The newest record of the pack."""

    id: str | None
    hash: str | None

    @classmethod
    def of(cls, record: Mapping[str, Any] | None) -> ChainHead | None:
        return cls(id=record.get("id"), hash=record.get("hash")) if record else None


class Manifest(Document):
    """What `manifest.json` holds: the period [start, end), and every file of the pack but the manifest itself, by its path."""

    SCHEMA: ClassVar[str] = "dr-assets/pack/1"

    stack: str
    start: UtcTime = Field(validation_alias="from", serialization_alias="from")
    end: UtcTime = Field(validation_alias="to", serialization_alias="to")
    made_at: UtcTime
    product_version: str
    records: int
    chain_head: ChainHead | None
    files: dict[str, ManifestFile]


def sha256(data: bytes) -> str:
    """SHA-256 (hex) of the bytes of a file."""
    return hashlib.sha256(data).hexdigest()


def verify_pack(directory: Path | str, manifest_sha256: str | None = None) -> list[str]:
    """Everything that is wrong with the pack; an empty list proves that its files are those it was written with.

    The manifest proves the files, the chain proves the records. The manifest itself is proven by its SHA-256, which
    `write_pack` returns and which belongs in another place. Raises nothing for a damaged pack.
    """
    root = Path(directory)
    try:
        data = (root / MANIFEST).read_bytes()
    except OSError as error:
        return [f"{root / MANIFEST} cannot be read ({error.strerror}): this is no evidence pack"]
    if manifest_sha256 and sha256(data) != manifest_sha256.strip().lower():
        return [f"{MANIFEST} was changed: its SHA-256 is {sha256(data)}"]
    try:
        manifest = Manifest.from_bytes(data, MANIFEST)
    except DocumentError as error:
        return [str(error)]
    problems = [problem for name, file in manifest.files.items() for problem in _verify_file(root, name, file)]
    there = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_symlink() or not path.is_dir()}
    added = sorted(name for name in there - {*manifest.files, MANIFEST} if not name.startswith(f"{PENDING}/"))
    return [
        *([_HALF] if (root / PENDING).exists() else []),
        *problems,
        *(f"{name} is not in the manifest: it was added" for name in added),
        *_verify_records(root, manifest),
    ]


def verify_statements(directory: Path | str, keys: Sequence[PublicKey]) -> Verification:
    """What the signed statements in the pack prove of its records, and of the samples that its figures were computed from.

    Raises nothing for a damaged pack.
    """
    root = Path(directory)
    try:
        manifest = Manifest.from_bytes((root / MANIFEST).read_bytes(), MANIFEST)
    except (OSError, DocumentError):
        return Verification((), (f"{root / MANIFEST} cannot be read",), 0)
    records = check_chain(_files(root, manifest, _RECORD), manifest.stack).records
    found = check(_files(root, manifest, _STATEMENT), records, manifest.stack, keys)
    sealed = [(name.removeprefix("days/"), data) for name, data in _files(root, manifest, _DAY)]
    days = check_sources(sealed, found.days, manifest.stack, _sources(root))
    return replace(found, problems=(*found.problems, *days.problems), unknown=(*found.unknown, *days.unknown))


def _sources(root: Path) -> dict[str, str]:
    """Key -> SHA-256 of each file of samples that the pack's figures were computed from."""
    text = (_content(root / "data/sources.csv") or b"").decode("utf-8-sig", "replace")
    return {str(row.get("file")): str(row.get("sha256")) for row in csv.DictReader(text.splitlines())}


def _files(root: Path, manifest: Manifest, pattern: re.Pattern[str]) -> list[tuple[str, bytes | None]]:
    """Name and content of these files of the pack in the order of their numbers."""
    names = sorted((name for name in manifest.files if pattern.fullmatch(name)), key=lambda name: (len(name), name))
    return [(name, _content(root / name)) for name in names]


def _verify_file(root: Path, name: str, file: ManifestFile) -> list[str]:
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts:
        return [f"{name} in the manifest is no file of a pack"]
    path = root / name
    if path.is_symlink():
        return [f"{name} is a link: a pack holds its files itself"]
    try:
        data = path.read_bytes()
    except OSError as error:
        return [f"{name} cannot be read ({error.strerror})"]
    return [] if sha256(data) == file.sha256 else [f"{name} was changed: its SHA-256 is not the manifest's"]


def _verify_records(root: Path, manifest: Manifest) -> list[str]:
    files = _files(root, manifest, _RECORD)
    problems = (
        [] if len(files) == manifest.records else [f"{len(files)} records are listed, {manifest.records} counted"]
    )
    chain = check_chain(files, manifest.stack)
    newest = chain.records[-1] if chain.records else None
    head = ChainHead(id=newest.id, hash=newest.hash) if newest else None
    if head != manifest.chain_head:
        problems.append("the head of the chain of records is not the manifest's")
    return [*problems, *chain.problems]


def _content(path: Path) -> bytes | None:
    try:
        return None if path.is_symlink() else path.read_bytes()
    except OSError:
        return None
