"""The areas, and their kinds and row modules by name. `catalog` builds the list of resources from them.

An area is a package with `kinds.py` (its tuple `KINDS`) and `rows.py` (`site_rows(stack, site)`, declared once and
instantiated for both sites; `global_rows(stack)` where something belongs to the whole stack; `LOST`, what follows when
something in it is broken).
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import ModuleType

from dr_assets.core.model import Kind

# Named once, here; the order is that of the catalogue among resources that do not need each other.
AREAS = ("network", "encryption", "identity", "aurora", "credentials", "backup", "notifications", "alarms", "dns")


def module(area: str, part: str) -> ModuleType:
    """An area's `kinds` or `rows`."""
    return import_module(f"{__package__}.{area}.{part}")


KINDS: Mapping[str, Kind] = {kind.name: kind for area in AREAS for kind in module(area, "kinds").KINDS}
