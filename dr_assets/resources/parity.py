"""Compares what was observed at one site with the other, in the fields that must be equal. Pure.

A site that differs in a parameter, an instance class or an alarm is a site that will surprise whoever fails over to it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from dr_assets.core.compare import same
from dr_assets.core.expressions import plain
from dr_assets.core.model import Drift, Observed, Resource
from dr_assets.resources.registry import KINDS

# These tags say where a resource is; all others must be the same at both sites.
_OWN_TAGS = frozenset({"Name", "Region", "Site"})


@dataclass(frozen=True)
class Parity:
    """The comparison of one pair. `reason` is set where a side is absent; `differences` hold the secondary's value as
    `observed` and the primary's as `desired`."""

    key: str
    twin: str
    differences: tuple[Drift, ...] = ()
    reason: str = ""

    @property
    def equal(self) -> bool:
        return not self.differences and not self.reason


def pairs(resources: Iterable[Resource]) -> list[tuple[Resource, Resource]]:
    """(secondary, primary) for every resource that both sites have and that has something to compare."""
    by_key = {resource.key: resource for resource in resources}
    found = []
    for key, resource in by_key.items():
        twin = by_key.get(key.replace("secondary/", "primary/", 1)) if key.startswith("secondary/") else None
        if twin is not None and (KINDS[resource.kind].parity or "Tags" in resource.desired):
            found.append((resource, twin))
    return found


def compare_pair(secondary: Resource, primary: Resource, second: Observed | None, first: Observed | None) -> Parity:
    """Equal, or in what they differ."""
    if second is None or first is None:
        absent = " and ".join(r.key for r, found in ((primary, first), (secondary, second)) if found is None)
        return Parity(secondary.key, primary.key, reason=f"{absent} absent: there is nothing to compare")
    differences = [
        Drift(field, plain(first.get(field)), plain(second.get(field)))
        for field in KINDS[secondary.kind].parity
        if not same(first.get(field), second.get(field))
    ]
    if "Tags" in secondary.desired:
        one, two = _portable_tags(first), _portable_tags(second)
        differences += [
            Drift(f"Tags.{tag}", one.get(tag), two.get(tag))
            for tag in sorted({*one, *two})
            if one.get(tag) != two.get(tag)
        ]
    return Parity(secondary.key, primary.key, tuple(differences))


def _portable_tags(observed: Observed) -> dict[str, Any]:
    return {key: value for key, value in (observed.get("Tags") or {}).items() if key not in _OWN_TAGS}
