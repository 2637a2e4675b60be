"""A sensor's cursor and outbox: what earlier versions wrote stays readable, and a damaged one is refused with a remedy."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dr_assets.documents import DocumentError
from dr_assets.errors import DrError
from dr_assets.monitoring.state import EventState, OutboxEntry, SensorMemory, State, Track

INCIDENT: dict[str, Any] = {
    "stack": "l6p3z2w4",
    "topic": "writer",
    "number": 1,
    "severity": "critical",
    "opened": 1795435210.0,
    "since": 1795435200.0,
    "breaches": ["l6p3z2w4/primary/metric/connectivity"],
    "evidence": ["metric at primary: The writer does not accept writes: 0, objective at least 1, since 12:00:00 UTC"],
    "text": "The writer does not accept writes",
    "runbook": "docs/runbooks.md#the-writer-is-down",
    "value": 0.0,
    "unit": "",
    "objective": "at least 1",
    "resource": "primary/aurora/cluster",
    "site": "primary",
    "escalate_after": 300.0,
    "wait": 0.0,
    "calm": None,
    "told": True,
    "escalated": False,
    "ended": None,
}
# As version 0.1.0 stored it, before it had a schema of its own.
CURSOR: dict[str, Any] = {
    "schema": 1,
    "tracks": {
        "l6p3z2w4/primary/metric/connectivity": {
            "watched": 1795435200.0,
            "at": 1795435220.0,
            "known": 1795435220.0,
            "breach_at": 1795435200.0,
            "since": 1795435200.0,
            "raised": True,
            "flaps": [1795435200.0],
        },
        "l6p3z2w4/secondary/metric/connectivity": {"watched": 1795435220.0},
    },
    "roles": {"l6p3z2w4": ["primary", 1795435220.0]},
    "numbers": {"l6p3z2w4/writer": 1},
    "ended": {"l6p3z2w4/replication": [1795430000.0]},
    "incidents": {"l6p3z2w4/writer": INCIDENT},
    "covered": {},
    "heartbeat": 1795435200.0,
    "more": {
        "delete": {"primary": ["receipt-1"]},
        "events": {
            "primary/resynchronizing": {"since": 1.0, "at": 2.0, "note": "RDS-EVENT-0240: x", "done": True},
            "secondary/unread": {"since": 3.0, "at": 4.0, "note": "not permitted"},
        },
        "seen": {"message-1": 5.0},
    },
}


def test_an_earlier_cursor_stays_readable() -> None:
    state = State.loads(json.dumps(CURSOR))
    track = state.tracks["l6p3z2w4/primary/metric/connectivity"]
    assert track == Track(
        watched=1795435200.0,
        at=1795435220.0,
        known=1795435220.0,
        breach_at=1795435200.0,
        since=1795435200.0,
        raised=True,
        flaps=(1795435200.0,),
    )
    assert state.roles == {"l6p3z2w4": ("primary", 1795435220.0)}
    assert state.ended == {"l6p3z2w4/replication": (1795430000.0,)}
    incident = state.incidents["l6p3z2w4/writer"]
    assert (incident.id, incident.notified, incident.clear_since) == ("l6p3z2w4-writer-000001", True, None)
    assert state.memory.receipts == {"primary": ("receipt-1",)}
    assert state.memory.handled == {"message-1": 5.0}
    assert state.memory.events["secondary/unread"] == EventState(since=3.0, at=4.0, note="not permitted")
    assert state.memory.events["primary/resynchronizing"].done
    other = State.loads(json.dumps({**CURSOR, "more": {"since": 7.5}}))
    assert other.memory.since == 7.5


def test_a_cursor_comes_back_as_it_was() -> None:
    state = State.loads(json.dumps(CURSOR))
    assert State.loads(state.dumps()) == state
    assert json.loads(state.dumps())["schema"] == "dr-assets/sensor-state/1"


def test_a_reading_of_zero_survives_the_cursor_and_nan_becomes_unknown() -> None:
    tracks = {"zero": Track(watched=1.0, value=0.0), "nan": Track(watched=1.0, value=float("nan"))}
    found = State.loads(State(heartbeat=1.0, tracks=tracks).dumps()).tracks
    assert (found["zero"].value, found["nan"].value) == (0.0, None)


@pytest.mark.parametrize(
    "change",
    [
        {"tracks": {"s": {"watched": "soon"}}},
        {"tracks": {"s": {"watched": 1.0, "colour": "red"}}},
        {"incidents": {"s/writer": {**INCIDENT, "number": None}}},
        {"roles": {"s": ["primary"]}},
        {"more": {"events": {"primary/unread": {}}}},
        {"surplus": 1},
    ],
)
def test_a_damaged_cursor_is_refused_with_a_remedy(change: dict[str, Any]) -> None:
    with pytest.raises(DrError, match="Reset the cursor in Dagster"):
        State.loads(json.dumps({**CURSOR, **change}))


def test_a_cursor_of_a_later_version_asks_for_an_update_and_for_nothing_else() -> None:
    with pytest.raises(DrError) as caught:
        State.loads(json.dumps({**CURSOR, "schema": "dr-assets/sensor-state/2"}))
    assert str(caught.value).endswith("newer than dr-assets/sensor-state/1. Update DR Assets.")


def test_a_text_with_a_lone_surrogate_is_escaped_in_the_cursor() -> None:
    tracks = {"s": Track(watched=1.0, value=float("nan"), note="caf\udce9")}
    memory = SensorMemory(events={"primary/unread": EventState(since=1.0, at=1.0, note="\ud83d")})
    found = State.loads(State(heartbeat=1.0, tracks=tracks, memory=memory).dumps())
    assert found.tracks["s"] == Track(watched=1.0, note="caf\\udce9")
    assert found.memory.events["primary/unread"].note == "\\ud83d"


def test_an_earlier_outbox_entry_stays_readable() -> None:
    old = {"step": "opened", "at": 1795435210.5, "incident": INCIDENT}
    entry = OutboxEntry.from_bytes(json.dumps(old), "it")
    assert (entry.step, entry.at, entry.incident.id) == ("opened", 1795435210.5, "l6p3z2w4-writer-000001")
    assert OutboxEntry.from_bytes(entry.to_bytes(), "it") == entry
    with pytest.raises(DocumentError, match="step"):
        OutboxEntry.from_bytes(json.dumps({**old, "step": "guessed"}), "it")
