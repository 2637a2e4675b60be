"""One embedded AWS for all tests of this directory; every test uses names of its own."""

import json
import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import boto3
import pytest
from botocore.config import Config

from dr_assets.emulator import EmbeddedAws
from dr_assets.emulator.answers import VARIABLE, parse

PRIMARY, SECONDARY = "us-east-1", "us-west-2"
# The clients here do not retry, so Route 53's quota is off; the tests of it set it.
STARTED_WITH = asdict(parse(json.loads(os.environ.get(VARIABLE) or "{}"))) | {"route53_calls_per_second": 0.0}
KEYS = {"aws_access_key_id": "AKIADRASSETSLOCAL000", "aws_secret_access_key": "local"}
Clients = Callable[..., Any]


@pytest.fixture(scope="session")
def aws() -> Iterator[EmbeddedAws]:
    with EmbeddedAws() as embedded:
        embedded.control.answers(**STARTED_WITH)
        yield embedded


@pytest.fixture(scope="session")
def client(aws: EmbeddedAws) -> Clients:
    """`client("rds")`, `client("rds", SECONDARY)`; no retries, so that every error is raised at once."""
    made: dict[tuple[str, str], Any] = {}
    config = Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=30)

    def make(service: str, region: str = PRIMARY, **overrides: Any) -> Any:
        if overrides:
            merged = config.merge(Config(**overrides))
            return boto3.client(service, region, endpoint_url=aws.endpoint_url, config=merged, **KEYS)
        if (service, region) not in made:
            made[service, region] = boto3.client(service, region, endpoint_url=aws.endpoint_url, config=config, **KEYS)
        return made[service, region]

    return make


@pytest.fixture
def name() -> str:
    """A short name that no other test uses."""
    return "t" + uuid.uuid4().hex[:8]


@pytest.fixture(autouse=True)
def restore_defaults(request: pytest.FixtureRequest) -> Iterator[None]:
    """Remove faults, settle time, pace and switched answers after each test."""
    yield
    if "aws" in request.fixturenames or "client" in request.fixturenames:
        control = request.getfixturevalue("aws").control
        control.clear_faults()
        control.settle(0)
        control.answers(**STARTED_WITH)
        control.alarms(pace=1)
