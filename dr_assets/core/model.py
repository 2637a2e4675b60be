"""The nouns: resource, kind, call, drift, outcome. Pure data and one abstract class; no I/O.

A *resource* is one row of the catalogue. Its *kind* knows the AWS verbs: how to read a batch of them, and which single
API call brings one a step nearer to what is wanted. Kinds return calls as data (`Call`) and never make mutating calls
themselves: so the loop in `converge` is the only place that writes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

from dr_assets.core.expressions import references

Observed = Mapping[str, Any]
Status = Literal["in_sync", "created", "updated", "waiting", "absent", "drifted", "unknown"]

MANAGED_BY = "dr-assets"
# Values of the ManagedBy tag that this product and its Terraform twin write; anything else is somebody else's.
MANAGERS = ("dr-assets", "terraform")


@dataclass(frozen=True)
class Resource:
    """One thing in AWS as the catalogue declares it. All values may hold symbols of `core.values`.

    key       `site/service/name`, also the Dagster asset key
    kind      which Kind looks after it
    region    where its API is called (global services: us-east-1)
    name      its name or identifier in AWS
    identity  what else a read needs in order to find it; a Ref here makes the read wait for that resource's
    desired   field -> value, in the shape that the kind's `read` gives
    settings  what only creation needs and no read returns (never compared)
    after     keys that must exist first although no field refers to them
    title     one sentence for people
    """

    key: str
    kind: str
    region: str
    name: Any
    desired: Mapping[str, Any]
    identity: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    title: str = ""

    @property
    def site(self) -> str:
        return self.key.split("/")[0]

    @property
    def area(self) -> str:
        """The layer it belongs to: network, encryption, aurora …"""
        return self.key.split("/")[1]

    @property
    def needs(self) -> tuple[str, ...]:
        """Every resource that must be there first: those referred to and those named in `after`. Sorted."""
        refs = references((self.name, self.identity, self.desired, self.settings))
        return tuple(sorted({*refs, *self.after} - {self.key}))


@dataclass(frozen=True)
class Target:
    """A resource with its symbols replaced. `desired` and `settings` are empty while it is only being read."""

    key: str
    kind: str
    region: str
    name: str
    identity: Mapping[str, Any]
    desired: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


class Sensitive(ABC):
    """A parameter whose value is fetched in the instant of the call and never kept, printed or compared."""

    @abstractmethod
    def reveal(self, reads: Reads) -> Any: ...

    def __repr__(self) -> str:
        return "<secret>"

    __str__ = __repr__


@dataclass(frozen=True)
class Call:
    """One API call as data. `operation` is boto3's method name; `region` differs from the target's where AWS wants it."""

    service: str
    operation: str
    params: Mapping[str, Any]
    region: str | None = None


@dataclass(frozen=True)
class Drift:
    """One field that differs. `field` is dotted for tags and parameters (`Tags.DR-Tier`). None = not set."""

    field: str
    desired: Any
    observed: Any


class Reads(Protocol):
    """How kinds read: memoised within one look at the stack, counted, with botocore's own errors passed through."""

    def call(self, service: str, operation: str, region: str, **params: Any) -> dict[str, Any]:
        """One API call. Raises botocore ClientError; use `error_code` to handle codes by name."""
        ...

    def pages(self, service: str, operation: str, region: str, result: str, **params: Any) -> Sequence[Any]:
        """All items below the answer's key `result`, through botocore's paginator where the operation has one."""
        ...

    @property
    def account(self) -> str: ...


def error_code(error: BaseException) -> str:
    """AWS's error code of a botocore ClientError; an empty text for any other exception."""
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


class Kind(ABC):
    """A type of resource and its AWS verbs.

    name           `service.thing`, unique
    label          what people call it
    compute_kinds  Dagster `kinds=` badges besides "aws"
    owned          fields that AWS owns: never compared
    immutable      fields that AWS lets nobody change after creation: a difference there is reported, never healed
    adopts_untagged  creation and tagging are two calls in AWS: a fresh, untagged one with our exact name is ours
    read_actions / write_actions   IAM actions that reading / creating, updating and deleting need
    """

    name: ClassVar[str]
    label: ClassVar[str]
    compute_kinds: ClassVar[tuple[str, ...]] = ()
    owned: ClassVar[frozenset[str]] = frozenset()
    immutable: ClassVar[frozenset[str]] = frozenset()
    adopts_untagged: ClassVar[bool] = False
    read_actions: ClassVar[tuple[str, ...]] = ()
    write_actions: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def read(self, reads: Reads, batch: Sequence[Target]) -> dict[str, Observed | None]:
        """For each target of one region (all of this kind): what AWS says, by key, or None where it is absent.

        Fields are normalised to the shape of `desired`; further ones (Arn, Status, identifiers) may be added.
        """

    @abstractmethod
    def create(self, target: Target) -> Call:
        """The call that makes it, tags included where the API allows that."""

    @abstractmethod
    def update(self, target: Target, observed: Observed, drift: Sequence[Drift]) -> Call:
        """The next single call that removes at least one of the drifts (none of which is in an immutable field)."""

    def before_delete(self, reads: Reads, target: Target, observed: Observed) -> Observed:
        """What else must be known before it can be deleted (what a bucket holds, say), added to `observed`."""
        return observed

    @abstractmethod
    def delete(self, target: Target, observed: Observed) -> Call | None:
        """The next single call on the way to absence; None where it goes with its parent."""

    def waiting(self, observed: Observed) -> str | None:
        """Why it cannot be used or changed yet (still being created …), or None when it is ready."""
        return None

    def arn(self, target: Target, observed: Observed) -> str | None:
        return observed.get("Arn")

    def console(self, target: Target) -> str | None:
        """A link to the AWS console, or None."""
        return None


@dataclass(frozen=True)
class Outcome:
    """What one look at a resource gave. `unknown` is never drift and never health.

    `former` names fields that are still set for the role the site had before a switchover (no drift: see `converge`).
    `calls` are the mutating calls that were made, as `service.operation`.
    """

    key: str
    status: Status
    drift: tuple[Drift, ...] = ()
    observed: Observed | None = None
    desired: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""
    calls: tuple[str, ...] = ()
    former: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        return self.status in ("in_sync", "created", "updated")


def changed_fields(drift: Sequence[Drift]) -> frozenset[str]:
    """The top-level fields among the drifts (`Tags.X` counts as `Tags`)."""
    return frozenset(item.field.split(".", 1)[0] for item in drift)


def batches(targets: Sequence[Target]) -> Iterator[tuple[tuple[str, str], list[Target]]]:
    """Targets grouped by (kind, region), in first-seen order."""
    groups: dict[tuple[str, str], list[Target]] = {}
    for target in targets:
        groups.setdefault((target.kind, target.region), []).append(target)
    yield from groups.items()
