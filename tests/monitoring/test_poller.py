"""The poller and the queues against the embedded AWS: few calls, each source on its own, nothing lost."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest

from dr_assets import utc
from dr_assets.alerting.channels.sns import SnsChannel
from dr_assets.aws import Aws
from dr_assets.emulator import EmbeddedAws
from dr_assets.history.store import FolderStore
from dr_assets.monitoring.rules import sources_for
from dr_assets.monitoring.samples import Sample, Snapshot
from dr_assets.monitoring.sources.cloudwatch import MetricSource
from dr_assets.monitoring.sources.poller import Poller
from dr_assets.monitoring.sources.source import Source
from dr_assets.monitoring.state import EventState
from dr_assets.resources import names
from dr_assets.resources.catalog import catalog
from dr_assets.resources.dns.rows import SITE_CHECKS
from dr_assets.stack import SITES, Stack
from dr_assets.ticks import event_queue as queues_module
from dr_assets.ticks.event_queue import KINDS, Queues
from dr_assets.ticks.event_states import apply
from dr_assets.ticks.monitor import Monitor
from dr_assets.ticks.tick import TickResult
from tests.support.monitoring import S


def value(snapshot: Snapshot, site: str, source: str, metric: str) -> Sample | None:
    found = [s for s in snapshot.samples if (s.site, s.source, s.metric) == (site, source, metric)]
    return found[-1] if found else None


def put_probe(stack: Stack, site: str, number: float, ago: float = 0.0) -> None:
    region = stack.region("primary" if site == "primary" else "secondary")
    boto3.client("cloudwatch", region).put_metric_data(
        Namespace="DRAssets",
        MetricData=[
            {
                "MetricName": "WriterConnectivity",
                "Dimensions": [{"Name": "Stack", "Value": S}, {"Name": "Site", "Value": site}],
                "Timestamp": utc.now() - timedelta(seconds=ago),
                "Value": number,
                "StorageResolution": 1,
            }
        ],
    )


@pytest.fixture
def poller(stack: Stack, cloud: EmbeddedAws) -> Poller:
    sources = sources_for([stack], Aws(read_timeout=2.0, attempts=1))
    return Poller([stack], [replace(source, deadline_seconds=4.0) for source in sources])


def test_every_source_answers_with_as_few_calls_as_can_be(poller: Poller, stack: Stack, cloud: EmbeddedAws) -> None:
    put_probe(stack, "primary", 1.0)
    poller.tick()  # finds out the health checks' identities
    cloud.control.clear_calls()
    for key, source in poller._sources.items():
        if key.startswith("metric@"):
            assert isinstance(source.ask, MetricSource)
            source.ask.asked.clear()
    snapshot = poller.tick()
    assert {reading.status for reading in snapshot.readings} == {"answered"}
    by_operation: dict[tuple[str, str], int] = {}
    for call in cloud.control.calls():
        by_operation[call["region"], call["operation"]] = by_operation.get((call["region"], call["operation"]), 0) + 1
    for site in SITES:
        region = stack.region(site)
        assert by_operation[region, "GetMetricData"] == 1
        assert by_operation[region, "DescribeAlarms"] == 1
        assert by_operation[region, "DescribeGlobalClusters"] == 1
    assert by_operation["us-east-1", "GetHealthCheckStatus"] == 4
    assert sum(by_operation.values()) == 10
    assert not any(call["mutating"] for call in cloud.control.calls())


def test_what_the_sources_say(poller: Poller, stack: Stack) -> None:
    put_probe(stack, "primary", 1.0)
    snapshot = poller.tick()
    probe = value(snapshot, "primary", "metric", "connectivity")
    assert probe is not None
    assert probe.value == 1.0
    role = value(snapshot, "primary", "topology", "role")
    assert role is not None
    assert role.value == 1.0
    assert value(snapshot, "primary", "health-check", "health-check") is not None
    assert value(snapshot, "secondary", "alarm", "rpo-lag") is not None
    answers = value(snapshot, "secondary", "region", "answers")
    assert answers is not None
    assert answers.value == 1.0


def test_the_sites_own_health_checks_are_those_of_the_catalogue(stack: Stack) -> None:
    rows = {resource.key: resource.desired for resource in catalog(stack)}
    for site in SITES:
        for name, metric, silence, _ in SITE_CHECKS:
            desired = rows[f"{site}/dns/{name}"]
            assert desired["AlarmName"] == names.alarm(stack, site, metric)
            assert desired["InsufficientDataHealthStatus"] == silence


def test_another_check_on_the_same_alarm_is_not_taken_for_the_site_s_own(poller: Poller) -> None:
    """The conftest's third check of each site is unhealthy while there is no data."""
    checks = [s for _ in range(3) for s in poller.tick().samples if s.source == "health-check"]
    assert {s.metric for s in checks} == {"health-check", "health-check-lag"}
    assert {s.value for s in checks} == {1.0}


def test_no_data_is_unknown_and_an_absent_alarm_too(stack: Stack, cloud: EmbeddedAws) -> None:
    other = stack.model_copy(update={"environment_suffix": "not-there"})
    snapshot = Poller([other], sources_for([other], Aws(read_timeout=2.0, attempts=1))).tick()
    for source, metric in (("metric", "rpo-lag"), ("alarm", "rpo-lag")):
        found = value(snapshot, "secondary", source, metric)
        assert found is not None
        assert found.value is None
        assert found.note
    assert not [s for s in snapshot.samples if s.source in ("topology", "health-check")]


def test_one_dead_region_costs_its_own_sources_alone(poller: Poller, stack: Stack, cloud: EmbeddedAws) -> None:
    poller.tick()
    cloud.control.fault("dark", region=stack.secondary_region)
    started = time.monotonic()
    snapshot = poller.tick()
    assert time.monotonic() - started < 15.0  # a dark region holds a call for a minute
    by_region: dict[str, set[str]] = {}
    for reading in snapshot.readings:
        if reading.source == "metric" and reading.status == "answered" and not reading.calls:
            continue  # nothing was due, so nobody was asked
        by_region.setdefault(reading.region, set()).add(reading.status)
    assert by_region == {stack.primary_region: {"answered"}, stack.secondary_region: {"silent"}}
    answers = value(snapshot, "secondary", "region", "answers")
    assert answers is not None
    assert answers.value == 0.0


def test_a_refused_source_is_an_error_and_no_silence(poller: Poller, stack: Stack, cloud: EmbeddedAws) -> None:
    cloud.control.fault("error", operation="DescribeAlarms", code="AccessDenied")
    snapshot = poller.tick()
    reading = snapshot.reading(f"alarm@{stack.primary_region}")
    assert reading is not None
    assert reading.status == "error"
    assert "not permitted" in reading.problem


def test_a_source_that_hangs_is_not_asked_twice_and_delays_nobody(stack: Stack, cloud: EmbeddedAws) -> None:
    release, asked = threading.Event(), []

    def stuck(at: Any) -> tuple[list[Sample], int]:
        asked.append(at)
        release.wait(20)
        return [Sample(at, S, "primary", "sql", "connectivity", 1.0)], 1

    others = [replace(source, deadline_seconds=0.8) for source in sources_for([stack], Aws(read_timeout=2.0))]
    poller = Poller([stack], [*others, Source("sql", "us-east-1", stuck, deadline_seconds=0.8)])
    for _ in range(3):
        started = time.monotonic()
        snapshot = poller.tick()
        assert time.monotonic() - started < 10.0  # it hangs for 20 s
        reading = snapshot.reading("sql@us-east-1")
        assert reading is not None
        assert reading.status == "silent"
    assert len(asked) == 1
    release.set()
    poller.tick()
    assert len(asked) <= 2


def test_sensors_that_tick_together_share_one_snapshot(poller: Poller, cloud: EmbeddedAws) -> None:
    first = poller.tick()
    threads = [threading.Thread(target=lambda: found.append(poller.tick(10.0))) for _ in range(4)]
    found: list[Snapshot] = []
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(snapshot is first for snapshot in found)


class FakeCloudWatch:
    """Counts queries; answers nothing."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def get_metric_data(self, **request: Any) -> dict[str, Any]:
        self.sizes.append(len(request["MetricDataQueries"]))
        return {"MetricDataResults": [{"Id": "q0", "Timestamps": [], "Values": []}]}


class FakeAws:
    def __init__(self) -> None:
        self.cloudwatch = FakeCloudWatch()

    def client(self, service: str, region: str) -> FakeCloudWatch:
        return self.cloudwatch


def test_five_hundred_stacks_take_two_metric_calls_and_every_query_gets_its_turn(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    stacks = [stack.model_copy(update={"environment_suffix": f"stack{n:03d}"}) for n in range(500)]
    aws = FakeAws()
    source = MetricSource(stacks, aws, "us-west-2")  # type: ignore[arg-type]
    clock = [1000.0]
    monkeypatch.setattr("dr_assets.monitoring.sources.cloudwatch.time.monotonic", lambda: clock[0])
    asked: dict[str, int] = {}
    for _ in range(24):
        aws.cloudwatch.sizes.clear()
        samples, calls = source(utc.now())
        assert calls <= 2
        assert aws.cloudwatch.sizes == [500, 500]
        for sample in samples:
            asked[sample.metric] = asked.get(sample.metric, 0) + 1
        clock[0] += 10.0
    assert len({query.key for query in source.queries} - source.asked.keys()) == 0
    assert asked["connectivity"] == max(asked.values())
    assert min(asked.values()) >= 500


# --- queues and SNS ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def monitor(stack: Stack, cloud: EmbeddedAws, tmp_path: Path) -> Iterator[Monitor]:
    aws = Aws(read_timeout=3.0, attempts=1)
    yield Monitor(stack, FolderStore(tmp_path), aws=aws, channels=[SnsChannel(stack, aws)])
    for site in SITES:
        drain(stack, site)


def finish(monitor: Monitor, result: TickResult) -> None:
    """Tick until the queues are empty and everything received is deleted."""
    messages: list[Any] = [None]
    while messages or any(result.state.memory.receipts.values()):
        result, messages = monitor.process_events(result.cursor)


def queue_url(stack: Stack, site: str, dead: bool = False) -> tuple[Any, str]:
    client = boto3.client("sqs", stack.region("primary" if site == "primary" else "secondary"))
    name = f"db-events-{'dlq-' if dead else ''}{site}-{S}"
    return client, client.get_queue_url(QueueName=name)["QueueUrl"]


def drain(stack: Stack, site: str) -> None:
    """Delete what is visible (purging is allowed once a minute only)."""
    for dead in (False, True):
        client, url = queue_url(stack, site, dead)
        while found := client.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in found:
                client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


def waiting(stack: Stack, site: str, dead: bool = False) -> int:
    client, url = queue_url(stack, site, dead)
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = client.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return sum(int(found[name]) for name in names)


def publish(stack: Stack, site: str, body: Any) -> None:
    region = stack.region("primary" if site == "primary" else "secondary")
    arn = f"arn:aws:sns:{region}:123456789012:db-events-{site}-{S}"
    boto3.client("sns", region).publish(TopicArn=arn, Message=body if isinstance(body, str) else json.dumps(body))


def rds_event(number: str, text: str) -> dict[str, Any]:
    link = f"https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/USER_Events.Messages.html#RDS-EVENT-{number}"
    return {"Event Source": "db-cluster", "Event ID": link, "Event Message": text, "Source ID": f"aurora-primary-{S}"}


def test_a_message_is_deleted_only_after_the_tick_that_dealt_with_it(monitor: Monitor, stack: Stack) -> None:
    publish(stack, "primary", rds_event("0187", "Global switchover failed."))
    result, messages = monitor.process_events(None)
    assert [message.kind for message in messages] == ["rds"]
    assert [t.step for t in result.transitions] == ["opened"]
    assert waiting(stack, "primary") == 2  # the event and our own alert, come back
    result, messages = monitor.process_events(result.cursor)
    assert [message.kind for message in messages] == ["own"]
    result, messages = monitor.process_events(result.cursor)
    assert messages == []
    assert waiting(stack, "primary") == 0
    publish(stack, "primary", rds_event("0185", "Global switchover finished."))
    result, _ = monitor.process_events(result.cursor)
    assert [t.step for t in result.transitions] == ["resolved"]
    finish(monitor, result)


def test_events_in_the_wrong_order_and_twice_are_harmless(monitor: Monitor, stack: Stack) -> None:
    queues = Queues(stack, Aws())
    for number in ("0241", "0240", "0240"):
        publish(stack, "primary", rds_event(number, "resync"))
    messages = sorted(queues.receive("primary"), key=queues_module.event_id, reverse=True)
    queues.delete("primary", [message.receipt for message in messages])
    events: dict[str, EventState] = {}
    later, earlier = messages[0], messages[1]
    later, earlier = replace(later, at=later.at + timedelta(seconds=60)), replace(earlier, at=later.at)
    for message in (later, earlier):
        assert apply(message, KINDS["rds"].meaning(stack, message).conditions, events) == []
    assert events["primary/resynchronizing"].done is True


def test_alarm_notifications_are_evidence_and_page_nobody(monitor: Monitor, stack: Stack) -> None:
    body = {
        "AlarmName": f"aurora-cpu-primary-{S}",
        "NewStateValue": "ALARM",
        "OldStateValue": "OK",
        "NewStateReason": "Threshold Crossed",
        "StateChangeTime": "2026-11-23T12:00:00.000+0000",
    }
    publish(stack, "primary", body)
    result, messages = monitor.process_events(None)
    assert [message.kind for message in messages] == ["alarm"]
    assert not [t for t in result.transitions if t.step == "opened"]
    finish(monitor, result)


@pytest.mark.parametrize("body", ["not json", "[]", '{"some": "thing"}', "null"])
def test_a_poisonous_message_goes_to_the_dead_letter_queue_and_is_told_of(
    monitor: Monitor, stack: Stack, body: str
) -> None:
    publish(stack, "primary", body)
    client, url = queue_url(stack, "primary")
    cursor: str | None = None
    for _ in range(4):
        result, messages = monitor.process_events(cursor)
        cursor = result.cursor
        assert all(message.kind in ("poison", "own") for message in messages)
        for message in messages:
            if message.kind == "poison":
                client.change_message_visibility(QueueUrl=url, ReceiptHandle=message.receipt, VisibilityTimeout=0)
    assert waiting(stack, "primary", dead=True) == 1
    assert waiting(stack, "primary") == 0


def test_a_dead_region_s_queue_neither_blocks_nor_loses(monitor: Monitor, stack: Stack, cloud: EmbeddedAws) -> None:
    publish(stack, "primary", rds_event("0239", "Global failover failed."))
    fault = cloud.control.fault("dark", region=stack.primary_region)
    assert fault
    started = time.monotonic()
    result, messages = monitor.process_events(None)
    assert messages == []
    assert time.monotonic() - started < 20.0
    cloud.control.clear_faults()
    monitor._aws.breaker.answered(stack.primary_region)
    deadline = time.monotonic() + 40
    while not messages and time.monotonic() < deadline:
        result, messages = monitor.process_events(result.cursor)
    assert [message.kind for message in messages] == ["rds"]
    finish(monitor, result)


def test_a_queue_that_may_not_be_read_is_told_of_once_until_it_may(
    monitor: Monitor, stack: Stack, cloud: EmbeddedAws
) -> None:
    clock = [utc.now()]
    monitor.clock = lambda: clock[0]
    cloud.control.fault("error", region=stack.secondary_region, operation="ReceiveMessage", code="AccessDenied")
    cursor, steps = None, []
    for _ in range(6):
        result, _ = monitor.process_events(cursor)
        clock[0] += timedelta(seconds=15)
        cursor, steps = result.cursor, [*steps, *((t.step, t.incident) for t in result.transitions)]
    ((step, incident),) = steps
    assert (step, incident.topic, incident.resource) == ("opened", "events.unread", "secondary/notifications/queue")
    assert "not permitted: AccessDenied" in incident.evidence[0]
    cloud.control.clear_faults()
    result, _ = monitor.process_events(cursor)
    assert [(t.step, t.incident.id) for t in result.transitions] == [("resolved", incident.id)]
    finish(monitor, result)


def test_an_alert_leaves_from_the_other_region_when_the_first_is_dead(
    stack: Stack, cloud: EmbeddedAws, monitor: Monitor
) -> None:
    cloud.control.fault("error", region=stack.primary_region, service="sns", code="InternalError")
    results = monitor.test_alert("Ann")
    assert results == {"sns": "delivered"}
    cloud.control.clear_faults()
    assert waiting(stack, "secondary") == 2
    assert waiting(stack, "primary") == 0
