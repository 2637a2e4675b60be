"""Evaluation of Route 53 health checks, and the choice among failover records. No I/O.

Sources: Route 53 Developer Guide, "How Route 53 determines whether a health check is healthy" (a check on a CloudWatch alarm reads
the alarm's metric, not its state), and "How Amazon Route 53 chooses records when health checking is
configured" (failover: the primary while it is healthy, also when neither is; a record without a check is always healthy).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dr_assets.emulator.answers import answers
from dr_assets.emulator.cloudwatch import alarms
from dr_assets.emulator.cloudwatch.alarms import Rule
from dr_assets.emulator.cloudwatch.metrics import Datum

# Route 53 copies an alarm's settings; its treatment of missing data is not among them.
_MISSING = "missing"
INTERVAL_SECONDS = 10  # how often a check reads its metric


@dataclass(frozen=True)
class Observation:
    """One evaluation of a health check: whether it is healthy (before inversion) and why."""

    healthy: bool
    reason: str


@dataclass(frozen=True)
class Answer:
    """The record set that DNS answers with."""

    type: str
    ttl: int
    values: tuple[str, ...]


def metric_rule(config: Mapping[str, Any], pace: float) -> Rule:
    """The rule of a check on an alarm, from its `CloudWatchAlarmConfiguration`: the alarm's settings when it was copied."""
    periods = int(config["EvaluationPeriods"])
    return Rule(
        namespace=config["Namespace"],
        metric=config["MetricName"],
        dimensions=frozenset((d["Name"], d["Value"]) for d in config["Dimensions"]),
        statistic=config["Statistic"],
        period=int(config["Period"]),
        periods=periods,
        to_alarm=periods,
        threshold=float(config["Threshold"]),
        comparison=config["ComparisonOperator"],
        missing=_MISSING,
        unit=None,
        pace=pace,
        look_back=answers().alarm_look_back_periods,
    )


def unsupported(alarm: Any) -> str | None:
    """Why Route 53 refuses an alarm (one of moto's) for a health check; `None` when it accepts it."""
    if alarm.rule is not None or alarm.metric_data_queries or not alarm.metric_name:
        return "alarms on several alarms or on mathematics with metrics are not supported"
    if alarm.extended_statistic or not alarm.statistic:
        return "extended statistics are not supported"
    if int(alarm.period) < 60:
        return "high-resolution metrics are not supported"
    if int(alarm.datapoints_to_alarm or alarm.evaluation_periods) != int(alarm.evaluation_periods):
        return '"M out of N" alarms are not supported'
    return None


def observe_metric(
    data: Iterable[Datum], rule: Rule, now: float, insufficient: str, last_known: bool
) -> tuple[Observation, bool]:
    """Evaluate a CLOUDWATCH_METRIC check: the result, and the last known health from now on.

    Args:
        data: samples of the metric.
        insufficient: InsufficientDataHealthStatus: Healthy, Unhealthy or LastKnownStatus; decides when data are missing.
        last_known: whether the check was healthy when the metric last had data.
    """
    verdict = alarms.evaluate(data, rule, now, "INSUFFICIENT_DATA")
    if verdict.state == "INSUFFICIENT_DATA":
        healthy = {"Healthy": True, "Unhealthy": False}.get(insufficient, last_known)
        return Observation(healthy, f"{verdict.reason} InsufficientDataHealthStatus is {insufficient}."), last_known
    return Observation(verdict.state == "OK", verdict.reason), verdict.state == "OK"


def observe_children(children: Iterable[bool], threshold: int) -> Observation:
    """A CALCULATED check: at least `threshold` children healthy; 0 is always healthy."""
    healthy = sum(children)
    return Observation(
        healthy >= threshold, f"{healthy} of the child health checks are healthy, {threshold} are needed."
    )


def choose(records: Iterable[Any], healthy: Callable[[str], bool]) -> Any:
    """The record set of a name and type that is answered: the simple one, or the failover record; `None` without any.

    `healthy` is asked by health check id. Weighted, latency and geolocation records are not chosen among: the first answers.
    """
    by_role: dict[str, Any] = {}
    for record in records:
        if not record.failover:
            return record
        by_role[record.failover] = record
    primary, secondary = by_role.get("PRIMARY"), by_role.get("SECONDARY")

    def well(record: Any) -> bool:
        return record is not None and (not record.health_check_id or healthy(record.health_check_id))

    if well(primary) or not well(secondary):
        return primary if primary is not None else secondary
    return secondary


def answer(records: Iterable[Any], name: str, kind: str, healthy: Callable[[str], bool]) -> Answer | None:
    """What a zone answers for a name and a type (`A`, `CNAME`, ...); a CNAME answers for every type.

    `None`: the zone has no such name. An answer without values: it has the name, and nothing of that type.
    """
    mine = [record for record in records if record.name.rstrip(".").lower() == name]
    for wanted in (kind, "CNAME"):
        found = choose([record for record in mine if record.type == wanted], healthy)
        if found is not None and found.records:
            return Answer(str(found.type), int(found.ttl or 0), tuple(str(value) for value in found.records))
    return Answer(kind, 0, ()) if mine else None
