"""Settings of the embedded AWS where AWS's answer is not documented, or varies: each possible answer can be given.

The control API sets them (`/_dr/answers`); the variable DR_EMULATED_ANSWERS (the same JSON object) sets what a server starts with
and returns to on reset. Every default is the least kind answer that AWS is known to give.
"""

import json
import os
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

VARIABLE = "DR_EMULATED_ANSWERS"


@dataclass(frozen=True)
class Answers:
    """One value for each behaviour. `CHOICES` has the values that a text may take.

    lag_dimensions: dimensions of the AuroraGlobalDB* metrics: DBClusterIdentifier and SourceRegion (AWS's labs and console),
        SourceRegion alone (older labs), DBClusterIdentifier alone (many published alarms).
    inactive_writer_endpoint: whether the name of a secondary cluster's inactive writer endpoint resolves before promotion.
    new_cluster_group_seconds: for so long after a cluster parameter group was made, instances of a cluster that is created with it do
        not have its parameters in force before their reboot. The user guide asks for five minutes and names DescribeDBClusterParameters
        as the check that is enough, so the default is 0.
    engine_versions: Aurora PostgreSQL versions that can be created; `us-west-2/14.20` is offered in that region alone. Default: those
        of August 2026 from another emulator's snapshot of AWS (ministackorg/ministack#1299), and 14.13, which was current once.
    instance_classes: classes that can be created with each of them, written likewise.
    promoted_instance: which instance of the target cluster becomes its writer: the last one created, or the first. AWS may pick any.
    certificate_names_global_endpoint: whether a server's certificate covers the global writer endpoint beside those of its
        cluster, reader and instance. Neither the user guide ("Connecting to an Aurora Global Database", "Using SSL/TLS") nor a
        reported certificate shows that it does.
    clear_text: whether requests count as sent without TLS (aws:SecureTransport is false). Loopback stands for TLS.
    alarm_look_back_periods: how many periods more than it evaluates an alarm reads, to find datapoints where some are missing. "The
        exact number of datapoints it attempts to retrieve depends on the length of the alarm period and whether it is based on a metric
        with standard resolution or high resolution" (CloudWatch user guide, "Configuring how CloudWatch alarms treat missing data"); its
        examples read two more.
    list_metrics_seconds: how long a new metric takes to appear in ListMetrics, at the pace ("allow up to 15 minutes").
    metric_delay_seconds: how long AWS's own metrics take to become readable, at the pace.
    route53_calls_per_second: Route 53's API calls of one account, at the pace, before Throttling (developer guide, "Quotas"); 0: no limit.
    endpoint_ttl_seconds: the time to live of the endpoints' addresses. Aurora's is 5 s ("DNS caching", Aurora MySQL database
        administrator's handbook); the default is 1 s, for shorter drills.
    quotas: values of quotas that differ from AWS's defaults, as `rds/L-952B80B8=1` or `us-west-2/rds/L-952B80B8=1`.
    regions_not_enabled: regions that the account must enable first; calls there are answered all the same.
    zones_not_offered: availability zones that this account is not offered.
    endpoints_without_instances: what DescribeDBClusterEndpoints answers for a cluster without instances, whose endpoints "remain in the
        Creating status" (Aurora user guide): entries with that status and a name, or none.
    cluster_without_key: what a cluster does whose KMS key is disabled or pending deletion: it keeps running until RDS needs the
        key, or stops at once as inaccessible-encryption-credentials-recoverable ("immediate, or deferred", Aurora user guide).
    logical_messages: whether databases made from now on let their users write with pg_logical_emit_message. Below wal_level
        `logical` Aurora may refuse it (pg_gather#9, powersync-service#135).
    undocumented_source_keys: whether SNS names aws:SourceAccount when it sends to a queue or uses the queue's key, and S3
        aws:SourceArn and aws:SourceAccount when it assumes the replication role. AWS's documents do not show them.
    """

    lag_dimensions: str = "cluster+source-region"
    inactive_writer_endpoint: str = "unresolved"
    promoted_instance: str = "last"
    clear_text: bool = False
    certificate_names_global_endpoint: bool = False
    new_cluster_group_seconds: float = 0.0
    engine_versions: tuple[str, ...] = (
        *("14.6", "14.13", "14.17", "14.18", "14.19", "14.20", "14.22", "14.23"),
        *("15.12", "15.13", "15.14", "16.8", "16.9", "16.10", "17.4", "17.5", "17.6"),
    )
    instance_classes: tuple[str, ...] = (
        "db.t4g.medium",
        "db.t4g.large",
        *(
            f"db.{family}.{size}"
            for family in ("r5", "r6g", "r7g")
            for size in ("large", "xlarge", "2xlarge", "4xlarge")
        ),
    )
    alarm_look_back_periods: int = 2
    list_metrics_seconds: float = 900.0
    metric_delay_seconds: float = 60.0
    route53_calls_per_second: float = 5.0
    endpoint_ttl_seconds: int = 1
    quotas: tuple[str, ...] = ()
    regions_not_enabled: tuple[str, ...] = ()
    zones_not_offered: tuple[str, ...] = ()
    endpoints_without_instances: str = "creating"
    cluster_without_key: str = "keeps-running"
    undocumented_source_keys: bool = False
    logical_messages: bool = False


CHOICES: dict[str, tuple[str, ...]] = {
    "lag_dimensions": ("cluster+source-region", "source-region", "cluster"),
    "inactive_writer_endpoint": ("unresolved", "resolves"),
    "promoted_instance": ("last", "first"),
    "endpoints_without_instances": ("creating", "missing"),
    "cluster_without_key": ("keeps-running", "stops"),
}

# The values that a number may take, both included.
RANGES: dict[str, tuple[float, float]] = {
    "alarm_look_back_periods": (2, 7),
    "list_metrics_seconds": (0.0, 900.0),
    "metric_delay_seconds": (0.0, 120.0),
    "route53_calls_per_second": (0.0, 1000.0),
    "endpoint_ttl_seconds": (1, 60),
}

_now = Answers()


def answers() -> Answers:
    """The settings in force."""
    return _now


def change(values: dict[str, Any]) -> dict[str, Any]:
    """Set some of them; the others stay. Returns all. ValueError names an unknown key or value."""
    global _now  # noqa: PLW0603 (one server, one set of answers)
    _now = parse(values, _now)
    return asdict(_now)


def reset() -> None:
    """Back to what the server started with."""
    global _now  # noqa: PLW0603
    _now = parse(json.loads(os.environ.get(VARIABLE) or "{}"))


def parse(values: dict[str, Any], base: Answers | None = None) -> Answers:
    """`base` (default: the defaults) with these values. ValueError names an unknown key, a wrong type or an unknown value."""
    base = base or Answers()
    known = {field.name for field in fields(Answers)}
    if unknown := set(values) - known:
        raise ValueError(f"unknown answers {sorted(unknown)}; known are {sorted(known)}")
    for name, value in values.items():
        if name in CHOICES and value not in CHOICES[name]:
            raise ValueError(f"{name} must be one of {list(CHOICES[name])}, not {value!r}")
        low, high = RANGES.get(name, (value, value))
        default = getattr(Answers(), name)
        if isinstance(default, tuple) and isinstance(value, list):
            continue
        number = isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool)
        if not number and type(value) is not type(default):
            raise ValueError(f"{name} must be of type {type(default).__name__}, not {value!r}")
        if name in RANGES and not low <= value <= high:
            raise ValueError(f"{name} must lie between {low:g} and {high:g}, not {value!r}")
    chosen: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
    return replace(base, **chosen)
