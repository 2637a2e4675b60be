"""`dr doctor` as a command: one screen, exit code, JSON; on an installation where everything is broken."""

import json
from typing import Any

import pytest
from click.testing import CliRunner

from dr_assets import utc
from dr_assets.cli import doctor
from dr_assets.cli.main import main
from dr_assets.stack import Stack
from dr_assets.ticks.doctor import DoctorReport, Sources

SECRET = "hunter2"


def broken(*_: Any) -> Any:
    raise ConnectionError(f"postgresql://dagster:{SECRET}@db\n\x1b[31m")


@pytest.fixture(params=["everything is broken", "all but the stack file is broken"])
def sources(request: pytest.FixtureRequest, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    read = broken if request.param.startswith("everything") else lambda: stack
    environ = {"DR_ALERT_SLACK_URL": f"{SECRET}\n"}
    chosen = Sources(read, broken, broken, broken, broken, environ, utc.now)
    monkeypatch.setattr(doctor, "sources", lambda: chosen)


@pytest.mark.usefixtures("sources")
def test_it_fits_one_screen_without_traceback_or_secret() -> None:
    result = CliRunner().invoke(main, ["doctor"])
    assert result.exit_code == 2, result.output
    assert len(result.output.splitlines()) <= 24
    assert SECRET not in result.output and "Traceback" not in result.output and "\x1b" not in result.output
    assert "Everything is ok" not in result.output


@pytest.mark.usefixtures("sources")
def test_its_json_is_the_document_of_the_schema() -> None:
    result = CliRunner().invoke(main, ["doctor", "--json"])
    assert result.exit_code == 2 and SECRET not in result.output
    report = DoctorReport.from_json(json.loads(result.stdout), "the report")
    assert not report.healthy and report.api_calls == 0


def test_help_states_the_exit_codes() -> None:
    assert "2 when one is not" in CliRunner().invoke(main, ["doctor", "--help"]).output
