"""Source `topology`: every page of global clusters is read, and only a stack whose writer AWS names yields roles."""

from __future__ import annotations

from typing import Any

from dr_assets.monitoring.sources.topology import TopologySource
from dr_assets.stack import Stack
from tests.support.monitoring import S, at

ACCOUNT = "123456789012"


def cluster_arn(site: str, region: str) -> str:
    return f"arn:aws:rds:{region}:{ACCOUNT}:cluster:aurora-{site}-{S}"


class Rds:
    """Answers DescribeGlobalClusters one global cluster at a time, with a marker between the pages."""

    def __init__(self, *clusters: dict[str, Any]) -> None:
        self.clusters = clusters

    def client(self, service: str, region: str) -> Rds:
        assert service == "rds"
        return self

    def describe_global_clusters(self, Marker: str = "0") -> dict[str, Any]:
        n = int(Marker)
        found = {"GlobalClusters": list(self.clusters[n : n + 1])}
        return {**found, "Marker": str(n + 1)} if n + 1 < len(self.clusters) else found


def ours(stack: Stack, writer: str) -> dict[str, Any]:
    members = [
        {
            "DBClusterArn": cluster_arn(site, region),
            "IsWriter": site == writer,
            "Readers": [],
            "GlobalWriteForwardingStatus": "disabled",
        }
        for site, region in (("primary", stack.primary_region), ("secondary", stack.secondary_region))
    ]
    return {
        "GlobalClusterIdentifier": stack.global_cluster_name,
        "Status": "available",
        "GlobalClusterMembers": members,
    }


def test_the_writer_is_found_on_the_last_page(stack: Stack) -> None:
    other = {"GlobalClusterIdentifier": "another", "Status": "available", "GlobalClusterMembers": []}
    aws: Any = Rds(other, other, ours(stack, "secondary"))
    samples, calls = TopologySource([stack], aws, stack.primary_region)(at(0))
    assert calls == 3
    assert {(s.site, s.source, s.metric, s.value) for s in samples} == {
        ("primary", "topology", "role", 0.0),
        ("secondary", "topology", "role", 1.0),
        ("primary", "topology", "member", 1.0),
        ("secondary", "topology", "member", 1.0),
        ("global", "topology", "transition", 0.0),
    }


def test_case_b3_a_site_that_left_the_global_cluster_is_no_member(stack: Stack) -> None:
    shown = ours(stack, "primary")
    shown["GlobalClusterMembers"].pop()
    aws: Any = Rds(shown)
    samples, _ = TopologySource([stack], aws, stack.primary_region)(at(0))
    assert {s.site: s.value for s in samples if s.metric == "member"} == {"primary": 1.0, "secondary": 0.0}


def test_aws_17_a_member_that_is_missing_during_a_failover_is_unknown(stack: Stack) -> None:
    """FailoverState: "only returned when a switchover or failover is in progress" (RDS API, GlobalCluster)."""
    shown = ours(stack, "primary") | {"FailoverState": {"Status": "failing-over", "IsDataLossAllowed": True}}
    shown["GlobalClusterMembers"].pop()
    aws: Any = Rds(shown)
    samples, _ = TopologySource([stack], aws, stack.primary_region)(at(0))
    assert {s.site: s.value for s in samples if s.metric == "member"} == {"primary": 1.0, "secondary": None}
    assert [s.value for s in samples if s.metric == "transition"] == [1.0]


def test_a_stack_without_a_global_cluster_or_a_site_here_yields_nothing(stack: Stack) -> None:
    aws: Any = Rds()
    assert TopologySource([stack], aws, stack.primary_region)(at(0)) == ([], 1)
    aws = Rds(ours(stack, "primary"))
    assert TopologySource([stack], aws, "eu-west-1")(at(0)) == ([], 1)


def test_aws_18_with_the_writer_outside_both_sites_the_roles_are_unknown(stack: Stack) -> None:
    """Any of up to ten secondary regions may be the writer (Aurora user guide)."""
    found = ours(stack, "neither")
    third = {"DBClusterArn": cluster_arn("third", "eu-west-1"), "IsWriter": True, "Readers": []}
    found["GlobalClusterMembers"].append(third)
    aws: Any = Rds(found)
    samples, _ = TopologySource([stack], aws, stack.primary_region)(at(0))
    assert [(s.site, s.value) for s in samples] == [("primary", None), ("secondary", None)]
    assert all("in eu-west-1, outside both sites" in s.note for s in samples)
