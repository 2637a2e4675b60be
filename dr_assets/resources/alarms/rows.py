"""CloudWatch alarms of each site: five on the database, one that only drives the DNS health checks, and one for each watcher.

AWS publishes the lag metrics at the current reader only, with dimensions that its documents disagree about (`lag_metric`): the rows
have those to begin with, the kind reads which ones the account shows. Missing data breaches at the reader, where it
means that replication is not being measured, and not at the writer, where there is never any.

The alarms on watchers report that the monitoring itself has stopped, so they must not depend on it. CloudWatch uses a real datapoint
anywhere in its evaluation range before a missing one, and the length of that range is not documented ("How alarm state is evaluated
when data is missing", user guide). 3 of 3 periods of 10 s breach 51 to 110 s after the last heartbeat for any range from 5 to 10
periods, and do not while heartbeats are up to 50 s apart; periods of a minute take up to 240 s and more.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dr_assets.core.expressions import ByRole, Ref
from dr_assets.core.model import Resource
from dr_assets.resources import names
from dr_assets.resources.alarms import lag_metric
from dr_assets.resources.row import resource
from dr_assets.stack import Site, Stack

PERIOD_SECONDS, PERIODS = 60, 2
PROBE_NAMESPACE = "DRAssets"
# The probe's result twice: at one second for the sensors, and at one minute for the alarms, because Route 53 does not support
# high-resolution metrics (Route 53 API, AlarmIdentifier) and its checks read the alarms' metric.
PROBE_METRIC, ALARM_PROBE_METRIC = "WriterConnectivity", "WriterConnectivityMinute"
# The Dagster daemon and the sensors, by their Dagster names. Each puts its heartbeat into both regions.
WATCHERS = ("daemon", "replication_lag", "health_checks", "event_queue", "drift", "run_failure", "drill_overdue")
HEARTBEAT_METRIC = "Heartbeat"
HEARTBEAT_PERIOD_SECONDS, HEARTBEAT_PERIODS = 10, 3
# Not an alert: it is in ALARM wherever the writer is. Health checks read its data; it notifies no one.
SIGNAL = "takes-writes"
LOST = "problems would go unnoticed"
WARNS_OF_LOSS = {
    "primary": "being warned of data loss while the primary site replicates",
    "secondary": "being warned that a failover would lose data",
}


def site_rows(stack: Stack, site: Site) -> Iterator[Resource]:
    limits = stack.alarm_thresholds
    lag = limits.replication_lag_ms
    cluster = {"DBClusterIdentifier": names.cluster(stack, site)}
    replication = lag_metric.shapes(stack, site)[stack.lag_metric_dimensions]
    probe = {"Stack": stack.environment_suffix, "Site": site}

    def alarm(
        metric: str,
        source: str,
        threshold: float,
        title: str,
        *,
        twin: str,
        statistic: str = "Maximum",
        operator: str = "GreaterThanThreshold",
        missing: Any = "missing",
        capability: str = "",
    ) -> Resource:
        is_lag = source in (lag_metric.REPLICATION_LAG, lag_metric.RPO_LAG)
        # An accepted write proves the role at once; everything else must last.
        periods = 1 if metric == SIGNAL else PERIODS
        topic = [] if metric == SIGNAL else [Ref(f"{site}/notifications/topic", "Arn")]
        desired = {
            "Namespace": PROBE_NAMESPACE if source == ALARM_PROBE_METRIC else "AWS/RDS",
            "MetricName": source,
            "Dimensions": probe if source == ALARM_PROBE_METRIC else replication if is_lag else cluster,
            "Statistic": statistic,
            "Threshold": float(threshold),
            "ComparisonOperator": operator,
            "Period": PERIOD_SECONDS,
            "EvaluationPeriods": periods,
            "DatapointsToAlarm": periods,
            "TreatMissingData": missing,
            "ActionsEnabled": True,
            "AlarmActions": topic,
            "OKActions": topic,
        }
        return resource(
            stack,
            f"{site}/monitoring/alarm-{metric}",
            "cloudwatch.alarm",
            names.alarm(stack, site, metric),
            desired,
            identity=(
                {"Shapes": lag_metric.by_region(stack, site), "Shape": stack.lag_metric_dimensions} if is_lag else {}
            ),
            settings={"Description": title},
            after=(f"{site}/aurora/cluster", f"{site}/notifications/topic-policy"),
            terraform=f"module.{site}.aws_cloudwatch_metric_alarm.{twin}",
            terraform_ignores=frozenset({"treat_missing_data"} if isinstance(missing, ByRole) else ()),
            capability=capability,
            title=title,
        )

    def heartbeat(watcher: str) -> Resource:
        purpose = f"heartbeat-{watcher.replace('_', '-')}"
        topic = [Ref(f"{site}/notifications/topic", "Arn")]
        subject = "the Dagster daemon" if watcher == "daemon" else f"the sensor {watcher}"
        title = f"No heartbeat of {subject} reaches this region. Runbook: No heartbeat."
        desired = {
            "Namespace": PROBE_NAMESPACE,
            "MetricName": HEARTBEAT_METRIC,
            "Dimensions": {"Stack": stack.environment_suffix, "Watcher": watcher},
            "Statistic": "SampleCount",
            "Threshold": 1.0,
            "ComparisonOperator": "LessThanThreshold",
            "Period": HEARTBEAT_PERIOD_SECONDS,
            "EvaluationPeriods": HEARTBEAT_PERIODS,
            "DatapointsToAlarm": HEARTBEAT_PERIODS,
            "TreatMissingData": "breaching",
            "ActionsEnabled": True,
            "AlarmActions": topic,
            "OKActions": topic,
        }
        return resource(
            stack,
            f"{site}/monitoring/alarm-{purpose}",
            "cloudwatch.alarm",
            names.alarm(stack, site, purpose),
            desired,
            settings={"Description": title},
            after=(f"{site}/notifications/topic-policy",),
            terraform=f'module.{site}.aws_cloudwatch_metric_alarm.heartbeat["{watcher}"]',
            title=title,
        )

    by_role = ByRole(site, writer="notBreaching", reader="breaching")
    title = f"Replication is more than {lag} ms behind, or not measured at the reader."
    yield alarm(
        "replication-lag", lag_metric.REPLICATION_LAG, lag, title, twin='lag["replication-lag"]', missing=by_role
    )
    title = f"A failover now would lose more than {lag} ms of commits, or the lag is not measured."
    warning, twin = WARNS_OF_LOSS[site], 'lag["rpo-lag"]'
    yield alarm("rpo-lag", lag_metric.RPO_LAG, lag, title, twin=twin, missing=by_role, capability=warning)
    title = f"CPU above {limits.cpu_percent} %."
    yield alarm("cpu", "CPUUtilization", limits.cpu_percent, title, twin='state["cpu"]', statistic="Average")
    title = f"More than {limits.connections} connections."
    yield alarm("connections", "DatabaseConnections", limits.connections, title, twin='state["connections"]')
    title, below = "The probe's writes through this site's cluster endpoint are not accepted.", "LessThanThreshold"
    twin = 'state["connectivity"]'
    yield alarm("connectivity", ALARM_PROBE_METRIC, 1, title, twin=twin, statistic="Minimum", operator=below)
    title = "In alarm where the writer is: the probe's writes through this site's cluster endpoint are accepted."
    yield alarm(SIGNAL, ALARM_PROBE_METRIC, 1, title, twin="takes_writes", operator="GreaterThanOrEqualToThreshold")
    yield from map(heartbeat, WATCHERS)
