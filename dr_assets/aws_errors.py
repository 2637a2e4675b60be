"""What an error of a boto3 call means: AWS refused the call, never received it, throttled it, or may have carried it out."""

from __future__ import annotations

import json
from typing import Any, Literal

import botocore.exceptions as failures
from botocore.parsers import ResponseParserError

from dr_assets.circuit_breaker import RegionDarkError
from dr_assets.core.model import error_code
from dr_assets.errors import DrError

Fate = Literal["refused", "unsent", "throttled", "unknown"]

THROTTLED = frozenset(
    {
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "Throttled",
        "TooManyRequestsException",
    }
)
# 4xx codes that botocore retries as it does a 5xx: whether the request was carried out is not known. PriorRequestNotComplete, which
# it retries as well, is a rejection (Route 53 API reference, "Common errors").
_UNANSWERED = frozenset(
    {"RequestTimeout", "RequestTimeoutException", "ServiceUnavailable", "TransactionInProgressException"}
)
_TIMEOUT, _TOO_MANY, _NOT_IMPLEMENTED = 408, 429, 501

# Raised before a request is sent: no credentials, impossible parameters, no connection to AWS or to the proxy. SSLError is not
# among them: a connection may break in the middle of an answer.
_UNSENT = (
    failures.ConnectTimeoutError,
    failures.CredentialRetrievalError,
    failures.EndpointConnectionError,
    failures.LoginError,
    failures.NoCredentialsError,
    failures.ParamValidationError,
    failures.PartialCredentialsError,
    failures.ProfileNotFound,
    failures.ProxyConnectionError,
    failures.SSOError,
    failures.TokenRetrievalError,
    RegionDarkError,
    DrError,
)


def fate(error: BaseException) -> Fate:
    """What became of a mutating call that raised `error`, which is what boto3 raised, not what `aws.explain` made of it.

    refused     AWS answered that it did not carry it out
    unsent      AWS received nothing (a DrError: no client or no credentials could be had)
    throttled   AWS takes no more calls for now and carried nothing out
    unknown     AWS may have carried it out: it answered with a 5xx, with something that cannot be read, or not at all

    Only a known refusal is one: whatever is not recognised is unknown. Sources: AWS SDKs and tools reference guide, "Retry behavior";
    boto3 guide, "Retries"; `botocore.retries.standard` (429 is throttling under any code). That a throttled call was not carried out
    is our reading of "request was throttled".
    """
    if isinstance(error, failures.ClientError):
        code = error_code(error)
        meta: Any = error.response.get("ResponseMetadata", {})
        status = int(meta.get("HTTPStatusCode", 0) or 0)
        if code in THROTTLED or status == _TOO_MANY:
            return "throttled"
        refused = 400 <= status < 500 and status != _TIMEOUT and code not in _UNANSWERED
        return "refused" if refused or status == _NOT_IMPLEMENTED else "unknown"
    return "unsent" if isinstance(error, _UNSENT) else "unknown"


_WITHHELD = "(withheld: it may hold a secret)"


def withhold(error: BaseException) -> None:
    """Remove from an error of a library what it quotes of a secret, its chain, and its frames inside botocore, which hold what was sent.

    Quoted are a parameter's value, an answer that cannot be parsed, what a credential process wrote.
    """
    error.__cause__ = error.__context__ = None
    place = error.__traceback__
    while place and place.tb_next:
        package = str(place.tb_next.tb_frame.f_globals.get("__name__")).partition(".")[0]
        if package in ("boto3", "botocore"):
            place.tb_next = None
        place = place.tb_next
    if isinstance(error, failures.ParamValidationError):
        # validate.py quotes the values of all parameters that do not fit; a value may look like the rest of the report.
        before, quotes, _ = str(vars(error)["kwargs"].get("report", "")).partition(", value: ")
        failures.BotoCoreError.__init__(error, report=f"{before}, value: {_WITHHELD}" if quotes else before)
    elif isinstance(error, failures.CredentialRetrievalError):
        if vars(error)["kwargs"].get("provider") == "custom-process":
            failures.BotoCoreError.__init__(error, provider="custom-process", error_msg=_WITHHELD)
    elif isinstance(error, json.JSONDecodeError):
        error.doc, error.args = "", (_WITHHELD,)
    elif isinstance(error, UnicodeDecodeError):
        error.object, error.args = b"", (_WITHHELD,)
    elif isinstance(error, ResponseParserError):
        error.args = (_WITHHELD,)
