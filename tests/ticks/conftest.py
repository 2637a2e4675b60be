"""The furnished embedded AWS of `tests.support.furnished` for this folder."""

from tests.support.furnished import cloud, watched_aws

__all__ = ["cloud", "watched_aws"]
