"""The environment of `dr ui`: nothing emulated reaches a real history or pager."""

from pathlib import Path

import dagster as dg
import pytest

from dr_assets.cli.ui import SETTINGS, environment


def test_nothing_emulated_leaves_the_embedded_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DR_HISTORY_URI", "s3://evidence/of-the-real-stack")
    monkeypatch.setenv("DR_REPORTS_DIR", "/srv/reports")
    monkeypatch.setenv("DR_ALERT_SLACK_URL", "https://hooks.example/on-call")
    monkeypatch.setenv("DR_STACK__ENVIRONMENT_SUFFIX", "mine1234")
    found = environment(tmp_path)
    assert found["DR_HISTORY_URI"] == str(tmp_path / "dr" / "history")
    assert found["DR_REPORTS_DIR"] == str(tmp_path / "dr" / "reports")
    assert not [name for name in found if name.startswith("DR_ALERT_")]
    assert found["DR_STACK__ENVIRONMENT_SUFFIX"] == "mine1234"
    assert found["DR_MODE"] == "provision"


def test_aws_26_dagster_ends_runs_whose_worker_is_gone(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text(SETTINGS)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert instance.run_monitoring_enabled
        assert instance.run_monitoring_max_runtime_seconds == 14400
