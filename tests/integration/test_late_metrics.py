"""A drill, the sensors' metrics and the import with AWS's metrics as late as at AWS, at AWS's own pace."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dr_assets import utc
from dr_assets.aws import Aws
from dr_assets.cli.demo import environment, subscribe_on_call
from dr_assets.drills.request import Request
from dr_assets.emulator import EmbeddedAws
from dr_assets.errors import RefusedError
from dr_assets.history.cloudwatch_import import import_day
from dr_assets.history.store import FolderStore
from dr_assets.monitoring.sources.cloudwatch import MetricSource
from dr_assets.stack import Stack, load_stack
from tests.support.approvals import start
from tests.support.stack import build

# It waits for CloudWatch's minutes, which no pace shortens here.
pytestmark = [pytest.mark.slow, pytest.mark.exhaustive, pytest.mark.timeout(900)]


@pytest.fixture(scope="module", params=[60.0, 120.0])
def late(request: pytest.FixtureRequest) -> Iterator[tuple[EmbeddedAws, float]]:
    """The whole stack with databases, and how late its metrics are (seconds)."""
    with EmbeddedAws(databases=True) as aws, environment(aws.env()):
        aws.control.answers(metric_delay_seconds=request.param, list_metrics_seconds=0.0)
        build(load_stack())
        subscribe_on_call(load_stack())
        yield aws, request.param


def until(done: Callable[[], bool], seconds: float) -> float:
    begun = time.monotonic()
    while not done():
        assert time.monotonic() - begun < seconds, "it did not happen"
        time.sleep(1.0)
    return time.monotonic() - begun


def test_aws_05_a_drill_sensors_and_the_import_work_with_late_metrics(
    late: tuple[EmbeddedAws, float], stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws, delay = late
    for name, value in aws.env().items():
        monkeypatch.setenv(name, value)
    store = FolderStore(tmp_path)
    settings = {"rate": 50.0, "baseline_seconds": 0.4, "probe_interval": 0.05}
    request = Request("switchover", "tester", "a test", settings=settings)
    with pytest.raises(RefusedError, match="lag"):  # there is no reading yet
        start(stack, store, request)
    source = MetricSource([stack], Aws(), stack.secondary_region)

    def lag() -> float | None:
        source.asked.clear()
        return next((s.raw for s in source(utc.now())[0] if s.metric == "replication-lag"), None)

    until(lambda: lag() is not None, delay + 180)
    # Each newest reading of more than a minute is a value: none is refused as too old.
    for _ in range(7):
        assert lag() is not None
        time.sleep(10)
    (imported,) = import_day([stack], store, utc.now().date(), Aws(), utc.now())
    assert imported.known_minutes > 0
    assert imported.problems == ()
    begun = time.monotonic()
    written = start(stack, store, request)
    assert (written.status, written.reason) == ("succeeded", None)
    assert aws.control.database()["writer"] == "secondary"
    # That the new reader is back shows only when CloudWatch has its first minute.
    assert time.monotonic() - begun >= delay
