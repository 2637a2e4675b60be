"""Corrective actions with their changes applied, and the sensors' incidents, as tables for the reports.

Pure; pandas is imported inside functions only. A record is never changed, so that an action got an owner, another date
or is done is kept in documents of its own (`history.documents`); the latest change counts.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dr_assets import utc
from dr_assets.history.documents import ActionChange, StoredIncident


@dataclass(frozen=True)
class Action:
    """One corrective action with all changes applied. `number` counts from 1 within its record."""

    record: str
    number: int
    text: str
    owner: str
    due: str | None
    done: str | None
    note: str = ""

    def overdue(self, today: dt.date) -> bool:
        """Open, and its date has passed. One without a date is never overdue; the pack shows it as such."""
        return self.done is None and (due := _date(self.due)) is not None and due < today


def actions(records: Sequence[Mapping[str, Any]], changes: Sequence[ActionChange] = ()) -> list[Action]:
    """Every action of these records, with the changes (oldest first) applied. A change of an unknown action or record is ignored."""
    order = {str(record.get("id")): place for place, record in enumerate(records)}
    found: dict[tuple[str, int], Action] = {}
    for record in records:
        for number, action in enumerate(record.get("corrective_actions") or (), 1):
            name = str(record.get("id"))
            owner = action.get("owner") or "unassigned"
            found[name, number] = Action(name, number, str(action.get("text")), owner, action.get("due"), None)
    for change in changes:
        if change.text is not None and change.record in order:
            number, due = change.number, change.due.isoformat() if change.due else None
            while (change.record, number) in found:  # two were added at once
                number += 1
            owner = change.owner or "unassigned"
            found[change.record, number] = Action(
                change.record, number, change.text, owner, due, None, change.note or ""
            )
        elif (old := found.get((change.record, change.number))) is not None:
            found[change.record, change.number] = replace(
                old,
                owner=old.owner if change.owner is None else change.owner,
                due=change.due.isoformat() if change.due else old.due,
                done=change.done.isoformat() if change.done else old.done,
                note=change.note or old.note,
            )
    return sorted(found.values(), key=lambda action: (order[action.record], action.number))


def actions_table(found: Sequence[Action], today: dt.date) -> Any:
    """record, number, action, owner, due, state (open, overdue, done on a date), note."""
    import pandas as pd

    rows = [
        {
            "record": each.record,
            "number": each.number,
            "action": each.text,
            "owner": each.owner,
            "due": each.due or "no date",
            "state": f"done {each.done}" if each.done else "overdue" if each.overdue(today) else "open",
            "note": each.note,
        }
        for each in found
    ]
    return pd.DataFrame(rows, columns=["record", "number", "action", "owner", "due", "state", "note"])


def _date(text: Any) -> dt.date | None:
    try:
        return dt.date.fromisoformat(text[:10]) if isinstance(text, str) else None
    except ValueError:
        return None


def _lasted(began: dt.datetime, ended: dt.datetime | None) -> float:
    """Seconds; NaN, unknown, while it lasts, and where the clock was set back in between."""
    seconds = float("nan") if ended is None else (ended - began).total_seconds()
    return seconds if seconds >= 0 else float("nan")


def incidents_table(incidents: Sequence[StoredIncident], start: dt.datetime, end: dt.datetime) -> Any:
    """The sensors' incidents that touch [start, end), oldest first.

    noticed_after_seconds = opened - since: from the first bad reading, by its source's clock, until the incident was opened.
    duration_seconds = until it cleared (where that is known, else until it was resolved) - since; NaN while it is open.
    """
    import pandas as pd

    rows = []
    for each in sorted(incidents, key=lambda incident: (incident.since, incident.id)):
        began, noticed = (dt.datetime.fromtimestamp(at, utc.UTC) for at in (each.since, each.opened))
        over = each.clear_since if each.ended is not None and each.clear_since is not None else each.ended
        ended = None if over is None else dt.datetime.fromtimestamp(over, utc.UTC)
        if began >= end or (ended is not None and ended <= start):
            continue
        rows.append(
            {
                "id": each.id,
                "topic": each.topic,
                "severity": each.severity,
                "site": each.site,
                "start": began,
                "end": ended,
                "noticed_after_seconds": _lasted(began, noticed),
                "duration_seconds": _lasted(began, ended),
                "what": each.text,
                "value": None if each.value is None else f"{each.value:.6g} {each.unit}".strip(),
                "objective": each.objective,
                "told": "yes" if each.notified else "no, maintenance",
            }
        )
    columns = "id topic severity site start end noticed_after_seconds duration_seconds what value objective told"
    return pd.DataFrame(rows, columns=columns.split())
