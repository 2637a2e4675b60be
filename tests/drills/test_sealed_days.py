"""Samples and incidents under a signed manifest of their day: what is changed, removed or added afterwards is found."""

from __future__ import annotations

import base64
import csv
import datetime as dt
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from dr_assets.cli.main import main
from dr_assets.drills import sealed_days, signing, statements
from dr_assets.drills.signing import KEY_VARIABLE
from dr_assets.history.store import FolderStore
from dr_assets.reports import evidence
from dr_assets.reports.analysis.report import Subject
from dr_assets.reports.pack.manifest import verify_pack, verify_statements
from tests.drills.test_statements import Key, pem_file, public
from tests.support import month

S = month.S
DAY = dt.date(2026, 10, 5)
NOW = dt.datetime(2026, 10, 8, 12, tzinfo=dt.timezone.utc)
SAMPLES, INCIDENT = f"samples/{S}/lag/2026-10-05.parquet", f"incidents/{S}/{S}-writer-000001.json"
MANIFEST = f"days/{S}/2026-10-05-001.json"


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "history")


@pytest.fixture(scope="module")
def key() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


def incident(ended: float | None) -> bytes:
    """As docs/schemas/incident-1.json has it."""
    document = {
        "schema": "dr-assets/incident/1",
        "id": f"{S}-writer-000001",
        "stack": S,
        "topic": "writer",
        "number": 1,
        "severity": "critical",
        "opened": 1791160017.0,  # 2026-10-04T23:06:57Z
        "since": 1791160000.0,
        "breaches": [],
        "evidence": [],
        "text": "The writer does not accept writes",
        "runbook": "",
        "value": None,
        "unit": "",
        "objective": "",
        "resource": "",
        "site": "primary",
        "escalate_after": 60.0,
        "ended": ended,
        "last": "resolved" if ended else "opened",
    }
    return json.dumps(document).encode()


ENDED = 1791200000.0  # 2026-10-05T10:13:20Z


@pytest.fixture
def sealed(store: FolderStore, key: Key) -> list[dict[str, Any]]:
    """A day with samples and an incident that ended on it, with manifest and statement made here; returns the payloads."""
    store.write(SAMPLES, b"PAR1 some samples")
    store.write(INCIDENT, incident(ENDED))
    files = {name: hashlib.sha256(store.read(name)).hexdigest() for name in (SAMPLES, INCIDENT)}
    manifest = {"schema": "dr-assets/day/1", "stack": S, "date": "2026-10-05", "files": files}
    store.write(MANIFEST, json.dumps(manifest).encode())
    payload = {
        "schema": "dr-assets/statement-payload/1",
        "stack": S,
        "number": 1,
        "at": "2026-10-06T00:10:00.000Z",
        "previous": None,
        "head": None,
        "days": [{"file": "2026-10-05-001.json", "sha256": hashlib.sha256(store.read(MANIFEST)).hexdigest()}],
    }
    write_statement(store, key, payload)
    return [payload]


def write_statement(store: FolderStore, key: Key, payload: dict[str, Any]) -> None:
    text = json.dumps(payload)
    signature = {
        "key": "file:any",
        "public_key": base64.b64encode(public(key).der).decode(),
        "algorithm": "ECDSA_SHA_256",
        "signature": base64.b64encode(key.sign(text.encode(), ec.ECDSA(hashes.SHA256()))).decode(),
    }
    document = {"schema": "dr-assets/statement/1", "payload": text, "signatures": [signature]}
    store.write(f"statements/{S}/{payload['number']:06d}.json", json.dumps(document).encode())


def verify(store: FolderStore, key: Key) -> sealed_days.DayVerification:
    return sealed_days.verify(store, S, statements.verify(store, S, [public(key)]).days, NOW)


def test_case_c6_samples_and_incidents_of_a_sealed_day_are_verified(
    store: FolderStore, key: Key, sealed: list[dict[str, Any]]
) -> None:
    assert verify(store, key) == sealed_days.DayVerification()


@pytest.mark.parametrize(
    ("name", "data", "problem"),
    [
        (SAMPLES, b"PAR1 other samples", f"{SAMPLES} was changed since 2026-10-05 was sealed"),
        (SAMPLES, None, f"{SAMPLES} is missing since 2026-10-05 was sealed"),
        (
            INCIDENT,
            incident(ENDED).replace(b"critical", b"warning"),
            f"{INCIDENT} was changed since 2026-10-05 was sealed",
        ),
        (INCIDENT, incident(None), f"{INCIDENT} is missing since 2026-10-05 was sealed"),
        (INCIDENT, None, f"{INCIDENT} is missing since 2026-10-05 was sealed"),
        (
            f"samples/{S}/other/2026-10-05.parquet",
            b"x",
            f"samples/{S}/other/2026-10-05.parquet was added after 2026-10-05",
        ),
        (MANIFEST, b"{}", f"{MANIFEST} was changed after it was signed"),
        (MANIFEST, None, f"{MANIFEST} is signed and missing"),
    ],
)
def test_case_c6_a_change_of_a_sealed_day_is_found(
    store: FolderStore, key: Key, sealed: list[dict[str, Any]], name: str, data: bytes | None, problem: str
) -> None:
    store.delete(name) if data is None else store.write(name, data)
    (found,) = verify(store, key).problems
    assert found.startswith(problem)


def test_case_c6_a_manifest_that_no_trusted_key_signed_proves_nothing(
    store: FolderStore, key: Key, sealed: list[dict[str, Any]]
) -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    found = sealed_days.verify(store, S, statements.verify(store, S, [public(other)]).days, NOW)
    assert found.unknown == (f"{MANIFEST} is not signed",)
    # A newer manifest around changed samples, without a signature: the signed one still finds them.
    store.write(SAMPLES, b"changed")
    forged = json.loads(store.read(MANIFEST))
    forged["files"][SAMPLES] = hashlib.sha256(b"changed").hexdigest()
    store.write(MANIFEST.replace("001", "002"), json.dumps(forged).encode())
    found = verify(store, key)
    assert found.problems == (f"{SAMPLES} was changed since 2026-10-05 was sealed",)
    assert found.unknown == (f"{MANIFEST.replace('001', '002')} is not signed",)


def test_case_c6_a_day_without_a_manifest_is_unknown_and_today_is_not(store: FolderStore, key: Key) -> None:
    store.write(SAMPLES, b"x")
    store.write(f"samples/{S}/lag/2026-10-08.parquet", b"today")
    assert verify(store, key) == sealed_days.DayVerification(
        (), ("1 days with samples or incidents, from 2026-10-05 on, are not sealed",)
    )


def test_a_day_is_sealed_once_again_after_a_late_import_and_no_more_after_that(
    store: FolderStore, key: Key, tmp_path: Path
) -> None:
    signer = signing.KeyFile(pem_file(tmp_path / "k.pem", key))
    for number in range(1, 32):
        store.write(f"samples/{S}/lag/2026-08-{number:02d}.parquet", b"old")
    store.write(SAMPLES, b"first")
    store.write(INCIDENT, incident(None))
    store.write(f"samples/{S}/lag/2026-10-08.parquet", b"today")
    assert len(sealed_days.seal(store, S, signer, NOW)) == 32
    assert len(store.list("statements/")) == 3  # 15 days each: below what KMS signs
    assert all(len(json.loads(store.read(name))["payload"]) < 4096 for name in store.list("statements/"))
    assert sealed_days.seal(store, S, signer, NOW) == []
    assert verify(store, key) == sealed_days.DayVerification()
    store.write(SAMPLES, b"completed")
    store.write(f"samples/{S}/lag/2026-08-01.parquet", b"too late")
    assert sealed_days.seal(store, S, signer, NOW) == [DAY]
    found = verify(store, key)
    assert found.notes == (f"2026-10-05 was sealed again: {SAMPLES}",)
    assert found.problems == (f"samples/{S}/lag/2026-08-01.parquet was changed since 2026-08-01 was sealed",)
    assert sealed_days.seal(store, S, signer, NOW, {dt.date(2026, 10, 4)}) == []


def test_a_manifest_whose_statement_is_missing_is_signed_by_the_next(
    store: FolderStore, key: Key, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store.write(SAMPLES, b"x")
    sealed_days.seal_after_import(store, S, DAY)
    assert store.list("days/") == []  # no key, no manifest
    monkeypatch.setenv(KEY_VARIABLE, str(tmp_path / "absent.pem"))
    sealed_days.seal_after_import(store, S, DAY)
    assert "2026-10-05 was imported and not sealed" in caplog.text
    monkeypatch.setenv(KEY_VARIABLE, str(pem_file(tmp_path / "k.pem", key)))
    monkeypatch.setattr("dr_assets.utc.now", lambda: NOW)
    sealed_days.seal_after_import(store, S, DAY)
    store.delete(f"statements/{S}/000001.json")
    assert verify(store, key).unknown == (f"{MANIFEST} is not signed",)
    sealed_days.seal_after_import(store, S, DAY)
    assert store.list("days/") == [MANIFEST] and verify(store, key) == sealed_days.DayVerification()


def test_case_c6_a_pack_computed_from_changed_samples_is_found(
    store: FolderStore, key: Key, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    month.write(store)
    signer = signing.KeyFile(pem_file(tmp_path / "k.pem", key))
    (tmp_path / "pub.pem").write_text(public(key).pem)
    now = month.END + dt.timedelta(days=2)
    sealed_days.seal(store, S, signer, now)
    statements.sign(store, S, signer)
    when = evidence.Period(month.START + dt.timedelta(days=2), month.START + dt.timedelta(days=4))

    def pack(name: str) -> Path:
        evidence.write(Subject(S, 60, 300), store, when, tmp_path / name)
        assert verify_pack(tmp_path / name) == []
        return tmp_path / name

    good = pack("good")
    with (good / "data/sources.csv").open(newline="") as file:
        read = [row["file"] for row in csv.DictReader(file)]
    assert verify_statements(good, [public(key)]).verified
    name = read[1]
    rows = pq.read_table(io.BytesIO(store.read(name)))
    shorter, out = rows.slice(0, len(rows) - 1).replace_schema_metadata({b"dr_assets.samples": b"1"}), io.BytesIO()
    pq.write_table(shorter, out)  # whole and readable, as an earlier version wrote it; one reading is gone
    store.write(name, out.getvalue())
    bad = verify_statements(pack("bad"), [public(key)])
    assert f"{name} was changed since its day was sealed" in bad.problems
    monkeypatch.setenv("DR_HISTORY_URI", str(store.root))
    listed = CliRunner().invoke(main, ["drill", "list", "--verify", "--public-key", str(tmp_path / "pub.pem")])
    assert listed.exit_code == 2 and f"{name} was changed since" in listed.stderr, listed.output
