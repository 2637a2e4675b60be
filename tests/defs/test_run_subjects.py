"""What run failures are about: a partition, assets, a run. The runs are Dagster's own."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dr_assets import utc
from dr_assets.monitoring.runs import RunSubject
from dr_assets.stack import Stack
from tests.defs.test_sensors import Bench, run_job, store_run
from tests.support.monitoring import S

DAYS = dg.StaticPartitionsDefinition(["2026-11-10", "2026-11-11", "a/b|c"])
TAGS = {"dr/stack": S}


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def bench(stack: Stack, tmp_path: Path, instance: dg.DagsterInstance) -> Bench:
    return Bench(stack, tmp_path, instance)


@pytest.fixture
def tick(bench: Bench) -> Callable[[], list[str]]:
    """One tick of `run_failure`; the steps that were delivered so far, without the stack."""

    def run() -> list[str]:
        bench.tick("run_failure", bench.at_now(utc.now()))
        return [key.removeprefix(f"{S}-") for key in bench.sns.keys]

    run()
    return run


class Assets:
    """Partitioned assets of which any may be made to fail."""

    def __init__(self, instance: dg.DagsterInstance, names: Sequence[str], partitions: Any = None) -> None:
        self.instance, self.failing = instance, set[str]()
        self.assets = [self._asset(name, partitions) for name in names]
        job = dg.define_asset_job("some_job", tags=TAGS)
        self.definitions = dg.Definitions(assets=self.assets, jobs=[job], executor=dg.in_process_executor)

    def _asset(self, name: str, partitions: Any) -> dg.AssetsDefinition:
        @dg.asset(name=name, partitions_def=partitions)
        def _asset() -> None:
            if name in self.failing:
                raise dg.Failure("on purpose", allow_retries=False)

        return _asset

    def run(self, *failing: str, job: str = "some_job", select: Sequence[str] = (), **more: Any) -> None:
        self.failing = set(failing)
        found = self.definitions.resolve_job_def(job)
        keys = [dg.AssetKey(name) for name in select]
        tags = {**TAGS, **more.pop("tags", {})}
        found.execute_in_process(
            instance=self.instance, raise_on_error=False, asset_selection=keys or None, tags=tags, **more
        )


def test_case_b4_a_partition_stays_open_until_that_partition_succeeds(
    instance: dg.DagsterInstance, tick: Callable[[], list[str]]
) -> None:
    assets = Assets(instance, ["a"], DAYS)
    assets.run("a", partition_key="2026-11-10")
    assert tick() == ["runs.some_job.2026-11-10-000001.opened"]
    assets.run(partition_key="2026-11-11")
    tick()
    assert tick() == ["runs.some_job.2026-11-10-000001.opened"]
    assets.run("a", partition_key="2026-11-11")
    assert tick()[1:] == ["runs.some_job.2026-11-11-000001.opened"]
    assets.run(partition_key="2026-11-10")
    assert tick()[2:] == ["runs.some_job.2026-11-10-000001.resolved"]
    assets.run(partition_key="2026-11-11")
    assert tick()[3:] == ["runs.some_job.2026-11-11-000001.resolved"]


def test_case_b4_a_partition_key_of_any_characters(instance: dg.DagsterInstance, tick: Callable[[], list[str]]) -> None:
    assets = Assets(instance, ["a"], DAYS)
    assets.run("a", partition_key="a/b|c")
    (opened,) = tick()
    assert opened.startswith("runs.some_job.a_b_c_") and opened.endswith("-000001.opened") and "/" not in opened
    assets.run(partition_key="a/b|c")
    assert tick()[1:] == [opened.replace("opened", "resolved")]


def test_case_b4_a_range_stays_open_until_each_of_its_partitions_succeeded(
    instance: dg.DagsterInstance, bench: Bench, tick: Callable[[], list[str]]
) -> None:
    assets = Assets(instance, ["a"], DAYS)
    ends = {"dagster/asset_partition_range_start": "2026-11-10", "dagster/asset_partition_range_end": "2026-11-11"}
    assets.run("a", tags=ends)
    (opened,) = tick()
    assert opened.startswith("runs.some_job.2026-11-10_2026-11-11_")
    assert "a [2026-11-10], a [2026-11-11]" in bench.sns.sent[0].text
    assets.run(partition_key="2026-11-10")
    assert len(tick()) == 1
    assets.run(partition_key="2026-11-11")
    assert tick()[1:] == [opened.replace("opened", "resolved")]


def test_case_b4_an_asset_run_from_the_ui_stays_open_until_that_asset_succeeds(
    instance: dg.DagsterInstance, tick: Callable[[], list[str]]
) -> None:
    assets = Assets(instance, ["a", "c"])
    assets.run("a", job="__ASSET_JOB", select=["a"])
    assert tick() == ["runs.asset.a-000001.opened"]
    assets.run(job="__ASSET_JOB", select=["c"])
    tick()
    assert tick() == ["runs.asset.a-000001.opened"]
    assets.run(job="__ASSET_JOB", select=["a"])
    assert tick()[1:] == ["runs.asset.a-000001.resolved"]


def test_case_b4_two_assets_are_closed_by_two_runs(
    instance: dg.DagsterInstance, bench: Bench, tick: Callable[[], list[str]]
) -> None:
    assets = Assets(instance, ["a", "b", "c"])
    assets.run("a", "b")
    assert tick() == ["runs.some_job-000001.opened"]
    assert "failed; not done since: a, b" in bench.sns.sent[0].text
    assets.run("b", select=["a", "b"])  # a subset of the job, which fails again
    assert len(tick()) == 2
    assets.run(job="__ASSET_JOB", select=["b"])
    # What the subset left is done, too.
    assert sorted(tick()[2:])[0].startswith("runs.some_job") and len(tick()) == 4
    assert all(each.endswith(".resolved") for each in tick()[2:])


def test_case_b4_a_verification_that_found_the_resource_absent_mends_no_failed_provisioning(
    instance: dg.DagsterInstance, tick: Callable[[], list[str]]
) -> None:
    status = {"now": "failing"}

    @dg.asset
    def a() -> dg.MaterializeResult[None]:
        if status["now"] == "failing":
            raise dg.Failure("on purpose", allow_retries=False)
        return dg.MaterializeResult(metadata={"status": status["now"]})

    jobs = [dg.define_asset_job(name, tags=TAGS) for name in ("provision_stack", "verify_stack")]
    definitions = dg.Definitions(assets=[a], jobs=jobs, executor=dg.in_process_executor)

    def run(job: str, found: str) -> None:
        status["now"] = found
        definitions.resolve_job_def(job).execute_in_process(instance=instance, raise_on_error=False)

    run("provision_stack", "failing")
    run("verify_stack", "absent")
    tick()
    assert tick() == ["runs.provision_stack-000001.opened"]
    run("verify_stack", "in_sync")
    assert tick()[1:] == ["runs.provision_stack-000001.resolved"]


def test_case_b4_a_cancelled_run_stays_open_until_its_partition_succeeds(
    instance: dg.DagsterInstance, tick: Callable[[], list[str]]
) -> None:
    tags = {"dr/stack": S, "dagster/partition": "2026-11-10"}
    store_run(instance, "some_job", dg.DagsterRunStatus.CANCELED, tags=tags)
    assert tick() == ["runs.some_job.2026-11-10-000001.opened"]
    run_job(instance, "some_job", fails=False)
    assert len(tick()) == 1
    assets = Assets(instance, ["a"], DAYS)
    assets.run(partition_key="2026-11-10")
    assert tick()[1:] == ["runs.some_job.2026-11-10-000001.resolved"]


def test_case_b5_a_run_deleted_in_progress_alerts_until_its_job_succeeds(
    instance: dg.DagsterInstance, bench: Bench, tick: Callable[[], list[str]]
) -> None:
    run = store_run(instance, "provision_stack", dg.DagsterRunStatus.STARTED)
    assert tick() == []
    instance.delete_run(run)
    assert tick() == ["runs.provision_stack-000001.opened"]
    assert f"run {run} was deleted while in progress" in bench.sns.sent[0].text
    tick()
    run_job(instance, "provision_stack", fails=False)
    assert tick()[1:] == ["runs.provision_stack-000001.resolved"]


def test_case_b5_another_run_s_success_ends_no_long_run(
    instance: dg.DagsterInstance, tick: Callable[[], list[str]]
) -> None:
    run = store_run(instance, "failover_drill", dg.DagsterRunStatus.STARTED, hours=2)
    assert tick() == ["runs.failover_drill-000001.opened"]
    run_job(instance, "failover_drill", fails=False)
    tick()
    assert len(tick()) == 1
    instance.report_run_canceled(instance.get_run_by_id(run))  # type: ignore[arg-type]
    tick()
    assert len(tick()) == 1
    run_job(instance, "failover_drill", fails=False)
    assert tick()[1:] == ["runs.failover_drill-000001.resolved"]


def test_case_b4_a_cursor_of_the_former_version_stays_open_until_the_job_succeeds(
    instance: dg.DagsterInstance, bench: Bench, tick: Callable[[], list[str]]
) -> None:
    since = time.time() - 600
    raised = {"watched": since, "at": since, "value": 0.0, "breach_at": since, "since": since, "raised": True}
    bench.cursors["run_failure"] = json.dumps(
        {
            "schema": "dr-assets/sensor-state/1",
            "heartbeat": 0.0,
            "tracks": {f"{S}/global/dagster/some_job": raised},
            "more": {"since": since},
        }
    )
    assert tick() == ["runs.some_job-000001.opened"]
    run_job(instance, "other_job", fails=False)
    assert len(tick()) == 1
    run_job(instance, "some_job", fails=False)
    assert tick()[1:] == ["runs.some_job-000001.resolved"]


def test_a_failed_run_that_is_read_twice_opens_nothing_anew(
    instance: dg.DagsterInstance, bench: Bench, tick: Callable[[], list[str]]
) -> None:
    run_job(instance, "some_job", fails=True)
    run_job(instance, "some_job", fails=False)
    before = list(tick())
    for _ in range(3):
        assert tick() == before
    cursor = json.loads(bench.cursors["run_failure"] or "")
    cursor["more"].pop("ended_runs")
    bench.cursors["run_failure"] = json.dumps(cursor)
    assert tick() == before


@pytest.mark.parametrize("subject", [RunSubject("a"), RunSubject("a", "p/[|]?"), RunSubject("a", "", "x and 2 more")])
def test_a_subject_survives_a_cursor(subject: RunSubject) -> None:
    assert RunSubject.parse(subject.metric) == subject
