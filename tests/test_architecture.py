"""The table of import rules in pyproject.toml holds, covers every package, and every module says what it is for."""

import ast
import sys
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "dr_assets"
CONTRACTS = {
    contract["id"]: contract
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
}
# Packages that a contract leaves out on purpose: they may know what the others may not.
ALLOWED = {
    "emulator": {"cli", "emulator"},
    "emulator-alone": {"emulator", "errors", "files", "utc"},
    "dagster": {"defs", "cli"},
    "boto": {"aws", "aws_errors", "aws_session", "resources", "reconcile", "history", "drills", "defs", "emulator"},
}


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def test_imports_keep_the_contracts(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(str(ROOT))
    broken = lint_imports(config_filename="pyproject.toml", no_cache=True)
    assert broken == 0, capsys.readouterr().out


@pytest.mark.parametrize("contract", ALLOWED)
def test_each_contract_covers_every_package(contract: str) -> None:
    side = "forbidden_modules" if contract == "emulator-alone" else "source_modules"
    covered = {name.split(".")[1] for name in CONTRACTS[contract][side] if name.startswith("dr_assets.")}
    there = {path.name.removesuffix(".py") for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    there -= {"__init__", "__pycache__"}
    assert covered | ALLOWED[contract] == there, f"name the package in the contract {contract!r} of pyproject.toml"


def test_each_command_module_is_covered() -> None:
    named = {name.split(".")[-1] for name in CONTRACTS["dagster"]["source_modules"] if ".cli." in name}
    there = {path.stem for path in (PACKAGE / "cli").glob("*.py")} - {"__init__", "run_job"}
    assert named == there, "name the module in the contract 'dagster' of pyproject.toml"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_module_says_what_it_is_for(path: Path) -> None:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert text
    assert len(text.splitlines()[0]) > 30


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_is_too_long_to_read(path: Path) -> None:
    limit = 450
    assert len(path.read_text(encoding="utf-8").splitlines()) <= limit


def test_raw_readings_are_read_where_they_are_assessed_alone() -> None:
    """Everything else asks `Sample.assess`, so that what is old, ahead, negative or no number is unknown there."""
    readers = {
        str(path.relative_to(PACKAGE))
        for path in modules()
        if path.relative_to(PACKAGE).parts[0] != "emulator"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr == "raw"
    }
    assert readers == {"monitoring/samples.py"}


# Who reads JSON that is no document of the history and no message: AWS's policies and secrets, Terraform's and Dagster's output,
# a drill's own local lines, and `storable`'s own text.
OTHER_JSON = {
    "cli/main.py",
    "documents.py",
    "drills/journal.py",
    "drills/measurement/client_probe.py",
    "drills/measurement/commit_ledger.py",
    "drills/record.py",
    "resources/backup/kinds.py",
    "resources/credentials/kinds.py",
    "resources/encryption/kinds.py",
    "resources/iam_policy.py",
    "resources/notifications/kinds.py",
    "terraform.py",
}


def test_case_e6_json_of_outside_is_read_by_one_function() -> None:
    """`documents.parse` bounds size, depth and digits and raises one exception; `json.loads` raises several, some of them unexpected."""
    readers = {
        str(path.relative_to(PACKAGE))
        for path in modules()
        if path.relative_to(PACKAGE).parts[0] != "emulator" and "json.loads(" in path.read_text(encoding="utf-8")
    }
    assert readers - OTHER_JSON == set()


# They give the wall clock, or what is made of it. `utc.now` is looked up at each call, so that tests can set it.
WALL_CLOCKS = {
    *(
        (module, name)
        for module in ("time",)
        for name in ("time", "time_ns", "localtime", "gmtime", "ctime", "strftime")
    ),
    *((module, name) for module in ("datetime", "date", "dt") for name in ("now", "utcnow", "today")),
}


def wall_clocks(text: str) -> list[int]:
    """Lines that read the wall clock past `utc.now`, or keep that function itself."""
    tree = ast.parse(text)
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "time":
            found += [node.lineno for name in node.names if ("time", name.name) in WALL_CLOCKS]
        if isinstance(node, ast.ImportFrom) and node.module == "dr_assets.utc":
            found += [node.lineno for name in node.names if name.name.startswith("now")]
        if isinstance(node, ast.Attribute):
            owner = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
            if (owner, node.attr) in WALL_CLOCKS or ((owner, node.attr) == ("utc", "now") and id(node) not in called):
                found.append(node.lineno)
    return found


def test_case_e8_only_utc_reads_the_wall_clock() -> None:
    """So that no duration is measured by it unnoticed, and a test can set it in one place."""
    found = {
        str(path.relative_to(PACKAGE)): lines
        for path in modules()
        if path != PACKAGE / "utc.py"
        and not path.is_relative_to(PACKAGE / "emulator")
        and (lines := wall_clocks(path.read_text(encoding="utf-8")))
    }
    assert found == {}


@pytest.mark.parametrize(
    "text",
    [
        "time.time()",
        "dt.datetime.now(utc.UTC)",
        "datetime.utcnow()",
        "date.today()",
        "from time import time",
        "x = utc.now",
    ],
)
def test_a_reading_of_the_wall_clock_is_found(text: str) -> None:
    assert wall_clocks(text) == [1]
    assert wall_clocks("x = utc.now() - time.monotonic(), moment.strftime('%H')") == []


def test_the_witness_of_the_drills_shares_no_code_with_the_product() -> None:
    """Or it would share the product's faults: `bench/witness.py` imports the standard library and psycopg alone."""
    tree = ast.parse((ROOT / "bench" / "witness.py").read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "." for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) == {"psycopg"}
