"""Automatic failover is off unless armed, and armed it still refuses on anything but fresh evidence and good preconditions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dr_assets import utc
from dr_assets.errors import RefusedError
from dr_assets.failover.arming import Precondition, Unarmed, arm, armed, disarm, read_arming, refusals
from dr_assets.failover.vote import recommend
from dr_assets.history.store import FolderStore
from dr_assets.stack import Stack
from tests.failover.test_vote import evidence
from tests.support.monitoring import S, at

HOLDS = [Precondition("target-usable", True)]


def test_it_is_off_unless_armed(stack: Stack, tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    found = recommend(stack, evidence("ddddd"), at(0))
    assert armed(store, S, at(0)) is None
    assert refusals(found, None, HOLDS, at(0)) == ["automatic failover is not armed for this stack"]
    arm(store, S, at(-10), at(100), "Ann", "night shift")
    assert refusals(found, armed(store, S, at(0)), HOLDS, at(0)) == []
    assert armed(store, S, at(101)) is None
    assert armed(store, "another", at(0)) is None
    assert disarm(store, S, at(0), "Bob") is True
    assert armed(store, S, at(0)) is None
    assert disarm(store, S, at(1), "Bob") is False
    traces = [key.rsplit("-", 1)[1] for key in store.list(f"armed/{S}/")]
    assert traces == ["armed.json", "disarmed.json", "disarmed.json"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"now": 61}, "older than 60 s"),
        ({"now": 101}, "expired"),
        ({"now": -11}, "the time of the recommendation is in the future by 11 s"),
        ({"now": -11}, "the evidence of probe, health-check, alarm, topology, sql is older"),
        ({"verdicts": "uuuuu"}, "recommendation is hold"),
        ({"conditions": []}, "no precondition was evaluated"),
        ({"conditions": [Precondition("lag", None, "silent")]}, "precondition lag is unknown: silent"),
        ({"conditions": [*HOLDS, Precondition("lag", False, "9 s")]}, "precondition lag fails: 9 s"),
    ],
)
def test_armed_it_still_refuses(stack: Stack, tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    arming = arm(FolderStore(tmp_path), S, at(-100), at(100), "Ann", "night shift")
    found = recommend(stack, evidence(change.get("verdicts", "ddddd")), at(0))
    against = refusals(found, arming, change.get("conditions", HOLDS), at(change.get("now", 0)))
    assert any(reason in text for text in against), against


def test_arming_for_another_stack_arms_nothing(stack: Stack, tmp_path: Path) -> None:
    arming = arm(FolderStore(tmp_path), "another", at(-100), at(100), "Ann", "night shift")
    assert refusals(recommend(stack, evidence("ddddd"), at(0)), arming, HOLDS, at(0))


@pytest.mark.parametrize(("until", "by", "why"), [(0, "a", "b"), (8 * 86400, "a", "b"), (10, "", "b"), (10, "a", " ")])
def test_arming_needs_an_end_a_person_and_a_reason(tmp_path: Path, until: float, by: str, why: str) -> None:
    with pytest.raises(RefusedError):
        arm(FolderStore(tmp_path), S, at(0), at(until), by, why)


def test_an_arming_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    for text in (b"", b"{}", b'{"stack": 1}', b"[]"):
        store.write(f"armed/{S}.json", text)
        assert armed(store, S, at(0)) is None
        found = read_arming(store, S, at(0))
        assert isinstance(found, Unarmed)
        assert found.damaged
        assert f"armed/{S}.json" in found.reason
        assert "Arm it again" in found.reason


def test_why_nothing_is_armed_is_named(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    assert read_arming(store, S, at(0)) == Unarmed("no one has armed it")
    arming = arm(store, S, at(-10), at(100), "Ann", "night shift")
    assert read_arming(store, S, at(0)) == arming
    assert read_arming(store, S, at(100)) == Unarmed(f"the arming by Ann ended at {utc.to_text(at(100))}")


# As it was written before it had a schema.
OLD = {
    "stack": S,
    "since": "2026-11-23T12:00:00.000Z",
    "until": "2026-11-24T12:00:00.000Z",
    "by": "Ann",
    "why": "night",
}


def test_an_arming_without_a_schema_stays_in_force(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.write(f"armed/{S}.json", json.dumps(OLD, indent=1).encode())
    arming = armed(store, S, at(10))
    assert arming is not None
    assert (arming.stack, arming.since, arming.until, arming.by, arming.why) == (S, at(0), at(86400), "Ann", "night")
    assert armed(store, S, at(86400)) is None


@pytest.mark.parametrize(
    "change",
    [
        {"until": "2026-12-01T12:00:00.000Z"},  # eight days
        {"until": "2026-11-24T12:00:00"},  # no zone
        {"since": "2026-11-23T12:00:30.000Z"},  # in the future
        {"by": ""},
        {"why": " "},
        {"schema": "dr-assets/arming/2"},
        {"stack": "another"},
        {"more": 1},
    ],
)
def test_an_arming_that_is_not_valid_is_none(tmp_path: Path, change: dict[str, Any]) -> None:
    store = FolderStore(tmp_path)
    store.write(f"armed/{S}.json", json.dumps({"schema": "dr-assets/arming/1", **OLD, **change}).encode())
    assert armed(store, S, at(10)) is None
    found = read_arming(store, S, at(10))
    assert isinstance(found, Unarmed)
    assert (found.damaged, f"armed/{S}.json" in found.reason) == (True, True)
