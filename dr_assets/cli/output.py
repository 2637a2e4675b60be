"""Everything the `dr` command prints: lines, JSON and tables that no name, tag or error text can act through.

Results go to stdout, progress and errors to stderr. No other module of the command line writes to a stream.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import cache
from traceback import walk_tb
from typing import TYPE_CHECKING, Any, TextIO

import click

from dr_assets import escape

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text


def say(*lines: object, err: bool = False, style: str | None = None) -> None:
    """Print each of `lines` as one line; `style` is a colour for a terminal.

    With `err`, a stream that cannot be written is no error: a full disk or a closed pipe must not end a drill half-way.
    """
    colour = None if os.environ.get("NO_COLOR") else style
    with suppress(OSError) if err else nullcontext():
        for each in lines or ("",):
            click.secho(escape.line(each), err=err, fg=colour)


@contextmanager
def streams() -> Iterator[None]:
    """For a whole command: what a stream's encoding lacks shows as an escape; a stdout that cannot be written is one line and exit 1.

    A closed pipe is left to click, which ends the command without a word.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        yield
    except OSError as error:
        if not {click.echo.__code__, say_table.__code__} & {frame.f_code for frame, _ in walk_tb(error.__traceback__)}:
            raise
        _discard(sys.stdout)
        say(f"dr: The output cannot be written ({error.strerror}). Send it elsewhere.", err=True)
        sys.exit(1)
    finally:
        try:
            if sys.stderr:
                sys.stderr.flush()
        except (OSError, ValueError):
            _discard(sys.stderr)


def _discard(stream: TextIO) -> None:
    """Send what is still to be written nowhere: Python would report it as it ends, with an exit code of its own (120)."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def say_text(text: object, err: bool = False, style: str | None = None) -> None:
    """Print a text of several lines whose line ends are of our own making."""
    say(*str(text).removesuffix("\n").split("\n"), err=err, style=style)


def say_json(value: Any) -> None:
    """Print `value` as indented JSON in ASCII. JSON leaves one control character as it is, DEL."""
    say_text(json.dumps(value, indent=2).replace("\x7f", "\\u007f"))


def confirm(question: str) -> bool:
    """Ask on stderr; the answer is no unless it is given."""
    return click.confirm(escape.line(question), err=True)


@contextmanager
def usage_errors_escaped() -> Iterator[None]:
    """Escapes the texts of click's own errors, which quote arguments as they were given."""
    try:
        yield
    except click.UsageError as error:
        text = error.format_message()
        if text == escape.lines(text):
            raise
        raise click.UsageError(escape.line(text), error.ctx) from None


@cache
def console(err: bool = False) -> Console:
    """The terminal as rich sees it, without markup and emoji codes: for what rich draws itself, such as a progress bar."""
    from rich.console import Console

    stream = sys.stderr if err else sys.stdout
    # A pipe or a file has no terminal width.
    width = None if stream and stream.isatty() else 200
    return Console(stderr=err, markup=False, highlight=False, emoji=False, width=width)


def styled(text: object, style: str = "") -> Text:
    """A cell of `say_table` in a style."""
    from rich.text import Text

    return Text(escape.line(text), style)


def say_table(
    headers: Sequence[str],
    rows: Iterable[Sequence[object]],
    no_wrap: Collection[str] = (),
    title: str | None = None,
    err: bool = False,
) -> None:
    """Print a table without borders, headers in bold. A cell is a text, or what `styled` gives."""
    from rich.table import Table
    from rich.text import Text

    found = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for name in headers:
        found.add_column(styled(name), no_wrap=name in no_wrap, overflow="fold")
    for row in rows:
        found.add_row(*(cell if isinstance(cell, Text) else styled(cell) for cell in row))
    console(err).print(found)
