"""CloudWatch alarms: how they are read, put and deleted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dr_assets.core.model import ALL, Call, Drift, Kind, Observed, Reads, Target, changed_fields, permit
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
    """`Dimensions` as a dict. PutMetricAlarm replaces the whole alarm but its tags, so every update sends all fields."""

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
    read_actions = permit("cloudwatch:ListTagsForResource") | permit("cloudwatch:DescribeAlarms", on=ALL)
    write_actions = permit("cloudwatch:PutMetricAlarm", "cloudwatch:TagResource", "cloudwatch:DeleteAlarms")
    least_reads = (1, 1)  # tags; described all at once
    terraform = ("aws_cloudwatch_metric_alarm",)
    console_url = "https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}#alarmsV2:alarm/{name}"

    def read(self, reads: Reads, batch: Sequence[Target]) -> dict[str, Observed | None]:
        region, names = batch[0].region, sorted(target.name for target in batch)
        alarms = reads.pages("cloudwatch", "describe_alarms", region, "MetricAlarms", AlarmNames=names)
        found = {alarm["AlarmName"]: alarm for alarm in alarms}
        return {t.key: self._observe(reads, region, found[t.name]) if t.name in found else None for t in batch}

    def _observe(self, reads: Reads, region: str, alarm: Mapping[str, Any]) -> Observed:
        arn = alarm["AlarmArn"]
        tags = reads.call("cloudwatch", "list_tags_for_resource", region, ResourceARN=arn)["Tags"]
        return {
            **{name: alarm.get(name) for name in _FIELDS},
            # An alarm that was rewritten to watch for anomalies has none.
            "Threshold": float(alarm["Threshold"]) if "Threshold" in alarm else None,
            # CloudWatch leaves it out where it equals EvaluationPeriods or was not set; no value means "missing".
            "DatapointsToAlarm": alarm.get("DatapointsToAlarm") or alarm["EvaluationPeriods"],
            "TreatMissingData": alarm.get("TreatMissingData") or "missing",
            "Dimensions": {item["Name"]: item["Value"] for item in alarm.get("Dimensions", ())},
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


KINDS: tuple[Kind, ...] = (Alarm(),)
