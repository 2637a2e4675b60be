"""An independent client for `bench/drills.py`: it shares no code with the product, respects DNS time to live, and writes every 10 ms.

    python bench/witness.py SETTINGS < PASSWORD

SETTINGS is a JSON object: nameserver (ip:port), host, port, user, dbname, ca (file), out (file). The table `witness.w (n bigint
primary key)` must exist. Each attempt becomes a line of `out`: n, begun and ended (CLOCK_MONOTONIC, nanoseconds), ip, ok. Ends
with SIGTERM.

It keeps one connection, resolves the name when it needs another, and caches the answer for its time to live. A write without an
answer for a second is given up: the server may be frozen.
"""

import contextlib
import itertools
import json
import os
import random
import socket
import struct
import sys
import threading
import time
from typing import Any, TextIO

import psycopg

EVERY_SECONDS, PATIENCE_SECONDS = 0.01, 1.0


class Names:
    """A stub resolver by hand (RFC 1035): one question of type A over UDP."""

    def __init__(self, nameserver: str) -> None:
        ip, _, port = nameserver.partition(":")
        self._server = (ip, int(port or 53))
        self._kept: dict[str, tuple[float, str]] = {}

    def resolve(self, name: str) -> str:
        """The address, from the cache while its time to live lasts. Raises OSError."""
        kept = self._kept.get(name)
        if kept and kept[0] > time.monotonic():
            return kept[1]
        asked = time.monotonic()
        ip, ttl = self._ask(name)
        self._kept[name] = (asked + ttl, ip)
        return ip

    def _ask(self, name: str) -> tuple[str, int]:
        identity = random.getrandbits(16)
        labels = b"".join(bytes([len(label)]) + label.encode() for label in name.rstrip(".").split("."))
        question = struct.pack(">6H", identity, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", 1, 1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.settimeout(PATIENCE_SECONDS)
            one.connect(self._server)
            one.send(question)
            answer = one.recv(4096)
        echoed, flags, _, count = struct.unpack(">4H", answer[:8])
        if echoed != identity or flags & 0x000F:
            raise OSError(f"{name} was not resolved (flags {flags:#06x})")
        at = len(question)
        address, least = "", 2**31
        for _ in range(count):
            at = _after_name(answer, at)
            kind, _, ttl, length = struct.unpack(">2HIH", answer[at : at + 10])
            at += 10
            least = min(least, ttl)  # of the whole chain of aliases
            if kind == 1:
                address = socket.inet_ntoa(answer[at : at + length])
            at += length
        if not address:
            raise OSError(f"{name} has no address")
        return address, least


def _after_name(message: bytes, at: int) -> int:
    while message[at] and message[at] < 0xC0:
        at += message[at] + 1
    return at + (2 if message[at] else 1)  # a pointer ends a name, too


class Watchdog:
    """Shuts a connection's socket when a statement takes too long: libpq waits for a frozen server for ever."""

    def __init__(self) -> None:
        self._until, self._file = float("inf"), -1
        self._lock = threading.Lock()
        threading.Thread(target=self._run, daemon=True).start()

    def watch(self, connection: "psycopg.Connection[Any] | None") -> None:
        with self._lock:
            self._until = time.monotonic() + PATIENCE_SECONDS if connection else float("inf")
            self._file = connection.fileno() if connection else -1

    def _run(self) -> None:
        while True:
            time.sleep(0.02)
            with self._lock, contextlib.suppress(OSError):
                if time.monotonic() > self._until:
                    self._until = float("inf")
                    socket.socket(fileno=os.dup(self._file)).shutdown(socket.SHUT_RDWR)


def write(settings: dict[str, Any], password: str, out: TextIO) -> None:
    """Write until the process ends."""
    names, watchdog = Names(settings["nameserver"]), Watchdog()
    connection: psycopg.Connection[Any] | None = None
    ip = ""
    for n in itertools.count(1):
        begun, ok = time.monotonic_ns(), False
        try:
            if connection is None:
                ip = names.resolve(settings["host"])
                connection = psycopg.connect(
                    host=ip,
                    port=settings["port"],
                    user=settings["user"],
                    password=password,
                    dbname=settings["dbname"],
                    sslmode="verify-ca",
                    sslrootcert=settings["ca"],
                    require_auth="scram-sha-256",
                    connect_timeout=2,
                    autocommit=True,
                )
            watchdog.watch(connection)
            connection.execute("insert into witness.w values (%s)", (n,))
            ok = True
        except (psycopg.Error, OSError):
            if connection is not None:
                with contextlib.suppress(psycopg.Error):
                    connection.close()
            connection = None
        finally:
            watchdog.watch(None)
        line = {"n": n, "begun": begun, "ended": time.monotonic_ns(), "ip": ip, "ok": ok}
        out.write(json.dumps(line) + "\n")
        out.flush()
        time.sleep(max(0.0, EVERY_SECONDS - (time.monotonic_ns() - begun) / 1e9))


if __name__ == "__main__":
    chosen = json.loads(sys.argv[1])
    with open(chosen["out"], "w", encoding="ascii") as lines:  # noqa: PTH123 (no more imports than it needs)
        write(chosen, sys.stdin.readline().rstrip("\n"), lines)
