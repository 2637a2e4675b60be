"""The templates of the evidence page: hostile text stays text, unknown names are errors, and an installation has the files."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from jinja2 import UndefinedError
from setuptools import Distribution

from dr_assets import escape
from dr_assets.history import samples
from dr_assets.history.documents import ActionChange, StoredIncident
from dr_assets.reports.analysis import report
from dr_assets.reports.analysis.readiness import Check
from dr_assets.reports.pack import build, page
from dr_assets.reports.pack.sections import Signature
from tests.support import month
from tests.support.records import START, make_record

ROOT = Path(__file__).parents[3]
HOSTILE = """"'></td></section><img src=x onerror=alert(1)><script>alert(2)</script>&lt;{{ 7 * 7 }}{% raw %}"""
# Values that the reports compute with: times, and words that select a branch.
TIMES = {"started_at", "ended_at", "at", "from", "until", "due"}
STRUCTURAL = TIMES | {"schema", "kind", "scenario", "status", "topic", "unit", "last", "severity"}


def marked(value: Any, mark: str) -> Any:
    """A copy with `mark` behind every text that is not structural."""
    if isinstance(value, Mapping):
        return {
            name: each if name in STRUCTURAL and isinstance(each, str) else marked(each, mark)
            for name, each in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [marked(each, mark) for each in value]
    return f"{value} {mark}" if isinstance(value, str) else value


class Structure(HTMLParser):
    """The elements of a page with the names of their attributes, and all of its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, ...]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, *(name for name, _ in attrs)))

    def handle_endtag(self, tag: str) -> None:
        self.elements.append((f"/{tag}",))

    def handle_data(self, data: str) -> None:
        self.text += data


def written(directory: Path, mark: str) -> Structure:
    at = dt.timedelta(days=1)
    record = make_record(
        START + at,
        reason="r",
        deviations=["d"],
        postconditions=[{"name": "n", "passed": False, "reason": "r"}],
        corrective_actions=[{"text": "t", "owner": "o", "due": "2026-03-05"}],
        plan_hash="p",
        hash="h",
        who={"operator": "o", "approved_by": "a", "caller_arn": "c"},
    )
    incident = month.incident("lag", 1, START + at, 5, None, "text", 1.0, "objective")
    rows = [
        {
            "at": START + at + dt.timedelta(minutes=n),
            "site": f"secondary {mark}",
            "metric": "rpo-lag",
            "value": 400.0,
            "unit": "ms",
            "source": f"metric {mark}",
        }
        for n in range(20)
    ]
    made = build.write_pack(
        directory,
        report.Subject(f"stack {mark}", 60, 300, {f"name {mark}": f"value {mark}"}),
        START,
        START + 7 * at,
        samples.to_table(rows),
        [marked(record, mark)],
        now=START + 7 * at,
        checks=[Check(f"check {mark}", False, f"reason {mark}")],
        problems=[f"problem {mark}"],
        incidents=[StoredIncident.from_json(marked(incident, mark), "x")],
        changes=[ActionChange(record=marked(record, mark)["id"], number=1, note=f"note {mark}", by="b", at=START)],
        sources={f"key {mark}": f"hash {mark}"},
        sign_off=[Signature(f"role {mark}", f"name {mark}", f"date {mark}")],
        product_version=f"version {mark}",
    )
    return Structure((made.directory / "index.html").read_text())


def test_hostile_text_in_every_field_stays_text(tmp_path: Path) -> None:
    plain, hostile = written(tmp_path / "plain", "plain-text"), written(tmp_path / "hostile", HOSTILE)
    assert hostile.elements == plain.elements
    assert hostile.elements.count(("script",)) == 1
    assert hostile.text.count(HOSTILE) == plain.text.count("plain-text") > 60


def test_a_name_that_the_page_does_not_know_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        page.environment().from_string("{{ page.titel }}").render(page=object())


def test_an_installation_has_the_templates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    project = Distribution()
    project.parse_config_files(["pyproject.toml"])
    project.include_package_data = False  # what version control lists must not matter
    command: Any = project.get_command_obj("build_py")
    command.ensure_finalized()
    packed = {f"{folder}/{name}" for _, folder, _, names in command.data_files for name in names}
    needed = {path.relative_to(ROOT).as_posix() for path in (ROOT / "dr_assets").rglob("*.j2")}
    assert len(needed) >= 4
    assert needed <= packed
    assert "dr_assets.reports.pack" in (project.packages or ())


# Each alone breaks a chart, if matplotlib reads it as a formula, or the page's text: an unclosed formula, ESC, a right-to-left override.
@pytest.mark.parametrize("mark", ["a$$b", "$", "$\\frac$", "\x1b[2J", "\u202egpj", "\x00"], ids=ascii)
def test_case_e7_dollar_signs_and_control_characters_are_text_in_charts_and_on_the_page(
    tmp_path: Path, mark: str
) -> None:
    html = written(tmp_path / "x", mark).text
    assert html.count(escape.line(mark)) > 60
    assert all(char.isprintable() or char in "\n\xa0\u202f" for char in html)
    for picture in (tmp_path / "x" / "pictures").glob("*.svg"):
        ElementTree.parse(picture)
