"""Samples for the `drill_overdue` sensor: age of each scenario's last proof, changes since, drills left unfinished."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from dr_assets import utc
from dr_assets.drills import record
from dr_assets.drills.journal import unfinished
from dr_assets.drills.lock import DrillLock
from dr_assets.history.store import Store
from dr_assets.monitoring.rules import DRILL_DAYS, UNFINISHED
from dr_assets.monitoring.samples import DAYS, REPORTED, Sample


def drill_samples(
    store: Store, stack: str, now: datetime, changed_since: Callable[[datetime], str | None]
) -> list[Sample]:
    """The age of each scenario's last proof in days, None where it was never proven; whether the newest proof still stands, and whether no drill waits to be
    resumed (1 or 0).

    `changed_since(proof)` names what changed after that time, or None. Raises DrError where the store does not answer.
    """
    proofs = last_proofs(store, stack, now)
    samples = []
    for scenario in DRILL_DAYS:
        at = proofs.get(scenario)
        age = (now - at).total_seconds() / 86400 if at else None
        note = (
            f"last {scenario} drill within RTO and RPO: {at:%Y-%m-%d}"
            if at
            else f"no {scenario} drill ever succeeded within RTO and RPO"
        )
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


def last_proofs(store: Store, stack: str, now: datetime) -> dict[str, datetime]:
    """When each scenario was last proven: the end of its newest drill or incident that succeeded within both objectives, as
    the reports count it. A record that is damaged, or that ends in the future, proves nothing. Raises DrError."""
    found: dict[str, datetime] = {}
    for each in record.load(store, stack):
        ended = utc.parse(each.ended_at)
        if each.good and ended <= now:
            found[each.scenario] = max(ended, found.get(each.scenario, ended))
    return found
