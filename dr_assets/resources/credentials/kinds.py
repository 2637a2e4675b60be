"""Secrets Manager kinds: secret, master password generated once, secret version with the full connection JSON.

The password exists in Secrets Manager only. It is made by Secrets Manager's own generator and written once to the primary's
secret, under a request token derived from the secret's ARN: AWS refuses a second, different write under that token. The
cluster is created with what is read back, and so are the complete versions. Nothing here returns, prints or compares it
outside of the instant of a call.

Where a run may crash, and how the next goes on with the same password:
- secret made, no password yet: the secret has no version, so the password is written now;
- password written but the answer lost: it is read back; where AWS does not show it yet, the token stops a second one;
- password written, cluster not made: the cluster is created with the password that is there;
- cluster made, versions not complete: the primary's version is completed with its own password, the secondary's with the
  primary's, in one write each;
- a version that lost its password is never given a new one (the cluster would not know it): that is reported;
- the primary's secret was deleted: the new one gets the password from the secondary's, and none where that has none and a
  cluster exists.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from dr_assets.core.model import (
    ALL,
    Call,
    Drift,
    Kind,
    Observed,
    Reads,
    Sensitive,
    Target,
    changed_fields,
    error_code,
    permit,
)
from dr_assets.errors import RefusedError
from dr_assets.resources.names import full_key_arn
from dr_assets.resources.tags import changed_tags, from_tag_list, to_tag_list

PASSWORD_LENGTH = 40
# Aurora PostgreSQL takes printable ASCII but / " @ and space; the others would need quoting in URLs and shells.
EXCLUDED_CHARACTERS = "/@\"' \\`$%:;?#&<>{}[]|^~,()=+*!"


def seed_version_id(secret_arn: str) -> str:
    """The version id under which the password is first written: the same for every try, so AWS takes it only once."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{secret_arn}#seed"))


def current_document(reads: Reads, region: str, secret: str) -> dict[str, Any] | None:
    """The current version as a dict, None where there is none. Holds the password: never keep, print or return it further.

    Text that is no JSON object gives an empty dict: the version is there, but nothing in it is right. While a secret is
    scheduled for deletion AWS does not show its versions (InvalidRequestException): they are unknown, and the secret's
    own row shows why.
    """
    try:
        answer = reads.call("secretsmanager", "get_secret_value", region, SecretId=secret)
    except ClientError as error:
        if error_code(error) == "ResourceNotFoundException":
            return None
        raise
    try:
        document = json.loads(answer.get("SecretString") or "")
    except json.JSONDecodeError:
        return {}
    return document if isinstance(document, dict) else {}


@dataclass(frozen=True, repr=False)
class StoredPassword(Sensitive):
    """The password that a secret holds."""

    region: str
    secret: str

    def reveal(self, reads: Reads) -> str:
        document = current_document(reads, self.region, self.secret) or {}
        password = document.get("password")
        if not password:
            raise RefusedError(
                f"The secret {self.secret} in {self.region} holds no password. Put the cluster's master password back into "
                "its JSON (an earlier version of the secret has it), or reset both with a new one."
            )
        return str(password)


@dataclass(frozen=True, repr=False)
class SeedDocument(Sensitive):
    """A document with the password that the other site's secret still holds, or with a new one while no cluster has one.

    clusters: (region, name) of those that were created with the password.
    """

    region: str
    fields: Mapping[str, Any]
    copy: StoredPassword
    clusters: Sequence[tuple[str, str]]

    def reveal(self, reads: Reads) -> str:
        copied = current_document(reads, self.copy.region, self.copy.secret) or {}
        password = copied.get("password")
        if not password:
            self._refuse_second(reads)
            answer = reads.call(
                "secretsmanager",
                "get_random_password",
                self.region,
                PasswordLength=PASSWORD_LENGTH,
                ExcludeCharacters=EXCLUDED_CHARACTERS,
                RequireEachIncludedType=True,
            )
            password = answer["RandomPassword"]
        return json.dumps({**self.fields, "password": password})

    def _refuse_second(self, reads: Reads) -> None:
        """Raises RefusedError where a cluster exists: it would not know the new password."""
        for region, name in self.clusters:
            try:
                reads.call("rds", "describe_db_clusters", region, DBClusterIdentifier=name)
            except ClientError as error:
                if error_code(error) == "DBClusterNotFoundFault":
                    continue
                raise
            raise RefusedError(
                f"Neither secret holds the master password, and the cluster {name} exists, so no new one was made. Write the "
                "password into the primary's secret as JSON, or set another (aws rds modify-db-cluster --master-user-password) and "
                "write that."
            )


@dataclass(frozen=True, repr=False)
class CompleteDocument(Sensitive):
    """A document with the password of another secret."""

    source: StoredPassword
    fields: Mapping[str, Any]

    def reveal(self, reads: Reads) -> str:
        return json.dumps({**self.fields, "password": self.source.reveal(reads)})


class Secret(Kind):
    name = "secretsmanager.secret"
    keeps_data = "Correct the stack file; the secret holds the master password, which must be kept."
    label = "secret"
    compute_kinds = ("secretsmanager",)
    absent_codes = ("ResourceNotFoundException",)
    # AWS appends a hyphen and six characters; a secret that does not exist is checked without them.
    resource_arn = "secretsmanager:{region}:{account}:secret:{name}*"
    read_actions = permit("secretsmanager:DescribeSecret")
    write_actions = permit(
        "secretsmanager:CreateSecret",
        "secretsmanager:UpdateSecret",
        "secretsmanager:RestoreSecret",
        "secretsmanager:TagResource",
        "secretsmanager:DeleteSecret",
    ) | permit("kms:Decrypt", "kms:GenerateDataKey", on="kms.key")
    least_reads = (1, 0)
    terraform = ("aws_secretsmanager_secret",)
    import_field = "Arn"
    console_url = "https://{region}.console.aws.amazon.com/secretsmanager/secret?name={name}&region={region}"

    def observe(self, reads: Reads, target: Target) -> Observed | None:
        secret = reads.call("secretsmanager", "describe_secret", target.region, SecretId=target.name)
        return {
            "Name": secret["Name"],
            "Arn": secret["ARN"],
            "KmsKeyId": full_key_arn(secret.get("KmsKeyId"), region=target.region, account=reads.account),
            "DeletionScheduled": secret.get("DeletedDate") is not None,
            "Tags": from_tag_list(secret.get("Tags")),
        }

    def create(self, target: Target) -> Call:
        params = {
            "Name": target.name,
            "Description": target.settings["Description"],
            "KmsKeyId": target.desired["KmsKeyId"],
            "Tags": to_tag_list(target.desired["Tags"]),
        }
        return Call("secretsmanager", "create_secret", params)

    def update(self, target: Target, observed: Observed, drift: Sequence[Drift]) -> Call:
        changed = changed_fields(drift)
        secret = {"SecretId": observed["Arn"]}
        if "DeletionScheduled" in changed:
            return Call("secretsmanager", "restore_secret", secret)
        if "KmsKeyId" in changed:
            return Call("secretsmanager", "update_secret", {**secret, "KmsKeyId": target.desired["KmsKeyId"]})
        return Call("secretsmanager", "tag_resource", {**secret, "Tags": changed_tags(target, drift)})

    def delete(self, target: Target, observed: Observed) -> Call:
        # Without recovery: a secret in its recovery window would keep its name from the next stack.
        return Call(
            "secretsmanager", "delete_secret", {"SecretId": observed["Arn"], "ForceDeleteWithoutRecovery": True}
        )


class Password(Kind):
    """The seed: the current version of the primary's secret has a password. `Written` is False where it lost it."""

    name = "secretsmanager.password"
    keeps_data = "It is the master password of the running cluster: restore the secret's earlier version instead."
    label = "master password"
    compute_kinds = ("secretsmanager",)
    immutable = frozenset({"Written"})
    read_actions = permit("secretsmanager:GetSecretValue", on="secretsmanager.secret") | permit(
        "kms:Decrypt", on="kms.key"
    )
    write_actions = (
        permit("secretsmanager:PutSecretValue", on="secretsmanager.secret")
        | permit("secretsmanager:GetRandomPassword", on=ALL)
        | permit("rds:DescribeDBClusters", on="rds.cluster")
        | permit("kms:GenerateDataKey", on="kms.key")
    )
    least_reads = (0, 0)  # the same call reads the version
    terraform = ("aws_secretsmanager_secret_version",)
    importable = False

    def observe(self, reads: Reads, target: Target) -> Observed | None:
        document = current_document(reads, target.region, target.name)
        return None if document is None else {"Written": bool(document.get("password"))}

    def create(self, target: Target) -> Call:
        settings = target.settings
        arn = settings["SecretArn"]
        copy = StoredPassword(settings["CopyRegion"], settings["CopySecret"])
        clusters = [(cluster["Region"], cluster["Name"]) for cluster in settings["Clusters"]]
        params = {
            "SecretId": arn,
            "ClientRequestToken": seed_version_id(arn),
            "SecretString": SeedDocument(target.region, settings["Document"], copy, clusters),
        }
        return Call("secretsmanager", "put_secret_value", params)

    def update(self, target: Target, observed: Observed, drift: Sequence[Drift]) -> Call:
        raise NotImplementedError("the password's only field is immutable")

    def delete(self, target: Target, observed: Observed) -> Call | None:
        return None


class Version(Kind):
    """The complete current version. identity: PrimaryRegion, PrimarySecret (whose password is the one that counts)."""

    name = "secretsmanager.version"
    label = "secret version"
    compute_kinds = ("secretsmanager",)
    parity = ("Username", "Engine", "Port", "DbName", "PasswordMatchesPrimary")
    read_actions = permit("secretsmanager:GetSecretValue", on="secretsmanager.secret") | permit(
        "kms:Decrypt", on="kms.key"
    )
    write_actions = permit("secretsmanager:PutSecretValue", on="secretsmanager.secret") | permit(
        "kms:GenerateDataKey", on="kms.key"
    )
    least_reads = (0, 1)
    terraform = ("aws_secretsmanager_secret_version",)
    importable = False

    def observe(self, reads: Reads, target: Target) -> Observed | None:
        own = current_document(reads, target.region, target.name)
        if own is None:
            return None
        first = current_document(reads, target.identity["PrimaryRegion"], target.identity["PrimarySecret"]) or {}
        return {
            "Username": _shown(own, "username"),
            "Engine": _shown(own, "engine"),
            "Host": _shown(own, "host"),
            "Port": _shown(own, "port"),
            "DbName": _shown(own, "dbname"),
            "PasswordMatchesPrimary": bool(own.get("password")) and own.get("password") == first.get("password"),
        }

    def create(self, target: Target) -> Call:
        want = target.desired
        fields = {
            "username": want["Username"],
            "engine": want["Engine"],
            "host": want["Host"],
            "port": want["Port"],
            "dbname": want["DbName"],
        }
        source = StoredPassword(target.identity["PrimaryRegion"], target.identity["PrimarySecret"])
        params = {"SecretId": target.name, "SecretString": CompleteDocument(source, fields)}
        return Call("secretsmanager", "put_secret_value", params)

    def delete(self, target: Target, observed: Observed) -> Call | None:
        return None


def _shown(document: Mapping[str, Any], field: str) -> Any:
    """A field that may be shown: a text or number, and not one that contains the password (as a URL may)."""
    value, password = document.get(field), document.get("password")
    if value is not None and not isinstance(value, (str, int)):
        return "<not a text>"
    # RDS takes no password under 8 characters; shorter ones would be found by chance.
    return "<holds the password>" if len(str(password or "")) >= 8 and str(password) in str(value) else value


KINDS: tuple[Kind, ...] = (Secret(), Password(), Version())
