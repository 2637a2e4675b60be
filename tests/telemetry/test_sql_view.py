"""What the database itself says, without a database: the connection is played."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from dr_assets.drills.database import Credentials, DatabaseError
from dr_assets.endpoints import Address, ResolutionError
from dr_assets.stack import Stack
from dr_assets.telemetry import sql_view
from dr_assets.telemetry.sql_view import SqlView
from tests.telemetry.helpers import at


class Played:
    """Answers by the beginning of the statement; raises what is an exception."""

    def __init__(self, **answers: Any) -> None:
        self.answers = {"write": (1,), "recovery": (False,), "aurora": (False,), "lag": (12.5, 3.0), **answers}

    def execute(self, statement: str) -> Played:
        known = {"emit_message": "write", "in_recovery": "recovery", "to_regproc": "aurora"}
        self.asked = next((name for part, name in known.items() if part in statement), "lag")
        if isinstance(self.answers[self.asked], Exception):
            raise self.answers[self.asked]
        return self

    def fetchone(self) -> Any:
        return self.answers[self.asked]


class Names:
    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def resolve(self, host: str, port: int) -> Address:
        if self.error:
            raise self.error
        return Address(host, "127.0.0.1", port)


def ask(stack: Stack, monkeypatch: pytest.MonkeyPatch, played: Any, names: Names | None = None) -> dict[str, Any]:
    @contextmanager
    def connect(*_: Any) -> Iterator[Any]:
        if isinstance(played, Exception):
            raise played
        try:
            yield played
        except psycopg.Error as error:
            raise DatabaseError(str(error)) from error

    monkeypatch.setattr(sql_view, "connect", connect)
    monkeypatch.setattr(SqlView, "_credentials", lambda self: Credentials("u", "p", "host", 5432, "db"))
    samples, _ = SqlView(stack, "primary", None, names or Names())(at(0))  # type: ignore[arg-type]
    return {f"{sample.site} {sample.metric}": sample.value for sample in samples}


def test_a_writer_took_a_write_and_knows_the_reader_s_lag(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    found = ask(stack, monkeypatch, Played())
    assert found == {"primary connectivity": 1.0, "secondary replication-lag": 12.5, "secondary rpo-lag": 3.0}


def test_idle_is_no_lag_and_detached_is_unknown(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask(stack, monkeypatch, Played(lag=(None, None)))["secondary rpo-lag"] == 0.0
    assert ask(stack, monkeypatch, Played(lag=None))["secondary rpo-lag"] is None


def test_a_standby_takes_no_writes_and_is_not_asked_to(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    played = Played(recovery=(True,), write=AssertionError("a standby must not be written to"))
    assert ask(stack, monkeypatch, played) == {"primary connectivity": 0.0}


@pytest.mark.parametrize(
    ("played", "names"),
    [
        (DatabaseError("connection refused"), None),
        (Played(write=psycopg.errors.ReadOnlySqlTransaction("read only")), None),
        (Played(write=psycopg.errors.DiskFull("no space")), None),
        (Played(), Names(ResolutionError("no address"))),
    ],
)
def test_a_database_that_refuses_or_cannot_be_found_is_down(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, played: Any, names: Names | None
) -> None:
    assert ask(stack, monkeypatch, played, names) == {"primary connectivity": 0.0}
