"""The lineage of a stack: as text, as DOT, what hangs on a resource, and which capabilities are lost with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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


# What people lose, and the resource at the end of the chain that gives it to them.
_CAPABILITIES: tuple[tuple[str, str], ...] = (
    ("secondary/aurora/instance-1", "a failover to the secondary site"),
    ("secondary/credentials/version", "signing in to the database after a failover"),
    ("primary/aurora/instance-1", "the database at the primary site, and failing back to it"),
    ("primary/credentials/version", "signing in to the database at the primary site"),
    ("global/dns/record-secondary", "moving traffic to the secondary site"),
    ("global/dns/record-primary", "taking the primary site out of DNS when it is down"),
    ("global/backup/replication-from-primary", "the exports' copy in the other region"),
    ("primary/notifications/queue-subscription", "news of the primary site's alarms and events"),
    ("secondary/notifications/queue-subscription", "news of the secondary site's alarms and events"),
    ("primary/monitoring/alarm-rpo-lag", "being warned of data loss while the primary site replicates"),
    ("secondary/monitoring/alarm-rpo-lag", "being warned that a failover would lose data"),
)
_CONSEQUENCES: tuple[tuple[str, str], ...] = (
    ("/encryption/data-", "a failover would leave an unreadable cluster"),
    ("/credentials/", "the application could not sign in"),
    ("/network/", "the application could not reach the database"),
    ("/backup/", "an export could not be restored from the other region"),
    ("/dns/", "traffic would not move by itself"),
    ("/notifications/", "nobody would be told"),
    ("/monitoring/", "nobody would notice in time"),
    ("/identity/", "the database's own monitoring would be blind"),
    ("/aurora/", "there would be no database to fail over to"),
)


def capabilities_lost(resources: Mapping[str, Resource], key: str) -> list[str]:
    """Which disaster-recovery capabilities hang on the resource `key`, with what their loss would mean.

    Walks the lineage from each capability's resource to all that it needs, but not over to the other site: that the
    secondary cluster was made after the primary does not mean that it dies with it.
    """
    consequence = next((text for part, text in _CONSEQUENCES if part in key), "")
    if key.startswith("primary/") and "/aurora/" in key:
        consequence = "the secondary site must take over"
    lost = [told for anchor, told in _CAPABILITIES if anchor in resources and key in _chain(resources, anchor)]
    return [f"{told} → {consequence}" if consequence else told for told in lost]


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
