"""Samples for the `drill_overdue` sensor: age of each scenario's last successful drill, changes since, drills left unfinished."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime

from dr_assets import utc
from dr_assets.drills.journal import unfinished
from dr_assets.drills.lock import DrillLock
from dr_assets.history.store import Store
from dr_assets.monitoring.rules import DRILL_DAYS, UNFINISHED
from dr_assets.monitoring.samples import DAYS, REPORTED, Sample

# A scenario that never succeeded: overdue whatever its limit.
NEVER_DAYS = 36500.0
RECORDS_READ = 20


def drill_samples(
    store: Store, stack: str, now: datetime, changed_since: Callable[[datetime], str | None]
) -> list[Sample]:
    """The age of each scenario's last successful drill in days; whether the newest proof still stands, and whether no drill
    waits to be resumed (1 or 0).

    `changed_since(proof)` names what changed after that time, or None. Raises DrError where the store does not answer.
    """
    proofs = last_proofs(store, stack)
    samples = []
    for scenario in DRILL_DAYS:
        at = proofs.get(scenario)
        age = (now - at).total_seconds() / 86400 if at else NEVER_DAYS
        note = f"last {scenario} drill that succeeded: {at:%Y-%m-%d}" if at else f"no {scenario} drill ever succeeded"
        samples.append(Sample(now, stack, "global", "records", f"{scenario}-age", age, DAYS, note))
    newest = max(proofs.values(), default=None)
    change = changed_since(newest) if newest else None
    value = 0.0 if newest is None or change else 1.0
    note = change or ("nothing was ever proven" if newest is None else "")
    running = DrillLock(store, stack, "").holder()
    left = [drill for drill in unfinished(store, stack) if drill != running]
    waiting = f"{', '.join(left)}: run `dr drill resume` or `dr drill abort`" if left else ""
    return [
        *samples,
        Sample(now, stack, "global", "records", "readiness", value, REPORTED, note),
        Sample(now, stack, "global", "records", UNFINISHED, 0.0 if left else 1.0, REPORTED, waiting),
    ]


def last_proofs(store: Store, stack: str) -> dict[str, datetime]:
    """When each scenario's last successful drill ended (drills and incidents both prove). Reads as few records as it can."""
    found: dict[str, datetime] = {}
    read: dict[str, int] = {}
    for key in reversed(store.list(f"records/{stack}/")):
        scenario = next((name for name in DRILL_DAYS if f"-{name}-" in key), None)
        if scenario is None or scenario in found or read.get(scenario, 0) >= RECORDS_READ:
            continue
        read[scenario] = read.get(scenario, 0) + 1
        try:
            record = json.loads(store.read(key))
            if record.get("status") == "succeeded" and record.get("ended_at"):
                found[scenario] = utc.parse(str(record["ended_at"]))
        except (KeyError, ValueError):
            continue  # a record that cannot be read proves nothing
    return found
