"""docs/add-a-resource.md is a worked example: its blocks are run here, against the embedded AWS's own moto."""

import inspect
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from dr_assets.aws import Aws
from dr_assets.core.model import Kind
from dr_assets.reconcile.stack_state import StackState
from dr_assets.resources import names
from dr_assets.resources.catalog import catalog
from dr_assets.resources.iam_policy import policy
from dr_assets.resources.notifications import kinds, rows
from dr_assets.resources.registry import KINDS
from dr_assets.stack import Site, Stack
from tests.support import aws_double
from tests.support.completeness import Surroundings, contract, infrastructure

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "add-a-resource.md").read_text(encoding="utf-8")
RULE, TARGET = "primary/notifications/health-rule", "primary/notifications/health-target"


def block(fence: str) -> str:
    return "\n".join(re.findall(rf"^```{fence}\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL))


def run(fence: str, scope: dict[str, Any]) -> dict[str, Any]:
    """What a block defines, in the scope of the file that the page says it belongs into."""
    space = {**scope, "__name__": f"page.{fence}"}
    exec(
        compile(f"from __future__ import annotations\n{block(f'python {fence}')}", f"add-a-resource {fence}", "exec"),
        space,
    )
    return {name: value for name, value in space.items() if name not in scope or scope[name] is not value}


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> dict[str, Kind]:
    """The page's kinds by name, with its names and rows in place."""
    monkeypatch.setattr(names, "health_rule", run("names", vars(names))["health_rule"], raising=False)
    from dr_assets.core.model import changed_fields
    from dr_assets.resources.tags import changed_tags

    defined = run("kinds", {"changed_tags": changed_tags, "changed_fields": changed_fields, **vars(kinds)})
    new = {value.name: value() for value in defined.values() if inspect.isclass(value) and issubclass(value, Kind)}
    for name, kind in new.items():
        monkeypatch.setitem(KINDS, name, kind)
    health_rows, before = run("rows", vars(rows))["_health_rows"], rows.site_rows

    def site_rows(stack: Stack, site: Site) -> Iterator[Any]:
        yield from before(stack, site)
        yield from health_rows(stack, site)

    monkeypatch.setattr(rows, "site_rows", site_rows)
    return new


def test_nothing_is_forgotten(added: dict[str, Kind], stack: Stack) -> None:
    around = Surroundings(KINDS, infrastructure() + block("hcl"), contract() + block("markdown"))
    found = {row.key: row for row in catalog(stack)}
    new = [row for row in found.values() if row.kind in added]
    assert len(new) == 4
    gaps = [gap for row in new for gap in around.of_row(row, "notifications")]
    for kind in added.values():
        own = [row for row in new if row.kind == kind.name]
        gaps += around.of_kind(kind, "notifications", block("python tests"), own)
    assert gaps == []
    without = Surroundings(KINDS, infrastructure(), contract())
    assert without.of_row(found[RULE], "notifications") != []


def test_its_permissions_are_asked_for(added: dict[str, Kind], stack: Stack) -> None:
    statements = {statement["Sid"]: statement for statement in policy(stack, ["provision", "destroy"])["Statement"]}
    assert statements["Events"]["Resource"] == ["arn:aws:events:*:*:rule/aws-health-*-l6p3z2w4"]
    assert statements["Events"]["Action"] == [
        "events:DeleteRule",
        "events:DescribeRule",
        "events:ListTagsForResource",
        "events:ListTargetsByRule",
        "events:PutRule",
        "events:PutTargets",
        "events:RemoveTargets",
        "events:TagResource",
    ]


def unit_tests(added: dict[str, Kind]) -> dict[str, Callable[[Stack], None]]:
    scope = {**vars(aws_double), "json": json, "KINDS": KINDS, "Stack": Stack}
    return {name: value for name, value in run("tests", scope).items() if name.startswith("test_")}


def test_its_unit_tests_pass(added: dict[str, Kind], stack: Stack) -> None:
    tests = unit_tests(added)
    assert len(tests) == 2
    for test in tests.values():
        test(stack)


def test_it_is_provisioned_healed_and_deleted(
    added: dict[str, Kind], stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(variable, "testing")
    monkeypatch.delenv("AWS_ENDPOINT_URL")  # moto answers inside this process, and only where no endpoint is set
    with mock_aws():
        state = StackState(stack, Aws())
        for key in ("primary/encryption/notifications-key", "primary/notifications/topic", RULE, TARGET):
            assert state.reconcile(state.resources[key]).status == "created", key
        assert [outcome.status for outcome in state.verify([RULE, TARGET])] == ["in_sync", "in_sync"]
        events = boto3.client("events", region_name=stack.primary_region)
        rule = f"aws-health-primary-{stack.environment_suffix}"
        assert json.loads(events.describe_rule(Name=rule)["EventPattern"])["source"] == ["aws.health"]
        events.disable_rule(Name=rule)
        events.remove_targets(Rule=rule, Ids=["topic"])
        assert [outcome.status for outcome in state.verify([RULE, TARGET])] == ["drifted", "absent"]
        assert state.reconcile(state.resources[RULE]).status == "updated"
        assert state.reconcile(state.resources[TARGET]).status == "created"
        assert events.describe_rule(Name=rule)["State"] == "ENABLED"
        for key in (TARGET, RULE):
            assert state.delete(state.resources[key]).status == "absent"
        assert events.list_rules()["Rules"] == []
