"""The PagerDuty channel: trigger and resolve by incident, critical incidents alone."""

from __future__ import annotations

from dataclasses import replace

from dr_assets.alerting.channels.pagerduty import PagerDutyChannel
from dr_assets.alerting.message import compose
from dr_assets.monitoring.incidents import Transition
from dr_assets.resources.catalog import catalog
from dr_assets.stack import Stack
from tests.alerting.conftest import Hook
from tests.support.monitoring import S


def test_pagerduty_gets_a_body_of_its_own(hook: Hook, transition: Transition, stack: Stack) -> None:
    alert = compose(transition, {resource.key: resource for resource in catalog(stack)}, "https://dagster/x")
    channel = PagerDutyChannel("routing", hook.url)
    channel.send(alert)
    (pager,) = hook.bodies
    assert pager == channel.body(alert)
    assert pager["routing_key"] == "routing"
    assert pager["event_action"] == "trigger"
    assert pager["dedup_key"] == f"{S}-writer-000001"
    assert pager["payload"]["severity"] == "critical"
    assert pager["links"][0]["href"] == "https://dagster/x"
    assert {"summary", "source", "severity"} <= pager["payload"].keys()


def test_only_critical_incidents_go_to_pagerduty(transition: Transition) -> None:
    pager = PagerDutyChannel("key")
    assert pager.accepts(compose(transition, {}))
    warning = replace(transition, incident=transition.incident.updated(severity="warning"))
    assert not pager.accepts(compose(warning, {}))
