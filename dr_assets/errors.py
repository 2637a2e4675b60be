"""Exceptions whose text a person reads: one sentence that names the cause, one that names the remedy."""

from __future__ import annotations


class DrError(Exception):
    """An error the user can act on. Its text gives the cause and the remedy; it is shown without a traceback."""


class StackFileError(DrError):
    """The stack file is missing, unreadable or holds an impossible value."""


class CredentialsError(DrError):
    """AWS credentials are missing, expired or refused."""


class ForeignResourceError(DrError):
    """A resource with this name carries other ownership tags. Nothing was changed."""


class UnansweredError(DrError):
    """AWS did not answer (timeout, throttling beyond the retries, 5xx): the state is unknown, neither good nor bad."""


class AwsCallError(DrError):
    """AWS answered with an unexpected error. Carries operation, region, error code and request id."""


class RefusedError(DrError):
    """An action was blocked by a safety check. The text names the check and how to override it."""
