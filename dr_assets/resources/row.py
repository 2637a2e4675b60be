"""Helpers to write a row: region and tags from its key, statements of the policies it carries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from dr_assets.core.compare import normal_policy
from dr_assets.core.expressions import Text
from dr_assets.core.model import MANAGED_BY, Resource
from dr_assets.resources import names
from dr_assets.stack import Site, Stack

# IAM's and Route 53's control planes are global and answer in us-east-1, whatever the stack's regions are.
GLOBAL_REGION = "us-east-1"


def other(site: Site) -> Site:
    return "secondary" if site == "primary" else "primary"


def tags(stack: Stack, site: Site | Literal["global"], name: Any) -> dict[str, Any]:
    """The tags every resource carries (STACK.md); those of the whole stack name the primary's region."""
    return {
        **stack.tags,
        "DR-Tier": "critical",
        "ManagedBy": MANAGED_BY,
        "TaskID": stack.environment_suffix,
        "Region": stack.region("primary" if site == "global" else site),
        "Site": site,
        "Name": name,
    }


def resource(
    stack: Stack,
    key: str,
    kind: str,
    name: Any,
    desired: Mapping[str, Any],
    *,
    tagged: bool = True,
    region: str | None = None,
    terraform: str | tuple[str, ...] = (),
    **more: Any,
) -> Resource:
    """A row. Region and tags follow from the key's site; `terraform` is its address in infra/, or several."""
    site: Any = key.split("/", maxsplit=1)[0]
    where = region or stack.region("primary" if site == "global" else site)
    wanted = {**desired, "Tags": tags(stack, site, name)} if tagged else dict(desired)
    addresses = (terraform,) if isinstance(terraform, str) else terraform
    return Resource(key=key, kind=kind, region=where, name=name, desired=wanted, terraform=addresses, **more)


def statement(
    actions: str | list[str],
    resource: Any = None,
    *,
    sid: str = "",
    effect: str = "Allow",
    service: str | list[str] = "",
    principal: Any = None,
    condition: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """One statement of an IAM policy; `service` is short for the principal {"Service": …}."""
    parts = {
        "Sid": sid,
        "Effect": effect,
        "Principal": {"Service": service} if service else principal,
        "Action": actions,
        "Resource": resource,
        "Condition": condition,
    }
    return {name: value for name, value in parts.items() if value}


def policy(*statements: Mapping[str, Any]) -> dict[str, Any]:
    """A policy document in the normal spelling that observed ones have too."""
    return normal_policy({"Version": "2012-10-17", "Statement": list(statements)})


def deny_without_tls(actions: str, where: Any) -> dict[str, Any]:
    """Refuses clear text for everybody (`aws:SecureTransport`, IAM user guide, "Global condition keys")."""
    without_tls = {"Bool": {"aws:SecureTransport": "false"}}
    return statement(actions, where, sid="DenyWithoutTLS", effect="Deny", principal="*", condition=without_tls)


def from_source(arn: Any = None) -> dict[str, Any]:
    """Condition that an AWS service acts for this account, and for a resource like `arn` (the confused deputy problem)."""
    like = {"ArnLike": {"aws:SourceArn": arn}} if arn else {}
    return {"StringEquals": {"aws:SourceAccount": Text(names.ACCOUNT)}, **like}


def trust(service: str, condition: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The trust policy of a role that an AWS service assumes."""
    return policy(statement("sts:AssumeRole", service=service, condition=condition))
