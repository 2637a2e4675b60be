"""The schedules: names, cron expressions in UTC, which of them run by themselves, and what they request."""

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dr_assets.defs.drills.jobs import DrillSession, build_drill_jobs
from dr_assets.defs.drills.schedules import build_drill_schedules, drill_config, is_production
from dr_assets.defs.reports.schedules import build_report_schedules
from dr_assets.defs.stack.schedules import build_verify_schedule
from dr_assets.history import samples
from dr_assets.history.store import FolderStore
from dr_assets.stack import Stack, parse_stack
from tests.support.monitoring import S


def schedules(stack: Stack) -> list[dg.ScheduleDefinition]:
    return [build_verify_schedule(), *build_drill_schedules(stack), *build_report_schedules(stack=stack)]


def test_schedules_are_utc_and_stopped_but_for_verification_and_history(stack: Stack) -> None:
    assert {each.name: each.default_status.value for each in schedules(stack)} == {
        "verify_hourly": "RUNNING",
        "history_daily": "RUNNING",
        "switchover_weekly": "STOPPED",
        "report_monthly": "STOPPED",
    }
    assert all(each.execution_timezone == "UTC" for each in schedules(stack))
    assert {each.name: each.cron_schedule for each in schedules(stack)} == {
        "verify_hourly": "0 * * * *",
        "history_daily": "30 0 * * *",
        "switchover_weekly": "0 10 * * 2",
        "report_monthly": "0 6 1 * *",
    }


def test_production_has_no_scheduled_drill(raw_stack: dict[str, Any]) -> None:
    production = parse_stack({**raw_stack, "tags": {"Environment": "Production"}})
    assert is_production(production)
    assert [each.name for each in schedules(production)] == ["verify_hourly", "history_daily", "report_monthly"]


def test_the_scheduled_drill_s_config_is_what_the_job_takes(stack: Stack) -> None:
    job = next(job for job in build_drill_jobs(stack) if job.name == "switchover_drill")
    at = datetime(2026, 11, 24, 10, tzinfo=timezone.utc)
    assert dg.validate_run_config(job, drill_config("switchover", at))
    weekly = next(each for each in build_drill_schedules(stack) if each.name == "switchover_weekly")
    definitions = dg.Definitions(jobs=[job], schedules=[weekly], resources={"drills": DrillSession()})
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_schedule_context(
            instance, scheduled_execution_time=at, repository_def=definitions.get_repository_def()
        )
        (request,) = weekly.evaluate_tick(context).run_requests or []
    config = request.run_config["ops"]["switchover_preconditions"]["config"]
    assert config["plan"] == "schedule@20261124T100000Z"


def test_history_requests_yesterday() -> None:
    @dg.asset(partitions_def=dg.DailyPartitionsDefinition("2026-11-01"))
    def history_asset() -> None: ...

    job = dg.define_asset_job("history", selection=dg.AssetSelection.assets(history_asset))
    daily = next(each for each in build_report_schedules("history") if each.name == "history_daily")
    definitions = dg.Definitions(assets=[history_asset], jobs=[job], schedules=[daily])
    moment = datetime(2026, 11, 24, 0, 30, tzinfo=timezone.utc)
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_schedule_context(
            instance, scheduled_execution_time=moment, repository_def=definitions.get_repository_def()
        )
        (request,) = daily.evaluate_tick(context).run_requests or ()
    assert request.partition_key == "2026-11-23"


def test_aws_05_incomplete_days_are_requested_again_while_cloudwatch_has_them(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CloudWatch keeps one-minute datapoints for 15 days (CloudWatch API, GetMetricData)."""
    monkeypatch.setenv("DR_HISTORY_URI", str(tmp_path))
    row = {"site": "secondary", "metric": "rpo-lag", "unit": "ms", "source": "metric"}
    for day, minutes in (("2026-11-01", 3), ("2026-11-20", 1440), ("2026-11-21", 1438), ("2026-11-22", 1440)):
        begin = datetime.fromisoformat(f"{day}T00:00:00+00:00")
        rows = [{"at": begin + timedelta(minutes=n), "value": 1.0, **row} for n in range(minutes)]
        samples.merge_day(FolderStore(tmp_path), S, "lag", begin.date(), samples.to_table(rows), [])

    @dg.asset(partitions_def=dg.DailyPartitionsDefinition("2026-11-01"))
    def history_asset() -> None: ...

    job = dg.define_asset_job("history", selection=dg.AssetSelection.assets(history_asset))
    daily = next(each for each in build_report_schedules("history", stack) if each.name == "history_daily")
    definitions = dg.Definitions(assets=[history_asset], jobs=[job], schedules=[daily])
    moment = datetime(2026, 11, 24, 0, 30, tzinfo=timezone.utc)
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_schedule_context(
            instance, scheduled_execution_time=moment, repository_def=definitions.get_repository_def()
        )
        requests = daily.evaluate_tick(context).run_requests or ()
    asked = [str(request.partition_key) for request in requests]
    assert asked[0] == "2026-11-23"
    assert asked[1:] == [*(f"2026-11-{day:02}" for day in range(10, 20)), "2026-11-21"]
    assert len({request.run_key for request in requests}) == len(requests)


def evaluated(stack: Stack, instance: dg.DagsterInstance) -> list[str]:
    """The partitions that `history_daily` requests at 00:30 on 24 November."""

    @dg.asset(partitions_def=dg.DailyPartitionsDefinition("2026-11-01"))
    def history_asset() -> None: ...

    job = dg.define_asset_job("history", selection=dg.AssetSelection.assets(history_asset))
    daily = next(each for each in build_report_schedules("history", stack) if each.name == "history_daily")
    definitions = dg.Definitions(assets=[history_asset], jobs=[job], schedules=[daily])
    moment = datetime(2026, 11, 24, 0, 30, tzinfo=timezone.utc)
    context = dg.build_schedule_context(
        instance, scheduled_execution_time=moment, repository_def=definitions.get_repository_def()
    )
    return [str(request.partition_key) for request in daily.evaluate_tick(context).run_requests or ()]


@pytest.mark.parametrize("failing", ["open_store", "incomplete_days"])
def test_aws_05_yesterday_is_requested_whatever_happens_to_the_list_of_incomplete_days(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    def fail(*_: Any) -> Any:
        raise OSError("disk error")

    monkeypatch.setenv("DR_HISTORY_URI", str(tmp_path))
    monkeypatch.setattr(f"dr_assets.defs.reports.schedules.{failing}", fail)
    with dg.DagsterInstance.ephemeral() as instance:
        assert evaluated(stack, instance) == ["2026-11-23"]


def test_aws_05_a_day_whose_repeated_import_added_nothing_is_not_requested_again(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gap in AWS's own data stays; an import that could not read a source is repeated."""
    monkeypatch.setenv("DR_HISTORY_URI", str(tmp_path))
    row = {"site": "secondary", "metric": "rpo-lag", "unit": "ms", "source": "metric"}
    for number in range(19, 23):
        begin = datetime(2026, 11, number, tzinfo=timezone.utc)
        rows = [{"at": begin + timedelta(minutes=n), "value": 1.0, **row} for n in range(1000)]
        samples.merge_day(FolderStore(tmp_path), S, "lag", begin.date(), samples.to_table(rows), [])
    imports = {
        "2026-11-19": [(1000, "none"), (1000, "none")],
        "2026-11-20": [(900, "none"), (1000, "none")],
        "2026-11-21": [(1000, "none"), (1000, "us-west-2 does not answer")],
        "2026-11-22": [(1000, "none")],
    }
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        for day, several in imports.items():
            for known, problems in several:
                event = dg.AssetMaterialization(
                    "replication_samples",
                    partition=day,
                    metadata={"samples": known, "known_minutes": known, "problems": problems},
                )
                instance.report_runless_asset_event(event)
        assert evaluated(stack, instance) == ["2026-11-23", "2026-11-20", "2026-11-21", "2026-11-22"]


def test_the_report_covers_the_month_before() -> None:
    monthly = next(each for each in build_report_schedules() if each.name == "report_monthly")
    context = dg.build_schedule_context(scheduled_execution_time=datetime(2026, 11, 1, 6, tzinfo=timezone.utc))
    (request,) = monthly.evaluate_tick(context).run_requests or ()
    assert "2026-10-01" in str(request.run_config) and "2026-11-01" in str(request.run_config)
