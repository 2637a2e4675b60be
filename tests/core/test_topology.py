"""Roles are read from DescribeGlobalClusters, never assumed."""

from typing import Any

from dr_assets.core.topology import parse_topology
from dr_assets.stack import Stack


def member(region: str, writer: bool) -> dict[str, Any]:
    return {"DBClusterArn": f"arn:aws:rds:{region}:123456789012:cluster:aurora-x", "IsWriter": writer, "Readers": []}


def test_home(stack: Stack) -> None:
    top = parse_topology(stack, {"GlobalClusterMembers": [member("us-east-1", True), member("us-west-2", False)]})
    assert (top.writer, top.role("primary"), top.role("secondary"), top.away) == ("primary", "writer", "reader", False)


def test_after_a_switchover(stack: Stack) -> None:
    top = parse_topology(stack, {"GlobalClusterMembers": [member("us-east-1", False), member("us-west-2", True)]})
    assert (top.writer, top.role("primary"), top.role("secondary"), top.away) == ("secondary", "reader", "writer", True)


def test_nothing_there_yet(stack: Stack) -> None:
    for found in (None, {}, {"GlobalClusterMembers": []}):
        top = parse_topology(stack, found)
        assert (top.writer, top.role("primary"), top.away) == (None, "writer", False)


def test_members_elsewhere_are_not_ours(stack: Stack) -> None:
    top = parse_topology(stack, {"GlobalClusterMembers": [member("eu-west-1", True), {"DBClusterArn": "odd"}]})
    assert top.writer is None
    assert dict(top.members) == {}


def test_a_transition_is_shown(stack: Stack) -> None:
    top = parse_topology(stack, {"GlobalClusterMembers": [], "FailoverState": {"Status": "switching-over"}})
    assert top.in_transition == "switching-over"
