"""CloudWatch alarms: how they are read, put and deleted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dr_assets.core.model import ALL, Call, Drift, Kind, Observed, Reads, Target, changed_fields, permit
from dr_assets.resources.alarms import lag_metric
from dr_assets.resources.tags import changed_tags, from_tag_list, to_tag_list

_FIELDS = (
    "Namespace",
    "MetricName",
    "Statistic",
    "Threshold",
    "ComparisonOperator",
    "Period",
    "EvaluationPeriods",
    "DatapointsToAlarm",
    "TreatMissingData",
    "ActionsEnabled",
    "AlarmActions",
    "OKActions",
)


class Alarm(Kind):
    """`Dimensions` as a dict. PutMetricAlarm replaces the whole alarm but its tags, so every update sends all fields.

    identity of a lag alarm: `Shapes`, the dimensions that its metric may have (see `lag_metric.by_region`), and `Shape`, the one
    that the stack file names. `MetricDimensions` is
    observed of it: those that AWS shows, absent while AWS shows no such metric.
    """

    name = "cloudwatch.alarm"
    label = "CloudWatch alarm"
    compute_kinds = ("cloudwatch",)
    parity = (
        "Namespace",
        "MetricName",
        "Statistic",
        "Threshold",
        "ComparisonOperator",
        "Period",
        "EvaluationPeriods",
        "DatapointsToAlarm",
    )
    resource_arn = "cloudwatch:{region}:{account}:alarm:{name}"
    read_actions = permit("cloudwatch:ListTagsForResource") | permit(
        "cloudwatch:DescribeAlarms", "cloudwatch:GetMetricData", "cloudwatch:ListMetrics", on=ALL
    )
    write_actions = permit("cloudwatch:PutMetricAlarm", "cloudwatch:TagResource", "cloudwatch:DeleteAlarms")
    least_reads = (1, 2)  # tags; described all at once, the metrics of the region
    terraform = ("aws_cloudwatch_metric_alarm",)
    console_url = "https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}#alarmsV2:alarm/{name}"

    def read(self, reads: Reads, batch: Sequence[Target]) -> dict[str, Observed | None]:
        region, names = batch[0].region, sorted(target.name for target in batch)
        alarms = reads.pages("cloudwatch", "describe_alarms", region, "MetricAlarms", AlarmNames=names)
        found = {alarm["AlarmName"]: alarm for alarm in alarms}
        answers: dict[str, Observed | None] = {}
        for target in batch:
            alarm = found.get(target.name)
            answers[target.key] = None if alarm is None else self._observe(reads, target, alarm)
        return answers

    def refine(self, desired: Mapping[str, Any], observed: Observed) -> Mapping[str, Any]:
        """A lag alarm stands on the dimensions that AWS shows; the row has those to begin with."""
        shown = observed.get("MetricDimensions")
        return {**desired, "Dimensions": shown} if shown else desired

    def explain(self, drift: Sequence[Drift], observed: Observed) -> str:
        if not observed.get("MetricDimensions") or "Dimensions" not in changed_fields(drift):
            return ""
        names = " and ".join(sorted(observed["MetricDimensions"]))
        others = [item.field for item in drift if item.field != "Dimensions"]
        return (
            f"differs in {', '.join(['Dimensions', *others])}: AWS publishes {observed['MetricName']} with {names} here, so the alarm "
            "has no data. Provision the stack, and set lag_metric_dimensions in the stack file for Terraform."
        )

    def _observe(self, reads: Reads, target: Target, alarm: Mapping[str, Any]) -> Observed:
        arn = alarm["AlarmArn"]
        tags = reads.call("cloudwatch", "list_tags_for_resource", target.region, ResourceARN=arn)["Tags"]
        dimensions = {item["Name"]: item["Value"] for item in alarm.get("Dimensions", ())}
        return {
            **{name: alarm.get(name) for name in _FIELDS},
            # An alarm that was rewritten to watch for anomalies has none.
            "Threshold": float(alarm["Threshold"]) if "Threshold" in alarm else None,
            # CloudWatch leaves it out where it equals EvaluationPeriods or was not set; no value means "missing".
            "DatapointsToAlarm": alarm.get("DatapointsToAlarm") or alarm["EvaluationPeriods"],
            "TreatMissingData": alarm.get("TreatMissingData") or "missing",
            "Dimensions": dimensions,
            "MetricDimensions": _metric_dimensions(reads, target, dimensions) if "Shapes" in target.identity else None,
            "Arn": arn,
            "AlarmName": alarm["AlarmName"],
            "Status": alarm.get("StateValue"),
            "Tags": from_tag_list(tags),
        }

    def _params(self, target: Target) -> dict[str, Any]:
        want = target.desired
        return {
            "AlarmName": target.name,
            "AlarmDescription": target.settings["Description"],
            **{name: want[name] for name in _FIELDS},
            "Dimensions": to_tag_list(want["Dimensions"], "Name", "Value"),
        }

    def create(self, target: Target) -> Call:
        return Call(
            "cloudwatch", "put_metric_alarm", {**self._params(target), "Tags": to_tag_list(target.desired["Tags"])}
        )

    def update(self, target: Target, observed: Observed, drift: Sequence[Drift]) -> Call:
        if changed_fields(drift) == {"Tags"}:
            tags = changed_tags(target, drift)
            return Call("cloudwatch", "tag_resource", {"ResourceARN": observed["Arn"], "Tags": tags})
        return Call("cloudwatch", "put_metric_alarm", self._params(target))

    def delete(self, target: Target, observed: Observed) -> Call:
        return Call("cloudwatch", "delete_alarms", {"AlarmNames": [target.name]})


def _metric_dimensions(reads: Reads, target: Target, standing: Mapping[str, str]) -> Mapping[str, str] | None:
    """The dimensions that AWS shows; None where it shows no such metric. As the alarm has them while that may be right."""
    regions = target.identity["Shapes"]
    own = regions[target.region]
    shape_of = {frozenset(dimensions.items()): shape for shape, dimensions in own.items()}

    def call(operation: str, region: str, **params: Any) -> Mapping[str, Any]:
        return reads.call("cloudwatch", operation, region, **params)

    shape = lag_metric.find_shape(call, regions, target.identity["Shape"], shape_of.get(frozenset(standing.items())))
    return None if shape is None else dict(own[shape])


KINDS: tuple[Kind, ...] = (Alarm(),)
