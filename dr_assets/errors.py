"""Errors a person reads: one sentence that names the thing, one that names the remedy.

May import nothing of the project.
"""

from __future__ import annotations


class DrError(Exception):
    """Something the user can act on. Its text says what is wrong and what to do; no traceback is needed to read it."""


class StackFileError(DrError):
    """The stack file is missing, unreadable or holds an impossible value."""


class CredentialsError(DrError):
    """AWS credentials are missing, expired or refused."""


class ForeignResourceError(DrError):
    """A resource of ours has its name taken by something that carries other ownership tags. Nothing was touched."""


class UnansweredError(DrError):
    """AWS did not answer (timeout, throttling beyond the retries, 5xx): the state is unknown, neither good nor bad."""


class AwsCallError(DrError):
    """AWS answered with an error nobody expected. Carries operation, region, error code and request id."""


class RefusedError(DrError):
    """An action was refused on purpose: a safety rule stands against it. Says which, and how to override it."""
