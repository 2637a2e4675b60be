"""Who calls: the IAM user or role session behind an access key, with all policies that permit and limit it."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from moto.core.utils import utcnow

from dr_assets.emulator.permissions.state import ACCOUNT, PARTITION, backend, is_loaded
from dr_assets.emulator.policies.documents import Caller, Document, parse
from dr_assets.emulator.policies.evaluation import Policies


class ExpiredSessionError(PermissionError):
    """The session's credentials are no longer valid."""


@dataclass(frozen=True)
class Principal:
    """One caller.

    Attributes:
        arn: of the user, the role or the root (aws:PrincipalArn); a session's own ARN is `caller.arn`.
        user_id: aws:userid.
        username: aws:username; empty for role sessions.
        tags: of the user or role (aws:PrincipalTag).
    """

    caller: Caller
    policies: Policies
    arn: str
    user_id: str = ""
    username: str = ""
    tags: dict[str, str] = field(default_factory=dict)


def root() -> Principal:
    """The account's root user: what every access key that IAM does not know stands for."""
    arn = f"arn:{PARTITION}:iam::{ACCOUNT}:root"
    return Principal(caller=Caller(arn=arn, account=ACCOUNT), policies=Policies(), arn=arn, user_id=ACCOUNT)


def by_access_key(key: str) -> Principal | None:
    """The user or role session with that access key, `None` for a key that nobody has. Raises ExpiredSessionError."""
    if is_loaded("sts"):
        for session in backend("sts").assumed_roles:
            if session.access_key_id == key:
                if session.expiration < utcnow():
                    raise ExpiredSessionError(session.arn)
                return _session(session)
    user = backend("iam").get_user_from_access_key_id(key) if is_loaded("iam") else None
    return None if user is None else _user(user)


def by_arn(arn: str) -> Principal | None:
    """A user or role by its ARN, a role as one of its sessions is."""
    for user in list(backend("iam").users.values()):
        if user.arn == arn:
            return _user(user)
    role = role_by_arn(arn)
    return None if role is None else of_role(role, "simulated")


def invalid_principal(policy: Any) -> tuple[str, str] | None:
    """The first principal of a resource policy that does not exist, with its type (`AWS`, `Service`); `None` where all do.

    AWS refuses it in every resource policy, also for a role that is too new (IAM user guide, "AWS JSON policy elements: Principal":
    no wildcard for a part of a name, and no unique id). Principals of other accounts and federated ones are taken for existing.
    """
    try:
        statements = parse(policy.decode() if isinstance(policy, bytes) else str(policy or "")).statements
    except (ValueError, AttributeError, TypeError):
        return None  # what is no policy is refused by the service
    named = (each for statement in statements for each in (*(statement.principals or ()), *statement.not_principals))
    return next(((kind, value) for kind, value in named if not _exists(kind, value)), None)


def _exists(kind: str, value: str) -> bool:
    if kind == "Service":
        return re.fullmatch(r"[a-z0-9.-]+\.amazonaws\.com(\.cn)?", value) is not None
    if kind != "AWS" or value == "*" or re.fullmatch(r"\d{12}", value):
        return True
    found = re.fullmatch(r"arn:aws[a-z-]*:(iam|sts)::(\d{12}):(root|[a-z-]+/.+)", value)
    if found is None or "*" in value:
        return False
    service, account, name = found.groups()
    if account != ACCOUNT or name == "root":
        return True
    if service == "sts" and name.startswith("assumed-role/"):
        return any(role.name == name.split("/")[1] for role in list(backend("iam").roles.values()))
    return role_by_arn(value) is not None or any(user.arn == value for user in list(backend("iam").users.values()))


def role_by_arn(arn: str) -> Any:
    """moto's role, or `None`."""
    return next((role for role in list(backend("iam").roles.values()) if role.arn == arn), None)


def of_role(role: Any, session: str, session_policies: tuple[Document, ...] | None = None) -> Principal:
    """A session of a role."""
    return Principal(
        caller=Caller(
            arn=f"arn:{PARTITION}:sts::{ACCOUNT}:assumed-role/{role.name}/{session}", role_arn=role.arn, account=ACCOUNT
        ),
        policies=Policies(
            identity=_attached(role), boundary=_boundary(role.permissions_boundary_arn), session=session_policies
        ),
        arn=role.arn,
        user_id=f"{role.id}:{session}",
        tags=_tags(role.tags),
    )


def _session(session: Any) -> Principal:
    given = (parse(session.policy),) if session.policy else None
    role = role_by_arn(session.role_arn)
    if role is not None:
        return of_role(role, session.session_name, given)
    # The role was deleted: its sessions have no permission left.
    caller = Caller(arn=session.arn, role_arn=session.role_arn, account=ACCOUNT)
    return Principal(caller=caller, policies=Policies(identity=(), session=given), arn=session.role_arn)


def _user(user: Any) -> Principal:
    found = list(_attached(user))
    for group in list(backend("iam").groups.values()):
        if user in group.users:
            found += _attached(group)
    boundary = getattr(user, "permissions_boundary_arn", None)
    return Principal(
        caller=Caller(arn=user.arn, account=ACCOUNT),
        policies=Policies(identity=tuple(found), boundary=_boundary(boundary)),
        arn=user.arn,
        user_id=user.id,
        username=user.name,
        tags=_tags(user.tags),
    )


def _attached(holder: Any) -> tuple[Document, ...]:
    """Inline and managed policies of a user, group or role."""
    inline = [each["policy_document"] if isinstance(each, dict) else each for each in holder.policies.values()]
    return tuple(map(_parsed, [*inline, *map(_current, holder.managed_policies.values())]))


def _boundary(arn: str | None) -> Document | None:
    if not arn:
        return None
    policy = backend("iam").managed_policies.get(arn)
    # A boundary that was deleted permits nothing.
    return Document(()) if policy is None else _parsed(_current(policy))


def _current(policy: Any) -> Any:
    """The document of a managed policy's default version."""
    return next(version.document for version in policy.versions if version.is_default)


def _parsed(document: Any) -> Document:
    return parse(document if isinstance(document, str) else json.dumps(document))


def _tags(raw: Any) -> dict[str, str]:
    entries: Iterable[Any] = raw.values() if isinstance(raw, dict) else raw or ()
    return {str(each["Key"]): str(each["Value"]) for each in entries if isinstance(each, dict)}
