"""Approvals: consent to one plan with its overrides, named by hash and valid for a quarter of an hour.

Whoever approves has been shown the plan. What runs has the same hash, or nothing runs. Two approvals stand for plans that nobody was
shown, and cover little: that of the weekly schedule, and that of an armed automatic failover.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import StringConstraints

from dr_assets import utc
from dr_assets.caller import Person
from dr_assets.documents import Part, sha256_of, storable
from dr_assets.drills.parts import Override, UtcText
from dr_assets.drills.plan import Plan
from dr_assets.errors import RefusedError
from dr_assets.stack import Stack

VALID = timedelta(minutes=15)
_TOKEN = re.compile(r"(?P<offer>[0-9a-f]{16}|schedule|armed)@(?P<at>\d{8}T\d{6}Z)")
_TIME = "%Y%m%dT%H%M%SZ"


class ApprovalExpiredError(RefusedError):
    """The approval has expired and nothing has been called: only another approval is missing."""


class Approval(Part):
    """`by` approved at `at`; the call that moves the writer may be made until `until` (both UTC).

    offer: the digest of the plan and its overrides; None for a standing approval, of a `schedule` or an `arming`.
    """

    kind: Literal["plan", "schedule", "arming"]
    offer: Annotated[str, StringConstraints(pattern="^[0-9a-f]{16}$")] | None
    by: Person
    at: UtcText
    until: UtcText

    @classmethod
    def given(cls, plan: Plan, overrides: Iterable[Override], by: str, at: datetime | None = None) -> Approval:
        """Approval of a plan that was shown to `by` (default: now)."""
        return _approval("plan", digest(plan, overrides), by, at or utc.now())

    @classmethod
    def from_token(cls, text: str, by: str) -> Approval:
        """The approval that a `token` stands for. Raises RefusedError where it is none."""
        found = _TOKEN.fullmatch(text.strip())
        try:
            at = datetime.strptime(found["at"], _TIME).replace(tzinfo=utc.UTC) if found else None
        except ValueError:
            at = None
        if not found or at is None:
            raise RefusedError(
                f"{text!r} is not the token of a plan. Copy it from --dry-run: 16 digits, @, and a time."
            )
        if not by.strip():
            raise RefusedError("An approval needs the name of whoever approves (approved_by).")
        match found["offer"]:
            case "schedule":
                return _approval("schedule", None, by, at)
            case "armed":
                return _approval("arming", None, by, at)
            case offer:
                return _approval("plan", offer, by, at)

    def expired(self, now: datetime) -> bool:
        return now >= utc.parse(self.until)


def digest(plan: Plan, overrides: Iterable[Override]) -> str:
    """Sixteen hexadecimal digits for a plan together with what is overridden and why, whoever does."""
    why = sorted((item.precondition, storable(item.reason)) for item in overrides)
    return sha256_of([plan.hash, why])[:16]


def token(plan: Plan, overrides: Iterable[Override], at: datetime | None = None) -> str:
    """What approves this plan elsewhere (`dr drill … --plan`, `plan` in a run config) until VALID after it was shown."""
    return f"{digest(plan, overrides)}@{at or utc.now():{_TIME}}"


def standing_token(kind: Literal["schedule", "armed"], at: datetime) -> str:
    """The token of a standing approval that launches a run at `at`."""
    return f"{kind}@{at.astimezone(utc.UTC):{_TIME}}"


def is_production(stack: Stack) -> bool:
    """Whether the stack's Environment tag names production."""
    return stack.tags["Environment"].strip().lower() in {"prod", "production", "live", "prd"}


def _approval(kind: Literal["plan", "schedule", "arming"], offer: str | None, by: str, at: datetime) -> Approval:
    by, until = storable(by), utc.to_text(at + VALID)
    return Approval(kind=kind, offer=offer, by=by, at=utc.to_text(at), until=until)
