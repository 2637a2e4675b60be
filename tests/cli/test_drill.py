"""`dr drill`: what is shown, what is approved, and that nothing else runs."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from dr_assets.cli.main import main
from dr_assets.drills import runner
from dr_assets.drills.approval import Approval, token
from dr_assets.drills.parts import Override
from dr_assets.drills.plan import Plan
from dr_assets.drills.request import Prepared, Request
from dr_assets.errors import RefusedError
from dr_assets.stack import Stack


class Started(RefusedError):
    """The drill would have begun."""


@pytest.fixture
def plan(stack: Stack) -> Plan:
    return Plan(
        scenario="switchover",
        stack=stack.environment_suffix,
        from_site="primary",
        to_site="secondary",
        from_region=stack.primary_region,
        to_region=stack.secondary_region,
        target_arn="arn:aws:rds:us-west-2:123456789012:cluster:aurora-secondary",
    )


@pytest.fixture
def started(stack: Stack, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """The requests that reached the runner; AWS is left out."""
    monkeypatch.setenv("DR_HISTORY_URI", str(tmp_path))
    monkeypatch.setattr("dr_assets.stack.load_stack", lambda *_: stack)
    found: list[Request] = []

    def propose(_: Stack, request: Request, *__: Any) -> Plan:
        return plan.model_copy(update=dict(request.settings))

    def start(_: Stack, __: Any, request: Request, *___: Any) -> None:
        found.append(request)
        raise Started("it was started")

    monkeypatch.setattr(runner, "propose", propose)
    monkeypatch.setattr(runner, "prepare", lambda stack, request: Prepared(propose(stack, request), (), ()))
    monkeypatch.setattr(runner, "start", start)
    return found


def dr(*args: str, answer: str = "") -> Any:
    return CliRunner().invoke(main, ["drill", *args], input=answer)


def test_case_c2_yes_prints_the_plan_that_it_approves_first(started: list[Request], plan: Plan) -> None:
    """`--yes` showed nothing. Settings and overrides are part of what is approved."""
    found = dr("switchover", "--yes", "--json", "--rate", "50", "--override", "lag=known", "--operator", "kim")
    (request,) = started
    override = Override(precondition="lag", reason="known", by="kim")
    wanted = plan.model_copy(update={"rate": 50.0})
    assert request.approval is not None
    assert request.approval.offer == Approval.given(wanted, (override,), "kim").offer
    for text in ("from the primary site", "aurora-secondary", "rate 50", "override of lag by kim: known"):
        assert text in found.stderr
    assert found.stdout == ""


@pytest.mark.parametrize(("answer", "runs"), [("y\n", 1), ("n\n", 0), ("", 0)])
def test_case_c2_a_prompt_approves_what_it_showed(started: list[Request], plan: Plan, answer: str, runs: int) -> None:
    dr("switchover", answer=answer)
    assert len(started) == runs
    for request in started:
        assert request.approval is not None
        assert request.approval.offer == Approval.given(plan, (), "kim").offer


def test_case_c2_a_dry_run_gives_the_token_that_approves_its_plan(started: list[Request], plan: Plan) -> None:
    shown = json.loads(dr("switchover", "--dry-run", "--json").stdout)
    assert shown["token"][:17] == token(plan, ())[:17]
    assert started == []
    dr("switchover", "--plan", shown["token"], "--operator", "lee")
    (request,) = started
    assert request.approval is not None
    assert (f"{request.approval.offer}@", request.approval.by) == (shown["token"][:17], "lee")
    refused = dr("switchover", "--plan", "yes")
    assert (refused.exit_code, "is not the token of a plan" in refused.stderr) == (1, True)
