"""Heartbeats of the watchers: what is put, where, when, and what is not."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError

from dr_assets.monitoring.topics import TOPICS
from dr_assets.resources.alarms.rows import WATCHERS
from dr_assets.stack import Stack
from dr_assets.ticks.heartbeat import Heartbeats, all_fresh


class FakeAws:
    """Records PutMetricData; a region in `dark` does not answer until `answer` is set."""

    def __init__(self) -> None:
        self.puts: list[tuple[str, dict[str, Any]]] = []
        self.dark: set[str] = set()
        self.answer = threading.Event()

    def client(self, service: str, region: str, writing: bool = False) -> Any:
        assert service == "cloudwatch"
        aws = self

        class Client:
            def put_metric_data(self, **params: Any) -> None:
                if region in aws.dark:
                    aws.answer.wait(20)
                    raise ReadTimeoutError(endpoint_url=region)
                aws.puts.append((region, params))

        return Client()


class Bench:
    def __init__(self, stack: Stack) -> None:
        self.aws, self.now, self.daemon = FakeAws(), 0.0, True
        self.heartbeats = Heartbeats(stack, self.aws, clock=lambda: self.now)  # type: ignore[arg-type]

    def beat(self, sensor: str, second: float) -> None:
        self.now = second
        self.heartbeats.beat(sensor, lambda: self.daemon)
        if not self.aws.dark:
            self.heartbeats.wait(20)

    def watchers(self, region: str) -> list[list[str]]:
        """The watchers of each request to a region, in order."""
        return [
            [next(d["Value"] for d in item["Dimensions"] if d["Name"] == "Watcher") for item in params["MetricData"]]
            for where, params in self.aws.puts
            if where == region
        ]


@pytest.fixture
def bench(stack: Stack) -> Bench:
    return Bench(stack)


def test_case_f7_both_regions_get_the_heartbeats_of_all_since_the_last_put(bench: Bench) -> None:
    for second, sensor in ((0.0, "drift"), (1.0, "event_queue"), (7.9, "replication_lag"), (8.0, "drift")):
        bench.beat(sensor, second)
    expected = [["drift", "daemon"], ["event_queue", "replication_lag", "drift", "daemon"]]
    assert bench.watchers("us-east-1") == expected
    assert bench.watchers("us-west-2") == expected


def test_case_f7_a_heartbeat_carries_no_time_of_ours(bench: Bench, stack: Stack) -> None:
    """CloudWatch API, MetricDatum: without Timestamp "CloudWatch sets the time stamp to the time the data point was received"."""
    bench.beat("drift", 0.0)
    params = bench.aws.puts[0][1]
    assert params["Namespace"] == "DRAssets"
    assert params["MetricData"][0] == {
        "MetricName": "Heartbeat",
        "Dimensions": [{"Name": "Stack", "Value": stack.environment_suffix}, {"Name": "Watcher", "Value": "drift"}],
        "Value": 1.0,
        "StorageResolution": 1,
    }


def test_case_f7_a_dark_region_delays_no_tick_and_the_other_gets_its_heartbeats(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.aws.dark = {"us-east-1"}
    bench.beat("drift", 0.0)  # returns while the put hangs
    bench.beat("drift", 10.0)  # the hanging put is not joined by another
    alive = [thread.name for thread in threading.enumerate() if thread.name.startswith("heartbeat-")]
    assert alive.count("heartbeat-primary") == 1
    bench.aws.answer.set()
    bench.heartbeats.wait(20)
    assert bench.watchers("us-west-2") == [["drift", "daemon"]] * 2
    bench.aws.dark = set()
    bench.beat("event_queue", 20.0)
    # What was noted while the region was silent proves nothing any more.
    assert bench.watchers("us-east-1") == [["event_queue", "daemon"]]
    assert [record.message.split(":")[0] for record in caplog.records] == ["heartbeats do not reach us-east-1"]


def test_case_f7_a_daemon_that_is_not_known_to_run_gets_no_heartbeat(bench: Bench) -> None:
    bench.daemon = False
    bench.beat("drift", 0.0)

    def unreadable() -> bool:
        raise RuntimeError("storage")

    bench.now = 10.0
    bench.heartbeats.beat("drift", unreadable)
    bench.heartbeats.wait(20)
    assert bench.watchers("us-west-2") == [["drift"], ["drift"]]


@pytest.mark.parametrize(
    ("ages", "runs"),
    [
        ({"SENSOR": 0.0, "SCHEDULER": 90.0}, True),
        ({"SENSOR": 0.0, "SCHEDULER": 91.0}, False),
        ({"SENSOR": -10.0, "SCHEDULER": 1.0}, True),
        ({"SENSOR": -11.0, "SCHEDULER": 1.0}, False),  # the future is unknown
        ({"SENSOR": float("nan"), "SCHEDULER": 1.0}, False),
        ({"SENSOR": 0.0}, False),
        ({"SENSOR": 0.0, "SCHEDULER": 1.0, "BACKFILL": 10_000.0}, True),
    ],
)
def test_case_f7_a_daemon_thread_whose_heartbeat_is_91_seconds_old_does_not_run(
    ages: dict[str, float], runs: bool
) -> None:
    now = 1_800_000_000.0
    assert all_fresh({name: now - age for name, age in ages.items()}, ["SENSOR", "SCHEDULER"], now) is runs


def test_no_daemon_is_not_a_running_one() -> None:
    assert not all_fresh({}, [], 1_800_000_000.0)


def test_every_sensor_and_the_daemon_is_a_watcher() -> None:
    assert set(WATCHERS) == {"daemon", *(topic.sensor for topic in TOPICS.values())}
