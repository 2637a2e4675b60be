"""JSON Schemas of the stored documents, generated from their classes: `python -m tests.support.schemas docs/schemas`."""

import importlib
import json
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path

import dr_assets
from dr_assets.documents import Document

ROOT = Path(__file__).resolve().parents[2]
COMMAND = "python -m tests.support.schemas docs/schemas"


def _subclasses(of: type[Document]) -> Iterator[type[Document]]:
    for each in of.__subclasses__():
        yield each
        yield from _subclasses(each)


def document_classes() -> list[type[Document]]:
    """Every subclass of Document with a SCHEMA of its own below `dr_assets` (the emulator excluded), by schema name."""
    skipped = ("dr_assets.emulator", "dr_assets.cli.__main__")
    for module in pkgutil.walk_packages(dr_assets.__path__, "dr_assets."):
        if not module.name.startswith(skipped):
            importlib.import_module(module.name)
    found = {
        each
        for each in _subclasses(Document)
        if each.__module__.startswith("dr_assets.")
        and not each.__module__.startswith(skipped)
        and "SCHEMA" in vars(each)
    }
    return sorted(found, key=lambda each: (each.SCHEMA, each.__qualname__))


def schema_files() -> dict[str, str]:
    """File name -> content, e.g. `record-3.json` for `dr-assets/record/3`. Raises ValueError where two classes share a schema."""
    files: dict[str, str] = {}
    for each in document_classes():
        project, name, version = each.SCHEMA.split("/")
        file = f"{name}-{version}.json"
        if project != "dr-assets" or file in files:
            raise ValueError(
                f"{each.__module__}.{each.__qualname__}: {each.SCHEMA} is taken or not dr-assets/NAME/VERSION."
            )
        files[file] = json.dumps(each.json_schema(), indent=2, sort_keys=True) + "\n"
    return files


def main(folder: str) -> None:
    """Write the schemas into `folder` and delete those that no class has any more."""
    place, files = Path(folder), schema_files()
    place.mkdir(parents=True, exist_ok=True)
    for stale in {path.name for path in place.glob("*.json")} - files.keys():
        (place / stale).unlink()
    for name, content in files.items():
        (place / name).write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
