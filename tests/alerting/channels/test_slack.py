"""The Slack channel: its body, its failures, and a URL that stays secret."""

from __future__ import annotations

import socket
import threading

import pytest

from dr_assets.alerting.channels.channel import AlertRefused, AlertUnknown
from dr_assets.alerting.channels.slack import SlackChannel
from dr_assets.alerting.message import Alert
from dr_assets.errors import DrError
from tests.alerting.conftest import Hook


def test_slack_gets_a_body_of_its_own(hook: Hook, alert: Alert) -> None:
    channel = SlackChannel(hook.url)
    channel.send(alert)
    (body,) = hook.bodies
    assert body == channel.body(alert)
    assert body["text"] == alert.subject


@pytest.mark.parametrize(
    ("status", "error"), [(403, AlertRefused), (500, AlertRefused), (429, AlertRefused), (0, AlertUnknown)]
)
def test_a_webhook_s_answers_are_distinguished_and_its_url_is_never_shown(
    hook: Hook, alert: Alert, status: int, error: type[DrError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dr_assets.alerting.channels.channel.HTTP_SECONDS", 0.3)
    hook.status = status
    with pytest.raises(error) as caught:
        SlackChannel(hook.url).send(alert)
    assert "secret-part" not in str(caught.value) + repr(caught.value.__cause__)


def test_a_webhook_that_is_not_there_certainly_delivered_nothing(alert: Alert) -> None:
    with pytest.raises(AlertRefused, match="could not be reached"):
        SlackChannel("http://127.0.0.1:1/x").send(alert)


def test_an_invalid_url_is_refused_without_being_shown(alert: Alert) -> None:
    with pytest.raises(AlertRefused, match="invalid URL") as caught:
        SlackChannel("hooks.slack.com/secret-part").send(alert)
    assert "secret-part" not in str(caught.value) + repr(caught.value.__cause__)


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.slack.com/services/T0/secret-part tail",
        "https://hooks.slack.com:secret-part/services",
        "http://127.0.0.1:1/secret-part-é",
    ],
)
def test_a_url_that_cannot_be_sent_is_refused_without_being_shown(alert: Alert, url: str) -> None:
    with pytest.raises(AlertRefused, match=r"^slack has an invalid URL\. Correct it\.$"):
        SlackChannel(url).send(alert)


def test_a_peer_that_speaks_no_http_leaves_the_delivery_unknown(alert: Alert) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"220 secret-part ESMTP\r\n")

        peer = threading.Thread(target=answer)
        peer.start()
        with pytest.raises(AlertUnknown, match=r"^slack: the answer was lost \(BadStatusLine\)\.$"):
            SlackChannel(f"http://127.0.0.1:{server.getsockname()[1]}/secret-part").send(alert)
        peer.join()
