"""A double of AWS for kinds: canned answers and every parameter are held against botocore's own models.

What is misspelt, of the wrong type, not one of an enumeration's values, or never in such an answer fails the test.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import botocore.session
from botocore import xform_name
from botocore.exceptions import ClientError
from botocore.model import OperationModel, Shape
from botocore.validate import ParamValidator

from dr_assets.core.compare import compare
from dr_assets.core.expressions import Role, resolve
from dr_assets.core.model import Call, Drift, Kind, Observed, Resource, Target
from dr_assets.resources.catalog import catalog
from dr_assets.resources.registry import KINDS
from dr_assets.stack import Site, Stack

ACCOUNT = "123456789012"
S3_ACTIONS = {
    "DeleteBucketLifecycle": "PutLifecycleConfiguration",
    "DeleteBucketReplication": "PutReplicationConfiguration",
    "DeleteObjects": "DeleteObjectVersion",
    "DeletePublicAccessBlock": "PutBucketPublicAccessBlock",
    "GetBucketEncryption": "GetEncryptionConfiguration",
    "GetBucketLifecycleConfiguration": "GetLifecycleConfiguration",
    "GetBucketReplication": "GetReplicationConfiguration",
    "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
    "HeadBucket": "ListBucket",
    "ListObjectVersions": "ListBucketVersions",
    "PutBucketEncryption": "PutEncryptionConfiguration",
    "PutBucketLifecycleConfiguration": "PutLifecycleConfiguration",
    "PutBucketReplication": "PutReplicationConfiguration",
    "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
}


@cache
def operations(service: str) -> dict[str, OperationModel]:
    model = botocore.session.get_session().get_service_model(service)
    return {xform_name(name): model.operation_model(name) for name in model.operation_names}


def action(service: str, operation: str) -> str:
    name = operations(service)[operation].name
    return f"{service}:{S3_ACTIONS.get(name, name) if service == 's3' else name}"


def fitting(shape: Shape | None, value: Any, where: str) -> None:
    """Fails on members the shape does not have and on values its enumerations do not."""
    assert shape is not None, where
    if shape.type_name == "structure":
        for name, item in value.items():
            if name == "ResponseMetadata":
                continue
            assert name in shape.members, f"{where} has no {name}"
            fitting(shape.members[name], item, f"{where}.{name}")
    elif shape.type_name == "list":
        for item in value:
            fitting(shape.member, item, where)
    elif shape.type_name == "map":
        for name, item in value.items():
            fitting(shape.key, name, where)
            fitting(shape.value, item, f"{where}[{name}]")
    elif getattr(shape, "enum", None):
        assert value in shape.enum, f"{where}: {value!r} is none of {shape.enum}"


def check_params(service: str, operation: str, params: Mapping[str, Any]) -> None:
    shape = operations(service)[operation].input_shape
    report = ParamValidator().validate(dict(params), shape)
    assert not report.has_errors(), report.generate_report()
    fitting(shape, params, operation)


def checked(kind: Kind, call: Call | None) -> tuple[str, dict[str, Any]]:
    """(operation, params) of a call that AWS would take and that the kind asks permission for."""
    assert call is not None
    check_params(call.service, call.operation, call.params)
    assert action(call.service, call.operation) in kind.write_actions, call.operation
    return call.operation, dict(call.params)


def error(code: str, operation: str = "Operation", status: int = 400) -> ClientError:
    return ClientError(
        {"Error": {"Code": code, "Message": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, operation
    )


Answer = Mapping[str, Any] | Exception | Callable[..., Any]


class FakeReads:
    """`core.model.Reads` over canned answers, one for each operation: an answer, an error, or a function of the params."""

    def __init__(self, kind: Kind, **answers: Answer) -> None:
        self._kind, self._answers = kind, answers
        self.calls: list[tuple[str, str, dict[str, Any]]] = []

    @property
    def account(self) -> str:
        return ACCOUNT

    def call(self, service: str, operation: str, region: str, **params: Any) -> dict[str, Any]:
        check_params(service, operation, params)
        # What is looked up only before a deletion is granted with the writing.
        granted = self._kind.write_actions if operation.endswith("_versions") else self._kind.read_actions
        assert action(service, operation) in granted
        self.calls.append((operation, region, params))
        answer = self._answers[operation]
        if callable(answer) and not isinstance(answer, Exception):
            answer = answer(**params)
        if isinstance(answer, Exception):
            raise answer
        shape = operations(service)[operation].output_shape
        fitting(shape, answer, operation)
        return dict(answer)

    def pages(self, service: str, operation: str, region: str, result: str, **params: Any) -> Sequence[Any]:
        return list(self.call(service, operation, region, **params).get(result, []))


class _Scope:
    """Resolves the catalogue's symbols to texts that name what they came from; the primary holds the writer."""

    account = ACCOUNT

    def role(self, site: Site) -> Role:
        return "writer" if site == "primary" else "reader"

    def field(self, key: str, field: str) -> Any:
        return f"{key}#{field}"


def target(stack: Stack, key: str, **desired: Any) -> Target:
    """The row `key` of the catalogue, resolved; `desired` overrides fields."""
    row: Resource = next(row for row in catalog(stack) if row.key == key)
    want = {**resolve(row.desired, _Scope()), **desired}
    return Target(
        row.key,
        row.kind,
        row.region,
        str(resolve(row.name, _Scope())),
        resolve(row.identity, _Scope()),
        want,
        resolve(row.settings, _Scope()),
    )


def look(reads: FakeReads, *targets: Target) -> Observed | None:
    """What the targets' kind reads of the first of them."""
    return KINDS[targets[0].kind].read(reads, list(targets))[targets[0].key]


def drift(of: Target, observed: Observed | None) -> tuple[Drift, ...]:
    assert observed is not None
    return compare(of.desired, observed, KINDS[of.kind].owned)


def fields(of: Target, observed: Observed | None) -> list[str]:
    return [item.field for item in drift(of, observed)]


def next_call(of: Target, observed: Observed | None) -> tuple[str, dict[str, Any]]:
    """The single call with which the kind answers to what differs."""
    assert observed is not None
    kind = KINDS[of.kind]
    return checked(kind, kind.update(of, observed, drift(of, observed)))


def creation(of: Target) -> tuple[str, dict[str, Any]]:
    kind = KINDS[of.kind]
    return checked(kind, kind.create(of))


def deletion(of: Target, observed: Observed | None) -> tuple[str, dict[str, Any]]:
    assert observed is not None
    kind = KINDS[of.kind]
    return checked(kind, kind.delete(of, observed))


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
