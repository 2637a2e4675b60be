"""A failover is recommended on independent evidence alone."""

from __future__ import annotations

from typing import Any

import pytest

from dr_assets.core.freshness import Unknown
from dr_assets.errors import RefusedError
from dr_assets.failover.vote import LAUNCH, OWN_PROBE_VOTE, Vote, recommend
from dr_assets.monitoring.samples import Sample
from dr_assets.stack import Stack
from tests.support.monitoring import at, roles, sample

SOURCES = {
    "probe": ("connectivity", "metric"),
    "alarm": ("connectivity", "alarm"),
    "health-check": ("health-check", "health-check"),
    "topology": ("answers", "region"),
    "sql": ("connectivity", "sql"),
}


def evidence(verdicts: str, second: float = 0.0, site: str = "primary") -> list[Sample]:
    """`d` down, `u` up, `?` no value, `-` no sample: probe, alarm, health check, topology, SQL."""
    values = {"d": 0.0, "u": 1.0, "?": None}
    return [
        sample(second, values[letter], metric, site, source)
        for letter, (metric, source) in zip(verdicts, SOURCES.values(), strict=True)
        if letter != "-"
    ]


@pytest.mark.parametrize(
    ("verdicts", "advice"),
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
def test_n_of_m_from_independent_origins(stack: Stack, verdicts: str, advice: str) -> None:
    found = recommend(stack, evidence(verdicts), at(5))
    assert found.advice == advice
    assert len(found.evidence) == 5
    assert found.target == "secondary"
    assert LAUNCH.startswith("dr drill failover")
    lines = found.lines("https://dagster/")
    assert lines[0].startswith(f"recommendation: {advice}: ")
    launch = 'launch: dr drill failover --incident --why "...", or https://dagster/guess/failover_drill/playground'
    assert (launch in lines) == (advice == "failover")
    assert len(lines) == 6 + (advice == "failover")


@pytest.mark.parametrize(("verdicts", "advice"), [("ddd-d", "hold"), ("ddddd", "failover"), ("--ddd", "failover")])
def test_a_prober_that_feeds_all_sources_is_one_origin(stack: Stack, verdicts: str, advice: str) -> None:
    """Its own network may be what is broken: without the control plane nothing moves."""
    assert recommend(stack, evidence(verdicts), at(5), vote=OWN_PROBE_VOTE).advice == advice


def test_stale_evidence_does_not_vote(stack: Stack) -> None:
    old = evidence("ddd--", second=-120) + evidence("----d")
    assert recommend(stack, old, at(5)).advice == "unknown"


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("ahead", [11, 110, 10_800])
def test_case_a8_a_reading_of_the_future_is_unknown_and_the_present_one_votes(stack: Stack, ahead: int) -> None:
    """The probe takes writes now; a reading of it from the future says that it does not. CloudWatch takes times up to two hours ahead."""
    present, future = evidence("u----", 5), evidence("d----", 5 + ahead)
    for samples in ([*present, *future], [*future, *present]):
        found = recommend(stack, [*samples, *evidence("---dd", 5)], at(5))
        assert found.advice == "hold"
        assert {each.source: each.verdict for each in found.evidence}["probe"] == "up"
    alone = recommend(stack, [*future, *evidence("---d-", 5)], at(5))
    assert alone.advice == "unknown"
    (probe,) = [each for each in alone.evidence if each.source == "probe"]
    assert (probe.verdict, probe.age_seconds) == ("unknown", None)
    assert probe.text.startswith(f"in the future by {ahead} s")


@pytest.mark.parametrize("odd", [NAN, INF, -INF, -1.0, 0.5, 7.0])
def test_case_a4_what_is_no_value_of_a_source_neither_votes_nor_vetoes(stack: Stack, odd: float) -> None:
    samples = [sample(0, odd, metric, "primary", source) for metric, source in SOURCES.values()]
    found = recommend(stack, samples, at(5))
    assert {each.verdict for each in found.evidence} == {"unknown"}
    assert found.advice == "unknown"
    assert recommend(stack, [*samples[:3], *evidence("---dd")], at(5)).advice == "failover"


def test_the_writer_may_be_at_either_site(stack: Stack) -> None:
    samples = evidence("ddddd", site="secondary") + roles(0, "secondary")
    found = recommend(stack, samples, at(5), "secondary")
    assert (found.advice, found.target) == ("failover", "primary")
    assert recommend(stack, samples, at(5), "primary").advice == "unknown"


def test_case_a4_an_old_role_is_named_and_one_that_was_never_read_is_no_failover(stack: Stack) -> None:
    found = recommend(stack, evidence("ddddd"), at(0))
    assert found.advice == "failover"
    assert found.with_role_read(30.0) == found
    old = found.with_role_read(7200.0)
    assert (old.advice, old.reasons[-1]) == ("failover", "primary was last read to have the writer 7200 s ago")
    never = found.with_role_read(Unknown("never"))
    assert never.advice == "unknown"
    assert never.reasons[-1] == "which site has the writer is not known (never); taken to be primary"
    assert "launch:" not in "".join(never.lines())


@pytest.mark.parametrize(
    "numbers",
    [
        {"n": 0, "origins": 0},
        {"origins": 0},
        {"n": 1, "origins": 2},
        {"n": 6},
        {"fresh_seconds": 0.0},
        {"fresh_seconds": 1e12},
        {"fresh_seconds": float("nan")},
        {"fresh_seconds": float("inf")},
    ],
)
def test_case_c3_a_vote_by_which_nothing_decides_is_refused(numbers: dict[str, Any]) -> None:
    """`Vote(n=0, origins=0)` recommended a failover without one sample."""
    with pytest.raises(RefusedError, match=r"decides nothing|fresh_seconds is"):
        Vote(**numbers)
