"""Answers of AWS recorded at the first call of a verification and given again, changed on purpose."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from dr_assets.aws import Aws
from dr_assets.reconcile import service
from dr_assets.resources.catalog import catalog
from dr_assets.stack import Stack

# Services that leave an empty list out of an answer, so that a missing one means "there is none".
LEAVE_OUT_EMPTY = ("s3", "sqs", "cloudwatch")
Garble = Callable[[str, str, dict[str, Any]], None]


class Replay:
    """Answers as botocore parsed them, recorded at the first call and given again without one; `garble` may change a copy."""

    def __init__(self) -> None:
        self.recorded: dict[str, tuple[str, str, Any, dict[str, Any]]] = {}
        self.garble: Garble = lambda *_: None

    def attach(self, client: Any, service: str, region: str) -> None:
        def before(model: Any, params: dict[str, Any], context: dict[str, Any], **_: Any) -> Any:
            request = {k: params.get(k) for k in ("url_path", "query_string", "body")}
            context["replay"] = f"{service} {region} {model.name} {request}"
            found = self.recorded.get(context["replay"])
            # IAM is asked each time: botocore would decode its policy documents twice.
            return None if found is None or service == "iam" else (found[2], copy.deepcopy(found[3]))

        def record(http_response: Any, parsed: dict[str, Any], model: Any, context: dict[str, Any], **_: Any) -> None:
            status = SimpleNamespace(status_code=http_response.status_code)
            entry = (service, model.name, status, copy.deepcopy(parsed))
            self.recorded.setdefault(context["replay"], entry)

        def change(parsed: dict[str, Any], model: Any, **_: Any) -> None:
            self.garble(service, model.name, parsed)

        client.meta.events.register("before-call", before)
        client.meta.events.register_first("after-call", record)
        client.meta.events.register_last("after-call", change)

    def keys(self) -> list[tuple[str, str, str]]:
        """(service, operation, top-level key) of every answer recorded."""
        paging = {"ResponseMetadata", "NextToken", "Marker", "Error", "IsTruncated", "Truncated", "MaxItems"}
        return sorted({(s, o, key) for s, o, _, parsed in self.recorded.values() for key in parsed.keys() - paging})


@pytest.fixture
def replay(monkeypatch: pytest.MonkeyPatch) -> Replay:
    """Records what a verification reads; later ones cost no request."""
    found, make = Replay(), Aws._make

    def instrumented(self: Aws, service: str, region: str, writing: bool) -> Any:
        client = make(self, service, region, writing)
        found.attach(client, service, region)
        return client

    monkeypatch.setattr(Aws, "_make", instrumented)
    shared = Aws()  # making boto3's clients costs more than a verification
    monkeypatch.setattr(service, "Aws", lambda: shared)
    return found


def of_service(stack: Stack, name: str) -> set[str]:
    """Keys of the resources that this service holds, and of all that need one of them."""
    mine: set[str] = set()
    for resource in catalog(stack):
        if resource.kind.split(".")[0] == name or mine.intersection(resource.needs):
            mine.add(resource.key)
    return mine
