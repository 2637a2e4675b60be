"""Who wants which drill and why, and what stands against it: data alone, for the engine and for what it writes down.

May import its neighbours `plan` and `preconditions`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dr_assets.drills.plan import Plan, Scenario
from dr_assets.drills.preconditions import Condition, Override


@dataclass(frozen=True)
class Request:
    """Who wants what, and why.

    Attributes:
        approved_by: who approved the plan; a drill without approval is refused.
        overrides: preconditions that somebody took upon themselves.
        settings: fields of `Plan` that differ from its defaults.
        kind: `drill`, or `incident` where this is the real thing.
        from_site: where the writer was when this was decided; refused once it is elsewhere. None: wherever it is.
    """

    scenario: Scenario
    operator: str
    why: str
    approved_by: str | None = None
    overrides: tuple[Override, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    kind: str = "drill"
    corrective_actions: tuple[Mapping[str, Any], ...] = ()
    from_site: str | None = None


@dataclass(frozen=True)
class Prepared:
    """A plan and every precondition, evaluated; nothing has been done."""

    plan: Plan
    conditions: tuple[Condition, ...]
    blocking: tuple[Condition, ...]
