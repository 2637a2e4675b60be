"""KMS extension of moto: what each state and type of a key allows, signatures, and destruction at the end of the waiting period.

Source: KMS developer guide, "Key states of AWS KMS keys" (the table and its footnotes), and the API reference of each operation.
"""

from datetime import timedelta
from typing import Any

from moto.core.exceptions import JsonRESTError
from moto.core.utils import unix_time, utcnow
from moto.kms import urls
from moto.kms.models import KmsBackend, kms_backends
from moto.kms.responses import KmsResponse

from dr_assets.emulator.clock import clock
from dr_assets.emulator.extension import Extended, Extension
from dr_assets.emulator.permissions.principals import invalid_principal

PENDING, DISABLED = "PendingDeletion", "Disabled"
SYMMETRIC = "SYMMETRIC_DEFAULT"
MAX_MESSAGE = 4096  # bytes (API reference, Sign and Verify: Message)


class DrKmsBackend(Extended, KmsBackend):  # type: ignore[misc]
    """A key that waits for its deletion refuses changes and use; one that is disabled refuses use. ARNs work like ids."""

    # -- destruction ---------------------------------------------------------------------------------------------------

    @property
    def keys(self) -> dict[str, Any]:
        """moto's keys by id, without those whose waiting period has ended: with a key go its aliases and tags."""
        today = utcnow() + timedelta(days=clock.days)
        over = [key for key in self._keys.values() if key.key_state == PENDING and key.deletion_date <= today]
        for key in over:
            del self._keys[key.id]
            self.tagger.delete_all_tags_for_resource(key.id)
        return self._keys

    @keys.setter
    def keys(self, value: dict[str, Any]) -> None:
        self._keys = value

    def schedule_key_deletion(self, key_id: str, pending_window_in_days: int) -> float:
        """moto: takes any window, and does not know the calendar."""
        if not 7 <= pending_window_in_days <= 30:
            raise JsonRESTError("ValidationException", "PendingWindowInDays must be between 7 and 30 days inclusive.")
        key = self.keys[self._changeable(key_id)]
        key.enabled, key.key_state = False, PENDING
        key.deletion_date = utcnow() + timedelta(days=clock.days + pending_window_in_days)
        return float(unix_time(key.deletion_date))

    def cancel_key_deletion(self, key_id: str) -> None:
        """The key is disabled afterwards. moto: takes a key that is not pending deletion, and no ARN."""
        key_id = self.get_key_id(key_id)
        key = self.keys[key_id]
        if key.key_state != PENDING:
            raise JsonRESTError("KMSInvalidStateException", f"{key.arn} is not pending deletion.")
        super().cancel_key_deletion(key_id)

    # -- what a state allows -------------------------------------------------------------------------------------------

    def _changeable(self, key_id: str) -> str:
        plain: str = self.any_id_to_key_id(key_id)
        key = self.keys.get(plain)
        if key is not None and key.key_state == PENDING:
            raise JsonRESTError("KMSInvalidStateException", f"{key.arn} is pending deletion.")
        return plain

    def usable(self, key_id: str) -> str:
        """The plain id of a key that may be used for encryption. Raises as KMS does for one that may not."""
        plain = self._changeable(key_id)
        key = self.keys.get(plain)
        if key is not None and key.key_state == DISABLED:
            raise JsonRESTError("DisabledException", f"{key.arn} is disabled.")
        return plain

    def enable_key_rotation(self, key_id: str) -> None:
        """Refused while the key is disabled or pending deletion, and for keys that are not symmetric (moto: accepted)."""
        plain = self.usable(key_id)
        self._require_symmetric(plain, symmetric=True)
        super().enable_key_rotation(plain)

    def _require_symmetric(self, key_id: str, *, symmetric: bool) -> None:
        key = self.keys.get(key_id)
        if key is not None and (key.key_spec == SYMMETRIC) != symmetric:
            raise JsonRESTError("UnsupportedOperationException", f"{key.arn} is a key of the type {key.key_spec}.")

    # -- signatures ----------------------------------------------------------------------------------------------------

    def sign(self, key_id: str, *args: Any, **kwargs: Any) -> Any:
        """moto: signs with a key that is disabled or pending deletion."""
        return super().sign(self._usable_for("SIGN_VERIFY", key_id), *args, **kwargs)

    def verify(self, key_id: str, *args: Any, **kwargs: Any) -> Any:
        """A wrong signature is an error (API reference, Verify). moto: answers `SignatureValid: false`."""
        found = super().verify(self._usable_for("SIGN_VERIFY", key_id), *args, **kwargs)
        if not found[1]:
            raise JsonRESTError("KMSInvalidSignatureException", "")
        return found

    def get_public_key(self, key_id: str) -> Any:
        """Refused for a symmetric key. While the key is disabled or pending deletion, too: what KMS does then was not found."""
        plain = self.usable(key_id)
        self._require_symmetric(plain, symmetric=False)
        return super().get_public_key(plain)

    def _usable_for(self, usage: str, key_id: str) -> str:
        plain = self.usable(key_id)
        key = self.keys.get(plain)
        if key is not None and key.key_usage != usage:
            raise JsonRESTError("InvalidKeyUsageException", f"{key.arn} has the key usage {key.key_usage}.")
        return plain

    # -- what a state allows: the rest ---------------------------------------------------------------------------------

    def disable_key_rotation(self, key_id: str) -> None:
        """Refused while the key is disabled or pending deletion."""
        super().disable_key_rotation(self.usable(key_id))

    def get_key_rotation_status(self, key_id: str) -> bool:
        """False while deletion is pending; a cancelled deletion brings the former setting back."""
        return self.keys[self.get_key_id(key_id)].key_state != PENDING and super().get_key_rotation_status(key_id)

    def enable_key(self, key_id: str) -> None:
        """Refused while deletion is pending."""
        super().enable_key(self._changeable(key_id))

    def disable_key(self, key_id: str) -> None:
        """Refused while deletion is pending."""
        super().disable_key(self._changeable(key_id))

    def update_key_description(self, key_id: str, description: str) -> None:
        """Refused while deletion is pending."""
        super().update_key_description(self._changeable(key_id), description)

    def tag_resource(self, arn: str, tags: dict[str, str]) -> None:
        """Refused while deletion is pending."""
        self._changeable(arn)
        super().tag_resource(arn, tags)

    def untag_resource(self, arn: str, tag_keys: list[str]) -> None:
        """Refused while deletion is pending."""
        self._changeable(arn)
        super().untag_resource(arn, tag_keys)

    def create_alias(self, target_key_id: str, alias_name: str) -> Any:
        """Refused while deletion is pending."""
        self._changeable(target_key_id)
        return super().create_alias(target_key_id, alias_name)

    def update_alias(self, target_key_id: str, alias_name: str) -> Any:
        """Refused while the target's deletion is pending, for an alias that does not exist, and for a target of another type or usage
        than the present one (API reference, UpdateAlias; the code of that error is a guess). moto: no error."""
        target = self.keys.get(self._changeable(target_key_id))
        if (former := self.get_key_id_from_alias(alias_name)) is None:
            raise JsonRESTError("NotFoundException", f"Alias {alias_name} is not found.")
        present = self.keys.get(former)
        if target and present and _type(target) != _type(present):
            raise JsonRESTError("ValidationException", f"{target.arn} is of another type than the key of {alias_name}.")
        return super().update_alias(target_key_id, alias_name)

    def create_grant(self, key_id: str, *args: Any, **kwargs: Any) -> Any:
        """Refused while the key is disabled or pending deletion."""
        return super().create_grant(self.usable(key_id), *args, **kwargs)

    def encrypt(self, key_id: str, *args: Any, **kwargs: Any) -> Any:
        """Refused while the key is disabled or pending deletion, and with a key that signs. Data keys are made through it too."""
        return super().encrypt(self._usable_for("ENCRYPT_DECRYPT", key_id), *args, **kwargs)

    def decrypt(self, *args: Any, **kwargs: Any) -> Any:
        """Refused while the key is disabled or pending deletion."""
        plaintext, arn = super().decrypt(*args, **kwargs)
        self.usable(arn)
        return plaintext, arn

    # -- key policies --------------------------------------------------------------------------------------------------

    def create_key(self, policy: Any, key_usage: Any, *args: Any, **kwargs: Any) -> Any:
        """moto: omits a key's usage unless the caller gave it; AWS's default is ENCRYPT_DECRYPT."""
        self._check_principals(policy)
        return super().create_key(policy, key_usage or "ENCRYPT_DECRYPT", *args, **kwargs)

    def _generate_default_keys(self, alias_name: str) -> Any:
        """moto: AWS's own keys (`alias/aws/…`) look like the customer's."""
        key_id = super()._generate_default_keys(alias_name)
        if key_id is not None:
            self.keys[key_id].key_manager = "AWS"
        return key_id

    def put_key_policy(self, key_id: str, policy: str) -> None:
        """moto: takes principals that do not exist. Allowed in every state of the key."""
        self._check_principals(policy)
        super().put_key_policy(key_id, policy)

    def _check_principals(self, policy: str | None) -> None:
        """KMS refuses roles and users that do not exist, or not everywhere yet (terraform-provider-aws#24697)."""
        if invalid_principal(policy):
            raise JsonRESTError(
                "MalformedPolicyDocumentException", "Policy contains a statement with one or more invalid principals."
            )


def _type(key: Any) -> tuple[bool, str]:
    return key.key_spec == SYMMETRIC, key.key_usage


class DrKmsResponse(KmsResponse):  # type: ignore[misc]
    def sign(self) -> str:
        """moto: takes messages of any length, and hashes a digest once more."""
        self._check_message()
        return str(super().sign())

    def verify(self) -> str:
        """moto: takes messages of any length, and hashes a digest once more."""
        self._check_message()
        return str(super().verify())

    def _check_message(self) -> None:
        message = self._get_param("Message") or b""
        if len(message) > MAX_MESSAGE:
            raise JsonRESTError("ValidationException", f"Member must have length less than or equal to {MAX_MESSAGE}")
        if self._get_param("MessageType") not in (None, "RAW"):
            raise JsonRESTError("ValidationException", "The embedded AWS signs messages, not digests: MessageType RAW.")


EXTENSION = Extension(backends=kms_backends, backend=DrKmsBackend, urls=urls, responses=DrKmsResponse)
