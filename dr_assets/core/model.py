"""Types of the reconcile engine: Resource, Target, Call, Drift, Outcome, and the abstract Kind. No I/O.

A *resource* is one row of the catalogue: what this stack wants. Its *kind* holds all that is true of the type: the AWS
verbs, the IAM permissions they need, the Terraform type, what must be equal at both sites. Kinds return calls as data
(`Call`) and never make mutating calls themselves: the loop in `converge` is the only place that writes.
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
# Values of the ManagedBy tag that this product and its Terraform twin write; anything else belongs to another owner.
MANAGERS = ("dr-assets", "terraform")


@dataclass(frozen=True)
class Resource:
    """One thing in AWS as the catalogue declares it. All values may hold symbols of `core.expressions`.

    key         `site/area/name`, also the Dagster asset key
    kind        name of its Kind
    region      where its API is called (global services: us-east-1)
    name        its name or identifier in AWS
    identity    what else a read needs in order to find it; a Ref here makes the read wait for that resource's
    desired     field -> value, in the shape that the kind's `read` returns
    settings    what only creation needs and no read returns (never compared)
    after       keys that must exist first although no field refers to them
    title       one sentence for people
    terraform   its addresses in infra/, the first being the resource itself
    terraform_ignores  Terraform attributes that `lifecycle.ignore_changes` leaves to AWS there
    capability  the disaster-recovery capability that this resource delivers at the end of its chain, if it does
    lost        what follows when it is broken; its area's consequence unless the row gives one
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
    terraform: tuple[str, ...] = ()
    terraform_ignores: frozenset[str] = frozenset()
    capability: str = ""
    lost: str = ""

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
    """How kinds read: memoised within one snapshot of the stack, counted, with botocore's own errors passed through."""

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


# IAM action -> where it applies: OWN (the kind's own `resource_arn`), NEW (likewise, for what the call creates, confined by the
# tags it is given), UNTAGGED (likewise, for what others created for us without our tags), another kind's name (the ARNs of its
# rows), an ARN template, or ALL.
Permissions = Mapping[str, tuple[str, ...]]
OWN, NEW, UNTAGGED, ALL = "own", "new", "untagged", "*"
# Condition on the tags of resources whose ids, and so ARNs, are AWS's own.
TAGGED: Mapping[str, Mapping[str, str]] = {"StringEquals": {"aws:ResourceTag/TaskID": "{suffix}"}}


def permit(*actions: str, on: str | tuple[str, ...] = OWN) -> dict[str, tuple[str, ...]]:
    """These IAM actions on these resources. ALL is for actions without resource-level permissions in AWS's Service
    Authorization Reference, and for calls that list instead of naming a resource (IAM checks those against all)."""
    return dict.fromkeys(actions, (on,) if isinstance(on, str) else on)


class Kind(ABC):
    """A type of resource: its AWS verbs and every fact about the type. Adding one: docs/add-a-resource.md.

    name           `service.thing`, unique
    label          what people call it
    compute_kinds  Dagster `kinds=` badges besides "aws"
    owned          fields that AWS owns: never compared
    immutable      fields that AWS does not let anyone change after creation: a difference is reported, never healed
    remedies       field -> what a person does about a difference in it that provisioning leaves alone (a reboot, a maintenance
                   window): reported, never written
    keeps_data     how a resource that holds data reaches its desired state without losing any, where AWS cannot change it in
                   place; empty for kinds that hold none and can be deleted and provisioned again
    parity         fields that must be equal at both sites. Names and identifiers differ by nature; fields that depend on
                   the role are judged by each resource's own desired state
    adopts_untagged  creation and tagging are two calls in AWS: a fresh, untagged one with our exact name is ours
    unnamed        AWS gives it an id instead of our name: a creation that is repeated makes a second one
    absent_codes   AWS error codes of any of its reads that mean the resource does not exist
    resource_arn   its ARN without `arn:PARTITION:`, with {region}, {account}, {name}; a wildcard where AWS generates the id
    confined       condition of permissions on its ARNs, {suffix} being the stack's; for ARNs that end in a wildcard
    read_actions, write_actions  IAM permissions for reading / for creating, updating and deleting
    least_reads    (calls per resource, calls per kind and region): the fewest calls with which AWS lets all of it be
                   read. What another kind's answer holds already costs nothing
    terraform      resource types in the AWS provider, that of the first address first
    import_field   observed field with the id for `terraform import`; the name where empty
    importable     False where an import would put a secret into the Terraform state
    console_url    of the resource in the AWS console, with {region}, {name}
    """

    name: ClassVar[str]
    label: ClassVar[str]
    compute_kinds: ClassVar[tuple[str, ...]] = ()
    owned: ClassVar[frozenset[str]] = frozenset()
    immutable: ClassVar[frozenset[str]] = frozenset()
    remedies: ClassVar[Mapping[str, str]] = {}
    keeps_data: ClassVar[str] = ""
    parity: ClassVar[tuple[str, ...]] = ()
    adopts_untagged: ClassVar[bool] = False
    unnamed: ClassVar[bool] = False
    absent_codes: ClassVar[tuple[str, ...]] = ()
    resource_arn: ClassVar[str] = ""
    confined: ClassVar[Mapping[str, Mapping[str, str]]] = {}
    read_actions: ClassVar[Permissions]
    write_actions: ClassVar[Permissions]
    least_reads: ClassVar[tuple[int, int]]
    terraform: ClassVar[tuple[str, ...]]
    import_field: ClassVar[str] = ""
    importable: ClassVar[bool] = True
    console_url: ClassVar[str] = ""

    def read(self, reads: Reads, batch: Sequence[Target]) -> dict[str, Observed | None]:
        """For each target of one region (all of this kind): what AWS shows, by key, or None where it is absent.

        Fields are normalised to the shape of `desired`; further ones (Arn, Status, identifiers) may be added. By default
        `observe` for each target; kinds that AWS describes in batches override this.
        """
        answers: dict[str, Observed | None] = {}
        for target in batch:
            try:
                answers[target.key] = self.observe(reads, target)
            except Exception as error:
                if error_code(error) not in self.absent_codes:
                    raise
                answers[target.key] = None
        return answers

    def observe(self, reads: Reads, target: Target) -> Observed | None:
        """What AWS shows of one resource; None, or an error with one of `absent_codes`, where it does not exist."""
        raise NotImplementedError(f"{self.name} defines neither `read` nor `observe`")

    @abstractmethod
    def create(self, target: Target) -> Call:
        """The call that makes it, tags included where the API allows that."""

    def update(self, target: Target, observed: Observed, drift: Sequence[Drift]) -> Call:
        """The next single call that removes at least one of the drifts (none of which is only in immutable fields).

        By default the creating call: right for APIs that put the whole.
        """
        return self.create(target)

    def refine(self, desired: Mapping[str, Any], observed: Observed) -> Mapping[str, Any]:
        """The desired fields, where one of them depends on what the account shows. By default as they are."""
        return desired

    def explain(self, drift: Sequence[Drift], observed: Observed) -> str:
        """Why these fields differ and what to do, where their names do not say it."""
        return ""

    def before_delete(self, reads: Reads, target: Target, observed: Observed) -> Observed:
        """What else must be known before it can be deleted (what a bucket holds, say), added to `observed`."""
        return observed

    @abstractmethod
    def delete(self, target: Target, observed: Observed) -> Call | None:
        """The next single call on the way to absence; None where it goes with its parent."""

    def released(self, observed: Observed) -> str | None:
        """Why it counts as absent although AWS still shows it: destroyed, and recoverable for a while. None: it does not.

        Provisioning recovers it by `update` instead of creating a second one.
        """
        return None

    def waiting(self, observed: Observed) -> str | None:
        """Why it cannot be used or changed yet (still being created …), or None when it is ready."""
        return None

    def pending(self, observed: Observed) -> Sequence[str]:
        """Names of changes that AWS has accepted and not made yet. Where this run asked for them, they are waited for."""
        return ()

    def settle_seconds(self) -> float:
        """How long after its creation nothing may be created that needs it, although AWS shows it. Raises RefusedError."""
        return 0.0

    def waiting_to_delete(self, observed: Observed) -> str | None:
        """Why it cannot be deleted yet, or None. By default what `waiting` answers."""
        return self.waiting(observed)

    def arn(self, target: Target, observed: Observed) -> str | None:
        return observed.get("Arn")

    def import_id(self, target: Target, observed: Observed) -> str:
        """The id by which `terraform import` finds it (the provider's page of the resource, section "Import")."""
        return str(observed[self.import_field]) if self.import_field else target.name

    def console(self, target: Target) -> str | None:
        """A link to the AWS console, or None."""
        return self.console_url.format(region=target.region, name=target.name) or None


@dataclass(frozen=True)
class Outcome:
    """The result of observing, and perhaps changing, a resource once. `unknown` is neither drift nor health.

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
    """Targets grouped by (kind, region), in the order of their first target."""
    groups: dict[tuple[str, str], list[Target]] = {}
    for target in targets:
        groups.setdefault((target.kind, target.region), []).append(target)
    yield from groups.items()
