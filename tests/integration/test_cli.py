"""The `dr` command from a shell: exit codes, JSON, one-line errors."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dr_assets.aws import Aws
from dr_assets.emulator import EmbeddedAws
from dr_assets.resources.catalog import catalog
from dr_assets.stack import Stack
from tests.support.cli import dr
from tests.support.stack import build

ROOT = Path(__file__).resolve().parents[2]


def test_verify_in_sync_exits_0_and_prints_the_documented_json(built: EmbeddedAws, stack: Stack) -> None:
    done = dr("verify", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert set(document) == {"summary", "api_calls", "seconds", "resources"}
    assert document["summary"]["in_sync"] == len(catalog(stack)) == len(document["resources"])
    assert document["api_calls"] > 50
    assert set(document["resources"][0]) == {"asset", "status", "drift"}


def test_verify_names_drift_and_exits_2(built: EmbeddedAws, stack: Stack) -> None:
    logs = Aws().client("logs", stack.secondary_region)
    logs.put_retention_policy(
        logGroupName=f"/aws/rds/cluster/aurora-secondary-{stack.environment_suffix}/postgresql", retentionInDays=1
    )
    done = dr("verify", "--json")
    text = dr("verify")
    build(stack)
    assert done.returncode == text.returncode == 2
    drifted = [r for r in json.loads(done.stdout)["resources"] if r["status"] != "in_sync"]
    assert len(drifted) == 1
    assert drifted[0]["asset"] == "secondary/aurora/log-group"
    assert drifted[0]["status"] == "drifted"
    assert drifted[0]["drift"] == [{"field": "RetentionInDays", "desired": 30, "observed": 1}]
    assert "secondary/aurora/log-group" in text.stdout
    assert "RetentionInDays" in text.stdout


def test_outputs_are_complete(built: EmbeddedAws) -> None:
    done = dr("outputs", "--json")
    assert done.returncode == 0, done.stderr
    values = json.loads(done.stdout)
    assert len(values) == 18
    assert all(isinstance(value, str) and value for value in values.values()), values
    assert values["secondary_cluster_endpoint"].endswith(".us-west-2.rds.amazonaws.com")


def test_status_names_the_writer(built: EmbeddedAws) -> None:
    document = json.loads(dr("status", "--json").stdout)
    assert (document["writer"], document["at_home"]) == ("primary", True)
    assert "writer at the primary site" in dr("status").stdout


def test_missing_credentials_are_reported_in_one_line() -> None:
    for command in (("verify",), ("provision",), ("outputs",), ("status",)):
        done = dr(*command)
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1, done.stderr
        assert "No AWS credentials were found" in done.stderr
        assert "dr up" in done.stderr


def test_an_endpoint_that_refuses_connections_is_reported() -> None:
    env = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y"}
    done = dr("verify", env=env)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "no answer" in done.stderr or "stopped answering" in done.stderr


@pytest.mark.parametrize("code", ["ExpiredToken", "InvalidClientTokenId"])
def test_refused_credentials_fail_at_once(cloud: EmbeddedAws, code: str) -> None:
    cloud.control.fault("error", service="sts", rate=1.0, code=code)
    done = dr("verify")
    cloud.control.clear_faults()
    assert done.returncode == 1
    assert code in done.stderr
    assert "Sign in again" in done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_stack_file_is_one_clear_error() -> None:
    done = dr("verify", env={"DR_STACK__INSTANCE_CLASS": "db.t3.micro"})
    assert done.returncode == 1
    assert "instance_class" in done.stderr
    assert "Traceback" not in done.stderr
    missing = dr("--stack-file", "nowhere.json", "graph")
    assert missing.returncode == 1
    assert "nowhere.json" in missing.stderr


def test_verify_does_not_load_dagster() -> None:
    code = (
        "import sys, dr_assets.cli.main, dr_assets.reconcile.service, dr_assets.cli.render\n"
        "sys.exit(any(name.split('.')[0] in ('dagster', 'pandas', 'moto') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_destroy_refuses_before_anything_else(cloud: EmbeddedAws) -> None:
    done = dr("destroy", "--yes", "not-it")
    assert done.returncode == 1
    assert "not this stack's suffix" in done.stderr
    assert [c for c in cloud.control.calls() if c["mutating"]] == []


def test_graph_and_permissions_call_no_aws_api(stack: Stack) -> None:
    graph = json.loads(dr("graph", "--json").stdout)
    assert "primary/aurora/instance-1" in graph["secondary/aurora/cluster"]
    assert dr("graph", "--dot").stdout.startswith("digraph")
    assert "global/aurora/global-cluster" in dr("graph").stdout
    verify_only = json.loads(dr("permissions").stdout)
    actions = [a for s in verify_only["Statement"] for a in s["Action"]]
    verbs = ("Describe", "Get", "List", "Decrypt")
    assert all(action.split(":")[1].startswith(verbs) for action in actions), actions


def test_up_writes_its_ready_file_and_ends_on_sigterm(tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    process = subprocess.Popen(
        [sys.executable, "-m", "dr_assets.cli.main", "up", "--ready-file", str(ready)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 90
        while not ready.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        document = json.loads(ready.read_text())
        assert document["aws_endpoint_url"].startswith("http://127.0.0.1:")
        assert dr("verify", env=document["environment"]).returncode == 2
        # What is emulated keeps away from a real stack's evidence.
        assert document["environment"]["DR_HISTORY_URI"].endswith("/.dr/embedded/history")
    finally:
        process.terminate()
        assert process.wait(60) == 0
    assert not ready.exists()
