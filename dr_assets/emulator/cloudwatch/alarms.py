"""Evaluation of a CloudWatch alarm: periods, M out of N, missing data, the state's reason and the notification. No I/O.

Source of the rules: Amazon CloudWatch User Guide, "Alarm evaluation" and "Configuring how CloudWatch alarms
treat missing data". Times are seconds since the epoch (UTC).
"""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from operator import ge, gt, le, lt
from typing import Any, Literal, cast

from dr_assets.emulator.answers import Answers, answers
from dr_assets.emulator.cloudwatch.metrics import STATISTIC, Datum, Series, statistic

State = Literal["OK", "ALARM", "INSUFFICIENT_DATA"]

SHORT_PERIOD = 60  # seconds; alarms with a shorter one are of high resolution
_OPERATORS = {
    "GreaterThanThreshold": (gt, "greater than"),
    "GreaterThanOrEqualToThreshold": (ge, "greater than or equal to"),
    "LessThanThreshold": (lt, "less than"),
    "LessThanOrEqualToThreshold": (le, "less than or equal to"),
}


@dataclass(frozen=True)
class Rule:
    """The part of an alarm that decides its state.

    Attributes:
        period: seconds; `pace` divides it, so that tests and demonstrations need not wait for minutes. Periods below a minute keep
            real time: their data comes from processes that do not run faster at a pace.
        periods / to_alarm: N and M of "M out of N datapoints".
        statistic: Average, Maximum, Minimum, Sum, SampleCount or a percentile as `p95`.
        look_back: how many periods more than N the alarm reads where data is missing.
        missing: `missing`, `ignore`, `breaching` or `notBreaching`.
    """

    namespace: str
    metric: str
    dimensions: frozenset[tuple[str, str]]
    statistic: str
    period: int
    periods: int
    to_alarm: int
    threshold: float
    comparison: str
    missing: str = "missing"
    unit: str | None = None
    pace: float = 1.0
    look_back: int = Answers.alarm_look_back_periods

    @property
    def seconds(self) -> float:
        """How long a period takes in real time (seconds)."""
        return self.period if self.period < SHORT_PERIOD else self.period / self.pace

    @property
    def series(self) -> Series:
        """The metric."""
        return Series(self.namespace, self.metric, self.dimensions)

    @property
    def interval(self) -> float:
        """How often the alarm is evaluated: every minute, every 10 s with short periods, every hour over more than a day."""
        if self.period < SHORT_PERIOD:
            return 10.0
        return (3600 if self.period * self.periods > 86_400 else 60) / self.pace

    @property
    def span(self) -> float:
        """The evaluation range: how far back the alarm reads, in seconds of real time."""
        return (self.periods + self.look_back) * self.seconds

    def breaches(self, value: float) -> bool:
        """Whether a datapoint is on the wrong side of the threshold."""
        return bool(_OPERATORS[self.comparison][0](value, self.threshold))


@dataclass(frozen=True)
class Point:
    """One period with data."""

    at: float
    value: float


@dataclass(frozen=True)
class Verdict:
    """The state and its reason as CloudWatch phrases it; `points` are the datapoints behind it, oldest first."""

    state: State
    reason: str
    points: tuple[Point, ...] = ()


def evaluate(data: Iterable[Datum], rule: Rule, now: float, state: State = "INSUFFICIENT_DATA") -> Verdict:
    """The state of an alarm at a moment. `state` is the one it is in: some rules keep it."""
    return judge(datapoints(data, rule, now), rule, state)


def datapoints(data: Iterable[Datum], rule: Rule, now: float) -> list[Point | None]:
    """One entry for each period of the evaluation range, oldest first; `None` is missing.

    The range ends with the last full minute (10 s, hour) and slides with it: a period of five minutes is no five minutes of
    the clock. What the running minute has so far is not in it.
    """
    end, count = math.floor(now / rule.interval) * rule.interval, rule.periods + rule.look_back
    begin = end - rule.span
    found: list[list[Datum]] = [[] for _ in range(count)]
    for datum in data:
        place = math.floor((datum.at - begin) / rule.seconds)
        if 0 <= place < count and (not rule.unit or rule.unit == (datum.unit or "None")):
            found[place].append(datum)
    points: list[Point | None] = []
    for n, some in enumerate(found):
        value = statistic(rule.statistic, some) if some else None
        points.append(None if value is None else Point(begin + n * rule.seconds, value))
    return points


def judge(points: Sequence[Point | None], rule: Rule, state: State) -> Verdict:
    """Datapoints (oldest first, `None` missing) to a state, by the documented rules.

    Enough real datapoints in the range: the newest N decide and missing ones do not matter. Too few: all real ones count,
    and as many missing ones as are needed to make N, treated as the alarm configures.
    """
    real = [point for point in points if point is not None]
    if len(real) >= rule.periods:
        return _decided(real[-rule.periods :], 0, rule)
    lacking = rule.periods - len(real)
    if rule.missing in ("breaching", "notBreaching"):
        return _decided(real, lacking, rule)
    if sum(rule.breaches(point.value) for point in real) >= rule.to_alarm:
        return _decided(real, 0, rule)  # whatever the missing ones might have been
    if not real:
        if rule.missing == "ignore":
            return Verdict(state, "Missing data is ignored: the state is kept.")
        return Verdict("INSUFFICIENT_DATA", f"Insufficient Data: {_counted(lacking)} {_was(lacking)} unknown.")
    if all(rule.breaches(point.value) for point in real):
        # "Premature" alarm: nothing but breaches, the oldest of them at least M periods back.
        oldest = next(len(points) - n for n, point in enumerate(points) if point is not None)
        if rule.missing == "missing" and oldest >= rule.to_alarm:
            return Verdict("ALARM", _reason(real, 0, rule, alarm=True), tuple(real))
        # The documents are silent on younger ones: neither OK nor ALARM is proven, so the state is kept.
        return Verdict(state, "Missing data: too few datapoints to decide, the state is kept.", tuple(real))
    return _decided(real, 0, rule)


def _decided(real: Sequence[Point], filled: int, rule: Rule) -> Verdict:
    breaching = sum(rule.breaches(point.value) for point in real)
    alarm = breaching + (filled if rule.missing == "breaching" else 0) >= rule.to_alarm
    return Verdict("ALARM" if alarm else "OK", _reason(real, filled, rule, alarm), tuple(real))


_TREATED = {"breaching": "Breaching", "notBreaching": "NonBreaching"}


def _reason(real: Sequence[Point], filled: int, rule: Rule, alarm: bool) -> str:
    treated = f"{filled} missing {_datapoints(filled)} {_was(filled)} treated as [{_TREATED.get(rule.missing)}]"
    if not real:
        return f"Threshold Crossed: no datapoints were received for {filled} period{'s'[: filled != 1]} and {treated}."
    shown = [point for point in real if rule.breaches(point.value) is alarm]
    if not shown:  # the missing ones decided
        return f"Threshold Crossed: {treated}."
    values = ", ".join(f"{p.value} ({_moment(p.at):%d/%m/%y %H:%M:%S})" for p in reversed(shown))
    hit = f"{_was(len(shown))}{'' if alarm else ' not'} {_OPERATORS[rule.comparison][1]}"
    least = rule.to_alarm if alarm else rule.periods - rule.to_alarm + 1
    change = "OK -> ALARM" if alarm else "ALARM -> OK"
    return (
        f"Threshold Crossed: {len(shown)} out of the last {len(real)} datapoints [{values}] {hit} the threshold "
        f"({rule.threshold})"
        + (f" and {treated}" if filled else "")
        + f" (minimum {_counted(least)} for {change} transition)."
    )


def _datapoints(count: int) -> str:
    return "datapoint" if count == 1 else "datapoints"


def _counted(count: int) -> str:
    return f"{count} {_datapoints(count)}"


def _was(count: int) -> str:
    return "was" if count == 1 else "were"


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)


def stamp(seconds: float) -> str:
    """A moment as CloudWatch writes it in notifications: `2026-11-24T02:50:00.000+0000`."""
    return f"{_moment(seconds):%Y-%m-%dT%H:%M:%S}.{int(seconds % 1 * 1000):03d}+0000"


def reason_data(verdict: Verdict, rule: Rule, now: float) -> str:
    """StateReasonData of a change that the metric brought about."""
    values = [point.value for point in verdict.points]
    start = {"startDate": stamp(verdict.points[0].at)} if verdict.points else {}
    body = {"version": "1.0", "queryDate": stamp(now), **start, "statistic": rule.statistic, "period": rule.period}
    return json.dumps({**body, "recentDatapoints": values, "threshold": rule.threshold})


# The names that notifications use for regions; others go by their code.
_REGIONS = {
    "us-east-1": "US East (N. Virginia)",
    "us-east-2": "US East (Ohio)",
    "us-west-1": "US West (N. California)",
    "us-west-2": "US West (Oregon)",
    "ca-central-1": "Canada (Central)",
    "eu-west-1": "EU (Ireland)",
    "eu-west-2": "EU (London)",
    "eu-west-3": "EU (Paris)",
    "eu-central-1": "EU (Frankfurt)",
    "eu-north-1": "EU (Stockholm)",
    "ap-southeast-1": "Asia Pacific (Singapore)",
    "ap-southeast-2": "Asia Pacific (Sydney)",
    "ap-northeast-1": "Asia Pacific (Tokyo)",
    "ap-south-1": "Asia Pacific (Mumbai)",
    "sa-east-1": "South America (Sao Paulo)",
}


def subject(alarm: Any) -> str:
    """The subject of the notification, at most 100 characters."""
    region = _REGIONS.get(alarm.region_name, alarm.region_name)
    return f'{alarm.state_value}: "{alarm.name}" in {region}'[:99]


def notification(alarm: Any, account: str, before: str, now: float) -> str:
    """The JSON text that CloudWatch publishes to a topic (user guide, "Notifying users on alarm changes")."""
    percentile = alarm.extended_statistic
    kind = (
        {"StatisticType": "ExtendedStatistic", "ExtendedStatistic": percentile}
        if percentile
        else {"StatisticType": "Statistic", "Statistic": str(alarm.statistic or "").upper()}
    )
    return json.dumps(
        {
            "AlarmName": alarm.name,
            "AlarmDescription": alarm.description,
            "AWSAccountId": account,
            "AlarmConfigurationUpdatedTimestamp": stamp(epoch(alarm.configuration_updated_timestamp)),
            "NewStateValue": alarm.state_value,
            "NewStateReason": alarm.state_reason,
            "StateChangeTime": stamp(now),
            "Region": _REGIONS.get(alarm.region_name, alarm.region_name),
            "AlarmArn": alarm.alarm_arn,
            "OldStateValue": before,
            "OKActions": list(alarm.ok_actions or []),
            "AlarmActions": list(alarm.alarm_actions or []),
            "InsufficientDataActions": list(alarm.insufficient_data_actions or []),
            "Trigger": {
                "MetricName": alarm.metric_name,
                "Namespace": alarm.namespace,
                **kind,
                "Unit": alarm.unit,
                "Dimensions": [{"value": d.value, "name": d.name} for d in alarm.dimensions or []],
                "Period": alarm.period,
                "EvaluationPeriods": alarm.evaluation_periods,
                **({"DatapointsToAlarm": alarm.datapoints_to_alarm} if alarm.datapoints_to_alarm else {}),
                "ComparisonOperator": alarm.comparison_operator,
                "Threshold": alarm.threshold,
                "TreatMissingData": alarm.treat_missing_data or "missing",
                "EvaluateLowSampleCountPercentile": alarm.evaluate_low_sample_count_percentile or "",
            },
        }
    )


def epoch(moment: datetime) -> float:
    """Seconds since the epoch; moto's own timestamps have no zone and mean UTC."""
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()


def rule_of(alarm: Any, pace: float) -> Rule | None:
    """The rule of one of moto's alarms; `None` where there is none to evaluate here (composite, metric mathematics)."""
    if alarm.rule is not None or alarm.metric_data_queries or not alarm.metric_name:
        return None
    name = str(alarm.extended_statistic or alarm.statistic)
    if alarm.comparison_operator not in _OPERATORS or not STATISTIC.fullmatch(name):
        return None
    if not alarm.period or not alarm.evaluation_periods or alarm.threshold is None:
        return None
    periods = int(alarm.evaluation_periods)
    return Rule(
        namespace=alarm.namespace,
        metric=alarm.metric_name,
        dimensions=dimension_set(alarm.dimensions),
        statistic=name,
        period=int(alarm.period),
        periods=periods,
        to_alarm=int(alarm.datapoints_to_alarm or periods),
        threshold=float(alarm.threshold),
        comparison=alarm.comparison_operator,
        missing=alarm.treat_missing_data or "missing",
        unit=alarm.unit,
        pace=pace,
        look_back=answers().alarm_look_back_periods,
    )


def dimension_set(dimensions: Iterable[Any]) -> frozenset[tuple[str, str]]:
    """Dimensions without their order."""
    return frozenset((str(item.name), str(item.value)) for item in dimensions or ())


def state_of(text: str) -> State:
    """A state that moto keeps as text."""
    return cast(State, text)
