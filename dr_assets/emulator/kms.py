"""KMS extension of moto: a key pending deletion refuses changes."""

from typing import Any

from moto.core.exceptions import JsonRESTError
from moto.kms import urls
from moto.kms.models import KmsBackend, kms_backends

from dr_assets.emulator.extension import Extended, Extension


class DrKmsBackend(Extended, KmsBackend):  # type: ignore[misc]
    """A key that waits for its deletion refuses changes and use; key ARNs work everywhere a key id does."""

    def _usable(self, key_id: str) -> str:
        plain: str = self.get_key_id(key_id)
        key = self.keys.get(plain)
        if key is not None and key.key_state == "PendingDeletion":
            raise JsonRESTError("KMSInvalidStateException", f"{key.arn} is pending deletion.")
        return plain

    def create_key(self, policy: Any, key_usage: Any, *args: Any, **kwargs: Any) -> Any:
        """moto: omits a key's usage unless the caller gave it; AWS's default is ENCRYPT_DECRYPT."""
        return super().create_key(policy, key_usage or "ENCRYPT_DECRYPT", *args, **kwargs)

    def enable_key_rotation(self, key_id: str) -> None:
        """Refused while deletion is pending."""
        super().enable_key_rotation(self._usable(key_id))

    def disable_key_rotation(self, key_id: str) -> None:
        """Refused while deletion is pending."""
        super().disable_key_rotation(self._usable(key_id))

    def enable_key(self, key_id: str) -> None:
        """Refused while deletion is pending."""
        super().enable_key(self._usable(key_id))

    def disable_key(self, key_id: str) -> None:
        """Refused while deletion is pending."""
        super().disable_key(self._usable(key_id))

    def create_alias(self, target_key_id: str, alias_name: str) -> Any:
        """Refused while deletion is pending."""
        self._usable(target_key_id)
        return super().create_alias(target_key_id, alias_name)

    def update_alias(self, target_key_id: str, alias_name: str) -> Any:
        """Refused while deletion is pending, and for an alias that does not exist (moto: no error)."""
        self._usable(target_key_id)
        if self.get_key_id_from_alias(alias_name) is None:
            raise JsonRESTError("NotFoundException", f"Alias {alias_name} is not found.")
        return super().update_alias(target_key_id, alias_name)

    def encrypt(self, key_id: str, *args: Any, **kwargs: Any) -> Any:
        """Refused while deletion is pending."""
        self._usable(self.any_id_to_key_id(key_id))
        return super().encrypt(key_id, *args, **kwargs)

    def schedule_key_deletion(self, key_id: str, pending_window_in_days: int) -> float:
        """Refused while deletion is pending."""
        result: float = super().schedule_key_deletion(self._usable(key_id), pending_window_in_days)
        return result

    def cancel_key_deletion(self, key_id: str) -> None:
        """moto: KeyError for an ARN."""
        super().cancel_key_deletion(self.get_key_id(key_id))


EXTENSION = Extension(backends=kms_backends, backend=DrKmsBackend, urls=urls)
