"""The reconcile step: read, compare, make at most one mutating call, return the outcome. I/O only through a `Driver`.

Verify is provision with `write=False`: one path, so what is verified is exactly what would be changed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Protocol

from dr_assets import escape
from dr_assets.core.compare import compare
from dr_assets.core.expressions import ByRole, Role, Scope, UnknownScope, Unresolved, is_resolved, resolve, symbols
from dr_assets.core.model import (
    MANAGED_BY,
    MANAGERS,
    Call,
    Drift,
    Kind,
    Observed,
    Outcome,
    Reads,
    Resource,
    Target,
    changed_fields,
)
from dr_assets.core.unreadable import UNREADABLE, log_unreadable
from dr_assets.errors import (
    AwsCallError,
    ForeignResourceError,
    NoEffectError,
    NotYetError,
    RefusedError,
    UnansweredError,
)
from dr_assets.stack import Site

LOG = escape.logger(__name__)
# How long a field of an existing resource may take to show, for which another needs it: "until you create the primary DB instance, the
# DB cluster endpoints remain in the Creating status" (Aurora user guide, "Creating a DB cluster"), and an instance takes minutes.
FIELD_SECONDS = 1800.0
# AWS answers these to a create whose earlier attempt went through: the next read will find it.
ALREADY_THERE = frozenset(
    {
        "AlreadyExistsException",
        "BucketAlreadyOwnedByYou",
        "DBClusterAlreadyExistsFault",
        "DBInstanceAlreadyExists",
        "DBParameterGroupAlreadyExists",
        "DBSubnetGroupAlreadyExists",
        "EntityAlreadyExists",
        "GlobalClusterAlreadyExistsFault",
        "HealthCheckAlreadyExists",
        "HostedZoneAlreadyExists",
        "InvalidGroup.Duplicate",
        "InvalidPermission.Duplicate",
        "InvalidSubnet.Conflict",
        "Resource.AlreadyAssociated",
        "ResourceAlreadyExistsException",
        "ResourceExistsException",
        "RouteAlreadyExists",
        "SubscriptionAlreadyExist",
    }
)

# AWS's answers to a deletion where the thing is gone already, which a read may show for a while all the same (EC2 developer guide,
# "Eventual consistency"; terraform-provider-aws takes them for success).
_GONE = re.compile(
    r".*NotFound(Fault|Exception)?|NoSuch\w+|(AWS\.SimpleQueueService\.)?NonExistentQueue|QueueDoesNotExist"
)
_DELETION = re.compile(r"(delete|remove|detach|disassociate|unsubscribe|schedule_key_deletion).*")


def already_gone(operation: str, code: str) -> bool:
    """Whether AWS refuses to delete something because it does not exist any more: the next read decides."""
    return bool(_DELETION.fullmatch(operation) and _GONE.fullmatch(code))


class Driver(Scope, Protocol):
    """What the reconcile step needs from outside."""

    def kind(self, name: str) -> Kind: ...

    def observe(self, resource: Resource) -> Observed | None:
        """The observed state, None where absent. Raises UnansweredError, AwsCallError, UnknownScope."""
        ...

    def act(self, target: Target, call: Call, drift: Sequence[Drift] = ()) -> None:
        """Make the one mutating call, for the sake of `drift`.

        Raises:
            UnansweredError: it may or may not have gone through (ThrottledError: it has not).
            NotYetError: AWS will take it later.
            NoEffectError: AWS has taken it several times, and the drift is still there.
        """
        ...

    @property
    def reads(self) -> Reads:
        """For what a kind must know before it deletes."""
        ...

    @property
    def adopt(self) -> bool:
        """Whether resources that Terraform manages may be changed."""
        ...

    def away(self) -> bool:
        """Whether the writer is not at its home site. Raises UnknownScope where the topology is unknown."""
        ...


class _FormerRoles:
    """The same scope with the roles as they were before they were swapped."""

    def __init__(self, now: Scope) -> None:
        self._now = now

    @property
    def account(self) -> str:
        return self._now.account

    def role(self, site: Site) -> Role:
        return "reader" if self._now.role(site) == "writer" else "writer"

    def field(self, key: str, field: str) -> Any:
        return self._now.field(key, field)


def converge(resource: Resource, driver: Driver, write: bool) -> Outcome:
    """Observe `resource` once and, with `write`, make at most one call towards the desired state.

    Returns created/updated after a call (observe again to learn whether more are needed). Unknown is returned, not raised,
    where AWS did not answer.

    Raises:
        ForeignResourceError: write, and the resource carries other ownership tags.
        RefusedError: write, and it is Terraform's and `adopt` is off; or something it needs is absent.
        AwsCallError: AWS refused the call. NotYetError, NoEffectError, UnansweredError: see `Driver.act`.
    """
    try:
        return _converge(resource, driver, write)
    except UNREADABLE as error:
        return _unreadable(resource, error)


def _unreadable(resource: Resource, error: Exception) -> Outcome:
    log_unreadable(LOG, resource.key, error)
    return Outcome(resource.key, "unknown", reason=f"AWS's answer cannot be compared ({type(error).__name__})")


def _converge(resource: Resource, driver: Driver, write: bool) -> Outcome:
    kind = driver.kind(resource.kind)
    try:
        observed = driver.observe(resource)
        desired = resolve(resource.desired, driver)
    except (UnansweredError, AwsCallError, UnknownScope) as error:
        return Outcome(resource.key, "unknown", reason=str(error))
    if observed is None:
        if not write:
            return Outcome(resource.key, "absent", desired=desired, reason="AWS has no such resource")
        target = _target(resource, driver, desired)
        return _step(kind.create(target), target, driver, "created", Outcome(resource.key, "absent", desired=desired))
    try:
        desired = dict(kind.refine(desired, observed))
        released = kind.released(observed)
        if released and not write:
            return Outcome(resource.key, "absent", observed=observed, desired=desired, reason=released)
        drift = compare(desired, observed, kind.owned)
        former = () if write else _set_for_former_role(resource, driver, observed, drift)
        waiting = kind.waiting(observed)
    except UnknownScope as error:
        return Outcome(resource.key, "unknown", reason=str(error))
    drift = tuple(item for item in drift if item.field not in former)
    if waiting:
        return Outcome(resource.key, "waiting", drift, observed, desired, waiting)
    if not drift:
        note = f"{', '.join(former)} still set for the role the site had before" if former else ""
        return Outcome(resource.key, "in_sync", (), observed, desired, note, former=former)
    changeable = [item for item in drift if not fixed(kind, item)]
    reason = kind.explain(drift, observed) or "differs in " + ", ".join(item.field for item in drift)
    if len(changeable) < len(drift):
        reason += f". {remedy(kind, drift)}"
    drifted = Outcome(resource.key, "drifted", drift, observed, desired, reason)
    if not write:
        return drifted
    check_owner(resource, kind, observed, driver.adopt)
    if not changeable:
        raise RefusedError(f"{resource.key}: {shown(drift)}. {remedy(kind, drift)}")
    target = _target(resource, driver, desired)
    ineffective: NoEffectError | None = None
    # A field that AWS takes and never shows keeps the others from nothing: each is corrected on its own then.
    names = sorted(changed_fields(changeable))
    for part in (changeable, *([item for item in changeable if changed_fields([item]) == {name}] for name in names)):
        try:
            return _step(kind.update(target, observed, part), target, driver, "updated", drifted)
        except NoEffectError as error:
            ineffective = ineffective or error
    raise ineffective or RefusedError(f"{resource.key}: {shown(drift)}.")


def fixed(kind: Kind, item: Drift) -> bool:
    """Whether provisioning leaves that field alone: AWS cannot change it in place, or a person decides."""
    return item.field.split(".", 1)[0] in kind.immutable | kind.remedies.keys()


def shown(drift: Sequence[Drift]) -> str:
    """Each field with its value in AWS and in the stack."""
    return "; ".join(f"{item.field} is {item.observed!r}, should be {item.desired!r}" for item in drift)


def remedy(kind: Kind, drift: Sequence[Drift]) -> str:
    """What a person does about those fields that provisioning leaves alone. Never proposes to delete what holds data."""
    fields = [name for name in sorted(changed_fields(drift)) if name in kind.immutable | kind.remedies.keys()]
    texts = [f"{name}: {kind.remedies[name]}" for name in fields if name in kind.remedies]
    if frozen := [name for name in fields if name not in kind.remedies]:
        way = kind.keeps_data or "Correct the stack file, or delete it (it holds no data) and provision again."
        texts.append(f"AWS cannot change {', '.join(frozen)} in place. {way}")
    return " ".join(texts)


def _set_for_former_role(
    resource: Resource, driver: Driver, observed: Observed, drift: Sequence[Drift]
) -> tuple[str, ...]:
    """Fields that are right for the role the site had before AWS swapped the roles.

    After a legitimate switchover that is not drift: nothing was changed by hand, and the drill (or provision with
    allow_away) corrects them. At home every difference is drift.
    """
    keyed = {name for name, value in resource.desired.items() if any(isinstance(s, ByRole) for s in symbols(value))}
    if not keyed.intersection(changed_fields(drift)) or not driver.away():
        return ()
    before = {name: resolve(resource.desired[name], _FormerRoles(driver)) for name in keyed}
    still = {item.field for item in compare(before, observed)}
    return tuple(d.field for d in drift if d.field.split(".", 1)[0] in keyed and d.field not in still)


def remove(resource: Resource, driver: Driver) -> Outcome:
    """Observe once and make at most one call towards absence. `absent` when it is gone or goes with its parent.

    Raises like `converge`.
    """
    try:
        return _remove(resource, driver)
    except UNREADABLE as error:
        return _unreadable(resource, error)


def _remove(resource: Resource, driver: Driver) -> Outcome:
    kind = driver.kind(resource.kind)
    try:
        observed = driver.observe(resource)
    except (UnansweredError, AwsCallError, UnknownScope) as error:
        return Outcome(resource.key, "unknown", reason=str(error))
    if observed is None:
        return Outcome(resource.key, "absent")
    check_owner(resource, kind, observed, driver.adopt)
    target = Target(
        resource.key,
        resource.kind,
        resource.region,
        str(resolve(resource.name, driver)),
        resolve(resource.identity, driver),
    )
    waiting = kind.waiting_to_delete(observed)
    if waiting:
        return Outcome(resource.key, "waiting", observed=observed, reason=waiting)
    if released := kind.released(observed):
        return Outcome(resource.key, "absent", observed=observed, reason=released)
    call = kind.delete(target, kind.before_delete(driver.reads, target, observed))
    if call is None:
        return Outcome(resource.key, "absent", observed=observed, reason="goes with its parent")
    return _step(
        call, target, driver, "updated", Outcome(resource.key, "waiting", observed=observed, reason="being deleted")
    )


def check_owner(resource: Resource, kind: Kind, observed: Observed, adopt: bool) -> None:
    """Refuse to touch what is not ours. Kinds without tags of their own are owned through their parent."""
    if "Tags" not in resource.desired:
        return
    tags = observed.get("Tags") or {}
    owner, wanted = tags.get("ManagedBy"), resource.desired["Tags"]
    if owner is None and "TaskID" not in tags and (kind.adopts_untagged or observed.get("Proven")):
        return
    if owner not in MANAGERS or tags.get("TaskID") != wanted["TaskID"]:
        found = ", ".join(f"{key}={tags[key]}" for key in ("ManagedBy", "TaskID") if key in tags) or "no ownership tags"
        raise ForeignResourceError(
            f"{resource.key}: a resource with this name exists and does not belong to this stack ({found}; ours carry "
            f"ManagedBy={MANAGED_BY}, TaskID={wanted['TaskID']}). Nothing was touched. Choose another "
            "environment_suffix, or put those tags on it if it is ours."
        )
    if owner != MANAGED_BY and not adopt:
        raise RefusedError(
            f"{resource.key} is managed by {owner} (tag ManagedBy) and was left alone. Change it there, or let Dagster take "
            "over with --adopt."
        )


def _target(resource: Resource, driver: Driver, desired: dict[str, object]) -> Target:
    identity = resolve(resource.identity, driver)
    settings = resolve(resource.settings, driver)
    for value in (desired, identity, settings):
        if not is_resolved(value):
            missing = next(item for item in value.values() if not is_resolved(item))
            name = str(missing) if isinstance(missing, Unresolved) else "something it refers to"
            if isinstance(missing, Unresolved) and missing.present:
                raise NotYetError(f"{resource.key} needs {name}", FIELD_SECONDS)
            raise RefusedError(f"{resource.key} needs {name}. Provision what it depends on first.")
    return Target(
        resource.key, resource.kind, resource.region, str(resolve(resource.name, driver)), identity, desired, settings
    )


def _step(call: Call, target: Target, driver: Driver, done: str, before: Outcome) -> Outcome:
    driver.act(target, call, before.drift if done == "updated" else ())
    return Outcome(
        before.key,
        "created" if done == "created" else "updated",
        before.drift,
        before.observed,
        before.desired,
        before.reason,
        (f"{call.service}.{call.operation}",),
    )
