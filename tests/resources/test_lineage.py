"""What is lost with a resource follows from the lineage."""

from __future__ import annotations

from dr_assets.monitoring.rules import rules_for
from dr_assets.resources.catalog import catalog
from dr_assets.resources.lineage import capabilities_lost, dependents
from dr_assets.stack import Stack


def test_what_is_lost_is_read_from_the_lineage(stack: Stack) -> None:
    resources = {resource.key: resource for resource in catalog(stack)}
    lost = capabilities_lost(resources, "secondary/encryption/data-key")
    assert "a failover to the secondary site → a failover would leave an unreadable cluster" in lost
    primary = capabilities_lost(resources, "primary/aurora/cluster")
    assert not any(text.startswith("a failover to the secondary site") for text in primary)
    assert "secondary/aurora/instance-1" in dependents(resources, "secondary/encryption/data-key")
    assert any("exports" in text for text in capabilities_lost(resources, "secondary/backup/versioning"))
    assert any(
        "news of the secondary" in text
        for text in capabilities_lost(resources, "secondary/encryption/notifications-key")
    )


def test_the_resources_that_deliver_a_capability(stack: Stack) -> None:
    delivering = {resource.key for resource in catalog(stack) if resource.capability}
    at_each = (
        "aurora/instance-1",
        "credentials/version",
        "notifications/queue-subscription",
        "monitoring/alarm-rpo-lag",
    )
    assert delivering == {f"{site}/{name}" for site in ("primary", "secondary") for name in at_each} | {
        "global/dns/record-primary",
        "global/dns/record-secondary",
        "global/backup/replication-from-primary",
    }


def test_every_rule_s_resource_exists(stack: Stack) -> None:
    keys = {resource.key for resource in catalog(stack)}
    assert {rule.resource for rule in rules_for(stack) if rule.resource} <= keys
