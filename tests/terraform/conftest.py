"""Terraform against the embedded AWS: one stack that it builds, for all tests of this folder."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dr_assets.emulator import EmbeddedAws
from tests.support.terraform import Terraform, TerraformMissingError

INFRA = Path(__file__).resolve().parents[2] / "infra"


@dataclass(frozen=True)
class Applied:
    """A stack that `terraform apply` has just built."""

    aws: EmbeddedAws
    terraform: Terraform


def ready(folder: Path, endpoint_url: str | None) -> Terraform:
    """An initialised copy of infra/, or a skip that says why there is none."""
    if shutil.which("terraform") is None:
        pytest.skip("terraform is not on the PATH")
    terraform = Terraform(INFRA, folder, endpoint_url)
    try:
        terraform.init()
    except TerraformMissingError as error:
        pytest.skip(str(error))
    return terraform


@pytest.fixture(scope="session")
def applied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Applied]:
    with EmbeddedAws() as aws:
        terraform = ready(tmp_path_factory.mktemp("terraform"), aws.endpoint_url)
        terraform.apply()
        yield Applied(aws, terraform)


@pytest.fixture
def environment(applied: Applied, monkeypatch: pytest.MonkeyPatch) -> Applied:
    """boto3 finds the stack that Terraform built."""
    for name, value in applied.aws.env().items():
        monkeypatch.setenv(name, value)
    os.environ.pop("DR_TERRAFORM_DIR", None)
    applied.aws.control.clear_calls()
    return applied
