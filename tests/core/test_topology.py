"""Roles are read from DescribeGlobalClusters, never assumed."""

from typing import Any

import pytest

from dr_assets.core.topology import parse_topology
from dr_assets.errors import WriterOutsideError
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


def test_aws_18_a_writer_in_a_third_region_is_named(stack: Stack) -> None:
    """The member list of the RDS API reference's DescribeGlobalClusters, with a third member that has become the writer."""
    members = [member("us-east-1", False), member("us-west-2", False), member("eu-west-1", True)]
    top = parse_topology(stack, {"GlobalClusterMembers": members})
    assert top.writer is None
    assert set(top.members) == {"primary", "secondary"}
    assert {top.role("primary"), top.role("secondary")} == {"reader"}
    assert top.away
    with pytest.raises(WriterOutsideError, match=r"in eu-west-1, outside both sites \(arn:aws:rds:eu-west-1:"):
        top.refuse_outside()


def test_case_b2_two_writers_in_one_answer_are_no_writer_but_a_problem(stack: Stack) -> None:
    """The last one that is listed is no better than the first."""
    for third in (member("us-west-2", True), member("eu-west-1", True)):
        for order in (1, -1):
            listed = [member("us-east-1", True), third][::order]
            top = parse_topology(stack, {"GlobalClusterMembers": listed})
            assert (top.writer, top.outside, len(top.several)) == (None, None, 2)
            assert top.away
            with pytest.raises(WriterOutsideError, match="AWS names 2 writers of the global cluster"):
                top.refuse_outside()


def test_case_b3_a_member_that_is_being_rebuilt_is_not_synchronized(stack: Stack) -> None:
    """GlobalClusterMember.SynchronizationStatus: connected | pending-resync (RDS API)."""
    rebuilt = {**member("us-west-2", False), "SynchronizationStatus": "pending-resync"}
    top = parse_topology(stack, {"GlobalClusterMembers": [member("us-east-1", True), rebuilt]})
    assert (top.writer, dict(top.unsynchronized)) == ("primary", {"secondary": "pending-resync"})


def test_aws_18_a_third_member_that_only_reads_changes_nothing(stack: Stack) -> None:
    members = [member("us-east-1", True), member("us-west-2", False), member("eu-west-1", False)]
    top = parse_topology(stack, {"GlobalClusterMembers": members})
    assert (top.writer, top.problem) == ("primary", None)
    top.refuse_outside()
