"""How a row of the catalogue is written: region and tags follow from its key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from dr_assets.core.model import MANAGED_BY, Resource
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
