"""Foreign text is neutral wherever it is shown: the characters come from Unicode's, Slack's, CommonMark's and OWASP's documents."""

from __future__ import annotations

import html
import logging
import re
from pathlib import Path

import pytest

from dr_assets import escape

# ECMA-48 (ESC, CSI, C1), OSC 8 links and OSC 52 clipboard, Unicode UAX 9 bidirectional formatting, UAX 14 line separators.
HOSTILE = (
    "\x1b[2J",
    "\x1b]8;;http://evil\x1b\\text\x1b]8;;\x1b\\",
    "\x1b]52;c;ZXZpbA==\x07",
    "\x9b31m",
    "a\rb",
    "a\nb",
    "a\u2028b\u2029c\x85d",
    "\u202egpj.exe",
    "\u2066x\u2069",
    "\ufeffx",
    "\u200bx",
    "\x00\x7f\b\t\v\f",
    "\udce9",
    "\U000e0041",
)


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_case_e7_a_line_holds_nothing_that_a_terminal_acts_on(text: str) -> None:
    shown = escape.line(f"id-{text}-end")
    assert shown.startswith("id-")
    assert shown.endswith("-end")
    assert len(shown.splitlines()) == 1
    assert all(char.isprintable() for char in shown), shown
    assert "\\" in shown  # the reader sees that the name is hostile
    shown.encode()


def test_ordinary_text_is_left_as_it_is() -> None:
    for text in ("primary/aurora/cluster", "Größe 10 µs → 3\u202f000 €", "日本語", "a\\b [x] <y> 'z'"):
        assert escape.line(text) == text
    assert escape.lines("one\ntwo\x1b") == "one\ntwo\\x1b"


@pytest.mark.parametrize(
    "text",
    [
        "![x](http://evil/i.png)",
        "[a](javascript:b)",
        "a|b",
        "<img src=x>",
        "`c`",
        "# h",
        "- i",
        "1. n",
        "&lt;",
        "a\n\n# h",
    ],
)
def test_case_e7_markdown_shows_text_as_text(text: str) -> None:
    shown = escape.markdown(text)
    # CommonMark 2.4: a backslash before ASCII punctuation makes it literal; without those pairs no construct is left.
    left = re.sub(r"\\[!-/:-@\[-`{-~]", "", shown)
    assert not re.search(r"[\[\]<>|`*_&\n]|^(#|-|\+|\d+\.)", left), shown


@pytest.mark.parametrize("text", ["<!channel>", "<@U1>", "<https://evil|bank>", "a & b", "&lt;"])
def test_case_e7_slack_shows_text_as_text(text: str) -> None:
    shown = escape.slack(text, 3000)
    assert not re.search(r"[<>]", shown)
    assert html.unescape(shown) == text


@pytest.mark.parametrize("limit", [1, 2, 5, 6, 7, 8, 149, 150])
def test_slack_cuts_between_entities(limit: int) -> None:
    shown = escape.slack("&<>" * 100, limit)
    assert len(shown) <= limit
    assert re.fullmatch(r"(&amp;|&lt;|&gt;)*…", shown)


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "＝", "＋", "－", "＠"])
@pytest.mark.parametrize(
    "before", ["", " ", "\t", "\r", "\n", "\xa0", "\u3000", "\x00", "\ufeff", "\u200b", "a\r", "a\n", "a\r\n"]
)
def test_case_e7_no_cell_begins_a_formula(begin: str, before: str) -> None:
    cell = escape.csv_cell(f"{before}{begin}HYPERLINK(1)")
    for row in re.split(r"\r\n|\r|\n", cell):  # a reader may end rows at any of them
        assert row.strip()[:1] not in "=+-@＝＋－＠\t"


def test_case_e7_an_id_is_no_template_of_terraform() -> None:
    # https://developer.hashicorp.com/terraform/language/expressions/strings: $${ and %%{ are the literal forms.
    assert escape.hcl('a"${file("/etc/passwd")}%{if true}') == '"a\\"$${file(\\"/etc/passwd\\")}%%{if true}"'


def test_case_e7_an_argument_begins_no_line_of_a_log(caplog: pytest.LogCaptureFixture) -> None:
    forged = "key\n2026-11-01 00:00:00 ERROR all is lost\x1b[2J"
    log = escape.logger("dr_assets.test_escape")
    log.warning("%s: %s after %.1f s, %d of %d; %r", forged, ValueError(forged), 1.25, 2, 3, [forged])
    assert escape.logger("dr_assets.test_escape") is log
    (record,) = caplog.records
    text = logging.Formatter().format(record)
    assert text.count("\\n2026-11-01") == 3 and text.isprintable()
    assert "after 1.2 s, 2 of 3;" in text


def test_case_e7_every_logger_of_the_product_escapes_its_arguments() -> None:
    """`files`, which the embedded AWS uses, cannot import `escape`: it logs paths by their repr."""
    package = Path(escape.__file__).parent
    found = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if "logging.getLogger(" in path.read_text()
    }
    assert {name for name in found if not name.startswith("emulator/")} == {"escape.py", "files.py"}
