"""Signed statements over the head of a chain of records: write one after each record, and verify chain and statements together.

A chain of hashes alone proves little to whoever can rewrite all of it. Each statement (`statements/STACK/NUMBER.json`, created
once) names the newest record by its hash, and the statement before it, and is signed with a key that the history does not hold.
Described for readers in docs/records.md.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import random
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from pydantic import ConfigDict, Field

from dr_assets import escape, utc
from dr_assets.documents import Document, DocumentError, Part, UtcTime, canonical_json
from dr_assets.drills import record
from dr_assets.drills.parts import Sha256
from dr_assets.drills.record_document import Record
from dr_assets.drills.signing import PublicKey, Signature, Signer, SigningError, configured
from dr_assets.errors import DrError
from dr_assets.history.store import Store

LOG = escape.logger(__name__)
APPEND_SECONDS = 8.0  # how long other writers may take the next number, again and again
MAX_PAYLOAD = 4096  # bytes that KMS signs (KMS API reference, Sign: Message)


class Head(Part):
    """The newest record of a chain."""

    id: str
    hash: Sha256


class SealedDay(Part):
    """A manifest of a day (`sealed_days`): the name of its file, and the SHA-256 (hex) of its bytes."""

    file: str
    sha256: Sha256


class Payload(Document):
    """What is signed: the head of the chain of `stack`, manifests of days, and the SHA-256 (hex) of the payload before. Later
    versions may add keys."""

    model_config = ConfigDict(extra="allow")
    SCHEMA: ClassVar[str] = "dr-assets/statement-payload/1"

    stack: str
    number: int = Field(ge=1)
    at: UtcTime
    previous: Sha256 | None
    head: Head | None
    days: tuple[SealedDay, ...] = ()


class Statement(Document):
    """`payload`: the very text that was signed (JSON of a Payload), so that nobody has to reproduce its form."""

    SCHEMA: ClassVar[str] = "dr-assets/statement/1"

    payload: str
    signatures: tuple[Signature, ...]


@dataclass(frozen=True)
class Verification:
    """What statements prove of a chain.

    problems  what contradicts them, in words
    unknown   what they do not prove, in words: a missing statement or key is never verified
    signed    how many of the oldest records are covered by a signature of a trusted key
    days      file name -> SHA-256 of each manifest of a day that a trusted key signed
    """

    problems: tuple[str, ...]
    unknown: tuple[str, ...]
    signed: int
    days: Mapping[str, str] = field(default_factory=dict)

    @property
    def verified(self) -> bool:
        return not self.problems and not self.unknown


def sign(store: Store, stack: str, signer: Signer, days: Sequence[SealedDay] = ()) -> tuple[int, str]:
    """Sign the head of the stack's chain, and manifests of days; returns the statement's number and the SHA-256 (hex) of its payload.

    Two writers at once both succeed, one after the other. Raises SigningError, and DrError or OSError where the store fails.
    """
    deadline = time.monotonic() + APPEND_SECONDS
    while time.monotonic() < deadline:
        # The statements first: whoever gets number N has read the head after the statement N - 1 was written.
        keys = _keys(store, stack)
        previous = next(filter(None, (_payload_of(store, key) for key in reversed(keys))), None)
        newest = next(reversed(record.load(store, stack)), None)
        number = (_number(keys[-1]) or 0) + 1 if keys else 1
        payload = canonical_json(
            Payload(
                stack=stack,
                number=number,
                at=utc.now(),
                previous=previous and _sha256(previous),
                head=Head(id=newest.id, hash=newest.hash) if newest else None,
                days=tuple(days),
            ).to_json()
        )
        if len(payload.encode()) > MAX_PAYLOAD:
            raise SigningError(f"The statement {number} is longer than the {MAX_PAYLOAD} bytes that can be signed.")
        signature = signer.sign(payload.encode())
        try:
            store.create(
                f"statements/{stack}/{number:06d}.json", Statement(payload=payload, signatures=(signature,)).to_bytes()
            )
        except FileExistsError:
            time.sleep(random.uniform(0.001, 0.02))
            continue
        return number, _sha256(payload)
    raise SigningError(f"Others kept writing statements of stack {stack} in {store.uri}. Run `dr drill sign` later.")


def sign_after_record(store: Store, stack: str) -> None:
    """Sign the head where a key is configured. A failure is a warning: it costs no drill its result, and the next statement
    covers what this one would have."""
    try:
        signer = configured()
        if signer is not None:
            sign(store, stack, signer)
    except (DrError, OSError) as error:
        LOG.warning("The record was written and not signed: %s Run `dr drill sign` once that is mended.", error)


def sealed_days(store: Store, stack: str) -> dict[str, str]:
    """File name -> SHA-256 of each manifest of a day in the statements, whoever signed them."""
    found: dict[str, str] = {}
    for key in _keys(store, stack):
        if (payload := _payload_of(store, key)) is not None:
            found |= {each.file: each.sha256 for each in Payload.from_bytes(payload, key).days}
    return found


def read(store: Store, stack: str) -> list[tuple[str, bytes | None]]:
    """The name and the content of each statement, in the order of their numbers; None: removed since it was listed."""
    found: list[tuple[str, bytes | None]] = []
    for key in _keys(store, stack):
        try:
            found.append((key, store.read(key)))
        except KeyError:
            found.append((key, None))
    return found


def verify(
    store: Store, stack: str, keys: Sequence[PublicKey], at_least: tuple[int, str] | None = None
) -> Verification:
    """`check` of a store, and of the ledgers that its records counted. Statements are read first, so that a record written meanwhile is new and not missing."""
    foreign = tuple(
        f"{key} is not the name of a statement (NUMBER.json): move it elsewhere"
        for key in store.list(f"statements/{stack}/")
        if _number(key) is None
    )
    statements, records = read(store, stack), record.load(store, stack)
    found = check(statements, records, stack, keys, at_least)
    return replace(found, problems=(*foreign, *found.problems, *_ledgers(store, stack, records)))


def _ledgers(store: Store, stack: str, records: Sequence[Record]) -> Iterator[str]:
    """Each ledger that is not the one its record counted."""
    for each in records:
        if each.rpo.ledger_sha256 is None:
            continue
        key = f"drills/{stack}/{each.id}-ledger.jsonl"
        try:
            if hashlib.sha256(store.read(key)).hexdigest() != each.rpo.ledger_sha256:
                yield f"{key} was changed since its record was written"
        except KeyError:
            yield f"{key} is missing; its record counted it"


def check(
    files: Iterable[tuple[str, bytes | None]],
    records: Sequence[Record],
    stack: str,
    keys: Sequence[PublicKey],
    at_least: tuple[int, str] | None = None,
) -> Verification:
    """Whether statements and records agree, and which records a trusted key vouches for.

    Args:
        files: name (it ends in `NUMBER.json`) and content of each statement, in the order of their numbers.
        records: the intact records of the chain, oldest first.
        keys: the public keys that are trusted; a key that only a statement carries is not.
        at_least: number and SHA-256 of a statement known from elsewhere, which must be among them.
    """
    problems: list[str] = []
    unknown: list[str] = []
    place = {each.hash: number for number, each in enumerate(records, 1)}
    days: dict[str, str] = {}
    foreign: dict[str, int] = {}  # fingerprint of a key that is not trusted -> how many statements it signed
    expected, newest, covered, reached, anchored = 1, None, 0, 0, at_least is None
    for name, data in files:
        number = _number(name) or 0
        if number != expected:
            problems.append(f"{name}: the statement {expected} should be here: some are missing")
        expected = number + 1
        try:
            if data is None:
                raise DocumentError("it was removed while it was being read")
            statement = Statement.from_bytes(data, "it")
            payload = Payload.from_bytes(statement.payload, "its payload")
        except DocumentError as error:
            problems.append(f"{name}: {error}")
            continue
        sha256 = _sha256(statement.payload)
        anchored = anchored or (number, sha256) == at_least
        if (payload.stack, payload.number) != (stack, number):
            problems.append(f"{name}: it is statement {payload.number} of the stack {payload.stack!r}")
        if payload.previous != newest:
            problems.append(f"{name}: it does not follow the statement before it")
        newest = sha256
        at = place.get(payload.head.hash, 0) if payload.head else 0
        if payload.head and not at:
            problems.append(f"{name}: the record {payload.head.id} that it names is missing or was changed")
        if payload.head and 0 < at < reached:
            problems.append(f"{name}: it names an older record than the statement before it")
        reached = max(reached, at)
        if any(key.verifies(each, statement.payload.encode()) for key in keys for each in statement.signatures):
            if payload.stack == stack:
                covered = max(covered, at)
                problems += [
                    f"{name}: it names {each.file} with another content than a statement before it"
                    for each in payload.days
                    if days.setdefault(each.file, each.sha256) != each.sha256
                ]
            continue
        for fingerprint in {_fingerprint(each) for each in statement.signatures} or {"none"}:
            if fingerprint in {key.fingerprint for key in keys}:
                problems.append(f"{name}: its signature does not fit it: it was changed after it was signed")
            else:
                foreign[fingerprint] = foreign.get(fingerprint, 0) + 1
    (problems if keys else unknown).extend(
        f"{count} statement(s) are signed by the key {fingerprint}, which is not among the trusted ones"
        for fingerprint, count in sorted(foreign.items())
    )
    if at_least and not anchored:
        problems.append(f"The statement {at_least[0]} with the SHA-256 {at_least[1]} is missing or was changed")
    if not keys:
        unknown.append("No public key was given, so no signature is verified")
    if len(records) > covered:
        first = records[covered].id
        unknown.append(f"{len(records) - covered} of {len(records)} records, from {first} on, are not signed")
    return Verification(tuple(problems), tuple(unknown), covered, days)


def _fingerprint(signature: Signature) -> str:
    try:
        return PublicKey(base64.b64decode(signature.public_key, validate=True)).fingerprint
    except (binascii.Error, ValueError):
        return "unreadable"


def _payload_of(store: Store, key: str) -> str | None:
    """The text of a statement's payload; None where it is no statement."""
    try:
        statement = Statement.from_bytes(store.read(key), key)
        Payload.from_bytes(statement.payload, key)
    except (KeyError, DocumentError):
        return None
    return statement.payload


def _keys(store: Store, stack: str) -> list[str]:
    found = [(number, key) for key in store.list(f"statements/{stack}/") if (number := _number(key)) is not None]
    return [key for _, key in sorted(found)]


def _number(name: str) -> int | None:
    """`statements/STACK/000001.json` -> 1, or `statements/000001.json` of a pack; None for any other name."""
    match = re.fullmatch(r"statements/(?:[^/]+/)?(\d{6,18})\.json", name, re.ASCII)
    return int(match[1]) if match else None


def _sha256(payload: str) -> str:
    return hashlib.sha256(payload.encode()).hexdigest()
