"""Statements that KMS keys of two regions sign: by the first that answers, under exactly the drill's policy, verified without KMS."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from dr_assets.drills import signing, statements
from dr_assets.drills.signing import KEY_VARIABLE, SigningError
from dr_assets.emulator import EmbeddedAws
from dr_assets.errors import DrError
from dr_assets.history.store import FolderStore
from dr_assets.resources.iam_policy import policy, split
from dr_assets.stack import Stack
from tests.drills.test_statements import S, write_chain
from tests.support.principal import acting_as
from tests.support.records import START, make_record

from .conftest import PRIMARY, SECONDARY, Clients


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    found = FolderStore(tmp_path)
    write_chain(found, [make_record(START)])
    return found


@pytest.fixture
def keys(aws: EmbeddedAws, client: Clients, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """ARNs of a signing key in each region, as this installation is told them."""
    made = [
        client("kms", region).create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
        for region in (PRIMARY, SECONDARY)
    ]
    for name, value in aws.env().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(KEY_VARIABLE, ", ".join(made))
    yield made
    aws.control.clear_faults()


def signed_by(store: FolderStore, number: int) -> str:
    return str(json.loads(store.read(f"statements/{S}/{number:06d}.json"))["signatures"][0]["key"])


def test_case_c6_a_kms_key_signs_what_its_public_key_verifies_and_no_other(
    store: FolderStore, keys: list[str], client: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    statements.sign_after_record(store, S)
    trusted = signing.trusted()
    monkeypatch.delenv(KEY_VARIABLE)
    assert signed_by(store, 1) == keys[0]
    assert statements.verify(store, S, trusted).verified
    assert not statements.verify(store, S, trusted[1:]).verified  # the other region's alone is another key
    assert client("kms").get_public_key(KeyId=keys[0])["PublicKey"] == trusted[0].der


@pytest.mark.parametrize("fault", ["dark", "error", "throttle"])
def test_where_the_first_key_does_not_sign_the_other_regions_does(
    aws: EmbeddedAws, store: FolderStore, keys: list[str], fault: str
) -> None:
    trusted = signing.trusted()
    aws.control.fault(fault, service="kms", region=PRIMARY)
    statements.sign_after_record(store, S)
    assert signed_by(store, 1) == keys[1] and statements.verify(store, S, trusted).verified


def test_where_no_key_signs_the_record_stands_and_the_next_statement_covers_it(
    aws: EmbeddedAws, store: FolderStore, keys: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    trusted = signing.trusted()
    aws.control.fault("error", service="kms")
    statements.sign_after_record(store, S)
    assert "The record was written and not signed: No KMS key signed." in caplog.text
    assert store.list("statements/") == [] and not statements.verify(store, S, trusted).verified
    with pytest.raises(DrError, match="get_public_key"):
        signing.trusted()
    aws.control.clear_faults()
    write_chain(store, [make_record(START), make_record(START.replace(day=3))])
    statements.sign_after_record(store, S)
    assert statements.verify(store, S, trusted).signed == 2


def test_a_drills_policy_signs_with_these_keys_and_a_provisioners_with_none(
    aws: EmbeddedAws, store: FolderStore, keys: list[str], client: Clients, stack: Stack
) -> None:
    other = client("kms").create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
    with acting_as(aws, [policy(stack, ["drill"], signing=keys)]):
        signing.KmsKeys(keys).sign(b"m")
        with pytest.raises(SigningError, match="AccessDenied"):
            signing.KmsKeys([other]).sign(b"m")
    with (
        acting_as(aws, split(policy(stack, ["provision"], signing=keys))),
        pytest.raises(SigningError, match="AccessDenied"),
    ):
        signing.KmsKeys(keys).sign(b"m")


@pytest.mark.parametrize(
    "value", ["arn:aws:kms:us-east-1:123456789012:alias/x", "arn:aws:s3:::b", "arn:aws:kms:us-east-1:1:key/x"]
)
def test_what_is_no_arn_of_a_key_is_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, value)
    with pytest.raises(SigningError, match="no ARN of a KMS key"):
        signing.configured()
