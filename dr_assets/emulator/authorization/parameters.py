"""Parameters of a request by botocore's service models, whatever the protocol."""

import io
import json
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import BotoCoreError
from moto.core.parse import PROTOCOL_PARSERS, RequestParserError
from moto.core.request import Request, determine_request_protocol
from moto.core.routing import get_service_router
from moto.core.utils import get_service_model

_JSON = "application/x-amz-json"


def parameters(service: str, operation: str, environ: Mapping[str, Any], body: bytes) -> dict[str, Any]:
    """Parameters with the names that boto3 uses; none where the request cannot be parsed: the service refuses it itself."""
    if environ.get("CONTENT_TYPE", "").startswith(_JSON):
        return _object(body)
    try:
        model = get_service_model(service)
        request = Request({**environ, "wsgi.input": io.BytesIO(body)})
        protocol = determine_request_protocol(model, request.content_type)
        parser = PROTOCOL_PARSERS[protocol]
        rest = protocol.startswith("rest")
        matched = get_service_router(service).match(request)[1] if rest else {}
        parsed = parser(model.operation_model(operation)).parse(
            {
                "method": request.method,
                "values": request.values,
                "headers": request.headers,
                # An object's content is no parameter.
                "body": b"" if operation in ("PutObject", "UploadPart") else request.get_data(),
                "url_path": request.path,
                "url_params": matched,
            }
        )
    except (BotoCoreError, RequestParserError, LookupError, ValueError, NotImplementedError, TypeError):
        return {}
    return dict(parsed or {})


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
