"""Answers of AWS to the monitoring sources, as its API references show them, for two stacks; each can be changed before it is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from dr_assets.monitoring.samples import Sample
from dr_assets.monitoring.sources.cloudwatch import AlarmSource, MetricSource
from dr_assets.monitoring.sources.health_checks import HealthCheckSource
from dr_assets.monitoring.sources.keys import KeySource
from dr_assets.monitoring.sources.topology import TopologySource
from dr_assets.resources import names
from dr_assets.resources.dns.rows import SITE_CHECKS
from dr_assets.stack import SITES, Stack
from tests.support.monitoring import S, at

ACCOUNT, OTHER, REGION = "123456789012", "s2", "us-east-1"
Garble = Callable[[dict[str, Any]], None]


class Aws:
    """Answers of every operation the sources call, for two stacks. `garble`: operation -> what is changed in each answer."""

    def __init__(self, stacks: Sequence[Stack]) -> None:
        self.stacks, self.garble = stacks, dict[str, Garble]()

    def client(self, service: str, region: str) -> Aws:
        return self

    def _answer(self, operation: str, answer: dict[str, Any]) -> dict[str, Any]:
        self.garble.get(operation, lambda _: None)(answer)
        return answer

    def get_metric_data(self, MetricDataQueries: list[dict[str, Any]], **_: Any) -> dict[str, Any]:
        results = [
            {
                "Id": query["Id"],
                "Label": query["MetricStat"]["Metric"]["MetricName"],
                "Timestamps": [at(-60), at(-120)],
                "Values": [1.0, 0.0],
                "StatusCode": "Complete",
            }
            for query in MetricDataQueries
        ]
        return self._answer("get_metric_data", {"MetricDataResults": results, "Messages": []})

    def list_metrics(self, **_: Any) -> dict[str, Any]:
        return self._answer("list_metrics", {"Metrics": []})

    def describe_alarms(self, AlarmNames: list[str], **_: Any) -> dict[str, Any]:
        alarms = [
            {"AlarmName": name, "StateValue": "OK", "StateReason": "Threshold Crossed: 1 datapoint", "Period": 60}
            for name in AlarmNames
        ]
        return self._answer("describe_alarms", {"MetricAlarms": alarms, "CompositeAlarms": []})

    def describe_key(self, KeyId: str) -> dict[str, Any]:
        arn = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{KeyId.rpartition('/')[2]}"
        meta = {"KeyId": arn.rpartition("/")[2], "Arn": arn, "KeyState": "Enabled", "Enabled": True}
        return self._answer(f"describe_key {KeyId}", {"KeyMetadata": meta})

    def describe_db_clusters(self, DBClusterIdentifier: str) -> dict[str, Any]:
        key = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/of-{DBClusterIdentifier}"
        cluster = {"DBClusterIdentifier": DBClusterIdentifier, "Status": "available", "KmsKeyId": key}
        return self._answer(f"describe_db_clusters {DBClusterIdentifier}", {"DBClusters": [cluster]})

    def describe_global_clusters(self, **_: Any) -> dict[str, Any]:
        clusters = [
            {
                "GlobalClusterIdentifier": stack.global_cluster_name,
                "Status": "available",
                "GlobalClusterMembers": [
                    {
                        "DBClusterArn": f"arn:aws:rds:{stack.region(site)}:{ACCOUNT}:cluster:{names.cluster(stack, site)}",
                        "IsWriter": site == "primary",
                        "Readers": [],
                        "SynchronizationStatus": "connected",
                    }
                    for site in SITES
                ],
            }
            for stack in self.stacks
        ]
        return self._answer("describe_global_clusters", {"GlobalClusters": clusters})

    def get_paginator(self, operation: str) -> Aws:
        assert operation == "list_health_checks"
        return self

    def paginate(self) -> Iterator[dict[str, Any]]:
        checks = [
            {
                "Id": f"{stack.environment_suffix}-{site}-{name}",
                "CallerReference": "2026-11-23",
                "HealthCheckConfig": {
                    "Type": "CLOUDWATCH_METRIC",
                    "AlarmIdentifier": {"Region": stack.region(site), "Name": names.alarm(stack, site, metric)},
                    "InsufficientDataHealthStatus": missing,
                },
            }
            for stack in self.stacks
            for site in SITES
            for name, metric, missing, _ in SITE_CHECKS
        ]
        yield self._answer("list_health_checks", {"HealthChecks": checks, "IsTruncated": False, "MaxItems": "100"})


def ask(source: str, stacks: Sequence[Stack], aws: Any) -> dict[str, Sample]:
    """The newest sample of each subject."""
    asks: dict[str, Callable[[], Any]] = {
        "metric": lambda: MetricSource(stacks, aws, REGION),
        "alarm": lambda: AlarmSource(stacks, aws, REGION),
        "key": lambda: KeySource(stacks, aws, REGION),
        "topology": lambda: TopologySource(stacks, aws, REGION),
        "health-check": lambda: HealthCheckSource(stacks, aws),
    }
    return {sample.subject: sample for sample in asks[source]()(at(0))[0]}


# Source, operation, path of the list: its first item is the one of the first stack that is changed.
ITEMS = (
    ("metric", "get_metric_data", "MetricDataResults"),
    ("health-check", "get_metric_data", "MetricDataResults"),
    ("alarm", "describe_alarms", "MetricAlarms"),
    ("key", f"describe_key alias/rds-aurora-us-east-1-{S}", "KeyMetadata"),
    ("key", f"describe_db_clusters aurora-primary-{S}", "DBClusters"),
    ("topology", "describe_global_clusters", "GlobalClusters"),
    ("health-check", "list_health_checks", "HealthChecks"),
)
