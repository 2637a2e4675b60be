"""What an error of a boto3 call means for the call: refused, unsent, throttled or unknown.

Codes and statuses are those of botocore's own retry tables, the classes those of `botocore.exceptions`.
"""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import botocore
import botocore.exceptions
import pytest
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError
from botocore.retries.standard import ThrottledRetryableChecker, TransientRetryableChecker

from dr_assets.aws import explain
from dr_assets.aws_errors import fate
from dr_assets.circuit_breaker import RegionDarkError
from dr_assets.errors import CredentialsError, ThrottledError, UnansweredError

# Both lists have them. TransactionInProgressException is about another transaction, so this call's own fate is open; Route 53 says
# of PriorRequestNotComplete that it rejected the request (API reference, ChangeResourceRecordSets, "Errors").
AMBIGUOUS = {"TransactionInProgressException": "unknown", "PriorRequestNotComplete": "refused"}
# botocore raises these before it has sent anything; those that end a request already sent are in _AFTER_SENDING.
BEFORE_SENDING = {
    "ConnectTimeoutError",
    "CredentialRetrievalError",
    "EndpointConnectionError",
    "LoginAuthorizationCodeError",
    "LoginError",
    "LoginInsufficientPermissions",
    "LoginRefreshRequired",
    "LoginTokenLoadError",
    "NoCredentialsError",
    "ParamValidationError",
    "PartialCredentialsError",
    "ProfileNotFound",
    "ProxyConnectionError",
    "SSOError",
    "SSOTokenLoadError",
    "TokenRetrievalError",
    "UnauthorizedSSOTokenError",
}


def answer(code: str, status: int) -> ClientError:
    response: Any = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "CreateVpc")


def retried_codes() -> dict[str, set[int]]:
    """Error code -> statuses with which botocore's legacy retry table names it."""
    table = json.loads((Path(botocore.__file__).parent / "data" / "_retry.json").read_text())
    found: dict[str, set[int]] = {}

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            if isinstance(node.get("service_error_code"), str):
                found.setdefault(node["service_error_code"], set()).add(int(node.get("http_status_code", 400)))
            for each in node.values():
                walk(each)
        elif isinstance(node, list):
            for each in node:
                walk(each)

    walk(table["definitions"])
    return found


@pytest.mark.parametrize("code", ThrottledRetryableChecker._THROTTLED_ERROR_CODES)
def test_case_c4_the_fate_of_what_botocore_calls_throttled(code: str) -> None:
    assert fate(answer(code, 400)) == AMBIGUOUS.get(code, "throttled")


@pytest.mark.parametrize("code", TransientRetryableChecker._TRANSIENT_ERROR_CODES)
def test_case_c4_the_fate_of_what_botocore_calls_transient(code: str) -> None:
    assert fate(answer(code, 400)) == AMBIGUOUS.get(code, "unknown")


@pytest.mark.parametrize("status", TransientRetryableChecker._TRANSIENT_STATUS_CODES)
def test_case_c4_the_fate_of_a_5xx(status: int) -> None:
    assert fate(answer("InternalFailure", status)) == "unknown"


def test_case_c4_no_code_of_botocore_s_retry_table_is_a_refusal() -> None:
    codes = retried_codes()
    assert {"Throttling", "RequestThrottledException"} <= codes.keys()
    # A checksum that does not agree was refused; "not available yet" of EC2's own table is a refusal as well.
    certain = {"BadDigest", "CRC32", *AMBIGUOUS}
    refused = {
        (code, status)
        for code, statuses in codes.items()
        for status in statuses
        if code not in certain and fate(answer(code, status)) == "refused"
    }
    assert refused == set()


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("InvalidGlobalClusterStateFault", 400, "refused"),
        ("AccessDenied", 403, "refused"),
        ("ConditionalRequestConflict", 409, "refused"),
        ("NotImplemented", 501, "refused"),
        ("429", 429, "throttled"),
        ("SlowDown", 503, "throttled"),
        ("408", 408, "unknown"),
        ("ServiceUnavailable", 503, "unknown"),
        ("Whatever", 599, "unknown"),
        ("Whatever", 200, "unknown"),
        ("Whatever", 302, "unknown"),
    ],
)
def test_case_c4_the_fate_of_an_answer_with_a_code(code: str, status: int, expected: str) -> None:
    assert fate(answer(code, status)) == expected


@pytest.mark.parametrize("response", [{}, {"Error": {"Code": "Odd"}}])
def test_case_c4_an_answer_without_a_status_is_unknown(response: Any) -> None:
    assert fate(ClientError(response, "CreateVpc")) == "unknown"


def test_case_c4_the_fate_of_every_error_of_botocore() -> None:
    """Only what botocore raises before it sends is certain. A class that a new botocore brings is unknown until it is listed."""
    unsent = set()
    for name, cls in vars(botocore.exceptions).items():
        if not (inspect.isclass(cls) and issubclass(cls, Exception)) or issubclass(cls, ClientError | Warning):
            continue
        found = fate(cls.__new__(cls))
        assert found in ("unsent", "unknown"), name
        if found == "unsent":
            unsent.add(name)
    # Classes that the oldest botocore allowed does not have are not asked for.
    assert unsent == BEFORE_SENDING & vars(botocore.exceptions).keys()


@pytest.mark.parametrize("error", [KeyError("x"), ResponseParserError("no element found"), TypeError(), ValueError()])
def test_case_c4_an_answer_that_cannot_be_read_is_unknown(error: Exception) -> None:
    assert fate(error) == "unknown"


@pytest.mark.parametrize("error", [RegionDarkError("dark"), CredentialsError("no"), UnansweredError("sts is silent")])
def test_case_c4_errors_of_our_own_are_raised_before_anything_is_sent(error: Exception) -> None:
    assert fate(error) == "unsent"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (answer("RequestTimeout", 400), UnansweredError),
        (answer("InternalError", 500), UnansweredError),
        (answer("Throttling", 400), ThrottledError),
        (answer("Odd", 429), ThrottledError),
    ],
)
def test_the_explanation_agrees_with_the_fate(error: Exception, expected: type[Exception]) -> None:
    assert type(explain(error, "ec2", "create_vpc", "us-east-1")) is expected
