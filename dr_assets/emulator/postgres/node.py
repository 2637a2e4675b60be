"""One PostgreSQL server: initialise, configure, start, stop, kill, freeze, promote, query.

Clients reach it through a TLS proxy (`tls_proxy`) at its address; the server itself listens at `inner`, which only this package
uses. Its settings are outside the data folder (`config_file`), because a base backup or a rewind copies what lies inside. Passwords
are in a file of their own (`passfile`): `primary_conninfo` is readable by every role with pg_monitor.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg

from dr_assets import files
from dr_assets.emulator.postgres import ports, supervisor, tls_proxy
from dr_assets.emulator.postgres.binaries import Programs, clean_environment
from dr_assets.errors import DrError

HARNESS = "dr_harness"  # the superuser that only this package uses
# fsync: the outages here end processes, not machines; what is in the page cache survives them.
SETTINGS = """
fsync = off
listen_addresses = '{ip}'
port = {port}
data_directory = '{data}'
hba_file = '{hba}'
unix_socket_directories = ''
dr.site = '{site}'
max_connections = 100
shared_buffers = 16MB
dynamic_shared_memory_type = mmap
min_wal_size = 16MB
max_wal_size = 256MB
wal_level = replica
wal_log_hints = on
wal_keep_size = 256MB
max_wal_senders = 10
max_replication_slots = 10
hot_standby = on
hot_standby_feedback = on
wal_receiver_status_interval = 1s
wal_retrieve_retry_interval = 100ms
password_encryption = scram-sha-256
log_min_error_statement = panic
ssl = off
timezone = 'UTC'
log_timezone = 'UTC'
"""
START_SECONDS = 30.0
END_SECONDS = 10.0


def wire_of(connection: psycopg.Connection[Any]) -> socket.socket:
    """A second handle on the connection's socket: to cut it from another thread, whatever state it is in."""
    return socket.socket(fileno=os.dup(connection.fileno()))


def cut(wire: socket.socket) -> None:
    """End a connection at once. Keepalives and statement_timeout do not notice a frozen server; this does."""
    with contextlib.suppress(OSError):
        wire.shutdown(socket.SHUT_RDWR)


class Node:
    """One server below `folder`, at `address` for its clients. What takes too long raises DrError.

    Attributes:
        tls: folder of its certificate; `configure_tls` must have been called before it starts.
        outage: it was killed or frozen as a fault, and no operation but `rebuild` brings it back.
    """

    def __init__(
        self,
        site: str,
        programs: Programs,
        folder: Path,
        address: tuple[str, int],
        inner: tuple[str, int],
        password: str,
        ending: threading.Event,
        tls: Path | None = None,
    ) -> None:
        self.site, self.folder, self.outage = site, folder, False
        self.address, self.inner = address, inner
        self.tls = tls or folder / "tls"
        self._programs, self._password, self._ending = programs, password, ending
        self._supervisor: subprocess.Popen[bytes] | None = None
        self._pid = self._proxy_pid = 0
        folder.mkdir(mode=0o711, exist_ok=True)
        programs.own(folder)
        self.tls.mkdir(mode=0o700, exist_ok=True)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def alive(self) -> bool:
        """Whether its process runs (a frozen one does)."""
        return self._supervisor is not None and self._supervisor.poll() is None

    @property
    def is_writer(self) -> bool:
        """Whether its data are those of a writer, running or not."""
        return self.data.exists() and not (self.data / "standby.signal").exists()

    # --- its data ------------------------------------------------------------------------------------------------------

    def init(self) -> None:
        """A new, empty cluster."""
        secret = self.folder / "password"
        self._programs.write(secret, self._password, self.folder)
        try:
            self._programs.run(
                "initdb",
                "-D",
                str(self.data),
                "-U",
                HARNESS,
                "-A",
                "scram-sha-256",
                f"--pwfile={secret}",
                "-E",
                "UTF8",
                "--locale=C",
                "--wal-segsize=4",
                "--no-sync",
            )
        finally:
            secret.unlink()

    def base_backup(self, source: Node) -> None:
        """A copy of that server, taking the place of what was here."""
        shutil.rmtree(self.data, ignore_errors=True)
        ip, port = source.inner
        arguments = ["-h", ip, "-p", str(port), "-U", HARNESS, "-D", str(self.data)]
        self._programs.run(
            "pg_basebackup", *arguments, "-X", "stream", "-c", "fast", "--no-sync", env={"PGPASSFILE": self._passfile()}
        )

    def rewind(self, source: Node) -> None:
        """Make a former writer's data fit for a standby of that server. What only this one had is gone afterwards."""
        self.configure()  # pg_rewind runs it, to end the crash recovery of a killed server
        ip, port = source.inner
        where = f"host={ip} port={port} user={HARNESS} dbname=postgres sslmode=disable"
        self._programs.run(
            "pg_rewind",
            "--target-pgdata",
            str(self.data),
            "--source-server",
            where,
            "--config-file",
            str(self.folder / "postgresql.conf"),
            "--no-sync",
            env={"PGPASSFILE": self._passfile()},
        )

    def copy_to(self, folder: Path) -> Node:
        """A node at a port of its own on a copy of the data of this one, which must be down; it has the same certificate."""
        shutil.rmtree(folder, ignore_errors=True)
        address, inner = ((ip, ports.free_port(ip)) for ip, _ in (self.address, self.inner))
        twin = Node(self.site, self._programs, folder, address, inner, self._password, self._ending, self.tls)
        # cp keeps owners and modes, and shares blocks where the file system can.
        subprocess.run(["cp", "-Rp", str(self.data), str(twin.data)], check=True, capture_output=True)
        return twin

    def _passfile(self) -> str:
        path = self.folder / "pgpass"
        self._programs.write(path, f"*:*:*:{HARNESS}:{self._password}\n", self.folder)
        return str(path)

    def configure(self, upstream: tuple[str, int] | None = None, slot: str = "", read_only: bool = False) -> None:
        """Write its settings. With `upstream` it starts as a standby of that address.

        `read_only`: as a standby without an upstream, which replays its own WAL to the end and then only answers queries.
        """
        hba, conf, auto = self.folder / "pg_hba.conf", self.folder / "postgresql.conf", "postgresql.auto.conf"
        self._programs.write(
            hba, "".join(f"host {what} all 127.0.0.0/8 scram-sha-256\n" for what in ("all", "replication")), self.folder
        )
        ip, port = self.inner
        text = SETTINGS.format(ip=ip, port=port, data=self.data, hba=hba, site=self.site)
        marker = self.data / "standby.signal"
        if upstream or read_only:
            self._programs.write(marker, "", self.folder)
        else:
            marker.unlink(missing_ok=True)
        if upstream:
            # A standby's own slots would keep WAL for ever, without a consumer.
            for left in (self.data / "pg_replslot").glob("*"):
                shutil.rmtree(left)
            where = f"host={upstream[0]} port={upstream[1]} user={HARNESS} application_name={self.site} sslmode=disable"
            text += f"primary_conninfo = '{where} passfile={self._passfile()}'\nprimary_slot_name = '{slot}'\n"
        elif read_only:
            text += "recovery_target_timeline = 'current'\n"
        self._programs.write(conf, text, self.folder)
        self._programs.write(self.data / auto, "", self.folder)  # a rewind or a backup brings along the other one's

    def configure_tls(self, certificate: bytes, force: bool) -> None:
        """Its certificate with key (PEM), and whether clients without TLS are refused; both hold for new connections."""
        files.write(self.tls / tls_proxy.CERTIFICATE, certificate, mode=0o600)
        forced = self.tls / tls_proxy.FORCE
        forced.touch() if force else forced.unlink(missing_ok=True)

    # --- lifecycle -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start and wait until it takes connections."""
        self.outage = False
        deadline = time.monotonic() + START_SECONDS
        while True:
            self._launch()
            try:
                self.until(self._answers, START_SECONDS, "take connections")
                return
            except DrError as error:
                self.end()
                tail = self.log_tail()
                # Outside Linux the address cannot be held while the server is down; another process may give it back.
                taken = "could not bind" in tail and time.monotonic() < deadline
                if not taken or self._ending.wait(0.3):
                    raise DrError(f"{error} The end of its log: {tail}") from error

    def _launch(self) -> None:
        self.end()
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        user = "-" if self._programs.user is None else str(self._programs.user)
        proxy = json.dumps([*map(str, (*self.address, *self.inner)), str(self.tls)])
        settings = f"config_file={self.folder / 'postgresql.conf'}"
        command = [str(self._programs.folder / "postgres"), "-D", str(self.data), "-c", settings]
        started = subprocess.Popen(
            [
                sys.executable,
                "-I",
                "-S",
                supervisor.__file__,
                str(self.data),
                str(self.folder / "log"),
                user,
                proxy,
                *command,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=clean_environment(),
            start_new_session=True,
        )
        assert started.stdout is not None
        self._pid, self._proxy_pid = map(int, started.stdout.readline().split() or (0, 0))
        self._supervisor = started

    def _answers(self) -> bool:
        if not self.alive:
            raise DrError(f"PostgreSQL {self.site} did not start.")
        try:
            self.sql("select 1", seconds=2)
            socket.create_connection(self.address, timeout=2).close()  # its proxy listens
        except (psycopg.OperationalError, OSError):
            return False
        return True

    def shut_down(self, seconds: float) -> None:
        """Cleanly, with all WAL handed to the standby. DrError when it has not ended by then."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGINT)
            self.until(lambda: not self.alive, seconds, "shut down")
        self.end()

    def end(self) -> None:
        """End it now, whatever it is doing. Idempotent."""
        process, self._supervisor = self._supervisor, None
        if process is None:
            return
        if process.poll() is None and self._pid:
            supervisor.kill_all(self._pid, self._proxy_pid)
        for pipe in (process.stdin, process.stdout):
            if pipe:
                pipe.close()
        process.wait(END_SECONDS)

    def kill(self) -> None:
        """An outage: SIGSTOP, then SIGKILL, for the server and all its children. Returns when they are gone."""
        process = self._supervisor
        self.outage = True
        if process is not None and process.poll() is None:
            supervisor.kill_all(self._pid, self._proxy_pid)
            process.wait(END_SECONDS)

    def freeze(self) -> None:
        """Connections stay open and nothing answers."""
        if self.alive:
            self.outage = True
            supervisor.freeze_all(self._pid, self._proxy_pid)

    def thaw(self) -> None:
        """End a freeze."""
        if self.alive:
            supervisor.thaw_all(self._pid, self._proxy_pid)
            self.outage = False

    def until(self, done: Callable[[], bool], seconds: float, what: str) -> None:
        """Wait until `done()`; DrError when it takes longer than `seconds`, or when the pair is being ended."""
        deadline = time.monotonic() + seconds
        while not done():
            if time.monotonic() > deadline:
                raise DrError(f"PostgreSQL {self.site} did not {what} within {seconds:g} s.")
            if self._ending.wait(0.005):
                raise DrError(f"PostgreSQL {self.site} did not {what}: the pair was stopped meanwhile.")

    # --- connections ---------------------------------------------------------------------------------------------------

    def connect(self, database: str = "postgres") -> psycopg.Connection[Any]:
        """Connect as the harness' superuser, autocommit. psycopg.OperationalError after 2 s without an answer."""
        return psycopg.connect(
            host=self.inner[0],
            port=self.inner[1],
            user=HARNESS,
            password=self._password,
            dbname=database,
            autocommit=True,
            connect_timeout=2,
            application_name="dr-harness",
            sslmode="disable",
            gssencmode="disable",
            options="",
            target_session_attrs="any",
        )

    @contextlib.contextmanager
    def session(self, database: str = "postgres", seconds: float = 5.0) -> Iterator[psycopg.Connection[Any]]:
        """A connection that is cut after `seconds` (psycopg.OperationalError), so that a frozen server blocks no caller."""
        with contextlib.closing(self.connect(database)) as connection, wire_of(connection) as wire:
            watchdog = threading.Timer(seconds, cut, [wire])
            watchdog.daemon = True
            watchdog.start()
            try:
                yield connection
            finally:
                watchdog.cancel()

    def sql(
        self, text: Any, values: Any = None, database: str = "postgres", seconds: float = 5.0
    ) -> list[tuple[Any, ...]]:
        """Run SQL and answer the rows of its last statement. Raises psycopg's errors."""
        with self.session(database, seconds) as connection:
            cursor = connection.execute(text.encode() if isinstance(text, str) else text, values)
            while cursor.nextset():
                pass
            return cursor.fetchall() if cursor.description else []

    def promote(self, seconds: float = 20.0) -> None:
        """Make a standby a writer. Polling beats `pg_promote(wait => true)`, which polls every 100 ms."""
        try:
            with self.session(seconds=seconds) as connection:
                connection.execute("select pg_promote(wait => false)")
                while (row := connection.execute("select pg_is_in_recovery()").fetchone()) and row[0]:
                    time.sleep(0.002)
        except psycopg.Error as error:
            raise DrError(f"PostgreSQL {self.site} was not promoted: {error} {self.log_tail()}") from error

    def control(self) -> dict[str, str]:
        """The fields of pg_controldata."""
        lines = self._programs.run("pg_controldata", "-D", str(self.data)).splitlines()
        return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}

    def log_tail(self) -> str:
        """The end of the server's log."""
        log = self.folder / "log"
        return log.read_text(errors="replace")[-600:] if log.exists() else "(it wrote nothing)"
