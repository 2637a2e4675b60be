"""Provisioning writes nothing before the preflight passes, records what was skipped, and asks little where little is to be done."""

from typing import Any

import boto3
import dagster as dg
import pytest

from dr_assets.aws import Aws
from dr_assets.cli.run_job import provision_config, run_job
from dr_assets.core.model import Outcome
from dr_assets.defs.stack.preflight import record_preflight
from dr_assets.emulator import EmbeddedAws
from dr_assets.errors import DrError, UnansweredError
from dr_assets.preflight import service
from dr_assets.preflight.service import CHECKS, PreflightError, before_writing, parse_skips
from dr_assets.reconcile.stack_state import StackState
from dr_assets.stack import Stack


def loaded(stack: Stack) -> StackState:
    state = StackState(stack, Aws())
    state.snapshot()
    return state


def test_aws_01_nothing_is_written_when_a_version_cannot_be_created(empty_aws: EmbeddedAws, stack: Stack) -> None:
    """Versions retire: a run that would find that out with the cluster, after half of the stack, stops before its first write."""
    empty_aws.control.answers(engine_versions=["14.6", "14.12", "14.17", "14.20", "15.12"])
    result = run_job(stack, "provision_stack", provision_config(poll_seconds=0.05))
    assert not result.success
    assert any("engine-version" in text and "14.17 or 14.12" in text for text in result.failures), result.failures[:1]
    assert [call["operation"] for call in empty_aws.control.calls() if call["mutating"]] == []


def test_what_is_skipped_and_unknown_stands_in_the_runs_tags(
    empty_aws: EmbeddedAws, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty_aws.control.fault("error", service="servicequotas", code="AccessDenied")
    report = before_writing(loaded(stack), skips={"regions": "checked by hand"})
    assert report is not None
    tags: dict[str, Any] = {}

    class Instance:
        def add_run_tags(self, run_id: str, added: dict[str, str]) -> None:
            tags.update(added)

    class Run:
        run_id = "r"

    class Context:
        run, instance = Run(), Instance()
        log = dg.get_dagster_logger()

    record_preflight(Context(), report)
    assert tags["dr/preflight"] == "passed"
    assert tags["dr/preflight/regions"] == "skipped: checked by hand"
    assert tags["dr/preflight/quota-vpcs"] == "unknown"
    assert "dr/preflight/engine-version" not in tags
    assert "DescribeRegions" not in {call["operation"] for call in empty_aws.control.calls()}


def test_a_first_provisioning_asks_within_its_budget(empty_aws: EmbeddedAws, stack: Stack) -> None:
    state = loaded(stack)
    before = len(empty_aws.control.calls())
    assert before_writing(state) is not None
    assert len(empty_aws.control.calls()) - before <= 90, (
        "a fraction of the calls that creating a hundred resources takes"
    )
    assert not [call for call in empty_aws.control.calls() if call["mutating"]]


def test_only_what_is_to_be_created_is_asked_about(empty_aws: EmbeddedAws, stack: Stack) -> None:
    """A run for one topic asks for no engine version, no zone and no quota but its own."""
    state = loaded(stack)
    before = len(empty_aws.control.calls())
    report = before_writing(state, ["primary/notifications/topic"])
    assert report is not None
    asked = {call["operation"] for call in empty_aws.control.calls()[before:]}
    assert "ListTopics" in asked
    assert not asked & {
        "DescribeDBEngineVersions",
        "DescribeAvailabilityZones",
        "DescribeAccountAttributes",
        "ListKeys",
    }


def test_an_essential_check_is_asked_again_before_it_blocks(
    empty_aws: EmbeddedAws, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = loaded(stack)
    empty_aws.control.fault("error", operation="DescribeDBEngineVersions", code="AccessDenied")
    with pytest.raises(PreflightError, match=r"engine-version.*AccessDenied"):
        before_writing(state)
    monkeypatch.setattr(service.time, "sleep", lambda _: empty_aws.control.clear_faults())
    assert before_writing(state) is not None


def test_a_dark_region_does_not_keep_the_other_from_being_corrected(
    empty_aws: EmbeddedAws, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One region's resources are unknown, and one thing is absent in the other: what is unknown is not to be created."""
    state = loaded(stack)
    topic = "primary/notifications/topic"
    real = service.converge

    def converge(resource: Any, driver: Any, write: bool) -> Outcome:
        return real(resource, driver, write) if resource.key == topic else Outcome(resource.key, "unknown")

    def observe(resource: Any) -> Any:
        if resource.key != topic:
            raise UnansweredError("us-west-2: no answer")

    monkeypatch.setattr(service, "converge", converge)
    monkeypatch.setattr(state, "observe", observe)
    report = before_writing(state)
    assert report is not None
    assert report.passes


def test_someone_elses_resource_stops_the_first_provisioning_only(empty_aws: EmbeddedAws, stack: Stack) -> None:
    """Later each step refuses for itself: what can be corrected is."""
    ec2 = boto3.client("ec2", stack.primary_region)
    name = {"Key": "Name", "Value": f"aurora-dr-primary-{stack.environment_suffix}"}
    ec2.create_vpc(CidrBlock="10.9.0.0/16", TagSpecifications=[{"ResourceType": "vpc", "Tags": [name]}])
    state = loaded(stack)
    with pytest.raises(PreflightError, match="primary/network/vpc exist and belong to someone else"):
        before_writing(state)


@pytest.mark.parametrize(
    ("text", "problem"),
    [("quota-vpc=x", "no preflight check 'quota-vpc'"), ("quota-vpcs", "no reason"), ("quota-vpcs= ", "no reason")],
)
def test_a_skip_names_a_check_and_a_reason(text: str, problem: str) -> None:
    with pytest.raises(DrError, match=problem):
        parse_skips([text])
    assert parse_skips(["quota-vpcs=case 1=2"]) == {"quota-vpcs": "case 1=2"}


def test_names_are_unique_and_essential_checks_can_block() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    assert all(check.when != "report" for check in CHECKS if check.essential)
