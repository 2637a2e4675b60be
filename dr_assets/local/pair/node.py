"""One PostgreSQL server: made, started, ended, killed, promoted. Imports psycopg and its neighbours.

Its settings lie outside the data folder (`config_file`), because a base backup or a rewind copies what lies inside.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Literal

import psycopg

from dr_assets.errors import DrError
from dr_assets.local.pair.binaries import Programs
from dr_assets.local.pair.supervisor import kill_all, signal_all

HARNESS = "dr_harness"  # the superuser that only this package uses
SETTINGS = """
listen_addresses = '{ip}'
port = {port}
data_directory = '{data}'
hba_file = '{hba}'
unix_socket_directories = ''
max_connections = 80
shared_buffers = 16MB
wal_level = replica
wal_log_hints = on
wal_keep_size = 512MB
max_wal_senders = 10
max_replication_slots = 10
hot_standby = on
hot_standby_feedback = on
wal_receiver_status_interval = 1s
wal_retrieve_retry_interval = 100ms
password_encryption = scram-sha-256
ssl = off
timezone = 'UTC'
log_timezone = 'UTC'
"""


class Node:
    """One server below `folder`, at `ip`:`port`. Times out with DrError that holds the server's last words."""

    def __init__(self, name: str, programs: Programs, folder: Path, ip: str, port: int, password: str) -> None:
        self.name, self.programs, self.folder, self.ip, self.port = name, programs, folder, ip, port
        self._password = password
        self._supervisor: subprocess.Popen[bytes] | None = None
        self._pid: int | None = None
        folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        programs.own(folder)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def alive(self) -> bool:
        """Whether its process runs (a frozen one does)."""
        return self._supervisor is not None and self._supervisor.poll() is None

    def init(self) -> None:
        """A new, empty cluster."""
        secret = self.folder / "password"
        secret.touch(mode=0o600)
        secret.write_text(self._password)
        self.programs.own(secret)
        try:
            self.programs.run(
                "initdb", "-D", str(self.data), "-U", HARNESS, "-A", "scram-sha-256", f"--pwfile={secret}", "-E", "UTF8",
                "--locale=C", "--no-sync",
            )  # fmt: skip
        finally:
            secret.unlink()

    def base_backup(self, ip: str, port: int) -> None:
        """A copy of the server at that address, taking the place of what was here."""
        shutil.rmtree(self.data, ignore_errors=True)
        env = {**self.programs.identity()["env"], "PGPASSWORD": self._password}
        arguments = {**self.programs.identity(), "env": env}
        done = subprocess.run(
            [str(self.programs.folder / "pg_basebackup"), "-h", ip, "-p", str(port), "-U", HARNESS, "-D", str(self.data),
             "-X", "stream", "-c", "fast", "--no-sync"],
            capture_output=True, text=True, check=False, **arguments,
        )  # fmt: skip
        if done.returncode != 0:
            raise DrError(f"pg_basebackup for {self.name} failed: {done.stderr.strip()[-500:]}")

    def rewind(self, ip: str, port: int) -> None:
        """Make the data a possible standby of the server at that address. What only this one had is gone afterwards."""
        env = {**self.programs.identity()["env"], "PGPASSWORD": self._password}
        arguments = {**self.programs.identity(), "env": env}
        source = f"host={ip} port={port} user={HARNESS} dbname=postgres"
        done = subprocess.run(
            [str(self.programs.folder / "pg_rewind"), "--target-pgdata", str(self.data), "--source-server", source,
             "--config-file", str(self.folder / "postgresql.conf"), "--no-sync"],
            capture_output=True, text=True, check=False, **arguments,
        )  # fmt: skip
        if done.returncode != 0:
            raise DrError(f"pg_rewind of {self.name} failed: {done.stderr.strip()[-500:]}")

    def configure(self, upstream: tuple[str, int] | None = None, slot: str = "", extra: str = "") -> None:
        """Write its settings; with `upstream` it starts as a standby of that address."""
        hba = self.folder / "pg_hba.conf"
        hba.write_text("host all all 127.0.0.0/8 scram-sha-256\nhost replication all 127.0.0.0/8 scram-sha-256\n")
        text = SETTINGS.format(ip=self.ip, port=self.port, data=self.data, hba=hba) + extra
        signal_file = self.data / "standby.signal"
        if upstream:
            secret = f"host={upstream[0]} port={upstream[1]} user={HARNESS} password={self._password} application_name={self.name}"
            text += f"primary_conninfo = '{secret} connect_timeout=2'\nprimary_slot_name = '{slot}'\n"
            signal_file.touch()
            self.programs.own(signal_file)
        else:
            signal_file.unlink(missing_ok=True)
        conf = self.folder / "postgresql.conf"
        conf.touch(mode=0o600)
        conf.write_text(text)
        # A rewind or a backup brings along the other one's settings and the pid file of a killed server.
        (self.data / "postgresql.auto.conf").write_text("")
        for path in (hba, conf, self.data / "postgresql.auto.conf"):
            self.programs.own(path)

    def start(self, wait: float = 20.0) -> None:
        """Start and wait until it takes connections."""
        self._reap()
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        user = "-" if self.programs.user is None else str(self.programs.user)
        command = [
            str(self.programs.folder / "postgres"),
            "-D",
            str(self.data),
            "-c",
            f"config_file={self.folder / 'postgresql.conf'}",
        ]
        package = str(Path(__file__).resolve().parents[3])
        env = self.programs.identity()["env"] | {"PYTHONPATH": package}
        self._supervisor = subprocess.Popen(
            [sys.executable, "-m", "dr_assets.local.pair.supervisor", str(self.folder / "log"), user, *command],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env, start_new_session=True,
        )  # fmt: skip
        assert self._supervisor.stdout is not None
        self._pid = int(self._supervisor.stdout.readline() or 0) or None
        self._until(self._answers, wait, "take connections")

    def _answers(self) -> bool:
        if not self.alive:
            raise DrError(f"PostgreSQL {self.name} did not start: {self.last_words()}")
        try:
            self.sql("select 1", timeout=2)
        except psycopg.OperationalError:
            return False
        return True

    def stop(self, how: Literal["fast", "immediate"] = "fast", wait: float = 15.0) -> None:
        """End it; raises DrError when it is still there after `wait` seconds (a standby that cannot be reached, say)."""
        if not self.alive or self._pid is None:
            return
        if how == "immediate":
            kill_all(self._pid)
        else:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGINT)
        self._until(lambda: not self.alive, wait, "end")
        self._reap()

    def kill(self) -> None:
        """An outage: SIGSTOP, then SIGKILL, for the server and all its children."""
        self.stop("immediate")

    def freeze(self) -> None:
        if self._pid:
            signal_all(self._pid, signal.SIGSTOP)

    def thaw(self) -> None:
        if self._pid:
            signal_all(self._pid, signal.SIGCONT)

    def _reap(self) -> None:
        process, self._supervisor, self._pid = self._supervisor, None, None
        if process is not None:
            for pipe in (process.stdin, process.stdout):
                if pipe:
                    pipe.close()
            process.wait(10)

    def end(self) -> None:
        """End it now, whatever it is doing."""
        if self._pid and self.alive:
            kill_all(self._pid)
        self._reap()

    def connect(self, database: str = "postgres", timeout: int = 3) -> "psycopg.Connection[Any]":
        """As the harness' superuser; autocommit."""
        return psycopg.connect(
            host=self.ip, port=self.port, user=HARNESS, password=self._password, dbname=database, autocommit=True,
            connect_timeout=timeout, application_name="dr-harness",
        )  # fmt: skip

    def sql(self, text: Any, values: Any = None, database: str = "postgres", timeout: int = 3) -> list[tuple[Any, ...]]:
        """Run one statement and answer its rows. Raises psycopg's errors."""
        with self.connect(database, timeout) as connection:
            cursor = connection.execute(text, values)
            return cursor.fetchall() if cursor.description else []

    def promote(self, wait: float = 20.0) -> None:
        """Make a standby a writer. Polling beats `pg_promote(wait => true)`, which looks every 100 ms."""
        with self.connect() as connection:
            connection.execute("select pg_promote(wait => false)")
            deadline = time.monotonic() + wait
            while True:
                row = connection.execute("select pg_is_in_recovery()").fetchone()
                if row and row[0] is False:
                    return
                if time.monotonic() > deadline:
                    raise DrError(f"{self.name} was not promoted within {wait:.0f} s: {self.last_words()}")
                time.sleep(0.002)

    def control(self) -> dict[str, str]:
        """What pg_controldata says."""
        lines = self.programs.run("pg_controldata", "-D", str(self.data)).splitlines()
        return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}

    def last_words(self) -> str:
        log = self.folder / "log"
        return log.read_text(errors="replace")[-600:] if log.exists() else "(it wrote nothing)"

    def _until(self, done: Any, seconds: float, what: str) -> None:
        deadline = time.monotonic() + seconds
        while not done():
            if time.monotonic() > deadline:
                raise DrError(f"PostgreSQL {self.name} did not {what} within {seconds:.0f} s: {self.last_words()}")
            time.sleep(0.01)
