"""Source `topology`: every page of global clusters is read, and only a stack whose writer AWS names yields roles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from dr_assets.monitoring.rules import rules_for
from dr_assets.monitoring.sources.topology import TopologySource
from dr_assets.monitoring.sources.writers import single_writer
from dr_assets.stack import Stack
from tests.support.aws_double import error
from tests.support.monitoring import Run, S, at, healthy, sample

ACCOUNT = "123456789012"


def cluster_arn(site: str, region: str) -> str:
    return f"arn:aws:rds:{region}:{ACCOUNT}:cluster:aurora-{site}-{S}"


class Rds:
    """Answers DescribeGlobalClusters one global cluster at a time, with a marker between the pages."""

    def __init__(self, *clusters: dict[str, Any], sites: Sequence[str] = ()) -> None:
        self.clusters, self.sites = clusters, sites

    def client(self, service: str, region: str) -> Rds:
        assert service == "rds"
        return self

    def describe_db_clusters(self, DBClusterIdentifier: str) -> dict[str, Any]:
        if DBClusterIdentifier not in [f"aurora-{site}-{S}" for site in self.sites]:
            raise error("DBClusterNotFoundFault")
        return {"DBClusters": [{"DBClusterIdentifier": DBClusterIdentifier}]}

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
    assert {(s.site, s.source, s.metric, s.raw) for s in samples} == {
        ("primary", "topology", "role", 0.0),
        ("secondary", "topology", "role", 1.0),
        ("primary", "topology", "member", 1.0),
        ("secondary", "topology", "member", 1.0),
        ("global", "topology", "transition", 0.0),
        ("global", "topology", "writer-inside", 1.0),
    }


def test_case_b3_a_site_that_left_the_global_cluster_is_no_member(stack: Stack) -> None:
    shown = ours(stack, "primary")
    shown["GlobalClusterMembers"].pop()
    aws: Any = Rds(shown)
    samples, _ = TopologySource([stack], aws, stack.primary_region)(at(0))
    assert {s.site: s.raw for s in samples if s.metric == "member"} == {"primary": 1.0, "secondary": 0.0}


def test_aws_17_a_member_that_is_missing_during_a_failover_is_unknown(stack: Stack) -> None:
    """FailoverState: "only returned when a switchover or failover is in progress" (RDS API, GlobalCluster)."""
    shown = ours(stack, "primary") | {"FailoverState": {"Status": "failing-over", "IsDataLossAllowed": True}}
    shown["GlobalClusterMembers"].pop()
    aws: Any = Rds(shown)
    samples, _ = TopologySource([stack], aws, stack.primary_region)(at(0))
    assert {s.site: s.raw for s in samples if s.metric == "member"} == {"primary": 1.0, "secondary": None}
    assert [s.raw for s in samples if s.metric == "transition"] == [1.0]


def test_case_b3_a_member_that_is_not_synchronized_is_unprotected(stack: Stack) -> None:
    """SynchronizationStatus pending-resync (RDS API, GlobalClusterMember): during a failover that is what is under way."""
    for state, expected in ({}, 0.0), ({"FailoverState": {"Status": "failing-over"}}, None):
        shown = ours(stack, "primary") | state
        shown["GlobalClusterMembers"][1]["SynchronizationStatus"] = "pending-resync"
        aws: Any = Rds(shown)
        samples, _ = TopologySource([stack], aws, stack.primary_region)(at(0))
        assert members(samples) == {"primary": 1.0, "secondary": expected}
        assert any("pending-resync" in s.note for s in samples if s.metric == "member")


def test_case_b3_a_member_that_one_region_does_not_show_alerts(stack: Stack) -> None:
    whole, part = ours(stack, "primary"), ours(stack, "primary")
    part["GlobalClusterMembers"].pop()
    for first, second in ((whole, part), (part, whole)):
        aws: list[Any] = [Rds(first), Rds(second)]
        asks = [
            TopologySource([stack], aws[0], stack.primary_region),
            TopologySource([stack], aws[1], stack.secondary_region),
        ]
        run = Run(stack)
        for seconds in range(0, 60, 5):
            run.tick(seconds, [*healthy(seconds), *(sample for ask in asks for sample in ask(at(seconds))[0])])
        (opened,) = [seconds for seconds, step in run.steps if step == "unprotected.secondary opened"]
        assert opened <= 30


def test_case_b2_two_writers_in_one_answer_are_counted(stack: Stack) -> None:
    shown = ours(stack, "primary")
    shown["GlobalClusterMembers"][1]["IsWriter"] = True
    aws: Any = Rds(shown)
    samples, _ = TopologySource([stack], aws, stack.primary_region)(at(0))
    assert {(s.site, s.metric): s.raw for s in samples} == {
        **{(site, metric): None for site in ("primary", "secondary") for metric in ("role", "member")},
        ("global", "writer-inside"): None,
        ("global", "named-writers"): 2.0,
    }
    assert single_writer(stack, at(0), samples).raw == 0.0


def test_case_d5_a_page_token_that_comes_again_ends_the_listing(stack: Stack) -> None:
    """Tokens that lead in a circle would be followed for ever, by a thread for each tick."""

    class Circle(Rds):
        def describe_global_clusters(self, Marker: str = "0") -> dict[str, Any]:
            return {"GlobalClusters": [], "Marker": {"0": "1", "1": "2", "2": "1"}[Marker]}

    aws: Any = Circle()
    with pytest.raises(ValueError, match="twice"):
        TopologySource([stack], aws, stack.primary_region)(at(0))


def test_a_stack_that_was_never_provisioned_or_has_no_site_here_yields_nothing(stack: Stack) -> None:
    aws: Any = Rds()
    assert TopologySource([stack], aws, stack.primary_region)(at(0)) == ([], 2)
    aws = Rds(ours(stack, "primary"))
    assert TopologySource([stack], aws, "eu-west-1")(at(0)) == ([], 1)


def outside(stack: Stack, writer: str = "neither") -> Any:
    """Any of up to ten secondary regions may be the writer (Aurora user guide)."""
    found = ours(stack, writer)
    third = {"DBClusterArn": cluster_arn("third", "eu-west-1"), "IsWriter": writer == "neither", "Readers": []}
    found["GlobalClusterMembers"].append(third)
    return Rds(found)


def test_aws_18_with_the_writer_outside_both_sites_both_are_readers(stack: Stack) -> None:
    samples, _ = TopologySource([stack], outside(stack), stack.primary_region)(at(0))
    values = {(s.site, s.metric): s.raw for s in samples}
    sites = {
        (site, metric): value for site in ("primary", "secondary") for metric, value in (("role", 0), ("member", 1))
    }
    assert values == {**sites, ("global", "writer-inside"): 0.0, ("global", "transition"): 0.0}
    (inside,) = [s for s in samples if s.metric == "writer-inside"]
    assert "in eu-west-1, outside both sites" in inside.note


def test_case_b2_a_writer_outside_both_sites_is_an_alert_of_its_own_and_no_outage_of_the_old_one(stack: Stack) -> None:
    """The old writer's database refuses writes as any reader's does; before, that was an outage with advice to fail over."""
    source, moved = TopologySource([stack], Rds(ours(stack, "primary")), stack.primary_region), outside(stack)  # type: ignore[arg-type]
    elsewhere, run = TopologySource([stack], moved, stack.primary_region), Run(stack)
    for second in range(0, 60, 5):
        run.tick(second, [*healthy(second), *source(at(second))[0]])
    for second in range(60, 300, 5):
        readers = [
            sample(second, 0.0, "connectivity", site, source)
            for site in ("primary", "secondary")
            for source in ("metric", "sql")
        ]
        told = [s for s in healthy(second) if s.metric not in ("role", "connectivity", "health-check")]
        run.tick(second, [*told, *readers, *elsewhere(at(second))[0]])
        (_, incident), *more = run.last.state.incidents.items() or [("", None)]
        assert not more, "one incident"
        assert incident is None or incident.topic == "writer-outside"
    (opened,) = [seconds for seconds, step in run.steps if step == "writer-outside opened"]
    assert opened - 60 <= stack.detection_seconds
    (incident,) = run.last.state.incidents.values()
    assert incident.severity == "critical" and "do not fail over" in incident.text
    assert "eu-west-1" in incident.evidence[0]


def test_case_b2_a_site_that_accepts_writes_beside_a_writer_outside_is_two_writers(stack: Stack) -> None:
    beside = TopologySource([stack], outside(stack), stack.primary_region)(at(0))[0]
    one = [sample(0, 1.0, source="sql"), sample(0, 0.0, site="secondary", source="sql")]
    found = single_writer(stack, at(0), [*beside, *one])
    assert found.raw == 0.0 and "eu-west-1" in found.note
    assert single_writer(stack, at(0), [*beside, sample(-20, 1.0)]).raw is None, "a reading of before"
    # One region of AWS still names a site.
    inside = TopologySource([stack], Rds(ours(stack, "primary")), stack.secondary_region)(at(0))[0]  # type: ignore[arg-type]
    assert single_writer(stack, at(0), [*beside, *inside]).raw == 0.0


def members(samples: Sequence[Any]) -> dict[str, float | None]:
    return {s.site: s.raw for s in samples if s.metric == "member"}


def test_case_b3_a_global_cluster_that_is_gone_leaves_both_sites_unprotected(stack: Stack) -> None:
    """The listing is complete and does not have it: it was deleted, after its members had been removed."""
    aws: Any = Rds(ours(stack, "primary"))
    source, run = TopologySource([stack], aws, stack.primary_region), Run(stack)
    run.tick(0, [*healthy(0), *source(at(0))[0]])
    aws.clusters = ()
    for second in range(10, 40, 10):
        samples, calls = source(at(second))
        assert (members(samples), calls) == ({"primary": 0.0, "secondary": 0.0}, 1)
        run.tick(second, [*healthy(second), *samples])
    assert run.delivered == ["unprotected.primary opened", "unprotected.secondary opened"]


def test_case_b3_after_a_restart_the_site_s_cluster_shows_that_the_stack_was_provisioned(stack: Stack) -> None:
    aws: Any = Rds(sites=("primary", "secondary"))
    assert members(TopologySource([stack], aws, stack.primary_region)(at(0))[0]) == {"primary": 0.0}
    assert members(TopologySource([stack], aws, stack.secondary_region)(at(0))[0]) == {"secondary": 0.0}
    aws = Rds(ours(stack, "primary") | {"GlobalClusterMembers": []}, sites=("primary",))
    assert members(TopologySource([stack], aws, stack.primary_region)(at(0))[0]) == {"primary": 0.0}


def test_case_b3_members_without_a_writer_are_unknown_and_alert(stack: Stack) -> None:
    aws: Any = Rds(ours(stack, "neither"))
    source, run = TopologySource([stack], aws, stack.primary_region), Run(stack)
    for second in range(0, 400, 10):
        samples, _ = source(at(second))
        assert members(samples) == {"primary": None, "secondary": None}
        run.tick(second, [*healthy(second), *samples])
    assert run.delivered == ["sources.primary opened", "sources.secondary opened"]
    assert "topology member has not been known" in run.last.state.incidents[f"{S}/sources.primary"].text


def test_before_a_stack_is_provisioned_its_members_and_keys_are_not_missed(stack: Stack) -> None:
    run = Run(stack, [rule for rule in rules_for(stack) if rule.source in ("topology", "key")])
    for second in range(0, 1000, 100):
        run.tick(second, [])
    assert run.delivered == []
