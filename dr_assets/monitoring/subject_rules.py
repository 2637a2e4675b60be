"""Build the alert rules for subjects that are not known beforehand: events, runs, checks, drills.

`subject` is a sample's, STACK/SITE/SOURCE/METRIC.
"""

from __future__ import annotations

from dr_assets.monitoring.event_conditions import condition_of
from dr_assets.monitoring.rule import AT_ONCE, Rule
from dr_assets.monitoring.rules import DRILL_DAYS, DRILL_JOBS, UNFINISHED
from dr_assets.monitoring.runs import RunSubject
from dr_assets.monitoring.samples import STATE
from dr_assets.monitoring.topics import DRIFT, DRILLS, EVENTS, SOURCES, divided


def channel_rule(stack: str, channel: str) -> Rule:
    """For a notification channel: it took the last alert it was given. The other channels report it."""
    return Rule(
        stack=stack,
        site="global",
        source="channel",
        metric=channel,
        topic=divided(SOURCES, "channel", channel),
        text=f"The channel {channel} does not take alerts: its recipients are not notified",
        below=1.0,
        quantity=STATE,
        anchor="a-channel-refuses",
    )


def event_rule(subject: str) -> Rule:
    """For a condition of the event queue."""
    stack, site, source, name = subject.split("/", 3)
    condition = condition_of(name)
    return Rule(
        stack=stack,
        site=site,
        source=source,
        metric=name,
        topic=divided(EVENTS, *name.split(":", 1), site),
        text=condition.text,
        below=1.0,
        hold=condition.hold,
        clear_hold=0.0,
        severity=condition.severity,
        resource=f"{site}/{condition.resource}",
        covered_by=tuple(divided(each, site) if each == SOURCES else each for each in condition.covered_by),
    )


def run_rule(subject: str) -> Rule:
    """For what a job's runs are about: the last one did not do all of it, or has been in progress for too long."""
    stack, site, source, metric = subject.split("/", 3)
    about = RunSubject.parse(metric)
    return Rule(
        stack=stack,
        site=site,
        source=source,
        metric=metric,
        topic=about.topic,
        text=f"{about.text[0].upper()}{about.text[1:]} did not succeed",
        below=1.0,
        severity="critical" if about.job in DRILL_JOBS else "warning",
        **AT_ONCE,
    )


def drift_rule(subject: str) -> Rule:
    """For an asset check, CHECK:RESOURCE: it failed when it was evaluated last."""
    stack, site, source, metric = subject.split("/", 3)
    resource = metric.split(":", 1)[1]
    return Rule(
        stack=stack,
        site=site,
        source=source,
        metric=metric,
        topic=divided(DRIFT, *reversed(resource.split("/")[:2])),
        text=f"{resource} differs from the stack file",
        below=1.0,
        resource=resource,
        **AT_ONCE,
    )


def drill_rule(subject: str) -> Rule:
    """For SCENARIO-age (days since its last proof), `readiness` (that proof still stands) and `unfinished`."""
    stack, site, source, metric = subject.split("/", 3)
    scenario = metric.removesuffix("-age")
    readiness = metric == "readiness"
    if metric == UNFINISHED:
        return Rule(
            stack=stack,
            site=site,
            source=source,
            metric=metric,
            topic=divided(DRILLS, UNFINISHED),
            text="A drill ended in the middle and waits to be resumed or aborted",
            below=1.0,
            severity="critical",
            resource="global/aurora/global-cluster",
            **AT_ONCE,
        )
    return Rule(
        stack=stack,
        site=site,
        source=source,
        metric=metric,
        topic=divided(DRILLS, scenario),
        text="The last proof no longer stands: the stack changed since"
        if readiness
        else f"The {scenario} drill is overdue",
        above=None if readiness else DRILL_DAYS[scenario],
        below=1.0 if readiness else None,
        unknown_is_breach=not readiness,  # never proven
        unit="" if readiness else "days",
        resource="global/aurora/global-cluster",
        covered_by=tuple(divided(DRILLS, name) for name in DRILL_DAYS) if readiness else (),
        escalate_after=3600.0 if readiness else 14 * 86400.0,
        **AT_ONCE,
    )
