"""No server gets the password before it has proven who it is, and then only by SCRAM; libpq's own settings weaken nothing.

The impostors are written from PostgreSQL's documentation: "Message Flow" (SSL Session Encryption, Start-up) and "Message
Formats" (SSLRequest 80877103; AuthenticationCleartextPassword `R` 8 3; AuthenticationMD5Password `R` 12 5 and a salt;
AuthenticationOk `R` 8 0).
"""

import ast
import hashlib
import os
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from dr_assets.drills.measurement.client_probe import write_once
from dr_assets.emulator.postgres import tls_proxy
from dr_assets.emulator.postgres.certificates import CertificateAuthority
from dr_assets.postgres.connection import Credentials, DatabaseError, TlsError, connect, open_connection
from dr_assets.postgres.endpoints import Address, Resolver
from dr_assets.secret import Secret
from tests.support.servers import HOST, Server

Servers = tuple[Server, Server]
ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "s3cr3t-of-the-master"
CREDENTIALS = Credentials("dbadmin", Secret(PASSWORD), HOST, 5432, "transactiondb")
SSL_REQUEST = struct.pack("!II", 8, 80877103)
REQUESTS = {
    "cleartext": b"R" + struct.pack("!II", 8, 3),
    "md5": b"R" + struct.pack("!II", 12, 5) + b"salt",
    "trust": b"R" + struct.pack("!II", 8, 0) + b"Z" + struct.pack("!I", 5) + b"I",
}


class Impostor(threading.Thread):
    """Pretends to be a PostgreSQL server and keeps everything that it is sent, decrypted where it can."""

    def __init__(self, asks: str, certificate: Path | None, answer: bytes = b"S") -> None:
        super().__init__(daemon=True)
        self._request, self._certificate, self._answer = REQUESTS[asks], certificate, answer
        self.received = b""
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])

    def run(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                client.settimeout(3)
                with client, suppress(OSError):
                    self._serve(client)

    def _serve(self, client: socket.socket) -> None:
        first = client.recv(8)
        self.received += first
        if first == SSL_REQUEST:
            client.sendall(self._answer)
            if self._certificate and self._answer == b"S":
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(self._certificate)
                client = context.wrap_socket(client, server_side=True)
            self.received += client.recv(4096)
        client.sendall(self._request)
        while data := client.recv(4096):
            self.received += data

    def close(self) -> None:
        self._listening.close()


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CertificateAuthority:
    made = CertificateAuthority()
    (tmp_path / "ca.pem").write_bytes(made.pem)
    monkeypatch.setenv("DR_TLS_CA", str(tmp_path / "ca.pem"))
    return made


IMPOSTORS = {
    "no TLS, clear text": ("cleartext", None, b"N", "does not support SSL"),
    "answers in clear text at once": ("cleartext", None, b"R", "invalid response to SSL negotiation"),
    "self-signed": ("cleartext", "own", b"S", "certificate verify failed"),
    "wrong host name": ("cleartext", "other.example.test", b"S", "does not match host name"),
    "verified, clear text": ("cleartext", HOST, b"S", "cleartext password"),
    "verified, md5": ("md5", HOST, b"S", "hashed password"),
    "verified, asks for nothing": ("trust", HOST, b"S", "did not complete authentication"),
}


@pytest.fixture(params=IMPOSTORS)
def impostor(
    request: pytest.FixtureRequest, authority: CertificateAuthority, tmp_path: Path
) -> Iterator[tuple[Impostor, str]]:
    asks, name, answer, text = IMPOSTORS[request.param]
    certificate = None
    if name:
        certificate = tmp_path / "impostor.pem"
        certificate.write_bytes(CertificateAuthority().issue([HOST]) if name == "own" else authority.issue([name]))
    made = Impostor(asks, certificate, answer)
    made.start()
    yield made, text
    made.close()


@pytest.mark.parametrize("weaker", ["", "disable", "allow", "prefer", "require"])
def test_case_e1_an_impostor_receives_nothing_and_yields_one_error_with_a_remedy(
    impostor: tuple[Impostor, str], weaker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """E1: a server that asks for a clear-text password got the master password. PGSSLMODE and the like change nothing."""
    if weaker:
        for name, value in {
            "PGSSLMODE": weaker,
            "PGREQUIREAUTH": "password",
            "PGCHANNELBINDING": "disable",
            "PGSSLNEGOTIATION": "postgres",
            "PGGSSENCMODE": "prefer",
        }.items():
            monkeypatch.setenv(name, value)
    server, text = impostor
    credentials = Credentials("dbadmin", Secret(PASSWORD), HOST, server.port, "transactiondb")
    with pytest.raises(TlsError, match=text) as caught, connect(Address(HOST, "127.0.0.1", server.port), credentials):
        pass
    digest = hashlib.md5(f"{PASSWORD}dbadmin".encode()).hexdigest()
    salted = "md5" + hashlib.md5(digest.encode() + b"salt").hexdigest()
    assert server.received.startswith(SSL_REQUEST)
    assert PASSWORD.encode() not in server.received
    assert salted.encode() not in server.received
    assert PASSWORD not in str(caught.value)
    assert str(caught.value).count("\n") == 0
    assert "DR_TLS_CA" in str(caught.value) or "Check that" in str(caught.value) or "DR_RESOLVE" in str(caught.value)


def test_case_e1_a_server_that_cannot_be_verified_is_no_outage(impostor: tuple[Impostor, str]) -> None:
    """Whether the database behind it works is unknown: neither "unreachable" nor "refused"."""
    server, _ = impostor
    credentials = Credentials("dbadmin", Secret(PASSWORD), HOST, server.port, "transactiondb")
    verdict, detail = write_once(Address(HOST, "127.0.0.1", server.port), credentials, "d1")
    assert verdict == "unknown"
    assert "cannot be trusted" in detail


@pytest.mark.parametrize("content", [None, "", "no certificate at all"])
def test_aws_25_without_authorities_nothing_is_sent(
    content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One clear error with where to get the RDS bundle, before any connection: never a fall-back to an unverified one."""
    path = tmp_path / "bundle.pem"
    if content is not None:
        path.write_text(content)
    monkeypatch.setenv("DR_TLS_CA", str(path))
    server = Impostor("cleartext", None, b"N")
    credentials = Credentials("dbadmin", Secret(PASSWORD), HOST, server.port, "transactiondb")
    bundle = "https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem"
    with pytest.raises(TlsError, match=f"{path} holds no certificates.*{bundle}"):
        open_connection(Address(HOST, "127.0.0.1", server.port), credentials)
    monkeypatch.delenv("DR_TLS_CA")
    with pytest.raises(TlsError, match=f"DR_TLS_CA is not set.*{bundle}"):
        open_connection(Address(HOST, "127.0.0.1", server.port), credentials)
    assert server.received == b""
    server.close()


HARMLESS: dict[str, dict[str, str]] = {
    "another server": {"PGHOST": "x", "PGHOSTADDR": "10.0.0.1", "PGPORT": "1", "PGDATABASE": "x", "PGUSER": "y"},
    "another password": {"PGPASSWORD": "wrong", "PGPASSFILE": "/nonexistent"},
    "no TLS": {"PGSSLMODE": "disable", "PGSSLROOTCERT": "system", "PGSSLCERTMODE": "require", "PGSSLSNI": "0"},
    "old TLS": {"PGSSLMAXPROTOCOLVERSION": "TLSv1", "PGSSLMINPROTOCOLVERSION": "TLSv1"},
    "revocations": {"PGSSLCRL": "/nonexistent", "PGSSLCRLDIR": "/nonexistent"},
    "certificates": {"PGSSLCERT": "/nonexistent", "PGSSLKEY": "/nonexistent"},
    "session": {"PGOPTIONS": "-c bogus=1", "PGTARGETSESSIONATTRS": "standby", "PGLOADBALANCEHOSTS": "bogus"},
    "encoding": {"PGCLIENTENCODING": "SQL_ASCII"},
}
UNUSABLE: dict[str, dict[str, str]] = {
    "a service that is not there": {"PGSERVICE": "nowhere"},
    "no service file": {"PGSERVICE": "x", "PGSERVICEFILE": "/nonexistent"},
    "time zone": {"PGTZ": "bogus"},
    "dates": {"PGDATESTYLE": "bogus"},
    "optimizer": {"PGGEQO": "bogus"},
}


@pytest.mark.parametrize("name", [*HARMLESS, *UNUSABLE])
def test_case_e1_a_user_s_settings_of_libpq_neither_weaken_the_connection_nor_look_like_an_outage(
    servers: Servers, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL documentation, "Environment Variables" (libpq). A database that is reported as down may be failed over."""
    first = servers[0]
    with monkeypatch.context() as patch:
        for variable, value in (HARMLESS.get(name) or UNUSABLE[name]).items():
            patch.setenv(variable, value)
        try:
            with connect(first.address, first.credentials) as connection:
                assert connection.pgconn.ssl_in_use
                assert connection.execute("select 'ä'").fetchone() == ("ä",)
        except TlsError as error:
            assert name in UNUSABLE and "Unset" in str(error) and "\n" not in str(error)
        else:
            assert name in HARMLESS


def test_case_e1_files_in_a_user_s_home_change_nothing(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".pgpass").write_text("*:*:*:*:wrong\n")
    (tmp_path / ".pgpass").chmod(0o600)
    (tmp_path / ".pg_service.conf").write_text("[x]\nhost=192.0.2.1\nsslmode=disable\nrequire_auth=none\n")
    (tmp_path / ".postgresql").mkdir()
    for name in ("root.crt", "root.crl", "postgresql.crt", "postgresql.key"):
        (tmp_path / ".postgresql" / name).write_text("garbage")
    with monkeypatch.context() as patch:
        patch.setenv("HOME", str(tmp_path))
        patch.setenv("PGSERVICE", "x")
        with connect(servers[0].address, servers[0].credentials) as connection:
            assert connection.pgconn.ssl_in_use


@pytest.mark.parametrize("what", ["a folder", "an empty file", "no certificate in it"])
def test_case_e1_authorities_that_are_no_file_of_certificates_are_named(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bundle.pem"
    if what == "a folder":
        path.mkdir()
    else:
        path.write_text(
            "" if what == "an empty file" else "-----BEGIN CERTIFICATE-----\nzzz\n-----END CERTIFICATE-----\n"
        )
    monkeypatch.setenv("DR_TLS_CA", str(path))
    with pytest.raises(TlsError, match=f"DR_TLS_CA={path} holds no certificates"):
        open_connection(Address(HOST, "127.0.0.1", 1), CREDENTIALS)


def test_aws_25_the_session_is_encrypted_and_over_a_tunnel_the_name_is_verified(servers: Servers) -> None:
    """DR_RESOLVE changes the address, never the name that the certificate must cover."""
    server = servers[0]
    tunnel = Resolver(overrides={HOST: ("127.0.0.1", server.port), "other.example.test": ("127.0.0.1", server.port)})
    with connect(tunnel.resolve(HOST, 5432), server.credentials) as connection:
        assert connection.pgconn.ssl_in_use
        assert connection.info.host == HOST
    with (
        pytest.raises(TlsError, match=r"does not match host name \"other\.example\.test\""),
        connect(tunnel.resolve("other.example.test", 5432), server.credentials),
    ):
        pass
    with (
        pytest.raises(TlsError, match="Connect by an endpoint name"),
        connect(Address("127.0.0.1", "127.0.0.1", server.port), server.credentials),
    ):
        pass


def test_aws_25_a_name_that_aws_gave_for_the_same_server_may_stand_in(servers: Servers) -> None:
    """The certificate of a cluster may not cover the global writer endpoint; any other name is refused all the same."""
    server = servers[0]
    through = Address(
        "x.global-y.global.rds.amazonaws.com", "127.0.0.1", server.port, also=("other.example.test", HOST)
    )
    with connect(through, server.credentials) as connection:
        assert connection.pgconn.ssl_in_use
    with (
        pytest.raises(TlsError, match="does not match"),
        connect(replace(through, also=("other.example.test",)), server.credentials),
    ):
        pass


def test_aws_25_a_wrong_password_and_a_dead_server_are_no_tls_errors(servers: Servers) -> None:
    server = servers[0]
    wrong = Credentials(server.credentials.username, Secret("wrong"), HOST, server.port, server.database)
    with pytest.raises(DatabaseError, match="password authentication failed"), connect(server.address, wrong):
        pass
    silent = socket.create_server(("127.0.0.1", 0))

    def hang_up() -> None:
        client, _ = silent.accept()
        client.recv(8)
        client.sendall(b"S")
        client.close()

    threading.Thread(target=hang_up, daemon=True).start()
    dying = Address(HOST, "127.0.0.1", int(silent.getsockname()[1]))
    with pytest.raises(DatabaseError), connect(dying, server.credentials):
        pass


def test_aws_25_force_ssl_refuses_a_client_without_tls_as_pg_hba_does(servers: Servers) -> None:
    """Without rds.force_ssl such a client is served, which is why the client must insist itself."""
    server = servers[0]
    address = {"host": "127.0.0.1", "port": server.port, "dbname": server.database, "user": "dr_test"}
    forced = server.folder / "tls" / tls_proxy.FORCE

    def in_clear_text() -> None:
        psycopg.connect(**address, password=server.password, sslmode="disable", connect_timeout=3).close()  # type: ignore[arg-type]

    in_clear_text()
    forced.touch()
    try:
        expected = f'FATAL:  no pg_hba.conf entry for host "127.0.0.1", user "dr_test", database "{server.database}", no encryption'
        with pytest.raises(psycopg.OperationalError) as caught:
            in_clear_text()
        assert expected in str(caught.value)
        with connect(server.address, server.credentials) as connection:
            assert connection.execute("select 1").fetchone() == (1,)
    finally:
        forced.unlink()


def test_aws_25_bytes_put_in_before_the_handshake_end_the_connection(servers: Servers) -> None:
    """CVE-2021-23214: what comes with the SSLRequest must not count as sent encrypted."""
    with socket.create_connection(("127.0.0.1", servers[0].port), timeout=3) as client:
        client.sendall(SSL_REQUEST + b"Q\0\0\0\x05\0")
        with suppress(ConnectionResetError):
            assert client.recv(10) == b""


def test_aws_25_the_product_connects_in_one_place() -> None:
    """`postgres.connection` for the stack's database; the embedded servers' own harness is the one exception. A bench's witness shares
    nothing with what it checks, not even its connections."""
    allowed = {"dr_assets/postgres/connection.py", "dr_assets/emulator/postgres/node.py"}
    allowed |= {"bench/witness.py"}
    found = {
        str(path.relative_to(ROOT))
        for folder in ("dr_assets", "bench")
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("psycopg.connect", "psycopg.Connection.connect")
    }
    assert found == allowed
    for path in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "psycopg.connect":
                assert "sslmode" in [keyword.arg for keyword in node.keywords], f"{path}: say which sslmode"
    assert not [name for name in os.environ if name.startswith("PGSSL")]


@pytest.mark.usefixtures("authority")
@pytest.mark.parametrize(
    ("version", "unknown"), [(160004, ("sslnegotiation", "min_protocol_version", "max_protocol_version")), (180006, ())]
)
def test_an_option_that_an_older_libpq_does_not_know_is_left_out(
    version: int, unknown: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`sslnegotiation` came with libpq 17, `min_protocol_version` with 18 (release notes); 16 refuses them as invalid options."""
    given: dict[str, Any] = {}

    def connect_like_libpq(**options: Any) -> None:
        given.update(options)
        raise psycopg.OperationalError("connection refused")

    known = [option for option in psycopg.pq.Conninfo.get_defaults() if option.keyword.decode() not in unknown]
    monkeypatch.setattr(psycopg.pq, "version", lambda: version)
    monkeypatch.setattr(psycopg.pq, "Conninfo", SimpleNamespace(get_defaults=lambda: known))
    monkeypatch.setattr(psycopg, "connect", connect_like_libpq)
    with pytest.raises(psycopg.OperationalError):
        open_connection(Address(HOST, "127.0.0.1", 5432), CREDENTIALS)
    newer = {"sslnegotiation": "postgres", "min_protocol_version": "3.0", "max_protocol_version": "3.0"}
    assert {name: given[name] for name in newer if name in given} == ({} if unknown else newer)
    assert given["require_auth"] == "scram-sha-256"


# With a password no passfile is read; a service that is not there is a TlsError, one that is fills in only what is not stated.
NOT_STATED = {"service", "passfile"}


@pytest.mark.usefixtures("authority")
def test_case_e1_every_option_with_a_variable_is_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    """libpq takes an option from its variable unless the connection states it (PQconndefaults lists both). A new libpq's, too."""
    given: dict[str, Any] = {}

    def connect_like_libpq(**options: Any) -> None:
        given.update(options)
        raise psycopg.OperationalError("connection refused")

    variables = {o.keyword.decode(): o.envvar.decode() for o in psycopg.pq.Conninfo.get_defaults() if o.envvar}
    assert {"PGSSLMODE", "PGREQUIREAUTH", "PGSSLMINPROTOCOLVERSION", "PGSERVICE"} <= set(variables.values())
    for variable in variables.values():
        monkeypatch.setenv(variable, "planted")
    monkeypatch.setattr(psycopg, "connect", connect_like_libpq)
    with pytest.raises(psycopg.OperationalError):
        open_connection(Address(HOST, "127.0.0.1", 5432), CREDENTIALS)
    assert variables.keys() - given.keys() == NOT_STATED
    assert "planted" not in [str(value) for value in given.values()]
    assert {name: given[name] for name in ("sslmode", "require_auth", "ssl_min_protocol_version")} == {
        "sslmode": "verify-full",
        "require_auth": "scram-sha-256",
        "ssl_min_protocol_version": "TLSv1.2",
    }


VALUES = ("", "0", "1", "bogus", "disable", "latest", "3.2", "none", "TLSv1", "/nonexistent")


@pytest.mark.parametrize("value", VALUES)
def test_case_e1_no_variable_of_libpq_changes_a_connection(
    servers: Servers, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    """All variables at once, but PGSERVICE. With PGMINPROTOCOLVERSION=3.2 a healthy Aurora, which speaks 3.0, would seem to be down."""
    first = servers[0]
    with monkeypatch.context() as patch:
        for option in psycopg.pq.Conninfo.get_defaults():
            if option.envvar and option.keyword != b"service":
                patch.setenv(option.envvar.decode(), value)
        with connect(first.address, first.credentials) as connection:
            assert connection.pgconn.ssl_in_use
            found = connection.execute("select 1").fetchone()
    assert found == (1,)


@pytest.mark.usefixtures("authority")
def test_parameters_that_libpq_refuses_say_nothing_about_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is unknown whether the database works: no DatabaseError, which the connectivity metric counts as an outage."""

    def refuse(**_: Any) -> None:
        raise psycopg.ProgrammingError('invalid connection option "sslcertmode"')

    monkeypatch.setattr(psycopg, "connect", refuse)
    address = Address(HOST, "127.0.0.1", 5432)
    refused = pytest.raises(TlsError, match=r'refuses the parameters.*"sslcertmode".*Install psycopg')
    with refused, connect(address, CREDENTIALS):
        raise AssertionError
    assert write_once(address, CREDENTIALS, "d1")[0] == "unknown"
