"""From CloudWatch to the evidence pack, as `dr report` does it and as Dagster does it, on the embedded AWS."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import boto3
import dagster as dg
import pytest
from click.testing import CliRunner, Result

from dr_assets.cli.main import main
from dr_assets.defs.definitions import build_definitions
from dr_assets.defs.reports.assets import report_config
from dr_assets.emulator import EmbeddedAws
from dr_assets.history import samples
from dr_assets.history.store import FolderStore
from dr_assets.resources.iam_policy import policy
from dr_assets.stack import Stack, load_stack
from tests.support.iam import action

pytestmark = pytest.mark.slow
MINUTES = 30


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FolderStore:
    monkeypatch.setenv("DR_HISTORY_URI", str(tmp_path / "history"))
    return FolderStore(tmp_path / "history")


@pytest.fixture(scope="module")
def begun(built_aws: EmbeddedAws) -> datetime:
    """Half an hour of lag in the reader's CloudWatch, of which two minutes are over the objective; since when.

    Once for all tests: put again a minute later, the breach would be a minute longer.
    """
    stack = load_stack()
    since = datetime.now(timezone.utc).replace(second=0, microsecond=0) - timedelta(minutes=MINUTES)
    data = [
        {
            "MetricName": "AuroraGlobalDBRPOLag",
            "Value": 90_000.0 if n in (10, 11) else 500.0,
            "Unit": "Milliseconds",
            "Dimensions": [{"Name": "DBClusterIdentifier", "Value": f"aurora-secondary-{stack.environment_suffix}"}],
            "Timestamp": since + timedelta(minutes=n),
        }
        for n in range(MINUTES)
    ]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in built_aws.env().items():
            patch.setenv(name, value)
        boto3.client("cloudwatch", stack.secondary_region).put_metric_data(Namespace="AWS/RDS", MetricData=data)
    return since


@pytest.fixture
def dark(built: EmbeddedAws) -> Iterator[Callable[[str], Any]]:
    yield lambda region: built.control.fault("dark", region=region)
    built.control.clear_faults()


def dr(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["report", *arguments])


def test_pulled_written_stored_and_verified(
    built: EmbeddedAws, begun: datetime, history: FolderStore, stack: Stack, tmp_path: Path
) -> None:
    out = tmp_path / "pack"
    until = begun + timedelta(minutes=MINUTES)
    asked = ("--from", begun.isoformat(), "--to", until.isoformat(), "--out", str(out))
    built.control.clear_calls()
    result = dr(*asked, "--pull", "--now", "--to-buckets", "--json")
    assert result.exit_code == 0, result.output
    asked_for = {action(call) for call in built.control.calls()}
    assert asked_for <= {each for part in policy(stack, ["reports"])["Statement"] for each in part["Action"]}
    printed = json.loads(result.stdout)
    # 28 of 30 minutes lie under the objective, and every minute is known.
    assert printed["figures"]["RPO compliance"] == "93.33 %"
    assert printed["figures"]["RPO unknown"] == "0.00 %"
    assert printed["figures"]["RPO breaches"] == "1"
    assert printed["figures"]["ready"] == "no"  # no database here, and no lag at this moment
    assert (out / "index.html").is_file()
    secret = boto3.client("secretsmanager", stack.primary_region).get_secret_value(
        SecretId=f"rds-master-password-primary-{stack.environment_suffix}"
    )
    password = json.loads(secret["SecretString"])["password"].encode()
    assert len(password) > 8
    assert all(password not in path.read_bytes() for path in out.rglob("*") if path.is_file())
    for site, uri in zip(("primary", "secondary"), printed["stored"], strict=True):
        bucket, prefix = uri.removeprefix("s3://").split("/", 1)
        listed = boto3.client("s3", stack.region(site)).list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]  # type: ignore[arg-type]
        stored = {item["Key"].removeprefix(prefix) for item in listed}
        assert stored == {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    proven = dr("verify", str(out), "--sha256", printed["manifest_sha256"])
    unsigned = "the signatures were not verified (--public-key)"  # the history of this test signs nothing
    assert (proven.exit_code, proven.stdout) == (0, f"{out}: whole; {unsigned}\n")
    page = out / "index.html"
    page.write_text(page.read_text().replace("93.33", "99.99"))
    changed = dr("verify", str(out))
    assert changed.exit_code == 2
    assert "index.html was changed" in changed.stderr


def test_one_bucket_out_of_reach_is_named_and_the_other_has_the_report(
    built: EmbeddedAws, begun: datetime, history: FolderStore, stack: Stack, tmp_path: Path, dark: Callable[[str], Any]
) -> None:
    dark(stack.primary_region)
    result = dr("--from", begun.isoformat(), "--out", str(tmp_path / "pack"), "--to-buckets")
    assert result.exit_code == 1
    assert "could not be stored at primary" in result.stderr
    assert "it is in s3://" in result.stderr
    assert (tmp_path / "pack" / "index.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--from", "yesterday", "--out", "x"], "'yesterday' is not a time for --from"),
        (["--from", "2026-10-02", "--to", "2026-10-01", "--out", "x"], "which is not before its end 2026-10-01"),
        ([], "--out is missing. Give the folder for the pack"),
        (["--from", "2026-10-01", "--to", "2026-10-02", "--out", "."], "holds something that is no evidence pack"),
    ],
)
def test_what_cannot_be_is_one_line(
    arguments: list[str], error: str, history: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "something").write_text("precious")
    monkeypatch.setenv("DR_STACK_FILE", str(Path("infra/stack.auto.tfvars.json").resolve()))
    monkeypatch.chdir(tmp_path)
    result = dr(*arguments)
    assert result.exit_code != 0
    assert error in result.stderr.replace("\n", " ")
    assert [path.name for path in tmp_path.iterdir() if path.name != "history"] == ["something"]


def test_the_assets_give_the_same_and_show_their_pictures(
    built: EmbeddedAws,
    begun: datetime,
    history: FolderStore,
    stack: Stack,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DR_REPORTS_DIR", str(tmp_path / "reports"))
    definitions, until = build_definitions(stack), begun + timedelta(minutes=MINUTES)
    with dg.instance_for_test() as instance:
        for day in sorted({begun.date(), (until - timedelta(seconds=1)).date()}):
            job = definitions.resolve_job_def("replication_history")
            pulled = job.execute_in_process(instance=instance, partition_key=str(day))
            assert all(check.passed for check in pulled.get_asset_check_evaluations())
        first = [history.read(key) for key in history.list("samples/")]
        job = definitions.resolve_job_def("replication_history")
        assert job.execute_in_process(instance=instance, partition_key=str(until.date())).success
        assert [history.read(key) for key in history.list("samples/")] == first
        run = definitions.resolve_job_def("evidence_report").execute_in_process(
            run_config=report_config(begun.isoformat(), until.isoformat()), instance=instance
        )
        assert run.success
        found = {
            event.asset_key.path[-1]: event.step_materialization_data.materialization.metadata
            for event in run.get_asset_materialization_events()
            if event.asset_key
        }
    assert set(found) == {"rpo_history", "rto_history", "exposure", "readiness", "dr_report"}
    assert found["rpo_history"]["compliance"].value == pytest.approx(28 / 30)
    assert found["rpo_history"]["breaches"].value == 1
    assert str(found["rpo_history"]["rpo_over_time"].value).startswith("![")
    assert "(data:image/png;base64," in str(found["rto_history"]["rto_parts"].value)
    # The event log is never purged: what is put into it is small.
    assert all(len(str(value.value)) < 60_000 for metadata in found.values() for value in metadata.values())
    assert "rpo_over_time" in found["dr_report"]
    assert "incidents" in found["rto_history"]
    assert found["readiness"]["ready"].value == "no"
    (check,) = run.get_asset_check_evaluations()
    assert (check.check_name, check.passed) == ("ready", False)
    assert Path(str(found["dr_report"]["page"].value)).is_file()
    assert found["dr_report"]["RPO_compliance"].value == "93.33 %"


def test_an_empty_history_is_unknown_and_never_compliant(
    built: EmbeddedAws, history: FolderStore, tmp_path: Path
) -> None:
    result = dr("--from", "2026-10-01", "--to", "2026-11-01", "--out", str(tmp_path / "pack"), "--json")
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)["figures"]
    assert figures["RPO compliance"] == "unknown"
    assert figures["RPO unknown"] == "100.00 %"
    assert figures["RTO met"] == "no drill"
    assert figures["last proof"] == "never"
    assert samples.stacks(history) == []
