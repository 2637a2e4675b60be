"""Streams of `dr` that cannot be written, or whose encoding has few characters: one line and an exit code, never a traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Every command that prints a result without a call to AWS, and click's own help.
COMMANDS = (["graph"], ["graph", "--json"], ["permissions"], ["--help"], ["drill", "--help"], ["--version"])


def dr(*arguments: str, redirect: str = "", **env: str) -> subprocess.CompletedProcess[bytes]:
    command = f'exec "$0" -m dr_assets.cli.main "$@" {redirect}'
    return subprocess.run(
        ["sh", "-c", command, sys.executable, *arguments],
        cwd=ROOT,
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
    )


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_case_e7_a_full_disk_is_one_line(command: list[str], unbuffered: str) -> None:
    done = dr(*command, redirect=">/dev/full", PYTHONUNBUFFERED=unbuffered)
    assert done.returncode == 1
    assert done.stderr == b"dr: The output cannot be written (No space left on device). Send it elsewhere.\n"


@pytest.mark.parametrize("redirect", [">&-", "2>/dev/full", "2>&-", ">&- 2>&-"])
def test_case_e7_a_closed_stream_or_a_full_stderr_changes_nothing_else(redirect: str) -> None:
    assert dr("graph", redirect=redirect).returncode == 0
    failed = dr("graph", redirect=redirect, DR_STACK_FILE="/nowhere")
    assert failed.returncode == 1
    assert b"Traceback" not in failed.stderr


def test_case_e7_a_reader_that_goes_away_ends_it_without_a_word() -> None:
    done = dr("graph", "--json", redirect="| head -c 1")
    assert (done.stdout, done.stderr) == (b"{", b"")


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "koi8-r", "utf-8"])
def test_case_e7_what_an_encoding_lacks_is_shown_as_an_escape(encoding: str) -> None:
    """Python takes the encoding of a stream from the locale, or from PYTHONIOENCODING; click takes ASCII for UTF-8."""
    name = "nowhere-\u0142\u4e2d\U0001f600"
    done = dr("graph", PYTHONIOENCODING=encoding, DR_STACK_FILE=name)
    assert done.returncode == 1
    shown = done.stderr.decode(encoding)
    assert shown.startswith("dr: There is no stack file at") and shown.count("\n") == 1
    assert (name if encoding == "utf-8" else r"nowhere-\u0142\u4e2d\U0001f600") in shown
    assert dr("drill", "--help", PYTHONIOENCODING=encoding).returncode == 0
