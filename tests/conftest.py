"""Shared by all tests: the stack file as it ships, and no AWS settings of the developer's own."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from dr_assets.stack import Stack, parse_stack

ROOT = Path(__file__).resolve().parent.parent


# The longest files first, so that no worker is left with one at the end; Terraform's mostly wait, others run beside them.
FIRST = (
    "terraform",
    "test_drills.py",
    "test_provision.py",
    "test_demo.py",
    "browser",
    "integration",
    "test_postgres.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: next((n for n, name in enumerate(FIRST) if name in item.path.parts), len(FIRST)))


@pytest.fixture(autouse=True)
def _no_settings_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("AWS_", "DR_")) or name == "DAGSTER_HOME":
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)


@pytest.fixture
def raw_stack() -> dict[str, Any]:
    """The shipped stack file as plain JSON, to be spoilt at will."""
    return dict(json.loads((ROOT / "infra" / "stack.auto.tfvars.json").read_text()))


@pytest.fixture
def stack(raw_stack: dict[str, Any]) -> Stack:
    return parse_stack(raw_stack)
