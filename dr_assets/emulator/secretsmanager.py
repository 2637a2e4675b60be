"""Secrets Manager extension of moto: staging labels decide what GetSecretValue answers; the recovery window of deleted secrets."""

import time
from typing import Any

from moto.core.exceptions import JsonRESTError
from moto.secretsmanager import urls
from moto.secretsmanager.exceptions import InvalidRequestException
from moto.secretsmanager.models import SecretsManagerBackend, secretsmanager_backends

from dr_assets.emulator.clock import clock
from dr_assets.emulator.extension import Extended, Extension
from dr_assets.emulator.permissions.principals import invalid_principal
from dr_assets.emulator.permissions.resource_policies import key_error

_DAY = 86400.0


class DrSecretsBackend(Extended, SecretsManagerBackend):  # type: ignore[misc]
    """Moving AWSCURRENT moves what GetSecretValue answers, and no label of another version.

    A secret that is scheduled for deletion shows itself, and takes nothing but RestoreSecret and DeleteSecret until its date
    (Secrets Manager API reference, DeleteSecret; the messages as terraform-provider-aws matches them).
    """

    def _refuse_deleted(self, secret_id: str) -> None:
        secret = self.secrets.get(secret_id)
        if secret is not None and secret.is_deleted():
            if secret.deleted_date <= time.time() + clock.days * _DAY:
                self.secrets.pop(secret_id)
                return
            raise InvalidRequestException(
                "You can't perform this operation on the secret because it was marked for deletion."
            )

    def _decrypt(self, secret_id: str) -> None:
        """Refuse while the customer managed key of the secret cannot be used (API reference, GetSecretValue: Errors)."""
        if key_error(self.region_name, self._key_of(secret_id)):
            what = "can't decrypt the protected secret text using the provided KMS key"
            raise JsonRESTError("DecryptionFailure", f"Secrets Manager {what}.")

    def _encrypt(self, key_id: str | None) -> None:
        """Refuse a key that is disabled, pending deletion or does not exist (API reference, CreateSecret: EncryptionFailure)."""
        if key_error(self.region_name, key_id):
            what = "can't encrypt the protected secret text using the provided KMS key"
            raise JsonRESTError("EncryptionFailure", f"Secrets Manager {what}.")

    def _key_of(self, secret_id: str) -> str | None:
        return getattr(self.secrets.get(secret_id), "kms_key_id", None)

    def create_secret(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """moto: answers that a secret scheduled for deletion exists, and takes any key."""
        try:
            self._refuse_deleted(name)
        except InvalidRequestException:
            raise InvalidRequestException(
                "You can't create this secret because a secret with this name is already scheduled for deletion."
            ) from None
        self._encrypt(kwargs.get("kms_key_id"))
        return super().create_secret(name, *args, **kwargs)

    def get_secret_value(self, secret_id: str, *args: Any, **kwargs: Any) -> Any:
        """moto: has the message of another operation, and needs no key."""
        self._refuse_deleted(secret_id)
        self._decrypt(secret_id)
        return super().get_secret_value(secret_id, *args, **kwargs)

    def put_secret_value(self, secret_id: str, *args: Any, **kwargs: Any) -> Any:
        """moto: writes to a deleted secret, and needs no key."""
        self._refuse_deleted(secret_id)
        self._encrypt(self._key_of(secret_id))
        return super().put_secret_value(secret_id, *args, **kwargs)

    def update_secret(self, secret_id: str, *args: Any, **kwargs: Any) -> Any:
        """moto: has its own message, and needs no key.

        Another key also encrypts the existing versions, for which the former key must decrypt them (API reference, UpdateSecret).
        """
        self._refuse_deleted(secret_id)
        new, secret = kwargs.get("kms_key_id"), self.secrets.get(secret_id)
        if new or kwargs.get("secret_string") is not None or kwargs.get("secret_binary") is not None:
            self._encrypt(new or self._key_of(secret_id))
        if new and secret is not None and any(map(_has_value, secret.versions.values())):
            self._decrypt(secret_id)
        return super().update_secret(secret_id, *args, **kwargs)

    def put_resource_policy(self, secret_id: str, policy: str) -> Any:
        """moto: takes principals that do not exist (terraform-provider-aws, resource aws_secretsmanager_secret_policy)."""
        self._refuse_deleted(secret_id)
        if invalid_principal(policy):
            raise JsonRESTError(
                "MalformedPolicyDocumentException", "This resource policy contains an unsupported principal"
            )
        return super().put_resource_policy(secret_id, policy)

    def tag_resource(self, arn: str, *args: Any, **kwargs: Any) -> Any:
        """moto: tags a deleted secret."""
        self._refuse_deleted(arn)
        return super().tag_resource(arn, *args, **kwargs)

    def describe_secret(self, secret_id: str) -> Any:
        """moto: shows a deleted secret for ever."""
        secret = self.secrets.get(secret_id)
        if secret is not None and secret.is_deleted() and secret.deleted_date <= time.time() + clock.days * _DAY:
            self.secrets.pop(secret_id)
        return super().describe_secret(secret_id)

    def delete_secret(self, secret_id: str, *args: Any, **kwargs: Any) -> Any:
        """moto: answers a date in the past of a calendar that was moved forward."""
        arn, name, date = super().delete_secret(secret_id, *args, **kwargs)
        secret = self.secrets.get(secret_id)
        if secret is not None and secret.is_deleted():
            date += clock.days * _DAY
            secret.deleted_date = date
        return arn, name, date

    # -- staging labels ------------------------------------------------------------------------------------------------

    def _add_secret(self, secret_id: str, *args: Any, **kwargs: Any) -> Any:
        """moto: a version that stops being current loses the labels of its owner's too."""
        before = self.secrets.get(secret_id)
        owned = {
            version_id: [label for label in version["version_stages"] if not label.startswith("AWS")]
            for version_id, version in (before.versions if before else {}).items()
        }
        result = super()._add_secret(secret_id, *args, **kwargs)
        versions = self.secrets[secret_id].versions
        taken = {label for key, version in versions.items() if key not in owned for label in version["version_stages"]}
        for version_id, labels in owned.items():
            stages = versions[version_id]["version_stages"]
            stages += [label for label in labels if label not in stages and label not in taken]
        return result

    def update_secret_version_stage(self, secret_id: str, version_stage: str, *args: Any, **kwargs: Any) -> Any:
        """moto: moves the label and goes on answering the old version."""
        result = super().update_secret_version_stage(secret_id, version_stage, *args, **kwargs)
        secret = self.secrets[secret_id]
        for version_id, version in secret.versions.items():
            if "AWSCURRENT" in version["version_stages"]:
                secret.set_default_version_id(version_id)
        return result


def _has_value(version: dict[str, Any]) -> bool:
    return "secret_string" in version or "secret_binary" in version


EXTENSION = Extension(backends=secretsmanager_backends, backend=DrSecretsBackend, urls=urls)
