"""Build the catalogue: every resource of a stack and what it needs, collected from the areas' rows. No I/O."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter

from dr_assets.core.model import Resource
from dr_assets.resources.registry import AREAS, module
from dr_assets.stack import SITES, Stack


def catalog(stack: Stack) -> tuple[Resource, ...]:
    """Every resource of the stack, each after all that it needs. Raises ValueError on a circle or a dangling need."""
    resources: list[Resource] = []
    for area in AREAS:
        rows = module(area, "rows")
        found = [row for site in SITES for row in rows.site_rows(stack, site)]
        found += getattr(rows, "global_rows", lambda _: ())(stack)
        resources += [replace(row, lost=row.lost or rows.LOST) for row in found]
    return in_order(resources)


def in_order(rows: Iterable[Resource]) -> tuple[Resource, ...]:
    """Topological order, stable: among those that may come next, the one declared first does."""
    by_key: dict[str, Resource] = {}
    for row in rows:
        if row.key in by_key:
            raise ValueError(f"{row.key} is declared twice")
        by_key[row.key] = row
    for row in by_key.values():
        for need in row.needs:
            if need not in by_key:
                raise ValueError(f"{row.key} needs {need}, which the catalogue does not have")
    try:
        order = TopologicalSorter({row.key: row.needs for row in by_key.values()}).static_order()
        return tuple(by_key[key] for key in order)
    except CycleError as error:
        raise ValueError(f"needs go round in a circle: {' -> '.join(error.args[1])}") from error
