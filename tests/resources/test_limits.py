"""Every creating and tagging call of the longest stack, held against the lengths, counts and patterns of AWS's own service models.

botocore checks types and required members and leaves these constraints to AWS; they are those of the API references.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dr_assets.core.model import Call, Drift, Resource
from dr_assets.resources.catalog import catalog
from dr_assets.resources.registry import KINDS
from dr_assets.stack import Stack, parse_stack
from tests.support.aws_double import operations, target

STACK_FILE = Path(__file__).resolve().parents[2] / "infra" / "stack.auto.tfvars.json"


def longest() -> Stack:
    """Names, tags and addresses as long, and as many, as the stack file takes."""
    raw = json.loads(STACK_FILE.read_text(encoding="utf-8"))
    raw["environment_suffix"] = "abcdefghij1234567890"
    raw["tags"] = {"Environment": "x" * 256, **{f"{n}{'k' * 127}": "v" * 256 for n in range(3)}}
    raw["hosted_zone_name"] = ".".join([*("z" * 60 for _ in range(3)), "z" * 50, "internal"])
    raw["alert_emails"] = [f"{'m' * 64}@{'d' * 60}.{'d' * 60}.example.com"]
    raw["https_endpoints"] = {"primary": f"{'h' * 60}.example.com", "secondary": None}
    return parse_stack(raw)


def violations(shape: Any, value: Any, where: str) -> Iterator[str]:
    """What AWS refuses in `value` by the constraints of its service model."""
    limits = shape.metadata
    if shape.type_name == "structure":
        for name, item in value.items():
            yield from violations(shape.members[name], item, f"{where}.{name}")
        return
    if shape.type_name == "map":
        for name, item in value.items():
            yield from violations(shape.key, name, f"{where} key")
            yield from violations(shape.value, item, f"{where}[{name}]")
    if shape.type_name == "list":
        for item in value:
            yield from violations(shape.member, item, f"{where}[]")
    # "#" marks what the double puts in the place of a reference.
    if hasattr(value, "reveal") or (shape.type_name == "string" and "#" in str(value)):
        return
    size = value if shape.type_name in ("integer", "long", "float", "double") else None
    if size is None:
        size = len(value) if shape.type_name in ("list", "map", "string") else None
    if size is not None and not limits.get("min", size) <= size <= limits.get("max", size):
        yield f"{where}: {size}, not {limits.get('min', '')} to {limits.get('max', '')}"
    if shape.type_name == "string" and "pattern" in limits and not _matches(limits["pattern"], str(value)):
        yield f"{where}: {value!r} does not match {limits['pattern']}"


def _matches(pattern: str, value: str) -> bool:
    try:
        return re.search(pattern, value) is not None
    except re.error:  # POSIX classes, which Python does not know
        return True


def calls(stack: Stack, row: Resource) -> Iterator[Call]:
    """The creation, and the call that sets every tag."""
    of, kind = target(stack, row.key), KINDS[row.kind]
    yield kind.create(of)
    if "Tags" in of.desired:
        shown = {"Arn": "arn:aws:x:us-east-1:123456789012:x", "QueueUrl": "https://q", "Pending": [], "Tags": {}}
        shown |= {kind.import_field: "x-1"} if kind.import_field and kind.import_field not in shown else {}
        missing = [Drift(f"Tags.{name}", value, None) for name, value in of.desired["Tags"].items()]
        yield kind.update(of, {**of.desired, **shown}, missing)


@pytest.mark.parametrize("row", catalog(longest()), ids=lambda row: row.key)
def test_aws_22_the_longest_stack_keeps_within_what_aws_takes(row: Resource) -> None:
    """One of them: "a maximum of 10 tags to a health check or a hosted zone" (Route 53 API, ChangeTagsForResource)."""
    found = [
        text
        for call in calls(longest(), row)
        for text in violations(operations(call.service)[call.operation].input_shape, call.params, call.operation)
    ]
    assert found == []
