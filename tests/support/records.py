"""Samples and records for the report tests, made by hand."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest

UTC = dt.timezone.utc
START = dt.datetime(2026, 3, 2, tzinfo=UTC)  # a Monday


def iso(at: dt.datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def make_record(
    at: dt.datetime = START,
    scenario: str = "failover",
    parts: tuple[float | None, float | None, float | None, float | None] = (1.0, 2.0, 3.0, 4.0),
    status: str = "succeeded",
    lost: float | None = 0.0,
    exposure: float | None = 30.0,
    **more: Any,
) -> dict[str, Any]:
    """A record that began at `at`; its RTO is the sum of the parts, seen to within half a second."""
    known = [part for part in parts if part is not None]
    high = sum(known) if len(known) == 4 else None
    seconds = dt.timedelta(seconds=1)
    return {
        "schema": "dr-assets/record/1",
        "id": f"{at:%Y%m%dT%H%M%SZ}-{scenario}",
        "kind": "drill",
        "scenario": scenario,
        "stack": "l6p3z2w4",
        "status": status,
        "reason": None if status == "succeeded" else "the target took no write",
        "started_at": iso(at),
        "ended_at": iso(at + 60 * seconds),
        "who": {"operator": "Ada", "approved_by": "Grace", "caller_arn": None},
        "why": "quarterly",
        "scope": {
            "from_site": "primary",
            "to_site": "secondary",
            "from_region": "us-east-1",
            "to_region": "us-west-2",
            "database": "transactiondb",
            "tables": ["dr_drill.dr_ledger"],
        },
        "plan_hash": "0" * 64,
        "product_version": "0.1.0",
        "preconditions": [
            {"name": "lag", "passed": True, "reason": None},
            {"name": "parity", "passed": None, "reason": "no answer"},
        ],
        "overrides": [{"precondition": "parity", "reason": "the region is gone", "by": "Grace"}],
        "timeline": [{"mark": "T0", "at": iso(at + 10 * seconds), "source": "client", "text": "last good write"}],
        "rto": {
            "low_seconds": None if high is None else high - 0.5,
            "high_seconds": high,
            "parts": dict(zip(("detect", "decide", "database", "traffic"), parts, strict=True)),
            "target_seconds": 300,
            "met": None if high is None else high < 300,
        },
        "rpo": {
            "lost_commits": None if lost is None else int(lost * 10),
            "lost_seconds": lost,
            "in_doubt": 0,
            "acknowledged": 100,
            "survived": 100 - int((lost or 0) * 10),
            "target_seconds": 60,
            "met": None if lost is None else lost < 60,
        },
        "exposure": {
            "from": iso(at),
            "until": None if exposure is None else iso(at + exposure * seconds),
            "seconds": exposure,
        },
        "calls": [],
        "postconditions": [],
        "deviations": [],
        "corrective_actions": [],
        "reconciliation": None,
        **more,
    }


@pytest.fixture
def record() -> Callable[..., dict[str, Any]]:
    return make_record
