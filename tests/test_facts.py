"""Every fact of docs/aws-facts.md is held by a test that carries its mark in the name, and no test carries an unknown mark."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "aws-facts.md"


def marks_in_tests() -> set[str]:
    """`aws_03` for test_aws_03_…, `case_a1` for test_case_a1_…"""
    names = (
        node.name
        for path in (ROOT / "tests").rglob("test_*.py")
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


def test_every_fact_has_a_test() -> None:
    assert sorted(marks_on_the_page() - marks_in_tests()) == []


def test_every_mark_is_on_the_page() -> None:
    assert sorted(marks_in_tests() - marks_on_the_page()) == []


def test_the_facts_are_numbered_without_a_gap() -> None:
    assert {mark for mark in marks_on_the_page() if mark.startswith("aws_")} == {f"aws_{n:02}" for n in range(1, 27)}
