"""Statements over a chain of records, made here by raw JSON and `cryptography` or openssl: what they find, and what stays unknown."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
import logging
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dr_assets.cli.main import main
from dr_assets.drills import record, record_builder, signing, statements
from dr_assets.drills.signing import KEY_VARIABLE, PublicKey, Signature, SigningError
from dr_assets.history.store import FolderStore
from dr_assets.reports import evidence
from dr_assets.reports.analysis.report import Subject
from dr_assets.reports.pack.manifest import verify_pack, verify_statements
from dr_assets.stack import Stack
from tests.support.records import START, make_record

S = "l6p3z2w4"
DAY = dt.timedelta(days=1)
Key = ec.EllipticCurvePrivateKey


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "history")


@pytest.fixture(scope="module")
def key() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


def public(key: Key) -> PublicKey:
    encoding = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    return PublicKey(key.public_key().public_bytes(*encoding))


def pem_file(path: Path, key: Key) -> Path:
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    path.chmod(0o600)
    return path


def compact(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def hashed(document: dict[str, Any], previous: str | None) -> dict[str, Any]:
    whole = {**document, "previous_hash": previous}
    return {**whole, "hash": hashlib.sha256(compact(whole).encode()).hexdigest()}


def write_chain(store: FolderStore, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Records with hashes as docs/records.md describes them."""
    chained: list[dict[str, Any]] = []
    for number, document in enumerate(records, 1):
        plain = {name: value for name, value in document.items() if name not in ("hash", "previous_hash")}
        chained.append(hashed(plain, chained[-1]["hash"] if chained else None))
        store.write(f"records/{S}/{number:06d}.json", json.dumps(chained[-1]).encode())
    return chained


def statement(key: Key, payload: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(payload)
    return {
        "schema": "dr-assets/statement/1",
        "payload": text,
        "signatures": [
            {
                "key": "file:any",
                "public_key": base64.b64encode(public(key).der).decode(),
                "algorithm": "ECDSA_SHA_256",
                "signature": base64.b64encode(key.sign(text.encode(), ec.ECDSA(hashes.SHA256()))).decode(),
            }
        ],
    }


def write_statements(store: FolderStore, key: Key, chain: list[dict[str, Any]], stack: str = S) -> list[str]:
    """One statement after each record; returns the SHA-256 of each payload."""
    digests: list[str] = []
    for number, each in enumerate(chain, 1):
        payload = {
            "schema": "dr-assets/statement-payload/1",
            "stack": stack,
            "number": number,
            "at": "2026-03-02T00:02:00.000Z",
            "previous": digests[-1] if digests else None,
            "head": {"id": each["id"], "hash": each["hash"]},
        }
        document = statement(key, payload)
        digests.append(hashlib.sha256(document["payload"].encode()).hexdigest())
        store.write(f"statements/{S}/{number:06d}.json", json.dumps(document).encode())
    return digests


@pytest.fixture
def signed(store: FolderStore, key: Key) -> list[str]:
    """Three records, each with its statement."""
    return write_statements(store, key, write_chain(store, [make_record(START + n * DAY) for n in range(3)]))


def test_a_chain_that_is_signed_is_verified(store: FolderStore, key: Key, signed: list[str]) -> None:
    found = statements.verify(store, S, [public(key)], (3, signed[2]))
    assert found == statements.Verification((), (), 3) and found.verified


def test_case_c6_a_chain_rewritten_and_rehashed_is_found(store: FolderStore, key: Key, signed: list[str]) -> None:
    forged = [json.loads(store.read(f"records/{S}/{n:06d}.json")) for n in (1, 2, 3)]
    forged[1]["rto"] |= {"low_seconds": 1.0, "high_seconds": 1.5, "met": True}
    forged[1]["rto"]["parts"] = {"detect": 0.5, "decide": 0.5, "database": 0.3, "traffic": 0.2}
    write_chain(store, forged)
    assert record.verify_chain(store, S) == []  # the chain alone proves nothing
    found = statements.verify(store, S, [public(key)])
    assert not found.verified and found.signed == 1
    assert [text.split(":")[0] for text in found.problems] == [f"statements/{S}/{n:06d}.json" for n in (2, 3)]
    assert all("is missing or was changed" in text for text in found.problems)
    assert "2 of 3 records" in found.unknown[0]


def test_case_c6_a_chain_cut_at_its_end_is_found(store: FolderStore, key: Key, signed: list[str]) -> None:
    store.delete(f"records/{S}/000003.json")
    assert record.verify_chain(store, S) == []
    found = statements.verify(store, S, [public(key)])
    assert not found.verified
    assert "20260304T000000Z-failover that it names is missing or was changed" in found.problems[0]


def test_case_c6_the_newest_record_and_its_statement_removed_are_found_by_what_was_kept_elsewhere(
    store: FolderStore, key: Key, signed: list[str]
) -> None:
    store.delete(f"records/{S}/000003.json")
    store.delete(f"statements/{S}/000003.json")
    assert statements.verify(store, S, [public(key)]).verified  # nothing in the history can show this
    found = statements.verify(store, S, [public(key)], (3, signed[2]))
    assert not found.verified and signed[2] in found.problems[0]


@pytest.mark.parametrize(("number", "state"), [(1, "problem"), (2, "problem"), (3, "unknown")])
def test_case_c6_a_statement_deleted_is_found_or_leaves_unknown(
    store: FolderStore, key: Key, signed: list[str], number: int, state: str
) -> None:
    store.delete(f"statements/{S}/{number:06d}.json")
    found = statements.verify(store, S, [public(key)])
    assert not found.verified
    assert bool(found.problems) == (state == "problem")
    if state == "unknown":
        assert found.unknown == ("1 of 3 records, from 20260304T000000Z-failover on, are not signed",)


def test_case_c6_without_any_statement_nothing_is_verified(store: FolderStore, key: Key, signed: list[str]) -> None:
    for name in store.list("statements/"):
        store.delete(name)
    found = statements.verify(store, S, [public(key)])
    assert not found.verified and found.signed == 0 and "3 of 3 records" in found.unknown[0]


def test_case_c6_without_a_key_nothing_is_verified(store: FolderStore, key: Key, signed: list[str]) -> None:
    found = statements.verify(store, S, [])
    assert not found.verified and found.signed == 0 and not found.problems
    assert public(key).fingerprint in found.unknown[0] and "No public key was given" in found.unknown[1]


def test_case_c6_a_replaced_key_is_found(store: FolderStore, key: Key, signed: list[str]) -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    chain = write_chain(store, [make_record(START + n * DAY, lost=0.0) for n in range(3)])
    write_statements(store, other, chain)  # everything made anew by whoever has another key
    found = statements.verify(store, S, [public(key)])
    assert not found.verified and found.signed == 0
    assert f"3 statement(s) are signed by the key {public(other).fingerprint}" in found.problems[0]
    assert statements.verify(store, S, [public(key), public(other)]).verified  # a key that was changed on purpose


def test_case_c6_a_statement_changed_after_it_was_signed_is_found(
    store: FolderStore, key: Key, signed: list[str]
) -> None:
    name = f"statements/{S}/000003.json"
    document = json.loads(store.read(name))
    document["payload"] = document["payload"].replace("2026-03-02", "2026-03-03")
    store.write(name, json.dumps(document).encode())
    found = statements.verify(store, S, [public(key)])
    assert found.problems == (f"{name}: its signature does not fit it: it was changed after it was signed",)
    assert found.signed == 2


def test_case_c6_a_signature_of_another_stack_is_found(store: FolderStore, key: Key) -> None:
    chain = write_chain(store, [make_record(START)])
    write_statements(store, key, chain, stack="another1")
    found = statements.verify(store, S, [public(key)])
    assert not found.verified and found.signed == 0
    assert "it is statement 1 of the stack 'another1'" in found.problems[0]


def test_case_c6_an_older_statement_in_place_of_a_newer_is_found(
    store: FolderStore, key: Key, signed: list[str]
) -> None:
    store.write(f"statements/{S}/000003.json", store.read(f"statements/{S}/000001.json"))
    found = statements.verify(store, S, [public(key)])
    assert not found.verified
    assert "it is statement 1" in found.problems[0] and "it does not follow" in found.problems[1]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    data=st.one_of(
        st.binary(max_size=60),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.text(max_size=8),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["schema", "payload", "signatures", "key", "head"]), inner, max_size=4
                )
            ),
            max_leaves=8,
        ).map(lambda value: json.dumps(value).encode()),
    )
)
def test_case_c6_bytes_of_any_kind_among_the_statements_are_named(
    store: FolderStore, key: Key, signed: list[str], data: bytes
) -> None:
    store.write(f"statements/{S}/000004.json", data)
    store.write(f"statements/{S}/notes.txt", data)
    found = statements.verify(store, S, [public(key)])
    assert not found.verified and len(found.problems) == 2 and found.signed == 3


def test_the_signatures_of_rfc_6979_verify() -> None:
    """RFC 6979, A.2.5: ECDSA on P-256 with SHA-256, messages "sample" and "test"."""
    x = 0x60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6
    y = 0x7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299
    encoding = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    trusted = PublicKey(ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key().public_bytes(*encoding))
    vectors = {
        b"sample": (
            0xEFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716,
            0xF7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8,
        ),
        b"test": (
            0xF1ABB023518351CD71D881567B1EA663ED3EFCF6C5132B354F28D3B0B7D38367,
            0x019F4113742A2B14BD25926B49C649155F267E60D3814B4C0CC84250E46F0083,
        ),
    }
    for message, numbers in vectors.items():
        found = Signature(
            key="",
            public_key="",
            algorithm="ECDSA_SHA_256",
            signature=base64.b64encode(encode_dss_signature(*numbers)).decode(),
        )
        assert trusted.verifies(found, message) and not trusted.verifies(found, message + b".")
        assert not trusted.verifies(found.model_copy(update={"algorithm": "none"}), message)
        assert not trusted.verifies(found.model_copy(update={"signature": "?"}), message)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_verifies_a_statement_and_signs_one(store: FolderStore, tmp_path: Path) -> None:
    write_chain(store, [make_record(START)])
    made = signing.new_key(tmp_path / "k.pem")
    statements.sign(store, S, signing.KeyFile(tmp_path / "k.pem"))
    document = json.loads(store.read(f"statements/{S}/000001.json"))
    (tmp_path / "pub.pem").write_text(made.pem)
    (tmp_path / "m").write_text(document["payload"])
    (tmp_path / "s").write_bytes(base64.b64decode(document["signatures"][0]["signature"]))

    def openssl(*arguments: str) -> str:
        done = subprocess.run(["openssl", *arguments], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout

    assert "Verified OK" in openssl("dgst", "-sha256", "-verify", "pub.pem", "-signature", "s", "m")
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "o.pem")
    openssl("pkey", "-in", "o.pem", "-pubout", "-out", "opub.pem")
    openssl("dgst", "-sha256", "-sign", "o.pem", "-out", "os", "m")
    other = signing.read_public_key(tmp_path / "opub.pem")
    document["signatures"][0]["signature"] = base64.b64encode((tmp_path / "os").read_bytes()).decode()
    store.write(f"statements/{S}/000001.json", json.dumps(document).encode())
    assert statements.verify(store, S, [other]).verified
    assert not statements.verify(store, S, [made]).verified


def test_two_writers_leave_one_chain_of_statements(store: FolderStore, key: Key, tmp_path: Path) -> None:
    signer = signing.KeyFile(pem_file(tmp_path / "k.pem", key))
    write_chain(store, [make_record(START + n * DAY) for n in range(2)])
    with ThreadPoolExecutor(4) as pool:
        numbers = sorted(number for number, _ in pool.map(lambda _: statements.sign(store, S, signer), range(8)))
    assert numbers == list(range(1, 9))
    assert statements.verify(store, S, [public(key)]).verified
    payload = json.loads(store.read(f"statements/{S}/000008.json"))["payload"]
    assert len(payload) < 4096


def test_a_key_that_others_may_read_or_that_is_none_is_refused(tmp_path: Path, key: Key) -> None:
    path = pem_file(tmp_path / "k.pem", key)
    path.chmod(0o640)
    with pytest.raises(SigningError, match=r"can be read by others\. Run: chmod 600"):
        signing.KeyFile(path)
    path.chmod(0o600)
    (tmp_path / "link.pem").symlink_to(path)
    for wrong in ("link.pem", "absent.pem"):
        with pytest.raises(SigningError, match="cannot be read"):
            signing.KeyFile(tmp_path / wrong)
    secret = path.read_text().splitlines()[1]
    path.write_text(path.read_text().replace(secret, secret[4:]))
    with pytest.raises(SigningError, match="no private key on P-256") as refused:
        signing.KeyFile(path)
    assert secret not in str(refused.value)
    with pytest.raises(SigningError, match="no private key on P-256"):
        signing.KeyFile(pem_file(tmp_path / "p384.pem", ec.generate_private_key(ec.SECP384R1())))
    with pytest.raises(SigningError, match="no public key"):
        signing.read_public_key(path)
    with pytest.raises(SigningError, match="No key was made"):
        signing.new_key(path)


def drill(store: FolderStore, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Any:
    monkeypatch.setenv("DR_HISTORY_URI", str(store.root))
    return CliRunner().invoke(main, ["drill", *arguments])


def test_case_c6_dr_drill_list_verify_answers_good_bad_and_unknown(
    store: FolderStore, key: Key, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_chain(store, [make_record(START + n * DAY) for n in range(2)])
    assert drill(store, monkeypatch, "list").exit_code == 0
    unsigned = drill(store, monkeypatch, "list", "--verify")
    assert unsigned.exit_code == 2 and "unknown: No public key was given" in unsigned.stderr
    assert drill(store, monkeypatch, "sign").exit_code == 1
    monkeypatch.setenv(KEY_VARIABLE, str(tmp_path / "k.pem"))
    made = drill(store, monkeypatch, "sign", "--new-key", str(tmp_path / "k.pem"))
    assert made.exit_code == 0 and (tmp_path / "k.pem").stat().st_mode & 0o777 == 0o600
    assert "unknown: 2 of 2 records" in drill(store, monkeypatch, "list", "--verify").stderr
    printed = drill(store, monkeypatch, "sign").stdout.strip().rpartition(" ")[2]
    good = drill(store, monkeypatch, "list", "--verify", "--at-least", printed)
    assert good.exit_code == 0 and "verified: all 2 records" in good.stdout, good.output
    pem = drill(store, monkeypatch, "public-key").stdout
    (tmp_path / "pub.pem").write_text(pem)
    monkeypatch.delenv(KEY_VARIABLE)
    assert drill(store, monkeypatch, "list", "--verify", "--public-key", str(tmp_path / "pub.pem")).exit_code == 0
    store.delete(f"records/{S}/000002.json")
    bad = drill(store, monkeypatch, "list", "--verify", "--public-key", str(tmp_path / "pub.pem"), "--json")
    assert bad.exit_code == 2 and "is missing or was changed" in json.loads(bad.stdout)["problems"][0]
    assert drill(store, monkeypatch, "list", "--at-least", printed).exit_code == 2
    assert drill(store, monkeypatch, "list", "--verify", "--at-least", "1").exit_code == 2


def test_case_c6_a_pack_rebuilt_around_a_forged_record_is_found(store: FolderStore, key: Key, tmp_path: Path) -> None:
    signer = signing.KeyFile(pem_file(tmp_path / "k.pem", key))
    (tmp_path / "pub.pem").write_text(public(key).pem)
    chain = write_chain(store, [make_record(START + n * DAY) for n in range(2)])
    statements.sign(store, S, signer)

    def pack(records: list[dict[str, Any]], place: Path, kept: bool = True) -> Path:
        """The pack of a history with these records and, where kept, the statements of the genuine one."""
        history = FolderStore(tmp_path / f"history of {place.name}")
        write_chain(history, records)
        for name in store.list("statements/") if kept else ():
            history.write(name, store.read(name))
        evidence.write(Subject(S, 60, 300), history, evidence.Period(START, START + 3 * DAY), place)
        assert verify_pack(place) == []
        return place

    def verify(place: Path, *more: str) -> Any:
        return CliRunner().invoke(main, ["report", "verify", str(place), *more])

    trusted = ("--public-key", str(tmp_path / "pub.pem"))
    good = pack(chain, tmp_path / "good")
    assert verify_statements(good, [public(key)]).verified
    assert (
        verify(good, *trusted).exit_code == 0
        and "every record and every day of samples is signed" in verify(good, *trusted).stdout
    )
    assert verify(good).exit_code == 0 and "the signatures were not verified" in verify(good).stdout

    forged = json.loads(json.dumps(chain))
    forged[0]["why"] = "another reason"
    bad = verify(pack(forged, tmp_path / "bad"), *trusted)
    assert bad.exit_code == 2 and "is missing or was changed" in bad.stderr
    stripped = pack(forged, tmp_path / "stripped", kept=False)
    unknown = verify(stripped, *trusted)
    assert unknown.exit_code == 2 and "2 of 2 records" in unknown.stderr
    cut = verify(pack(chain[:1], tmp_path / "cut"), *trusted)
    assert cut.exit_code == 2 and "is missing or was changed" in cut.stderr


def test_case_c6_the_ledger_that_was_counted_is_bound_by_the_record(store: FolderStore, key: Key, stack: Stack) -> None:
    from tests.drills.test_record_builder import COUNTED, DRILL, begun

    name = stack.environment_suffix
    ledger = f"drills/{name}/{DRILL}-ledger.jsonl"
    store.write(ledger, b'{"n": 1}\n')
    journal = begun(store, stack)
    journal.intend("count")
    journal.done(COUNTED.model_copy(update={"ledger": ledger}))
    written = record_builder.finish(stack, store, journal, "failed", "a test")
    assert written.to_json()["rpo"]["ledger_sha256"] == hashlib.sha256(b'{"n": 1}\n').hexdigest()
    assert record.verify_chain(store, name) == []
    assert not statements.verify(store, name, [public(key)]).problems
    store.write(ledger, b'{"n": 2}\n')
    assert statements.verify(store, name, [public(key)]).problems == (
        f"{ledger} was changed since its record was written",
    )
    store.delete(ledger)
    assert statements.verify(store, name, [public(key)]).problems == (f"{ledger} is missing; its record counted it",)


def test_a_drill_signs_after_its_record_and_a_missing_key_costs_no_result(
    store: FolderStore,
    key: Key,
    stack: Stack,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from tests.drills.test_record_builder import begun

    monkeypatch.setenv(KEY_VARIABLE, str(pem_file(tmp_path / "k.pem", key)))
    name = stack.environment_suffix
    journal = begun(store, stack)
    written = record_builder.finish(stack, store, journal, "succeeded", None)
    assert statements.verify(store, name, [public(key)]).verified
    os.remove(tmp_path / "k.pem")
    store.delete(f"statements/{name}/000001.json")
    with caplog.at_level(logging.WARNING):
        assert record_builder.finish(stack, store, journal, "succeeded", None) == written
    assert "The record was written and not signed" in caplog.text and "dr drill sign" in caplog.text
    assert not statements.verify(store, name, [public(key)]).verified
