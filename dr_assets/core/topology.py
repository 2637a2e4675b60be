"""Parse DescribeGlobalClusters into roles: which site is the writer now. Pure.

Sites are fixed, roles swap at every switchover and failover; so a role is always read, never assumed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dr_assets.core.expressions import Role
from dr_assets.errors import WriterOutsideError
from dr_assets.stack import Site, Stack

HOME: Site = "primary"


@dataclass(frozen=True)
class Topology:
    """`writer` is the site of the writing cluster; None when the global cluster has no member yet, and with `outside`.

    `members` maps a site to its cluster's ARN. `in_transition` carries AWS's FailoverState status while one is under way.
    `outside` is the ARN of a writer at neither site: a global database may have up to ten secondary regions, and any of them
    may become the writer (Aurora user guide, "Using Amazon Aurora Global Database"). `several` holds the ARNs of all writers where
    AWS names more than one; `writer` and `outside` are None then. `unsynchronized`: sites whose member's SynchronizationStatus is not
    `connected`, with that status: nothing is replicated to them yet (RDS API, GlobalClusterMember).
    """

    writer: Site | None
    members: Mapping[Site, str]
    in_transition: str | None = None
    outside: str | None = None
    several: tuple[str, ...] = ()
    unsynchronized: Mapping[Site, str] = field(default_factory=dict)

    def role(self, site: Site) -> Role:
        """The site's role. While nothing exists, the home site is the writer to be."""
        return "writer" if not self.problem and site == (self.writer or HOME) else "reader"

    @property
    def away(self) -> bool:
        """True after a switchover or failover: the writer is not at its home site."""
        return bool(self.outside or self.several) or (self.writer is not None and self.writer != HOME)

    def refuse_outside(self) -> None:
        """Raises WriterOutsideError where the writer is at neither site."""
        if self.problem:
            raise WriterOutsideError(self.problem)

    @property
    def problem(self) -> str | None:
        """Where the writer is, if it is at neither site, or the writers, if they are several; else None."""
        if self.several:
            return (
                f"AWS names {len(self.several)} writers of the global cluster ({', '.join(self.several)}). Nothing is written; find out "
                "which of them applications use, and keep them from the other."
            )
        if self.outside is None:
            return None
        region = self.outside.split(":")[3]
        return (
            f"The writer of the global cluster is in {region}, outside both sites ({self.outside}). Nothing is written; switch "
            "the global database over to a site of the stack first."
        )


NOTHING = Topology(writer=None, members={})


def parse_topology(stack: Stack, global_cluster: Mapping[str, Any] | None) -> Topology:
    """From one entry of `DescribeGlobalClusters()["GlobalClusters"]` (None when there is none).

    The site of a member is the one of its ARN's region (arn:aws:rds:REGION:ACCOUNT:cluster:ID). Raises TypeError where a member does
    not say whether it is the writer, and what a value of another type raises: a role is never assumed.
    """
    if global_cluster is None:
        return NOTHING
    members: dict[Site, str] = {}
    writer: Site | None = None
    outside: str | None = None
    writers: list[str] = []
    unsynchronized: dict[Site, str] = {}
    for member in global_cluster.get("GlobalClusterMembers", []):
        arn = member.get("DBClusterArn", "")
        if arn.count(":") < 6:
            continue
        if not isinstance(member.get("IsWriter"), bool):
            raise TypeError(f"IsWriter of the member {arn} is neither true nor false")
        site = stack.site_in(arn.split(":")[3])
        writers += [arn] if member.get("IsWriter") else []
        if site is None:
            outside = arn if member.get("IsWriter") else outside
            continue
        members[site] = arn
        if (status := member.get("SynchronizationStatus") or "connected") != "connected":
            unsynchronized[site] = str(status)
        if member.get("IsWriter"):
            writer = site
    state = (global_cluster.get("FailoverState") or {}).get("Status")
    if len(writers) > 1:
        return Topology(None, members, state or None, several=tuple(sorted(writers)), unsynchronized=unsynchronized)
    return Topology(writer, members, state or None, outside, unsynchronized=unsynchronized)
