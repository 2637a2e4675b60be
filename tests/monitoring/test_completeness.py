"""A source, metric, topic, message kind or runbook anchor that is only half added fails here; the text says what to add where."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from dr_assets.monitoring.event_conditions import CONDITIONS, EventCondition
from dr_assets.monitoring.rule import Rule
from dr_assets.monitoring.rules import DRILL_DAYS, SOURCE_KINDS, rules_for
from dr_assets.monitoring.sources.cloudwatch import ALARM_METRICS
from dr_assets.monitoring.sources.source import Metric, SourceKind
from dr_assets.monitoring.subject_rules import drift_rule, drill_rule, event_rule, run_rule
from dr_assets.monitoring.topics import TOPICS, Topic, topic_of
from dr_assets.resources.catalog import catalog
from dr_assets.resources.dns.rows import SIGNAL
from dr_assets.stack import SITES, Stack, load_stack
from dr_assets.ticks.event_queue import KINDS, MessageKind
from tests.support.monitoring import SENSORS

ROOT = Path(__file__).resolve().parents[2]
RULES, TABLE = "dr_assets/monitoring/rules.py", "SOURCE_KINDS in dr_assets/monitoring/rules.py"
ALERTS = (ROOT / "docs/alerts.md").read_text(encoding="utf-8")
TESTS = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "tests").rglob("test_*.py")))
# The queues' own failures, and AWS Health's reports: no RDS event begins them.
QUEUE_CONDITIONS = {"poison", "unread", "unanswered", "aws-health"}
LONGEST_DEADLINE = 15.0


def anchors(text: str) -> set[str]:
    """The headings of a page as GitHub links to them."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


RUNBOOKS = anchors((ROOT / "docs/runbooks.md").read_text(encoding="utf-8"))


def every_rule(stack: Stack) -> list[Rule]:
    s = stack.environment_suffix
    later = [event_rule(f"{s}/{site}/events/{name}") for site in SITES for name in CONDITIONS]
    drills = [
        drill_rule(f"{s}/global/records/{name}")
        for name in ("readiness", "unfinished", *(f"{d}-age" for d in DRILL_DAYS))
    ]
    found = f"{s}/primary/dagster/matches:primary/aurora/cluster"
    return [*rules_for(stack), *later, *drills, run_rule(f"{s}/global/dagster/verify_stack"), drift_rule(found)]


def about_rules(rules: Iterable[Rule], kinds: Sequence[SourceKind], resources: set[str]) -> Iterator[str]:
    by_name = {kind.name: {metric.name: metric for metric in kind.metrics} for kind in kinds}
    for rule in rules:
        if rule.source in by_name:
            metric = by_name[rule.source].get(rule.metric)
            if metric is None:
                yield f"{rule.key}: {rule.source} does not yield {rule.metric}. Add a Metric to its row of {TABLE}."
            elif metric.quantity.unit not in ("bool", rule.unit):
                yield f"{rule.key}: the rule has the unit {rule.unit!r}, the metric {metric.quantity.unit!r}. Correct {RULES}."
        elif rule.source not in ("events", "dagster", "records"):
            yield f"{rule.key}: there is no source {rule.source}. Add a row to {TABLE}."
        if topic_of(rule.topic) is None:
            yield f"{rule.key}: there is no topic {rule.topic}. Add a row to TOPICS in dr_assets/monitoring/topics.py."
        elif rule.runbook.partition("#")[2] not in RUNBOOKS:
            yield f"{rule.key}: docs/runbooks.md has no heading for {rule.runbook}. Add the section."
        if rule.resource and rule.resource not in resources:
            yield f"{rule.key}: the catalogue has no resource {rule.resource}. Correct the rule in {RULES}."


def about_sources(kinds: Iterable[SourceKind], rules: Sequence[Rule], granted: set[str]) -> Iterator[str]:
    ruled = {(rule.source, rule.metric) for rule in rules}
    for kind in kinds:
        for metric in kind.metrics:
            if (kind.name, metric.name) not in ruled and not metric.without_rule:
                yield f"{kind.name}: no rule reads {metric.name}. Add a rule to {RULES}, or `without_rule` to the Metric."
        if f"| `{kind.name}` |" not in ALERTS:
            yield f"{kind.name}: docs/alerts.md does not have it. Add a row to its table of sources."
        if kind.build is None:
            continue
        if not 0 < kind.deadline_seconds <= LONGEST_DEADLINE:
            yield f"{kind.name}: its deadline must be above 0 and at most {LONGEST_DEADLINE:g} s. Set it in {TABLE}."
        for action in set(kind.actions) - granted:
            yield f"{kind.name}: the sensors may not call {action}. Add it to _SENSORS in dr_assets/resources/iam_policy.py."
        if not kind.actions:
            yield f"{kind.name}: `actions` is empty. Name the IAM actions of its calls in {TABLE}."
        module = kind.build.__module__.removeprefix("dr_assets.monitoring.sources.")
        module = kind.name if module == "dr_assets.monitoring.rules" else module  # imported only where it is used
        if not re.search(rf"sources\.{module} import|sources import ({module}|\w+ as {module}_view)\b", TESTS):
            yield f"{kind.name}: no test imports sources.{module}. Add tests/monitoring/sources/test_{module}.py."


def about_topics(topics: Iterable[Topic]) -> Iterator[str]:
    for topic in topics:
        if topic.sensor not in SENSORS:
            yield f"{topic.name}: there is no sensor {topic.sensor}. Correct TOPICS in dr_assets/monitoring/topics.py."
        if topic.anchor not in RUNBOOKS:
            yield f"{topic.name}: docs/runbooks.md has no heading for #{topic.anchor}. Add the section."
        if not re.search(rf"`{topic.name}[`.]", ALERTS):
            yield f"{topic.name}: docs/alerts.md does not have it. Add it to the table of sensors."
        if not topic.text:
            yield f"{topic.name}: it has no text. Add it to TOPICS in dr_assets/monitoring/topics.py."


def about_messages(kinds: Iterable[MessageKind], conditions: Iterable[EventCondition]) -> Iterator[str]:
    for kind in kinds:
        if not kind.text:
            yield f"message kind {kind.name}: it has no text. Add it to KINDS in dr_assets/ticks/event_queue.py."
        if kind.anchor not in RUNBOOKS:
            yield f"message kind {kind.name}: docs/runbooks.md has no heading for #{kind.anchor}. Add the section."
    for condition in conditions:
        if not condition.text:
            yield f"condition {condition.name}: it has no text. Add it in dr_assets/monitoring/event_conditions.py."
        if condition.name not in QUEUE_CONDITIONS and not (condition.begins and condition.ends):
            yield (
                f"condition {condition.name}: no RDS event begins it, or none ends it. Name the events in "
                "dr_assets/monitoring/event_conditions.py."
            )


RESOURCES = {resource.key for resource in catalog(load_stack())}
ALL_RULES = every_rule(load_stack())


def test_every_rule_has_its_source_metric_topic_runbook_and_resource() -> None:
    assert list(about_rules(ALL_RULES, SOURCE_KINDS, RESOURCES)) == []


def test_every_source_has_rules_a_deadline_permissions_a_test_and_its_documentation(granted: set[str]) -> None:
    assert list(about_sources(SOURCE_KINDS, ALL_RULES, granted)) == []


def test_every_topic_has_its_sensor_runbook_and_documentation() -> None:
    assert list(about_topics(TOPICS.values())) == []
    assert {topic.sensor for topic in TOPICS.values()} == set(SENSORS), "a sensor without a topic, or the reverse"


def test_every_message_kind_and_condition_has_its_text_runbook_and_events() -> None:
    assert list(about_messages(KINDS.values(), CONDITIONS.values())) == []


def test_every_alarm_of_the_catalogue_is_polled() -> None:
    alarms = {key.rpartition("/alarm-")[2] for key in RESOURCES if "/alarm-" in key}
    # The signal decides DNS alone; the heartbeats' alarms are about the sensors themselves.
    others = {SIGNAL, *(name for name in alarms if name.startswith("heartbeat-"))}
    assert alarms - others == set(ALARM_METRICS), "correct ALARM_METRICS in dr_assets/monitoring/sources/cloudwatch.py"


RULE = next(rule for rule in ALL_RULES if rule.source == "metric" and rule.metric == "cpu")
METRIC = SOURCE_KINDS[0]
TOPIC = TOPICS["writer"]
RDS = KINDS["rds"]
FAILED = CONDITIONS["failover-failed"]


@pytest.mark.parametrize(
    ("problems", "expected"),
    [
        (
            lambda: about_rules([replace(RULE, metric="heat")], SOURCE_KINDS, RESOURCES),
            "does not yield heat. Add a Metric",
        ),
        (lambda: about_rules([replace(RULE, unit="ms")], SOURCE_KINDS, RESOURCES), "unit 'ms', the metric 'percent'"),
        (lambda: about_rules([replace(RULE, source="moon")], SOURCE_KINDS, RESOURCES), "no source moon. Add a row"),
        (
            lambda: about_rules([replace(RULE, topic="moon")], SOURCE_KINDS, RESOURCES),
            "no topic moon. Add a row to TOPICS",
        ),
        (
            lambda: about_rules([replace(RULE, anchor="moon")], SOURCE_KINDS, RESOURCES),
            "runbooks.md#moon. Add the section",
        ),
        (lambda: about_rules([replace(RULE, resource="x/y")], SOURCE_KINDS, RESOURCES), "no resource x/y"),
        (
            lambda: about_sources([replace(METRIC, metrics=(Metric("heat"),))], ALL_RULES, set(METRIC.actions)),
            "no rule reads heat",
        ),
        (
            lambda: about_sources([replace(METRIC, name="moon", metrics=())], ALL_RULES, set(METRIC.actions)),
            "alerts.md does not have it",
        ),
        (
            lambda: about_sources([replace(METRIC, deadline_seconds=0.0)], ALL_RULES, set(METRIC.actions)),
            "its deadline must be above 0",
        ),
        (
            lambda: about_sources([METRIC], ALL_RULES, {"cloudwatch:ListMetrics"}),
            "may not call cloudwatch:GetMetricData. Add it to _SENSORS",
        ),
        (lambda: about_sources([replace(METRIC, actions=())], ALL_RULES, set()), "Name the IAM actions"),
        (
            lambda: about_sources([replace(METRIC, build=stray)], ALL_RULES, set(METRIC.actions)),
            "no test imports sources.",
        ),
        (lambda: about_topics([replace(TOPIC, sensor="moon")]), "no sensor moon"),
        (lambda: about_topics([replace(TOPIC, anchor="moon")]), "no heading for #moon"),
        (lambda: about_topics([replace(TOPIC, name="moon")]), "docs/alerts.md does not have it"),
        (lambda: about_topics([replace(TOPIC, text="")]), "it has no text"),
        (lambda: about_messages([replace(RDS, text="")], []), "message kind rds: it has no text. Add it to KINDS"),
        (lambda: about_messages([replace(RDS, anchor="moon")], []), "no heading for #moon"),
        (lambda: about_messages([], [replace(FAILED, text="")]), "condition failover-failed: it has no text"),
        (lambda: about_messages([], [replace(FAILED, ends=())]), "none ends it"),
    ],
)
def test_what_is_half_added_is_found(problems: Callable[[], Iterable[str]], expected: str) -> None:
    found = list(problems())
    assert len(found) == 1
    assert expected in found[0]


def stray(*_: object) -> tuple[()]:
    return ()


stray.__module__ = "dr_assets.monitoring.sources.stray"
