"""The message that every channel delivers."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from dr_assets.alerting.channels.slack import SlackChannel
from dr_assets.alerting.message import Alert, compose
from dr_assets.monitoring.incidents import Transition
from tests.alerting.conftest import OPENED, Daemon, outage
from tests.support.monitoring import Recorder


def test_the_message_has_everything_that_it_must(daemon: Daemon, sns: Recorder) -> None:
    outage(daemon, end=30, until=30)
    alert = sns.sent[0]
    for part in (
        "CRITICAL: The writer does not accept writes",
        "Since: 2026-11-23 12:00:00 UTC",
        "Value: 0; objective: at least 1",
        "Lost: the database at the primary site",
        "Do: docs/runbooks.md#",
        "Link: https://dagster",
        f"Key: {OPENED}",
        "Owner: on-call",
    ):
        assert part in alert.text
    assert len(alert.subject) <= 100
    assert alert.subject.isascii()


HOSTILE = "x\r\nLink: http://evil\n\x1b[2J\u202e<!channel> <@U1> <https://evil|bank> @here & ü" + "y" * 300


def hostile(transition: Transition) -> Alert:
    incident = transition.incident.updated(text=HOSTILE, evidence=(HOSTILE,), objective=HOSTILE)
    return compose(replace(transition, incident=incident), {}, "https://dagster/x")


def test_case_e7_the_subject_is_one_that_sns_takes(transition: Transition) -> None:
    # API reference of Publish: ASCII, begins with a letter, number or punctuation mark, no line breaks or control characters,
    # less than 100 characters.
    subject = hostile(transition).subject
    assert len(subject) < 100
    assert subject.isascii()
    assert subject.isprintable()
    assert subject[0] == "["


def test_case_e7_no_evidence_passes_for_a_line_of_ours(transition: Transition) -> None:
    lines = hostile(transition).text.splitlines()
    assert [line for line in lines if line.startswith("Link:")] == ["Link: https://dagster/x"]
    assert all(line.isprintable() for line in lines)
    assert (
        len(lines)
        == len(compose(transition, {}, "https://dagster/x").text.splitlines()) - len(transition.incident.evidence) + 1
    )


@pytest.mark.parametrize("char", ["x", "\U0001f600", "\x1b", "\udce9", "\n"])
def test_case_d2_a_text_of_any_length_is_one_that_sns_takes(transition: Transition, char: str) -> None:
    """API reference of Publish: at most 262,144 bytes of UTF-8. One more, and SNS refuses the alert at every tick."""
    endless = char * 50_000
    incident = transition.incident.updated(
        text=endless, evidence=(endless,) * 1000, objective=endless, runbook=endless, unit=endless, site=endless
    )
    alert = compose(replace(transition, incident=incident), {}, "https://dagster/x")
    assert len(alert.text.encode()) <= 262_144 - 1_000  # the attribute counts, too
    assert len(alert.subject) < 100
    assert alert.text.splitlines()[-1].endswith(f"Key: {OPENED}")
    assert "- … and 950 more lines" in alert.text


def test_case_e7_slack_gets_no_mention_and_no_link_of_others(transition: Transition) -> None:
    alert = hostile(transition)
    body = SlackChannel("https://hooks.slack.com/x").body(alert)
    header, section = body["blocks"]
    # Reference of Block Kit: a header is plain text of at most 150 characters, a section of at most 3,000, never empty.
    assert header["text"]["type"] == "plain_text"
    assert len(header["text"]["text"]) <= 150
    assert section["text"]["verbatim"] is True
    assert 0 < len(section["text"]["text"]) <= 3000
    for text in (body["text"], section["text"]["text"]):
        assert [link for link in re.findall("<[^>]*>", text) if link != "<https://dagster/x>"] == []
    assert "<https://dagster/x>" in section["text"]["text"]


@pytest.mark.parametrize("size", [2890, 2899, 2900, 5000])
def test_a_long_text_fits_into_slack_after_it_is_escaped(transition: Transition, size: int) -> None:
    alert = replace(compose(transition, {}), text="head\n" + "&" * size)
    text = SlackChannel("https://hooks.slack.com/x").body(alert)["blocks"][1]["text"]["text"]
    assert len(text) <= 3000
    assert re.fullmatch("(&amp;)+…", text)


def test_an_alert_of_one_line_has_no_empty_section(transition: Transition) -> None:
    alert = replace(compose(transition, {}), text="head")
    assert len(SlackChannel("https://hooks.slack.com/x").body(alert)["blocks"]) == 1
