"""What an error of a boto3 call means: AWS refused the call, never received it, throttled it, or may have carried it out."""

from __future__ import annotations

from typing import Any, Literal

import botocore.exceptions as failures

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
