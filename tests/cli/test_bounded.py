"""Numbers on the command line: each has bounds, and NaN or infinity is refused in one line."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from dr_assets.cli.main import main


def numbers(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Option]]:
    """Every option of every command that takes a number."""
    for option in command.params:
        if isinstance(option, click.Option) and isinstance(
            option.type, click.types.FloatParamType | click.types.IntParamType
        ):
            yield path, option
    if isinstance(command, click.Group):
        for name, each in command.commands.items():
            yield from numbers(each, (*path, name))


NUMBERS = list(numbers(main))


def test_case_c3_the_numbers_of_the_command_line_are_found() -> None:
    found = {(*path, option.opts[0]) for path, option in NUMBERS}
    assert {("alert", "arm", "--hours"), ("drill", "failover", "--lag-gate"), ("provision", "--poll")} <= found


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e12", "-1", "x"])
@pytest.mark.parametrize(
    ("path", "option"), NUMBERS, ids=[f"{'-'.join(path)}{option.opts[0]}" for path, option in NUMBERS]
)
def test_case_c3_a_number_that_is_none_is_refused_in_one_line(
    path: tuple[str, ...], option: click.Option, value: str
) -> None:
    result = CliRunner().invoke(main, [*path, option.opts[0], value])
    assert result.exit_code == 2  # click's own code for wrong usage: nothing was begun
    assert f"Invalid value for '{option.opts[0]}'" in result.output
    assert "Traceback" not in result.output
