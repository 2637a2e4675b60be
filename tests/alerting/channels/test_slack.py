"""The Slack channel: its body, its failures, and a URL that stays secret."""

from __future__ import annotations

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
