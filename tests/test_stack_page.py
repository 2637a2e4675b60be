"""docs/stack.md is the contract: its tables and the catalogue name the same resources, kinds, names and direct needs."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dr_assets.core.expressions import Text
from dr_assets.core.model import Resource
from dr_assets.resources.catalog import catalog
from dr_assets.stack import SITES, Site, Stack

PAGE = Path(__file__).resolve().parent.parent / "docs" / "stack.md"


@dataclass(frozen=True)
class Row:
    kind: str
    name: str
    needs: frozenset[str]


def expand(cells: list[str], stack: Stack) -> Iterator[tuple[str, Row]]:
    """One line of a table as the resources it stands for."""
    key, kind, name, _, needs = cells
    sites: tuple[Site, ...] = SITES if "{site}" in key else (SITES[0],)
    counts = {"instance": stack.instances_per_cluster, "subnet": 3, "association": 3}
    most = next((count for word, count in counts.items() if f"{word}-{{n}}" in key), 1)
    for site in sites:
        for n in range(1, most + 1):

            def fill(text: str, site: Site = site, n: int = n) -> str:
                values = {
                    "site": site,
                    "region": stack.region(site),
                    "s": stack.environment_suffix,
                    "n": str(n),
                    "zone": stack.hosted_zone_name,
                    "primary_cidr": str(stack.vpc_cidr.primary),
                    "secondary_cidr": str(stack.vpc_cidr.secondary),
                }
                return re.sub(r"{(\w+)}", lambda found: values.get(found[1], found[0]), text)

            full = fill(key)
            yield full, Row(kind, fill(name), frozenset(_needs(fill(needs), full, site)))


def _needs(text: str, key: str, site: Site) -> Iterator[str]:
    """`subnet-1` is a neighbour in the same area; `S:` and `P:` hold at one site only."""
    for need in filter(None, (part.strip() for part in text.split(","))):
        only, _, rest = need.partition(":") if need[:2] in ("S:", "P:") else ("", "", need)
        if only and only != site[0].upper():
            continue
        yield rest if "/" in rest else f"{key.rsplit('/', 1)[0]}/{rest}"


def contract(text: str, stack: Stack) -> dict[str, Row]:
    found: dict[str, Row] = {}
    for line in text.splitlines():
        cells = [cell.strip().strip("`") for cell in line.strip("|").split("|")]
        if len(cells) == 5 and re.fullmatch(r"[{}\w-]+/\w+/[{}\w-]+", cells[0]):
            found.update(expand(cells, stack))
    return found


def declared(resource: Resource) -> Row:
    name: Any = resource.name
    text = name.template if isinstance(name, Text) else str(name)
    return Row(resource.kind, text, frozenset(resource.needs))


def test_the_page_and_the_catalogue_agree(stack: Stack) -> None:
    on_page = contract(PAGE.read_text(), stack)
    in_code = {resource.key: declared(resource) for resource in catalog(stack)}
    assert sorted(in_code.keys() - on_page.keys()) == [], "add these to docs/stack.md"
    assert sorted(on_page.keys() - in_code.keys()) == [], "docs/stack.md names what the catalogue does not have"
    differing = {key: (on_page[key], row) for key, row in in_code.items() if on_page[key] != row}
    assert differing == {}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("| `{site}/network/vpc` |", "| `{site}/network/lan` |"),
        ("`aurora-dr-{site}-rt-{s}`", "`aurora-dr-{site}-routes-{s}`"),
        ("`rds.event_subscription`", "`rds.subscription`"),
        ("S:primary/aurora/instance-1, ", ""),
    ],
)
def test_a_difference_is_found(stack: Stack, old: str, new: str) -> None:
    text = PAGE.read_text()
    assert old in text
    in_code = {resource.key: declared(resource) for resource in catalog(stack)}
    assert contract(text.replace(old, new), stack) != in_code
