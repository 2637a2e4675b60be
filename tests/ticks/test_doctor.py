"""`dr doctor`, line by line as docs/doctor.md lists them: each with its thing broken, every other as before."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from dr_assets.alerting.channels import CHANNELS
from dr_assets.aws import Aws, CallLog
from dr_assets.errors import DrError, StackFileError
from dr_assets.history.store import FolderStore
from dr_assets.resources.alarms.rows import WATCHERS
from dr_assets.stack import SITES, Stack
from dr_assets.ticks import doctor_host
from dr_assets.ticks.doctor import DoctorReport, Sources, examine
from dr_assets.ticks.doctor_host import Installation, Instigator
from tests.support.aws_double import check_params, fitting, operations

NOW = datetime(2026, 11, 27, 3, 0, tzinfo=timezone.utc)
AT = NOW.timestamp()
S = "l6p3z2w4"
THREADS = ("SENSOR", "SCHEDULER", "QUEUED_RUN_COORDINATOR", "MONITORING")
SENSORS = tuple(each for each in WATCHERS if each != "daemon")
LINES = [
    line.split("`")[1]
    for line in (Path(__file__).resolve().parents[2] / "docs" / "doctor.md").read_text().splitlines()
    if line.startswith("| `")
]
PASSWORD = "hunter2-of-the-database"


def installation(**changes: Any) -> Installation:
    healthy: dict[str, Any] = {
        "home": "/opt/dagster",
        "run_monitoring": True,
        "use_threads": True,
        "required": THREADS,
        "threads": dict.fromkeys(THREADS, (AT - 20, "daemon-1")),
        "sensors": dict.fromkeys(SENSORS, Instigator(True, AT - 4, "SKIPPED")),
        "schedules": dict.fromkeys(("verify_hourly", "history_daily"), Instigator(True, AT - 4, "SUCCESS")),
        "verified": AT - 1800,
    }
    return Installation(**{**healthy, **changes})


class FakeAws(Aws):
    """Canned answers by operation, each held against botocore's model; `broken[operation]` changes or raises one."""

    def __init__(self) -> None:
        self.log = CallLog()
        self.broken: dict[str, Callable[[str, dict[str, Any]], Any]] = {}

    def reads(self, account: str = "", memo: bool = False) -> Any:
        return SimpleNamespace(
            call=self.call, pages=lambda s, o, region, result, **p: self.call(s, o, region, **p)[result]
        )

    def call(self, service: str, operation: str, region: str, **params: Any) -> dict[str, Any]:
        check_params(service, operation, params)
        answer = getattr(self, operation)(region, **params)
        if operation in self.broken:
            answer = self.broken[operation](region, answer)
        fitting(operations(service)[operation].output_shape, answer, operation)
        return answer  # type: ignore[no-any-return]

    def get_caller_identity(self, region: str) -> dict[str, Any]:
        # STS API reference, GetCallerIdentity: example.
        who = "arn:aws:sts::123456789012:assumed-role/dr-assets/on-call"
        metadata = {"HTTPHeaders": {"date": format_datetime(NOW, usegmt=True)}}
        return {
            "UserId": "ARO123EXAMPLE123:on-call",
            "Account": "123456789012",
            "Arn": who,
            "ResponseMetadata": metadata,
        }

    def describe_alarms(self, region: str, AlarmNames: list[str]) -> dict[str, Any]:
        topic = f"arn:aws:sns:{region}:123456789012:db-events"
        alarm = {"ActionsEnabled": True, "AlarmActions": [topic], "StateValue": "OK"}
        return {"MetricAlarms": [{"AlarmName": name, **alarm} for name in AlarmNames]}

    def describe_alarm_history(self, region: str, **_: Any) -> dict[str, Any]:
        site = "primary" if region == "us-east-1" else "secondary"
        text = f"Successfully executed action arn:aws:sns:{region}:123456789012:db-events-{site}-{S}"
        old = "Failed to execute action arn:aws:sns:us-east-1:123456789012:other"
        return {
            "AlarmHistoryItems": [
                {"AlarmName": f"aurora-cpu-{site}-{S}", "HistoryItemType": "Action", "HistorySummary": text},
                {"AlarmName": f"aurora-cpu-{site}-{S}", "HistoryItemType": "Action", "HistorySummary": old},
                {"AlarmName": "of-another-team", "HistoryItemType": "Action", "HistorySummary": old},
            ]
        }

    def list_subscriptions_by_topic(self, region: str, TopicArn: str) -> dict[str, Any]:
        own = {"Protocol": "sqs", "Endpoint": TopicArn.replace(":sns:", ":sqs:"), "SubscriptionArn": f"{TopicArn}:1"}
        person = {"Protocol": "email", "Endpoint": "dba@example.com", "SubscriptionArn": f"{TopicArn}:2"}
        return {"Subscriptions": [own, person]}

    def get_queue_url(self, region: str, QueueName: str) -> dict[str, Any]:
        return {"QueueUrl": f"https://sqs.{region}.amazonaws.com/123456789012/{QueueName}"}

    def get_queue_attributes(self, region: str, QueueUrl: str, **_: Any) -> dict[str, Any]:
        assert QueueUrl.startswith(f"https://sqs.{region}.")
        return {"Attributes": {"ApproximateNumberOfMessages": "0"}}


class Host:
    """A healthy installation, to be broken."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.aws, self.store, self.environ = (
            FakeAws(),
            FolderStore(folder),
            {"DR_ALERT_SLACK_URL": "https://hooks.example.com/x"},
        )
        self.installation: Any = installation()
        self.stack: Any = stack
        self.definitions: Any = None

    def examine(self, deadline: float = 10.0) -> DoctorReport:
        def answer(value: Any) -> Any:
            if isinstance(value, Exception):
                raise value
            return value() if callable(value) else value

        return examine(
            Sources(
                stack=lambda: answer(self.stack),
                definitions=lambda _: answer(self.definitions),
                installation=lambda: answer(self.installation),
                store=lambda: answer(self.store),
                aws=lambda: answer(self.aws),
                environ=self.environ,
                clock=lambda: NOW,
            ),
            deadline,
        )

    def wrong(self) -> dict[str, tuple[str, str]]:
        report = self.examine()
        assert [line.name for line in report.lines] == LINES
        assert report.healthy == all(line.status == "ok" for line in report.lines)
        return {line.name: (line.status, line.detail) for line in report.lines if line.status != "ok"}


@pytest.fixture
def host(stack: Stack, tmp_path: Path) -> Host:
    return Host(stack, tmp_path)


def test_a_healthy_installation_has_only_good_lines_on_one_screen(host: Host) -> None:
    report = host.examine()
    assert [(line.name, line.status) for line in report.lines] == [(name, "ok") for name in LINES]
    assert len(report.lines) + 2 <= 24 and report.healthy
    assert DoctorReport.from_json(report.to_json(), "the report") == report


def alarm(state: str = "OK", **changes: Any) -> Callable[[str, dict[str, Any]], Any]:
    def change(region: str, answer: dict[str, Any]) -> dict[str, Any]:
        if region == "us-west-2":
            answer["MetricAlarms"][0] |= {"StateValue": state, **changes}
        return answer

    return change


def without_alarm(region: str, answer: dict[str, Any]) -> dict[str, Any]:
    return {"MetricAlarms": answer["MetricAlarms"][1:]}


def failed_action(region: str, answer: dict[str, Any]) -> dict[str, Any]:
    # AWS re:Post, "How do I troubleshoot SNS notifications from CloudWatch alarms?".
    text = (
        "Failed to execute action arn:aws:sns:us-east-1:123456789012:db-events-primary-l6p3z2w4. Received error: "
        '"CloudWatch Alarms does not have authorization to access the SNS topic encryption key."'
    )
    item = {"AlarmName": f"aurora-cpu-primary-{S}", "HistoryItemType": "Action", "HistorySummary": text}
    return {"AlarmHistoryItems": [item, *answer["AlarmHistoryItems"]]}


def own_queue_alone(region: str, answer: dict[str, Any]) -> dict[str, Any]:
    (queue, person) = answer["Subscriptions"]
    return {"Subscriptions": [queue, {**person, "SubscriptionArn": "PendingConfirmation"}]}


def ahead(seconds: float) -> Callable[[str, dict[str, Any]], Any]:
    """AWS's clock is ahead of ours."""
    date = format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)
    return lambda _, answer: {**answer, "ResponseMetadata": {"HTTPHeaders": {"date": date}}}


def thread(name: str, age: float, who: str = "daemon-1") -> dict[str, Any]:
    return {"threads": {**dict.fromkeys(THREADS, (AT - 20, "daemon-1")), name: (AT - age, who)}}


def sensor(name: str, *values: Any) -> dict[str, Any]:
    return {"sensors": {**installation().sensors, name: Instigator(*values)}}


INSTANCE: list[tuple[str, dict[str, Any], str, set[str]]] = [
    ("dagster", {"run_monitoring": False}, "run_monitoring is off", set()),
    ("dagster", {"use_threads": False}, "use_threads is off", set()),
    ("daemon", thread("SCHEDULER", 91), "SCHEDULER: 91 s ago", set()),
    ("daemon", thread("SENSOR", -3600), "SENSOR: in the future", set()),
    ("daemon", {"threads": {}}, "MONITORING: never", {"one-daemon"}),
    ("daemon", {"required": ()}, "requires none", {"one-daemon"}),
    ("one-daemon", thread("SENSOR", 5, "daemon-2"), "of 2 daemons", set()),
    ("sensors", sensor("drift", False, AT - 4, "SKIPPED"), "stopped: drift", set()),
    ("sensors", {"sensors": {}}, "stopped: replication_lag", set()),
    ("sensors", sensor("event_queue", True, AT - 600, "SKIPPED"), "no tick: event_queue (10 min ago)", set()),
    ("sensors", sensor("event_queue", True, AT + 600, "SKIPPED"), "event_queue (in the future)", set()),
    ("sensors", sensor("health_checks", True), "health_checks (never)", set()),
    ("sensors", sensor("run_failure", True, AT - 4, "FAILURE"), "last tick failed: run_failure", set()),
    ("schedules", {"schedules": {"history_daily": Instigator(True)}}, "verify_hourly", set()),
    ("verification", {"verified": None}, "never", set()),
    ("verification", {"verified": AT - 7300}, "2 h ago", set()),
    ("verification", {"verified": AT + 7300}, "in the future", set()),
]
AWS: list[tuple[str, str, Callable[[str, dict[str, Any]], Any], str]] = [
    ("clock", "get_caller_identity", ahead(40), "40 s behind us-east-1"),
    ("clock", "get_caller_identity", ahead(-40), "40 s ahead of us-east-1"),
    ("heartbeats", "describe_alarms", alarm("ALARM"), "none reaches us-west-2 from"),
    ("heartbeats", "describe_alarms", alarm(ActionsEnabled=False), "in us-west-2 notify no one about"),
    ("heartbeats", "describe_alarms", alarm(AlarmActions=[]), "in us-west-2 notify no one about"),
    ("heartbeats", "describe_alarms", without_alarm, "us-east-1 has no alarm for"),
    ("alarm-actions", "describe_alarm_history", failed_action, "does not have authorization to access the SNS topic"),
    ("recipients", "list_subscriptions_by_topic", own_queue_alone, f"db-events-primary-{S} notifies no one"),
    (
        "queues",
        "get_queue_attributes",
        lambda *_: {"Attributes": {"ApproximateNumberOfMessages": "3"}},
        "3 messages in",
    ),
]


@pytest.mark.parametrize(("line", "changes", "text", "also"), INSTANCE)
def test_what_is_wrong_in_dagster_is_on_its_line_alone(
    host: Host, line: str, changes: dict[str, Any], text: str, also: set[str]
) -> None:
    host.installation = installation(**changes)
    wrong = host.wrong()
    assert wrong[line][0] == "fails" and text in wrong[line][1]
    assert wrong.keys() == {line, *also}


@pytest.mark.parametrize(("line", "operation", "change", "text"), AWS)
def test_what_is_wrong_in_aws_is_on_its_line_alone(
    host: Host, line: str, operation: str, change: Callable[[str, dict[str, Any]], Any], text: str
) -> None:
    host.aws.broken[operation] = change
    wrong = host.wrong()
    assert wrong.keys() == {line} and wrong[line][0] == "fails" and text in wrong[line][1]


@pytest.mark.parametrize(
    ("operation", "lines"),
    [
        ("get_caller_identity", {"credentials", "clock", "recipients"}),
        ("describe_alarms", {"heartbeats"}),
        ("describe_alarm_history", {"alarm-actions"}),
        ("list_subscriptions_by_topic", {"recipients"}),
        ("get_queue_url", {"queues"}),
        ("get_queue_attributes", {"queues"}),
    ],
)
@pytest.mark.parametrize("how", ["dark", "denied", "garbled"])
def test_a_region_that_does_not_answer_makes_its_lines_unknown(
    host: Host, operation: str, lines: set[str], how: str
) -> None:
    denied = ClientError({"Error": {"Code": "AccessDenied", "Message": "not authorized"}}, operation)
    problem = denied if how == "denied" else ReadTimeoutError(endpoint_url="https://sts.us-east-1.amazonaws.com")

    def change(region: str, answer: dict[str, Any]) -> dict[str, Any]:
        if region != "us-east-1":
            return answer
        if how == "garbled":
            return {name: None for name in answer if name not in ("ResponseMetadata",)} | {"ResponseMetadata": {}}
        raise problem

    host.aws.broken[operation] = change
    if how == "garbled":  # the model is not held against it
        host.aws.call = lambda s, o, region, **p: (  # type: ignore[method-assign]
            host.aws.broken.get(o, lambda _, answer: answer)(region, getattr(host.aws, o)(region, **p))
        )
    wrong = host.wrong()
    assert wrong.keys() == lines
    assert {status for status, _ in wrong.values()} == {"unknown"}


def test_an_alarm_that_was_not_evaluated_yet_is_unknown(host: Host) -> None:
    host.aws.broken["describe_alarms"] = alarm("INSUFFICIENT_DATA")
    assert host.wrong()["heartbeats"][0] == "unknown"


NEEDS_STACK = {"definitions", *LINES[LINES.index("credentials") :]} - {"history"}
NEEDS_INSTANCE = {"daemon", "one-daemon", "sensors", "schedules", "verification"}


def test_a_wrong_stack_file_is_named_and_what_needs_it_is_not_yet_examined(host: Host) -> None:
    host.stack = StackFileError("stack.auto.tfvars.json: production must be true or false.")
    wrong = host.wrong()
    assert wrong.pop("stack-file") == ("fails", "stack.auto.tfvars.json: production must be true or false")
    assert wrong.keys() == NEEDS_STACK and {status for status, _ in wrong.values()} == {"not_yet"}


def test_definitions_that_do_not_load_are_named(host: Host) -> None:
    host.definitions = ImportError("cannot import name 'x' from 'dagster'")
    wrong = host.wrong()
    assert wrong.keys() == {"definitions"} and "cannot import name" in wrong["definitions"][1]


@pytest.mark.parametrize("error", [DrError("DAGSTER_HOME is not set. Set it."), RuntimeError(f"password={PASSWORD}")])
def test_an_instance_that_cannot_be_read_is_one_failure_and_shows_no_secret(host: Host, error: Exception) -> None:
    host.installation = error
    wrong = host.wrong()
    assert wrong.pop("dagster")[0] == "fails"
    assert wrong.keys() == NEEDS_INSTANCE and {status for status, _ in wrong.values()} == {"not_yet"}
    assert PASSWORD not in str(wrong) + str(host.examine())


def test_an_instance_that_hangs_delays_nothing_beyond_the_deadline(host: Host) -> None:
    host.installation = lambda: time.sleep(60)
    begun = time.monotonic()
    report = host.examine(deadline=0.5)
    assert time.monotonic() - begun < 10
    line = next(line for line in report.lines if line.name == "dagster")
    assert line.status == "unknown" and "no answer within" in line.detail


def test_a_wrong_channel_is_named_without_its_address(host: Host) -> None:
    host.environ["DR_ALERT_SLACK_URL"] = f"http://hooks.example.com/{PASSWORD}"
    wrong = host.wrong()
    assert wrong.keys() <= {"channels"} and PASSWORD not in str(wrong) + str(host.examine())


def test_channels_that_are_off_are_named(host: Host) -> None:
    host.environ = {}
    line = next(line for line in host.examine().lines if line.name == "channels")
    assert all(entry.variable in line.detail for entry in CHANNELS)


def test_a_history_that_does_not_answer_is_unknown(host: Host) -> None:
    host.store = DrError("The history store s3://gone does not answer.")  # type: ignore[assignment]
    wrong = host.wrong()
    assert wrong.keys() == {"history", "alerts", "drills"}
    assert set(wrong.values()) == {("unknown", "The history store s3://gone does not answer")}


def test_an_undelivered_alert_is_named(host: Host) -> None:
    host.store.write(f"outbox/{S}/health_checks/{S}-writer-000001.opened.json", b"damaged")
    wrong = host.wrong()
    assert wrong.keys() == {"alerts"} and f"1 undelivered: {S}-writer-000001.opened" in wrong["alerts"][1]


def test_a_drill_that_waits_is_named(host: Host) -> None:
    journal = b'{"schema": "dr-assets/journal/1", "id": "20261101T000000Z-failover-abc123", "stack": "l6p3z2w4"}'
    host.store.write(f"drills/{S}/20261101T000000Z-failover-abc123.json", journal)
    wrong = host.wrong()
    assert wrong.keys() == {"drills"} and wrong["drills"][0] == "fails"
    assert "20261101T000000Z-failover-abc123" in wrong["drills"][1]


def test_a_part_of_dagster_that_does_not_fit_its_library_is_named(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """`dagster-postgres` beside a SQLAlchemy that it excludes."""
    real, requires = doctor_host.distributions, doctor_host.requires
    extra = [
        SimpleNamespace(metadata={"Name": name}, version=v)
        for name, v in (("dagster-postgres", "0.29.1"), ("SQLAlchemy", "2.1.0"))
    ]
    monkeypatch.setattr(doctor_host, "distributions", lambda: [*real(), *extra])
    needs = ["sqlalchemy<2.1", 'pytest; extra == "test"']
    monkeypatch.setattr(doctor_host, "requires", lambda name: needs if name == "dagster-postgres" else requires(name))
    wrong = host.wrong()
    assert wrong.keys() == {"packages"}
    assert "dagster-postgres needs sqlalchemy <2.1, installed: 2.1.0" in wrong["packages"][1]


def test_both_sites_are_asked(host: Host) -> None:
    regions: set[str] = set()
    host.aws.broken["get_queue_url"] = lambda region, answer: (regions.add(region), answer)[1]
    host.examine()
    assert len(regions) == len(SITES)
