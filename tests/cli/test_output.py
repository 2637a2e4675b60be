"""What the command line prints is text, whatever names and reasons hold: every renderer, on a terminal and in a pipe."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Callable

import pytest
from click.testing import CliRunner

from dr_assets.cli import output, render
from dr_assets.cli.main import main
from dr_assets.core.model import Drift, Outcome
from dr_assets.drills.parts import Condition
from dr_assets.reconcile.service import JobResult

EVIL = "x\x1b[2J\x1b]8;;http://evil\x07\x9b\r\u202e[/b][link=http://evil]:boom:\nforged"
OUTCOME = Outcome(f"primary/aurora/{EVIL}", "drifted", (Drift(f"Tags.{EVIL}", EVIL, [EVIL]),))


class Terminal(io.TextIOWrapper):
    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", write_through=True)

    def isatty(self) -> bool:
        return True

    def text(self) -> str:
        data: bytes = self.buffer.getvalue()  # type: ignore[attr-defined]  # the buffer is a BytesIO
        return data.decode()


Shown = Callable[[Callable[[], object]], str]


@pytest.fixture(params=["terminal", "pipe"])
def shown(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Shown:
    """Runs a function and gives what it wrote to both streams."""
    request.addfinalizer(output.console.cache_clear)

    def run(do: Callable[[], object]) -> str:
        output.console.cache_clear()
        stream = Terminal() if request.param == "terminal" else io.StringIO()
        with monkeypatch.context() as patch:
            patch.setenv("TERM", "xterm-256color")
            patch.setenv("COLUMNS", "500")
            # Not earlier: pytest puts its own streams back before each phase of a test.
            patch.setattr(sys, "stdout", stream)
            patch.setattr(sys, "stderr", stream)
            do()
        return stream.text() if isinstance(stream, Terminal) else stream.getvalue()

    return run


def assert_neutral(text: str) -> None:
    # SGR is ours, and how rich moves a progress bar: cursor up, erase line, hide and show.
    text = re.sub(r"\x1b\[[\d;]*m|\x1b\[(1A|2K|\?25[lh])", "", text)
    assert all(char.isprintable() or char == "\n" for char in text.replace("\r\x1b", "").replace("\r", "")), ascii(text)
    assert not re.search("^forged", text, re.MULTILINE), text
    assert "\\x1b" in text
    assert "[/b]" in text


RENDERERS: dict[str, Callable[[], None]] = {
    "line": lambda: output.say(EVIL, style="red"),
    "error": lambda: output.say(EVIL, err=True),
    "table": lambda: output.say_table((EVIL,), [(EVIL,), (output.styled(EVIL, "red"),)]),
    "differences": lambda: render._outcomes([OUTCOME]),
    "outputs": lambda: render.outputs({EVIL: EVIL}),
    "job": lambda: render.job(JobResult(False, "run", (OUTCOME,), (EVIL.replace("\n", " "),), (EVIL,)), "provisioning"),
    "conditions": lambda: render._conditions("precondition", [Condition(name=EVIL, passed=False, reason=EVIL)]),
    "records": lambda: render.records([], [EVIL], [EVIL]),
    "step": lambda: render.step(EVIL, EVIL),
}


@pytest.mark.parametrize("name", RENDERERS)
def test_case_e7_hostile_ids_are_printed_as_text(name: str, shown: Shown) -> None:
    assert_neutral(shown(RENDERERS[name]))


def test_case_e7_a_hostile_id_in_the_progress_is_text(shown: Shown) -> None:
    def progress() -> None:
        with render.progress("verifying", 1) as tick:
            tick(OUTCOME)

    text = shown(progress)
    assert "verifying" in text
    assert "\x1b]" not in text
    assert "\x9b" not in text


def test_case_e7_json_is_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    output.say_json({EVIL: EVIL + "\x7f"})
    text = capsys.readouterr().out
    assert text.isascii()
    assert all(char.isprintable() or char == "\n" for char in text)
    assert json.loads(text) == {EVIL: EVIL + "\x7f"}


@pytest.mark.parametrize(
    "arguments",
    [
        [f"--{EVIL}"],
        [EVIL],
        ["alert", EVIL],
        ["verify", f"--{EVIL}"],
        ["alert", "silence", "--hours", EVIL],
        ["graph", EVIL],
    ],
    ids=ascii,
)
def test_case_e7_click_s_own_errors_quote_arguments_as_text(arguments: list[str]) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert all(char.isprintable() or char == "\n" for char in result.output), ascii(result.output)
