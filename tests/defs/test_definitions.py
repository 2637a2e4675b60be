"""definitions.py as Dagster loads it: assets, edges, checks, jobs, schedule; and no call to anything at load."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from pydantic import ValidationError

from dr_assets.defs.definitions import build_definitions
from dr_assets.defs.monitoring import checks
from dr_assets.defs.resources import AwsStack
from dr_assets.resources.catalog import catalog
from dr_assets.stack import SITES, Stack
from tests.support.monitoring import SENSORS

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def repo(stack: Stack) -> Any:
    return build_definitions(stack).get_repository_def()


def edges(repo: Any) -> set[tuple[str, str]]:
    graph = repo.asset_graph
    return {
        ("/".join(parent.path), "/".join(key.path))
        for key in graph.get_all_asset_keys()
        for parent in graph.get(key).parent_keys
    }


def test_dagster_accepts_the_entry_point(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dagster", "definitions", "validate", "-w", "workspace.yaml"]
    env = {**os.environ, "DAGSTER_HOME": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_loading_calls_nothing(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("something was called while loading")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    build_definitions(stack).get_repository_def()


def test_every_resource_is_an_asset_with_its_needs_as_edges(repo: Any, stack: Stack) -> None:
    resources = catalog(stack)
    found = edges(repo)
    for resource in resources:
        for need in resource.needs:
            assert (need, resource.key) in found
    keys = {"/".join(key.path) for key in repo.asset_graph.get_all_asset_keys()}
    assert {resource.key for resource in resources} <= keys


def contract_edges() -> list[tuple[str, str]]:
    """The column "needs" of the contract, written out by hand: the catalogue must not be the only judge of itself."""
    rows = []
    for site in SITES:
        a = f"{site}/"
        rows += [(a + "network/vpc", f"{a}network/subnet-{n}") for n in (1, 2, 3)]
        rows += [(f"{a}network/subnet-{n}", a + "network/db-subnet-group") for n in (1, 2, 3)]
        rows += [(f"{a}network/subnet-{n}", f"{a}network/route-table-association-{n}") for n in (1, 2, 3)]
        rows += [
            (a + "network/vpc", a + "network/security-group"),
            (a + "encryption/data-key", a + "encryption/data-alias"),
            (a + "encryption/notifications-key", a + "encryption/notifications-alias"),
            (a + "identity/monitoring-role", a + "identity/monitoring-attachment"),
            ("global/aurora/global-cluster", a + "aurora/cluster"),
            (a + "network/db-subnet-group", a + "aurora/cluster"),
            (a + "aurora/cluster-parameter-group", a + "aurora/cluster"),
            (a + "network/security-group", a + "aurora/cluster"),
            (a + "encryption/data-key", a + "aurora/cluster"),
            (a + "aurora/log-group", a + "aurora/cluster"),
            (a + "aurora/cluster", a + "credentials/version"),
            (a + "credentials/secret", a + "credentials/version"),
            (a + "backup/bucket", a + "backup/versioning"),
            (a + "backup/bucket", a + "backup/encryption"),
            (a + "backup/bucket", a + "backup/public-access-block"),
            (a + "backup/bucket", a + "backup/policy"),
            (a + "backup/bucket", a + "backup/lifecycle"),
            (a + "encryption/notifications-key", a + "notifications/topic"),
            (a + "notifications/topic", a + "notifications/topic-policy"),
            (a + "notifications/topic", a + "notifications/queue-subscription"),
            (a + "notifications/queue", a + "notifications/queue-subscription"),
            (a + "notifications/dead-letter-queue", a + "notifications/queue"),
            (a + "notifications/topic", a + "notifications/event-subscription"),
            (a + "aurora/cluster", a + "notifications/event-subscription"),
            (a + "aurora/cluster", f"global/dns/record-{site}"),
            (a + "monitoring/alarm-connectivity", a + "dns/health-check"),
            (a + "network/vpc", "global/network/peering"),
            (a + "network/vpc", "global/dns/zone"),
            (a + "backup/bucket", "global/backup/replication-role-policy"),
        ]
        rows += [(f"{a}aurora/cluster", f"{a}aurora/instance-{n}") for n in (1, 2)]
        rows += [(f"{a}aurora/instance-parameter-group", f"{a}aurora/instance-{n}") for n in (1, 2)]
        rows += [(f"{a}identity/monitoring-role", f"{a}aurora/instance-{n}") for n in (1, 2)]
        for alarm in ("replication-lag", "rpo-lag", "cpu", "connections"):
            rows.append((a + "aurora/cluster", f"{a}monitoring/alarm-{alarm}"))
        for alarm in ("replication-lag", "rpo-lag", "cpu", "connections", "connectivity"):
            rows.append((a + "notifications/topic", f"{a}monitoring/alarm-{alarm}"))
        for direction in SITES:
            rows.append((a + "backup/versioning", f"global/backup/replication-from-{direction}"))
    rows += [
        ("primary/monitoring/alarm-connectivity", "global/dns/health-check-seen-home"),
        ("secondary/monitoring/alarm-takes-writes", "global/dns/health-check-not-moved"),
        ("global/dns/health-check-seen-home", "global/dns/health-check-home"),
        ("global/dns/health-check-not-moved", "global/dns/health-check-home"),
        ("secondary/dns/health-check", "global/dns/health-check-failover"),
        ("global/dns/health-check-home", "global/dns/record-primary"),
        ("global/dns/health-check-failover", "global/dns/record-secondary"),
    ]
    rows += [(f"primary/aurora/instance-{n}", "secondary/aurora/cluster") for n in (1, 2)]
    rows += [("global/backup/replication-role", f"global/backup/replication-from-{site}") for site in SITES]
    return rows


@pytest.mark.parametrize(("need", "key"), contract_edges(), ids=lambda value: value)
def test_the_contracts_edges_are_there(stack: Stack, need: str, key: str) -> None:
    by_key = {resource.key: resource for resource in catalog(stack)}
    assert need in by_key[key].needs


def test_every_asset_has_what_a_reader_of_the_ui_expects(repo: Any, stack: Stack) -> None:
    graph = repo.asset_graph
    for resource in catalog(stack):
        node = graph.get(dg.AssetKey(resource.key.split("/")))
        assert node.group_name == f"{resource.area}_{resource.site}"
        assert "aws" in node.kinds
        assert node.owners
        assert len(node.description) > 20
        assert node.code_version
        assert node.tags["site"] == resource.site


def test_declared_checks_and_no_others(repo: Any, stack: Stack) -> None:
    declared = {(("/".join(key.asset_key.path)), key.name) for key in repo.asset_graph.asset_check_keys}
    own = {(resource.key, "desired_state") for resource in catalog(stack)}
    objective = {("/".join(spec.asset_key.path), spec.name) for spec in checks.objective_checks(stack)}
    assert own | objective <= declared
    groups = {key: repo.asset_graph.get(dg.AssetKey(key.split("/"))).group_name for key, _ in declared}
    evidence = {(key, name) for key, name in declared if groups[key] in ("history", "reports")}
    # The last step of a provisioning run.
    provisioned = {(key, name) for key, name in declared if name == "provisioned"}
    assert len(provisioned) == 1
    parity = declared - own - objective - evidence - provisioned
    assert {name for _, name in parity} == {"parity"}
    assert len(parity) >= 20
    for key in (
        "aurora/cluster-parameter-group",
        "aurora/instance-1",
        "monitoring/alarm-cpu",
        "notifications/topic",
        "notifications/event-subscription",
        "encryption/data-key",
        "credentials/version",
    ):
        assert (f"secondary/{key}", "parity") in parity


@pytest.mark.parametrize("job", ["verify_stack", "provision_stack"])
def test_verifying_neither_runs_nor_expects_what_the_sensors_evaluate(repo: Any, job: str) -> None:
    nodes = repo.get_job(job).graph.node_dict
    assert "site_parity" in nodes
    assert "latest_sensor_evaluation" not in nodes


def test_a_fresh_instance_verifies_and_keeps_its_history_and_does_nothing_else(repo: Any) -> None:
    running = {each.name for each in repo.schedule_defs if each.default_status == dg.DefaultScheduleStatus.RUNNING}
    assert running == {"verify_hourly", "history_daily"}
    assert {each.name for each in repo.schedule_defs} == running | {"switchover_weekly", "report_monthly"}
    assert {each.execution_timezone for each in repo.schedule_defs} == {"UTC"}
    assert {each.name for each in repo.sensor_defs} == set(SENSORS)
    assert all(each.default_status == dg.DefaultSensorStatus.STOPPED for each in repo.sensor_defs)


def test_only_the_writer_s_sensor_may_launch_anything_and_only_a_failover(repo: Any) -> None:
    targets = {each.name: [target.job_name for target in each.targets] for each in repo.sensor_defs}
    assert {name: jobs for name, jobs in targets.items() if jobs} == {"health_checks": ["failover_drill"]}
    assert repo.has_job("failover_drill")


def evaluate(stack: Stack, instance: dg.DagsterInstance, key: str) -> Any:
    """Run the check alone, as from its button in the UI."""
    check = dg.AssetCheckKey(dg.AssetKey(key.split("/")), checks.CHECK)
    job = build_definitions(stack).resolve_implicit_global_asset_job_def().get_subset(asset_check_selection={check})
    result = job.execute_in_process(instance=instance)
    assert result.success
    return result.get_asset_check_evaluations()


@pytest.mark.parametrize("stale", [False, True])
@pytest.mark.parametrize("passed", [True, False])
def test_a_run_repeats_the_latest_sensor_evaluation(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, passed: bool, stale: bool
) -> None:
    key = "primary/aurora/cluster"
    with dg.DagsterInstance.ephemeral() as instance:
        assert evaluate(stack, instance, key) == []  # no sensor has evaluated it yet: neither good nor bad
        severity = dg.AssetCheckSeverity.ERROR
        latest = dg.AssetCheckEvaluation(
            check_name=checks.CHECK,
            asset_key=dg.AssetKey(key.split("/")),
            passed=passed,
            description="fine",
            severity=severity,
        )
        instance.report_runless_asset_event(latest)
        monkeypatch.setattr(checks, "STALE_SECONDS", -1.0 if stale else 1500.0)
        for _ in range(2):  # evaluations that belong to a run do not count
            (found,) = evaluate(stack, instance, key)
            assert found.passed == (passed and not stale)
            assert found.description.startswith("unknown: " if stale else "fine")
            assert found.severity == (dg.AssetCheckSeverity.WARN if passed and stale else severity)


def test_jobs_and_schedule(repo: Any) -> None:
    assert {"verify_stack", "provision_stack", "destroy_stack"} <= set(repo.job_names)
    schedule = repo.get_schedule_def("verify_hourly")
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("0 * * * *", "UTC")
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING


def test_the_verify_job_verifies_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch, repo: Any) -> None:
    monkeypatch.setenv("DR_MODE", "provision")
    config = repo.get_job("verify_stack").run_config
    assert config["resources"]["aws"]["config"]["mode"] == "verify"


def test_a_misspelt_mode_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:

    monkeypatch.setenv("DR_MODE", "provison")
    with pytest.raises(dg.Failure, match=r"'provison' does not exist: use 'verify' or 'provision'"):
        _ = AwsStack().effective_mode
    monkeypatch.delenv("DR_MODE")
    assert AwsStack().effective_mode == "verify"
    assert AwsStack(mode="provision").writes


@pytest.mark.parametrize("field", ["poll_seconds", "wait_seconds"])
@pytest.mark.parametrize("value", [-1.0, 1e12, float("nan"), float("inf")])
def test_case_c3_how_long_a_run_waits_is_bounded(field: str, value: float) -> None:
    with pytest.raises(ValidationError, match=field):
        AwsStack(**{field: value})
