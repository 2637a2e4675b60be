"""What the documents say is what there is."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from dr_assets.cli.main import main
from dr_assets.emulator.__main__ import page
from dr_assets.resources.catalog import catalog
from dr_assets.stack import Stack

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("infra/*.md")])


def test_everything_emulated_stands_on_its_page() -> None:
    assert (ROOT / "docs" / "emulated.md").read_text() == page(), "python -m dr_assets.emulator > docs/emulated.md"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_and_pictures_are_there(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
        if not target.startswith("http"):
            assert (document.parent / target).exists(), target


def anchors(document: Path) -> set[str]:
    """The anchors GitHub makes of a page's headings: lower case, blanks to hyphens, other punctuation dropped."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_anchors_are_there(document: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#]*)#([^)]+)\)", document.read_text()):
        if not target.startswith("http"):
            page = document.parent / target if target else document
            assert anchor in anchors(page), f"{target}#{anchor}"


@pytest.mark.parametrize("name", re.findall(r"^\| `dr ([a-z-]+)", (ROOT / "README.md").read_text(), re.MULTILINE))
def test_the_readmes_commands_exist_and_explain_themselves(name: str) -> None:
    done = CliRunner().invoke(main, [name, "--help"])
    assert done.exit_code == 0
    assert "Example" in done.output


def test_about_a_hundred(stack: Stack) -> None:
    assert 95 <= len(catalog(stack)) <= 130  # docs/stack.md has each one


def test_no_machine_and_no_registry_is_named() -> None:
    for file in [ROOT / "constraints.txt", ROOT / "Makefile", ROOT / "pyproject.toml", *DOCUMENTS]:
        text = file.read_text()
        assert "://pypi" not in text
        for own in {str(ROOT), str(Path.home())} - {"/"}:
            assert f"{own}/" not in text, f"{file.name} names a path of this machine"
