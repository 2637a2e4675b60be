"""Terraform against the embedded AWS: one stack that it builds, for all tests of this folder."""

import os
from collections.abc import Iterator

import pytest

from dr_assets.emulator import EmbeddedAws
from tests.support.terraform import Applied, ready


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
