"""Answers, by read-only calls, to questions that AWS's documents leave open; a report from a real account settles them.

Each observation may carry the name of the embedded AWS's switch (`emulator.answers`) that it decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from dr_assets import utc
from dr_assets.errors import DrError
from dr_assets.postgres.endpoints import Resolver
from dr_assets.preflight.orderable import ENGINE, offered
from dr_assets.preflight.survey import Finding, Survey, not_yet, ok
from dr_assets.resources import names
from dr_assets.stack import SITES, Site

NAMESPACE = "AWS/RDS"
LAG_METRICS = ("AuroraGlobalDBReplicationLag", "AuroraGlobalDBRPOLag")
_SHAPES = {
    frozenset({"DBClusterIdentifier", "SourceRegion"}): "cluster+source-region",
    frozenset({"SourceRegion"}): "source-region",
    frozenset({"DBClusterIdentifier"}): "cluster",
}
_PARAMETERS = ("rds.logical_replication", "wal_level", "rds.global_db_rpo", "rds.force_ssl", "shared_preload_libraries")


@dataclass(frozen=True)
class Observation:
    """`switch`: the setting of the embedded AWS that the answer decides; empty where there is none."""

    name: str
    question: str
    read: Callable[[Survey], Finding]
    switch: str = ""


def _lag_metrics(survey: Survey, region: str) -> list[dict[str, Any]]:
    """The lag metrics of this stack: those that name its clusters, or only a region of it."""
    clusters = {names.cluster(survey.stack, site) for site in SITES}
    found = []
    for metric in LAG_METRICS:
        for item in survey.reads.pages(
            "cloudwatch", "list_metrics", region, "Metrics", Namespace=NAMESPACE, MetricName=metric
        ):
            dimensions = {each["Name"]: each["Value"] for each in item["Dimensions"]}
            if dimensions.get("DBClusterIdentifier", next(iter(clusters))) in clusters:
                found.append({"MetricName": item["MetricName"], "Dimensions": dimensions})
    return found


def lag_dimensions(survey: Survey) -> Finding:
    """Which sets of dimensions the lag metrics carry, as ListMetrics shows them in each region."""
    facts: dict[str, Any] = {}
    shapes: set[str] = set()
    for site in SITES:
        region = survey.stack.region(site)
        sets = {frozenset(item["Dimensions"]) for item in _lag_metrics(survey, region)}
        facts[region] = sorted("+".join(sorted(each)) for each in sets)
        shapes |= {_SHAPES.get(each, "+".join(sorted(each))) for each in sets}
    if not shapes:
        return not_yet("CloudWatch lists no AuroraGlobalDB lag metric of this stack yet")
    return ok(f"the lag metrics carry {', '.join(sorted(shapes))}", value=sorted(shapes), **facts)


def datapoint_age(survey: Survey) -> Finding:
    """Seconds between now and the newest datapoint of each lag metric."""
    ages: dict[str, float] = {}
    now = utc.now()
    for site in SITES:
        region = survey.stack.region(site)
        for item in _lag_metrics(survey, region):
            answer = survey.reads.call(
                "cloudwatch",
                "get_metric_statistics",
                region,
                Namespace=NAMESPACE,
                MetricName=item["MetricName"],
                Dimensions=[{"Name": name, "Value": value} for name, value in sorted(item["Dimensions"].items())],
                StartTime=now - timedelta(minutes=15),
                EndTime=now,
                Period=60,
                Statistics=["Maximum"],
            )
            stamps = [point["Timestamp"] for point in answer["Datapoints"]]
            if stamps:
                age = round((now - max(stamps)).total_seconds(), 1)
                key = f"{region} {item['MetricName']}"
                ages[key] = min(age, ages.get(key, age))
    if not ages:
        return not_yet("no lag metric has a datapoint of the last 15 minutes")
    return ok(f"the newest datapoint is {max(ages.values()):g} s old at most", value=max(ages.values()), **ages)


def _cluster_endpoints(survey: Survey) -> Iterator[tuple[Site, Sequence[Any]]]:
    """(site, its cluster's endpoints) for each site that has a cluster."""
    for site in SITES:
        if survey.observed(f"{site}/aurora/cluster") is not None:
            yield (
                site,
                survey.reads.pages(
                    "rds",
                    "describe_db_cluster_endpoints",
                    survey.stack.region(site),
                    "DBClusterEndpoints",
                    DBClusterIdentifier=names.cluster(survey.stack, site),
                ),
            )


def inactive_endpoint(survey: Survey) -> Finding:
    """Whether the secondary's writer endpoint, `inactive` in DescribeDBClusterEndpoints, resolves before promotion."""
    found: dict[str, Any] = {}
    for site, answer in _cluster_endpoints(survey):
        for item in answer:
            if item.get("Status") == "inactive" and item.get("EndpointType") == "WRITER":
                try:
                    Resolver().resolve(str(item["Endpoint"]), 5432)
                    found[site] = "resolves"
                except DrError:
                    found[site] = "unresolved"
    if not found:
        return not_yet("no cluster has an inactive writer endpoint")
    value = next(iter(found.values()))
    return ok(
        f"the inactive writer endpoint {'resolves' if value == 'resolves' else 'does not resolve'}",
        value=value,
        **found,
    )


def endpoint_status(survey: Survey) -> Finding:
    facts: dict[str, Any] = {}
    for site, answer in _cluster_endpoints(survey):
        facts[site] = {str(item.get("EndpointType")): str(item.get("Status")) for item in answer}
    if not facts:
        return not_yet("there is no cluster yet")
    return ok(
        "; ".join(f"{site}: {', '.join(f'{k} {v}' for k, v in found.items())}" for site, found in facts.items()),
        value=facts,
    )


def parameters(survey: Survey) -> Finding:
    """What DescribeDBClusterParameters shows of parameters whose default or source AWS does not document."""
    facts: dict[str, Any] = {}
    for site in SITES:
        row = survey.state.resources[f"{site}/aurora/cluster-parameter-group"]
        if survey.observed(row.key) is None:
            continue
        answer = survey.reads.pages(
            "rds", "describe_db_cluster_parameters", row.region, "Parameters", DBClusterParameterGroupName=str(row.name)
        )
        facts[site] = {
            item["ParameterName"]: {
                "value": item.get("ParameterValue"),
                "source": item.get("Source"),
                "apply": item.get("ApplyType"),
            }
            for item in answer
            if item["ParameterName"] in _PARAMETERS
        }
    if not facts:
        return not_yet("there is no cluster parameter group yet")
    return ok(f"{sum(map(len, facts.values()))} parameters read", value=facts)


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".") if part.isdigit()]


def versions(survey: Survey) -> Finding:
    def at(site: Site) -> list[str]:
        return sorted(offered(survey, survey.stack.region(site)), key=_numbers)

    facts = {survey.stack.region(site): at(site) for site in SITES}
    return ok(
        "; ".join(f"{region}: {len(found)}" for region, found in facts.items()) + " versions offered", value=facts
    )


def classes(survey: Survey) -> Finding:
    """The classes that can be ordered with the stack's version, or with the newest that the region offers."""
    facts: dict[str, Any] = {}
    for site in SITES:
        region = survey.stack.region(site)
        there = sorted(offered(survey, region), key=_numbers)
        if not there:
            continue
        version = survey.stack.engine_version if survey.stack.engine_version in there else there[-1]
        found = survey.reads.pages(
            "rds",
            "describe_orderable_db_instance_options",
            region,
            "OrderableDBInstanceOptions",
            Engine=ENGINE,
            EngineVersion=version,
            Vpc=True,
        )
        facts[region] = {
            version: sorted({item["DBInstanceClass"] for item in found if item.get("SupportsGlobalDatabases")})
        }
    if not facts:
        return not_yet("no region offers a version")
    return ok(
        "; ".join(f"{r}: {sum(map(len, f.values()))}" for r, f in facts.items()) + " classes for global databases",
        value=facts,
    )


OBSERVATIONS: tuple[Observation, ...] = (
    Observation(
        "versions",
        "Which Aurora PostgreSQL versions can be created in each region?",
        versions,
        switch="engine_versions",
    ),
    Observation("classes", "Which classes can be ordered for global databases?", classes, switch="instance_classes"),
    Observation(
        "lag-dimensions", "Which dimensions do the lag metrics carry?", lag_dimensions, switch="lag_dimensions"
    ),
    Observation(
        "datapoint-age",
        "How old is the newest datapoint of the lag metrics?",
        datapoint_age,
        switch="metric_delay_seconds",
    ),
    Observation("endpoint-status", "Which status do the clusters' endpoints have?", endpoint_status),
    Observation(
        "inactive-endpoint",
        "Does a secondary's inactive writer endpoint resolve?",
        inactive_endpoint,
        switch="inactive_writer_endpoint",
    ),
    Observation("parameters", "Which value and source do the cluster's parameters show?", parameters),
)

# Each setting of the embedded AWS -> the check or observation that tells AWS's answer, or why no read-only call does.
SWITCHES: Mapping[str, str] = {
    **{each.switch: each.name for each in OBSERVATIONS if each.switch},
    "alarm_look_back_periods": "not readable: it takes a metric that falls silent",
    "certificate_names_global_endpoint": "not readable: only a TLS connection to the database shows its certificate",
    "clear_text": "not readable: a property of the request, not of AWS",
    "cluster_without_key": "not readable: it takes a key that is disabled or destroyed",
    "endpoint_ttl_seconds": "not readable: only a DNS lookup of an endpoint shows it, which every drill's record states",
    "list_metrics_seconds": "not readable: it takes a metric that did not exist before",
    "logical_messages": "not readable: it takes a database",
    "new_cluster_group_seconds": "not readable: it takes a parameter group that has just been made",
    "promoted_instance": "not readable: it takes a promotion",
    "endpoints_without_instances": "not readable: it takes a cluster without instances",
    "quotas": "quota-db-clusters",
    "regions_not_enabled": "regions",
    "route53_calls_per_second": "not readable: it takes more calls than AWS accepts",
    "undocumented_source_keys": "not readable: services send them to each other, and CloudTrail shows them only for some",
    "zones_not_offered": "availability-zones",
}
