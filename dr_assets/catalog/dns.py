"""Rows of DNS: health checks on the alarms, the private zone, the failover records. Route 53's control plane: us-east-1.

The PRIMARY record's health is connectivity to a writer at the primary site. Lag gates the SECONDARY record alone, and a
lag that is not measured does not: right after a failover the healthy new writer has none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dr_assets.catalog.common import GLOBAL_REGION, resource
from dr_assets.catalog.monitoring import alarm_name
from dr_assets.core.model import Resource
from dr_assets.core.values import Ref, Text
from dr_assets.stack import SITES, Site, Stack

TTL_SECONDS = 60


def site_rows(stack: Stack, site: Site) -> Iterator[Resource]:
    s = stack.environment_suffix
    checks = (
        (
            "health-check",
            "connectivity",
            "LastKnownStatus",
            f"Whether writes are accepted at the {site} site; a silent probe moves no traffic.",
        ),
        (
            "health-check-lag",
            "replication-lag",
            "Healthy",
            f"Whether the {site} site's replication lag is within bounds.",
        ),
    )
    for name, metric, without_data, told in checks:
        yield resource(
            stack,
            f"{site}/dns/{name}",
            "route53.health_check",
            f"{name}-{site}-{s}",
            {
                "Type": "CLOUDWATCH_METRIC",
                "AlarmName": alarm_name(stack, site, metric),
                "AlarmRegion": stack.region(site),
                "InsufficientDataHealthStatus": without_data,
                "Inverted": False,
                "Disabled": False,
            },
            region=GLOBAL_REGION,
            after=(f"{site}/monitoring/alarm-{metric}",),
            title=told,
        )
    host = stack.https_endpoints.of(site)
    if host:
        yield resource(
            stack,
            f"{site}/dns/health-check-https",
            "route53.health_check",
            f"health-check-https-{site}-{s}",
            {
                "Type": "HTTPS",
                "FullyQualifiedDomainName": host,
                "Port": 443,
                "RequestInterval": 10,
                "FailureThreshold": 2,
                "Inverted": False,
                "Disabled": False,
            },
            region=GLOBAL_REGION,
            title=f"Whether {host} answers over HTTPS.",
        )


def global_rows(stack: Stack) -> Iterator[Resource]:
    s, zone = stack.environment_suffix, stack.hosted_zone_name
    yield resource(
        stack,
        "global/dns/health-check-failover",
        "route53.health_check",
        f"health-check-failover-{s}",
        {
            "Type": "CALCULATED",
            "ChildHealthChecks": [
                Ref(f"secondary/dns/{name}", "HealthCheckId") for name in ("health-check", "health-check-lag")
            ],
            "HealthThreshold": 2,
            "Inverted": False,
            "Disabled": False,
        },
        region=GLOBAL_REGION,
        title="Whether traffic may move to the secondary site: it takes writes and was not behind.",
    )
    yield resource(
        stack,
        "global/dns/zone",
        "route53.zone",
        f"aurora-dr-zone-{s}",
        {"VPCs": [Text(f"{stack.region(site)} {{0}}", (Ref(f"{site}/network/vpc", "VpcId"),)) for site in SITES]},
        region=GLOBAL_REGION,
        identity={"ZoneName": zone},
        settings={"Comment": f"DR Assets stack {s}"},
        title=f"The names below {zone}, seen from both VPCs.",
    )
    health: dict[Site, str] = {"primary": "primary/dns/health-check", "secondary": "global/dns/health-check-failover"}
    for site in SITES:
        desired: dict[str, Any] = {
            "Failover": site.upper(),
            "TTL": TTL_SECONDS,
            "Value": Ref(f"{site}/aurora/cluster", "Endpoint"),
            "HealthCheckId": Ref(health[site], "HealthCheckId"),
        }
        yield resource(
            stack,
            f"global/dns/record-{site}",
            "route53.record",
            f"db.{zone} {site}",
            desired,
            tagged=False,
            region=GLOBAL_REGION,
            identity={"ZoneId": Ref("global/dns/zone", "ZoneId"), "RecordName": f"db.{zone}", "SetIdentifier": site},
            title=f"db.{zone} answers with the {site} cluster while this record is the healthy one.",
        )
