"""The furnished embedded AWS of `tests.support.furnished`, and what the sensors may call."""

import json

import pytest
from click.testing import CliRunner

from dr_assets.cli.main import main
from tests.support.furnished import cloud, watched_aws

__all__ = ["cloud", "watched_aws"]


@pytest.fixture(scope="session")
def granted() -> set[str]:
    """The IAM actions of `dr permissions sensors`."""
    answer = CliRunner().invoke(main, ["permissions", "sensors"], catch_exceptions=False)
    return {action for statement in json.loads(answer.stdout)["Statement"] for action in statement["Action"]}
