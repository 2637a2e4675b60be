"""What the sensors read of the lag, on its way into the day's history: beside the tick, never in its way.

May import `history` and telemetry's nouns. The rows keep their source's name: `metric` is what CloudWatch says, and a later pull
of the day finds the same readings there; `sql` is the database's own word, which nobody could ask for afterwards.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from dr_assets.history.store import Store
from dr_assets.monitoring.samples import REPLICATION_LAG, RPO_LAG, Sample, Snapshot

if TYPE_CHECKING:
    from dr_assets.history.sample_buffer import SampleBuffer

# What a store that hangs may keep waiting in memory.
MOST = 5000

log = logging.getLogger(__name__)


def lag_rows(samples: Iterable[Sample]) -> Iterator[dict[str, Any]]:
    """The lag readings as rows of the history. CloudWatch having no datapoint is a gap and stays one; the database saying
    that it does not know is a reading without a value."""
    for sample in samples:
        if sample.metric not in (REPLICATION_LAG, RPO_LAG) or sample.source not in ("metric", "sql"):
            continue
        if sample.value is not None or sample.source == "sql":
            yield {
                "at": sample.at,
                "site": sample.site,
                "metric": sample.metric,
                "value": sample.value,
                "unit": "ms",
                "source": sample.source,
            }


class Remember:
    """Hands the readings of each new snapshot to `history.seen` in a thread of its own. Safe for threads.

    `trouble`: what the store said when it did not take them, empty once it does. They are kept and offered again, but no
    more than `MOST` of them.
    """

    def __init__(self, store: Store, stack: str) -> None:
        self._store, self._stack = store, stack
        self._lock = threading.Lock()
        self._waiting: list[Mapping[str, Any]] = []
        self._last: Snapshot | None = None
        self._seen: SampleBuffer | None = None
        self._thread: threading.Thread | None = None
        self.trouble = ""

    def take(self, snapshot: Snapshot) -> None:
        """Never raises and never waits for the store."""
        with self._lock:
            if snapshot is self._last:
                return
            self._last = snapshot
            self._waiting = [*self._waiting, *lag_rows(snapshot.samples)][-MOST:]
            if self._waiting and (self._thread is None or not self._thread.is_alive()):
                self._thread = threading.Thread(target=self._work, daemon=True, name="dr-remember")
                self._thread.start()

    def settle(self, seconds: float) -> None:
        """Wait until what was taken is handed over (tests)."""
        thread = self._thread
        if thread is not None:
            thread.join(seconds)

    def _work(self) -> None:
        with self._lock:
            rows, self._waiting = self._waiting, []
        try:
            if self._seen is None:
                from dr_assets.history.cloudwatch_import import FAMILY  # with pyarrow, where it is wanted
                from dr_assets.history.sample_buffer import SampleBuffer

                self._seen = SampleBuffer(self._store, self._stack, FAMILY)
            self._seen.add(rows)  # which keeps them, whatever the store says
        except Exception as error:
            if not self.trouble:
                log.warning("the lag readings could not be written to %s: %s", self._store.uri, error)
            self.trouble = f"lag readings: {error}"
        else:
            self.trouble = ""
