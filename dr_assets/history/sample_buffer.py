"""Buffer of the sensors' samples before they reach the day's partition: small Parquet objects under `seen/`, one a minute.

The day's import (`cloudwatch_import`) merges and deletes them. A process killed in between loses less than a minute of what SQL
reported; what CloudWatch has is imported anyway.
"""

from __future__ import annotations

import datetime as dt
import threading
import time
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from dr_assets import escape, utc
from dr_assets.history import samples
from dr_assets.history.store import Store

WRITE_SECONDS = 60.0
# Most rows kept in memory while the store cannot be written; the oldest beyond it are dropped.
MAX_ROWS = 20_000

log = escape.logger(__name__)


class SampleBuffer:
    """Buffers readings of one stack and metric family and writes them in bundles. Thread-safe."""

    def __init__(self, store: Store, stack: str, family: str, every: float = WRITE_SECONDS) -> None:
        self._store, self._stack, self._family, self._every = store, stack, family, every
        self._lock = threading.Lock()
        self._rows: dict[tuple[Any, ...], Mapping[str, Any]] = {}
        self._written = time.monotonic()

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Buffer rows with the columns of `samples.SCHEMA`; a repeated reading is kept once.

        Raises DrError when the store cannot be written; the rows stay buffered for the next attempt.
        """
        with self._lock:
            for row in rows:
                self._rows[(row["at"], row["site"], row["metric"], row["source"], row["value"])] = row
            for key in list(self._rows)[: max(0, len(self._rows) - MAX_ROWS)]:
                del self._rows[key]
            if self._rows and time.monotonic() - self._written >= self._every:
                self._flush()

    def flush(self) -> None:
        """Write the buffered rows now. Raises DrError as `add` does."""
        with self._lock:
            if self._rows:
                self._flush()

    def _flush(self) -> None:
        days: dict[dt.date, list[Mapping[str, Any]]] = {}
        for key, row in list(self._rows.items()):
            try:
                samples.to_table([row])
                days.setdefault(row["at"].astimezone(utc.UTC).date(), []).append(row)
            except Exception as error:  # it would keep all the others from being written, for ever
                log.warning("a reading that cannot be stored is dropped (%s): %s", error, escape.line(row)[:200])
                del self._rows[key]
        for day, rows in days.items():
            name = f"{utc.now():%Y%m%dT%H%M%S%f}-{uuid.uuid4().hex[:8]}.parquet"
            data = samples.encode(samples.to_table(rows))
            self._store.write(f"{folder(self._stack, self._family, day)}{name}", data)
        self._rows = {}
        self._written = time.monotonic()


def folder(stack: str, family: str, day: dt.date) -> str:
    """`seen/{stack}/{family}/{YYYY-MM-DD}/`."""
    samples.key_of(stack, family, day)  # refuses what cannot be part of a key
    return f"seen/{stack}/{family}/{day.isoformat()}/"


def collect(store: Store, stack: str, family: str, day: dt.date, problems: list[str]) -> tuple[Any, list[str]]:
    """The buffered samples of that day as one table, and their keys, to delete once they are in the day's partition.

    Each object that cannot be used is named in `problems`: a damaged one, or one with samples of another day, is quarantined.
    """
    tables: dict[str, Any] = {}
    for key in store.list(folder(stack, family, day)):
        table = samples.read_object(store, key, day, problems)
        if table is not None:
            tables[key] = table
    return samples.merge(*tables.values()), list(tables)
