"""Every fact of docs/aws-facts.md is held by a test of the product that carries its mark in the name, and no test carries an
unknown mark. Tests of the embedded AWS alone do not count: they hold what AWS does, not what the product makes of it."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "aws-facts.md"


def marks_in_tests(of_the_product: bool = False) -> set[str]:
    """`aws_03` for test_aws_03_…, `case_a1` for test_case_a1_…; `of_the_product`: without tests/emulator."""
    names = (
        node.name
        for path in (ROOT / "tests").rglob("test_*.py")
        if not (of_the_product and path.is_relative_to(ROOT / "tests" / "emulator"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    return {
        mark
        for name in names
        if name.startswith("test_")
        for mark in re.findall(r"_(aws_\d\d|case_[a-f]\d+)(?=_)", name)
    }


def marks_on_the_page() -> set[str]:
    rows = re.findall(r"^\| (\d+|[A-F]\d+) \|", PAGE.read_text(), re.M)
    return {f"aws_{int(row):02}" if row.isdigit() else f"case_{row.lower()}" for row in rows}


def test_every_fact_has_a_test_of_the_product() -> None:
    assert sorted(marks_on_the_page() - marks_in_tests(of_the_product=True)) == []


def test_every_mark_is_on_the_page() -> None:
    assert sorted(marks_in_tests() - marks_on_the_page()) == []


def test_the_facts_are_numbered_without_a_gap() -> None:
    assert {mark for mark in marks_on_the_page() if mark.startswith("aws_")} == {f"aws_{n:02}" for n in range(1, 28)}
