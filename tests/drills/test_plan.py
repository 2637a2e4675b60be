"""The plan as data, and which calls a recovery may contain."""

from datetime import datetime, timezone

import pytest

from dr_assets.core.topology import NOTHING, Topology
from dr_assets.drills import runner
from dr_assets.drills.call_planes import forbidden_in_recovery, plane_of
from dr_assets.drills.parts import Condition, Override
from dr_assets.drills.plan import Plan, make_plan, new_id
from dr_assets.drills.preconditions import blocking, widened
from dr_assets.drills.request import Request
from dr_assets.errors import RefusedError
from dr_assets.stack import Stack
from tests.support.approvals import LEE

HOME = Topology(writer="primary", members={"primary": "a", "secondary": "b"})
AWAY = Topology(writer="secondary", members={"primary": "a", "secondary": "b"})


def test_planned_moves_are_called_at_the_writer_and_unplanned_ones_at_the_target(stack: Stack) -> None:
    assert make_plan(stack, "switchover", HOME).act_region == stack.primary_region
    assert make_plan(stack, "failover", HOME).act_region == stack.secondary_region
    assert make_plan(stack, "failback", AWAY).act_region == stack.secondary_region
    assert make_plan(stack, "failback", AWAY).to_site == "primary"


def test_what_cannot_be_planned_is_refused(stack: Stack) -> None:
    with pytest.raises(RefusedError, match="at home already"):
        make_plan(stack, "failback", HOME)
    with pytest.raises(RefusedError, match="dr provision"):
        make_plan(stack, "switchover", NOTHING)


def test_the_hash_changes_with_anything_that_would_be_done(stack: Stack) -> None:
    plans = [
        make_plan(stack, "switchover", HOME),
        make_plan(stack, "switchover", AWAY),
        make_plan(stack, "failover", HOME),
        make_plan(stack, "switchover", HOME, lag_gate_ms=5000.0),
    ]
    assert len({plan.hash for plan in plans}) == len(plans)
    assert plans[0].hash == make_plan(stack, "switchover", HOME).hash
    elsewhere = Topology(writer="primary", members={"primary": "a", "secondary": "in another account"})
    assert plans[0].hash != make_plan(stack, "switchover", elsewhere).hash


def test_a_whole_number_may_be_written_as_a_float_and_keeps_its_form(stack: Stack) -> None:
    """Dagster's configuration gives every number of `settings` as a float."""
    plan = make_plan(stack, "switchover", HOME, good_probes=5.0)
    assert plan.as_json()["good_probes"] == 5
    assert isinstance(plan.as_json()["good_probes"], float)
    assert dict(plan.describe())["recovered"].startswith("wait for 5.0 consecutive")
    for wrong in (5.5, "5", True, float("nan"), float("inf")):
        with pytest.raises(RefusedError, match="good_probes: not a"):
            make_plan(stack, "switchover", HOME, good_probes=wrong)


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_a_setting_that_is_not_finite_is_refused(stack: Stack, value: float) -> None:
    with pytest.raises(RefusedError, match="settings of the failover are wrong: lag_gate_ms: not a finite number"):
        make_plan(stack, "failover", HOME, lag_gate_ms=value)


def test_ids_sort_by_time_and_differ() -> None:
    at = datetime(2026, 11, 23, 19, 2, 11, tzinfo=timezone.utc)
    first, second = new_id("failover", at), new_id("failover", at)
    assert first.startswith("20261123T190211Z-failover-")
    assert first != second


def test_a_recovery_may_not_touch_the_failed_region_or_a_global_control_plane() -> None:
    calls = [
        ("rds", "failover_global_cluster", "us-west-2"),
        ("secretsmanager", "get_secret_value", "us-west-2"),
        ("rds", "describe_db_clusters", "us-east-1"),
        ("route53", "change_resource_record_sets", "us-east-1"),
        ("iam", "get_role", "us-east-1"),
    ]
    assert forbidden_in_recovery(calls, "us-east-1") == [
        "iam get_role: its control plane lives in us-east-1 alone",
        "rds describe_db_clusters in us-east-1, the failed region",
        "route53 change_resource_record_sets: its control plane lives in us-east-1 alone",
    ]
    assert forbidden_in_recovery(calls[:2], "us-east-1") == []
    assert plane_of("secretsmanager", "get_secret_value") == "data"
    assert plane_of("secretsmanager", "put_secret_value") == "control"


@pytest.mark.parametrize("value", [1e12, 60_001, 0, -1, float("nan")])
def test_case_c3_a_lag_gate_that_gates_nothing_is_refused(stack: Stack, value: float) -> None:
    """`--lag-gate nan` and `1e12` switched the gate off. The RPO (60 s) is the most that a gate may let through."""
    with pytest.raises(RefusedError, match=r"lag gate|lag_gate_ms"):
        make_plan(stack, "failover", HOME, lag_gate_ms=value)


@pytest.mark.parametrize(
    ("settings", "name"), [({"lag_gate_ms": 30_000.0}, "lag-gate"), ({"good_probes": 3}, "probes")]
)
def test_case_c3_a_gate_that_lets_more_through_blocks_until_a_person_overrides_it(
    stack: Stack, settings: dict[str, float], name: str
) -> None:
    """An override was made up from the reason of the whole drill; the lower number of good writes needed none."""
    assert widened(make_plan(stack, "failover", HOME)) == []
    (condition,) = widened(make_plan(stack, "failover", HOME, **settings))
    assert (condition.name, condition.passed) == (name, False)
    assert "in place of" in (condition.reason or "")
    assert blocking([condition], [Override(precondition="lag", reason="why", by="kim")]) == [condition]
    assert blocking([condition], [Override(precondition=name, reason="why", by="kim")]) == []


def test_case_c3_no_override_is_made_up() -> None:
    request = Request("failover", "kim", "the region is gone", approval=LEE, settings={"lag_gate_ms": 30_000.0})
    assert request.approved(()).overrides == ()


def test_case_c3_a_wider_gate_does_not_widen_the_proof_that_the_data_are_protected(stack: Stack) -> None:
    wide, narrow = (make_plan(stack, "failover", HOME, lag_gate_ms=gate) for gate in (30_000.0, 500.0))
    assert (wide.protected_lag_ms, narrow.protected_lag_ms) == (1000.0, 500.0)
    assert dict(wide.describe())["protected"].endswith("within 1000 ms")


@pytest.mark.parametrize(
    ("name", "reason", "by", "refusal"),
    [
        ("nonsense", "why", "kim", "There is no 'nonsense' to override, but: target-available, "),
        ("lag", " ", "kim", "takes a reason and the name of a person"),
        ("lag", "why", "", "takes a reason and the name of a person"),
        ("one-writer", "why", "kim", "one-writer cannot be overridden"),
    ],
)
def test_case_c3_an_override_names_what_it_lifts_why_and_who(
    stack: Stack, name: str, reason: str, by: str, refusal: str
) -> None:
    override = Override(precondition=name, reason=reason, by=by)
    with pytest.raises(RefusedError, match=refusal):
        runner.propose(stack, Request("failover", "kim", "a test", overrides=(override,)))


def test_case_c3_two_writers_block_whatever_is_overridden() -> None:
    two = Condition(name="one-writer", passed=False, reason="two writers")
    assert blocking([two], [Override(precondition="one-writer", reason="why", by="kim")]) == [two]


NUMBERS = [name for name, field in Plan.model_fields.items() if not field.is_required() and field.default is not None]


def test_case_c3_every_setting_of_a_plan_is_a_number_with_bounds() -> None:
    assert set(NUMBERS) == {
        "rate",
        "baseline_seconds",
        "good_probes",
        "probe_interval",
        "lag_gate_ms",
        "follow_seconds",
        "protect_seconds",
    }


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 0, -1, 1e-9, 1e9, 1e12, 1e300])
@pytest.mark.parametrize("name", NUMBERS)
def test_case_c3_every_number_of_a_plan_is_bounded(stack: Stack, name: str, value: float) -> None:
    with pytest.raises(RefusedError, match=f"settings of the failover are wrong: {name}"):
        make_plan(stack, "failover", HOME, **{name: value})


def test_case_c3_every_number_out_of_bounds_is_named_at_once(stack: Stack) -> None:
    with pytest.raises(RefusedError, match=r"rate is 0; it must lie between 1 and 1000; follow_seconds is 1e\+300"):
        make_plan(stack, "failover", HOME, rate=0, follow_seconds=1e300)


@pytest.mark.parametrize(("rpo", "widest"), [(60, 60_000.0), (604_800, 300_000.0)])
def test_case_c3_an_rpo_of_a_week_is_no_lag_gate(stack: Stack, rpo: int, widest: float) -> None:
    stack = stack.model_copy(update={"rpo_seconds": rpo})
    assert make_plan(stack, "failover", HOME, lag_gate_ms=widest).lag_gate_ms == widest
    with pytest.raises(RefusedError, match="lag_gate_ms"):
        make_plan(stack, "failover", HOME, lag_gate_ms=widest + 1)
