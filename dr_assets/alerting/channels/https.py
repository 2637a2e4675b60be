"""POST one JSON object to a webhook: https only, no redirects, one deadline for everything, no secret in any error.

`http.client` follows no redirect. (`urllib` repeats a POST that is answered with 301, 302 or 303 as a GET without a body, and takes
its answer for that of the POST: https://docs.python.org/3/library/urllib.request.html#urllib.request.HTTPRedirectHandler.)
"""

from __future__ import annotations

import base64
import http.client
import ipaddress
import json
import socket
import ssl
import threading
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any, NamedTuple

from dr_assets.errors import DrError
from dr_assets.secret import Secret


class AlertRefused(DrError):
    """A channel refused the alert or could not be reached: it was certainly not delivered."""


class AlertUnknown(DrError):
    """The answer was lost: the alert may or may not have been delivered."""


def post(url: Secret, body: Mapping[str, Any], name: str, seconds: float) -> AlertRefused | AlertUnknown | None:
    """POST `body`; None once it was answered with 2xx. `seconds` is the limit for resolving, connecting, sending and answering.

    A failure is returned, for the caller to raise: a traceback then holds no frame of this module, whose variables are secret.
    """
    destination = _parse(url)
    if isinstance(destination, str):
        return AlertRefused(f"{name} {destination}. Correct it.")
    request = _Request(destination, Secret(json.dumps(body)), seconds)
    request.start()
    request.join(seconds)
    return request.failure(name)


class _Destination(NamedTuple):
    secure: bool
    host: str
    port: int
    path: Secret


def _parse(url: Secret) -> _Destination | str:
    """Where the URL leads, or what is wrong with it, without showing it."""
    text = url.reveal()
    try:
        parts = urllib.parse.urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "has an invalid URL"
    odd = not text.isascii() or not text.isprintable() or " " in text or "@" in parts.netloc
    if odd or not host or not parts.scheme or port == 0:
        return "has an invalid URL"
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(host)):
        return "needs an https URL (http is for a loopback address only, as 127.0.0.1)"
    secure = parts.scheme == "https"
    path = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
    return _Destination(secure, host, port or (443 if secure else 80), Secret(path))


def _is_loopback(host: str) -> bool:
    """Whether it is a literal loopback address: a name, also `localhost`, may resolve to another host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _Request(threading.Thread):
    """One request in a thread of its own: `http.client` limits each wait alone, and resolving a name not at all.

    After `failure` nothing is sent any more: what was given up before it was sent is certainly not delivered.
    """

    def __init__(self, to: _Destination, body: Secret, seconds: float) -> None:
        super().__init__(name="webhook", daemon=True)
        self._to, self._body, self._seconds = to, body, seconds
        self._lock = threading.Lock()
        self._connection: http.client.HTTPConnection | None = None
        self._sent = self._given_up = False
        self._status: int | None = None
        self._problem = ""  # an exception's type: its text may hold the URL

    def run(self) -> None:
        try:
            self._connection = connection = _connection(self._to, self._seconds)
            try:
                connection.connect()
                with self._lock:
                    if self._given_up:
                        return
                    self._sent = True
                headers = {"Content-Type": "application/json", "Connection": "close"}
                connection.request("POST", self._to.path.reveal(), self._body.reveal().encode(), headers)
                self._status = connection.getresponse().status
            finally:
                connection.close()
        except Exception as error:
            self._problem = type(error).__name__

    def failure(self, name: str) -> AlertRefused | AlertUnknown | None:
        """What became of it so far; what is still under way is given up."""
        with self._lock:
            self._given_up, sent = True, self._sent
        status, problem = self._status, self._problem
        if status is not None and 200 <= status < 300:
            return None
        if status is not None and 300 <= status < 400:
            return AlertRefused(
                f"{name} refused the alert: HTTP {status}, a redirect, which is not followed. Set its final URL."
            )
        if status is not None and status >= 400:
            return AlertRefused(f"{name} refused the alert: HTTP {status}. Correct its URL or key.")
        if status is not None:
            return AlertUnknown(f"{name}: the answer was lost (HTTP {status}).")
        if problem and problem not in ("TimeoutError", "timeout"):
            if sent:
                return AlertUnknown(f"{name}: the answer was lost ({problem}).")
            return AlertRefused(f"{name} could not be reached ({problem}).")
        self._hang_up()
        if sent:
            return AlertUnknown(f"{name} did not answer within {self._seconds:g} s.")
        return AlertRefused(f"{name} could not be reached within {self._seconds:g} s.")

    def _hang_up(self) -> None:
        sock: socket.socket | None = getattr(self._connection, "sock", None)
        try:
            if sock is not None:
                sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # already closed, or not connected yet


def _connection(to: _Destination, seconds: float) -> http.client.HTTPConnection:
    """A connection that is not open yet; through the proxy of HTTPS_PROXY, unless NO_PROXY names the host."""
    if not to.secure:
        return http.client.HTTPConnection(to.host, to.port, timeout=seconds)
    context = ssl.create_default_context()  # honours SSL_CERT_FILE
    proxy = urllib.request.getproxies().get("https", "")
    if not proxy or urllib.request.proxy_bypass(to.host):
        return http.client.HTTPSConnection(to.host, to.port, timeout=seconds, context=context)
    parts = urllib.parse.urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    headers = {}
    if parts.username:
        login = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
        headers = {"Proxy-Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}
    connection = http.client.HTTPSConnection(parts.hostname or "", parts.port or 80, timeout=seconds, context=context)
    connection.set_tunnel(to.host, to.port, headers)
    return connection
