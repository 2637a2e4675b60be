"""A recommendation is made of independent evidence, and acting on it needs far more than that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dr_assets.errors import RefusedError
from dr_assets.failover.vote import OWN_PROBE_VOTE, arm, armed, disarm, recommend, refusals
from dr_assets.history.store import FolderStore
from dr_assets.monitoring.samples import Sample
from dr_assets.stack import Stack
from tests.support.monitoring import S, at, roles, sample

SOURCES = {
    "probe": ("connectivity", "metric"),
    "alarm": ("connectivity", "alarm"),
    "health-check": ("health-check", "health-check"),
    "topology": ("answers", "region"),
    "sql": ("connectivity", "sql"),
}
HOLDS: list[dict[str, Any]] = [{"name": "target-usable", "passed": True, "reason": None}]


def evidence(said: str, second: float = 0.0, site: str = "primary") -> list[Sample]:
    """`d` down, `u` up, `?` no value, `-` nothing said: probe, alarm, health check, topology, SQL."""
    values = {"d": 0.0, "u": 1.0, "?": None}
    return [
        sample(second, values[letter], metric, site, source)
        for letter, (metric, source) in zip(said, SOURCES.values(), strict=True)
        if letter != "-"
    ]


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("uuuuu", "hold"),
        ("ddddd", "failover"),
        ("--ddd", "failover"),  # the region is dark: its own metrics and alarms are silent
        ("ddd-d", "failover"),
        ("ddddu", "hold"),  # the database itself takes writes
        ("ddduu", "hold"),
        ("dddu-", "hold"),  # three sources, one origin: the probe may be what is broken
        ("ddd--", "hold"),
        ("---dd", "failover"),  # us-east-1 is dark, and Route 53's status with it
        ("uuudd", "hold"),  # another prober's writes are taken
        ("dd---", "hold"),
        ("d?d??", "hold"),
        ("----d", "unknown"),
        ("-----", "unknown"),
        ("dduu-", "hold"),
        ("uuu-d", "hold"),
        ("dd-d-", "failover"),
    ],
)
def test_n_of_m_from_independent_origins(stack: Stack, said: str, advice: str) -> None:
    found = recommend(stack, evidence(said), at(5))
    assert found.advice == advice
    assert len(found.evidence) == 5
    assert found.target == "secondary"
    assert found.as_json()["launch"].startswith("dr drill failover")
    lines = found.lines("https://dagster/")
    assert lines[0].startswith(f"recommendation: {advice}: ")
    launch = 'launch: dr drill failover --incident --why "...", or https://dagster/guess/failover_drill/playground'
    assert (launch in lines) == (advice == "failover")
    assert len(lines) == 6 + (advice == "failover")


@pytest.mark.parametrize(("said", "advice"), [("ddd-d", "hold"), ("ddddd", "failover"), ("--ddd", "failover")])
def test_a_prober_that_feeds_all_sources_is_one_origin(stack: Stack, said: str, advice: str) -> None:
    """Its own network may be what is broken: without the control plane nothing moves."""
    assert recommend(stack, evidence(said), at(5), vote=OWN_PROBE_VOTE).advice == advice


def test_stale_evidence_does_not_vote(stack: Stack) -> None:
    old = evidence("ddd--", second=-120) + evidence("----d")
    assert recommend(stack, old, at(5)).advice == "unknown"


def test_the_writer_may_be_at_either_site(stack: Stack) -> None:
    samples = evidence("ddddd", site="secondary") + roles(0, "secondary")
    found = recommend(stack, samples, at(5), "secondary")
    assert (found.advice, found.target) == ("failover", "primary")
    assert recommend(stack, samples, at(5), "primary").advice == "unknown"


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
        ({"now": -61}, "from the future"),
        ({"said": "uuuuu"}, "recommendation is hold"),
        ({"conditions": []}, "no precondition was evaluated"),
        ({"conditions": [{"name": "lag", "passed": None, "reason": "silent"}]}, "precondition lag is unknown: silent"),
        ({"conditions": [*HOLDS, {"name": "lag", "passed": False, "reason": "9 s"}]}, "precondition lag fails: 9 s"),
    ],
)
def test_armed_it_still_refuses(stack: Stack, tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    arming = arm(FolderStore(tmp_path), S, at(-100), at(100), "Ann", "night shift")
    found = recommend(stack, evidence(change.get("said", "ddddd")), at(0))
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
