"""Secrets Manager: one password, written once, the same at both sites, and never to be seen."""

import datetime
import json
import string
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from dr_assets.core.model import Call, Observed, Sensitive, Target
from dr_assets.errors import RefusedError
from dr_assets.resources.catalog import catalog
from dr_assets.resources.credentials.kinds import EXCLUDED_CHARACTERS, PASSWORD_LENGTH, StoredPassword
from dr_assets.resources.registry import KINDS
from dr_assets.stack import SITES, Site, Stack
from tests.support.aws_double import (
    FakeReads,
    check_params,
    creation,
    deletion,
    drift,
    error,
    fields,
    look,
    next_call,
    tag_list,
    target,
)

PASSWORD = "Tr0ub4dor-and_3.Tr0ub4dor-and_3.Tr0ub4dor"
OTHER = "another-password-of-at-least-8"
PRIMARY, SECONDARY = "rds-master-password-primary-l6p3z2w4", "rds-master-password-secondary-l6p3z2w4"
CLUSTERS = ["aurora-primary-l6p3z2w4", "aurora-secondary-l6p3z2w4"]
ARN = f"arn:aws:secretsmanager:us-east-1:123456789012:secret:{PRIMARY}-AbCdEf"


def document(of: Target, password: Any = PASSWORD, **other: Any) -> str:
    want = of.desired
    right = {
        "username": want["Username"],
        "engine": want["Engine"],
        "host": want["Host"],
        "port": want["Port"],
        "dbname": want["DbName"],
        "password": password,
    }
    return json.dumps({**right, **other})


def secret_reads(
    name: str, values: Mapping[str, str | Exception], writing: bool = False, clusters: Sequence[str] = ()
) -> FakeReads:
    """`values`: secret -> its current text, or the error AWS gives for it; `clusters` exist. What is asked in the instant of `writing` is
    granted with the writing."""
    kind = KINDS[name]
    granted: Any = SimpleNamespace(
        read_actions=(*kind.read_actions, *kind.write_actions) if writing else kind.read_actions
    )

    def value(SecretId: str) -> dict[str, Any]:
        found = values.get(SecretId, error("ResourceNotFoundException"))
        if isinstance(found, Exception):
            raise found
        return {"ARN": f"arn:{SecretId}", "Name": SecretId, "SecretString": found, "VersionStages": ["AWSCURRENT"]}

    def cluster(DBClusterIdentifier: str) -> dict[str, Any]:
        if DBClusterIdentifier not in clusters:
            raise error("DBClusterNotFoundFault")
        return {"DBClusters": [{"DBClusterIdentifier": DBClusterIdentifier}]}

    return FakeReads(
        granted, get_secret_value=value, get_random_password={"RandomPassword": PASSWORD}, describe_db_clusters=cluster
    )


def revealed(call: Call, reads: FakeReads) -> dict[str, Any]:
    """The call's parameters as they are sent, checked against botocore's model."""
    params = {
        name: value.reveal(reads) if isinstance(value, Sensitive) else value for name, value in call.params.items()
    }
    check_params(call.service, call.operation, params)
    return params


def put(call: Call) -> Call:
    assert (call.service, call.operation) == ("secretsmanager", "put_secret_value")
    assert PASSWORD not in repr(call) and PASSWORD not in str(call.params)
    assert repr(call.params["SecretString"]) == str(call.params["SecretString"]) == "<secret>"
    return call


@pytest.fixture
def version(stack: Stack) -> Target:
    return target(stack, "secondary/credentials/version")


@pytest.fixture
def password(stack: Stack) -> Target:
    return target(stack, "primary/credentials/password")


# --- the secret ----------------------------------------------------------------------------------------------------------


def described(of: Target, **other: Any) -> FakeReads:
    shown = {
        "ARN": ARN,
        "Name": of.name,
        "KmsKeyId": of.desired["KmsKeyId"],
        "Tags": tag_list(of.desired["Tags"]),
        **other,
    }
    return FakeReads(KINDS[of.kind], describe_secret=shown)


@pytest.mark.parametrize("site", SITES)
def test_a_secret_in_order(stack: Stack, site: Site) -> None:
    of = target(stack, f"{site}/credentials/secret")
    found = look(described(of), of)
    assert fields(of, found) == []
    assert deletion(of, found) == ("delete_secret", {"SecretId": ARN, "ForceDeleteWithoutRecovery": True})
    operation, params = creation(of)
    assert (operation, params["KmsKeyId"]) == ("create_secret", f"{site}/encryption/data-key#Arn")
    assert "SecretString" not in params, "the password has a step of its own"
    assert look(FakeReads(KINDS[of.kind], describe_secret=error("ResourceNotFoundException")), of) is None


def test_the_secrets_next_call(stack: Stack) -> None:
    of = target(stack, "primary/credentials/secret")
    deleted = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
    tags = tag_list({**of.desired["Tags"], "Site": "secondary"})
    found = look(described(of, DeletedDate=deleted, KmsKeyId="another", Tags=tags), of)
    assert fields(of, found) == ["DeletionScheduled", "KmsKeyId", "Tags.Site"]
    assert next_call(of, found) == ("restore_secret", {"SecretId": ARN}), "nothing else is taken before that"
    found = look(described(of, KmsKeyId="another", Tags=tags), of)
    assert next_call(of, found) == ("update_secret", {"SecretId": ARN, "KmsKeyId": of.desired["KmsKeyId"]})
    found = look(described(of, Tags=tags), of)
    assert next_call(of, found)[0] == "tag_resource"


# --- the password --------------------------------------------------------------------------------------------------------


def test_only_the_primary_has_a_password_of_its_own(stack: Stack) -> None:
    rows = [row.key for row in catalog(stack) if row.kind == "secretsmanager.password"]
    assert rows == ["primary/credentials/password"]


def test_the_password_is_written_once_under_a_token_of_the_secret(password: Target) -> None:
    of = Target(**{**vars(password), "settings": {**password.settings, "SecretArn": ARN}})
    kind = KINDS[of.kind]
    reads = secret_reads(of.kind, {}, writing=True)
    sent = revealed(put(kind.create(of)), reads)
    again = revealed(put(kind.create(of)), reads)
    assert json.loads(sent["SecretString"]) == {
        "username": "dbadmin",
        "engine": "postgres",
        "port": 5432,
        "dbname": "transactiondb",
        "password": PASSWORD,
    }
    # The same token: AWS refuses a second write with another password (ResourceExistsException).
    assert sent["ClientRequestToken"] == again["ClientRequestToken"]
    other = Target(**{**vars(of), "settings": {**of.settings, "SecretArn": ARN + "2"}})
    assert kind.create(other).params["ClientRequestToken"] != sent["ClientRequestToken"]
    (asked,) = {json.dumps(params) for operation, _, params in reads.calls if operation == "get_random_password"}
    assert json.loads(asked) == {
        "PasswordLength": PASSWORD_LENGTH,
        "ExcludeCharacters": EXCLUDED_CHARACTERS,
        "RequireEachIncludedType": True,
    }


def test_case_a1_a_deleted_secret_gets_the_password_that_the_other_site_holds(password: Target) -> None:
    """A new one would be written over the last copy, and no one could sign in to the cluster any more."""
    of = Target(**{**vars(password), "settings": {**password.settings, "SecretArn": ARN}})
    reads = secret_reads(of.kind, {SECONDARY: json.dumps({"password": OTHER})}, writing=True, clusters=CLUSTERS)
    sent = revealed(put(KINDS[of.kind].create(of)), reads)
    assert json.loads(sent["SecretString"])["password"] == OTHER
    assert "get_random_password" not in [operation for operation, _, _ in reads.calls]


@pytest.mark.parametrize("cluster", CLUSTERS)
@pytest.mark.parametrize("copy", [error("ResourceNotFoundException"), "no JSON", '{"username": "dbadmin"}'])
def test_case_a1_no_second_password_is_made_beside_a_cluster(
    password: Target, cluster: str, copy: str | Exception
) -> None:
    of = Target(**{**vars(password), "settings": {**password.settings, "SecretArn": ARN}})
    reads = secret_reads(of.kind, {SECONDARY: copy}, writing=True, clusters=[cluster])
    with pytest.raises(RefusedError, match=f"the cluster {cluster} exists, so no new one was made"):
        revealed(put(KINDS[of.kind].create(of)), reads)


def test_the_generated_password_is_one_that_aurora_and_urls_take() -> None:
    assert set("/@\"' ") <= set(EXCLUDED_CHARACTERS) | {" "}
    left = set(string.punctuation) - set(EXCLUDED_CHARACTERS)
    assert left, "RequireEachIncludedType needs one punctuation character at least"
    assert left <= set("-._~"), "what needs no quoting in a URL"
    assert 8 <= PASSWORD_LENGTH <= 99


@pytest.mark.parametrize(
    ("text", "observed"),
    [
        (json.dumps({"password": PASSWORD}), {"Written": True}),
        (json.dumps({"password": ""}), {"Written": False}),
        (json.dumps({"username": "dbadmin"}), {"Written": False}),
        ("no JSON: " + PASSWORD, {"Written": False}),
        (json.dumps([PASSWORD]), {"Written": False}),
        (error("ResourceNotFoundException"), None),
    ],
)
def test_what_is_seen_of_the_password(password: Target, text: str | Exception, observed: Observed | None) -> None:
    assert look(secret_reads(password.kind, {PRIMARY: text}), password) == observed


def test_a_lost_password_is_never_replaced_by_a_new_one(password: Target) -> None:
    """The cluster would not know it. `Written` is immutable: reported, not healed."""
    found = look(secret_reads(password.kind, {PRIMARY: "{}"}), password)
    assert fields(password, found) == ["Written"]
    assert KINDS[password.kind].immutable == {"Written"}
    assert KINDS[password.kind].delete(password, found or {}) is None


@pytest.mark.parametrize("code", ["InvalidRequestException", "DecryptionFailure", "AccessDeniedException"])
def test_a_secret_that_aws_does_not_show_is_not_taken_for_an_empty_one(
    password: Target, version: Target, code: str
) -> None:
    for of in (password, version):
        with pytest.raises(ClientError):
            look(secret_reads(of.kind, {PRIMARY: error(code), SECONDARY: error(code)}), of)


# --- the complete versions -------------------------------------------------------------------------------------------------


def test_a_version_in_order_shows_no_password(version: Target) -> None:
    reads = secret_reads(version.kind, {PRIMARY: document(version), SECONDARY: document(version)})
    found = look(reads, version)
    assert fields(version, found) == []
    assert PASSWORD not in repr(found)
    assert [(region, params["SecretId"]) for _, region, params in reads.calls] == [
        ("us-west-2", SECONDARY),
        ("us-east-1", PRIMARY),
    ]


def test_each_site_has_its_own_endpoint(stack: Stack) -> None:
    for site in SITES:
        of = target(stack, f"{site}/credentials/version")
        assert of.desired["Host"] == f"{site}/aurora/cluster#Endpoint"


def test_a_version_is_completed_with_the_primarys_password(version: Target) -> None:
    reads = secret_reads(version.kind, {PRIMARY: json.dumps({"password": PASSWORD})})
    assert look(reads, version) is None
    sent = revealed(put(KINDS[version.kind].create(version)), reads)
    assert sent["SecretId"] == SECONDARY
    assert json.loads(sent["SecretString"]) == json.loads(document(version))


def test_another_password_heals_towards_the_primarys(version: Target) -> None:
    reads = secret_reads(version.kind, {PRIMARY: document(version), SECONDARY: document(version, OTHER)})
    found = look(reads, version)
    differs = drift(version, found)
    assert [(d.field, d.desired, d.observed) for d in differs] == [("PasswordMatchesPrimary", True, False)]
    assert PASSWORD not in repr((found, differs)) and OTHER not in repr((found, differs))
    sent = revealed(put(KINDS[version.kind].update(version, found or {}, differs)), reads)
    assert json.loads(sent["SecretString"])["password"] == PASSWORD


@pytest.mark.parametrize("text", ["{", "", "[]", "null", json.dumps(PASSWORD)])
def test_a_broken_version_is_a_drift_and_no_crash(version: Target, text: str) -> None:
    found = look(secret_reads(version.kind, {PRIMARY: document(version), SECONDARY: text}), version)
    assert fields(version, found) == ["DbName", "Engine", "Host", "PasswordMatchesPrimary", "Port", "Username"]
    assert PASSWORD not in repr(found)


def test_a_password_in_another_field_is_not_shown(version: Target) -> None:
    astray = document(version, host=f"postgres://dbadmin:{PASSWORD}@db", username={"name": PASSWORD})
    found = look(secret_reads(version.kind, {PRIMARY: document(version), SECONDARY: astray}), version)
    assert fields(version, found) == ["Host", "Username"]
    assert PASSWORD not in repr((found, drift(version, found)))


@pytest.mark.parametrize("text", ["{}", "{", json.dumps({"password": ""})])
def test_without_a_primary_password_nothing_is_written(version: Target, text: str) -> None:
    reads = secret_reads(version.kind, {PRIMARY: text, SECONDARY: document(version)})
    found = look(reads, version)
    assert fields(version, found) == ["PasswordMatchesPrimary"]
    with pytest.raises(RefusedError, match="holds no password"):
        revealed(KINDS[version.kind].create(version), reads)


def test_two_empty_passwords_do_not_match(version: Target) -> None:
    empty = document(version, "")
    found = look(secret_reads(version.kind, {PRIMARY: empty, SECONDARY: empty}), version)
    assert fields(version, found) == ["PasswordMatchesPrimary"]


def test_a_version_goes_with_its_secret(version: Target) -> None:
    assert KINDS[version.kind].delete(version, {}) is None


def test_the_stored_password_is_read_back_only_when_revealed() -> None:
    stored = StoredPassword("us-east-1", PRIMARY)
    reads = secret_reads("secretsmanager.version", {PRIMARY: json.dumps({"password": PASSWORD})})
    assert (repr(stored), str(stored), reads.calls) == ("<secret>", "<secret>", [])
    assert stored.reveal(reads) == PASSWORD
    assert vars(stored) == {"region": "us-east-1", "secret": PRIMARY}


def test_every_change_of_a_version_is_one_write(version: Target) -> None:
    texts = {PRIMARY: document(version), SECONDARY: document(version, port=1, dbname="other")}
    found = look(secret_reads(version.kind, texts), version)
    assert fields(version, found) == ["DbName", "Port"]
    call = KINDS[version.kind].update(version, found or {}, drift(version, found))
    assert put(call).params["SecretId"] == SECONDARY


def test_a_key_that_secrets_manager_shows_by_its_id_is_the_same_key(stack: Stack) -> None:
    """Secrets Manager API, DescribeSecret: KmsKeyId is "the key ID or alias ARN"; its example shows the key's ARN."""
    key_id = "1234abcd-12ab-34cd-56ef-1234567890ab"
    of = target(stack, "primary/credentials/secret", KmsKeyId=f"arn:aws:kms:us-east-1:123456789012:key/{key_id}")
    for shown in (key_id, of.desired["KmsKeyId"]):
        assert fields(of, look(described(of, KmsKeyId=shown), of)) == []
    assert fields(of, look(described(of, KmsKeyId=key_id.replace("1234abcd", "5678abcd")), of)) == ["KmsKeyId"]
