"""The lineage as text and as DOT, straight from the catalogue. Pure; imports `stack`, `core` and `catalog` only."""

from __future__ import annotations

from collections.abc import Sequence

from dr_assets.core.model import Resource

_COLOURS = {
    "network": "#a6cee3",
    "encryption": "#fdbf6f",
    "identity": "#cab2d6",
    "aurora": "#1f78b4",
    "credentials": "#fb9a99",
    "backup": "#b2df8a",
    "notifications": "#ffff99",
    "monitoring": "#ff7f00",
    "dns": "#33a02c",
}


def as_text(resources: Sequence[Resource]) -> str:
    """One line for each resource in provisioning order, with what it needs."""
    width = max(len(resource.key) for resource in resources)
    return "\n".join(f"{r.key:<{width}}  <- {', '.join(r.needs)}" if r.needs else r.key for r in resources)


def as_dot(resources: Sequence[Resource]) -> str:
    """A Graphviz digraph: edges run from what is needed to what needs it, one cluster for each site."""
    lines = ["digraph stack {", "  rankdir=LR; node [shape=box, style=filled, fontname=Helvetica];"]
    for site in ("primary", "secondary", "global"):
        lines.append(f'  subgraph "cluster_{site}" {{ label="{site}";')
        for resource in resources:
            if resource.site == site:
                label = resource.key.split("/", 1)[1]
                lines.append(f'    "{resource.key}" [label="{label}", fillcolor="{_COLOURS[resource.area]}"];')
        lines.append("  }")
    lines += [f'  "{need}" -> "{resource.key}";' for resource in resources for need in resource.needs]
    return "\n".join([*lines, "}"])
