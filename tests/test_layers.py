"""The layers of docs/design.md: who may import whom, and what may not be loaded at all."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "dr_assets"

CORE = {"stack", "errors", "core"}
READ = CORE | {"aws", "kinds", "catalog", "world", "service", "permissions", "lineage", "terraform"}
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "stack": {"errors"},
    "core": CORE,
    "aws": CORE,
    "kinds": {"core", "errors", "kinds"},
    "catalog": {"core", "stack", "kinds", "catalog"},
    "permissions": {"core", "kinds"},
    "lineage": {"core", "stack", "catalog"},
    "world": CORE | {"aws", "kinds", "catalog"},
    "service": CORE | {"aws", "catalog", "world"},
    "terraform": CORE | {"catalog", "kinds", "world"},
    "endpoints": {"errors"},
    "history": CORE | {"aws"},
    "reports": CORE | {"history"},
    "drills": CORE | {"aws", "world", "endpoints", "history"},
    "telemetry": CORE | {"aws", "catalog", "endpoints", "history", "drills"},
    "evidence": CORE | {"aws", "world", "drills", "history", "reports"},
    "defs": READ | {"defs", "telemetry", "drills", "history", "reports", "evidence"},
    "launch": READ | {"defs", "drills", "history"},
    "render": READ | {"launch", "drills"},
    "cli_alert": CORE | {"telemetry", "drills", "history"},
    "cli_drill": CORE | {"render", "drills", "history", "endpoints"},
    "cli_report": CORE | {"aws", "evidence", "history", "reports"},
    "cli": READ
    | {
        "defs",
        "launch",
        "render",
        "demo",
        "devserver",
        "local",
        "cli_drill",
        "cli_alert",
        "cli_report",
        "drills",
        "history",
        "reports",
    },
    "demo": READ | {"defs", "launch", "render", "local", "drills", "history", "reports", "evidence", "cli_report"},
    "devserver": CORE | {"local"},
    "local": {"local", "errors"},
}
# Third parties that only some layers may know.
KNOWS_DAGSTER = {"defs", "launch"}
KNOWS_BOTO = {"aws", "kinds", "world", "defs", "local", "history", "drills"}


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def layer(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            if node.module == "dr_assets":
                found.update(f"dr_assets.{alias.name}" for alias in node.names)
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_layer_imports_only_what_it_may(path: Path) -> None:
    mine = layer(path)
    assert mine in MAY_IMPORT, f"{mine} has no place in the layers: give it one in docs/design.md and here"
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "dr_assets" and len(parts) > 1:
            assert parts[1] in MAY_IMPORT[mine] | {mine}, f"{mine} may not import {name}"
        if parts[0] in ("dagster", "dagster_aws"):
            assert mine in KNOWS_DAGSTER, f"{mine} must not know Dagster"
        if parts[0] in ("boto3", "botocore"):
            assert mine in KNOWS_BOTO, f"{mine} must not know boto3"
        if parts[0] == "moto":
            assert mine == "local", f"{mine} must not know what stands in for AWS"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_module_says_what_it_is_for(path: Path) -> None:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert text
    assert len(text.splitlines()[0]) > 30


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_is_too_long_to_read(path: Path) -> None:
    limit = 560 if path.name == "network.py" and layer(path) == "kinds" else 450
    assert len(path.read_text(encoding="utf-8").splitlines()) <= limit
