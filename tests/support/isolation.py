"""Keep tests off every host but loopback: environment that fails closed, a socket guard, and a proxy that records and refuses.

A test that forgets the embedded AWS reaches a port where nothing listens. A program that ignores AWS_ENDPOINT_URL reaches a
proxy that is not there. Credentials, profiles and instance metadata of the developer's machine are out of reach.
"""

from __future__ import annotations

import http.server
import ipaddress
import json
import os
import socket
import threading
from collections.abc import Mapping, MutableMapping
from typing import Any

# The discard port (RFC 863): reserved, and nothing listens there.
NOWHERE = "http://127.0.0.1:9"
OUTER = "TESTS_OUTER_PROXIES"
LOOPBACK = "127.0.0.1,localhost,::1"
AWS_DEFAULTS = {
    "AWS_ENDPOINT_URL": NOWHERE,
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "false",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


# Not the developer's: `tests.support.answers` runs the tests under other answers of the embedded AWS; the seeds choose inputs.
KEPT = ("DR_EMULATED_ANSWERS", "DR_FAULT_SEED", "DR_FUZZ_SEED")


def proxies(url: str = NOWHERE) -> dict[str, str]:
    """Environment that sends everything but loopback traffic to a proxy, for both spellings of each variable."""
    variables = {"HTTP_PROXY": url, "HTTPS_PROXY": url, "ALL_PROXY": url, "NO_PROXY": LOOPBACK}
    return variables | {name.lower(): value for name, value in variables.items()}


def isolate(environ: MutableMapping[str, str]) -> None:
    """Drop the developer's own settings of AWS, Dagster and this project; nothing outside can be reached afterwards."""
    for name in list(environ):
        if (name.startswith(("AWS_", "DR_")) and name not in KEPT) or name == "DAGSTER_HOME":
            del environ[name]
    # Kept for `outer_proxies`; workers of pytest-xdist inherit it.
    environ.setdefault(OUTER, json.dumps({name: environ[name] for name in proxies() if name in environ}))
    environ.update(AWS_DEFAULTS | proxies())


def outer_proxies(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` with the proxies that were set before `isolate`: for installing Terraform's provider, which calls no AWS."""
    others = {name: value for name, value in environ.items() if name not in proxies()}
    return others | json.loads(environ.get(OUTER, "{}"))


class OutsideConnectionError(RuntimeError):
    """A test tried to connect to a host that is not loopback."""


def guard_sockets() -> None:
    """Make TCP connections from this process to anything but loopback raise OutsideConnectionError.

    Covers Python's sockets; subprocesses and C libraries are kept in by the environment.
    """
    for name in ("connect", "connect_ex"):
        setattr(socket.socket, name, _guarded(getattr(socket.socket, name)))


def _guarded(connect: Any) -> Any:
    def guarded(self: socket.socket, address: Any) -> Any:
        tcp = self.family in (socket.AF_INET, socket.AF_INET6) and self.type == socket.SOCK_STREAM
        if tcp and not _is_loopback(str(address[0])):
            raise OutsideConnectionError(f"A test tried to connect to {address[0]}. Use the embedded AWS.")
        return connect(self, address)

    return guarded


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class RecordingProxy:
    """An HTTP proxy that refuses everything and records what it was asked for, as `METHOD target`."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        requests = self.requests

        class Handler(http.server.BaseHTTPRequestHandler):
            def refuse(self) -> None:
                requests.append(f"{self.command} {self.path}")
                self.send_error(403)

            do_CONNECT = do_GET = do_POST = do_PUT = do_HEAD = refuse

            def log_message(self, *args: Any) -> None: ...

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def __enter__(self) -> RecordingProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
