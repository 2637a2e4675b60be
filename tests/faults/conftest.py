"""Fixtures of the fault matrix."""

from tests.support.drills import aws, pair_aws

__all__ = ["aws", "pair_aws"]
