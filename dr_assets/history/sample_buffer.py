"""What the sensors read, on its way into the day's partition: small Parquet objects under `seen/`, at most one a minute.

May import `errors` and its neighbours. A day's pull (`history.pull`) merges them and takes them away. Who dies in between loses
less than a minute of what the database itself said; what CloudWatch has is pulled anyway.
"""

from __future__ import annotations

import datetime as dt
import threading
import time
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from dr_assets import utc
from dr_assets.history import samples
from dr_assets.history.store import Store

WRITE_SECONDS = 60.0
# What a store that refuses may keep waiting; the oldest beyond it are forgotten.
MOST = 20_000


class Seen:
    """Collects readings of one stack and metric family and writes them in bundles. Safe for threads."""

    def __init__(self, store: Store, stack: str, family: str, every: float = WRITE_SECONDS) -> None:
        self._store, self._stack, self._family, self._every = store, stack, family, every
        self._lock = threading.Lock()
        self._rows: dict[tuple[Any, ...], Mapping[str, Any]] = {}
        self._written = time.monotonic()

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Keep rows with the columns of `samples.SCHEMA`; the same reading, seen again, is kept once.

        Raises DrError where the store cannot be written; the rows are kept for the next time then.
        """
        with self._lock:
            for row in rows:
                self._rows[(row["at"], row["site"], row["metric"], row["source"], row["value"])] = row
            for key in list(self._rows)[: max(0, len(self._rows) - MOST)]:
                del self._rows[key]
            if self._rows and time.monotonic() - self._written >= self._every:
                self._flush()

    def flush(self) -> None:
        """Write now what there is. Raises DrError as `add` does."""
        with self._lock:
            if self._rows:
                self._flush()

    def _flush(self) -> None:
        days: dict[dt.date, list[Mapping[str, Any]]] = {}
        for row in self._rows.values():
            days.setdefault(row["at"].astimezone(utc.UTC).date(), []).append(row)
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
    """What was seen of that day, as one table, and the keys to delete once it is in the day's partition.

    What is damaged is quarantined and named in `problems`.
    """
    keys = store.list(folder(stack, family, day))
    tables = []
    for key in keys:
        table = samples.read_object(store, key, problems)
        if table is not None:
            tables.append(table)
    return samples.merge(*tables), keys
