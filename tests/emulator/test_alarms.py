"""CloudWatch's alarms: the documented tables row by row, then states, notifications and history over the API."""

import itertools
import json
import math
import time
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from dr_assets.emulator import EmbeddedAws
from dr_assets.emulator.cloudwatch import alarms, metrics
from dr_assets.emulator.cloudwatch.alarms import Point, Rule
from dr_assets.emulator.cloudwatch.metrics import Datum, Series, Store
from tests.support.principal import let_topic_send

from .conftest import PRIMARY, SECONDARY, Clients

STATES = ("OK", "ALARM", "INSUFFICIENT_DATA")
RETAIN = "RETAIN"
SERIES = Series("N", "m", frozenset({("D", "d")}))


def rule(to_alarm: int = 3, periods: int = 3, **more: Any) -> Rule:
    wanted: dict[str, Any] = {
        "statistic": "Maximum",
        "period": 60,
        "periods": periods,
        "to_alarm": to_alarm,
        "threshold": 10.0,
        "comparison": "GreaterThanThreshold",
        **more,
    }
    return Rule("N", "m", frozenset({("D", "d")}), **wanted)


def points(text: str) -> list[Point | None]:
    """`0` does not breach, `X` does, `-` is missing: as the user guide writes them, the newest at the right."""
    values = {"0": 1.0, "X": 99.0, "-": None}
    found = [values[sign] for sign in text.split()]
    return [None if value is None else Point(60.0 * n, value) for n, value in enumerate(found)]


def assert_state(text: str, of: Rule, expected: str) -> None:
    for before in STATES:
        verdict = alarms.judge(points(text), of, alarms.state_of(before))
        assert verdict.state == (before if expected == RETAIN else expected), (text, of.missing, before, verdict.reason)


# -- the user guide's tables: "How alarm state is evaluated when data is missing" ----------------------------------------

TREATMENTS = ("missing", "ignore", "breaching", "notBreaching")
INSUFFICIENT = "INSUFFICIENT_DATA"
THREE_OF_THREE = {
    "0 - X - X": ("OK", "OK", "OK", "OK"),
    "0 - - - -": ("OK", "OK", "OK", "OK"),
    "- - - - -": (INSUFFICIENT, RETAIN, "ALARM", "OK"),
    "0 X X - X": ("ALARM", "ALARM", "ALARM", "ALARM"),
    "- - X - -": ("ALARM", RETAIN, "ALARM", "OK"),
}
TWO_OF_THREE = {
    "0 - X - X": ("ALARM", "ALARM", "ALARM", "ALARM"),
    "0 0 X 0 X": ("ALARM", "ALARM", "ALARM", "ALARM"),
    "0 - X - -": ("OK", "OK", "ALARM", "OK"),
    "- - - - 0": ("OK", "OK", "ALARM", "OK"),
    "- - - X -": ("ALARM", RETAIN, "ALARM", "OK"),
}
ROWS = [
    (to_alarm, text, treatment, expected)
    for to_alarm, table in ((3, THREE_OF_THREE), (2, TWO_OF_THREE))
    for text, row in table.items()
    for treatment, expected in zip(TREATMENTS, row, strict=True)
]


@pytest.mark.parametrize(("to_alarm", "text", "treatment", "expected"), ROWS)
def test_the_documented_tables(to_alarm: int, text: str, treatment: str, expected: str) -> None:
    assert_state(text, rule(to_alarm, missing=treatment), expected)


@pytest.mark.parametrize(
    ("to_alarm", "text", "expected"),
    [
        # "Avoiding premature transitions to alarm state": the next datapoint may be good.
        (3, "- - - - X", RETAIN),
        (3, "- - - X -", RETAIN),
        (3, "- - X - -", "ALARM"),
        (3, "- X - - X", "ALARM"),
        (3, "- - - X 0", "OK"),
        (3, "- - X - 0", "OK"),
        (2, "- - - - X", RETAIN),
        (2, "- - - X X", "ALARM"),
        (1, "- - - - X", "ALARM"),
    ],
)
def test_premature_alarms(to_alarm: int, text: str, expected: str) -> None:
    assert_state(text, rule(to_alarm), expected)


@pytest.mark.parametrize(
    ("of", "text", "expected"),
    [
        # Enough real datapoints: the newest N decide, older ones and the treatment do not matter.
        (rule(3, missing="breaching"), "X X 0 0 0", "OK"),
        (rule(3, missing="notBreaching"), "0 0 X X X", "ALARM"),
        (rule(2, missing="ignore"), "X X 0 0 X", "OK"),
        (rule(1), "0 0 0 X 0", "ALARM"),
        (rule(1), "X X 0 0 0", "OK"),
        # M breaching ones are there: whatever the missing ones were, it would be an alarm.
        (rule(2, missing="ignore"), "- - - X X", "ALARM"),
        (rule(1, missing="ignore"), "- - - - X", "ALARM"),
        (rule(2, missing="notBreaching"), "- - - X X", "ALARM"),
        # N = 1 reads back, too.
        (rule(1, 1, missing="breaching"), "0 - -", "OK"),
        (rule(1, 1, missing="breaching"), "- - -", "ALARM"),
        (rule(1, 1, missing="notBreaching"), "X - -", "ALARM"),
        (rule(1, 1), "- - -", INSUFFICIENT),
    ],
)
def test_m_of_n(of: Rule, text: str, expected: str) -> None:
    assert_state(text, of, expected)


@pytest.mark.parametrize(
    ("comparison", "below", "equal", "above"),
    [
        ("GreaterThanThreshold", False, False, True),
        ("GreaterThanOrEqualToThreshold", False, True, True),
        ("LessThanThreshold", True, False, False),
        ("LessThanOrEqualToThreshold", True, True, False),
    ],
)
def test_comparisons(comparison: str, below: bool, equal: bool, above: bool) -> None:
    of = rule(comparison=comparison)
    assert [of.breaches(value) for value in (9.0, 10.0, 11.0)] == [below, equal, above]


@pytest.mark.parametrize(
    ("name", "singles", "with_a_set"),
    [
        ("Average", 4.0, 22 / 6),
        ("Sum", 12.0, 22.0),
        ("Minimum", 1.0, 1.0),
        ("Maximum", 8.0, 9.0),
        ("SampleCount", 3.0, 6.0),
        ("p50", 3.0, 3.0),
        ("p100", 8.0, 8.0),
        ("p75", 5.5, 5.5),
    ],
)
def test_statistics(name: str, singles: float, with_a_set: float) -> None:
    data = [Datum.single(0, value) for value in (3.0, 1.0, 8.0)]
    assert metrics.statistic(name, data) == singles
    # A set of three values: 1, 0 and 9. Percentiles cannot be had from it.
    assert metrics.statistic(name, [*data, Datum(0, 1.0, 9.0, 10.0, 3.0)]) == pytest.approx(with_a_set)


def test_a_percentile_of_sets_alone_is_missing_and_others_are_refused() -> None:
    assert metrics.statistic("p95", [Datum(0, 1.0, 9.0, 10.0, 3.0)]) is None
    assert alarms.datapoints([Datum(30, 1, 9, 10, 3)], rule(1, 1, statistic="p95"), 60.0) == [None] * 3
    with pytest.raises(ValueError, match="tm99"):
        metrics.statistic("tm99", [Datum.single(0, 1.0)])


def test_the_running_minute_does_not_count_yet() -> None:
    data = [Datum.single(59.0, 1.0), Datum.single(61.0, 99.0)]
    assert alarms.datapoints(data, rule(1, 1), 119.9)[-1] == Point(0.0, 1.0)
    assert alarms.datapoints(data, rule(1, 1), 120.0)[-1] == Point(60.0, 99.0)


def test_five_minutes_slide_with_the_minute() -> None:
    """The user guide's example: at the end of minute 5 minutes 1 to 5 are read, at the end of minute 6 minutes 2 to 6."""
    start = 1_800_000_060.0  # not where five minutes of the clock begin
    data = [Datum.single(start + 60 * minute + 1, float(minute + 1)) for minute in range(10)]
    total = rule(1, 1, period=300, statistic="Sum")
    assert alarms.datapoints(data, total, start + 300)[-1] == Point(start, 1 + 2 + 3 + 4 + 5)
    assert alarms.datapoints(data, total, start + 360)[-1] == Point(start + 60, 2 + 3 + 4 + 5 + 6)


@pytest.mark.parametrize(
    ("period", "periods", "seconds"),
    [(10, 1, 10), (30, 3, 10), (60, 2, 60), (300, 3, 60), (3600, 24, 60), (3600, 25, 3600)],
)
def test_how_often_it_is_evaluated(period: int, periods: int, seconds: float) -> None:
    assert rule(1, periods, period=period).interval == seconds
    # Below a minute the pace changes nothing: a process that puts such a metric runs in real time.
    short = period < 60
    faster = rule(1, periods, period=period, pace=10.0)
    assert faster.interval == (seconds if short else seconds / 10)
    assert faster.seconds == (period if short else period / 10)


def silence(look_back: int, **more: Any) -> tuple[list[float], int]:
    """Seconds from the last of 40 beats to ALARM for every phase of the beats, and how often it was in ALARM before."""
    gap = more.pop("gap")
    beat_alarm = rule(
        3,
        statistic="SampleCount",
        period=10,
        threshold=1.0,
        comparison="LessThanThreshold",
        missing="breaching",
        look_back=look_back,
        **more,
    )
    delays, false = [], 0
    for phase in range(0, 60, 3):
        beats = [Datum.single(1_800_000_000.0 + phase + gap * n, 1.0) for n in range(40)]
        at, state = math.floor(beats[20].at / 10) * 10.0, alarms.state_of("OK")
        while at <= beats[-1].at or state != "ALARM":
            at += beat_alarm.interval
            state = alarms.evaluate([beat for beat in beats if beat.at <= at], beat_alarm, at, state).state
            false += state == "ALARM" and at <= beats[-1].at
        delays.append(at - beats[-1].at)
    return delays, false


@pytest.mark.parametrize("look_back", range(2, 8))
@pytest.mark.parametrize("gap", [5, 30, 50])
def test_silence_breaches_within_120_seconds_whatever_the_look_back(look_back: int, gap: int) -> None:
    """User guide, "How alarm state is evaluated when data is missing": a real datapoint anywhere in the evaluation range is used
    before a missing one, so silence breaches only once fewer than N are left there. How long the range is, is not documented."""
    delays, false = silence(look_back, gap=gap)
    assert false == 0
    assert max(delays) <= 110


def test_beats_more_than_the_shortest_range_apart_are_false_alarms() -> None:
    assert silence(2, gap=55)[1] > 0


def test_how_far_back_an_alarm_reads_is_a_switch(aws: EmbeddedAws) -> None:
    assert aws.control.answers()["alarm_look_back_periods"] == 2
    assert aws.control.answers(alarm_look_back_periods=7)["alarm_look_back_periods"] == 7
    for nonsense in (1, 8):
        with pytest.raises(ValueError, match="between 2 and 7"):
            aws.control.answers(alarm_look_back_periods=nonsense)


def test_samples_of_another_unit_are_ignored_where_the_alarm_names_one() -> None:
    data = [Datum.single(1, 5.0, "Seconds"), Datum.single(2, 7.0, "Milliseconds"), Datum.single(3, 9.0)]
    found = [alarms.datapoints(data, rule(1, 1, unit=unit), 60.0)[-1] for unit in (None, "Seconds", "None", "Percent")]
    assert found == [Point(0.0, 9.0), Point(0.0, 5.0), Point(0.0, 9.0), None]


def test_reasons_in_cloudwatchs_words() -> None:
    at = datetime(2026, 11, 24, 2, 50, tzinfo=timezone.utc).timestamp()

    def reason(values: list[float | None], of: Rule) -> str:
        found = [None if value is None else Point(at + 60 * n, value) for n, value in enumerate(values)]
        return alarms.judge(found, of, "OK").reason

    assert reason([1.0, 99.0, 98.0], rule(2, 2)) == (
        "Threshold Crossed: 2 out of the last 2 datapoints [98.0 (24/11/26 02:52:00), 99.0 (24/11/26 02:51:00)] were "
        "greater than the threshold (10.0) (minimum 2 datapoints for OK -> ALARM transition)."
    )
    assert reason([1.0, 99.0, 2.0], rule(2, 2)) == (
        "Threshold Crossed: 1 out of the last 2 datapoints [2.0 (24/11/26 02:52:00)] was not greater than the threshold "
        "(10.0) (minimum 1 datapoint for ALARM -> OK transition)."
    )
    assert reason([None] * 4, rule(2, 2, missing="breaching")) == (
        "Threshold Crossed: no datapoints were received for 2 periods and 2 missing datapoints were treated as [Breaching]."
    )
    assert reason([None] * 3, rule(1, 1)) == "Insufficient Data: 1 datapoint was unknown."
    # Where missing data decide, the reason does not claim that real datapoints breach.
    assert reason([None, None, 1.0], rule(2, missing="breaching")) == (
        "Threshold Crossed: 2 missing datapoints were treated as [Breaching]."
    )


# -- the store of samples ------------------------------------------------------------------------------------------------


def test_a_series_keeps_its_order_and_does_not_grow_for_ever() -> None:
    store = Store()
    for at in (5.0, 1.0, 3.0, 3.0):
        store.add(SERIES, Datum.single(at, at))
    assert [datum.at for datum in store.between(SERIES, 0)] == [1.0, 3.0, 3.0, 5.0]
    assert [datum.at for datum in store.between(SERIES, 1.0, 5.0)] == [1.0, 3.0, 3.0]
    for n in range(metrics.KEPT + 10):
        store.add(SERIES, Datum.single(10.0 + n, 0.0))
    kept = store.between(SERIES, 0)
    assert (len(kept), kept[-1].at) == (metrics.KEPT, 10.0 + metrics.KEPT + 9)
    store.add(SERIES, Datum.single(kept[-1].at + metrics.KEPT_SECONDS + 1, 1.0))
    assert len(store.between(SERIES, 0)) == 1
    assert store.series() == [SERIES]


def test_a_published_sample_replaces_that_of_its_minute_alone() -> None:
    store = Store()
    store.add(SERIES, Datum.single(70.0, 1.0))  # a sample that was put is not replaced
    for n in range(1000):
        at = 60.0 + n * 0.1
        store.publish(SERIES, Datum.single(at, float(n)), at // 60 * 60)
    assert [datum.total for datum in store.between(SERIES, 60, 120)] == [1.0, 599.0]
    assert [datum.total for datum in store.between(SERIES, 120)] == [999.0]


# -- over the API --------------------------------------------------------------------------------------------------------


class Bench:
    """One alarm on a metric of its own, its topic, and a queue behind the topic."""

    def __init__(self, aws: EmbeddedAws, client: Clients, name: str, region: str = PRIMARY) -> None:
        self.aws, self.name, self.region = aws, name, region
        self.cloudwatch, self.sns, self.sqs = (client(each, region) for each in ("cloudwatch", "sns", "sqs"))
        self.topic = self.sns.create_topic(Name=name)["TopicArn"]
        self.queue = self.sqs.create_queue(QueueName=name)["QueueUrl"]
        arn = let_topic_send(self.sqs, self.queue, self.topic)
        self.sns.subscribe(TopicArn=self.topic, Protocol="sqs", Endpoint=arn)

    def alarm(self, **more: Any) -> None:
        """Twice over 10 is an alarm; the topic receives every state."""
        wanted = {
            "AlarmName": self.name,
            "Namespace": "Test",
            "MetricName": self.name,
            "Statistic": "Minimum",
            "Period": 60,
            "EvaluationPeriods": 2,
            "Threshold": 10.0,
            "ComparisonOperator": "GreaterThanThreshold",
            "Dimensions": [{"Name": "Site", "Value": "primary"}],
            "AlarmActions": [self.topic],
            "OKActions": [self.topic],
            "InsufficientDataActions": [self.topic],
            "AlarmDescription": "for a test",
            **more,
        }
        self.cloudwatch.put_metric_alarm(**wanted)

    def put(self, *values: float, now: datetime | None = None, **more: Any) -> None:
        """Values of the last minutes, the newest last. That another minute may begin meanwhile changes nothing below."""
        now = (now or datetime.now(timezone.utc)).replace(second=0, microsecond=0)
        data = [
            {
                "MetricName": self.name,
                "Dimensions": [{"Name": "Site", "Value": "primary"}],
                "Value": value,
                "Timestamp": now - timedelta(minutes=len(values) - n),
                **more,
            }
            for n, value in enumerate(values)
        ]
        self.cloudwatch.put_metric_data(Namespace="Test", MetricData=data)

    def state(self, evaluate: bool = True) -> str:
        if evaluate:
            self.aws.control.alarms(evaluate=True)
        return str(self.cloudwatch.describe_alarms(AlarmNames=[self.name])["MetricAlarms"][0]["StateValue"])

    def received(self) -> list[dict[str, Any]]:
        """The notifications since the last time."""
        found: list[dict[str, Any]] = []
        while messages := self.sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                self.sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
                found.append(json.loads(message["Body"]))
        return found

    def history(self, **more: Any) -> list[dict[str, Any]]:
        return list(self.cloudwatch.describe_alarm_history(AlarmName=self.name, **more)["AlarmHistoryItems"])


@pytest.fixture
def bench(aws: EmbeddedAws, client: Clients, name: str) -> Bench:
    return Bench(aws, client, name)


@pytest.mark.parametrize(
    ("treatment", "expected"),
    [
        ("missing", INSUFFICIENT),
        ("ignore", INSUFFICIENT),
        ("breaching", "ALARM"),
        ("notBreaching", "OK"),
        (None, INSUFFICIENT),
    ],
)
def test_without_any_data(bench: Bench, treatment: str | None, expected: str) -> None:
    bench.alarm(**({"TreatMissingData": treatment} if treatment else {}))
    assert bench.state(evaluate=False) == INSUFFICIENT  # not before it has been evaluated
    assert bench.state() == expected
    assert [json.loads(each["Message"])["NewStateValue"] for each in bench.received()] == [expected][
        : expected != INSUFFICIENT
    ]


def test_each_transition_is_delivered_once(bench: Bench) -> None:
    bench.alarm()
    bench.put(50.0, 50.0)
    assert [bench.state() for _ in range(3)] == ["ALARM"] * 3
    (alarm,) = bench.received()
    bench.put(1.0, 2.0)  # the statistic is the minimum
    assert [bench.state() for _ in range(3)] == ["OK"] * 3
    (fine,) = bench.received()
    assert alarm["Subject"] == f'ALARM: "{bench.name}" in US East (N. Virginia)'
    assert alarm["TopicArn"] == bench.topic
    body = json.loads(alarm["Message"])
    arn = bench.cloudwatch.describe_alarms(AlarmNames=[bench.name])["MetricAlarms"][0]["AlarmArn"]
    moments = [body.pop(key) for key in ("StateChangeTime", "AlarmConfigurationUpdatedTimestamp")]
    assert all(datetime.strptime(each, "%Y-%m-%dT%H:%M:%S.%f%z").tzinfo for each in moments)
    assert body.pop("NewStateReason").startswith("Threshold Crossed: 2 out of the last 2 datapoints [50.0 (")
    assert body == {
        "AlarmName": bench.name,
        "AlarmDescription": "for a test",
        "AWSAccountId": "123456789012",
        "AlarmArn": arn,
        "NewStateValue": "ALARM",
        "OldStateValue": INSUFFICIENT,
        "Region": "US East (N. Virginia)",
        "OKActions": [bench.topic],
        "AlarmActions": [bench.topic],
        "InsufficientDataActions": [bench.topic],
        "Trigger": {
            "MetricName": bench.name,
            "Namespace": "Test",
            "StatisticType": "Statistic",
            "Statistic": "MINIMUM",
            "Unit": None,
            "Dimensions": [{"value": "primary", "name": "Site"}],
            "Period": 60,
            "EvaluationPeriods": 2,
            "ComparisonOperator": "GreaterThanThreshold",
            "Threshold": 10.0,
            "TreatMissingData": "missing",
            "EvaluateLowSampleCountPercentile": "",
        },
    }
    body = json.loads(fine["Message"])
    assert (body["OldStateValue"], body["NewStateValue"]) == ("ALARM", "OK")


def test_two_of_three(bench: Bench) -> None:
    bench.alarm(EvaluationPeriods=3, DatapointsToAlarm=2, Statistic="Average")
    bench.put(1.0, 50.0, 1.0)
    assert bench.state() == "OK"
    bench.put(60.0, 0.0, 60.0)  # averages 30.5, 25, 30.5
    assert bench.state() == "ALARM"


def test_values_sets_and_percentiles(bench: Bench) -> None:
    bench.alarm(Statistic="Sum", EvaluationPeriods=1)
    now = datetime.now(timezone.utc) - timedelta(minutes=1)
    datum = {"MetricName": bench.name, "Dimensions": [{"Name": "Site", "Value": "primary"}], "Timestamp": now}
    statistics = {"SampleCount": 2.0, "Sum": 5.0, "Minimum": 2.0, "Maximum": 3.0}
    bench.cloudwatch.put_metric_data(Namespace="Test", MetricData=[{**datum, "StatisticValues": statistics}])
    assert bench.state() == "OK"
    bench.cloudwatch.put_metric_data(
        Namespace="Test", MetricData=[{**datum, "Values": [1.0, 2.0], "Counts": [2.0, 2.0]}]
    )
    assert bench.state() == "ALARM"  # 5 + 2 × 1 + 2 × 2 = 11
    percentile = {"ExtendedStatistic": "p99", "EvaluationPeriods": 1}
    wanted = {key: value for key, value in percentile.items() if value}
    bench.cloudwatch.put_metric_alarm(
        AlarmName=bench.name,
        Namespace="Test",
        MetricName=bench.name,
        Period=60,
        Threshold=10.0,
        ComparisonOperator="GreaterThanThreshold",
        Dimensions=datum["Dimensions"],
        **wanted,
    )
    assert bench.state() == "OK"


def test_other_dimensions_and_namespaces_are_other_metrics(bench: Bench) -> None:
    bench.alarm(EvaluationPeriods=1)
    bench.put(1.0)
    bench.put(50.0, Dimensions=[{"Name": "Site", "Value": "secondary"}])
    bench.put(50.0, Dimensions=[{"Name": "Site", "Value": "primary"}, {"Name": "More", "Value": "x"}])
    bench.put(50.0, Dimensions=[])
    assert bench.state() == "OK"


def test_disabled_actions_and_a_topic_that_is_gone(bench: Bench) -> None:
    bench.alarm(ActionsEnabled=False)
    bench.put(50.0, 50.0)
    assert bench.state() == "ALARM"
    assert bench.received() == []
    assert [item["HistoryItemType"] for item in bench.history()] == ["StateUpdate", "ConfigurationUpdate"]
    bench.cloudwatch.enable_alarm_actions(AlarmNames=[bench.name])
    bench.sns.delete_topic(TopicArn=bench.topic)
    bench.put(1.0, 1.0)
    assert bench.state() == "OK"
    (action,) = bench.history(HistoryItemType="Action")
    assert action["HistorySummary"] == f"Failed to execute action {bench.topic}"


def test_a_state_that_was_set_lasts_until_the_next_evaluation(bench: Bench) -> None:
    bench.alarm()
    bench.put(1.0, 1.0)
    assert bench.state() == "OK"
    bench.received()
    bench.cloudwatch.set_alarm_state(AlarmName=bench.name, StateValue="ALARM", StateReason="a rehearsal")
    assert bench.state(evaluate=False) == "ALARM"
    (message,) = bench.received()
    assert json.loads(message["Message"])["NewStateReason"] == "a rehearsal"
    bench.cloudwatch.set_alarm_state(AlarmName=bench.name, StateValue="ALARM", StateReason="again")
    assert bench.received() == []  # no change, no action
    assert bench.state() == "OK"
    (message,) = bench.received()
    assert (json.loads(message["Message"])["OldStateValue"], json.loads(message["Message"])["NewStateValue"]) == (
        "ALARM",
        "OK",
    )


def test_history(bench: Bench) -> None:
    bench.alarm()
    bench.alarm(Threshold=20.0)
    bench.put(50.0, 50.0)
    assert bench.state() == "ALARM"
    bench.cloudwatch.delete_alarms(AlarmNames=[bench.name])
    newest_first = bench.history()
    assert [(item["HistoryItemType"], item["HistorySummary"]) for item in newest_first] == [
        ("ConfigurationUpdate", f'Alarm "{bench.name}" deleted'),
        ("Action", f"Successfully executed action {bench.topic}"),
        ("StateUpdate", "Alarm updated from INSUFFICIENT_DATA to ALARM"),
        ("ConfigurationUpdate", f'Alarm "{bench.name}" updated'),
        ("ConfigurationUpdate", f'Alarm "{bench.name}" created'),
    ]
    update = json.loads(newest_first[2]["HistoryData"])
    assert (update["oldState"]["stateValue"], update["newState"]["stateValue"]) == (INSUFFICIENT, "ALARM")
    assert bench.history(ScanBy="TimestampAscending") == newest_first[::-1]
    assert bench.history(EndDate=datetime.now(timezone.utc) - timedelta(hours=1)) == []
    assert bench.history(StartDate=datetime.now(timezone.utc) - timedelta(hours=1)) == newest_first
    pages = bench.cloudwatch.get_paginator("describe_alarm_history").paginate(
        AlarmName=bench.name, PaginationConfig={"PageSize": 2}
    )
    assert [item for page in pages for item in page["AlarmHistoryItems"]] == newest_first


def test_a_dark_regions_alarms_wait_for_the_light(aws: EmbeddedAws, client: Clients, name: str) -> None:
    there = Bench(aws, client, name, SECONDARY)
    there.alarm(TreatMissingData="breaching")
    aws.control.fault("dark", region=SECONDARY)
    aws.control.alarms(evaluate=True)
    aws.control.clear_faults()
    assert there.state(evaluate=False) == INSUFFICIENT
    assert there.state() == "ALARM"


def test_time_passes_by_itself_at_its_pace(bench: Bench) -> None:
    """As at AWS, only faster: without a request to evaluate."""
    bench.aws.control.alarms(pace=120)  # a period of a minute takes half a second
    bench.alarm(TreatMissingData="breaching", EvaluationPeriods=1)

    def until(wanted: str, meanwhile: Any = lambda: None) -> None:
        deadline = time.monotonic() + 60
        while bench.state(evaluate=False) != wanted:
            assert time.monotonic() < deadline
            meanwhile()
            time.sleep(0.05)

    def fine() -> None:
        datum = {"MetricName": bench.name, "Dimensions": [{"Name": "Site", "Value": "primary"}], "Value": 1.0}
        bench.cloudwatch.put_metric_data(Namespace="Test", MetricData=[datum])

    until("OK", fine)
    until("ALARM")  # nothing has been put since
    states = [json.loads(each["Message"])["NewStateValue"] for each in bench.received()]
    assert states[-2:] == ["OK", "ALARM"]
    assert all(one != other for one, other in itertools.pairwise(states))


def test_the_pace_is_a_setting_with_bounds(aws: EmbeddedAws) -> None:
    assert aws.control.alarms() == {"pace": 1.0}
    assert aws.control.alarms(pace=30) == {"pace": 30.0}
    assert aws.control.alarms(evaluate=True) == {"pace": 30.0}
    for nonsense in (0, -1, 0.5, 601, float("nan")):
        with pytest.raises(ValueError, match="pace"):
            aws.control.alarms(pace=nonsense)
    with pytest.raises(ValueError, match="speed"):
        aws.control._request("POST", "alarms", {"speed": 2})
    assert aws.control.alarms() == {"pace": 30.0}


# -- metrics over the API ------------------------------------------------------------------------------------------------


def test_get_metric_data(bench: Bench) -> None:
    now = datetime.now(timezone.utc)
    bench.put(1.0, 2.0, 3.0, Unit="Count", now=now)
    bench.put(10.0, 20.0, 30.0, Unit="Milliseconds", now=now)
    bench.put(7.0, Dimensions=[], now=now)

    def ask(stat: str, scan: str = "TimestampAscending", **more: Any) -> Any:
        dimensions = more.pop("Dimensions", [{"Name": "Site", "Value": "primary"}])
        metric = {"Namespace": more.pop("Namespace", "Test"), "MetricName": bench.name, "Dimensions": dimensions}
        query = {"Id": "q", "MetricStat": {"Metric": metric, "Period": 60, "Stat": stat, **more}}
        answer = bench.cloudwatch.get_metric_data(
            MetricDataQueries=[query], StartTime=now - timedelta(minutes=10), EndTime=now, ScanBy=scan
        )
        (found,) = answer["MetricDataResults"]
        assert len(found["Timestamps"]) == len(found["Values"])
        assert found["Timestamps"] == sorted(found["Timestamps"], reverse=scan != "TimestampAscending")
        assert all(at.second == 0 for at in found["Timestamps"])
        return found["Values"]

    assert ask("Sum") == [11.0, 22.0, 33.0]
    assert ask("Maximum", "TimestampDescending") == [30.0, 20.0, 10.0]
    assert ask("Average", Unit="Count") == [1.0, 2.0, 3.0]
    assert ask("p50") == [5.5, 11.0, 16.5]
    assert ask("SampleCount", Dimensions=[]) == [1.0]
    assert ask("Sum", Namespace="Other") == []
    with pytest.raises(ClientError) as caught:
        ask("tm99")
    assert caught.value.response["Error"]["Code"] == "NotImplemented"


def test_mathematics_statistics_and_lists_of_metrics_are_still_answered(bench: Bench) -> None:
    bench.put(1.0, 2.0)
    bench.put(5.0, Dimensions=[{"Name": "Site", "Value": "secondary"}])
    now = datetime.now(timezone.utc)
    metric = {"Namespace": "Test", "MetricName": bench.name, "Dimensions": [{"Name": "Site", "Value": "primary"}]}
    window: dict[str, Any] = {"StartTime": now - timedelta(minutes=10), "EndTime": now}
    queries = [
        {"Id": "m", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Sum"}, "ReturnData": False},
        {"Id": "e", "Expression": "SUM(m)"},
    ]
    answer = bench.cloudwatch.get_metric_data(MetricDataQueries=queries, **window)["MetricDataResults"]
    assert [each["Id"] for each in answer] == ["e"]
    found = bench.cloudwatch.get_metric_statistics(**metric, **window, Period=600, Statistics=["Sum", "Maximum"])
    assert sum(each["Sum"] for each in found["Datapoints"]) == 3.0
    # "After you create a metric, allow up to 15 minutes for the metric to appear" (CloudWatch API, ListMetrics).
    assert bench.cloudwatch.list_metrics(Namespace="Test", MetricName=bench.name)["Metrics"] == []
    bench.aws.control.answers(list_metrics_seconds=0.0)
    listed = bench.cloudwatch.list_metrics(Namespace="Test", MetricName=bench.name)["Metrics"]
    assert sorted(each["Dimensions"][0]["Value"] for each in listed) == ["primary", "secondary"]
    named = bench.cloudwatch.list_metrics(Namespace="Test", Dimensions=[{"Name": "Site", "Value": "secondary"}])[
        "Metrics"
    ]
    bench.aws.control.answers(list_metrics_seconds=900.0)
    assert bench.name in [each["MetricName"] for each in named]


def test_aws_05_a_metric_of_aws_is_late_and_fills_in(aws: EmbeddedAws, client: Clients) -> None:
    """AWS's own metrics are up to two minutes late (telegraf#2704); what is put by PutMetricData is there at once."""
    aws.control.answers(metric_delay_seconds=60.0)
    aws.control.alarms(pace=60)  # a minute of AWS's takes a second
    route53, cloudwatch = client("route53", "us-east-1"), client("cloudwatch", "us-east-1")
    check = route53.create_health_check(
        CallerReference=uuid4().hex, HealthCheckConfig={"Type": "TCP", "IPAddress": "192.0.2.1", "Port": 5432}
    )["HealthCheck"]["Id"]
    dimensions = [{"Name": "HealthCheckId", "Value": check}]

    def newest() -> list[datetime]:
        metric = {"Namespace": "AWS/Route53", "MetricName": "HealthCheckStatus", "Dimensions": dimensions}
        now = datetime.now(timezone.utc)
        found = cloudwatch.get_metric_data(
            MetricDataQueries=[{"Id": "s", "MetricStat": {"Metric": metric, "Period": 1, "Stat": "Minimum"}}],
            StartTime=now - timedelta(minutes=2),
            EndTime=now + timedelta(minutes=1),
        )
        return list(found["MetricDataResults"][0]["Timestamps"])

    begun = time.monotonic()
    aws.control.alarms(evaluate=True)
    assert newest() == []
    while not newest():
        assert time.monotonic() - begun < 30
        time.sleep(0.1)
    assert time.monotonic() - begun >= 1.0
    late = datetime.now(timezone.utc) - max(newest())
    assert late >= timedelta(seconds=1)
    for nonsense in (-1.0, 121.0):
        with pytest.raises(ValueError, match="between 0 and 120"):
            aws.control.answers(metric_delay_seconds=nonsense)
    bench_metric = {"MetricName": "own", "Value": 1.0}
    cloudwatch.put_metric_data(Namespace="Test", MetricData=[bench_metric])
    listed = cloudwatch.get_metric_statistics(
        Namespace="Test",
        MetricName="own",
        StartTime=datetime.now(timezone.utc) - timedelta(minutes=5),
        EndTime=datetime.now(timezone.utc) + timedelta(minutes=1),
        Period=600,
        Statistics=["Sum"],
    )
    assert listed["Datapoints"]
