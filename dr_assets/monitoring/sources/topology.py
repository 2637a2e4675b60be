"""Source `topology`: the site of the writer and the members, from DescribeGlobalClusters in each region.

A global database may have up to ten secondary regions, and any of them may become the writer (Aurora user guide): with it outside
both sites, both are readers and `writer-inside` is 0.

A stack without a global cluster is unprotected, or was never provisioned. It was provisioned when this process has observed a member
of it, or when the site's cluster exists (DescribeDBClusters, called only then); before that the source yields nothing, and nothing
alerts. After `dr destroy` the sensors alert until they are stopped or restarted with a new cursor.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from dr_assets.aws import Aws
from dr_assets.core.model import error_code
from dr_assets.core.paging import Tokens
from dr_assets.core.topology import parse_topology
from dr_assets.monitoring.samples import COUNT, MEMBER, NAMED_WRITERS, ROLE, STATE, TRANSITION, WRITER_INSIDE, Sample
from dr_assets.monitoring.sources.source import Answer, Ask, reason_of, regions_of
from dr_assets.resources import names
from dr_assets.stack import SITES, Site, Stack


def topology_asks(stacks: Sequence[Stack], aws: Aws) -> Iterator[tuple[str, Ask]]:
    for region in regions_of(stacks):
        yield region, TopologySource(stacks, aws, region)


class TopologySource:
    """The roles of all stacks with a site in one region: one call per page of global clusters."""

    def __init__(self, stacks: Sequence[Stack], aws: Aws, region: str) -> None:
        self._stacks = [stack for stack in stacks if stack.site_in(region) is not None]
        self._aws, self._region = aws, region
        self._provisioned: set[str] = set()  # stacks of which a member was observed

    def __call__(self, at: datetime) -> Answer:
        client = self._aws.client("rds", self._region)
        clusters: dict[str, Any] = {}
        calls, unnamed = 0, 0
        page: dict[str, Any] = {}
        tokens = Tokens()
        while True:
            answer = client.describe_global_clusters(**page)
            calls += 1
            for cluster in answer["GlobalClusters"]:
                name = cluster.get("GlobalClusterIdentifier") if isinstance(cluster, Mapping) else None
                unnamed += not isinstance(name, str)
                if isinstance(name, str):
                    clusters[name] = cluster
            if not answer.get("Marker"):
                break
            page = {"Marker": tokens.follow(answer["Marker"])}
        samples: list[Sample] = []
        for stack in self._stacks:
            found = clusters.get(stack.global_cluster_name)
            try:
                if found is None and unnamed:
                    raise ValueError(
                        f"{unnamed} global clusters have no identifier, and none is {stack.global_cluster_name}"
                    )
                if found is not None and _members(found):
                    self._provisioned.add(stack.environment_suffix)
                    samples += list(self._roles(stack, found, at))
                else:
                    calls += stack.environment_suffix not in self._provisioned
                    samples += list(self._memberless(stack, found, at))
            except Exception as error:
                note = reason_of(error, "rds", "describe_global_clusters", self._region)
                if isinstance(error, (TypeError, ValueError)):  # ours, or of a value's type: it quotes no answer
                    note = f"global clusters, read in {self._region}: {error}"[:200]
                for site in SITES:
                    samples += (
                        Sample(at, stack.environment_suffix, site, "topology", metric, None, STATE, note)
                        for metric in (ROLE, MEMBER)
                    )
                samples.append(_not_inside(stack, at, note))
        return samples, calls

    def _memberless(self, stack: Stack, found: Any, at: datetime) -> Iterator[Sample]:
        """Without a global cluster, or one without members: every site that was provisioned is no member."""
        state = "has no members" if found is not None else "does not exist"
        note = f"the global cluster {stack.global_cluster_name} {state}, read in {self._region}"
        here = stack.site_in(self._region)
        everywhere = stack.environment_suffix in self._provisioned
        sites = SITES if everywhere else (here,) if here and self._exists(stack, here) else ()
        for site in sites:
            yield Sample(at, stack.environment_suffix, site, "topology", MEMBER, 0.0, STATE, note)

    def _exists(self, stack: Stack, site: Site) -> bool:
        """Raises botocore's errors."""
        try:
            client = self._aws.client("rds", self._region)
            client.describe_db_clusters(DBClusterIdentifier=names.cluster(stack, site))
        except Exception as error:
            if error_code(error) == "DBClusterNotFoundFault":
                return False
            raise
        return True

    def _roles(self, stack: Stack, found: Any, at: datetime) -> Iterator[Sample]:
        topology = parse_topology(stack, found)
        suffix = stack.environment_suffix
        if topology.writer is None and topology.outside is None:
            note = topology.problem or f"no member of {stack.global_cluster_name} is the writer, read in {self._region}"
            for site in SITES:
                yield Sample(at, suffix, site, "topology", ROLE, None, STATE, note)
                yield Sample(at, suffix, site, "topology", MEMBER, None, STATE, note)
            yield _not_inside(stack, at, note)
            if topology.in_transition:
                yield Sample(at, suffix, "global", "topology", TRANSITION, 1.0, STATE, topology.in_transition)
            if topology.several:
                count = float(len(topology.several))
                yield Sample(at, suffix, "global", "topology", NAMED_WRITERS, count, COUNT, note)
            return
        note = f"read in {self._region}" + (f", {topology.in_transition}" if topology.in_transition else "")
        inside = 0.0 if topology.outside else 1.0
        yield Sample(at, suffix, "global", "topology", WRITER_INSIDE, inside, STATE, topology.problem or note)
        for site in SITES:
            value = 1.0 if site == topology.writer else 0.0
            yield Sample(at, suffix, site, "topology", ROLE, value, STATE, note)
            behind = topology.unsynchronized.get(site, "")
            joined = site in topology.members and not behind
            # What AWS shows in the midst of a change is no loss.
            member = 1.0 if joined else None if topology.in_transition else 0.0
            yield Sample(at, suffix, site, "topology", MEMBER, member, STATE, f"{behind}, {note}" if behind else note)
        yield Sample(at, suffix, "global", "topology", TRANSITION, 1.0 if topology.in_transition else 0.0, STATE, note)


def _not_inside(stack: Stack, at: datetime, note: str) -> Sample:
    """It is not known whether the writer is at one of the sites."""
    return Sample(at, stack.environment_suffix, "global", "topology", WRITER_INSIDE, None, STATE, note)


def _members(found: Mapping[str, Any]) -> Sequence[Any]:
    """Raises ValueError, TypeError or LookupError where one of them cannot be understood: who is a member is not known then."""
    members: Sequence[Any] = found["GlobalClusterMembers"]
    if not isinstance(members, list):
        raise TypeError("GlobalClusterMembers is no list")
    for member in members:
        if member["DBClusterArn"].count(":") < 6:
            raise ValueError("a member's ARN is none")
    return members
