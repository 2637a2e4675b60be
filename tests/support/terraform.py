"""Run Terraform against the embedded AWS, in a copy of a project; it can reach nothing but loopback.

AWS_ENDPOINT_URL redirects every service, so there is no list of services to forget one (AWS provider 5.100 follows the AWS
SDK's order: the provider's `endpoints`, AWS_ENDPOINT_URL_<SERVICE>, AWS_ENDPOINT_URL, the shared configuration file). What
would still go elsewhere meets a proxy that is not there.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dr_assets.emulator import EmbeddedAws
from dr_assets.errors import DrError
from tests.support.isolation import AWS_DEFAULTS, NOWHERE, outer_proxies, proxies

INFRA = Path(__file__).resolve().parents[2] / "infra"
# Where provider binaries are commonly kept for use without a registry.
_MIRRORS = ("/opt", "/usr/share/terraform", "/usr/local/share/terraform", "~/.terraform.d")
PROVIDER = "terraform-provider-aws_v*"


# An embedded AWS has no host name for each bucket. This setting alone has no environment variable.
PATH_STYLE = """
provider "aws" {
  s3_use_path_style = true
}

provider "aws" {
  alias             = "secondary"
  s3_use_path_style = true
}
"""


class TerraformMissingError(DrError):
    """There is no Terraform, or no AWS provider for it; the text says which."""


class Terraform:
    """One working copy of a Terraform project.

    Args:
        source: the project, such as `infra/`. It declares the provider "aws" and its alias "secondary".
        directory: an empty folder to work in.
        endpoint_url: where all of AWS answers; None for commands that call nothing.
        proxy: receives whatever is not for loopback.
    """

    def __init__(self, source: Path, directory: Path, endpoint_url: str | None, proxy: str = NOWHERE) -> None:
        self.directory = directory / "infra"
        ignored = shutil.ignore_patterns(".terraform", "*.tfstate*", ".terraform.lock.hcl")
        shutil.copytree(source, self.directory, ignore=ignored)
        if endpoint_url:
            (self.directory / "local_override.tf").write_text(PATH_STYLE, encoding="utf-8")
        outer = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "TF_"))}
        isolated = {
            **AWS_DEFAULTS,
            **proxies(proxy),
            "AWS_ENDPOINT_URL": endpoint_url or NOWHERE,
            "AWS_ACCESS_KEY_ID": "AKIADRASSETSLOCAL000",
            "AWS_SECRET_ACCESS_KEY": "local",
        }
        self.env = {**outer, **isolated, "TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1"}
        self._config = directory / "terraform.rc"

    def run(
        self, *arguments: str, check: bool = True, timeout: float = 900.0, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run `terraform ARGUMENTS` there. Raises DrError with Terraform's output when `check` and it fails."""
        done = subprocess.run(
            ["terraform", *arguments],
            cwd=self.directory,
            env=env or self.env,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode != 0:
            raise DrError(f"terraform {' '.join(arguments)} failed:\n{(done.stdout + done.stderr)[-6000:]}")
        return done

    def init(self) -> None:
        """`terraform init`, from a provider binary found on this machine, else from the registry.

        Raises TerraformMissingError, with the reason, where neither is available.
        """
        if shutil.which("terraform") is None:
            raise TerraformMissingError("terraform is not on the PATH")
        mirror = find_mirror()
        if mirror:
            self._config.write_text(
                f'provider_installation {{\n  filesystem_mirror {{\n    path = "{mirror}"\n  }}\n}}\n', encoding="utf-8"
            )
            self.env["TF_CLI_CONFIG_FILE"] = str(self._config)
        done = self.run(
            "init", "-input=false", "-no-color", "-backend=false", check=False, timeout=300, env=outer_proxies(self.env)
        )
        if done.returncode != 0:
            raise TerraformMissingError(f"terraform init found no AWS provider: {done.stderr.strip()[-300:]}")

    def plan(self, *arguments: str) -> dict[str, Any]:
        """`terraform plan`, as the document of `terraform show -json`."""
        self.run("plan", "-input=false", "-no-color", "-out=plan.tfplan", *arguments)
        document: dict[str, Any] = json.loads(self.run("show", "-json", "plan.tfplan").stdout)
        return document

    def apply(self) -> None:
        self.run("apply", "-auto-approve", "-input=false", "-no-color")

    def destroy(self) -> None:
        self.run("destroy", "-auto-approve", "-input=false", "-no-color")

    def outputs(self) -> dict[str, Any]:
        """`terraform output -json` as name -> value."""
        return {name: item["value"] for name, item in json.loads(self.run("output", "-json").stdout).items()}


@dataclass(frozen=True)
class Applied:
    """A stack that `terraform apply` has just built."""

    aws: EmbeddedAws
    terraform: Terraform


def ready(folder: Path, endpoint_url: str | None, source: Path = INFRA, proxy: str = NOWHERE) -> Terraform:
    """An initialised copy of a project, or a skip that says why there is none."""
    if shutil.which("terraform") is None:
        pytest.skip("terraform is not on the PATH")
    terraform = Terraform(source, folder, endpoint_url, proxy)
    try:
        terraform.init()
    except TerraformMissingError as error:
        pytest.skip(str(error))
    return terraform


def find_mirror() -> Path | None:
    """The root of a filesystem mirror that holds the AWS provider, or None.

    Layout: ROOT/HOST/hashicorp/aws/VERSION/PLATFORM/terraform-provider-aws_v…, so the root is six levels up.
    """
    for folder in _plugin_folders():
        for binary in folder.glob(f"**/{PROVIDER}"):
            if ".terraform" not in binary.parts and len(binary.parts) > 6:
                return binary.parents[5]
    return None


def _plugin_folders() -> Iterator[Path]:
    for name in _MIRRORS:
        base = Path(name).expanduser()
        if base.is_dir():
            yield from (
                folder for folder in sorted(base.iterdir()) if folder.is_dir() and _may_hold_plugins(folder.name)
            )


def _may_hold_plugins(name: str) -> bool:
    return any(word in name.lower() for word in ("tf", "terraform", "plugin", "provider"))


def changes(plan: dict[str, Any]) -> list[tuple[str, Sequence[str]]]:
    """(address, actions) of every change in a plan, reads excluded."""
    return [
        (change["address"], change["change"]["actions"])
        for change in plan.get("resource_changes", [])
        if change["change"]["actions"] not in (["no-op"], ["read"])
    ]
