"""Terraform against the embedded AWS: a copy of `infra/` in a folder of its own, pointed at a local endpoint.

Used by the tests and the bench. What makes a stack local (endpoints, path-style S3, throw-away keys) goes into an override
file in the copy and never into `infra/`. May import only the standard library and `dr_assets.errors`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dr_assets.errors import DrError

_SERVICES = (
    "cloudwatch",
    "cloudwatchlogs",
    "ec2",
    "iam",
    "kms",
    "logs",
    "rds",
    "route53",
    "s3",
    "secretsmanager",
    "sns",
    "sqs",
    "sts",
)
# Where provider binaries are commonly kept for use without a registry.
_MIRRORS = ("/opt", "/usr/share/terraform", "/usr/local/share/terraform", "~/.terraform.d")
PROVIDER = "terraform-provider-aws_v*"


class TerraformMissingError(DrError):
    """There is no Terraform, or no AWS provider for it; the text says which."""


class Terraform:
    """One working copy of the Terraform project.

    Args:
        source: the project's `infra/`.
        directory: an empty folder to work in.
        endpoint_url: where all of AWS answers; None for plans that call nothing.
    """

    def __init__(self, source: Path, directory: Path, endpoint_url: str | None) -> None:
        self.directory = directory / "infra"
        ignored = shutil.ignore_patterns(".terraform", "*.tfstate*", ".terraform.lock.hcl")
        shutil.copytree(source, self.directory, ignore=ignored)
        if endpoint_url:
            (self.directory / "local_override.tf").write_text(_override(endpoint_url), encoding="utf-8")
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "TF_"))}
        self.env |= {
            "AWS_ACCESS_KEY_ID": "AKIADRASSETSLOCAL000",
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_EC2_METADATA_DISABLED": "true",
            "TF_IN_AUTOMATION": "1",
            "CHECKPOINT_DISABLE": "1",
        }
        self._config = directory / "terraform.rc"

    def run(self, *arguments: str, check: bool = True, timeout: float = 900.0) -> subprocess.CompletedProcess[str]:
        """Run `terraform ARGUMENTS` there. Raises DrError with Terraform's own words when `check` and it fails."""
        done = subprocess.run(
            ["terraform", *arguments],
            cwd=self.directory,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode != 0:
            raise DrError(f"terraform {' '.join(arguments)} failed:\n{(done.stdout + done.stderr)[-6000:]}")
        return done

    def init(self) -> None:
        """`terraform init`, from the registry, else from a provider binary found on this machine.

        Raises TerraformMissingError, with the reason, where neither is to be had.
        """
        if shutil.which("terraform") is None:
            raise TerraformMissingError("terraform is not on the PATH")
        mirror = find_mirror()
        if mirror:
            self._config.write_text(
                f'provider_installation {{\n  filesystem_mirror {{\n    path = "{mirror}"\n  }}\n}}\n', encoding="utf-8"
            )
            self.env["TF_CLI_CONFIG_FILE"] = str(self._config)
        done = self.run("init", "-input=false", "-no-color", "-backend=false", check=False, timeout=300)
        if done.returncode != 0:
            raise TerraformMissingError(f"terraform init found no AWS provider: {done.stderr.strip()[-300:]}")

    def plan(self, *arguments: str) -> dict[str, Any]:
        """`terraform plan` as `terraform show -json` tells it."""
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
    """(address, actions) of everything a plan would do, reading left out."""
    return [
        (change["address"], change["change"]["actions"])
        for change in plan.get("resource_changes", [])
        if change["change"]["actions"] not in (["no-op"], ["read"])
    ]


def _override(endpoint_url: str) -> str:
    block = "\n".join(f'    {name} = "{endpoint_url}"' for name in sorted(set(_SERVICES) - {"cloudwatchlogs"}))
    settings = (
        "  skip_credentials_validation = true\n  skip_metadata_api_check = true\n"
        f"  s3_use_path_style = true\n  endpoints {{\n{block}\n  }}\n"
    )
    return f'provider "aws" {{\n{settings}}}\n\nprovider "aws" {{\n  alias = "secondary"\n{settings}}}\n'
