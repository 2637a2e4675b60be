"""Resolves endpoint names to addresses: through overrides, a given nameserver, or the system's resolver.

DR_NAMESERVER=ip[:port] queries that server instead of the system's; DR_RESOLVE=host=ip[:port],… answers for single names, as
curl's --resolve does (for work through a tunnel).
"""

from __future__ import annotations

import ipaddress
import os
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import Literal

from dr_assets.errors import DrError

NAMESERVER_VARIABLE, OVERRIDE_VARIABLE = "DR_NAMESERVER", "DR_RESOLVE"
LIFETIME_SECONDS = 2.0
TRY_SECONDS = 0.5


class ResolutionError(DrError):
    """A name has no address, or no nameserver answered."""


# Who answered: a nameserver; the system's resolver (which has a cache of its own); an override; no one, where it is an address.
Source = Literal["nameserver", "system", "override", "address"]


@dataclass(frozen=True)
class Address:
    """What a name resolves to now. `ttl` is in seconds: how long an application may keep it; `source` "system": unknown, so
    that nothing keeps it.

    `also`: names of the servers behind `host` as AWS's API gives them, one of which a certificate may cover in place of `host`.
    """

    host: str
    ip: str
    port: int
    ttl: float = 0.0
    also: tuple[str, ...] = ()
    source: Source = field(default="address", compare=False)


class Resolver:
    """Resolves at every call; with `cache` it keeps an answer for its time to live, as an application does.

    Args:
        nameserver: `ip` or `ip:port`; None: $DR_NAMESERVER, else the system's resolver configuration.
        overrides: host -> (ip, port or None); None: $DR_RESOLVE.
    """

    def __init__(
        self,
        nameserver: str | None = None,
        overrides: dict[str, tuple[str, int | None]] | None = None,
        cache: bool = False,
    ) -> None:
        self._nameserver = nameserver or os.environ.get(NAMESERVER_VARIABLE) or None
        self._overrides = parse_overrides(os.environ.get(OVERRIDE_VARIABLE, "")) if overrides is None else overrides
        self._cache: dict[str, tuple[float, str]] | None = {} if cache else None
        self._lock = threading.Lock()

    def resolve(self, host: str, port: int) -> Address:
        """The first IPv4 address of `host`. Raises ResolutionError."""
        override = self._overrides.get(host.rstrip(".").lower())
        if override:
            return Address(host, override[0], override[1] or port, source="override")
        if _is_address(host):
            return Address(host, host, port)
        if self._cache is not None:
            with self._lock:
                kept = self._cache.get(host)
            if kept and kept[0] > time.monotonic():
                return Address(host, kept[1], port, kept[0] - time.monotonic(), source="nameserver")
        ip, ttl, source = self._ask(host)
        if self._cache is not None:
            with self._lock:
                self._cache[host] = (time.monotonic() + ttl, ip)
        return Address(host, ip, port, ttl, source=source)

    def _ask(self, host: str) -> tuple[str, float, Source]:
        import dns.exception
        import dns.resolver

        try:
            resolver = dns.resolver.Resolver(configure=self._nameserver is None)
        except dns.exception.DNSException:
            return self._ask_system(host)  # there is no resolv.conf: nothing for dnspython to read
        if self._nameserver is not None:
            ip, _, port = self._nameserver.partition(":")
            try:
                resolver.nameservers = [ip]
                resolver.port = int(port or 53)
            except ValueError as error:
                raise ResolutionError(
                    f"{NAMESERVER_VARIABLE}={self._nameserver} is not ip or ip:port ({error})."
                ) from error
        # One lost datagram must not use up all the time there is.
        resolver.timeout, resolver.lifetime = TRY_SECONDS, LIFETIME_SECONDS
        try:
            answer = resolver.resolve(host, "A", search=False)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer) as error:
            if self._nameserver is None:
                return self._ask_system(host)
            raise ResolutionError(
                f"{host} has no address ({type(error).__name__}). Check the name, or set {OVERRIDE_VARIABLE}={host}=IP."
            ) from error
        except dns.exception.DNSException as error:
            where = self._nameserver or "the system's nameservers"
            raise ResolutionError(
                f"No answer for {host} from {where} within {LIFETIME_SECONDS:.0f} s ({type(error).__name__}). "
                f"Set {NAMESERVER_VARIABLE}, or {OVERRIDE_VARIABLE}={host}=IP."
            ) from error
        # A CNAME on the way (the global writer endpoint is one) may have to be asked for sooner than the address behind it.
        return str(answer[0]), float(answer.chaining_result.minimum_ttl), "nameserver"

    def _ask_system(self, host: str) -> tuple[str, float, Source]:
        """What is in the hosts file, or known to the operating system alone. Its time to live is unknown: nothing is cached."""
        try:
            found = socket.getaddrinfo(host, None, socket.AF_INET, socket.SOCK_STREAM)
        except OSError as error:
            raise ResolutionError(
                f"{host} has no address ({error}). Check the name, or set {OVERRIDE_VARIABLE}={host}=IP."
            ) from error
        return str(found[0][4][0]), 0.0, "system"


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def parse_overrides(text: str) -> dict[str, tuple[str, int | None]]:
    """`host=ip[:port],…` as a table. Raises DrError naming the part that is wrong."""
    found: dict[str, tuple[str, int | None]] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        host, equals, where = part.partition("=")
        ip, _, port = where.partition(":")
        if not (host and equals and ip) or (port and not port.isdigit()):
            raise DrError(f"{OVERRIDE_VARIABLE}: {part!r} is not host=ip or host=ip:port.")
        found[host.rstrip(".").lower()] = (ip, int(port) if port else None)
    return found
