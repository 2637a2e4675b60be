"""Dimensions of Aurora's replication-lag metrics: the shapes AWS is known to use, and which of them this account shows.

CloudWatch matches dimensions exactly, and AWS's documents disagree about those of `AuroraGlobalDBReplicationLag` and
`AuroraGlobalDBRPOLag`: its labs and console show DBClusterIdentifier with SourceRegion, older labs SourceRegion alone, many published
alarms DBClusterIdentifier alone. SourceRegion is the writer's region. With two sites that is the other site's wherever the metric
exists, so the dimensions of a site's metric depend on the shape alone and not on who is the writer.

A new metric may take 15 minutes to appear in ListMetrics; GetMetricData has its data at once (CloudWatch API, ListMetrics).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from dr_assets import utc
from dr_assets.core import metric_data
from dr_assets.core.freshness import Quantity, is_future
from dr_assets.core.paging import Tokens
from dr_assets.resources import names
from dr_assets.resources.row import other
from dr_assets.stack import LAG_SHAPES, LagShape, Site, Stack

NAMESPACE = "AWS/RDS"
REPLICATION_LAG, RPO_LAG = "AuroraGlobalDBReplicationLag", "AuroraGlobalDBRPOLag"
PERIOD_SECONDS = 60
# A minute's maximum is readable up to two minutes after the minute's end, stays the newest for another one, and a tick may come late.
LAG = Quantity("ms", 0.0, math.inf, age_limit=200.0, covers=float(PERIOD_SECONDS))
# It mixes every global database that replicates from that region.
SOURCE_ALONE: LagShape = "source-region"
# How far back data proves a shape that ListMetrics does not show yet.
PROOF = timedelta(hours=3)

Dimensions = dict[str, str]
Shapes = Mapping[LagShape, Dimensions]
# (operation, region, parameters) -> CloudWatch's answer.
CloudWatch = Callable[..., Mapping[str, Any]]


def shapes(stack: Stack, site: Site) -> dict[LagShape, Dimensions]:
    """The dimensions of the site's lag metrics in each shape, the most specific first: SourceRegion alone may mix clusters."""
    cluster = {"DBClusterIdentifier": names.cluster(stack, site)}
    source = {"SourceRegion": stack.region(other(site))}
    every: dict[LagShape, Dimensions] = {
        "cluster+source-region": cluster | source,
        "cluster": cluster,
        "source-region": source,
    }
    return {shape: every[shape] for shape in LAG_SHAPES}


def by_region(stack: Stack, site: Site) -> dict[str, dict[LagShape, Dimensions]]:
    """Region -> shapes of the metric there. The site's own region first; the metric exists at the current reader only."""
    return {stack.region(each): shapes(stack, each) for each in (site, other(site))}


def stat(metric: str, dimensions: Mapping[str, str], statistic: str = "Maximum") -> dict[str, Any]:
    """A MetricStat of GetMetricData over one-minute periods."""
    listed = [{"Name": name, "Value": value} for name, value in dimensions.items()]
    what = {"Namespace": NAMESPACE, "MetricName": metric, "Dimensions": listed}
    return {"Metric": what, "Period": PERIOD_SECONDS, "Stat": statistic}


def queries(shapes: Iterable[Mapping[str, str]], metric: str = REPLICATION_LAG) -> list[dict[str, Any]]:
    """MetricDataQueries for one metric, one for each of these dimensions, in order. `newest` chooses among the answers."""
    return [{"Id": f"shape{n}", "MetricStat": stat(metric, each)} for n, each in enumerate(shapes)]


def newest(
    shapes: Iterable[LagShape], results: Iterable[Mapping[str, Any]], now: datetime
) -> tuple[LagShape, datetime, float] | None:
    """The shape with the newest datapoint, and that; None: there is none. From the answers to `queries`. A datapoint of the future
    displaces no other.

    SourceRegion alone comes only where no shape with the cluster has data, and may still be another cluster's: ask `source_is_ours`.
    Raises ValueError where the answer for a shape cannot be understood: which one is the newest is not known then.
    """
    shapes = list(shapes)
    found: dict[int, list[tuple[datetime, float]]] = {}
    for series in metric_data.parse(results, [f"shape{n}" for n in range(len(shapes))]):
        if series.problem:
            raise ValueError(series.problem)
        found.setdefault(series.n, []).extend(series.points)

    def order(at: datetime) -> tuple[bool, datetime]:
        return (not is_future(at, now), at)

    points: list[tuple[LagShape, datetime, float]] = []
    for n, shape in enumerate(shapes):
        if found.get(n):
            at, value = max(found[n], key=lambda point: order(point[0]))
            points.append((shape, at, value))
    own = [point for point in points if point[0] != SOURCE_ALONE]
    if len(found) == len(shapes):  # else what the cluster's own would have said is not known
        own = own or points
    return max(own, key=lambda point: order(point[1]), default=None)


def source_is_ours(configured: LagShape, shapes: Shapes, metrics: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a series with SourceRegion alone may be taken as this cluster's, by ListMetrics' `Metrics` of the region.

    It may where the stack file says so, or AWS lists the metric for no cluster there at all; never where AWS lists it for this one,
    whose silence is then unknown.
    """
    shown = _dimensions(metrics)
    if any(dimensions in shown for shape, dimensions in shapes.items() if shape != SOURCE_ALONE):
        return False
    return configured == SOURCE_ALONE or not any("DBClusterIdentifier" in each for each in shown)


def listed(configured: LagShape, shapes: Shapes, metrics: Sequence[Mapping[str, Any]]) -> list[LagShape]:
    """This cluster's shapes among ListMetrics' `Metrics`, in order; empty: CloudWatch shows no such metric."""
    shown, ours = _dimensions(metrics), source_is_ours(configured, shapes, metrics)
    return [shape for shape, each in shapes.items() if each in shown and (shape != SOURCE_ALONE or ours)]


def _dimensions(metrics: Sequence[Mapping[str, Any]]) -> list[Dimensions]:
    """Of each metric. One that cannot be understood may be any cluster's."""
    found: list[Dimensions] = []
    for metric in metrics:
        try:
            found.append({item["Name"]: item["Value"] for item in metric.get("Dimensions", ())})
        except (AttributeError, LookupError, TypeError):
            found.append({"DBClusterIdentifier": ""})
    return found


def no_such_metric(metric: str, region: str) -> str:
    """What to report where `listed` found nothing."""
    return f"CloudWatch lists no metric {metric} with known dimensions in {region}"


def list_metrics(call: CloudWatch, region: str) -> list[Mapping[str, Any]]:
    """Every AuroraGlobalDBReplicationLag of the region that had data in the last two weeks. Raises what `call` raises."""
    found: list[Mapping[str, Any]] = []
    page: dict[str, Any] = {}
    tokens = Tokens()
    while True:
        answer = call("list_metrics", region, Namespace=NAMESPACE, MetricName=REPLICATION_LAG, **page)
        found += answer["Metrics"]
        if not answer.get("NextToken"):
            return found
        page = {"NextToken": tokens.follow(answer["NextToken"])}


def find_shape(
    call: CloudWatch,
    regions: Mapping[str, Shapes],
    configured: LagShape,
    standing: LagShape | None = None,
    now: datetime | None = None,
) -> LagShape | None:
    """The shape for an alarm that has `standing` now; None: CloudWatch shows no such metric in these regions.

    ListMetrics of every region is read first. Where it shows something else than `standing`, the data of the last hours decide, which
    are there before ListMetrics shows the metric: `standing` is kept unless only another shape has data. It is also kept while a region
    other than the first cannot be read, because the metric is in one region only. Raises the error of the first region.
    """
    shown: dict[str, list[Mapping[str, Any]]] = {}
    for region in regions:
        try:
            shown[region] = list_metrics(call, region)
        except Exception:
            if not shown:
                raise
    if standing is not None and len(shown) < len(regions):
        return standing
    metrics = [metric for each in shown.values() for metric in each]
    known = {shape for region in shown for shape in listed(configured, regions[region], metrics)}
    ours = all(source_is_ours(configured, regions[region], metrics) for region in shown)
    if not ours:
        known.discard(SOURCE_ALONE)
    if len(known) == 1 and standing in (None, *known):
        return known.pop()
    end = (now or utc.now()).replace(second=0, microsecond=0) + timedelta(minutes=1)  # equal questions are asked once
    alive: set[LagShape] = set()
    for region in shown:
        each = regions[region]
        asked = queries(each.values())
        answer = call("get_metric_data", region, MetricDataQueries=asked, StartTime=end - PROOF, EndTime=end)
        with_data = {result["Id"] for result in answer["MetricDataResults"] if result["Values"]}
        alive |= {shape for n, shape in enumerate(each) if f"shape{n}" in with_data}
    if not ours or alive - {SOURCE_ALONE}:
        alive.discard(SOURCE_ALONE)
    best = next((shape for some in (alive, known) for shape in (standing, *LAG_SHAPES) if shape in some), None)
    # An alarm has a shape with the cluster that the stack file does not name because CloudWatch showed it before.
    if best == SOURCE_ALONE and configured != SOURCE_ALONE and standing not in (None, configured):
        return standing
    return best
