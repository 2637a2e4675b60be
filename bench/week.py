"""A week of sensors in compressed time: what grows. Prints a table and fails where something that should be bounded is not.

    python -m bench.week [--days 7] [--seed 1]

The six real sensor functions tick on simulated time, on a real Dagster instance (SQLite) and a real history folder: each fast one every
10 s (as the daemon does with an interval of 5 s: docs/alerts.md), the others every 60 s. AWS is a synthetic poller and queue: a healthy stack with, each day,
two outages of the writer, one spell of high lag, RDS events, a failed and a succeeded run of a partition, and a drill's record. What the
daemon itself writes (a row for each tick) is counted, not written: `retention` of dagster.yaml bounds it.
"""

import argparse
import json
import random
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import dagster as dg

from dr_assets import utc
from dr_assets.defs.monitoring.sensors import build_sensors
from dr_assets.history import sample_buffer
from dr_assets.history.store import FolderStore
from dr_assets.monitoring.samples import Message, Reading, Sample, Snapshot
from dr_assets.stack import SITES, Stack, load_stack
from dr_assets.ticks.event_queue import understand
from dr_assets.ticks.monitor import Monitor
from tests.support.monitoring import START, Recorder, at, healthy, sample

FAST, STEP, SLOW = ("replication_lag", "health_checks", "event_queue"), 10, 60
OTHERS = ("drift", "run_failure", "drill_overdue")
DAY = 86_400
# What a day may add to the memory of the code server once caches are filled, and the largest cursor.
MIB_A_DAY, CURSOR_BYTES = 2.0, 60_000


class World:
    """The stack as AWS and Dagster would show it at a simulated second, from one seed."""

    def __init__(self, stack: Stack, seed: int, days: int) -> None:
        self.stack, self.second = stack, 0.0
        source = random.Random(seed)
        self.outages = [
            range(begin, begin + source.randrange(60, 900))
            for day in range(days)
            for begin in source.sample(range(day * DAY + 600, (day + 1) * DAY - 3600, 7200), 2)
        ]
        self.lags = [range(day * DAY + 50_000, day * DAY + 50_000 + source.randrange(120, 600)) for day in range(days)]
        self.waiting: list[Message] = []

    def now(self) -> datetime:
        return at(self.second)

    def tick(self, max_age: float = 0.0) -> Snapshot:
        """As `Poller.tick`."""
        without, extra = [], []
        if any(int(self.second) in outage for outage in self.outages):
            without.append("primary/metric/connectivity")
            extra.append(sample(self.second, 0.0))
        if any(int(self.second) in lag for lag in self.lags):
            without.append("secondary/metric/replication-lag")
            extra.append(sample(self.second, 65_000.0, "replication-lag", "secondary"))
        samples: tuple[Sample, ...] = (*healthy(self.second, without=without), *extra)
        return Snapshot(self.now(), (Reading("synthetic", self.stack.primary_region, "answered", self.now(), samples),))

    def exchange(self, receipts: Any) -> tuple[list[Message], dict[str, tuple[str, str]]]:
        """As `Queues.exchange`: an RDS event at each site every ten minutes, in the shape of the Aurora user guide."""
        if int(self.second) % 600:
            return [], {}
        return [understand(self.stack, site, self._event(site)) for site in SITES], {}

    def _event(self, site: str) -> dict[str, Any]:
        guide = "https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/USER_Events.Messages.html"
        event = {
            "Event Source": "db-cluster",
            "Event Time": f"{self.now():%Y-%m-%d %H:%M:%S.000}",
            "Source ID": f"aurora-{site}-{self.stack.environment_suffix}",
            "Event ID": f"{guide}#RDS-EVENT-0072",
            "Event Message": "Completed failover to DB instance.",
        }
        envelope = {
            "Type": "Notification",
            "MessageId": str(uuid.uuid4()),
            "TopicArn": "",
            "Message": json.dumps(event),
        }
        sent = {"SentTimestamp": f"{self.now().timestamp() * 1000:.0f}", "ApproximateReceiveCount": "1"}
        body = json.dumps(envelope | {"Timestamp": utc.to_text(self.now())})
        return {"MessageId": str(uuid.uuid4()), "ReceiptHandle": uuid.uuid4().hex, "Attributes": sent, "Body": body}


class Week:
    """The sensors, their cursors, and what they leave."""

    def __init__(self, stack: Stack, world: World, store: FolderStore, instance: dg.DagsterInstance) -> None:
        self.world, self.store, self.instance = world, store, instance
        self.channel = Recorder()
        beats: Any = SimpleNamespace(beat=lambda *_: None)
        poller: Any = world
        self.monitor = Monitor(stack, store, poller=poller, channels=[self.channel], clock=world.now, heartbeats=beats)
        self.monitor._queues = SimpleNamespace(exchange=world.exchange)  # type: ignore[assignment]
        self.sensors = {each.name: each for each in build_sensors(stack, lambda: self.monitor, None)}
        self.cursors: dict[str, str] = {}
        self.counts: Counter[str] = Counter()
        self.seconds: Counter[str] = Counter()

    def day(self, day: int, runs: dg.JobDefinition) -> None:
        self._runs(day, runs)
        for second in range(day * DAY, (day + 1) * DAY, STEP):
            self.world.second = float(second)
            for name in FAST if second % SLOW else (*FAST, *OTHERS):
                self._tick(name)
        self.channel.sent.clear()

    def _tick(self, name: str) -> None:
        begun = time.perf_counter()
        context = dg.build_sensor_context(instance=self.instance, cursor=self.cursors.get(name), sensor_name=name)
        result = self.sensors[name].evaluate_tick(context)
        for event in result.asset_events:
            if not isinstance(event, dg.AssetCheckEvaluation):  # the daemon reports both; the row is the same
                self.instance.report_runless_asset_event(event)
        self.cursors[name] = result.cursor or ""
        self.counts["ticks"] += 1
        self.counts["events"] += len(result.asset_events)
        self.seconds[name] += time.perf_counter() - begun

    def _runs(self, day: int, job: dg.JobDefinition) -> None:
        """A run of the day's partition that fails, and its repetition that succeeds."""
        for fails in (True, False):
            job.execute_in_process(
                instance=self.instance,
                partition_key=f"{START + timedelta(days=day):%Y-%m-%d}",
                run_config={
                    "ops": {"daily": {"config": {"fails": fails}}},
                    "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
                },
                raise_on_error=False,
            )


class Fails(dg.Config):
    fails: bool


def partitioned(stack: Stack) -> dg.JobDefinition:
    """A job of ours over days, that fails as it is told."""

    @dg.asset(partitions_def=dg.DailyPartitionsDefinition(f"{START:%Y-%m-%d}", end_offset=400))
    def daily(config: Fails) -> None:
        if config.fails:
            raise dg.Failure("as told")

    job = dg.define_asset_job("replication_history", [daily], tags={"dr/stack": stack.environment_suffix})
    return dg.Definitions([daily], jobs=[job]).resolve_job_def("replication_history")


def resident() -> float:
    """MiB of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no VmRSS in /proc/self/status")


def objects(store: FolderStore) -> Iterator[tuple[str, int, int]]:
    """(prefix, objects, bytes) of the history."""
    counts, sizes = Counter[str](), Counter[str]()
    for key in store.list(""):
        prefix = key.partition("/")[0]
        counts[prefix] += 1
        sizes[prefix] += len(store.read(key))
    for prefix in sorted(counts):
        yield prefix, counts[prefix], sizes[prefix]


def main(days: int, seed: int) -> None:
    stack = load_stack()
    world = World(stack, seed, days)
    buffer_time: Any = SimpleNamespace(monotonic=lambda: world.second)
    memory: list[float] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        dg.DagsterInstance.local_temp(folder) as instance,
        mock.patch("dr_assets.utc.now", world.now),
        mock.patch("dr_assets.clock.wall_offset", lambda: ("simulated", 0.0)),
        mock.patch.object(sample_buffer, "time", buffer_time),
    ):
        store = FolderStore(Path(folder) / "dr-history")
        week, job = Week(stack, world, store, instance), partitioned(stack)
        begun = time.perf_counter()
        print("| day | MiB resident | cursor bytes (largest) | events | alerts | history: objects (KiB) |", flush=True)
        print("|---|---|---|---|---|---|")
        for day in range(days):
            before = Counter(week.counts)
            week.day(day, job)
            memory.append(resident())
            name, cursor = max(week.cursors.items(), key=lambda item: len(item[1]))
            kept = ", ".join(f"{prefix} {count} ({size / 1024:.0f})" for prefix, count, size in objects(store))
            events = week.counts["events"] - before["events"]
            alerts = sum(key.endswith(".json") and ".claim-" not in key for key in store.list("alerts/"))
            print(
                f"| {day + 1} | {memory[-1]:.0f} | {len(cursor)} ({name}) | {events} | {alerts} | {kept} |", flush=True
            )
        took = time.perf_counter() - begun
    pace = days * DAY / took
    print(
        f"\n{week.counts['ticks']} ticks in {took:.0f} s: {pace:.0f} times as fast as the clock; milliseconds a tick: ",
        end="",
    )
    ticks = {name: days * DAY / (STEP if name in FAST else SLOW) for name in (*FAST, *OTHERS)}
    print(", ".join(f"{name} {1000 * week.seconds[name] / ticks[name]:.1f}" for name in ticks))
    check(memory, week.cursors)


def check(memory: Sequence[float], cursors: dict[str, str]) -> None:
    """What is bounded is bounded. The first day fills caches."""
    largest = max(len(cursor) for cursor in cursors.values())
    assert largest < CURSOR_BYTES, f"a cursor has grown to {largest} bytes"
    if len(memory) > 3:
        slope = (memory[-1] - memory[1]) / (len(memory) - 2)
        assert slope < MIB_A_DAY, f"memory grows by {slope:.1f} MiB a day"
        print(f"memory grows by {slope:.2f} MiB a day after the second")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--days", type=int, default=7)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    main(options.days, options.seed)
