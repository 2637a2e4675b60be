"""Mutated arguments of `dr`, made from click's own tree: an exit code and a few printable lines, and no impossible value accepted.

What is accepted is judged by rules written here from the commands' help, not by the product's own checks. AWS does not answer; the
commands that start a server or run a job stop where that would begin.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import botocore.exceptions
import click
import pytest
from click.testing import CliRunner, Result

import dr_assets.emulator
from dr_assets.aws import Aws
from dr_assets.cli import demo, run_job, ui
from dr_assets.cli.main import main
from dr_assets.drills import runner
from dr_assets.errors import DrError
from tests.fuzz import mutate
from tests.fuzz.test_stack_files import SHIPPED

SEEDS = Path(__file__).parent / "seeds" / "cli.json"
EXITS = {0, 1, 2, 130}
LINES = 20
# What stands on a command line by mistake, by a script's bug, or by malice; an argument holds no NUL.
ODD = (
    "", " ", "-", "--", "---", "-x", "--json", "--yes", "=", "a=b", "a=", "=b", "*", "?", "~", "$HOME", "x" * 300, "x/" * 3000, "/",
    ".", "..", "../..", "/dev/null", "/dev/full", "/proc/self/mem", "0", "-0", "-1", "1", "2", "1.5", "1e3", "1e308", "1e999", "nan",
    "-inf", "inf", "Infinity", "0x10", "1_000", "٣", "²", "9" * 400, "true", "null", "[]", "{}", "2026-11-01", "0001-01-01",
    "9999-12-31", "2026-02-30", "2026-11-01T06:00", "2026-11-01T06:00+99:99", "0001-01-01T00:00:00+14:00", "\x1b[2J", "a\nb", "\u202ex",
    "\udcff", "é", "[/b]", "=1+1", "NAME=REASON", "failover", "writer", "l6p3z2w4", "primary/aurora/cluster", "s3://bucket/prefix",
)  # fmt: skip
TOPICS = [
    "writer",
    "replication",
    "two-writers",
    "unprotected",
    "capacity",
    "sources",
    "keys",
    "events",
    "drift",
    "runs",
    "drills",
]  # docs/alerts.md
GOOD: dict[str, tuple[str, ...]] = {
    # by the name of a parameter: what its help describes
    "--topic": ("*", *TOPICS, "runs.verify_stack"),
    "--account": ("*", "123456789012"),
    "--from": ("2026-11-01", "2026-11-01T06:00", "2026-11-01T06:00Z"),
    "--to": ("2026-11-20",),
    "--override": ("lag=the region is gone",),
    "--skip": ("quotas=raised today",),
    "--sign": ("Auditor=Ada",),
    "--at-least": (f"1:{'a' * 64}",),
    "--out": ("out", "out/deep", "new"),
    "--why": ("a reason",),
    "--by": ("Ada",),
    "duties": ("verify", "drill", "reports"),
    "suffix": ("l6p3z2w4",),
    "old": ("db.example.test", "db.example.test:5432"),
}


def commands(of: click.Command = main, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command with the words that name it."""
    if isinstance(of, click.Group):
        for name, each in of.commands.items():
            yield from commands(each, (*path, name))
    if not isinstance(of, click.Group) or of.invoke_without_command:
        yield path, of


def good(rng: random.Random, parameter: click.Parameter) -> str:
    """A value that the parameter's type and help allow."""
    kind = parameter.type
    for name in (*parameter.opts, parameter.name):
        if name in GOOD:
            return rng.choice(GOOD[name])
    if isinstance(kind, click.FloatRange | click.IntRange):
        low, high = kind.min or 0, kind.max if kind.max is not None else 1000
        return str(rng.choice((high, (low + high) // 2, low + 1)))
    if isinstance(kind, click.Choice):
        return str(rng.choice(list(kind.choices)))
    if isinstance(kind, click.DateTime):
        return "2026-12-01"
    return "out" if isinstance(kind, click.Path) else "some-text"


def arguments(rng: random.Random) -> list[str]:
    """A command with some of its parameters, each good or odd; then, now and then, words removed, repeated, moved or added."""
    path, command = rng.choice(list(commands()))
    found = list(path)
    for parameter in command.params:
        if parameter.name == "help" or not (parameter.required or rng.random() < 0.5):
            continue
        words = [rng.choice(ODD) if rng.random() < 0.3 else good(rng, parameter)]
        if isinstance(parameter, click.Option):
            name = rng.choice(parameter.opts)
            words = [name] if parameter.is_flag else [f"{name}={words[0]}"] if rng.random() < 0.3 else [name, *words]
        found += words
    for _ in range(rng.choice((0, 0, 0, 1, 2))):
        at = rng.randrange(len(found) + 1)
        how = rng.randrange(4)
        if how == 0:
            del found[at : at + 1]
        elif how == 1:
            found.insert(at, rng.choice(ODD))
        elif how == 2:
            found[at:at] = found[at : at + 2]
        else:
            rng.shuffle(found)
    return found


class World:
    """One invocation after another, each in an empty folder with an empty history, without AWS."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder, self._count = folder, 0
        self._runner = CliRunner()
        self.accepted: dict[str, Any] = {}

        def dark(*_: object) -> None:
            raise botocore.exceptions.EndpointConnectionError(endpoint_url="http://nowhere")

        def stop(*_: object, **__: object) -> None:
            raise DrError("It would begin here.")

        monkeypatch.setattr(Aws, "_make", dark)
        monkeypatch.setattr(dr_assets.emulator, "EmbeddedAws", stop)
        for module, name in ((demo, "run"), (ui, "run"), (run_job, "run_job"), (runner, "start"), (runner, "resume")):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, stop)
        monkeypatch.setenv("DR_HISTORY_URI", "history")
        self._invoke: Callable[..., Any] = click.Command.invoke
        world = self

        def noted(command: click.Command, context: click.Context) -> Any:
            if not isinstance(command, click.Group) or not context.invoked_subcommand:
                world.accepted = {**context.params}
                world.command = command
            return world._invoke(command, context)

        monkeypatch.setattr(click.Command, "invoke", noted)
        self.command: click.Command = main

    def run(self, words: list[str]) -> list[str]:
        """What is wrong with how `dr` took these words."""
        self._count += 1
        place = self._folder / str(self._count)
        place.mkdir()
        self.accepted = {}
        os.environ["DR_STACK_FILE"] = str(SHIPPED)
        with contextlib.chdir(place) if hasattr(contextlib, "chdir") else _chdir(place):
            result = self._runner.invoke(main, words)
        found = outcome_problems(result)
        if result.exit_code == 0:
            found += value_problems(self.command, self.accepted)
        return found + window_problems(place)


@contextlib.contextmanager
def _chdir(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def outcome_problems(result: Result) -> list[str]:
    found = []
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        found.append(f"traceback: {type(result.exception).__name__}: {result.exception}"[:300])
    if result.exit_code not in EXITS:
        found.append(f"exit {result.exit_code}")
    # `dr report --pull` prints a line for each day; without a command, the help is printed.
    lines = [line for line in result.stderr.splitlines() if not re.match(r"20\d\d-\d\d-\d\d: ", line)]
    if "Traceback" in result.output or (len(lines) > LINES and "Usage: main" not in lines[0]):
        found.append(f"{len(lines)} lines of error")
    odd = [line for line in result.output.split("\n") if not line.isprintable() and line.strip("\t")]
    return found + [f"not printable: {line!r}"[:200] for line in odd[:1]]


def value_problems(command: click.Command, values: dict[str, Any]) -> list[str]:
    """Values that a command took and finished with, though its help does not allow them."""
    found = []
    for parameter in command.params:
        value = values.get(str(parameter.name))
        if value is None:
            continue
        name, kind = parameter.opts[-1], parameter.type
        if isinstance(kind, click.FloatRange | click.IntRange):
            low, high = kind.min if kind.min is not None else -math.inf, kind.max if kind.max is not None else math.inf
            if not (math.isfinite(value) and low <= value <= high):
                found.append(f"{name} {value!r} accepted")
        elif (
            (name in ("--from", "--to") and not re.fullmatch(r"2\d{3}-\d\d-\d\d([T ]\d\d.*)?", value, re.ASCII))
            or (name == "--account" and value != "*" and not re.fullmatch(r"[0-9]{12}", value))
            or (name == "--topic" and value != "*" and value.split(".")[0] not in TOPICS)
            or (name in ("--why", "--by") and not value.strip())
        ):
            found.append(f"{name} {value!r} accepted")
    return found


def window_problems(place: Path) -> list[str]:
    """Windows and armings that last longer than the help allows, or lie outside their own folder."""
    found = []
    for path in (place / "history").rglob("*.json"):
        key = path.relative_to(place / "history").as_posix()
        content = json.loads(path.read_text())
        if "until" not in content or key.startswith("leases/"):
            continue
        if not re.fullmatch(
            r"maintenance/l6p3z2w4/window/[^/]+\.json|armed/[^/]+\.json|armed/l6p3z2w4/[^/]+\.json", key
        ):
            found.append(f"written to {key}")
        if not re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", content["until"]):
            found.append(f"{key} lasts until {content['until']}")
    return found


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


@pytest.mark.parametrize("given", json.loads(SEEDS.read_text()), ids=lambda given: str(given["name"]))
def test_case_e5_arguments_that_were_once_taken_wrongly_are_refused(world: World, given: dict[str, Any]) -> None:
    assert world.run(given["arguments"]) == []


def test_every_command_and_option_is_reached() -> None:
    rng = mutate.generator("all")
    made = [arguments(rng) for _ in range(4000)]
    for path, command in commands():
        mine = [words for words in made if tuple(words[: len(path)]) == path]
        assert mine, path
        for parameter in command.params:
            if isinstance(parameter, click.Option) and parameter.name != "help":
                assert any(word.split("=")[0] in parameter.opts for words in mine for word in words), (
                    path,
                    parameter.opts,
                )


def run(world: World, number: int) -> None:
    seed, wrong = mutate.seed(), []
    for n in range(number):
        words = arguments(mutate.generator(seed, "cli", n))
        wrong += [f"input {n}: {problem}: {words!r}"[:600] for problem in world.run(words)]
    assert not wrong, f"{mutate.SEED_VARIABLE}={seed}: {len(wrong)} of {number}\n" + "\n".join(wrong[:20])


def test_case_e5_mutated_arguments_are_refused_in_a_few_lines_or_right(world: World) -> None:
    run(world, 300)


@pytest.mark.exhaustive
@pytest.mark.timeout(3600)
def test_case_e5_five_thousand_mutated_command_lines(world: World) -> None:
    run(world, 5000)
