"""Dimensions of Aurora's replication-lag metrics: the shapes AWS is known to use, and which of them this account shows.

CloudWatch matches dimensions exactly, and AWS's documents disagree about those of `AuroraGlobalDBReplicationLag` and
`AuroraGlobalDBRPOLag`: its labs and console show DBClusterIdentifier with SourceRegion, older labs SourceRegion alone, many published
alarms DBClusterIdentifier alone. SourceRegion is the writer's region. With two sites that is the other site's wherever the metric
exists, so the dimensions of a site's metric depend on the shape alone and not on who is the writer.

A new metric may take 15 minutes to appear in ListMetrics; GetMetricData has its data at once (CloudWatch API, ListMetrics).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from dr_assets import utc
from dr_assets.resources import names
from dr_assets.resources.row import other
from dr_assets.stack import LAG_SHAPES, LagShape, Site, Stack

NAMESPACE = "AWS/RDS"
REPLICATION_LAG, RPO_LAG = "AuroraGlobalDBReplicationLag", "AuroraGlobalDBRPOLag"
PERIOD_SECONDS = 60
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


def newest(shapes: Iterable[LagShape], results: Iterable[Mapping[str, Any]]) -> tuple[LagShape, datetime, float] | None:
    """The shape with the newest datapoint, and that; None: there is no datapoint. From the answers to `queries`.

    SourceRegion alone counts only where no shape with the cluster has data: it may be another cluster's.
    """
    found = {result["Id"]: result for result in results if result["Values"]}
    points: list[tuple[LagShape, datetime, float]] = []
    for n, shape in enumerate(shapes):
        if result := found.get(f"shape{n}"):
            at, value = max(zip(result["Timestamps"], result["Values"], strict=True))
            points.append((shape, at, float(value)))
    own = [point for point in points if point[0] != "source-region"]
    return max(own or points, key=lambda point: point[1], default=None)


def listed(shapes: Shapes, metrics: Sequence[Mapping[str, Any]]) -> list[LagShape]:
    """The shapes among ListMetrics' `Metrics`, in order; empty: CloudWatch shows no such metric."""
    shown = [{item["Name"]: item["Value"] for item in metric.get("Dimensions", ())} for metric in metrics]
    return [shape for shape, dimensions in shapes.items() if dimensions in shown]


def no_such_metric(metric: str, region: str) -> str:
    """What to report where `listed` found nothing."""
    return f"CloudWatch lists no metric {metric} with known dimensions in {region}"


def list_metrics(call: CloudWatch, region: str) -> list[Mapping[str, Any]]:
    """Every AuroraGlobalDBReplicationLag of the region that had data in the last two weeks. Raises what `call` raises."""
    found: list[Mapping[str, Any]] = []
    page: dict[str, Any] = {}
    while True:
        answer = call("list_metrics", region, Namespace=NAMESPACE, MetricName=REPLICATION_LAG, **page)
        found += answer["Metrics"]
        if not answer.get("NextToken"):
            return found
        page = {"NextToken": answer["NextToken"]}


def find_shape(
    call: CloudWatch, regions: Mapping[str, Shapes], now: datetime | None = None
) -> tuple[LagShape | None, tuple[str, ...]]:
    """The shape that CloudWatch shows in these regions, and the regions that could not be read.

    ListMetrics of every region is read first. Where that does not decide, the data of the last hours do, which are there before
    ListMetrics shows the metric.
    Raises the error of the first region; those of the others are returned, because the metric is in one region only and a dark
    region must not make the alarms of the other one unknown.
    """
    first, unread = next(iter(regions)), []
    shown: dict[str, list[LagShape]] = {}
    for region, each in regions.items():
        try:
            shown[region] = listed(each, list_metrics(call, region))
        except Exception:
            if region == first:
                raise
            unread.append(region)
    known = list(dict.fromkeys(shape for some in shown.values() for shape in some))
    if len(known) == 1:
        return known[0], ()
    end = (now or utc.now()).replace(second=0, microsecond=0) + timedelta(minutes=1)  # equal questions are asked once
    for region in shown:
        each = regions[region]
        asked = queries(each.values())
        answer = call("get_metric_data", region, MetricDataQueries=asked, StartTime=end - PROOF, EndTime=end)
        found = newest(each, answer["MetricDataResults"])
        if found is not None:
            return found[0], ()
    return (known[0], ()) if known else (None, tuple(unread))
