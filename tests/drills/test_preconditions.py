"""What blocks a drill, and what an override lifts; the lag as CloudWatch shows it, minutes late."""

from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import pytest

from dr_assets.aws import Aws
from dr_assets.core.freshness import Known
from dr_assets.drills import postconditions
from dr_assets.drills.aws_view import AwsView
from dr_assets.drills.parts import Condition, Override, current_name
from dr_assets.drills.plan import Plan
from dr_assets.drills.preconditions import PRECONDITIONS, blocking, evaluate
from dr_assets.resources.alarms import lag_metric
from dr_assets.stack import Stack

FAILED = Condition(name="alert-subscription-confirmed", passed=False, reason="no confirmed subscription")
UNKNOWN = Condition(name="lag", passed=None, reason="unknown: no reading")
HOLDS = Condition(name="parity", passed=True, reason=None)


def test_failed_and_unknown_block_alike() -> None:
    assert blocking([FAILED, UNKNOWN, HOLDS], []) == [FAILED, UNKNOWN]


def test_an_override_lifts_its_own_precondition_alone() -> None:
    override = Override(precondition="lag", reason="the region is gone", by="lee")
    assert blocking([FAILED, UNKNOWN], [override]) == [FAILED]


def test_an_override_may_still_use_the_earlier_name() -> None:
    override = Override(precondition="someone-hears", reason="known", by="lee")
    assert blocking([FAILED], [override]) == []
    assert current_name("someone-hears") in PRECONDITIONS
    assert "someone-hears" not in PRECONDITIONS


NOON = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)


class LateCloudWatch:
    """Minutes of replication lag (milliseconds), each readable `delay` seconds after it ended, with the time of its beginning."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, delay: float, minutes: dict[int, float]) -> None:
        self.delay, self.minutes, self.now = delay, minutes, NOON
        monkeypatch.setattr("dr_assets.utc.now", lambda: self.now)
        monkeypatch.setattr(AwsView, "call", self.call)

    def at(self, second: float) -> None:
        self.now = NOON + timedelta(seconds=second)

    def call(self, service: str, operation: str, region: str, **params: Any) -> dict[str, Any]:
        """In place of `AwsView.call`: the reader, and its metric."""
        if operation == "describe_global_clusters":
            arn = "arn:aws:rds:{}:123456789012:cluster:aurora-{}-l6p3z2w4"
            members = [(arn.format("us-east-1", "primary"), True), (arn.format("us-west-2", "secondary"), False)]
            return {
                "GlobalClusters": [{"GlobalClusterMembers": [{"DBClusterArn": a, "IsWriter": w} for a, w in members]}]
            }
        if operation == "list_metrics":
            return {"Metrics": []}
        second = (self.now - NOON).total_seconds()
        points = sorted((m for m in self.minutes if (m + 1) * 60 + self.delay <= second), reverse=True)
        return {
            "MetricDataResults": [
                {
                    "Id": query["Id"],
                    "Timestamps": [NOON + timedelta(minutes=m) for m in points],
                    "Values": [self.minutes[m] for m in points],
                }
                for query in params["MetricDataQueries"]
                if len(query["MetricStat"]["Metric"]["Dimensions"]) == 2
            ]
        }


@pytest.mark.parametrize("delay", [60.0, 120.0])
def test_aws_05_the_lag_is_fresh_at_every_second_though_cloudwatch_is_late(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, delay: float
) -> None:
    """Up to two minutes late (CloudWatch user guide): a healthy reader never blocks a drill, a silent one soon does."""
    cloud = LateCloudWatch(monkeypatch, delay, dict.fromkeys(range(20), 80.0))
    view = AwsView(stack, Aws(), "failover", from_site="primary", to_site="secondary")

    def lag() -> bool | None:
        (condition,) = evaluate(view, {"lag": PRECONDITIONS["lag"]})
        return condition.passed

    for second in range(300, 1200):
        cloud.at(second)
        assert lag() is True, second
    cloud.at(1200 + 301)  # the last minute began at 1140
    assert lag() is None
    cloud.minutes[25] = 5000.0
    cloud.at(26 * 60 + delay)
    assert lag() is False


@pytest.mark.parametrize("delay", [60.0, 120.0])
def test_aws_05_a_late_lag_of_before_the_move_does_not_prove_that_the_reader_is_back(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, delay: float
) -> None:
    """A failback soon after a switchover: the secondary's newest readings are of when it was a reader before, and look fresh."""
    plan = Plan(
        scenario="failback",
        stack=stack.environment_suffix,
        from_site="secondary",
        to_site="primary",
        from_region="us-west-2",
        to_region="us-east-1",
    )
    monkeypatch.setattr(AwsView, "global_cluster", {"GlobalClusterMembers": []})
    monkeypatch.setattr(AwsView, "target_arn", "arn")
    monkeypatch.setattr(AwsView, "target_cluster", {"Status": "available"})
    monkeypatch.setattr(AwsView, "target_instances", [{"DBInstanceStatus": "available"}])
    cloud = LateCloudWatch(monkeypatch, delay, dict.fromkeys(range(10), 80.0))
    moved = NOON + timedelta(seconds=11 * 60 + 30)

    def unprotected() -> str | None:
        return postconditions.unprotected(stack, Aws(), plan, moved)

    for second in range(11 * 60 + 30, 16 * 60):
        cloud.at(second)
        assert unprotected() == "the secondary cluster reports no lag yet", second
    cloud.minutes[11] = 80.0  # replicates again since the same minute
    cloud.at(12 * 60 + delay)
    assert unprotected() is None


@pytest.mark.parametrize("step", [-300.0, 0.0, 300.0])
def test_case_e8_the_age_of_a_lag_is_by_the_clock_that_stamped_it(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, step: float
) -> None:
    """Our clock set by five minutes in the midst of a drill: the newest reading is asked for, and neither old nor of the future.

    AWS's answers bear its time (RFC 9110, 6.6.1, Date)."""
    asked: dict[str, Any] = {}
    at, shapes = NOON - timedelta(minutes=2), lag_metric.shapes(stack, "secondary")

    def answer(_view: AwsView, _service: str, _operation: str, _region: str, **params: Any) -> dict[str, Any]:
        asked.update(params)
        empty = [{"Id": f"shape{n}", "Timestamps": [], "Values": []} for n in range(1, len(shapes))]
        found = [{"Id": "shape0", "Timestamps": [at], "Values": [80.0]}, *empty]
        return {
            "MetricDataResults": found,
            "ResponseMetadata": {"HTTPHeaders": {"date": format_datetime(NOON, usegmt=True)}},
        }

    monkeypatch.setattr(AwsView, "call", answer)
    monkeypatch.setattr("dr_assets.utc.now", lambda: NOON + timedelta(seconds=step))
    found = AwsView(stack, Aws(), "failover", from_site="primary", to_site="secondary").lag()
    assert found == Known(80.0, at, 60.0)
    assert asked["StartTime"] < at < asked["EndTime"]
