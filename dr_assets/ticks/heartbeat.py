"""Heartbeats of the watchers: proof, in both regions, that the sensors and the Dagster daemon are still at work.

A sensor that completed a tick proves that the daemon runs, the sensor is started, the code location loads, the stack file is valid and
AWS can be reached. Whoever stops puts nothing, and CloudWatch, which depends on none of these, notifies (`resources.alarms.rows`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from dr_assets import escape
from dr_assets.aws import Aws, explain
from dr_assets.resources.alarms.rows import HEARTBEAT_METRIC, PROBE_NAMESPACE
from dr_assets.stack import SITES, Site, Stack

DAEMON = "daemon"
# Heartbeats of all sensors are put together: one request for each region. Ticks are 20 s apart at the most, so no watcher's
# heartbeats are more than about 30 s apart; the alarms tolerate 50 s.
PUT_SECONDS = 8.0
READ_SECONDS = 2.0
# The daemon writes its threads' heartbeats every 30 s (dagster/_daemon/controller.py, DEFAULT_HEARTBEAT_INTERVAL_SECONDS).
# `DagsterInstance.get_daemon_statuses` allows them another 1,800 s, far too long here.
DAEMON_SECONDS = 90.0
# Clocks of the daemon and of this process may differ by this much.
SKEW_SECONDS = 10.0

log = escape.logger(__name__)


class Heartbeats:
    """Puts the metric `Heartbeat` of one stack's watchers into both regions. Safe for threads; never raises, never blocks a tick.

    Args:
        aws: clients with a short timeout of their own, so that a region that does not answer delays nothing else.
        clock: monotonic seconds.
    """

    def __init__(self, stack: Stack, aws: Aws | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stack, self._clock = stack, clock
        self._aws = aws or Aws(read_timeout=READ_SECONDS, attempts=1)
        self._lock = threading.Lock()
        self._beaten: dict[str, None] = {}
        self._last = float("-inf")
        self._puts: dict[Site, threading.Thread] = {}
        self._failing: set[Site] = set()

    def beat(self, sensor: str, daemon_runs: Callable[[], bool]) -> None:
        """Note a completed tick of a sensor, and put what was noted since the last put, at most every PUT_SECONDS.

        daemon_runs: whether the daemon is known to run; asked at each put. What it raises counts as unknown: no heartbeat.
        """
        with self._lock:
            self._beaten[sensor] = None
            now = self._clock()
            if now - self._last < PUT_SECONDS:
                return
            self._last = now
            beaten, self._beaten = list(self._beaten), {}
        if _is_running(daemon_runs):
            beaten.append(DAEMON)
        for site in SITES:
            self._start(site, beaten)

    def wait(self, seconds: float) -> None:
        """Wait for requests on their way."""
        for thread in list(self._puts.values()):
            thread.join(seconds)

    def _start(self, site: Site, watchers: list[str]) -> None:
        """Put in a thread. What cannot be sent now is dropped: sent later it would prove that a stopped watcher works."""
        with self._lock:
            running = self._puts.get(site)
            if running is not None and running.is_alive():
                return
            thread = threading.Thread(target=self._put, args=(site, watchers), name=f"heartbeat-{site}", daemon=True)
            self._puts[site] = thread
            thread.start()

    def _put(self, site: Site, watchers: list[str]) -> None:
        region = self._stack.region(site)
        try:
            put_heartbeats(self._aws, self._stack, region, watchers)
        except Exception as error:  # the alarms report what is missing; a tick must not fail for it
            if site not in self._failing:
                problem = explain(error, "cloudwatch", "put_metric_data", region)
                log.warning("heartbeats do not reach %s: %s", region, problem)
            self._failing.add(site)
        else:
            self._failing.discard(site)


def put_heartbeats(aws: Aws, stack: Stack, region: str, watchers: list[str]) -> None:
    """One datapoint for each watcher, at one second's resolution and without a time: CloudWatch then takes the time of receipt
    (CloudWatch API, MetricDatum), so a host's wrong clock moves no heartbeat. Raises botocore's errors."""
    data = [
        {
            "MetricName": HEARTBEAT_METRIC,
            "Dimensions": [{"Name": "Stack", "Value": stack.environment_suffix}, {"Name": "Watcher", "Value": watcher}],
            "Value": 1.0,
            "StorageResolution": 1,
        }
        for watcher in watchers
    ]
    aws.client("cloudwatch", region).put_metric_data(Namespace=PROBE_NAMESPACE, MetricData=data)


def all_fresh(heartbeats: Mapping[str, float], needed: list[str], now: float) -> bool:
    """Whether every needed thread of the daemon wrote a heartbeat within DAEMON_SECONDS (times: seconds since the epoch).

    None needed, an absent, old or future one: not known to run.
    """
    ages = [now - heartbeats[name] if name in heartbeats else None for name in needed]
    return bool(ages) and all(age is not None and -SKEW_SECONDS <= age <= DAEMON_SECONDS for age in ages)


def _is_running(daemon_runs: Callable[[], bool]) -> bool:
    try:
        return daemon_runs()
    except Exception as error:  # Dagster's storage may raise anything
        log.warning("whether the Dagster daemon runs is unknown: %s", type(error).__name__)
        return False
