"""Approve drills as a person does who was shown the plan."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dr_assets.drills import runner
from dr_assets.drills.approval import Approval
from dr_assets.drills.record_document import Record
from dr_assets.drills.request import Request
from dr_assets.history.store import Store
from dr_assets.stack import Stack

# For a request of which a test needs no more than that `lee` approved it.
LEE = Approval(kind="plan", offer="0" * 16, by="lee", at="2026-11-23T19:00:00.000Z", until="2026-11-23T19:15:00.000Z")


def approved(stack: Stack, request: Request, by: str = "tester") -> Request:
    """The request with an approval of its plan as it is now. Raises like `runner.propose`."""
    plan = runner.propose(stack, request)
    return replace(request, approval=Approval.given(plan, request.overrides, by))


def start(stack: Stack, store: Store, request: Request, *args: Any) -> Record:
    """Approve the request and run the drill. Raises like `runner.propose` and `runner.start`."""
    return runner.start(stack, store, approved(stack, request), *args)
