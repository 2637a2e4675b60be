"""What `dr doctor` reads from a Dagster instance, written by Dagster's own API and daemon classes."""

import time
from pathlib import Path

import dagster as dg
import pytest
from dagster._daemon.types import DaemonHeartbeat

from dr_assets.defs.installation import read_installation
from dr_assets.errors import DrError


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    return tmp_path


def test_without_dagster_home_there_is_nothing_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    with pytest.raises(DrError, match="DAGSTER_HOME is not set"):
        read_installation()


def test_a_fresh_instance_has_no_sensor_no_heartbeat_and_no_verification(home: Path) -> None:
    found = read_installation()
    assert (found.home, found.sensors, found.threads, found.verified) == (str(home), {}, {}, None)
    assert not found.use_threads
    assert set(found.required) >= {"SENSOR", "SCHEDULER"}


def test_settings_heartbeats_and_the_last_verification_are_read(home: Path) -> None:
    settings = (
        "telemetry: {enabled: false}\nsensors: {use_threads: true, num_workers: 8}\nrun_monitoring: {enabled: true}\n"
    )
    (home / "dagster.yaml").write_text(settings)

    @dg.op
    def nothing() -> None: ...

    @dg.job(name="verify_stack")
    def verify() -> None:
        nothing()

    before = time.time()
    with dg.DagsterInstance.get() as instance:
        instance.add_daemon_heartbeat(DaemonHeartbeat(before, "SENSOR", "daemon-1", None))
        assert verify.execute_in_process(instance=instance).success
    found = read_installation()
    assert found.use_threads and found.run_monitoring and "MONITORING" in found.required
    assert found.threads["SENSOR"] == (pytest.approx(before, abs=1.0), "daemon-1")
    assert found.verified is not None and before <= found.verified <= time.time()
