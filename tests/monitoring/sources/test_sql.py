"""The database's own view, without a database: the connection is a double."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from dr_assets.monitoring.sources import sql as sql_view
from dr_assets.monitoring.sources.sql import SqlView
from dr_assets.postgres.connection import Credentials, DatabaseError, TlsError
from dr_assets.postgres.endpoints import Address, ResolutionError
from dr_assets.secret import Secret
from dr_assets.stack import Stack
from tests.support.monitoring import at, known


class Played:
    """Answers by the beginning of the statement; raises what is an exception. Positions in the log are plain numbers."""

    def __init__(self, **answers: Any) -> None:
        own = ("us-east-1", -1.0, -1.0, 1.79e9)  # the writer: -1, and the epoch as the time of its calculation
        status = [own, ("us-west-2", 12.5, 3.0, 0.2)]
        self.answers = {"write": (100,), "recovery": (False, True), "aurora": (True,), "status": status, **answers}

    def execute(self, statement: str, values: Any = None) -> Played:
        known = {
            "INSERT INTO dr_drill.dr_heartbeat": "write",
            "pg_current_wal_lsn": "write",
            "in_recovery": "recovery",
            "to_regproc": "aurora",
            "rpo_lag_in_msec": "status",
        }
        self.asked = next((name for part, name in known.items() if part in statement), "lag")
        if isinstance(self.answers[self.asked], Exception):
            raise self.answers[self.asked]
        return self

    def fetchone(self) -> Any:
        return self.answers[self.asked]

    def fetchall(self) -> Any:
        return self.answers[self.asked]


class Names:
    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def resolve(self, host: str, port: int) -> Address:
        if self.error:
            raise self.error
        return Address(host, "127.0.0.1", port)


def ask(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, played: Any, names: Names | None = None, view: SqlView | None = None
) -> dict[str, Any]:
    @contextmanager
    def connect(*_: Any) -> Iterator[Any]:
        if isinstance(played, Exception):
            raise played
        try:
            yield played
        except psycopg.Error as error:
            raise DatabaseError(str(error)) from error

    monkeypatch.setattr(sql_view, "connect", connect)
    monkeypatch.setattr(SqlView, "_credentials", lambda self: Credentials("u", Secret("p"), "host", 5432, "db"))
    samples, _ = (view or SqlView(stack, "primary", None, names or Names()))(at(0))  # type: ignore[arg-type]
    found = {f"{sample.site} {sample.metric}": known(sample, 0)[0] for sample in samples}
    assert len(found) == len(samples), "one sample of each subject"
    reachable = found.pop("primary reachable")
    if found["primary connectivity"] == 1.0:
        assert reachable == 1.0
    return found


@pytest.mark.parametrize(
    ("played", "names", "expected"),
    [
        (Played(recovery=(True, False)), None, 1.0),
        (Played(), None, 1.0),
        (Played(write=psycopg.errors.ReadOnlySqlTransaction("read only")), None, 1.0),
        (DatabaseError("connection refused"), None, 0.0),
        (Played(), Names(ResolutionError("no such name")), 0.0),
    ],
)
def test_case_b3_a_reader_is_reachable_when_it_accepts_connections(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, played: Any, names: Names | None, expected: float
) -> None:
    raw: dict[str, float | None] = {}
    monkeypatch.setattr(SqlView, "_credentials", lambda self: Credentials("u", "p", "host", 5432, "db"))
    ask(stack, monkeypatch, played, names)
    for sample in SqlView(stack, "primary", None, names or Names())(at(0))[0]:  # type: ignore[arg-type]
        raw[sample.metric] = sample.raw
    assert raw["reachable"] == expected


def test_a_writer_took_a_write_and_knows_the_reader_s_lag(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    found = ask(stack, monkeypatch, Played())
    assert found == {"primary connectivity": 1.0, "secondary replication-lag": 12.5, "secondary rpo-lag": 3.0}


def test_a_reader_that_is_not_attached_is_unknown(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask(stack, monkeypatch, Played(status=[]))["secondary rpo-lag"] is None
    found = ask(stack, monkeypatch, Played(status=[("us-west-2", None, 3.0, 0.2)]))
    assert (found["secondary replication-lag"], found["secondary rpo-lag"]) == (None, 3.0)


UNKNOWN = {"primary connectivity": 1.0, "secondary replication-lag": None, "secondary rpo-lag": None}


@pytest.mark.parametrize("age", [7200.0, 31.0, -7200.0, None])
def test_case_a4_a_lag_that_was_calculated_long_ago_is_unknown(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, age: float | None
) -> None:
    """`last_lag_calculation_time`: when the values were calculated (Aurora user guide, aurora_global_db_status)."""
    assert ask(stack, monkeypatch, Played(status=[("us-west-2", 250.0, 250.0, age)])) == UNKNOWN


def test_case_a4_of_several_secondary_regions_the_sites_own_counts(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [("us-east-1", -1.0, -1.0, 1.79e9), ("eu-west-1", 90_000.0, 80_000.0, 0.1), ("us-west-2", 40.0, 30.0, 0.1)]
    for status in (rows, rows[::-1]):
        found = ask(stack, monkeypatch, Played(status=status))
        assert (found["secondary replication-lag"], found["secondary rpo-lag"]) == (40.0, 30.0)
    assert ask(stack, monkeypatch, Played(status=rows[:2])) == UNKNOWN


def test_aws_06_a_lag_below_zero_is_unknown(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """-1 marks the primary, so a row of the reader's region that says so is one of a writer."""
    assert ask(stack, monkeypatch, Played(status=[("us-west-2", -1.0, -1.0, 0.2)])) == UNKNOWN


NAN = float("nan")


@pytest.mark.parametrize(
    "status",
    [
        [("us-west-2", NAN, NAN, 0.2)],
        [("us-west-2", 5.0, 5.0, NAN)],
        [("us-west-2", float("inf"), float("inf"), 0.2)],
        [("us-west-2", "soon", "soon", 0.2)],
        [("us-west-2", 5.0, 5.0, "just now")],
        [("us-west-2", 5.0)],
        [("us-west-2", 5.0, 5.0, 0.2), ("us-west-2", 90_000.0, 80_000.0, 0.2)],
        [(None, 5.0, 5.0, 0.2)],
        [],
        psycopg.errors.UndefinedColumn('column "rpo_lag_in_msec" does not exist'),
        psycopg.errors.InsufficientPrivilege("permission denied for function aurora_global_db_status"),
    ],
    ids=str,
)
def test_case_a4_a_lag_that_cannot_be_read_is_unknown_and_says_nothing_against_the_writer(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, status: Any
) -> None:
    """No number, no finite one, no such column, two rows of one region. The write was accepted before the lag was asked for."""
    assert ask(stack, monkeypatch, Played(status=status)) == UNKNOWN


class TestPlainPostgres:
    """Without Aurora's function the lag is the age of the newest heartbeat that arrived."""

    @pytest.fixture
    def view(self, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> SqlView:
        monkeypatch.setattr(sql_view, "ARRIVAL_SECONDS", 0.05)
        return SqlView(stack, "primary", None, Names())  # type: ignore[arg-type]

    @pytest.fixture
    def lags(self, stack: Stack, monkeypatch: pytest.MonkeyPatch, view: SqlView) -> Any:
        def ask_at(position: int, reached: Any) -> tuple[float | None, float | None]:
            played = Played(aurora=(False,), write=(position,), lag=reached)
            found = ask(stack, monkeypatch, played, view=view)
            return found["secondary replication-lag"], found["secondary rpo-lag"]

        return ask_at

    def test_a_heartbeat_that_arrived_at_once_is_next_to_no_lag(self, lags: Any) -> None:
        replayed, stored = lags(100, (101, 101))
        assert 0 <= stored <= replayed < 1000

    def test_a_reader_that_is_cut_off_falls_behind_whatever_its_row_says(self, lags: Any, view: SqlView) -> None:
        lags(100, (101, 101))
        view._beats = [(when - 90.0, position) for when, position in view._beats]
        replayed, stored = lags(200, (101, 101))  # the row stays as it was when the way was cut
        assert 90_000 < stored < 120_000
        assert replayed == pytest.approx(stored, rel=0.1)

    def test_stored_but_not_replayed(self, lags: Any, view: SqlView) -> None:
        lags(100, (101, 101))
        view._beats = [(when - 90.0, position) for when, position in view._beats]
        replayed, stored = lags(200, (101, 201))
        assert stored < 1000 < 90_000 < replayed

    def test_nothing_of_ours_has_arrived_yet(self, lags: Any) -> None:
        assert lags(100, (50, 50)) == (None, None)

    def test_a_role_that_may_not_see_it_does_not_know(self, lags: Any) -> None:
        assert lags(100, (None, None)) == (None, None)

    def test_no_reader(self, lags: Any) -> None:
        assert lags(100, None) == (None, None)


def test_aws_03_a_reader_whose_writer_endpoint_does_not_resolve_is_asked_through_its_reader_endpoint(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A secondary's writer endpoint is inactive and may not resolve until it is promoted (RDS API, DBClusterEndpoint.Status)."""
    writer = "aurora-secondary-x.cluster-c1.us-west-2.rds.amazonaws.com"
    asked: list[str] = []

    class Inactive(Names):
        def resolve(self, host: str, port: int) -> Address:
            asked.append(host)
            if host == writer:
                raise ResolutionError("no address")
            return Address(host, "127.0.0.1", port)

    view = SqlView(stack, "secondary", None, Inactive())  # type: ignore[arg-type]
    address = view._address(Credentials("u", Secret("p"), writer, 5432, "db"))
    assert asked == [writer, address.host]
    assert address.host == "aurora-secondary-x.cluster-ro-c1.us-west-2.rds.amazonaws.com"


def test_aws_23_the_heartbeat_is_a_plain_row() -> None:
    """pg_logical_emit_message can be refused, or carry wrong positions, while wal_level < logical (pg_gather#9)."""
    statements = (sql_view._STATE, sql_view._SCHEMA, sql_view._WRITE, sql_view._POSITION)
    assert not [text for text in statements if "logical" in text]


def test_a_standby_takes_no_writes_and_is_not_asked_to(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    played = Played(recovery=(True, True), write=AssertionError("a standby must not be written to"))
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


def test_case_e1_a_server_that_cannot_be_verified_is_unknown_not_down(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong certificate is no outage: nothing is known, and no connectivity is published."""
    with pytest.raises(TlsError):
        ask(stack, monkeypatch, TlsError("PostgreSQL at host cannot be trusted"))
