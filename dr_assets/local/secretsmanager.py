"""Secrets Manager: staging labels that decide what is answered. Imports moto's Secrets Manager."""

from typing import Any

from moto.secretsmanager import urls
from moto.secretsmanager.models import SecretsManagerBackend

from dr_assets.local.extended import Extended


class DrSecretsBackend(Extended, SecretsManagerBackend):  # type: ignore[misc]
    """Moving AWSCURRENT moves what GetSecretValue answers."""

    moto_urls = urls

    def update_secret_version_stage(self, secret_id: str, version_stage: str, *args: Any, **kwargs: Any) -> Any:
        """moto: moves the label and goes on answering the old version."""
        result = super().update_secret_version_stage(secret_id, version_stage, *args, **kwargs)
        secret = self.secrets[secret_id]
        for version_id, version in secret.versions.items():
            if "AWSCURRENT" in version["version_stages"]:
                secret.set_default_version_id(version_id)
        return result
