"""DNS: health checks on the alarms, the private zone, the failover records. Route 53's control plane: us-east-1.

Traffic follows the writer, by what the probe's writes last proved. The PRIMARY record is healthy while the primary site takes
writes, or the secondary was last observed taking none: so a silent probe moves nothing wherever the writer is, and a dark primary
region does not hold traffic once the secondary has taken over. Lag gates the SECONDARY record alone, and a lag that is not
measured does not: right after a failover the healthy new writer has none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dr_assets.core.expressions import Ref, Text
from dr_assets.core.model import Resource
from dr_assets.resources import names
from dr_assets.resources.alarms.rows import SIGNAL
from dr_assets.resources.dns.kinds import COPIED_FROM_ALARM
from dr_assets.resources.row import GLOBAL_REGION, resource
from dr_assets.stack import SITES, Site, Stack

TTL_SECONDS = 60
LOST = "traffic would not move by itself"
ENABLED = {"Inverted": False, "Disabled": False}
# Each site's own checks: name, metric of the alarm, status without data, what it shows.
SITE_CHECKS = (
    (
        "health-check",
        "connectivity",
        "LastKnownStatus",
        "Whether writes are accepted at the site; a silent probe moves no traffic.",
    ),
    ("health-check-lag", "replication-lag", "Healthy", "Whether the site's replication lag is within bounds."),
)


def site_rows(stack: Stack, site: Site) -> Iterator[Resource]:
    for name, metric, without_data, title in SITE_CHECKS:
        yield _check(
            stack,
            f"{site}/dns/{name}",
            _on_alarm(stack, site, metric, without_data),
            title,
            f'{"lag" if name.endswith("lag") else "connectivity"}["{site}"]',
            after=(f"{site}/monitoring/alarm-{metric}",),
        )
    host = stack.https_endpoints.of(site)
    if host:
        https = {
            "Type": "HTTPS",
            "FullyQualifiedDomainName": host,
            "Port": 443,
            "RequestInterval": 10,
            "FailureThreshold": 2,
            **ENABLED,
        }
        title = f"Whether {host} answers over HTTPS."
        yield _check(stack, f"{site}/dns/health-check-https", https, title, f'https["{site}"]')


def _check(
    stack: Stack, key: str, desired: dict[str, Any], title: str, terraform: str, after: tuple[str, ...] = ()
) -> Resource:
    site, _, check = key.split("/")
    return resource(
        stack,
        key,
        "route53.health_check",
        names.health_check(stack, check, "" if site == "global" else site),
        desired,
        region=GLOBAL_REGION,
        after=after,
        terraform=f"aws_route53_health_check.{terraform}",
        title=title,
    )


def _on_alarm(stack: Stack, site: Site, metric: str, without_data: str) -> dict[str, Any]:
    return {
        "Type": "CLOUDWATCH_METRIC",
        "AlarmName": names.alarm(stack, site, metric),
        "AlarmRegion": stack.region(site),
        "InsufficientDataHealthStatus": without_data,
        "AlarmConfiguration": {field: Ref(f"{site}/monitoring/alarm-{metric}", field) for field in COPIED_FROM_ALARM},
        **ENABLED,
    }


def _calculated(children: tuple[str, ...], threshold: int) -> dict[str, Any]:
    return {
        "Type": "CALCULATED",
        "ChildHealthChecks": [Ref(child, "HealthCheckId") for child in children],
        "HealthThreshold": threshold,
        **ENABLED,
    }


def global_rows(stack: Stack) -> Iterator[Resource]:
    zone = stack.hosted_zone_name
    # A check that has never had data starts as healthy: without a probe traffic stays at home.
    yield _check(
        stack,
        "global/dns/health-check-not-moved",
        _on_alarm(stack, "secondary", SIGNAL, "LastKnownStatus"),
        "Healthy until the secondary site takes writes, then unhealthy until it is observed taking none.",
        "not_moved",
        after=(f"secondary/monitoring/alarm-{SIGNAL}",),
    )
    yield _check(
        stack,
        "global/dns/health-check-seen-home",
        _on_alarm(stack, "primary", "connectivity", "Unhealthy"),
        "Whether the primary site is observed taking writes now; a dark region is not.",
        "seen_home",
        after=("primary/monitoring/alarm-connectivity",),
    )
    home = ("global/dns/health-check-seen-home", "global/dns/health-check-not-moved")
    yield _check(
        stack,
        "global/dns/health-check-home",
        _calculated(home, 1),
        "Whether traffic stays at the primary site: it takes writes, or the secondary does not.",
        "home",
    )
    away = ("secondary/dns/health-check", "secondary/dns/health-check-lag")
    yield _check(
        stack,
        "global/dns/health-check-failover",
        _calculated(away, 2),
        "Whether traffic may move to the secondary site: it takes writes and was not behind.",
        "failover",
    )
    yield resource(
        stack,
        "global/dns/zone",
        "route53.zone",
        names.zone(stack),
        {"VPCs": [Text(f"{stack.region(site)} {{0}}", (Ref(f"{site}/network/vpc", "VpcId"),)) for site in SITES]},
        region=GLOBAL_REGION,
        identity={"ZoneName": zone},
        settings={"Comment": f"DR Assets stack {stack.environment_suffix}"},
        terraform="aws_route53_zone.private",
        title=f"The names below {zone}, resolved in both VPCs.",
    )
    health: dict[Site, str] = {
        "primary": "global/dns/health-check-home",
        "secondary": "global/dns/health-check-failover",
    }
    capability = {
        "primary": "taking the primary site out of DNS when it is down",
        "secondary": "moving traffic to the secondary site",
    }
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
            f"{names.database_host(stack)} {site}",
            desired,
            tagged=False,
            region=GLOBAL_REGION,
            identity={
                "ZoneId": Ref("global/dns/zone", "ZoneId"),
                "RecordName": names.database_host(stack),
                "SetIdentifier": site,
            },
            terraform=f"aws_route53_record.{site}",
            capability=capability[site],
            title=f"db.{zone} answers with the {site} cluster while this record is the healthy one.",
        )
