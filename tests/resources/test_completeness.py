"""A kind or a row that is only half added fails here, with a sentence that says what to add where."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from dr_assets.core.model import Call, Drift, Kind, Observed, Reads, Resource, Target, permit
from dr_assets.resources.catalog import catalog
from dr_assets.resources.outputs import outputs
from dr_assets.resources.registry import AREAS, KINDS, module
from dr_assets.stack import Stack
from tests.support.completeness import Surroundings, area_of, contract, infrastructure, unit_tests

AROUND = Surroundings(KINDS, infrastructure(), contract())


def rows_of(stack: Stack, kind: Kind) -> list[Resource]:
    return [row for row in catalog(stack) if row.kind == kind.name]


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_each_kind_is_complete(kind: Kind, stack: Stack) -> None:
    area = area_of(kind)
    assert AROUND.of_kind(kind, area, unit_tests(area), rows_of(stack, kind)) == []


def test_each_row_is_complete(full_stack: Stack) -> None:
    gaps = [gap for row in catalog(full_stack) for gap in AROUND.of_row(row, area_of(KINDS[row.kind]))]
    assert gaps == []


def test_no_kind_is_defined_twice() -> None:
    declared = [kind.name for area in AREAS for kind in module(area, "kinds").KINDS]
    assert sorted(declared) == sorted(KINDS)


def test_every_output_is_observed(stack: Stack) -> None:
    keys = {row.key for row in catalog(stack)}
    assert {ref.key for ref in outputs().values()} <= keys


@pytest.fixture
def full_stack(raw_stack: dict[str, Any]) -> Stack:
    """With the rows that only some stacks have."""
    from dr_assets.stack import parse_stack

    endpoints = {"primary": "app.example.com", "secondary": "app2.example.com"}
    return parse_stack({**raw_stack, "alert_emails": ["dba@example.com"], "https_endpoints": endpoints})


# --- the checks bite -----------------------------------------------------------------------------------------------------


class HalfMade(Kind):
    """What somebody forgets who writes the verbs alone."""

    name = "glue.crawler"
    read_actions = permit("glue:GetCrawler")
    write_actions = permit("CreateCrawler", on="glue.database")

    def create(self, target: Target) -> Call:
        return Call("glue", "create_crawler", {"Name": target.name})

    def delete(self, target: Target, observed: Observed) -> Call:
        return Call("glue", "delete_crawler", {"Name": target.name})


class Observing(HalfMade):
    def observe(self, reads: Reads, target: Target) -> Observed | None:
        return reads.call("glue", "get_crawler", target.region, Name=target.name)


def test_each_gap_of_a_half_made_kind_is_named() -> None:
    gaps = AROUND.of_kind(HalfMade(), "notifications", "no test of it", [])
    where = "notifications/kinds.py, class HalfMade"
    assert gaps == [
        f"{where}: add `label = …`: what people call it",
        f"{where}: add `compute_kinds = …`: the badges on its asset",
        f"{where}: add `least_reads = …`: (calls per resource, calls per kind and region)",
        f"{where}: add `terraform = …`: the resource type of the AWS provider",
        f"{where}: define `observe` (one resource) or `read` (a batch), or nothing can be verified",
        f"{where}: read_actions: glue:GetCrawler applies to the kind's own ARN; add `resource_arn = …`, or give `on=`",
        f"{where}: write_actions: 'CreateCrawler' is no IAM action; write service:Operation",
        f"{where}: write_actions: CreateCrawler: on='glue.database' is neither a kind nor an ARN template",
        f"notifications/rows.py: yield a row of kind 'glue.crawler', or delete {where}",
        "tests/resources/test_notifications.py: add a test of glue.crawler; it names neither kind nor key",
        "docs/stack.md: add the row of glue.crawler to the table of its area",
    ]
    assert not any("observe" in gap for gap in AROUND.of_kind(Observing(), "notifications", "", []))
    assert "tests/resources/test_glue.py: add the unit tests of glue.crawler" in AROUND.of_kind(
        HalfMade(), "glue", None, []
    )


def test_a_kind_without_permissions_is_incomplete() -> None:
    class Silent(HalfMade):
        read_actions = {}
        write_actions = {}

    gaps = AROUND.of_kind(Silent(), "notifications", "", [])
    assert sum("_actions = …" in gap for gap in gaps) == 2


@pytest.mark.parametrize(
    ("change", "lacks"),
    [
        ({"title": ""}, "add `title=`"),
        ({"lost": ""}, "add `lost=`"),
        ({"terraform": ()}, "add `terraform=`: its address in infra/"),
        ({"terraform": ("module.primary.aws_kms_key.data",)}, "is of type aws_kms_key, its kind says ('aws_vpc',)"),
        (
            {"terraform": ("module.primary.aws_vpc.other[0]",)},
            'add `resource "aws_vpc" "other"` to infra/modules/regional/*.tf',
        ),
        ({"kind": "ec2.gateway"}, "there is no kind 'ec2.gateway'; add the class to network/kinds.py"),
    ],
)
def test_each_gap_of_a_half_made_row_is_named(stack: Stack, change: dict[str, Any], lacks: str) -> None:
    row = next(row for row in catalog(stack) if row.key == "primary/network/vpc")
    gaps = AROUND.of_row(replace(row, **change), "network")
    assert len(gaps) == 1
    assert gaps[0].startswith("network/rows.py, primary/network/vpc: ")
    assert lacks in gaps[0]


def test_an_update_is_the_creation_unless_a_kind_says_otherwise(stack: Stack) -> None:
    rule = Target(key="k", kind="glue.crawler", region="us-east-1", name="r", identity={})
    no_drift: Sequence[Drift] = ()
    assert Observing().update(rule, {}, no_drift) == Observing().create(rule)
