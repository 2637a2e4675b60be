"""Fixtures of all tests: the shipped stack file; and no test reaches AWS or uses the developer's own settings."""

import json
import os
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from dr_assets.stack import Stack, parse_stack
from tests.faults.matrix import SEED, seed
from tests.support.isolation import guard_sockets, isolate

ROOT = Path(__file__).resolve().parent.parent

# Before any fixture of a session runs.
isolate(os.environ)
guard_sockets()
# Properties hold or do not; how fast an example runs depends on what else the machine does.
hypothesis.settings.register_profile("tests", deadline=None)
hypothesis.settings.load_profile("tests")
os.environ.setdefault(SEED, seed())  # one for all workers, also over midnight

# The longest files first, so that no worker is left with one at the end; Terraform's mostly wait, others run beside them.
FIRST = (
    "terraform",
    "test_drills.py",
    "test_provision.py",
    "test_demo.py",
    "browser",
    "integration",
    "faults",
    "test_moves.py",
    "test_heartbeat.py",
)


def pytest_report_header() -> str:
    return f"fault matrix: {SEED}={seed()} chose this run's sample"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: next((n for n, name in enumerate(FIRST) if name in item.path.parts), len(FIRST)))


@pytest.fixture(autouse=True)
def _isolated(monkeypatch: pytest.MonkeyPatch) -> None:
    environ = dict(os.environ)
    isolate(environ)
    for name in os.environ.keys() - environ.keys():
        monkeypatch.delenv(name)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def raw_stack() -> dict[str, Any]:
    """The shipped stack file as plain JSON, to be spoilt at will."""
    return dict(json.loads((ROOT / "infra" / "stack.auto.tfvars.json").read_text()))


@pytest.fixture
def stack(raw_stack: dict[str, Any]) -> Stack:
    return parse_stack(raw_stack)
