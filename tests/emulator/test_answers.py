"""Switches for behaviours that AWS does not document: set, refused, and reset."""

import json
import subprocess
from dataclasses import asdict, fields

import pytest

from dr_assets.emulator import EmbeddedAws
from dr_assets.emulator.answers import CHOICES, RANGES, Answers, parse
from tests.support.answers import FOR_TESTS, main, runs, values


def test_a_switch_is_set_and_a_reset_restores_it() -> None:
    with EmbeddedAws() as aws:
        assert aws.control.answers()["lag_dimensions"] == Answers().lag_dimensions
        assert aws.control.answers(lag_dimensions="cluster")["lag_dimensions"] == "cluster"
        aws.control.reset()
        assert aws.control.answers()["lag_dimensions"] == Answers().lag_dimensions
        with pytest.raises(ValueError, match="source-region"):
            aws.control.answers(lag_dimensions="none")


def test_a_server_starts_with_the_variable_s_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DR_EMULATED_ANSWERS", '{"lag_dimensions": "source-region"}')
    with EmbeddedAws() as aws:
        aws.control.reset()
        assert aws.control.answers()["lag_dimensions"] == "source-region"


@pytest.mark.parametrize(("values", "words"), [({"lag": 1}, "unknown answers"), ({"lag_dimensions": 3}, "one of")])
def test_what_is_no_answer_is_refused(values: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse(values)


def test_every_choice_has_its_default() -> None:
    assert all(getattr(Answers(), name) in values for name, values in CHOICES.items())


def test_the_runs_under_other_answers_are_accepted_and_cover_every_value() -> None:
    given = runs()
    for run in given:
        parse(json.loads(json.dumps(run)))
    assert {(name, value) for run in given for name, value in run.items()} == {
        (name, value) for name, others in values().items() for value in others
    }
    assert values().keys() | FOR_TESTS == {field.name for field in fields(Answers)}


def test_default_and_runs_together_give_each_listed_value_both_ends_of_each_range_and_both_truths() -> None:
    given = [asdict(Answers()), *(asdict(parse(run)) for run in runs())]
    for name in {field.name for field in fields(Answers)} - FOR_TESTS:
        expected = set(CHOICES.get(name) or RANGES.get(name) or (True, False))
        assert expected <= {each[name] for each in given}, name


def test_each_run_is_parallel_and_starts_with_its_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[list[str], dict[str, str]]] = []

    def run(command: list[str], *, env: dict[str, str], check: bool) -> subprocess.CompletedProcess[str]:
        started.append((command, env))
        return subprocess.CompletedProcess(command, len(started) % 2)

    monkeypatch.setattr(subprocess, "run", run)
    assert main([]) == 1  # one of the runs fails
    assert [json.loads(env["DR_EMULATED_ANSWERS"]) for _, env in started] == runs()
    for command, _ in started:
        assert command[-5:] == ["-n", "3", "--dist", "loadfile", "--no-loadscope-reorder"]
        assert "tests/integration" in command
