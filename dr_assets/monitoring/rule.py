"""The alert rule: which value of which subject is a breach, for how long, and what it means. Pure data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from dr_assets.core.expressions import Role
from dr_assets.core.freshness import Quantity
from dr_assets.monitoring.samples import REPORTED
from dr_assets.monitoring.topics import runbook, topic_of

Severity = Literal["critical", "warning"]

# The daemon ticks every 5 to 10 s: a hold of 8 s is two bad readings in a row at either pace, and one at neither.
HOLD_SECONDS, CLEAR_SECONDS = 8.0, 20.0
# For a subject that is reported once, when it changes: there is no second reading to wait for.
AT_ONCE: Mapping[str, Any] = {"hold": 0.0, "clear_hold": 0.0}


@dataclass(frozen=True)
class Rule:
    """When a subject is in breach. Durations in seconds.

    above/below    breach beyond this value (exclusive); one of them is set, or neither where only silence matters
    clear          the value that ends a breach (inclusive): hysteresis. None: the threshold itself
    role           the role its site must have for the rule to apply; None: always
    settles        how long after a change of roles its readings are still about the former role, and do not count
    hold           how long a breach must last, by the source's own clock, before it counts
    clear_hold     how long the values must be good before the breach ends
    quantity       of its subject: a reading older than its age limit no longer passes
    unknown_after  silence that is itself worth an alert; None: silence is ignored
    unknown_is_breach  a subject that its source answers without a value is in breach: what must have happened never did
    observed_first  silence counts only once the source has yielded the subject, with a value or without: before the stack is
                   provisioned it yields nothing
    resource       the catalogue key whose lineage gives the blast radius
    covered_by     topics that explain this breach: while one of them is open, the breach is evidence there and opens no incident
    anchor         runbook heading; empty: the topic's
    """

    stack: str
    site: str
    source: str
    metric: str
    topic: str
    text: str
    above: float | None = None
    below: float | None = None
    clear: float | None = None
    unit: str = ""
    role: Role | None = None
    settles: float = 0.0
    hold: float = HOLD_SECONDS
    clear_hold: float = CLEAR_SECONDS
    quantity: Quantity = REPORTED
    unknown_after: float | None = None
    unknown_is_breach: bool = False
    observed_first: bool = False
    severity: Severity = "warning"
    resource: str = ""
    covered_by: tuple[str, ...] = ()
    escalate_after: float = 3600.0
    anchor: str = ""

    @property
    def key(self) -> str:
        """The subject of the samples that it evaluates."""
        return f"{self.stack}/{self.site}/{self.source}/{self.metric}"

    @property
    def runbook(self) -> str:
        topic = topic_of(self.topic)
        return runbook(self.anchor or (topic.anchor if topic else ""))

    @property
    def objective(self) -> str:
        if self.above is not None:
            return f"at most {self.above:g} {self.unit}".strip()
        return f"at least {self.below:g} {self.unit}".strip() if self.below is not None else "a reading"

    def breached(self, value: float, raised: bool) -> bool | None:
        """True: breach. False: good. None: between the two thresholds, which changes nothing."""
        if (self.above is not None and value > self.above) or (self.below is not None and value < self.below):
            return True
        if raised and self.clear is not None and (value > self.clear if self.above is not None else value < self.clear):
            return None
        return False
