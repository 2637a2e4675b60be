"""Connections: secrets kept, a frozen server noticed, read-only told from broken."""

import time

import psycopg
import pytest

from dr_assets.errors import DrError
from dr_assets.postgres.connection import Credentials, DatabaseError, connect, impatient, is_read_only, open_connection
from dr_assets.postgres.endpoints import Address
from dr_assets.secret import Secret
from tests.support.servers import HOST, Server

SECRET = {"username": "u", "password": "s3cr3t!", "host": "h", "port": "5432", "dbname": "d"}
Servers = tuple[Server, Server]


def test_credentials_come_from_the_secret_and_never_show_the_password() -> None:
    credentials = Credentials.from_secret(SECRET)
    assert (credentials.username, credentials.port, credentials.dbname) == ("u", 5432, "d")
    assert "s3cr3t!" not in repr(credentials)
    assert "s3cr3t!" not in str(credentials)


@pytest.mark.parametrize("name", sorted(SECRET))
def test_a_secret_that_lacks_something_is_named(name: str) -> None:
    with pytest.raises(DrError, match=f"lacks {name}"):
        Credentials.from_secret({**SECRET, name: ""})


def test_a_port_that_is_none_is_named() -> None:
    with pytest.raises(DrError, match="port in the database secret is not a number"):
        Credentials.from_secret({**SECRET, "port": "many"})


def test_the_name_is_kept_and_the_address_decides(servers: Servers) -> None:
    with connect(servers[1].address, servers[1].credentials) as connection:
        assert connection.info.host == servers[1].address.host
        assert connection.info.hostaddr == "127.0.0.1"
        assert connection.info.port == servers[1].port


def test_errors_name_the_server_and_not_the_password(servers: Servers) -> None:
    wrong = Credentials("nobody", Secret("s3cr3t!"), "h", servers[0].port, "postgres")
    told = r"global\.example\.test \(127\.0\.0\.1:"
    with pytest.raises(DatabaseError, match=told) as caught, connect(servers[0].address, wrong):
        pass
    assert "s3cr3t!" not in str(caught.value)


def test_read_only_means_it(servers: Servers) -> None:
    with (
        pytest.raises(DatabaseError) as caught,
        connect(servers[0].address, servers[0].credentials, read_only=True) as one,
    ):
        one.execute("create table t (v int)")
    assert caught.value.sqlstate == "25006"
    assert is_read_only(caught.value)


def test_other_errors_are_not_read_only(servers: Servers) -> None:
    with pytest.raises(DatabaseError) as caught, connect(servers[0].address, servers[0].credentials) as one:
        one.execute("select 1 / 0")
    assert not is_read_only(caught.value)


def test_a_server_that_freezes_is_noticed_in_a_second(servers: Servers) -> None:
    with open_connection(servers[0].address, servers[0].credentials) as connection:
        servers[0].freeze()
        begun = time.monotonic()
        with pytest.raises(psycopg.OperationalError), impatient(connection):
            connection.execute("select 1")
        took = time.monotonic() - begun
        servers[0].thaw()
    assert 0.9 < took < 5  # a keepalive alone takes longer


def test_a_frozen_server_takes_no_connection_for_long(servers: Servers) -> None:
    servers[0].freeze()
    begun = time.monotonic()
    with pytest.raises(DatabaseError), connect(servers[0].address, servers[0].credentials):
        pass
    assert time.monotonic() - begun < 9


def test_patience_that_is_not_used_up_changes_nothing(servers: Servers) -> None:
    with open_connection(servers[0].address, servers[0].credentials) as connection:
        with impatient(connection, 0.3):
            connection.execute("select 1")
        time.sleep(0.4)
        assert connection.execute("select 2").fetchone() == (2,)


def test_nobody_there_is_told_at_once(servers: Servers) -> None:
    servers[0].kill()
    begun = time.monotonic()
    gone = Address(HOST, "127.0.0.1", servers[0].port)
    with pytest.raises(DatabaseError, match="refused"), connect(gone, servers[0].credentials):
        pass
    assert time.monotonic() - begun < 5
