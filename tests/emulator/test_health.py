"""Route 53's health checks: what they make of a metric, of their children and of silence; which record is answered."""

import itertools
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from dr_assets.emulator import EmbeddedAws
from dr_assets.emulator.cloudwatch.metrics import Datum
from dr_assets.emulator.route53 import health

from .conftest import PRIMARY, SECONDARY, Clients

GOOD, BAD = 1.0, 0.0


# -- the rules -----------------------------------------------------------------------------------------------------------

COPIED = {
    "Namespace": "Test",
    "MetricName": "up",
    "Dimensions": [{"Name": "Site", "Value": "primary"}],
    "Statistic": "Minimum",
    "Period": 60,
    "EvaluationPeriods": 2,
    "Threshold": 1.0,
    "ComparisonOperator": "LessThanThreshold",
}


@pytest.mark.parametrize(
    ("values", "insufficient", "last_known", "healthy", "known"),
    [
        # Oldest first; the last minute is at the right. Data decide, whatever the rule for missing data.
        ([GOOD, GOOD], "Unhealthy", False, True, True),
        ([GOOD, BAD], "Unhealthy", False, True, True),
        ([BAD, BAD], "Healthy", True, False, False),
        ([BAD, GOOD, None], "Unhealthy", False, True, True),
        ([BAD, BAD, None, None], "Healthy", True, False, False),
        # Silence.
        ([], "Healthy", False, True, False),
        ([], "Unhealthy", True, False, True),
        ([], "LastKnownStatus", True, True, True),
        ([], "LastKnownStatus", False, False, False),
        # One breaching minute is not enough where two are needed.
        ([None, BAD], "LastKnownStatus", True, True, True),
        ([None, BAD], "Unhealthy", True, False, True),
    ],
)
def test_a_metric(values: list[float | None], insufficient: str, last_known: bool, healthy: bool, known: bool) -> None:
    now = 6000.0
    data = [Datum.single(now - 60 * (len(values) - n), v) for n, v in enumerate(values) if v is not None]
    observation, then = health.observe_metric(data, health.metric_rule(COPIED, 1.0), now, insufficient, last_known)
    assert (observation.healthy, then) == (healthy, known), observation.reason


@pytest.mark.parametrize(
    ("children", "threshold", "healthy"),
    [
        ([True, True, True], 3, True),
        ([True, True, False], 3, False),
        ([True, True, False], 2, True),
        ([True, False, False], 2, False),
        ([False, False], 0, True),  # 0 is always healthy
        ([True, True], 3, False),  # more than there are is never
        ([], 1, False),
    ],
)
def test_children(children: list[bool], threshold: int, healthy: bool) -> None:
    assert health.observe_children(children, threshold).healthy is healthy


@dataclass
class Record:
    name: str
    failover: str = ""
    health_check_id: str = ""
    type: str = "CNAME"
    ttl: str = "60"
    records: list[str] = field(default_factory=lambda: ["there.example"])


@pytest.mark.parametrize(
    ("primary", "secondary", "expected"),
    [
        (True, True, "PRIMARY"),
        (True, False, "PRIMARY"),
        (False, True, "SECONDARY"),
        (False, False, "PRIMARY"),  # neither: the primary all the same
        (None, False, "PRIMARY"),  # without a check: always healthy
        (False, None, "SECONDARY"),
    ],
)
def test_failover_answers(primary: bool | None, secondary: bool | None, expected: str) -> None:
    states = {"p": primary, "s": secondary}
    records = [
        Record("db", "SECONDARY", "" if secondary is None else "s"),
        Record("db", "PRIMARY", "" if primary is None else "p"),
    ]
    assert health.choose(records, lambda check: bool(states[check])).failover == expected


def test_other_answers() -> None:
    simple = Record("db.x.", type="A", records=["10.0.0.1"])
    assert health.choose([], lambda _: True) is None
    assert health.choose([Record("db", "SECONDARY", "s")], lambda _: False).failover == "SECONDARY"
    assert health.answer([simple], "db.x", "A", lambda _: True) == health.Answer("A", 60, ("10.0.0.1",))
    assert health.answer([simple], "db.x", "TXT", lambda _: True) == health.Answer("TXT", 0, ())
    assert health.answer([simple], "other.x", "A", lambda _: True) is None
    alias = Record("Db.X", records=["p.example"])
    assert health.answer([alias], "db.x", "A", lambda _: True) == health.Answer("CNAME", 60, ("p.example",))


# -- over the API --------------------------------------------------------------------------------------------------------


class Bench:
    """Alarms on metrics of their own ("the minimum of two minutes is under 1"), and checks on them."""

    def __init__(self, aws: EmbeddedAws, client: Clients, name: str) -> None:
        self.aws, self.client, self.name = aws, client, name
        self.route53 = client("route53")
        self._number = itertools.count()

    def alarm(self, metric: str, region: str = PRIMARY, **more: Any) -> str:
        wanted = {
            "AlarmName": f"{self.name}-{metric}",
            "Namespace": "Test",
            "MetricName": f"{self.name}-{metric}",
            "Statistic": "Minimum",
            "Period": 60,
            "EvaluationPeriods": 2,
            "Threshold": 1.0,
            "ComparisonOperator": "LessThanThreshold",
            **more,
        }
        self.client("cloudwatch", region).put_metric_alarm(**{k: v for k, v in wanted.items() if v is not None})
        return f"{self.name}-{metric}"

    def put(self, metric: str, *values: float, region: str = PRIMARY, **more: Any) -> None:
        """Values of the last minutes, the newest last."""
        now = datetime.now(timezone.utc).replace(second=0, microsecond=0)
        data = [
            {"MetricName": f"{self.name}-{metric}", "Value": v, "Timestamp": now - timedelta(minutes=len(values) - n)}
            | more
            for n, v in enumerate(values)
        ]
        self.client("cloudwatch", region).put_metric_data(Namespace="Test", MetricData=data)

    def check(self, metric: str, region: str = PRIMARY, **more: Any) -> str:
        config = {
            "Type": "CLOUDWATCH_METRIC",
            "AlarmIdentifier": {"Region": region, "Name": f"{self.name}-{metric}"},
            **more,
        }
        return self.create(config)

    def create(self, config: dict[str, Any]) -> str:
        made = self.route53.create_health_check(
            CallerReference=f"{self.name}-{next(self._number)}", HealthCheckConfig=config
        )
        return str(made["HealthCheck"]["Id"])

    def update(self, check: str, **more: Any) -> None:
        self.route53.update_health_check(HealthCheckId=check, **more)

    def healthy(self, check: str) -> bool:
        observations = self.route53.get_health_check_status(HealthCheckId=check)["HealthCheckObservations"]
        statuses = {each["StatusReport"]["Status"].split(":")[0] for each in observations}
        assert statuses in ({"Success"}, {"Failure"})
        return statuses == {"Success"}


@pytest.fixture
def bench(aws: EmbeddedAws, client: Clients, name: str) -> Bench:
    return Bench(aws, client, name)


def test_it_reads_the_metric_and_not_the_alarms_state(bench: Bench) -> None:
    alarm = bench.alarm("up")
    check = bench.check("up")
    assert bench.healthy(check)  # new: nothing is known
    cloudwatch = bench.client("cloudwatch")
    cloudwatch.set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="a rehearsal")
    assert bench.healthy(check)
    bench.put("up", BAD, BAD)
    cloudwatch.set_alarm_state(AlarmName=alarm, StateValue="OK", StateReason="a rehearsal")
    assert not bench.healthy(check)  # before the alarm has been evaluated


def test_the_treatment_of_missing_data_is_not_the_alarms(bench: Bench) -> None:
    alarm = bench.alarm("up", TreatMissingData="breaching")
    check = bench.check("up", InsufficientDataHealthStatus="Healthy")
    bench.aws.control.alarms(evaluate=True)
    state = bench.client("cloudwatch").describe_alarms(AlarmNames=[alarm])["MetricAlarms"][0]["StateValue"]
    assert (state, bench.healthy(check)) == ("ALARM", True)


def test_silence(bench: Bench) -> None:
    bench.alarm("up")
    check = bench.check("up", InsufficientDataHealthStatus="LastKnownStatus")
    bench.put("up", BAD, BAD)
    assert not bench.healthy(check)
    bench.aws.control.alarms(pace=600)  # minutes of a tenth of a second: what was put is long ago
    assert not bench.healthy(check)
    bench.update(check, InsufficientDataHealthStatus="Healthy")
    assert bench.healthy(check)
    bench.update(check, InsufficientDataHealthStatus="LastKnownStatus")
    assert not bench.healthy(check)  # the metric's last state, not the result without data
    bench.aws.control.alarms(pace=1)
    bench.alarm("fine")
    other = bench.check("fine", InsufficientDataHealthStatus="Unhealthy")
    bench.put("fine", GOOD, GOOD)
    assert bench.healthy(other)
    bench.aws.control.alarms(pace=600)
    assert not bench.healthy(other)


def test_aws_07_a_check_is_blind_to_a_high_resolution_metric_and_refused_on_one(bench: Bench) -> None:
    """ "Route 53 does not support high-resolution metrics" (Route 53 API, AlarmIdentifier)."""
    bench.alarm("fast")
    check = bench.check("fast", InsufficientDataHealthStatus="Healthy")
    bench.put("fast", BAD, BAD)
    assert not bench.healthy(check)
    bench.put("fast", BAD, StorageResolution=1)
    assert bench.healthy(check)  # there are no data for it any more
    with pytest.raises(ClientError, match="high-resolution"):
        bench.check("fast")
    bench.put("slow", BAD, BAD, StorageResolution=60)
    bench.alarm("slow")
    assert not bench.healthy(bench.check("slow"))


def status_of(bench: Bench, check: str) -> list[float]:
    now = datetime.now(timezone.utc)
    query = {
        "Namespace": "AWS/Route53",
        "MetricName": "HealthCheckStatus",
        "Dimensions": [{"Name": "HealthCheckId", "Value": check}],
    }
    found = bench.client("cloudwatch", "us-east-1").get_metric_data(
        MetricDataQueries=[{"Id": "s", "MetricStat": {"Metric": query, "Period": 60, "Stat": "Minimum"}}],
        StartTime=now - timedelta(minutes=5),
        EndTime=now + timedelta(minutes=1),
    )
    return [float(value) for value in found["MetricDataResults"][0]["Values"]]


def test_aws_08_every_check_has_a_metric_also_a_calculated_one(bench: Bench) -> None:
    """Route 53 developer guide, "Monitoring health checks using CloudWatch": 1 healthy, 0 not; in us-east-1."""
    bench.aws.control.answers(metric_delay_seconds=0.0)
    bench.alarm("up")
    check = bench.check("up")
    parent = bench.create({"Type": "CALCULATED", "ChildHealthChecks": [check], "HealthThreshold": 1})
    bench.put("up", BAD, BAD)
    bench.aws.control.alarms(evaluate=True)
    assert (status_of(bench, check), status_of(bench, parent)) == ([0.0], [0.0])
    bench.aws.control.answers(metric_delay_seconds=120.0)
    assert status_of(bench, check) == []
    bench.aws.control.answers(metric_delay_seconds=0.0)


def test_aws_08_route_53_takes_five_calls_a_second(bench: Bench) -> None:
    """Developer guide, "Quotas": "Five requests per second per AWS account", then HTTP 400 with the code Throttling."""
    time.sleep(1.1)  # calls of the last second count
    bench.aws.control.answers(route53_calls_per_second=5.0)
    once = boto3.client(
        "route53",
        "us-east-1",
        endpoint_url=bench.aws.endpoint_url,
        config=Config(retries={"total_max_attempts": 1}),
        aws_access_key_id="AKIADRASSETSLOCAL000",
        aws_secret_access_key="local",
    )
    codes = []
    for _ in range(12):
        try:
            once.list_health_checks(MaxItems="1")
            codes.append("")
        except ClientError as error:
            assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 400
            codes.append(error.response["Error"]["Code"])
    assert set(codes) == {"", "Throttling"}
    assert codes[:5] == [""] * 5
    time.sleep(1.1)
    assert "HealthChecks" in once.list_health_checks(MaxItems="1")  # admitted again
    bench.aws.control.answers(route53_calls_per_second=0.0)


def test_inverted_and_disabled(bench: Bench) -> None:
    bench.alarm("up")
    check = bench.check("up", Inverted=True)
    assert not bench.healthy(check)  # a new check that is inverted is unhealthy until there is data
    bench.put("up", BAD, BAD)
    assert bench.healthy(check)
    bench.update(check, Inverted=False)
    assert not bench.healthy(check)
    bench.update(check, Disabled=True)
    assert bench.healthy(check)  # a disabled check is always healthy ...
    bench.update(check, Inverted=True)
    assert not bench.healthy(check)  # ... and so, inverted, never
    bench.update(check, Inverted=False, Disabled=False)
    assert not bench.healthy(check)


def test_calculated(bench: Bench) -> None:
    for metric in "abc":
        bench.alarm(metric)
    children = [bench.check("a"), bench.check("b"), bench.check("c", Inverted=True)]
    parent = bench.create({"Type": "CALCULATED", "ChildHealthChecks": children, "HealthThreshold": 2})
    assert bench.healthy(parent)
    bench.put("a", BAD, BAD)
    assert not bench.healthy(parent)  # b alone
    bench.put("c", BAD, BAD)
    assert bench.healthy(parent)  # b, and c the other way round
    bench.update(parent, HealthThreshold=3)
    assert not bench.healthy(parent)
    bench.update(children[0], Disabled=True)
    assert bench.healthy(parent)
    bench.update(parent, HealthThreshold=4)
    assert not bench.healthy(parent)
    bench.update(parent, HealthThreshold=0)
    assert bench.healthy(parent)
    # Parents that count each other do not recurse.
    other = bench.create({"Type": "CALCULATED", "ChildHealthChecks": [parent], "HealthThreshold": 1})
    bench.update(parent, ChildHealthChecks=[other], HealthThreshold=1)
    bench.aws.control.alarms(evaluate=True)
    assert bench.healthy(other) and bench.healthy(parent)


def test_a_changed_alarm_is_followed_once_the_check_is_updated(bench: Bench) -> None:
    bench.alarm("up")
    check = bench.check("up")
    bench.put("up", BAD, BAD)
    bench.alarm("up", Threshold=-1.0)
    assert not bench.healthy(check)
    bench.update(check, AlarmIdentifier={"Region": PRIMARY, "Name": f"{bench.name}-up"})
    assert bench.healthy(check)


def test_a_dark_region_is_silent(bench: Bench) -> None:
    bench.alarm("up", SECONDARY)
    last, unhealthy = (
        bench.check("up", SECONDARY),
        bench.check("up", SECONDARY, InsufficientDataHealthStatus="Unhealthy"),
    )
    bench.put("up", GOOD, GOOD, region=SECONDARY)
    assert bench.healthy(last) and bench.healthy(unhealthy)
    bench.aws.control.fault("dark", region=SECONDARY)
    assert bench.healthy(last) and not bench.healthy(unhealthy)
    bench.aws.control.clear_faults()
    assert bench.healthy(last) and bench.healthy(unhealthy)


@pytest.mark.parametrize(
    ("unlike", "reason"),
    [
        ({"EvaluationPeriods": 3, "DatapointsToAlarm": 2}, "M out of N"),
        ({"Statistic": None, "ExtendedStatistic": "p99"}, "extended"),
        ({"Period": 10}, "high-resolution"),
    ],
)
def test_alarms_that_route53_refuses(bench: Bench, unlike: dict[str, Any], reason: str) -> None:
    bench.alarm("up", **unlike)
    with pytest.raises(ClientError, match=reason) as caught:
        bench.check("up")
    assert caught.value.response["Error"]["Code"] == "InvalidInput"
