"""The table: which resources a stack has, at each site and as a whole, and what each needs. Pure data, no I/O.

Every area is a module with `site_rows(stack, site)` (declared once, instantiated for both sites) and, where something
belongs to the whole stack, `global_rows(stack)`. May import `stack`, `core`, and vocabulary of `kinds`.
"""

from __future__ import annotations

from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter

from dr_assets.core.model import Resource
from dr_assets.resources.alarms import rows as monitoring
from dr_assets.resources.aurora import rows as aurora
from dr_assets.resources.backup import rows as backup
from dr_assets.resources.credentials import rows as credentials
from dr_assets.resources.dns import rows as dns
from dr_assets.resources.encryption import rows as encryption
from dr_assets.resources.identity import rows as identity
from dr_assets.resources.network import rows as network
from dr_assets.resources.notifications import rows as notifications
from dr_assets.stack import SITES, Stack

_AREAS = (network, encryption, identity, aurora, credentials, backup, notifications, monitoring, dns)


def catalog(stack: Stack) -> tuple[Resource, ...]:
    """Every resource of the stack, each after all that it needs. Raises ValueError on a circle or a dangling need."""
    rows: list[Resource] = []
    for area in _AREAS:
        for site in SITES:
            rows.extend(area.site_rows(stack, site))
        rows.extend(getattr(area, "global_rows", lambda _: ())(stack))
    return in_order(rows)


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
