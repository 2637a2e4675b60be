"""docs/add-a-source.md is executed: its source is polled, its rule opens and resolves an incident, its own test passes."""

from __future__ import annotations

import re
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dr_assets.core.freshness import Known
from dr_assets.monitoring import rules
from dr_assets.monitoring.rule import Rule
from dr_assets.monitoring.samples import Sample
from dr_assets.monitoring.sources.poller import Poller
from dr_assets.monitoring.sources.source import SourceKind
from dr_assets.monitoring.topics import REPLICATION, WRITER
from dr_assets.stack import SITES, Site, Stack
from tests.monitoring import test_completeness as completeness
from tests.support.monitoring import Run, S, at, healthy

PAGE = (Path(__file__).resolve().parents[2] / "docs/add-a-source.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    """What the page's Python defines, block after block; the module's under its name, as the page's imports would have it."""
    module, *others = blocks("python")
    backup = types.ModuleType("dr_assets.monitoring.sources.backup")
    exec(compile(module, "docs/add-a-source.md", "exec"), backup.__dict__)
    known = {**vars(rules), "backup": backup, "at": at, "Stack": Stack, "Site": Site, "Rule": Rule}
    known |= {"REPLICATION": REPLICATION, "WRITER": WRITER, "Known": Known}
    for block in others:
        exec(compile(block, "docs/add-a-source.md", "exec"), known)
    return known


def test_its_own_test_passes(page: dict[str, Any], stack: Stack) -> None:
    page["test_the_age_of_the_latest_restorable_point"](stack)


def test_it_is_polled_beside_the_others(page: dict[str, Any], stack: Stack) -> None:
    kind: SourceKind = page["backup_kind"]
    snapshot = Poller([stack], list(kind.sources([stack], page["Rds"]()))).tick()
    assert {reading.name: reading.status for reading in snapshot.readings} == {
        f"backup@{stack.region(site)}": "answered" for site in SITES
    }
    answers = {sample.site: sample.raw for sample in snapshot.samples if sample.source == "region"}
    assert answers == {"primary": 1.0, "secondary": 1.0}


def test_its_rule_opens_and_resolves_an_incident(page: dict[str, Any], stack: Stack) -> None:
    build: Callable[[Stack, Site], Rule] = page["backup_rule"]
    run = Run(stack, [*rules.rules_for(stack), *(build(stack, site) for site in SITES)])
    for second in range(0, 300, 10):
        age = 1000.0 if 50 <= second < 150 else 120.0
        run.tick(
            second,
            [*healthy(second), Sample(at(second), S, "primary", "backup", "restorable-age", age, page["backup"].AGE)],
        )
    assert run.delivered == ["replication opened", "replication resolved"]


def test_only_the_steps_of_the_page_are_missing(page: dict[str, Any], stack: Stack, granted: set[str]) -> None:
    (row,) = blocks("markdown")
    kind: SourceKind = page["backup_kind"]
    found = [page["backup_rule"](stack, site) for site in SITES]
    assert list(completeness.about_rules(found, [kind], completeness.RESOURCES)) == []
    problems = list(completeness.about_sources([kind], found, granted))
    assert [problem.split(". ")[0] for problem in problems] == [
        "backup: docs/alerts.md does not have it",
        "backup: no test imports sources.backup",
    ]
    assert row.startswith("| `backup` |")
