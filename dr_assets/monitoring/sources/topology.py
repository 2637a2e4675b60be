"""Source `topology`: the site of the writer and the members, from DescribeGlobalClusters in each region."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from dr_assets.aws import Aws
from dr_assets.core.topology import parse_topology
from dr_assets.monitoring.samples import MEMBER, ROLE, TRANSITION, Sample
from dr_assets.monitoring.sources.source import Answer, Ask, regions_of
from dr_assets.stack import SITES, Stack


def topology_asks(stacks: Sequence[Stack], aws: Aws) -> Iterator[tuple[str, Ask]]:
    for region in regions_of(stacks):
        yield region, TopologySource(stacks, aws, region)


class TopologySource:
    """The roles of all stacks with a site in one region: one call per page of global clusters."""

    def __init__(self, stacks: Sequence[Stack], aws: Aws, region: str) -> None:
        self._stacks = [stack for stack in stacks if stack.site_in(region) is not None]
        self._aws, self._region = aws, region

    def __call__(self, at: datetime) -> Answer:
        client = self._aws.client("rds", self._region)
        clusters: dict[str, Any] = {}
        calls = 0
        page: dict[str, Any] = {}
        while True:
            answer = client.describe_global_clusters(**page)
            calls += 1
            clusters |= {cluster["GlobalClusterIdentifier"]: cluster for cluster in answer["GlobalClusters"]}
            if not answer.get("Marker"):
                break
            page = {"Marker": answer["Marker"]}
        return [sample for stack in self._stacks for sample in self._roles(stack, clusters, at)], calls

    def _roles(self, stack: Stack, clusters: dict[str, Any], at: datetime) -> Iterator[Sample]:
        topology = parse_topology(stack, clusters.get(stack.global_cluster_name))
        if topology.writer is None:
            if topology.problem:
                for site in SITES:
                    yield Sample(at, stack.environment_suffix, site, "topology", ROLE, None, "bool", topology.problem)
            return
        note = f"read in {self._region}" + (f", {topology.in_transition}" if topology.in_transition else "")
        suffix = stack.environment_suffix
        for site in SITES:
            value = 1.0 if site == topology.writer else 0.0
            yield Sample(at, suffix, site, "topology", ROLE, value, "bool", note)
            # What AWS shows in the midst of a change is no loss.
            member = 1.0 if site in topology.members else None if topology.in_transition else 0.0
            yield Sample(at, suffix, site, "topology", MEMBER, member, "bool", note)
        yield Sample(at, suffix, "global", "topology", TRANSITION, 1.0 if topology.in_transition else 0.0, "bool", note)
