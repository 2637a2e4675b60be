"""Secrets Manager extension of moto: GetSecretValue and version changes follow the staging labels."""

from typing import Any

from moto.secretsmanager import urls
from moto.secretsmanager.models import SecretsManagerBackend, secretsmanager_backends

from dr_assets.emulator.extension import Extended, Extension


class DrSecretsBackend(Extended, SecretsManagerBackend):  # type: ignore[misc]
    """Moving AWSCURRENT moves what GetSecretValue answers, and no label of another version."""

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


EXTENSION = Extension(backends=secretsmanager_backends, backend=DrSecretsBackend, urls=urls)
