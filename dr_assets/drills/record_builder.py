"""From a journal to a record: what a drill leaves behind for people and auditors. May import its neighbours.

The record's shape is that of `record.py` (docs/records.md); here it is only filled.
"""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from dr_assets import utc
from dr_assets.drills import record
from dr_assets.drills.journal import Journal
from dr_assets.drills.request import Prepared, Request
from dr_assets.history.store import Store
from dr_assets.stack import Stack


def request_json(request: Request, prepared: Prepared) -> dict[str, Any]:
    """Who, why and under which conditions, for the journal."""
    return {
        "kind": request.kind,
        "operator": request.operator,
        "approved_by": request.approved_by,
        "why": request.why,
        "conditions": [condition.as_json() for condition in prepared.conditions],
        "overrides": [override.as_json() for override in request.overrides],
        "corrective_actions": [dict(action) for action in request.corrective_actions],
        "at": utc.now_text(),
    }


def finish(stack: Stack, store: Store, journal: Journal, status: str, reason: str | None) -> dict[str, Any]:
    """Write the record, chained to the one before it, and end the journal. A record that exists already is left as it is."""
    existing = [item for item in record.load(store, stack.environment_suffix) if item["id"] == journal.drill]
    written = existing[0] if existing else record.append(store, document(stack, journal, status, reason))
    journal.end(written["status"])
    return written


def document(stack: Stack, journal: Journal, status: str, reason: str | None) -> dict[str, Any]:
    """The record without its hashes. Figures that were not measured are None, and so is whether they met their target."""
    data, plan = journal.data, journal.data["plan"]
    request = data["request"]
    measured, counted = journal.result("recovered"), journal.result("count")
    rto = dict(measured.get("rto") or {"low_seconds": None, "high_seconds": None, "parts": {}})
    rto["parts"] = {name: rto["parts"].get(name) for name in ("detect", "decide", "database", "traffic")}
    rto |= {"target_seconds": stack.rto_seconds, "met": _met(rto["high_seconds"], stack.rto_seconds)}
    names = ("lost_commits", "lost_seconds", "in_doubt", "acknowledged", "survived")
    rpo = {name: counted.get(name) for name in names}
    rpo |= {"target_seconds": stack.rpo_seconds, "met": _met(rpo["lost_seconds"], stack.rpo_seconds)}
    return {
        "schema": record.SCHEMA,
        "id": journal.drill,
        "kind": request["kind"],
        "scenario": plan["scenario"],
        "stack": stack.environment_suffix,
        "status": status,
        "reason": reason,
        "started_at": request["at"],
        "ended_at": utc.now_text(),
        "who": {
            "operator": request["operator"],
            "approved_by": request["approved_by"],
            "caller_arn": journal.result("baseline").get("caller_arn"),
        },
        "why": request["why"],
        "scope": {
            **{key: plan[key] for key in ("from_site", "to_site", "from_region", "to_region")},
            "database": stack.database_name,
            "tables": ["dr_drill.dr_ledger"],
        },
        "plan_hash": data["plan_hash"],
        "product_version": product_version(),
        "preconditions": request["conditions"],
        "overrides": request["overrides"],
        "timeline": sorted(data["timeline"], key=lambda entry: entry["at"]),
        "rto": rto,
        "rpo": rpo,
        "exposure": _exposure(journal),
        "calls": _counted(data["calls"]),
        "postconditions": journal.result("postconditions").get("conditions", []),
        "deviations": list(data.get("deviations", [])),
        "corrective_actions": _actions(request["corrective_actions"], reason),
        "reconciliation": data.get("reconciliation"),
    }


def _met(value: float | None, target: float) -> bool | None:
    """Unknown is never compliant."""
    return None if value is None else value < target


def _exposure(journal: Journal) -> dict[str, Any] | None:
    """From the moment the old reader stopped protecting the data (the call, or the last good write before it)."""
    marks = {entry["mark"]: entry["at"] for entry in journal.data["timeline"] if entry["mark"]}
    if "T3" not in marks:
        return None
    begun = min(marks[name] for name in ("T0", "T3") if name in marks)
    until = journal.result("protected").get("at")
    seconds = (utc.parse(until) - utc.parse(begun)).total_seconds() if until else None
    return {"from": begun, "until": until, "seconds": seconds}


def _counted(calls: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    total: dict[tuple[Any, ...], int] = {}
    for call in calls:
        key = tuple(call[name] for name in ("phase", "region", "service", "operation", "plane"))
        total[key] = total.get(key, 0) + int(call["count"])
    return [
        {"phase": phase, "region": region, "service": service, "operation": operation, "plane": plane, "count": count}
        for (phase, region, service, operation, plane), count in sorted(total.items())
    ]


def _actions(given: list[Mapping[str, Any]], reason: str | None) -> list[dict[str, Any]]:
    actions = [dict(action) for action in given]
    if reason and not actions:
        actions.append({"text": f"Find and remove the cause: {reason}", "owner": "unassigned", "due": None})
    return actions


def product_version() -> str:
    try:
        return version("dr-assets")
    except PackageNotFoundError:
        return "not installed"


def operator() -> str:
    """The person at the keyboard, as far as the system knows."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
