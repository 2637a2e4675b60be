"""Are the two sites equal where they must be? Pure: compares what was observed at one with what was observed at the other.

A site that differs in a parameter, an instance class or an alarm is a site that will surprise whoever fails over to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dr_assets.core.compare import same
from dr_assets.core.expressions import plain
from dr_assets.core.model import Drift, Observed, Resource

# For each area and name: the fields that must be equal at both sites. Names and identifiers differ by nature, and
# role-dependent fields (TreatMissingData of lag alarms …) are judged by each resource's own desired state.
_FIELDS: Mapping[str, Sequence[str]] = {
    "rds.cluster_parameter_group": ("Parameters", "DBParameterGroupFamily"),
    "rds.instance_parameter_group": ("Parameters", "DBParameterGroupFamily"),
    "rds.cluster": (
        "Engine",
        "EngineVersion",
        "BackupRetentionPeriod",
        "DeletionProtection",
        "EnabledCloudwatchLogsExports",
    ),
    "rds.instance": ("DBInstanceClass", "MonitoringInterval", "AutoMinorVersionUpgrade"),
    "cloudwatch.alarm": (
        "Namespace",
        "MetricName",
        "Statistic",
        "Threshold",
        "ComparisonOperator",
        "Period",
        "EvaluationPeriods",
        "DatapointsToAlarm",
    ),
    "rds.event_subscription": ("EventCategories", "Enabled", "SourceType"),
    "sqs.queue": ("MessageRetentionPeriod", "VisibilityTimeout"),
    "kms.key": ("Enabled", "KeyRotationEnabled"),
    "secretsmanager.version": ("Username", "Engine", "Port", "DbName", "PasswordMatchesPrimary"),
    "s3.versioning": ("Status",),
    "s3.lifecycle": ("Rules",),
    "logs.log_group": ("RetentionInDays",),
}

# These tags say where a resource is; all others must be the same at both sites.
_OWN_TAGS = frozenset({"Name", "Region", "Site"})


@dataclass(frozen=True)
class Parity:
    """The comparison of one pair. `reason` is set where a side is absent; `differences` hold the secondary's value as
    `observed` and the primary's as `desired`."""

    key: str
    twin: str
    differences: tuple[Drift, ...] = ()
    reason: str = ""

    @property
    def equal(self) -> bool:
        return not self.differences and not self.reason


def pairs(resources: Iterable[Resource]) -> list[tuple[Resource, Resource]]:
    """(secondary, primary) for every resource that both sites have and that has something to compare."""
    by_key = {resource.key: resource for resource in resources}
    found = []
    for key, resource in by_key.items():
        twin = by_key.get(key.replace("secondary/", "primary/", 1)) if key.startswith("secondary/") else None
        if twin is not None and (resource.kind in _FIELDS or "Tags" in resource.desired):
            found.append((resource, twin))
    return found


def compare_pair(secondary: Resource, primary: Resource, second: Observed | None, first: Observed | None) -> Parity:
    """Equal, or in what they differ."""
    if second is None or first is None:
        absent = " and ".join(r.key for r, seen in ((primary, first), (secondary, second)) if seen is None)
        return Parity(secondary.key, primary.key, reason=f"{absent} absent: there is nothing to compare")
    differences = [
        Drift(field, plain(first.get(field)), plain(second.get(field)))
        for field in _FIELDS.get(secondary.kind, ())
        if not same(first.get(field), second.get(field))
    ]
    if "Tags" in secondary.desired:
        one, two = _portable_tags(first), _portable_tags(second)
        differences += [
            Drift(f"Tags.{tag}", one.get(tag), two.get(tag))
            for tag in sorted({*one, *two})
            if one.get(tag) != two.get(tag)
        ]
    return Parity(secondary.key, primary.key, tuple(differences))


def _portable_tags(observed: Observed) -> dict[str, Any]:
    return {key: value for key, value in (observed.get("Tags") or {}).items() if key not in _OWN_TAGS}
