"""What a kind or a row still lacks, each gap as one sentence that says what to add and where."""

import inspect
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dr_assets.core.model import ALL, NEW, OWN, UNTAGGED, Kind, Resource

ROOT = Path(__file__).resolve().parents[2]
ACTION = re.compile(r"[a-z0-9-]+:[A-Z][A-Za-z0-9]+")


def infrastructure() -> str:
    """Every block of infra/, those of the module that both sites use included."""
    files = [*sorted((ROOT / "infra").glob("*.tf")), *sorted((ROOT / "infra").glob("modules/*/*.tf"))]
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


def contract() -> str:
    return (ROOT / "docs" / "stack.md").read_text(encoding="utf-8")


def unit_tests(area: str) -> str | None:
    """The text of the area's unit tests; None where there are none."""
    file = ROOT / "tests" / "resources" / f"test_{area}.py"
    return file.read_text(encoding="utf-8") if file.exists() else None


@dataclass(frozen=True)
class Surroundings:
    """What stands beside the package: Terraform, the contract, the area's unit tests; the kinds by name."""

    kinds: Mapping[str, Kind]
    infra: str
    docs: str

    def of_kind(self, kind: Kind, area: str, tests: str | None, rows: Iterable[Resource]) -> list[str]:
        rows, where = list(rows), f"{area}/kinds.py, class {type(kind).__name__}"
        gaps = [f"{where}: add `{name} = …`: {what}" for name, what in self._facts(kind)]
        if type(kind).read is Kind.read and type(kind).observe is Kind.observe:
            gaps.append(f"{where}: define `observe` (one resource) or `read` (a batch), or nothing can be verified")
        for name in ("read_actions", "write_actions"):
            for action, scope in getattr(kind, name, {}).items():
                gaps += [f"{where}: {name}: {problem}" for problem in self._scope(kind, action, scope)]
        if not rows:
            gaps.append(f"{area}/rows.py: yield a row of kind {kind.name!r}, or delete {where}")
        if tests is None:
            gaps.append(f"tests/resources/test_{area}.py: add the unit tests of {kind.name}")
        elif not any(part in tests for part in (kind.name, *(self._stem(row) for row in rows))):
            gaps.append(f"tests/resources/test_{area}.py: add a test of {kind.name}; it names neither kind nor key")
        if f"`{kind.name}`" not in self.docs:
            gaps.append(f"docs/stack.md: add the row of {kind.name} to the table of its area")
        return gaps

    def of_row(self, row: Resource, area: str) -> list[str]:
        where = f"{area}/rows.py, {row.key}"
        kind = self.kinds.get(row.kind)
        if kind is None:
            return [f"{where}: there is no kind {row.kind!r}; add the class to {area}/kinds.py and to its KINDS"]
        gaps = []
        if not row.title:
            gaps.append(f"{where}: add `title=`: one sentence on what it is for")
        if not row.lost:
            gaps.append(f"{where}: add `lost=`, or LOST to the module: what follows when it is broken")
        if not row.terraform:
            gaps.append(f"{where}: add `terraform=`: its address in infra/")
        for address in row.terraform:
            type_, name = re.sub(r"\[.*\]$", "", address).split(".")[-2:]
            if type_ not in kind.terraform:
                gaps.append(f"{where}: the address {address} is of type {type_}, its kind says {kind.terraform}")
            if f'resource "{type_}" "{name}"' not in self.infra:
                folder = "infra/modules/regional/" if address.startswith("module.") else "infra/"
                gaps.append(f'{where}: add `resource "{type_}" "{name}"` to {folder}*.tf, or correct the address')
        return gaps

    def _facts(self, kind: Kind) -> Iterable[tuple[str, str]]:
        """(class variable, what it is for) of those that are missing."""
        needed = {
            "name": "service.thing, unique",
            "label": "what people call it",
            "compute_kinds": "the badges on its asset",
            "read_actions": "IAM actions that reading needs, with `permit`",
            "write_actions": "IAM actions that creating, updating and deleting need, with `permit`",
            "least_reads": "(calls per resource, calls per kind and region)",
            "terraform": "the resource type of the AWS provider",
        }
        return [(name, what) for name, what in needed.items() if not getattr(kind, name, None)]

    def _scope(self, kind: Kind, action: str, scope: Iterable[str]) -> Iterable[str]:
        if not ACTION.fullmatch(action):
            yield f"{action!r} is no IAM action; write service:Operation"
        for item in scope:
            if item in (OWN, NEW, UNTAGGED) and not kind.resource_arn:
                yield f"{action} applies to the kind's own ARN; add `resource_arn = …`, or give `on=`"
            elif item not in (OWN, NEW, UNTAGGED, ALL) and ":" not in item and item not in self.kinds:
                yield f"{action}: on={item!r} is neither a kind nor an ARN template"

    @staticmethod
    def _stem(row: Resource) -> str:
        """The last part of the key, without number."""
        return re.sub(r"-\d+$", "", row.key.rsplit("/", 1)[1])


def area_of(kind: Kind) -> str:
    """The package a kind is defined in: dr_assets.resources.AREA.…"""
    return inspect.getmodule(type(kind)).__name__.split(".")[2]
