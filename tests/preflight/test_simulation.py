"""Permissions are simulated as a real principal: the printed policy passes, and what is missing or denied is named."""

from typing import Any

import pytest

from dr_assets.aws import Aws
from dr_assets.emulator import EmbeddedAws
from dr_assets.preflight import permissions
from dr_assets.preflight.service import before_writing
from dr_assets.preflight.survey import Survey
from dr_assets.reconcile.stack_state import StackState
from dr_assets.resources.iam_policy import policy, split
from dr_assets.stack import Stack
from tests.support.principal import acting_as, denied_calls

ACCOUNT = "123456789012"


def deny(action: str, resource: str = "*") -> dict[str, Any]:
    statement = {"Sid": "No", "Effect": "Deny", "Action": action, "Resource": resource}
    return {"Version": "2012-10-17", "Statement": [statement]}


ALL = {"Version": "2012-10-17", "Statement": [{"Sid": "Everything", "Effect": "Allow", "Action": "*", "Resource": "*"}]}


@pytest.mark.parametrize(
    ("more", "status", "named"),
    [
        ([], "ok", ""),
        ([deny("rds:CreateDBCluster")], "fails", "rds:CreateDBCluster"),
        ([deny("rds:CreateDBCluster", "arn:aws:rds:us-west-2:*:*")], "fails", "rds:CreateDBCluster"),
        ([deny("iam:SimulatePrincipalPolicy")], "unknown", "cannot be simulated"),
    ],
    ids=["all allowed", "denied", "denied in one region", "simulation denied"],
)
def test_a_denied_action_is_named(
    empty_aws: EmbeddedAws, stack: Stack, more: list[dict[str, Any]], status: str, named: str
) -> None:
    with acting_as(empty_aws, [ALL, *more]):
        found = permissions.permissions(Survey(StackState(stack, Aws())))
    assert found.status == status, found
    assert named in found.detail
    if status == "fails":
        assert found.facts["denied"] == [named]


def test_the_printed_policy_is_enough(empty_aws: EmbeddedAws, stack: Stack) -> None:
    with acting_as(empty_aws, split(policy(stack, ["provision"], ACCOUNT))):
        found = permissions.permissions(Survey(StackState(stack, Aws())))
    assert found.status == "ok", found


def test_the_preflight_itself_needs_no_more_than_the_printed_policy(empty_aws: EmbeddedAws, stack: Stack) -> None:
    with acting_as(empty_aws, split(policy(stack, ["provision"], ACCOUNT))):
        state = StackState(stack, Aws())
        state.snapshot()
        empty_aws.control.clear_calls()
        report = before_writing(state)
    assert report is not None
    assert denied_calls(empty_aws.control.calls()) == []
    assert [line.name for line in report.checks if line.status != "ok"] == []


def test_the_root_user_is_not_simulated(empty_aws: EmbeddedAws, stack: Stack) -> None:
    found = permissions.permissions(Survey(StackState(stack, Aws())))
    assert found.status == "unknown"
    assert "root" in found.detail


@pytest.mark.parametrize(
    ("arn", "source"),
    [
        ("arn:aws:iam::123456789012:user/team/ann", "arn:aws:iam::123456789012:user/team/ann"),
        ("arn:aws:sts::123456789012:assumed-role/Admin/session", "arn:aws:iam::123456789012:role/Admin"),
        ("arn:aws:iam::123456789012:root", None),
    ],
)
def test_the_source_of_a_simulation(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, arn: str, source: str | None
) -> None:
    monkeypatch.setattr(permissions, "caller_identity", lambda _: {"Arn": arn})
    assert permissions.principal(Survey(StackState(stack, Aws()))) == source
