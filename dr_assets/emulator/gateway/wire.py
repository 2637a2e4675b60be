"""Identify an AWS request (region, service, operation) and build an error answer in the protocol that it uses.

Region and service come from the SigV4
credential scope; the control planes of global services (IAM, Route 53) belong to us-east-1, as at AWS.
"""

import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote
from xml.sax.saxutils import escape

# SigV4 signing names that differ from boto3's service names.
_BOTO3_NAMES = {"monitoring": "cloudwatch", "elasticfilesystem": "efs", "states": "stepfunctions"}
# Services with REST paths, whose operation the router finds; all others name it in the body or a header.
_REST = frozenset({"s3", "s3control", "route53", "lambda", "eks", "efs", "scheduler"})
GLOBAL_SERVICES = frozenset({"iam", "route53", "organizations", "cloudfront"})
_READ_PREFIXES = (
    "Describe",
    "Get",
    "List",
    "Head",
    "Lookup",
    "Search",
    "Check",
    "Test",
    "Validate",
    "Simulate",
    "Estimate",
    "BatchGet",
    "Filter",
    "Query",
    "Scan",
    "Select",
    "Receive",
    "AssumeRole",
    "Decrypt",
    "Encrypt",
    "GenerateDataKey",
    "GenerateRandom",
    "Verify",
)
_CREDENTIAL = re.compile(r"Credential=([^,\s]+)")
_CBOR_PATH = re.compile(r"^/service/[^/]+/operation/(\w+)$")


@dataclass(frozen=True)
class Call:
    """One identified API call.

    Attributes:
        region / service / operation: boto3 names; `?` where the request does not name it.
        access_key: the caller's access key id (never the secret, never the signature).
        protocol: `query`, `ec2`, `json`, `cbor`, `rest-xml` or `rest-json`.
    """

    region: str
    service: str
    operation: str
    access_key: str
    protocol: str
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def mutating(self) -> bool:
        """Whether the operation changes something, judged by its verb."""
        return not self.operation.startswith(_READ_PREFIXES)


@dataclass(frozen=True)
class Answer:
    """A whole HTTP answer."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


def identify(environ: Mapping[str, Any], body: bytes) -> Call:
    """Read region, service and operation off a request."""
    access_key, region, service = _scope(environ)
    service = _BOTO3_NAMES.get(service, service)
    if service in GLOBAL_SERVICES:
        # With an endpoint URL of its own, botocore signs for the client's region; at AWS the control plane is there.
        region = "us-east-1"
    operation, protocol = _operation(environ, body, service)
    return Call(region, service, operation, access_key, protocol)


def _scope(environ: Mapping[str, Any]) -> tuple[str, str, str]:
    match = _CREDENTIAL.search(environ.get("HTTP_AUTHORIZATION", ""))
    credential = match.group(1) if match else ""
    if not credential:  # presigned
        query = parse_qs(environ.get("QUERY_STRING", ""))
        credential = unquote(query.get("X-Amz-Credential", [""])[0])
    parts = credential.split("/")
    # An access key may itself contain slashes only when it is malformed, so the scope is counted from the end.
    if len(parts) < 5:
        return "?", "?", "?"
    return parts[0], parts[-3], parts[-2].lower()


def _operation(environ: Mapping[str, Any], body: bytes, service: str) -> tuple[str, str]:
    path = environ.get("PATH_INFO", "/")
    if match := _CBOR_PATH.match(path):
        return match.group(1), "cbor" if "cbor" in environ.get("HTTP_SMITHY_PROTOCOL", "") else "json"
    if target := environ.get("HTTP_X_AMZ_TARGET"):
        return str(target).rsplit(".", 1)[-1], "json"
    if environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded") and service not in _REST:
        action = parse_qs(body.decode("utf-8", "replace")).get("Action", ["?"])[0]
        return action, "ec2" if service == "ec2" else "query"
    protocol = "rest-xml" if service in ("s3", "s3control", "route53") else "rest-json"
    return _rest_operation(environ, service), protocol


def _rest_operation(environ: Mapping[str, Any], service: str) -> str:
    from moto.core.request import Request
    from moto.core.routing import NotFound, get_service_router

    try:
        # The router reads method, path, query and headers only, not the body.
        operation, _ = get_service_router(service).match(Request(dict(environ)))
    except (NotFound, NotImplementedError, LookupError, ValueError):
        return "?"
    except Exception as error:  # botocore raises UnknownServiceError for services it has no model of
        if type(error).__name__ in ("UnknownServiceError", "DataNotFoundError"):
            return "?"
        raise
    return str(operation.name)


def error_answer(call: Call, status: int, code: str, message: str) -> Answer:
    """An AWS error in the protocol of the request."""
    headers = [("x-amzn-RequestId", call.request_id)]
    if call.protocol == "cbor":
        headers += [("Content-Type", "application/cbor"), ("smithy-protocol", "rpc-v2-cbor")]
        # AWS keeps CloudWatch's older error codes alive in this header, and SDKs read it first.
        headers.append(("x-amzn-query-error", f"{code};{'Sender' if status < 500 else 'Receiver'}"))
        return Answer(status, headers, _cbor_map({"__type": code, "message": message}))
    if call.protocol in ("json", "rest-json"):
        headers += [("Content-Type", "application/x-amz-json-1.1"), ("x-amzn-ErrorType", code)]
        if call.service in ("sqs", "cloudwatch"):  # which once spoke the query protocol: SDKs read the older code first
            headers.append(("x-amzn-query-error", f"{code};{'Sender' if status < 500 else 'Receiver'}"))
        return Answer(status, headers, json.dumps({"__type": code, "message": message}).encode())
    headers.append(("Content-Type", "text/xml"))
    code, message, sender = escape(code), escape(message), "Sender" if status < 500 else "Receiver"
    if call.service == "s3":
        headers.append(("x-amz-request-id", call.request_id))
        text = f"<Error><Code>{code}</Code><Message>{message}</Message><RequestId>{call.request_id}</RequestId></Error>"
    elif call.protocol == "ec2":
        text = (
            f"<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>"
            f"<RequestID>{call.request_id}</RequestID></Response>"
        )
    else:
        text = (
            f"<ErrorResponse><Error><Type>{sender}</Type><Code>{code}</Code><Message>{message}</Message></Error>"
            f"<RequestId>{call.request_id}</RequestId></ErrorResponse>"
        )
    return Answer(status, headers, f'<?xml version="1.0" encoding="UTF-8"?>{text}'.encode())


def _cbor_map(values: Mapping[str, str]) -> bytes:
    """A CBOR map of text to text, all that an error needs (RFC 8949, major types 5 and 3)."""
    return bytes([0xA0 | len(values)]) + b"".join(_cbor_text(part) for pair in values.items() for part in pair)


def _cbor_text(text: str) -> bytes:
    data = text.encode()
    head = bytes([0x60 | len(data)]) if len(data) < 24 else bytes([0x79]) + len(data).to_bytes(2, "big")
    return head + data


_CODES = (re.compile(rb"<Code>([^<]+)</Code>"), re.compile(rb'"__type"\s*:\s*"(?:[^"#]*#)?([^"]+)"'))


def error_code(status: int, headers: list[tuple[str, str]], body: bytes) -> str | None:
    """The AWS error code in an answer, `None` when it is a success."""
    if status < 400:
        return None
    named = {name.lower(): value for name, value in headers}
    if code := named.get("x-amzn-errortype"):
        return code.split(":")[0].rsplit("#", 1)[-1]
    for pattern in _CODES:
        if match := pattern.search(body):
            return match.group(1).decode("utf-8", "replace")
    if code := named.get("x-amzn-query-error"):
        return code.split(";")[0]
    return str(status)
