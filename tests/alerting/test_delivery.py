"""Delivered once: across crashes, refusals, lost answers and two daemons."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from dr_assets.alerting.channels.channel import AlertRefused, AlertUnknown
from dr_assets.alerting.delivery import AlertPending, DeliveryLog, deliver
from dr_assets.alerting.message import Alert
from dr_assets.errors import DrError
from dr_assets.history.store import FolderStore
from dr_assets.stack import Stack
from tests.alerting.conftest import OPENED, RESOLVED, Daemon, outage
from tests.support.monitoring import Recorder, S, at, healthy, sample


def test_one_outage_is_delivered_twice_opened_and_resolved(daemon: Daemon, sns: Recorder) -> None:
    outage(daemon)
    assert sns.keys == [OPENED, RESOLVED]
    assert daemon.store.list("outbox/") == []
    incident = json.loads(daemon.store.read(f"incidents/{S}/{S}-writer-000001.json"))
    assert incident["last"] == "resolved"
    assert incident["ended"] > incident["opened"]


@pytest.mark.parametrize("dies_at", range(0, 120, 5))
def test_a_tick_killed_between_delivery_and_cursor_loses_nothing_and_repeats_nothing(
    daemon: Daemon, sns: Recorder, dies_at: int
) -> None:
    for second in range(0, 150, 5):
        daemon.tick(second, 0.0 if second < 60 else 1.0, keep=second != dies_at)
        if second == dies_at:
            daemon.restart()
    assert sns.keys == [OPENED, RESOLVED]


def test_killed_after_delivery_and_the_breach_is_over_when_it_comes_back(daemon: Daemon, sns: Recorder) -> None:
    """The cursor knows nothing of the incident; the outbox does, so there is a resolution."""
    daemon.tick(0, 0.0)
    daemon.tick(10, 0.0, keep=False)
    assert sns.keys == [OPENED]
    daemon.restart()
    for second in range(300, 400, 10):
        daemon.tick(second, 1.0)
    assert sns.keys == [OPENED, RESOLVED]
    assert daemon.store.list("outbox/") == []


def test_sns_refusing_for_a_while_delays_the_alert_and_loses_none(daemon: Daemon, sns: Recorder) -> None:
    sns.errors = [AlertRefused("no") for _ in range(5)]
    failures = 0
    for second in range(0, 200, 5):
        daemon.tick(second, 0.0 if second < 25 else 1.0)
        failures += daemon.ticker.unheard
    assert failures == 5
    assert sns.keys == [OPENED, RESOLVED]


def test_a_breach_that_is_over_before_sns_takes_alerts_again_is_still_delivered(daemon: Daemon, sns: Recorder) -> None:
    sns.errors = [AlertRefused("no") for _ in range(20)]
    for second in range(0, 300, 5):
        daemon.tick(second, 0.0 if second < 15 else 1.0)
        if daemon.ticker.unheard:
            daemon.restart()
    assert sns.keys == [OPENED, RESOLVED]


def test_one_channel_refusing_does_not_hold_the_other_back(stack: Stack, store: FolderStore) -> None:
    sns, pager = Recorder("sns"), Recorder("pagerduty", deduplicates=True)
    daemon = Daemon(stack, store, sns, pager)
    sns.errors = [AlertRefused("no") for _ in range(3)]
    for second in range(0, 120, 5):
        daemon.tick(second, 0.0 if second < 60 else 1.0)
        if daemon.ticker.undelivered:
            assert pager.keys == [OPENED]
            assert not daemon.ticker.unheard
    assert sns.keys == pager.keys == [OPENED, RESOLVED]


def test_case_d2_a_dead_channel_hides_no_incident_from_the_others(stack: Stack, store: FolderStore) -> None:
    """Slack refuses for good; two outages follow. PagerDuty gets both, in time, and the cursor moves on."""
    slack, pager = Dead("slack"), Recorder("pagerduty", deduplicates=True)
    daemon = Daemon(stack, store, slack, pager)
    outage(daemon)
    outage(daemon, start=4000, end=4060, until=4200)
    second = f"{S}-writer-000002"
    assert pager.keys == [OPENED, RESOLVED, f"{second}.opened", f"{second}.resolved"]
    assert [alert.step for alert in pager.sent] == ["opened", "resolved"] * 2
    assert slack.tried[:2] == [OPENED, OPENED]
    assert len(store.list(f"outbox/{S}/")) == 4


def test_case_d2_a_channel_that_comes_back_gets_what_it_missed_in_order(stack: Stack, store: FolderStore) -> None:
    slack, pager = Dead("slack"), Recorder("pagerduty", deduplicates=True)
    daemon = Daemon(stack, store, slack, pager)
    outage(daemon)
    daemon.restart()
    slack.dead = False
    daemon.tick(130, 1.0)
    assert slack.keys == [OPENED, RESOLVED]
    assert pager.keys == [OPENED, RESOLVED]
    daemon.tick(135, 1.0)
    assert store.list("outbox/") == []
    assert daemon.ticker.undelivered == {}


def test_case_d2_what_a_dead_channel_missed_is_given_up_after_a_day(stack: Stack, store: FolderStore) -> None:
    slack, pager = Dead("slack"), Recorder("pagerduty", deduplicates=True)
    daemon = Daemon(stack, store, slack, pager)
    outage(daemon)
    daemon.tick(23 * 3600, 1.0)
    assert len(store.list("outbox/")) == 2
    daemon.tick(25 * 3600, 1.0)
    assert store.list("outbox/") == []


def test_case_d2_the_only_channel_is_dead_and_the_evaluation_goes_on(daemon: Daemon, sns: Recorder) -> None:
    """Taken by no channel: the tick says so, the outbox holds everything, and the cursor moves on."""
    sns.errors = [AlertRefused("no")] * 10_000
    outage(daemon)
    assert daemon.ticker.unheard
    outage(daemon, start=4000, end=4060, until=4200)
    assert [key.rsplit("/", 1)[1] for key in daemon.store.list("outbox/")] == [
        f"{S}-writer-00000{number}.{step}.json" for number in (1, 2) for step in ("opened", "resolved")
    ]
    sns.errors = []
    daemon.restart()
    daemon.tick(4205, 1.0)
    assert sns.keys == [f"{S}-writer-00000{number}.{step}" for number in (1, 2) for step in ("opened", "resolved")]


class Dead(Recorder):
    """Refuses, counting."""

    dead = True

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.tried: list[str] = []

    def send(self, alert: Alert) -> None:
        self.tried.append(alert.key)
        if self.dead:
            raise AlertRefused(f"{self.name} refuses.")
        super().send(alert)


def test_case_d2_a_channel_that_hangs_costs_a_tick_one_attempt_whatever_waits_for_it(
    stack: Stack, store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    slack, pager = Dead("slack"), Recorder("pagerduty", deduplicates=True)
    daemon = Daemon(stack, store, slack, pager)
    outage(daemon)
    outage(daemon, start=4000, end=4060, until=4200)
    waited = iter(range(0, 100_000, 6))  # each attempt takes six seconds or more
    monkeypatch.setattr("dr_assets.alerting.delivery.time.monotonic", lambda: float(next(waited)))
    slack.tried.clear()
    daemon.tick(4205, 1.0)
    assert slack.tried == [OPENED]


def test_case_d2_a_critical_alert_does_not_wait_for_a_warning(stack: Stack, store: FolderStore) -> None:
    sns = Recorder()
    daemon = Daemon(stack, store, sns)
    for second in (0, 10, 20):
        samples = healthy(second, without=["primary/metric/connectivity", "primary/metric/cpu"])
        samples += [sample(second, 0.0), sample(second, 0.0, "answers", "secondary", "region")]
        samples = [each for each in samples if each.metric != "answers" or each.raw != 1.0 or each.site == "primary"]
        daemon.raw(second, samples)
    severities = [alert.incident.severity for alert in sns.sent]
    assert severities[0] == "critical"
    assert severities == sorted(severities)


@pytest.mark.parametrize(
    "cursor",
    [
        "{",
        "x",
        "[" * 100_000,
        '{"schema": "dr-assets/sensor-state/9"}',
        '{"schema": "dr-assets/sensor-state/1", "heartbeat": 1e999}',
        "caf\udce9",
    ],
)
def test_case_d2_a_damaged_cursor_is_no_cursor(daemon: Daemon, sns: Recorder, cursor: str) -> None:
    outage(daemon, end=60, until=60)
    daemon.cursor = cursor
    daemon.restart()
    daemon.tick(60, 0.0)
    (text,) = daemon.ticker.set_aside
    (kept,) = daemon.store.list("quarantine/")
    assert kept.startswith(f"quarantine/cursor/{S}/health_checks.")
    assert kept in text
    for second in range(65, 200, 5):
        daemon.tick(second, 0.0 if second < 100 else 1.0)
    assert sns.keys == [OPENED, RESOLVED]


def test_an_unforeseen_error_of_a_channel_holds_no_other_back_and_shows_no_secret(
    store: FolderStore, alert: Alert
) -> None:
    slack, pager = Recorder("slack"), Recorder("pagerduty", deduplicates=True)
    slack.errors = [RuntimeError("https://hooks.slack.com/services/T0/SECRET")]  # type: ignore[list-item]
    with pytest.raises(AlertUnknown, match=r"^slack failed \(RuntimeError\)\.$"):
        deliver(DeliveryLog(store), [slack, pager], alert, at(0))
    assert pager.keys == [OPENED]


class Hanging(Recorder):
    """Hangs until it is released, or fails before it sends."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.released = threading.Event()

    def send(self, alert: Alert) -> None:
        assert self.released.wait(20)
        super().send(alert)


def test_case_d3_each_channel_is_tried_in_time_whatever_the_others_do(store: FolderStore, alert: Alert) -> None:
    hanging, broken, last = Hanging("sns"), Recorder("slack"), Hanging("pagerduty")
    broken.accepts = lambda _: 1 / 0 > 0  # type: ignore[method-assign]  # any exception
    last.send = lambda alert: (Recorder.send(last, alert), hanging.released.set())  # type: ignore[method-assign,assign]
    with pytest.raises(AlertUnknown, match=r"^slack failed \(ZeroDivisionError\)\.$"):
        deliver(DeliveryLog(store), [hanging, broken, last], alert, at(0))
    assert hanging.keys == last.keys == [OPENED]


def test_case_d3_every_failure_is_named(store: FolderStore, alert: Alert) -> None:
    refusing = [Recorder(name) for name in ("sns", "slack")]
    for channel in refusing:
        channel.errors = [AlertRefused(f"{channel.name} refused."), AlertRefused(f"{channel.name} refused.")]
    with pytest.raises(AlertRefused, match=r"^sns refused\. slack refused\.$"):
        deliver(DeliveryLog(store), refusing, alert, at(0))
    lost = Recorder("pagerduty")
    lost.errors = [AlertUnknown("pagerduty is silent.")]
    with pytest.raises(AlertUnknown, match=r"^sns refused\. slack refused\. pagerduty is silent\.$"):
        deliver(DeliveryLog(store), [*refusing, lost], alert, at(1))


def test_two_daemons_with_one_cursor_deliver_once(stack: Stack, store: FolderStore, sns: Recorder) -> None:
    one, two = Daemon(stack, store, sns), Daemon(stack, store, sns)
    for second in range(0, 150, 5):
        one.tick(second, 0.0 if second < 60 else 1.0)
        two.tick(second + 2, 0.0 if second < 60 else 1.0)
    assert sns.keys == [OPENED, RESOLVED]


def test_two_daemons_at_the_very_same_moment(stack: Stack, store: FolderStore) -> None:
    """Twenty threads deliver one transition: one wins, the others fail their tick or find it done."""
    sns = Recorder()
    daemon = Daemon(stack, store, sns)
    daemon.tick(0, 0.0)
    state = daemon.ticker.load(daemon.cursor)
    barrier, others = threading.Barrier(20), []

    def go() -> None:
        mine = Daemon(stack, store, sns)
        samples = [*healthy(10, without=["primary/metric/connectivity"]), sample(10, 0.0)]
        barrier.wait()
        try:
            mine.ticker.tick(state, samples, at(10), mine.rules)
        except AlertPending as error:
            others.append(error)

    threads = [threading.Thread(target=go) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sns.keys == [OPENED]


class TestDeliveryLog:
    """Claim, deliver, confirm."""

    def test_a_lost_answer_is_sent_again_after_the_lease_only(
        self, store: FolderStore, sns: Recorder, alert: Alert
    ) -> None:
        deliveries = DeliveryLog(store, lease_seconds=60)
        sns.after_sending = AlertUnknown("lost")
        with pytest.raises(AlertUnknown):
            deliveries.deliver(alert, sns, at(0))
        with pytest.raises(AlertPending, match="claimed 30 s ago"):
            deliveries.deliver(alert, sns, at(30))
        assert deliveries.deliver(alert, sns, at(61)) == "delivered"
        assert deliveries.deliver(alert, sns, at(200)) == "already"
        assert len(sns.sent) == 2

    def test_the_echo_through_the_queue_confirms_within_the_lease(
        self, store: FolderStore, sns: Recorder, alert: Alert
    ) -> None:
        deliveries = DeliveryLog(store)
        sns.after_sending = KeyboardInterrupt()  # type: ignore[assignment]
        with pytest.raises(KeyboardInterrupt):
            deliveries.deliver(alert, sns, at(0))
        deliveries.confirm_echo(S, f"{alert.key}.sns", at(5))
        assert DeliveryLog(store).deliver(alert, sns, at(300)) == "already"
        assert len(sns.sent) == 1

    def test_an_echo_without_a_claim_confirms_nothing(self, store: FolderStore, sns: Recorder, alert: Alert) -> None:
        DeliveryLog(store).confirm_echo(S, f"{alert.key}.sns", at(0))
        assert DeliveryLog(store).deliver(alert, sns, at(1)) == "delivered"

    def test_where_the_channel_deduplicates_no_lease_is_waited_for(self, store: FolderStore, alert: Alert) -> None:
        pager = Recorder("pagerduty", deduplicates=True)
        pager.after_sending = AlertUnknown("lost")
        with pytest.raises(AlertUnknown):
            DeliveryLog(store).deliver(alert, pager, at(0))
        assert DeliveryLog(store).deliver(alert, pager, at(10)) == "delivered"

    def test_refused_is_retried_at_once(self, store: FolderStore, sns: Recorder, alert: Alert) -> None:
        sns.errors = [AlertRefused("no")]
        with pytest.raises(AlertRefused):
            DeliveryLog(store).deliver(alert, sns, at(0))
        assert DeliveryLog(store).deliver(alert, sns, at(0.1)) == "delivered"

    def test_a_confirmation_that_cannot_be_written_neither_loses_nor_repeats(
        self, store: FolderStore, sns: Recorder, alert: Alert, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        deliveries, confirm = DeliveryLog(store), DeliveryLog(store)._confirm

        def broken(base: str, document: object) -> None:
            raise DrError("disk full")

        monkeypatch.setattr(deliveries, "_confirm", broken)
        assert deliver(deliveries, [sns], alert, at(0)) == {"sns": "delivered"}
        assert deliver(deliveries, [sns], alert, at(100)) == {"sns": "already"}
        monkeypatch.setattr(deliveries, "_confirm", confirm)
        assert deliver(deliveries, [sns], alert, at(200)) == {"sns": "already"}
        assert DeliveryLog(store).deliver(alert, sns, at(300)) == "already"
        assert len(sns.sent) == 1


def test_a_lost_cursor_finds_the_open_incident_again(daemon: Daemon, sns: Recorder) -> None:
    outage(daemon, end=60, until=60)
    daemon.cursor = None  # reset in Dagster
    daemon.restart()
    for second in range(60, 200, 5):
        daemon.tick(second, 0.0 if second < 100 else 1.0)
    assert sns.keys == [OPENED, RESOLVED]


def test_a_lost_cursor_after_the_end_does_not_swallow_the_next_outage(daemon: Daemon, sns: Recorder) -> None:
    outage(daemon)
    daemon.cursor = None
    outage(daemon, start=1000, end=1060, until=1400)
    assert sns.keys == [OPENED, RESOLVED, f"{S}-writer-000002.opened", f"{S}-writer-000002.resolved"]


def test_an_old_cursor_does_not_swallow_a_new_outage(daemon: Daemon, sns: Recorder) -> None:
    daemon.tick(0, 1.0)
    old = daemon.cursor
    outage(daemon, start=5, end=60, until=150)
    daemon.cursor = old  # restored from a backup, say
    outage(daemon, start=4000, end=4060, until=4200)
    assert sns.keys == [OPENED, RESOLVED, f"{S}-writer-000002.opened", f"{S}-writer-000002.resolved"]


def test_another_sensor_s_topics_are_not_delivered(stack: Stack, store: FolderStore, sns: Recorder) -> None:
    daemon = Daemon(stack, store, sns)
    daemon.ticker.sensor = "replication_lag"
    outage(daemon)
    assert sns.keys == []


class Refusing(FolderStore):
    """A store that is there only while `up` is set: a bucket of the region that has gone."""

    up = False

    def _path(self, key: str) -> Path:
        if not self.up:
            raise DrError("s3 in us-east-1: no answer")
        return super()._path(key)


def test_a_store_that_refuses_holds_no_alert_back_and_repeats_none(stack: Stack, tmp_path: Path) -> None:
    sns = Recorder()
    daemon = Daemon(stack, Refusing(tmp_path), sns)
    outage(daemon)
    assert sns.keys == [OPENED, RESOLVED]
    assert "no answer" in daemon.ticker.store_problem


@pytest.mark.parametrize("back_at", [5, 10, 15, 55, 60, 85, 90])
def test_a_store_that_comes_back_in_the_middle_changes_nothing(stack: Stack, tmp_path: Path, back_at: int) -> None:
    store, sns = Refusing(tmp_path), Recorder()
    daemon = Daemon(stack, store, sns)
    for second in range(0, 150, 5):
        store.up = second >= back_at
        daemon.tick(second, 0.0 if second < 60 else 1.0)
    assert sns.keys == [OPENED, RESOLVED]
    assert daemon.ticker.store_problem == ""
    assert store.list("outbox/") == []


def test_a_store_that_goes_in_the_middle_changes_nothing(stack: Stack, tmp_path: Path) -> None:
    store, sns = Refusing(tmp_path), Recorder()
    daemon = Daemon(stack, store, sns)
    for second in range(0, 150, 5):
        store.up = second < 30
        daemon.tick(second, 0.0 if second < 60 else 1.0)
    assert sns.keys == [OPENED, RESOLVED]


def test_without_a_store_a_refused_alert_fails_the_tick_and_is_retried(stack: Stack, tmp_path: Path) -> None:
    sns = Recorder()
    daemon = Daemon(stack, Refusing(tmp_path), sns)
    sns.errors = [AlertRefused("no")]
    daemon.tick(0, 0.0)
    with pytest.raises(AlertRefused):
        daemon.tick(10, 0.0)
    daemon.tick(15, 0.0)
    assert sns.keys == [OPENED]


def test_an_outbox_entry_that_cannot_be_read_holds_no_other_back(daemon: Daemon, sns: Recorder) -> None:
    daemon.store.write(f"outbox/{S}/health_checks/{S}-writer-000000.opened.json", b"{")
    daemon.tick(0, 0.0)
    assert "quarantined as" in daemon.ticker.set_aside[0]
    outage(daemon)
    assert sns.keys == [OPENED, RESOLVED]


def test_an_outbox_entry_of_a_later_version_asks_for_an_update_and_not_for_its_removal(daemon: Daemon) -> None:
    data = b'{"schema": "dr-assets/outbox-entry/2"}'
    daemon.store.write(f"outbox/{S}/health_checks/{S}-writer-000000.opened.json", data)
    daemon.tick(0, 1.0)
    assert daemon.ticker.store_problem.endswith("Update DR Assets.")


# --- documents of the delivery log: earlier forms and damaged ones ------------------------------------------------------


def without_schema(store: FolderStore) -> None:
    """Rewrite every claim and confirmation as it was written before it had a schema."""
    for key in store.list("alerts/"):
        document = {name: value for name, value in json.loads(store.read(key)).items() if name != "schema"}
        if ".claim-" not in key:
            del document["confirmed_by"]
        store.write(key, json.dumps(document, sort_keys=True).encode())


def test_deliveries_without_a_schema_are_not_repeated(daemon: Daemon, sns: Recorder) -> None:
    outage(daemon, end=60, until=60)
    without_schema(daemon.store)
    daemon.cursor = None
    daemon.restart()
    for second in range(60, 200, 5):
        daemon.tick(second, 0.0 if second < 100 else 1.0)
    assert sns.keys == [OPENED, RESOLVED]
    assert daemon.ticker.store_problem == ""


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"schema": "dr-assets/delivery-claim/1"}'])
def test_a_damaged_claim_holds_no_alert_back(store: FolderStore, sns: Recorder, alert: Alert, data: bytes) -> None:
    store.write(f"alerts/{S}/{alert.key}.sns.claim-001.json", data)
    assert DeliveryLog(store).deliver(alert, sns, at(0)) == "delivered"
    assert DeliveryLog(store).deliver(alert, sns, at(1)) == "already"
    assert sns.keys == [OPENED]


def test_a_damaged_claim_is_not_confirmed_by_an_echo(store: FolderStore, alert: Alert) -> None:
    store.write(f"alerts/{S}/{alert.key}.sns.claim-001.json", b"{")
    DeliveryLog(store).confirm_echo(S, f"{alert.key}.sns", at(0))
    assert DeliveryLog(store).delivered(S) == set()


def claim_of(store: FolderStore, alert: Alert, number: int, data: bytes) -> None:
    store.write(f"alerts/{S}/{alert.key}.sns.claim-{number:03d}.json", data)


def test_other_objects_beside_the_claims_are_ignored(store: FolderStore, sns: Recorder, alert: Alert) -> None:
    sns.errors = [AlertUnknown("lost")]
    with pytest.raises(AlertUnknown):
        DeliveryLog(store).deliver(alert, sns, at(0))
    claim = f"alerts/{S}/{alert.key}.sns.claim-001.json"
    for stray in (f"{claim}.bak", f"alerts/{S}/{alert.key}.sns.claim-old.json"):
        store.write(stray, store.read(claim))
    with pytest.raises(AlertPending, match="claimed 30 s ago"):
        DeliveryLog(store).deliver(alert, sns, at(30))
    assert DeliveryLog(store).deliver(alert, sns, at(61)) == "delivered"
    assert f"alerts/{S}/{alert.key}.sns.claim-002.json" in store.list("alerts/")


def test_attempts_are_counted_beyond_999(store: FolderStore, sns: Recorder, alert: Alert) -> None:
    for number in (998, 999, 1000):
        claim_of(store, alert, number, b"{")
    assert DeliveryLog(store).deliver(alert, sns, at(0)) == "delivered"
    assert f"alerts/{S}/{alert.key}.sns.claim-1001.json" in store.list("alerts/")


def test_a_claim_of_a_later_version_keeps_its_lease(store: FolderStore, sns: Recorder, alert: Alert) -> None:
    claim = {"schema": "dr-assets/delivery-claim/2", "at": "2026-11-23T12:00:00.000Z", "colour": "red"}
    claim_of(store, alert, 1, json.dumps(claim).encode())
    with pytest.raises(AlertPending, match="claimed 30 s ago"):
        DeliveryLog(store).deliver(alert, sns, at(30))
    assert DeliveryLog(store).deliver(alert, sns, at(61)) == "delivered"


@pytest.mark.parametrize("time", [{}, {"at": 1795435200}, {"at": "noon"}])
def test_a_claim_of_a_later_version_without_a_known_time_is_waited_for_from_its_first_reading(
    store: FolderStore, sns: Recorder, alert: Alert, time: dict[str, object]
) -> None:
    claim_of(store, alert, 1, json.dumps({"schema": "dr-assets/delivery-claim/2", **time}).encode())
    deliveries = DeliveryLog(store)
    for second in (100, 159):
        with pytest.raises(AlertPending):
            deliveries.deliver(alert, sns, at(second))
    assert deliveries.deliver(alert, sns, at(161)) == "delivered"


def test_a_damaged_confirmation_swallows_no_later_outage(daemon: Daemon, sns: Recorder) -> None:
    outage(daemon)
    daemon.store.write(f"alerts/{S}/{RESOLVED}.sns.json", b"{")
    daemon.cursor = None
    outage(daemon, start=1000, end=1060, until=1400)
    assert sns.keys == [OPENED, RESOLVED, f"{S}-writer-000002.opened", f"{S}-writer-000002.resolved"]
