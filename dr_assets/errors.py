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


class ThrottledError(UnansweredError):
    """AWS answered that it takes no more calls for now: nothing was carried out."""


class AwsCallError(DrError):
    """AWS answered with an unexpected error. Carries operation, region, error code and request id."""


class NotYetError(AwsCallError):
    """AWS refuses a call for a while only (`core.not_yet`): nothing was carried out. `seconds` is the patience with it."""

    def __init__(self, text: str, seconds: float) -> None:
        super().__init__(text)
        self.seconds = seconds


class NoEffectError(AwsCallError):
    """AWS accepted the same call several times and shows no change."""


class RefusedError(DrError):
    """An action was blocked by a safety check. The text names the check and how to override it."""


class WriterOutsideError(RefusedError):
    """The writer of the global cluster is at neither site of the stack. Nothing may be written, and no override exists."""
