"""Who acts: the identity of AWS beside the words of a person, and unknown where STS does not answer."""

from __future__ import annotations

import time
from collections.abc import Iterator

import boto3
import pytest
from pydantic import ValidationError

from dr_assets import aws_session
from dr_assets.aws import Aws
from dr_assets.caller import CallerIdentity, identify
from dr_assets.emulator import EmbeddedAws
from tests.support.principal import create_role, user

EAST, WEST = "us-east-1", "us-west-2"
EVERYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


@pytest.fixture(scope="module")
def embedded() -> Iterator[EmbeddedAws]:
    with EmbeddedAws() as aws:
        yield aws


@pytest.fixture
def cloud(embedded: EmbeddedAws, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedAws]:
    for name, value in {**embedded.env(), **user(embedded, "*")}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(aws_session, "_assumed", {})
    yield embedded
    embedded.control.clear_faults()


def own_arn(region: str = WEST) -> str:
    """Asked with raw boto3."""
    return str(boto3.Session().client("sts", region_name=region).get_caller_identity()["Arn"])


def test_case_c5_the_identity_of_aws_stands_beside_the_words(cloud: EmbeddedAws) -> None:
    assert identify("Ada", [WEST]) == CallerIdentity(words="Ada", arn=own_arn())


def test_case_c5_under_a_role_the_identity_behind_it_is_named(
    cloud: EmbeddedAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = own_arn()
    role = create_role(cloud, [EVERYTHING])
    monkeypatch.setenv("DR_ROLE_ARN", role)
    found = identify("Ada", [WEST])
    assert found.arn is not None
    assert f":assumed-role/{role.rsplit('/', 1)[1]}/" in found.arn
    assert (found.source_arn, found.reason) == (source, None)


def test_case_c5_a_silent_sts_is_unknown_within_seconds_and_the_other_region_s_is_asked(cloud: EmbeddedAws) -> None:
    cloud.control.fault("dark", service="sts", region=EAST)
    assert identify("Ada", [EAST, WEST]).arn == own_arn(WEST)
    cloud.control.fault("dark", service="sts")
    began = time.monotonic()
    found = identify("Ada", [EAST])
    assert (found.arn, found.source_arn) == (None, None)
    assert "no answer" in (found.reason or "")
    assert time.monotonic() - began < 20


def test_case_c5_silent_sts_does_not_open_the_circuit_breaker_of_other_calls(cloud: EmbeddedAws) -> None:
    aws = Aws(read_timeout=1.0, attempts=1, silence=0.5)
    cloud.control.fault("dark", service="sts")
    identify("Ada", [EAST], aws)
    assert aws.reads().call("sqs", "list_queues", EAST) is not None
    assert "get_caller_identity" in [entry.operation for entry in aws.log.entries]


def test_case_c5_a_blank_name_is_refused() -> None:
    for blank in ("", "  ", "\n"):
        with pytest.raises(ValidationError, match="a name is missing"):
            CallerIdentity(words=blank, arn=None)


def test_case_c5_credentials_that_cannot_be_found_leave_the_identity_unknown(
    cloud: EmbeddedAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DR_ROLE_ARN", "nonsense")
    found = identify("Ada", [EAST])
    assert found.arn is None
    assert "DR_ROLE_ARN" in (found.reason or "")
