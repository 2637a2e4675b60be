"""A drill request (operator, scenario, reason, overrides), and the request prepared with its plan and preconditions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dr_assets import utc
from dr_assets.clock import Instant, age, instant
from dr_assets.documents import Part, storable
from dr_assets.drills.approval import Approval
from dr_assets.drills.parts import Condition, CorrectiveAction, Items, Kind, Override, UtcText
from dr_assets.drills.plan import Plan, Scenario

REUSE_SECONDS = 60.0


@dataclass(frozen=True)
class Request:
    """Who wants what, and why.

    Attributes:
        approval: consent to the plan, by its hash; a drill without is refused.
        overrides: blocking preconditions that a person decided to override.
        settings: fields of `Plan` that differ from its defaults.
        kind: `drill`, or `incident` for a real event.
        from_site: where the writer was when this was decided; refused once it is elsewhere. None: wherever it is.
    """

    scenario: Scenario
    operator: str
    why: str
    approval: Approval | None = None
    overrides: tuple[Override, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    kind: Kind = "drill"
    from_site: str | None = None

    def approved(self, conditions: tuple[Condition, ...]) -> ApprovedRequest:
        """The request as the journal keeps it."""
        approved = ApprovedRequest(
            kind=self.kind,
            operator=self.operator,
            approved_by=self.approval.by if self.approval else None,
            why=self.why,
            conditions=conditions,
            overrides=self.overrides,
            corrective_actions=(),
            at=utc.now_text(),
        )
        return ApprovedRequest.model_validate_json(json.dumps(storable(approved.model_dump(mode="json"))))


class ApprovedRequest(Part):
    """A request that was approved at `at`, with every precondition as evaluated then.

    `corrective_actions`: earlier versions kept some here; a record has them beside its own.
    """

    kind: Kind
    operator: str
    approved_by: str | None
    why: str
    conditions: Items[Condition]
    overrides: Items[Override]
    corrective_actions: Items[CorrectiveAction]
    at: UtcText


@dataclass(frozen=True)
class Prepared:
    """A plan and every precondition, evaluated; nothing has been done. `at`: when the evaluation began."""

    plan: Plan
    conditions: tuple[Condition, ...]
    blocking: tuple[Condition, ...]
    at: Instant = field(default_factory=instant)

    def reusable(self) -> Mapping[str, Condition]:
        """What need not be evaluated again within REUSE_SECONDS: that the export buckets, listed whole, hold the same."""
        if age(self.at) > REUSE_SECONDS:
            return {}
        return {item.name: item for item in self.conditions if item.name == "bucket-replicated" and item.passed}
