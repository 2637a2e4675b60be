"""Markdown metadata: what comes from AWS, files and people is text in Dagster's UI, and no picture is fetched from anywhere."""

from __future__ import annotations

import re
from pathlib import Path

import dr_assets
from dr_assets.defs import markdown

EVIL = "x|y ![i](http://evil/i.png) <img src=http://evil>\n\n# forged\n| a | b |\x1b[2J"


def test_case_e7_foreign_text_in_markdown_stays_text() -> None:
    for found in (markdown.bullets([EVIL, EVIL]), markdown.table([EVIL, "b"], [(EVIL, 1.5), (EVIL, -2)])):
        text = found.md_str or ""
        assert not re.search(r"(?<!\\)(!?\[|<)", text), text
        assert "forged" in text
        assert not re.search(r"^\s*# ", text, re.MULTILINE)
        assert "\x1b" not in text
    rows = (markdown.table(["a", "b"], [(EVIL, 1), (EVIL, 2)], more=3).md_str or "").splitlines()
    # GFM, 4.10: a pipe that is escaped ends no cell.
    assert [len(re.findall(r"(?<!\\)\|", row)) for row in rows[:4]] == [3, 3, 3, 3]
    assert rows[-1] == "3 more rows: see the pack's CSV."
    assert (markdown.picture(EVIL, b"x").md_str or "").count("](") == 2


def test_nothing_is_none() -> None:
    assert markdown.bullets([]).md_str == "none"
    assert markdown.table(["a"], []).md_str == "none"


def test_case_e7_markdown_is_made_in_one_place() -> None:
    package = Path(dr_assets.__file__).parent
    made = [
        path.name
        for path in package.rglob("*.py")
        if re.search(r"MetadataValue\.md\(|MarkdownMetadataValue\(", path.read_text())
    ]
    assert made == ["markdown.py"]
