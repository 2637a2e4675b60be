"""CloudWatch alarms of each site: five that notify, and one that shows DNS where the writer is.

AWS publishes the lag metrics at the current reader only. So missing data breaches at the reader, where it means that
replication is not being measured, and not at the writer, where there is never any.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dr_assets.core.expressions import ByRole, Ref
from dr_assets.core.model import Resource
from dr_assets.resources import names
from dr_assets.resources.row import resource
from dr_assets.stack import Site, Stack

PERIOD_SECONDS, PERIODS = 60, 2
PROBE_NAMESPACE = "DRAssets"
PROBE_METRIC = "WriterConnectivity"
# Not an alert: it is in ALARM wherever the writer is. Health checks read its data; it notifies no one.
SIGNAL = "takes-writes"
LOST = "problems would go unnoticed"
WARNS_OF_LOSS = {
    "primary": "being warned of data loss while the primary site replicates",
    "secondary": "being warned that a failover would lose data",
}


def site_rows(stack: Stack, site: Site) -> Iterator[Resource]:
    thresholds = stack.alarm_thresholds
    by_role = ByRole(site, writer="notBreaching", reader="breaching")
    cluster = {"DBClusterIdentifier": names.cluster(stack, site)}
    probe = {"Stack": stack.environment_suffix, "Site": site}
    above, below = "GreaterThanThreshold", "LessThanThreshold"
    lag, rds = thresholds.replication_lag_ms, "AWS/RDS"
    rows: tuple[tuple[str, str, str, dict[str, str], str, str, float, Any, str], ...] = (
        (
            "replication-lag",
            rds,
            "AuroraGlobalDBReplicationLag",
            cluster,
            "Maximum",
            above,
            lag,
            by_role,
            f"Replication is more than {lag} ms behind, or not measured at the reader.",
        ),
        (
            "rpo-lag",
            rds,
            "AuroraGlobalDBRPOLag",
            cluster,
            "Maximum",
            above,
            lag,
            by_role,
            f"A failover now would lose more than {lag} ms of commits, or the lag is not measured.",
        ),
        (
            "cpu",
            rds,
            "CPUUtilization",
            cluster,
            "Average",
            above,
            thresholds.cpu_percent,
            "missing",
            f"CPU above {thresholds.cpu_percent} %.",
        ),
        (
            "connections",
            rds,
            "DatabaseConnections",
            cluster,
            "Maximum",
            above,
            thresholds.connections,
            "missing",
            f"More than {thresholds.connections} connections.",
        ),
        (
            "connectivity",
            PROBE_NAMESPACE,
            PROBE_METRIC,
            probe,
            "Minimum",
            below,
            1,
            "missing",
            "The probe's writes through this site's cluster endpoint are not accepted.",
        ),
        (
            SIGNAL,
            PROBE_NAMESPACE,
            PROBE_METRIC,
            probe,
            "Maximum",
            "GreaterThanOrEqualToThreshold",
            1,
            "missing",
            "In alarm where the writer is: the probe's writes through this site's cluster endpoint are accepted.",
        ),
    )
    for metric, namespace, name, dimensions, statistic, operator, threshold, missing, title in rows:
        topic = [] if metric == SIGNAL else [Ref(f"{site}/notifications/topic", "Arn")]
        group = "takes_writes" if metric == SIGNAL else "lag" if missing is by_role else "state"
        # An accepted write proves the role at once; everything else must last.
        periods = 1 if metric == SIGNAL else PERIODS
        yield resource(
            stack,
            f"{site}/monitoring/alarm-{metric}",
            "cloudwatch.alarm",
            names.alarm(stack, site, metric),
            {
                "Namespace": namespace,
                "MetricName": name,
                "Dimensions": dimensions,
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
            },
            settings={"Description": title},
            after=(f"{site}/aurora/cluster", f"{site}/notifications/topic-policy"),
            terraform=f"module.{site}.aws_cloudwatch_metric_alarm.{group}"
            + (f'["{metric}"]' if metric != SIGNAL else ""),
            terraform_ignores=frozenset({"treat_missing_data"} if group == "lag" else ()),
            capability=WARNS_OF_LOSS[site] if metric == "rpo-lag" else "",
            title=title,
        )
