"""Names to addresses: a nameserver of one's own, overrides, the system's, and a cache that honours the time to live."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import dns.resolver
import pytest
from dnslib import CNAME, QTYPE, RCODE, RR, A
from dnslib.server import BaseResolver, DNSLogger, DNSServer

from dr_assets.errors import DrError
from dr_assets.postgres.endpoints import Address, ResolutionError, Resolver, parse_overrides

HOST = "global.example.test"


class Zone(BaseResolver):  # type: ignore[misc]
    """`table`: name -> (ttl, address or name). `ignore`: how many questions are left unanswered."""

    def __init__(self) -> None:
        self.table: dict[str, tuple[int, str]] = {}
        self.asked, self.ignore = 0, 0

    def resolve(self, request: Any, handler: Any) -> Any:
        self.asked += 1
        if self.ignore:
            self.ignore -= 1
            time.sleep(0.8)  # longer than one try
        reply = request.reply()
        name = str(request.q.qname).rstrip(".")
        if name not in self.table:
            reply.header.rcode = RCODE.NXDOMAIN
        while name in self.table:
            ttl, to = self.table[name]
            kind = A(to) if to[0].isdigit() else CNAME(to)
            reply.add_answer(RR(name, QTYPE.A if to[0].isdigit() else QTYPE.CNAME, rdata=kind, ttl=ttl))
            name = to
        return reply


@pytest.fixture
def zone() -> Iterator[tuple[Zone, str]]:
    table = Zone()
    server = DNSServer(table, address="127.0.0.1", port=0, logger=DNSLogger(log="", prefix=False))
    server.start_thread()
    ip, port = server.server.server_address[:2]
    yield table, f"{ip}:{port}"
    server.stop()
    server.server.server_close()


def test_asks_the_nameserver_it_is_told(zone: tuple[Zone, str], monkeypatch: pytest.MonkeyPatch) -> None:
    zone[0].table[HOST] = (5, "10.1.2.3")
    monkeypatch.setenv("DR_NAMESERVER", zone[1])
    assert Resolver().resolve(HOST, 5432) == Address(HOST, "10.1.2.3", 5432, 5.0)


def test_overrides_win_and_may_move_the_port(zone: tuple[Zone, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DR_RESOLVE", f" {HOST}.=127.0.0.9:6000, Other.test=127.0.0.8 ,")
    resolver = Resolver(zone[1])
    assert resolver.resolve(HOST.upper(), 5432) == Address(HOST.upper(), "127.0.0.9", 6000)
    assert resolver.resolve("other.test", 5432) == Address("other.test", "127.0.0.8", 5432)
    assert zone[0].asked == 0


@pytest.mark.parametrize("text", ["host", "=1.2.3.4", "host=", "host=1.2.3.4:x", "host=:5432"])
def test_a_wrong_override_is_named(text: str) -> None:
    with pytest.raises(DrError, match="host=ip or host=ip:port"):
        parse_overrides(text)


def test_every_call_asks_unless_cached(zone: tuple[Zone, str]) -> None:
    zone[0].table[HOST] = (1, "10.0.0.1")
    plain, cached = Resolver(zone[1]), Resolver(zone[1], cache=True)
    assert plain.resolve(HOST, 1).ip == cached.resolve(HOST, 1).ip == "10.0.0.1"
    zone[0].table[HOST] = (1, "10.0.0.2")
    assert plain.resolve(HOST, 1).ip == "10.0.0.2"
    assert cached.resolve(HOST, 1).ip == "10.0.0.1"  # still within its second
    time.sleep(1.05)
    assert cached.resolve(HOST, 1).ip == "10.0.0.2"


def test_an_alias_is_kept_no_longer_than_its_own_time_to_live(zone: tuple[Zone, str]) -> None:
    """The global writer endpoint is an alias that moves; what it leads to may be kept much longer."""
    zone[0].table[HOST] = (1, "cluster.example.test")
    zone[0].table["cluster.example.test"] = (600, "10.0.0.1")
    assert Resolver(zone[1]).resolve(HOST, 1).ttl == 1


def test_time_to_live_of_zero_is_never_kept(zone: tuple[Zone, str]) -> None:
    zone[0].table[HOST] = (0, "10.0.0.1")
    cached = Resolver(zone[1], cache=True)
    cached.resolve(HOST, 1)
    cached.resolve(HOST, 1)
    assert zone[0].asked == 2


def test_one_lost_answer_is_asked_for_again(zone: tuple[Zone, str]) -> None:
    zone[0].table[HOST] = (5, "10.0.0.1")
    zone[0].ignore = 1
    assert Resolver(zone[1]).resolve(HOST, 1).ip == "10.0.0.1"


def test_errors_name_the_host_and_what_to_set(zone: tuple[Zone, str]) -> None:
    with pytest.raises(ResolutionError, match=r"nowhere\.test has no address.*DR_RESOLVE=nowhere\.test=IP"):
        Resolver(zone[1]).resolve("nowhere.test", 1)
    with pytest.raises(ResolutionError, match="not ip or ip:port"):
        Resolver("127.0.0.1:many").resolve(HOST, 1)
    with pytest.raises(ResolutionError, match="not ip or ip:port"):
        Resolver("localhost:53").resolve(HOST, 1)


def test_nobody_answers_within_two_seconds(zone: tuple[Zone, str]) -> None:
    zone[0].ignore = 99
    begun = time.monotonic()
    with pytest.raises(ResolutionError, match=r"No answer for global\.example\.test from 127.*DR_NAMESERVER"):
        Resolver(zone[1]).resolve(HOST, 1)
    assert time.monotonic() - begun < 10


def test_an_address_needs_nobody(zone: tuple[Zone, str]) -> None:
    assert Resolver(zone[1]).resolve("10.9.8.7", 5432) == Address("10.9.8.7", "10.9.8.7", 5432)
    assert zone[0].asked == 0


@pytest.mark.parametrize("failure", [dns.resolver.NoResolverConfiguration, dns.resolver.NXDOMAIN])
def test_what_only_the_system_knows_is_found(monkeypatch: pytest.MonkeyPatch, failure: Callable[[], Exception]) -> None:
    """No resolv.conf, or a name that stands in the hosts file alone."""

    def fails(*_: Any, **__: Any) -> Any:
        raise failure()

    where = "Resolver" if failure is dns.resolver.NoResolverConfiguration else "Resolver.resolve"
    monkeypatch.setattr(f"dns.resolver.{where}", fails)
    assert Resolver().resolve("localhost", 5432) == Address("localhost", "127.0.0.1", 5432, 0.0)
    with pytest.raises(ResolutionError, match="has no address"):
        Resolver().resolve("nowhere.invalid", 5432)
