"""Dependency graph of a stack as text and DOT; dependents of a resource and the capabilities lost with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dr_assets.core.model import Resource

# Areas take these in alphabetical order.
_COLOURS = (
    "#a6cee3",
    "#fdbf6f",
    "#cab2d6",
    "#1f78b4",
    "#fb9a99",
    "#b2df8a",
    "#ffff99",
    "#ff7f00",
    "#33a02c",
    "#e31a1c",
)


def as_text(resources: Sequence[Resource]) -> str:
    """One line for each resource in provisioning order, with what it needs."""
    width = max(len(resource.key) for resource in resources)
    return "\n".join(f"{r.key:<{width}}  <- {', '.join(r.needs)}" if r.needs else r.key for r in resources)


def as_dot(resources: Sequence[Resource]) -> str:
    """A Graphviz digraph: edges run from what is needed to what needs it, one cluster for each site."""
    areas = sorted({resource.area for resource in resources})
    lines = ["digraph stack {", "  rankdir=LR; node [shape=box, style=filled, fontname=Helvetica];"]
    for site in ("primary", "secondary", "global"):
        lines.append(f'  subgraph "cluster_{site}" {{ label="{site}";')
        for resource in resources:
            if resource.site == site:
                colour = _COLOURS[areas.index(resource.area) % len(_COLOURS)]
                label = resource.key.split("/", 1)[1]
                lines.append(f'    "{resource.key}" [label="{label}", fillcolor="{colour}"];')
        lines.append("  }")
    lines += [f'  "{need}" -> "{resource.key}";' for resource in resources for need in resource.needs]
    return "\n".join([*lines, "}"])


def capabilities_lost(resources: Mapping[str, Resource], key: str) -> list[str]:
    """Which disaster-recovery capabilities hang on the resource `key`, with what follows from their loss.

    Walks the lineage from each resource that delivers a capability to all that it needs, but not over to the other site:
    that the secondary cluster was made after the primary does not mean that it dies with it.
    """
    lost = resources[key].lost
    found = [r.capability for r in resources.values() if r.capability and key in _chain(resources, r.key)]
    return [f"{capability} → {lost}" if lost else capability for capability in found]


def _chain(resources: Mapping[str, Resource], anchor: str) -> set[str]:
    site = anchor.split("/", maxsplit=1)[0]
    if site == "global":
        site = "secondary" if "secondary" in anchor else "primary"
    # Replication alone is a matter of both sites at once.
    within = ("primary", "secondary", "global") if "/backup/" in anchor else (site, "global")
    found: set[str] = set()
    waiting = [anchor]
    while waiting:
        key = waiting.pop()
        if key not in found and key.split("/", maxsplit=1)[0] in within:
            found.add(key)
            waiting += resources[key].needs
    return found


def dependents(resources: Mapping[str, Resource], key: str) -> list[str]:
    """Every resource that needs `key`, directly or through others: the blast radius, in the lineage's order."""
    hit = {key}
    for resource in resources.values():  # topological order: needs come first
        if hit & set(resource.needs):
            hit.add(resource.key)
    return [name for name in resources if name in hit - {key}]
