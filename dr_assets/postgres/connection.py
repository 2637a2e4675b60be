"""Connections to the stack's database: the server is verified before it gets a password, a frozen one is noticed in a second."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import psycopg

from dr_assets.documents import DocumentError, parse
from dr_assets.errors import DrError
from dr_assets.postgres.endpoints import Address
from dr_assets.secret import Secret

CA_VARIABLE = "DR_TLS_CA"
# Aurora user guide, "Certificate bundles for all AWS Regions".
RDS_BUNDLE = "https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem"
FETCH = f"Fetch {RDS_BUNDLE} and set {CA_VARIABLE} to the file (`dr up` sets it for the embedded AWS)."
OLDEST_LIBPQ = 160000  # the first with require_auth

CONNECT_SECONDS = 2  # libpq makes anything less two seconds
PATIENCE_SECONDS = 1.0

# A server that is (again) a standby refuses writes with one of these; the client must resolve the writer again.
_READ_ONLY = ("25006", "57P01", "57P02", "57P03")


@dataclass(frozen=True)
class Credentials:
    """The document of a site's secret. The password is never shown."""

    username: str
    password: Secret
    host: str
    port: int
    dbname: str

    @classmethod
    def from_secret(cls, document: Mapping[str, Any]) -> Credentials:
        """Raises DrError naming the keys that the secret lacks."""
        found = cls._of(document)
        if isinstance(found, str):
            raise DrError(found)
        return found

    @classmethod
    def from_text(cls, text: Secret, name: str) -> Credentials:
        """From the JSON text of the secret called `name`. Raises DrError, whose traceback holds nothing of the text."""
        found = cls._of_text(text.reveal(), name)
        if isinstance(found, str):
            raise DrError(found)
        return found

    @classmethod
    def _of_text(cls, text: str, name: str) -> Credentials | str:
        with suppress(DocumentError):
            document = parse(text)
            if isinstance(document, dict):
                return cls._of(document)
        return f"The secret {name} is no JSON object. Provision the stack again."

    @classmethod
    def _of(cls, document: Mapping[str, Any]) -> Credentials | str:
        """The credentials, or what is wrong with the document: returned, since a traceback from here would hold the document."""
        missing = [name for name in ("username", "password", "host", "port", "dbname") if not document.get(name)]
        if missing:
            return f"The database secret lacks {', '.join(missing)}. Provision the stack again."
        port = str(document["port"])
        if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
            return "The port in the database secret is not a number. Provision the stack again."
        password = Secret(str(document["password"]))
        return cls(str(document["username"]), password, str(document["host"]), int(port), str(document["dbname"]))


class DatabaseError(DrError):
    """The database did not answer, or refused. Carries PostgreSQL's SQLSTATE where there is one."""

    def __init__(self, text: str, sqlstate: str | None = None) -> None:
        super().__init__(text)
        self.sqlstate = sqlstate


class TlsError(DrError):
    """The server could not be verified, so nothing was sent to it. It is no outage: whether the database works is unknown."""


class NameMismatchError(TlsError):
    """The server's certificate is signed by a known authority and covers other host names."""


_MISMATCH = "does not match host name"
# Part of libpq's text (fe-secure-openssl.c, fe-secure-common.c, fe-connect.c, fe-auth.c; the same in libpq 16 to 18) -> remedy.
# A server that dies within the handshake is an outage: "SSL SYSCALL error", "unexpected eof" and the like are not listed.
_UNVERIFIED = {
    "certificate verify failed": f"{CA_VARIABLE} must hold the authority that signed its certificate. {FETCH}",
    _MISMATCH: "Connect by an endpoint name of the cluster, over a tunnel with DR_RESOLVE=NAME=IP:PORT.",
    "server does not support SSL": "Check that the address is Aurora's.",
    "invalid response to SSL negotiation": "Check that the address is Aurora's.",
    "authentication method requirement": "Check that the address is Aurora's, and that password_encryption is scram-sha-256.",
    "root certificate file": FETCH,
    # The server refuses what libpq sends of PGTZ, PGDATESTYLE and PGGEQO ("Environment Variables", PostgreSQL documentation).
    "invalid value for parameter": "Unset the variables of libpq: PGTZ, PGDATESTYLE, PGGEQO.",
    "requires a Boolean value": "Unset the variables of libpq: PGTZ, PGDATESTYLE, PGGEQO.",
}


def tls_authorities() -> str:
    """The file with the authorities that may sign a server's certificate, from $DR_TLS_CA. Raises TlsError where unusable."""
    path = os.environ.get(CA_VARIABLE)
    if not path:
        raise TlsError(f"{CA_VARIABLE} is not set, so no database server can be verified. {FETCH}")
    try:
        _check_authorities(path, Path(path).stat().st_mtime_ns)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise TlsError(f"{CA_VARIABLE}={path} holds no certificates that can be read ({reason}). {FETCH}") from error
    if psycopg.pq.version() < OLDEST_LIBPQ:
        raise TlsError(f"libpq {psycopg.pq.version()} cannot insist on SCRAM. Install psycopg[binary] 3.2 or newer.")
    return path


@lru_cache(maxsize=4)
def _check_authorities(path: str, _changed: int) -> None:
    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)


def open_connection(
    address: Address, credentials: Credentials, application_name: str = "dr-assets"
) -> psycopg.Connection[Any]:
    """A connection in autocommit to that very address, whose certificate covers `address.host` or a name in `address.also`.

    No setting of libpq's own (PGSSLMODE, PGREQUIREAUTH, PGGSSENCMODE, a service file) weakens it. Keepalives do not notice a
    frozen server: see `impatient`. Raises TlsError, psycopg.OperationalError, whose tracebacks hold no frame of psycopg.
    """
    authorities = tls_authorities()
    try:
        return _open(address, credentials, application_name, authorities)
    except NameMismatchError:
        for name in address.also:
            with suppress(NameMismatchError):
                return _open(replace(address, host=name), credentials, application_name, authorities)
        raise


# Aurora speaks no later protocol, and libpq 18 knows no earlier one. With PGMINPROTOCOLVERSION=3.2 a healthy server would seem to be down.
_PROTOCOL = {"min_protocol_version": "3.0", "max_protocol_version": "3.0"}
# Stated for each connection, but for two. With a password no passfile is read. PGSERVICE cannot be overruled, since `service=""` is a
# service of that name; its file fills in only what is not stated.
_NO_DEFAULT = {"service", "user", "password", "passfile", "dbname", "host", "hostaddr", "port"}


def defaults() -> dict[str, str]:
    """libpq's own default of each option that it would take from a variable of the environment where it is not stated.

    PostgreSQL documentation, 34.1.1 (PQconndefaults). The options differ between versions of libpq, which refuse unknown ones.
    """
    return {
        option.keyword.decode(): (option.compiled or b"").decode()
        for option in psycopg.pq.Conninfo.get_defaults()
        if option.envvar and option.keyword.decode() not in _NO_DEFAULT
    }


def _open(
    address: Address, credentials: Credentials, application_name: str, authorities: str
) -> psycopg.Connection[Any]:
    stated = defaults()
    protocol = _PROTOCOL if stated.keys() >= _PROTOCOL.keys() else {}
    verified = {
        "sslmode": "verify-full",
        "sslrootcert": authorities,
        "ssl_min_protocol_version": "TLSv1.2",
        "sslcertmode": "disable",
        "require_auth": "scram-sha-256",
        "channel_binding": "prefer",
        "gssencmode": "disable",  # GSSAPI encryption would take the place of TLS
        "client_encoding": "UTF8",
        "application_name": application_name,
        "connect_timeout": CONNECT_SECONDS,
    }
    parameters: dict[str, Any] = {**stated, **protocol, **verified}
    try:
        return psycopg.connect(
            host=address.host,
            hostaddr=address.ip,
            port=address.port,
            user=credentials.username,
            password=credentials.password.reveal(),
            dbname=credentials.dbname,
            autocommit=True,
            **parameters,
        )
    except psycopg.Error as error:
        failure = _understood(error, address)
    raise failure  # outside of `except`: psycopg's error keeps its connection, and its frames the password


def _understood(error: psycopg.Error, address: Address) -> Exception:
    """What the failure to connect means: a TlsError, or the same error without the connection, the frames and the chain."""
    text = str(error)
    if isinstance(error, psycopg.ProgrammingError):
        # libpq refuses the parameters before it connects: that says nothing about the server.
        return TlsError(
            f"libpq {psycopg.pq.version()} refuses the parameters of a verified connection: {_last_line(error)}. "
            "Install psycopg[binary] 3.2 or newer."
        )
    if text.startswith("connection is bad: ") and "connection to server" not in text:
        # libpq did not even try, for a service or a variable of its own that it cannot use: that says nothing about the server.
        return TlsError(
            f"libpq cannot connect as it is set up here: {_last_line(error).removeprefix('connection is bad: ')}. Unset its variables "
            "(PGSERVICE and the like)."
        )
    remedy = next((remedy for part, remedy in _UNVERIFIED.items() if part in text), None)
    if remedy is None or not isinstance(error, psycopg.OperationalError):
        bare = type(error)(text)
        bare.sqlstate = error.sqlstate
        return bare
    where = f"{address.host} ({address.ip}:{address.port})"
    kind = NameMismatchError if _MISMATCH in text else TlsError
    return kind(f"PostgreSQL at {where} cannot be trusted and received no password: {_last_line(error)}. {remedy}")


def _last_line(error: psycopg.Error) -> str:
    """What failed, without libpq's address before it."""
    return str(error).strip().splitlines()[-1].rpartition("failed: ")[2].rstrip(".")


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
    """A short-lived connection, cut off after `seconds`. Raises TlsError, DatabaseError; no text contains the password."""
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
