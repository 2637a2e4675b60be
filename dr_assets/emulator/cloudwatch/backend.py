"""CloudWatch: alarms that are evaluated, notify, and keep their state and history; an indexed store of metrics.

Alarms are evaluated before each request whose answer can show that time has passed (`services.Service.shows_time`), and by the
thread of a server with databases. An alarm is due once a minute and never within its first minute, so an alarm without data keeps
its initial state for that long. Without alarms this costs nothing.
"""

import json
import math
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

from moto.cloudwatch import urls
from moto.cloudwatch.exceptions import ValidationError
from moto.cloudwatch.models import CloudWatchBackend, MetricAggregatedDatum, MetricDatum, cloudwatch_backends
from moto.cloudwatch.responses import CloudWatchResponse
from moto.core.responses import ActionResult
from moto.core.utils import utcnow

from dr_assets.emulator import dark_regions
from dr_assets.emulator.answers import answers
from dr_assets.emulator.clock import clock
from dr_assets.emulator.cloudwatch import alarms, metrics
from dr_assets.emulator.cloudwatch.alarms import Rule, dimension_set, epoch
from dr_assets.emulator.cloudwatch.metrics import Datum, Series
from dr_assets.emulator.extension import Extended, Extension
from dr_assets.emulator.permissions import may_publish

MINUTE = 60
HISTORY_KEPT = 10_000


class AlarmSchedule:
    """When alarms are evaluated, in every account and region.

    Attributes:
        next: no alarm is due before (seconds since the epoch).
    """

    def __init__(self) -> None:
        self.next = math.inf

    def reset(self) -> None:
        """There are no alarms any more."""
        self.next = math.inf

    def postpone(self) -> None:
        """Every alarm is due after one or two intervals from now, at the pace as it is."""
        for backend in self.backends():
            for alarm in backend.alarms.values():
                backend.postpone(alarm)

    @staticmethod
    def backends() -> Iterator["DrCloudWatchBackend"]:
        """The backends in use."""
        for account in list(cloudwatch_backends):
            yield from list(cloudwatch_backends[account].values())

    def pass_time(self, now: float, everything: bool = False) -> None:
        """Evaluate the alarms that are due, or all. Costs one comparison while none is due."""
        if now >= self.next or everything:
            self.next = min((backend.evaluate_due(now, everything) for backend in self.backends()), default=math.inf)


alarm_schedule = AlarmSchedule()


class DrCloudWatchBackend(Extended, CloudWatchBackend):  # type: ignore[misc]
    """A new alarm starts as INSUFFICIENT_DATA; an updated one keeps its state and its tags."""

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self.store = metrics.Store()
        self.due: dict[str, float] = {}
        self.changes: list[dict[str, Any]] = []

    # -- alarms --------------------------------------------------------------------------------------------------------

    def put_metric_alarm(self, name: str, *args: Any, tags: Any = None, **kwargs: Any) -> Any:
        """moto: starts as OK, loses the state at every update, and lets an update change tags (AWS ignores them)."""
        before = self.alarms.get(name)
        alarm = super().put_metric_alarm(name, *args, tags=None if before is not None else tags, **kwargs)
        if before is None:
            alarm.state_value = "INSUFFICIENT_DATA"
        else:
            for field in ("state_value", "state_reason", "state_reason_data", "state_updated_timestamp", "history"):
                setattr(alarm, field, getattr(before, field))
        alarm.state_transitioned_timestamp = getattr(before, "state_transitioned_timestamp", None)
        self._note(
            alarm,
            "ConfigurationUpdate",
            f'Alarm "{name}" {"created" if before is None else "updated"}',
            {"type": "Create" if before is None else "Update"},
        )
        self.postpone(alarm)
        return alarm

    def delete_alarms(self, alarm_names: list[str]) -> None:
        """The history outlives the alarm."""
        for name in alarm_names:
            if name in self.alarms:
                self._note(self.alarms[name], "ConfigurationUpdate", f'Alarm "{name}" deleted', {"type": "Delete"})
                self.due.pop(name, None)
        super().delete_alarms(alarm_names)

    def set_alarm_state(self, alarm_name: str, reason: str, reason_data: str, state_value: str) -> None:
        """Until the next evaluation. moto: runs no actions."""
        before = getattr(self.alarms.get(alarm_name), "state_value", None)
        reason_before = getattr(self.alarms.get(alarm_name), "state_reason", None)
        super().set_alarm_state(alarm_name, reason, reason_data, state_value)
        alarm = self.alarms[alarm_name]
        if before != state_value:
            self._changed(alarm, str(before), str(reason_before), time.time())
        self.postpone(alarm)

    def postpone(self, alarm: Any) -> None:
        """Due at the end of a period, but not within the next minute (10 s for short periods)."""
        rule = alarms.rule_of(alarm, clock.pace)
        if rule is not None:
            self.due[alarm.name] = _boundary(time.time(), rule.interval) + 2 * rule.interval
            alarm_schedule.next = min(alarm_schedule.next, self.due[alarm.name])

    def evaluate_due(self, now: float, everything: bool = False) -> float:
        """Evaluate the alarms that are due, or all; return when the next is due. Those of a dark region are skipped."""
        dark = dark_regions.is_dark(self.region_name) if self.alarms else False
        for alarm in list(self.alarms.values()):
            if not everything and now < self.due.get(alarm.name, 0.0):
                continue
            rule = alarms.rule_of(alarm, clock.pace)
            if rule is None:
                self.due[alarm.name] = math.inf
                continue
            self.due[alarm.name] = _boundary(now, rule.interval) + rule.interval
            if dark:
                continue
            verdict = alarms.evaluate(self.data(rule, now), rule, now, alarms.state_of(alarm.state_value))
            if verdict.state != alarm.state_value:
                before, reason = alarm.state_value, alarm.state_reason
                alarm.update_state(verdict.reason, alarms.reason_data(verdict, rule, now), verdict.state)
                self._changed(alarm, before, reason, now)
        return min((self.due[name] for name in self.alarms), default=math.inf)

    def data(self, rule: Rule, now: float) -> list[Datum]:
        """The samples of the alarm's metric in its evaluation range."""
        return self.readable(rule.series, now - rule.span - rule.interval)

    def readable(self, series: Series, since: float, until: float = math.inf) -> list[Datum]:
        """The samples of a series in a time, without those of AWS's own metrics that have not become readable yet."""
        if self.store.is_published(series):
            until = min(until, time.time() - answers().metric_delay_seconds / clock.pace)
        return self.store.between(series, since, until)

    def _changed(self, alarm: Any, before: str, reason: str, now: float) -> None:
        alarm.state_transitioned_timestamp = alarm.state_updated_timestamp
        states = {
            "oldState": {"stateValue": before, "stateReason": reason},
            "newState": {"stateValue": alarm.state_value, "stateReason": alarm.state_reason},
        }
        self._note(alarm, "StateUpdate", f"Alarm updated from {before} to {alarm.state_value}", states)
        if not alarm.actions_enabled:
            return
        actions = {
            "OK": alarm.ok_actions,
            "ALARM": alarm.alarm_actions,
            "INSUFFICIENT_DATA": alarm.insufficient_data_actions,
        }
        for arn in actions[alarm.state_value] or []:
            failure = self._publish(arn, alarm, before, now)
            summary = f"Successfully executed action {arn}"
            if failure is not None:
                summary = f"Failed to execute action {arn}" + (f'. Received error: "{failure}"' if failure else "")
            state = {"actionState": "Succeeded" if failure is None else "Failed", "notificationResource": arn}
            self._note(alarm, "Action", summary, state)

    def _publish(self, arn: str, alarm: Any, before: str, now: float) -> str | None:
        """Publish to a topic, or return the error that AWS writes into the history; other actions are not emulated and fail.

        Source: AWS re:Post, "How do I troubleshoot SNS notifications from CloudWatch alarms?".
        """
        from moto.sns.models import sns_backends

        parts = arn.split(":")
        if len(parts) < 6 or parts[2] != "sns":
            return ""
        topics = sns_backends[parts[4]][parts[3]]
        if arn not in topics.topics:
            return ""
        denied = may_publish("cloudwatch.amazonaws.com", arn, alarm.alarm_arn)
        if denied is not None and denied.kms:
            return "CloudWatch Alarms does not have authorization to access the SNS topic encryption key."
        if denied is not None:
            return f"Resource: {alarm.alarm_arn} is not authorized to perform: SNS:Publish on resource: {arn}"
        message = alarms.notification(alarm, self.account_id, before, now)
        topics.publish(message=message, arn=arn, subject=alarms.subject(alarm))
        return None

    def _note(self, alarm: Any, kind: str, summary: str, data: dict[str, Any]) -> None:
        self.changes.append(
            {
                "AlarmName": alarm.name,
                "AlarmType": "MetricAlarm" if alarm.rule is None else "CompositeAlarm",
                "Timestamp": utcnow(),
                "HistoryItemType": kind,
                "HistorySummary": summary,
                "HistoryData": json.dumps({"version": "1.0", **data}),
            }
        )
        del self.changes[:-HISTORY_KEPT]

    # -- metrics -------------------------------------------------------------------------------------------------------

    def put_metric_data(self, namespace: str, metric_data: list[dict[str, Any]]) -> None:
        """moto: one list of everything for ever."""
        super().put_metric_data(namespace, metric_data)
        for item in self.metric_data:
            self.store.add(Series(item.namespace, item.name, dimension_set(item.dimensions)), _datum(item))
        for each in metric_data:
            if int(each.get("StorageResolution") or MINUTE) < MINUTE:
                dimensions = frozenset((str(d["Name"]), str(d["Value"])) for d in each.get("Dimensions") or ())
                self.store.high_resolution.add(Series(namespace, each["MetricName"], dimensions))
        self.metric_data: list[Any] = []
        _forget()

    def publish(
        self, namespace: str, dimensions: dict[str, str], values: dict[str, float], unit: str | None = "Milliseconds"
    ) -> None:
        """AWS's own metrics: one sample a minute for each, readable `metric_delay_seconds` later.

        The running minute's sample is replaced by each newer one, so that without a delay the newest value is there at once.
        Minutes pass at the alarms' pace.
        """
        now = time.time()
        begun = _boundary(now, MINUTE / clock.pace)
        for name, value in values.items():
            series = Series(namespace, name, frozenset(dimensions.items()))
            self.store.publish(series, Datum.single(now, value, unit), begun)

    def get_metric_data(
        self, queries: list[dict[str, Any]], start_time: datetime, end_time: datetime, scan_by: str = ""
    ) -> Any:
        """moto: compares every period with every sample, whatever its namespace, and begins periods at any second."""
        if start_time >= end_time:
            raise ValidationError("The parameter EndTime must be greater than StartTime.")
        start = start_time.replace(second=0, microsecond=0)  # AWS rounds it down to the minute
        if any("MetricStat" not in query for query in queries):  # mathematics on metrics is moto's
            try:
                return super().get_metric_data(queries, start, end_time, scan_by)
            finally:
                _forget()
        return [
            self._answer(query, start, end_time, scan_by != "TimestampAscending")
            for query in queries
            if query.get("ReturnData", True)
        ]

    def _answer(self, query: dict[str, Any], start: datetime, end: datetime, descending: bool) -> dict[str, Any]:
        wanted = query["MetricStat"]
        name, unit, seconds = wanted["Metric"]["MetricName"], wanted.get("Unit"), int(wanted["Period"])
        if not metrics.STATISTIC.fullmatch(wanted["Stat"]):
            raise NotImplementedError(f"statistic {wanted['Stat']}")
        dimensions = frozenset((item["Name"], item["Value"]) for item in wanted["Metric"].get("Dimensions") or [])
        series, begin = Series(wanted["Metric"]["Namespace"], name, dimensions), epoch(start)
        periods: dict[int, list[Datum]] = {}
        for datum in self.readable(series, begin, epoch(end)):
            if not unit or unit == (datum.unit or "None"):
                periods.setdefault(math.floor((datum.at - begin) / seconds), []).append(datum)
        found = [
            (n, metrics.statistic(wanted["Stat"], data)) for n, data in sorted(periods.items(), reverse=descending)
        ]
        return {
            "id": query["Id"],
            "label": query.get("Label") or f"{name} {wanted['Stat']}",
            "values": [value for _, value in found if value is not None],
            "timestamps": [start + timedelta(seconds=n * seconds) for n, value in found if value is not None],
            "status_code": "Complete",
        }

    def get_all_metrics(self) -> list[Any]:
        """For what is still moto's: GetMetricStatistics and mathematics on metrics."""
        stored = [_as_moto_has_it(each, item) for each in self.store.series() for item in self.readable(each, 0)]
        return [*stored, *self.aws_metric_data]

    def get_filtered_metrics(self, metric_name: str, namespace: str, dimensions: list[dict[str, str]]) -> list[Any]:
        """ListMetrics: not a new metric at once. moto: compares every sample with every other."""
        shown = self.store.listed(time.time(), answers().list_metrics_seconds / clock.pace)
        known = [_as_moto_has_it(series, Datum.single(0, 0)) for series in shown]
        known += {
            (item.namespace, item.name, dimension_set(item.dimensions)): item for item in self.aws_metric_data
        }.values()
        _forget()
        return [item for item in known if item.filter(namespace, metric_name, dimensions)]


def _datum(item: Any) -> Datum:
    at = epoch(item.timestamp)
    if isinstance(item, MetricAggregatedDatum):
        return Datum(at, item.min, item.max, item.sum, item.sample_count, item.unit)
    return Datum.single(at, item.value, item.unit)


def _as_moto_has_it(series: Series, datum: Datum) -> Any:
    dimensions = [{"Name": name, "Value": value} for name, value in sorted(series.dimensions)]
    at = datetime.fromtimestamp(datum.at, timezone.utc).replace(tzinfo=None)
    if datum.count == 1:
        return MetricDatum(series.namespace, series.metric, datum.total, dimensions, at, datum.unit)
    return MetricAggregatedDatum(
        series.namespace, series.metric, datum.low, datum.high, datum.count, datum.total, dimensions, at, datum.unit
    )


def _forget() -> None:
    """Drop the copies of every sample that moto keeps for its dashboard."""
    MetricDatum.instances_tracked = []
    MetricAggregatedDatum.instances_tracked = []


def _boundary(at: float, seconds: float) -> float:
    """The last moment at which a period ended; alarms are due at such moments."""
    return math.floor(at / seconds) * seconds


class DrCloudWatch(CloudWatchResponse):  # type: ignore[misc]
    """The CloudWatch API."""

    def describe_alarm_history(self) -> ActionResult:
        """Changes of alarms, newest first. moto: not implemented."""
        name, kind = self._get_param("AlarmName"), self._get_param("HistoryItemType")
        since, until = self._get_param("StartDate"), self._get_param("EndDate")
        found = [
            item
            for item in self.cloudwatch_backend.changes
            if (not name or item["AlarmName"] == name)
            and (not kind or item["HistoryItemType"] == kind)
            and (not since or epoch(item["Timestamp"]) >= epoch(since))
            and (not until or epoch(item["Timestamp"]) <= epoch(until))
        ]
        if self._get_param("ScanBy") != "TimestampAscending":
            found.reverse()
        begin = int(self._get_param("NextToken") or 0)
        end = begin + int(self._get_param("MaxRecords") or 100)
        more = {"NextToken": str(end)} if end < len(found) else {}
        return ActionResult({"AlarmHistoryItems": found[begin:end], **more})


EXTENSION = Extension(
    backends=cloudwatch_backends,
    backend=DrCloudWatchBackend,
    urls=urls,
    responses=DrCloudWatch,
    pass_time=alarm_schedule.pass_time,
    pace_changed=alarm_schedule.postpone,
    reset=alarm_schedule.reset,
)
