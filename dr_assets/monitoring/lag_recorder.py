"""Hand each tick's lag samples to the history's sample buffer in a background thread, so that ticks never wait.

The rows keep their source's name: `metric` is CloudWatch's value, and a later import of the day finds the same readings there; `sql`
is the database's own value, which cannot be read afterwards.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from dr_assets import escape
from dr_assets.core.freshness import Known
from dr_assets.history.store import Store
from dr_assets.monitoring.samples import REPLICATION_LAG, RPO_LAG, Sample, Snapshot

if TYPE_CHECKING:
    from dr_assets.history.sample_buffer import SampleBuffer

# Rows kept in memory while the store hangs.
ROWS_LIMIT = 5000

log = escape.logger(__name__)


def lag_rows(samples: Iterable[Sample], now: datetime) -> Iterator[dict[str, Any]]:
    """The lag readings as rows of the history. No datapoint in CloudWatch is a gap and stays one; the database not knowing
    the lag, or giving what is no lag, is a reading without a value."""
    for sample in samples:
        if sample.metric not in (REPLICATION_LAG, RPO_LAG) or sample.source not in ("metric", "sql"):
            continue
        found = sample.assess(now)
        if isinstance(found, Known) or sample.source == "sql":
            yield {
                "at": sample.at,
                "site": sample.site,
                "metric": sample.metric,
                "value": found.value if isinstance(found, Known) else None,
                "unit": "ms",
                "source": sample.source,
            }


class LagRecorder:
    """Hands the readings of each new snapshot to the history's sample buffer in a thread of its own. Thread-safe.

    `problem`: the store's error while it refuses them, else empty. They are kept and written later, but no more than
    `ROWS_LIMIT` of them.
    """

    def __init__(self, store: Store, stack: str) -> None:
        self._store, self._stack = store, stack
        self._lock = threading.Lock()
        self._waiting: list[Mapping[str, Any]] = []
        self._last: Snapshot | None = None
        self._buffer: SampleBuffer | None = None
        self._thread: threading.Thread | None = None
        self.problem = ""

    def record(self, snapshot: Snapshot) -> None:
        """Never raises and never waits for the store."""
        with self._lock:
            if snapshot is self._last:
                return
            self._last = snapshot
            self._waiting = [*self._waiting, *lag_rows(snapshot.samples, snapshot.at)][-ROWS_LIMIT:]
            if self._waiting and (self._thread is None or not self._thread.is_alive()):
                self._thread = threading.Thread(target=self._work, daemon=True, name="dr-lag-recorder")
                self._thread.start()

    def wait(self, seconds: float) -> None:
        """Wait until what was recorded has been handed over (tests)."""
        thread = self._thread
        if thread is not None:
            thread.join(seconds)

    def _work(self) -> None:
        with self._lock:
            rows, self._waiting = self._waiting, []
        try:
            if self._buffer is None:
                from dr_assets.history.cloudwatch_import import FAMILY  # loads pyarrow: only where it is used
                from dr_assets.history.sample_buffer import SampleBuffer

                self._buffer = SampleBuffer(self._store, self._stack, FAMILY)
            self._buffer.add(rows)  # which keeps them even if the store fails
        except Exception as error:
            if not self.problem:
                log.warning("the lag readings could not be written to %s: %s", self._store.uri, error)
            self.problem = f"lag readings: {error}"
        else:
            self.problem = ""
