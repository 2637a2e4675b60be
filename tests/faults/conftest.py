"""Fixtures of the fault matrix: those of the integration tests."""

from tests.integration.conftest import built, built_aws, cloud, embedded, restored
from tests.support.drills import aws, pair_aws

__all__ = ["aws", "built", "built_aws", "cloud", "embedded", "pair_aws", "restored"]
