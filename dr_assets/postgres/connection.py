"""Connections to the stack's database that detect a frozen server within a second."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import psycopg

from dr_assets.errors import DrError
from dr_assets.postgres.endpoints import Address

CONNECT_SECONDS = 2  # libpq makes anything less two seconds
PATIENCE_SECONDS = 1.0

# A server that is (again) a standby refuses writes with one of these; the client must resolve the writer again.
_READ_ONLY = ("25006", "57P01", "57P02", "57P03")


@dataclass(frozen=True)
class Credentials:
    """The document of a site's secret. The password is never shown."""

    username: str
    password: str = field(repr=False)
    host: str
    port: int
    dbname: str

    @classmethod
    def from_secret(cls, document: Mapping[str, Any]) -> Credentials:
        """Raises DrError naming the keys that the secret lacks."""
        missing = [name for name in ("username", "password", "host", "port", "dbname") if not document.get(name)]
        if missing:
            raise DrError(f"The database secret lacks {', '.join(missing)}. Provision the stack again.")
        if not str(document["port"]).isdigit():
            raise DrError("The port in the database secret is not a number. Provision the stack again.")
        return cls(
            str(document["username"]),
            str(document["password"]),
            str(document["host"]),
            int(document["port"]),
            str(document["dbname"]),
        )


class DatabaseError(DrError):
    """The database did not answer, or refused. Carries PostgreSQL's SQLSTATE where there is one."""

    def __init__(self, text: str, sqlstate: str | None = None) -> None:
        super().__init__(text)
        self.sqlstate = sqlstate


def open_connection(
    address: Address, credentials: Credentials, application_name: str = "dr-assets"
) -> psycopg.Connection[Any]:
    """A connection in autocommit to that very address. Raises psycopg.OperationalError.

    `sslmode` is libpq's own PGSSLMODE, else `prefer`. Keepalives do not notice a frozen server: see `impatient`.
    """
    return psycopg.connect(
        host=address.host,
        hostaddr=address.ip,
        port=address.port,
        user=credentials.username,
        password=credentials.password,
        dbname=credentials.dbname,
        connect_timeout=CONNECT_SECONDS,
        autocommit=True,
        application_name=application_name,
        sslmode=os.environ.get("PGSSLMODE", "prefer"),
    )


@contextmanager
def impatient(connection: psycopg.Connection[Any], seconds: float = PATIENCE_SECONDS) -> Iterator[None]:
    """Shut the connection's socket down when what is done inside takes longer: psycopg then raises OperationalError.

    Neither keepalives, tcp_user_timeout nor statement_timeout end the wait for a server that stands still in under 9 s.
    """

    def give_up() -> None:
        with contextlib.suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as copy:
            copy.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, give_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def connect(
    address: Address, credentials: Credentials, read_only: bool = False, seconds: float | None = 5.0
) -> Iterator[psycopg.Connection[Any]]:
    """A short-lived connection, cut off after `seconds`. Raises DatabaseError, whose text never contains the password."""
    try:
        with (
            open_connection(address, credentials) as connection,
            nullcontext() if seconds is None else impatient(connection, seconds),
        ):
            if read_only:
                # psycopg's own `read_only` is a property of BEGIN, which autocommit never sends.
                connection.execute("set session characteristics as transaction read only")
            yield connection
    except psycopg.Error as error:
        where = f"{address.host} ({address.ip}:{address.port})"
        raise DatabaseError(f"PostgreSQL at {where}: {str(error).strip()}", error.sqlstate) from error


def is_read_only(error: BaseException) -> bool:
    """Whether the server refuses writes: a standby, or one that is shutting down."""
    return getattr(error, "sqlstate", None) in _READ_ONLY
