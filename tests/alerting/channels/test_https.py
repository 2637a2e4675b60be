"""Webhooks: https alone, no redirects, 2xx alone, one deadline, and no secret in what is raised."""

from __future__ import annotations

import contextlib
import http.client
import pickle
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dr_assets.alerting.channels.channel import AlertRefused, AlertUnknown
from dr_assets.alerting.channels.https import post
from dr_assets.alerting.channels.pagerduty import PagerDutyChannel
from dr_assets.alerting.channels.slack import SlackChannel
from dr_assets.alerting.message import Alert
from dr_assets.errors import DrError
from dr_assets.secret import Secret
from tests.alerting.conftest import Hook

KEY = "secret-part"
Peer = Callable[[socket.socket], None]


@contextlib.contextmanager
def peer(answer: Peer) -> Iterator[str]:
    """A peer of which each connection is given to `answer`; its address as host:port."""
    ending = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while not ending.is_set():
                with contextlib.suppress(OSError):
                    connection, _ = server.accept()
                    with connection:
                        answer(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        ending.set()
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        thread.join(2)


def answering(text: bytes) -> Peer:
    def answer(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(text)

    return answer


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_case_d3_a_redirect_is_a_failure_and_is_not_followed(hook: Hook, alert: Alert, status: int) -> None:
    head = f"HTTP/1.1 {status} Moved\r\nLocation: {hook.url}\r\nContent-Length: 0\r\n\r\n".encode()
    with peer(answering(head)) as at, pytest.raises(AlertRefused, match="a redirect, which is not followed") as caught:
        SlackChannel(f"http://{at}/{KEY}").send(alert)
    assert hook.bodies == []
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    "status", [101, 103, *range(200, 210), 226, 299, 300, 304, 399, 400, 401, 404, 410, 429, 500, 503, 599]
)
def test_case_d3_any_2xx_delivers_and_nothing_else(status: int) -> None:
    with peer(answering(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n".encode())) as at:
        failure = post(Secret(f"http://{at}/"), {}, "slack", 5)
    if 200 <= status < 300:
        assert failure is None
    else:
        assert isinstance(failure, AlertRefused if status >= 300 else AlertUnknown)


@pytest.mark.parametrize(
    "url",
    [
        f"http://example.com/{KEY}",
        f"http://localhost/{KEY}",
        f"http://127.0.0.1.example.com/{KEY}",
        f"http://0x7f.1/{KEY}",
        f"file:///etc/{KEY}",
        f"data:text/plain,{KEY}",
        f"ftp://127.0.0.1/{KEY}",
        f"HTTPS://user:{KEY}@example.com/",
        f"hooks.slack.com/{KEY}",
        f"//hooks.slack.com/{KEY}",
        f"https:///{KEY}",
        f"https://hooks.slack.com:0/{KEY}",
        f"https://[::1/{KEY}",
        f"https://hooks.slack.com/{KEY}\r\nHost: x",
        f"https://hooks.slack.com/\t{KEY}",
        KEY,
        "",
    ],
)
def test_case_d3_other_schemes_are_refused_without_being_shown(
    alert: Alert, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket, "create_connection", refuse)
    with pytest.raises(AlertRefused, match=r"^slack (has an invalid|needs an https) URL.*Correct it\.$") as caught:
        SlackChannel(url).send(alert)
    assert KEY not in str(caught.value)


def trickling(first: bytes, each: bytes) -> Peer:
    def answer(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(first)
        for _ in range(100):
            time.sleep(0.1)
            connection.sendall(each)

    return answer


@pytest.mark.parametrize(
    ("scheme", "answer", "error"),
    [
        ("http", trickling(b"HTTP/1.1 200 OK\r\nX: ", b"x"), AlertUnknown),
        ("http", trickling(b"", b"H"), AlertUnknown),
        ("http", trickling(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), AlertUnknown),
        ("http", lambda connection: time.sleep(2), AlertUnknown),
        ("https", lambda connection: time.sleep(2), AlertRefused),  # within the handshake of TLS
    ],
)
def test_case_d3_a_trickling_peer_is_given_up_within_the_deadline(
    scheme: str, answer: Peer, error: type[DrError]
) -> None:
    with peer(answer) as at:
        begun = time.monotonic()
        failure = post(Secret(f"{scheme}://{at}/"), {}, "slack", 0.8)
        took = time.monotonic() - begun
    assert isinstance(failure, error)
    assert took < 0.8 * 1.2 + 0.2


def test_case_d3_a_2xx_counts_however_slowly_its_body_comes() -> None:
    with peer(trickling(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", b"x")) as at:
        begun = time.monotonic()
        assert post(Secret(f"http://{at}/"), {}, "slack", 5) is None
    assert time.monotonic() - begun < 4


def test_case_d3_an_alert_given_up_before_sending_is_never_sent_later(
    hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolved = threading.Event()
    connect = http.client.HTTPConnection.connect

    def slow(self: http.client.HTTPConnection) -> None:
        resolved.wait(5)
        connect(self)

    monkeypatch.setattr(http.client.HTTPConnection, "connect", slow)
    failure = post(Secret(hook.url), {}, "slack", 0.2)
    assert isinstance(failure, AlertRefused)
    assert "could not be reached within 0.2 s" in str(failure)
    resolved.set()
    for thread in threading.enumerate():
        if thread.name == "webhook":
            thread.join(5)
    assert hook.bodies == []


def test_the_proxy_of_the_environment_is_used_for_https_only(hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []

    def answer(connection: socket.socket) -> None:
        asked.append(connection.recv(65536))
        connection.sendall(b"HTTP/1.1 407 Who are you\r\n\r\n")

    with peer(answer) as at:
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:word@{at}")
        monkeypatch.setenv("https_proxy", f"http://me:word@{at}")
        assert post(Secret(hook.url), {}, "slack", 5) is None
        failure = post(Secret(f"https://hooks.example.com/{KEY}"), {}, "slack", 5)
    assert isinstance(failure, AlertRefused)
    assert asked[0].startswith(b"CONNECT hooks.example.com:443")
    assert b"Proxy-Authorization: Basic bWU6d29yZA==" in asked[0]
    assert KEY.encode() not in asked[0]


@pytest.mark.parametrize("answer", [answering(b"nonsense\r\n"), answering(b"HTTP/1.1 403 No\r\n\r\n"), answering(b"")])
@pytest.mark.parametrize("kind", ["slack", "pagerduty"])
def test_case_d3_no_secret_in_any_exception(alert: Alert, answer: Peer, kind: str) -> None:
    with peer(answer) as at:
        url = f"http://{at}/{KEY}"
        channel = SlackChannel(url) if kind == "slack" else PagerDutyChannel(f"{KEY}-key", url)
        with pytest.raises(DrError) as caught:
            channel.send(alert)
    error = caught.value
    ours = error.__traceback__ and error.__traceback__.tb_next  # without this test's own variables
    shown = traceback.TracebackException(type(error), error, ours, capture_locals=True)
    assert error.__context__ is None
    assert KEY not in "".join(shown.format()) + repr(error) + str(pickle.dumps(error))


def test_a_secret_shows_itself_nowhere(tmp_path: Path) -> None:
    secret = Secret(KEY)
    assert KEY not in f"{secret} {secret!r} {[secret]} {vars(SlackChannel(KEY))}"
    assert secret.reveal() == KEY
    with pytest.raises(TypeError):
        pickle.dumps(secret)
