"""The client that writes end to end, and the single write that an old writer must refuse."""

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from dr_assets import utc
from dr_assets.drills.measurement.client_probe import ClientProbe, read_attempts, write_once
from dr_assets.drills.measurement.commit_ledger import SCHEMA
from dr_assets.drills.measurement.rpo_rto import recovered_at, rto
from dr_assets.postgres.connection import Credentials
from dr_assets.postgres.endpoints import Address, Resolver
from dr_assets.secret import Secret
from tests.support.servers import HOST, Server

Servers = tuple[Server, Server]
Until = Callable[..., None]


class Name:
    """A host name that one moves from server to server; on one loopback address they differ by their ports."""

    def __init__(self, servers: Servers) -> None:
        self.table = {HOST: ("127.0.0.1", servers[0].port)}
        self.resolver = Resolver(overrides=self.table)  # type: ignore[arg-type]
        for server in servers:
            server.sql(SCHEMA)

    def move(self, server: Server) -> None:
        self.table[HOST] = ("127.0.0.1", server.port)

    def where(self) -> Address:
        found = self.resolver.resolve(HOST, 5432)
        return Address(found.host, found.ip, found.port)


def probe(name: Name, server: Server, path: Path | None = None, interval: float = 0.02) -> ClientProbe:
    return ClientProbe("d1", "client", name.where, lambda: server.credentials, interval, path)


def test_good_attempts_have_times_and_an_address(servers: Servers, until: Until) -> None:
    one = probe(Name(servers), servers[0])
    begun = time.time()
    one.start()
    until(lambda: len(one.attempts) >= 10)
    one.stop()
    assert all(a.good and a.ip == "127.0.0.1" and a.error is None for a in one.attempts)
    assert all(begun - 0.1 < a.begun < a.ended < time.time() + 0.1 for a in one.attempts)
    assert servers[0].sql("select drill, probe, n from dr_drill.dr_probe") == [("d1", "client", len(one.attempts))]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("probe-")]


def test_an_outage_is_seen_from_both_sides(servers: Servers, until: Until) -> None:
    """A server that is killed and comes back; the true gap is measured by the clock beside it."""
    name = Name(servers)
    one = probe(name, servers[0])
    one.start()
    until(lambda: len(one.attempts) >= 5)
    killed = time.time()
    servers[0].kill()
    gone = time.time()
    until(lambda: not one.attempts[-1].good)
    time.sleep(0.4)
    starting = time.time()
    servers[0].start()
    started = time.time()
    until(lambda: len(one.attempts) > 5 and all(a.good for a in one.attempts[-5:]))
    one.stop()
    # The same address serves before and after, so the new one is known by its time.
    attempts = [a if a.begun < gone else type(a)(a.begun, a.ended, a.good, "after", a.error) for a in one.attempts]
    assert next(a.error for a in attempts if not a.good)
    found = rto(attempts, {"after"}, 5, {})
    assert found is not None
    assert found.low_seconds <= started - killed
    assert found.high_seconds >= starting - gone
    assert recovered_at(attempts, {"after"}, 5) is not None


def test_a_frozen_server_is_given_up_after_a_second(servers: Servers, until: Until) -> None:
    one = probe(Name(servers), servers[0])
    one.start()
    until(lambda: len(one.attempts) >= 3)
    servers[0].freeze()
    until(lambda: not one.attempts[-1].good)
    servers[0].thaw()
    one.stop()
    failed = next(a for a in one.attempts if not a.good)
    assert 0.9 < failed.ended - failed.begun < 1.6


def test_a_reader_is_left_and_the_name_looked_up_again(servers: Servers, until: Until) -> None:
    name = Name(servers)
    one = ClientProbe(
        "d1",
        "client",
        name.where,
        lambda: servers[0 if name.table[HOST][1] == servers[0].port else 1].credentials,
        0.02,
    )
    one.start()
    until(lambda: len(one.attempts) >= 3)
    servers[0].read_only()
    until(lambda: not one.attempts[-1].good)
    assert "ReadOnly" in str(one.attempts[-1].error)
    name.move(servers[1])
    until(lambda: one.attempts[-1].good)
    one.stop()
    assert servers[1].sql("select count(*) from dr_drill.dr_probe") == [(1,)]


def test_a_connection_is_kept_while_it_is_good(servers: Servers, until: Until) -> None:
    """As a pool does: a name that moves alone moves nobody whose connection still works."""
    name = Name(servers)
    one = probe(name, servers[0])
    one.start()
    until(lambda: len(one.attempts) >= 3)
    name.move(servers[1])
    count = len(one.attempts)
    until(lambda: len(one.attempts) > count + 5)
    one.stop()
    assert servers[1].sql("select count(*) from dr_drill.dr_probe") == [(0,)]


def test_attempts_outlive_the_process_also_with_a_torn_line(servers: Servers, tmp_path: Path, until: Until) -> None:
    path = tmp_path / "client.jsonl"
    first = probe(Name(servers), servers[0], path)
    first.start()
    until(lambda: len(first.attempts) >= 5)
    first.stop()
    with path.open("a") as file:
        file.write('{"begun": 17')
    second = probe(Name(servers), servers[0], path)
    assert second.interrupted
    assert second.attempts == first.attempts
    second.start()
    until(lambda: len(second.attempts) >= len(first.attempts) + 3)
    second.stop()
    assert read_attempts(path) == second.attempts


def test_a_clock_that_is_set_meanwhile_changes_no_duration(
    servers: Servers, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = probe(Name(servers), servers[0])
    one.start()
    until(lambda: len(one.attempts) >= 3)
    real = utc.now
    monkeypatch.setattr(utc, "now", lambda: real() - timedelta(hours=1))
    monkeypatch.setattr(time, "time", lambda: real().timestamp() - 3600)
    count = len(one.attempts)
    until(lambda: len(one.attempts) > count + 3)
    one.stop()
    begins = [a.begun for a in one.attempts]
    assert begins == sorted(begins)
    assert begins[-1] - begins[0] < 30


def test_a_write_at_the_old_writer(servers: Servers) -> None:
    server = servers[0]
    server.sql(SCHEMA)
    assert write_once(server.address, server.credentials, "d1")[0] == "accepted"
    server.read_only()
    deadline = time.monotonic() + 30
    while write_once(server.address, server.credentials, "d1")[0] == "accepted":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    verdict, detail = write_once(server.address, server.credentials, "d1")
    assert verdict == "refused"
    assert "127.0.0.1" in detail


def test_only_an_answer_about_the_write_decides(servers: Servers) -> None:
    """A wrong password or a missing table says nothing about whether the server takes writes."""
    server = servers[0]
    wrong = Credentials("dr_test", Secret("s3cr3t!"), HOST, server.port, server.database)
    verdict, detail = write_once(server.address, wrong, "d1")
    assert verdict == "unknown"
    assert "s3cr3t!" not in detail
    assert write_once(server.address, server.credentials, "d1")[0] == "unknown"  # it has no such table
    server.kill()
    assert write_once(server.address, server.credentials, "d1")[0] == "unreachable"


def test_a_frozen_old_writer_is_unreachable_in_time(servers: Servers) -> None:
    servers[0].freeze()
    begun = time.monotonic()
    assert write_once(servers[0].address, servers[0].credentials, "d1")[0] == "unreachable"
    assert time.monotonic() - begun < 9
