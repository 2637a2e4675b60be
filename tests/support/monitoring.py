"""Shorthand for the monitoring tests: a clock that is set by hand, samples, channels that record or refuse."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta, timezone

from dr_assets.alerting.message import Alert
from dr_assets.core.freshness import Known
from dr_assets.monitoring.evaluate import Decision, decide
from dr_assets.monitoring.incidents import NOTIFIED_STEPS
from dr_assets.monitoring.rule import Rule
from dr_assets.monitoring.rules import SOURCE_KINDS, rules_for
from dr_assets.monitoring.samples import REPORTED, Sample
from dr_assets.monitoring.state import State
from dr_assets.stack import SITES, Site, Stack

START = datetime(2026, 11, 23, 12, 0, tzinfo=timezone.utc)
S = "l6p3z2w4"
SENSORS = ("replication_lag", "health_checks", "event_queue", "drift", "run_failure", "drill_overdue")
QUANTITIES = {(kind.name, metric.name): metric.quantity for kind in SOURCE_KINDS for metric in kind.metrics}


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def sample(
    seconds: float, value: float | None, metric: str = "connectivity", site: str = "primary", source: str = "metric"
) -> Sample:
    return Sample(at(seconds), S, site, source, metric, value, QUANTITIES.get((source, metric), REPORTED))


def known(found: Sample, seconds: float) -> tuple[float | None, str]:
    """(value, "") of a sample that can be believed at this second, else (None, why not)."""
    assessed = found.assess(at(seconds))
    return (assessed.value, "") if isinstance(assessed, Known) else (None, assessed.reason)


def roles(seconds: float, writer: str = "primary") -> list[Sample]:
    return [
        Sample(at(seconds), S, site, "topology", "role", 1.0 if site == writer else 0.0)
        for site in ("primary", "secondary")
    ]


def healthy(seconds: float, writer: str = "primary", without: Iterable[str] = ()) -> list[Sample]:
    """Every sample of a healthy stack, as the poller yields them; alarms have no data where AWS has none."""
    reader = "secondary" if writer == "primary" else "primary"
    found = [
        *roles(seconds, writer),
        sample(seconds, 1.0, "connectivity", writer),
        sample(seconds, 1.0, "connectivity", writer, "alarm"),
        sample(seconds, 1.0, "health-check", writer, "health-check"),
        sample(seconds, 1.0, "health-check", reader, "health-check"),
        sample(seconds, 20.0, "cpu", writer),
        sample(seconds, 5.0, "connections", writer),
        *(sample(seconds, 1.0, "answers", site, "region") for site in (writer, reader)),
    ]
    for metric in ("replication-lag", "rpo-lag"):
        found += [
            sample(seconds, 900.0, metric, reader),
            sample(seconds, 1.0, metric, reader, "alarm"),
            sample(seconds, None, metric, writer),  # AWS publishes lags at the reader alone
            sample(seconds, None, metric, writer, "alarm"),
        ]
    return [s for s in found if s.subject not in {f"{S}/{key}" for key in without}]


class Run:
    """`decide` tick after tick, the state going through JSON each time, as a cursor does."""

    def __init__(self, stack: Stack, rules: Sequence[Rule] | None = None) -> None:
        self.rules = rules_for(stack) if rules is None else rules
        self.cursor: str | None = None
        self.steps: list[tuple[float, str]] = []
        self.last = Decision(State.empty())

    def tick(self, seconds: float, samples: Iterable[Sample], silenced: Sequence[str] = ()) -> Decision:
        self.last = decide(State.loads(self.cursor), samples, at(seconds), self.rules, silenced)
        self.cursor = self.last.state.dumps()
        self.steps += [
            (seconds, f"{t.incident.topic} {t.step}") for t in self.last.transitions if t.step in NOTIFIED_STEPS
        ]
        return self.last

    @property
    def delivered(self) -> list[str]:
        return [step for _, step in self.steps]


class Recorder:
    """A notification channel that keeps what it was given; `trouble` is raised instead while there is some."""

    def __init__(self, name: str = "sns", deduplicates: bool = False) -> None:
        self.name, self.deduplicates = name, deduplicates
        self.sites: Sequence[Site] = SITES
        self.sent: list[Alert] = []
        self.errors: list[Exception] = []
        self.after_sending: Exception | None = None

    def accepts(self, alert: Alert) -> bool:
        return True

    def send(self, alert: Alert) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.sent.append(alert)
        if self.after_sending:
            error, self.after_sending = self.after_sending, None
            raise error

    @property
    def keys(self) -> list[str]:
        return [alert.key for alert in self.sent]
