"""Checks whether both regions offer the engine version and the instance class, and which versions come nearest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dr_assets.preflight.survey import Check, Finding, Survey, fails, not_yet, ok
from dr_assets.stack import SITES, Site

ENGINE = "aurora-postgresql"
_DATABASE_KINDS = ("rds.global_cluster", "rds.cluster", "rds.instance")
# Fields of an orderable option that the stack's instances use (RDS API, OrderableDBInstanceOption).
_USED = {
    "SupportsGlobalDatabases": "global databases",
    "SupportsStorageEncryption": "encryption",
    "SupportsPerformanceInsights": "Performance Insights",
    "SupportsEnhancedMonitoring": "enhanced monitoring",
    "SupportsIAMDatabaseAuthentication": "IAM authentication",
}


def offered(survey: Survey, region: str) -> dict[str, Mapping[str, Any]]:
    """The versions that can be created in the region now, by name (RDS API, DescribeDBEngineVersions)."""
    found = survey.reads.pages("rds", "describe_db_engine_versions", region, "DBEngineVersions", Engine=ENGINE)
    return {item["EngineVersion"]: item for item in found if item.get("Status", "available") == "available"}


def nearest(wanted: str, versions: set[str]) -> list[str]:
    """Up to two versions of the same major next to `wanted`, the newer first; else the newest of the nearest major."""
    major, minor = (int(part) for part in wanted.split(".")[:2])
    numbered = sorted((tuple(int(p) for p in v.split(".")[:2]), v) for v in versions if v.replace(".", "").isdigit())
    same = [(key[1], version) for key, version in numbered if key[0] == major]
    above, below = [v for n, v in same if n > minor], [v for n, v in same if n < minor]
    if same:
        return above[:1] + below[-1:]
    majors = sorted({key[0] for key, _ in numbered}, key=lambda each: (abs(each - major), -each))
    return [[v for key, v in numbered if key[0] == majors[0]][-1]] if majors else []


def engine_version(survey: Survey) -> Finding:
    wanted = survey.stack.engine_version
    if not survey.creates(*_DATABASE_KINDS):
        return ok("no database is to be created; what runs keeps its version")

    def usable(region: str) -> set[str]:
        return {name for name, item in offered(survey, region).items() if item.get("SupportsGlobalDatabases")}

    def at(_: Site, region: str) -> Finding:
        if not survey.creates(*_DATABASE_KINDS, region=region):
            return ok(f"no database is to be created in {region}")
        versions = offered(survey, region)
        if wanted in versions and versions[wanted].get("SupportsGlobalDatabases"):
            return ok(f"{region} offers {wanted}")
        both = set.intersection(*(usable(survey.stack.region(site)) for site in SITES))
        near = nearest(wanted, both)
        remedy = (
            f"Set engine_version to {' or '.join(near)}: the nearest that both regions offer."
            if near
            else "Choose other regions."
        )
        why = (
            "does not support global databases" if wanted in versions else "cannot be created any more, or never could"
        )
        return fails(f"{ENGINE} {wanted} {why} in {region}", remedy, nearest=near)

    return survey.each_site(at)


def instance_class(survey: Survey) -> Finding:
    stack = survey.stack
    if not survey.creates("rds.instance"):
        return ok("no instance is to be created")

    def at(site: Site, region: str) -> Finding:
        if not survey.creates("rds.instance", region=region):
            return ok(f"no instance is to be created in {region}")
        if stack.engine_version not in offered(survey, region):
            return not_yet(f"{region} does not offer {stack.engine_version}: see engine-version")
        query = {"Engine": ENGINE, "EngineVersion": stack.engine_version, "Vpc": True}
        name, result = "describe_orderable_db_instance_options", "OrderableDBInstanceOptions"
        options = survey.reads.pages("rds", name, region, result, **query, DBInstanceClass=stack.instance_class)
        if not options:
            others = {item["DBInstanceClass"] for item in survey.reads.pages("rds", name, region, result, **query)}
            return fails(
                f"{stack.instance_class} cannot be ordered with {stack.engine_version} in {region}",
                f"Set instance_class to one of {', '.join(sorted(c for c in others if c.startswith('db.r')))}.",
            )
        lacking = [text for field, text in _USED.items() if not any(option.get(field) for option in options)]
        if lacking:
            return fails(
                f"{stack.instance_class} in {region} does not support {', '.join(lacking)}",
                "Choose another instance_class.",
            )
        zones = {zone["Name"] for option in options for zone in option.get("AvailabilityZones") or []}
        missing = sorted(_zones(survey, site) - zones)
        if missing:
            return fails(
                f"{stack.instance_class} cannot be ordered in {', '.join(missing)}",
                f"Name zones among {', '.join(sorted(zones))} in availability_zones.{site}, or choose another instance_class.",
            )
        return ok(f"{region} offers {stack.instance_class} in every zone")

    return survey.each_site(at)


def _zones(survey: Survey, site: Site) -> set[str]:
    """The zones that the site's instances are to stand in."""
    rows = survey.rows("rds.instance", survey.stack.region(site))
    return {str(row.desired["AvailabilityZone"]) for row in rows if "AvailabilityZone" in row.desired}


CHECKS = (
    Check("engine-version", "engine version offered in both regions", engine_version, essential=True),
    Check("instance-class", "instance class orderable in both regions", instance_class, essential=True),
)
