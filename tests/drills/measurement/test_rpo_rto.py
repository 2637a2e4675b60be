"""RPO and RTO from recorded rows and attempts: computed by hand, and as properties."""

import random
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dr_assets.drills.measurement.rpo_rto import (
    Attempt,
    Lookups,
    MeasuredRpo,
    gap_at_least,
    last_refused,
    recovered_at,
    rpo,
    rto,
    split_brain,
)

OLD, NEW = "10.0.0.1", "10.0.0.2"


def rows(*times: float, writer: int = 1) -> dict[tuple[int, int], float]:
    return {(writer, number): at for number, at in enumerate(times, 1)}


def test_nothing_lost_by_hand() -> None:
    assert rpo(rows(10.0, 10.5, 11.0), [(1, 1), (1, 2), (1, 3)]) == MeasuredRpo(0, 0.0, 0, 3, 3)


def test_a_lost_tail_by_hand() -> None:
    # 10.0 and 10.1 survive; 10.2, 10.3 and 10.6 are gone: 10.6 - 10.1
    found = rpo(rows(10.0, 10.1, 10.2, 10.3, 10.6), [(1, 1), (1, 2)])
    assert (found.lost_commits, found.survived) == (3, 2)
    assert found.lost_seconds == pytest.approx(0.5)


def test_writing_on_after_the_outage_adds_nothing_to_the_loss() -> None:
    # 10.2 is lost; the new writer takes over at 40 s and acknowledges until 60 s
    found = rpo(rows(10.0, 10.1, 10.2, 40.0, 50.0, 60.0), [(1, 1), (1, 2), (1, 4), (1, 5), (1, 6)])
    assert found.lost_commits == 1
    assert found.lost_seconds == pytest.approx(0.1)


def test_a_hole_counts_from_the_contiguous_prefix() -> None:
    # 2 and 4 are lost, 3 survives: newest lost 10.3 - prefix 10.0
    found = rpo(rows(10.0, 10.1, 10.2, 10.3), [(1, 1), (1, 3)])
    assert found.lost_commits == 2
    assert found.lost_seconds == pytest.approx(0.3)


def test_in_doubt_are_rows_that_nobody_was_told_of() -> None:
    assert rpo(rows(10.0, 10.1), [(1, 1), (1, 2), (1, 3), (7, 1)]) == MeasuredRpo(0, 0.0, 2, 2, 2)


def test_what_cannot_be_known_is_unknown() -> None:
    assert rpo({}, [(1, 1)]) == MeasuredRpo(0, None, 1, 0, 0)
    assert rpo(rows(10.0), []) == MeasuredRpo(1, None, 0, 1, 0)  # not 0.0: that would be within any objective


def test_a_second_writer_comes_after_the_first() -> None:
    acknowledged = rows(10.0, 10.1) | rows(12.0, 12.1, writer=2)
    assert rpo(acknowledged, [(1, 1), (1, 2), (2, 1)]).lost_seconds == pytest.approx(0.1)


acknowledgements = st.dictionaries(
    st.tuples(st.integers(1, 3), st.integers(1, 30)), st.floats(0, 1e6, allow_nan=False), max_size=40
)


@given(acknowledgements, st.sets(st.tuples(st.integers(1, 4), st.integers(1, 35)), max_size=40))
def test_counts_are_those_of_sets(acknowledged: dict[tuple[int, int], float], survived: set[tuple[int, int]]) -> None:
    found = rpo(acknowledged, survived)
    assert found.lost_commits == len(set(acknowledged) - survived)
    assert found.in_doubt == len(survived - set(acknowledged))
    assert found.survived + found.lost_commits == found.acknowledged == len(acknowledged)
    if found.lost_seconds is not None:
        assert found.lost_seconds >= 0
        assert found.lost_commits or found.lost_seconds == 0


@given(st.lists(st.floats(0.001, 10), min_size=2, max_size=30), st.data())
def test_a_longer_tail_lost_is_never_a_smaller_loss(steps: list[float], data: st.DataObject) -> None:
    at, times = 0.0, []
    for step in steps:
        at += step
        times.append(at)
    acknowledged = rows(*times)
    more, less = sorted(data.draw(st.tuples(*[st.integers(1, len(times))] * 2)))
    a, b = (rpo(acknowledged, [(1, n) for n in range(1, kept + 1)]) for kept in (more, less))
    assert a.lost_seconds is not None
    assert b.lost_seconds is not None
    assert a.lost_seconds >= b.lost_seconds
    assert a.lost_seconds == pytest.approx(times[-1] - times[more - 1])


def good(begun: float, ip: str, took: float = 0.01) -> Attempt:
    return Attempt(begun, begun + took, True, ip)


def bad(begun: float, ip: str = OLD, took: float = 0.01) -> Attempt:
    return Attempt(begun, begun + took, False, ip, "OperationalError")


SERIES = [good(0.0, OLD), good(1.0, OLD), bad(2.0), bad(3.0), bad(4.0), good(5.0, NEW), good(6.0, NEW), good(7.0, NEW)]


def test_an_outage_by_hand() -> None:
    found = rto(SERIES, {NEW}, 3, {"T3": 3.5, "T4": 4.25})
    assert found is not None
    # begun between 1.0 and 2.01 (the first failure), over between 4.0 (the last one) and 5.01
    assert (found.low_seconds, found.high_seconds) == (pytest.approx(4.0 - 2.01), pytest.approx(5.01 - 1.0))
    assert found.parts == pytest.approx({"detect": 1.01, "decide": 1.49, "database": 0.75, "traffic": 0.76})
    assert found.marks == pytest.approx({"T0": 1.0, "T1": 2.01, "T3": 3.5, "T4": 4.25, "T6": 5.0})
    assert not split_brain(found.low_seconds)


def test_recovered_only_after_n_in_a_row() -> None:
    flapping = [good(0, OLD), bad(1), good(2, NEW), bad(3, NEW), good(4, NEW), good(5, NEW)]
    assert recovered_at(flapping, {NEW}, 2) == flapping[4]
    assert recovered_at(flapping, {NEW}, 3) is None
    found = rto(flapping, {NEW}, 2, {})
    assert found is not None
    assert found.marks["T6"] == 4


def test_not_seen_from_both_sides_is_unknown() -> None:
    assert rto(SERIES[2:], {NEW}, 3, {}) is None
    assert rto(SERIES[:6], {NEW}, 3, {}) is None
    assert rto([], {NEW}, 1, {}) is None


def test_a_move_between_two_attempts_may_have_taken_nothing() -> None:
    found = rto([good(0.0, OLD), good(1.0, NEW)], {NEW}, 1, {})
    assert found is not None
    assert (found.low_seconds, found.high_seconds) == (0.0, pytest.approx(1.01))


def test_an_old_writer_that_goes_on_is_a_negative_gap() -> None:
    found = rto([good(0, OLD), bad(1), good(2, NEW), good(3, NEW), good(4, OLD), good(5, NEW)], {NEW}, 2, {})
    assert found is not None
    assert split_brain(found.low_seconds)
    assert found.low_seconds == pytest.approx(2 - 4.01)
    assert found.high_seconds > 0  # never within an objective because of it


@given(
    begins=st.floats(2, 6),
    lasts=st.floats(0, 8),
    interval=st.floats(0.05, 1.5),
    latency=st.floats(0.001, 0.4),
    hang=st.floats(0.001, 1.2),
    marks=st.dictionaries(st.sampled_from(["T3", "T4", "T5"]), st.floats(0, 30)),
    seed=st.integers(0, 2**32),
)
def test_the_interval_holds_the_true_gap_and_the_parts_add_up(
    begins: float, lasts: float, interval: float, latency: float, hang: float, marks: dict[str, float], seed: int
) -> None:
    """A client that polls at its own pace over an outage whose two ends are known exactly."""
    chance = random.Random(seed)
    attempts: list[Attempt] = []
    at = chance.uniform(0, interval)
    while at < begins + lasts + 6 * (interval + max(latency, hang)):
        commits = at + latency * chance.random()  # when the server decides about this attempt
        if commits < begins or commits >= begins + lasts:
            attempts.append(Attempt(at, max(commits, at + latency), True, OLD if commits < begins else NEW))
        else:
            attempts.append(Attempt(at, max(commits, at + hang), False, OLD))
        at = max(attempts[-1].ended, at + interval)
    found = rto(attempts, {NEW}, 2, marks)
    if found is None:
        return
    assert found.low_seconds <= lasts + 1e-6 <= found.high_seconds + 2e-6
    assert sum(found.parts.values()) == pytest.approx(found.high_seconds)
    assert min(found.parts.values()) >= 0


def test_case_f11_nothing_that_arrived_is_a_lower_bound() -> None:
    # 63 commits, 50 ms apart, none of which had reached the target: at least the 3.1 s between the first and the last are lost
    found = rpo(rows(*(1000 + number * 0.05 for number in range(63))), [])
    assert (found.lost_commits, found.lost_seconds) == (63, None)
    assert found.lost_at_least_seconds == pytest.approx(3.1)


def test_case_e8_commits_that_go_back_in_time_are_no_loss_of_zero() -> None:
    """Only the database's clock timed them, and it was set back five minutes between the surviving and the lost rows."""
    times = [1000 + number * 0.05 for number in range(1, 21)] + [700 + number * 0.05 for number in range(21, 41)]
    assert rpo(rows(*times), [(1, number) for number in range(1, 21)]).lost_seconds is None


@dataclass(frozen=True)
class Move:
    """A move of the writer whose moments are known: the old one stops, the new one accepts, the name leads to it."""

    stops: float
    accepts: float
    leads: float
    ttl: float

    def client(self, interval: float, phase: float, chance: random.Random) -> list[Attempt]:
        """A pooled client: it keeps a good connection, looks the name up again after a failure, and keeps the answer for its TTL.
        Until its third write at the new writer."""
        found: list[Attempt] = []
        at, to, answer = phase, OLD, (OLD, 0.0)
        while len([each for each in found if each.good and each.ip == NEW]) < 3:
            if found and not found[-1].good:
                if answer[1] <= at:
                    answer = (NEW if at >= self.leads else OLD, at + self.ttl)
                to = answer[0]
            took = chance.uniform(0.002, 0.02)
            good = at + took < self.stops if to == OLD else at >= self.accepts
            found.append(Attempt(at, at + took, good, to, None if good else "OperationalError"))
            at = max(at + took, at + interval) + chance.uniform(0, 0.001)
        return found


@given(
    database=st.floats(0.05, 20),
    dns=st.floats(-3, 8),
    ttl=st.sampled_from([0.0, 1.0, 5.0]),
    interval=st.sampled_from([0.05, 0.1, 0.2]),
    seed=st.integers(0, 2**32),
)
def test_the_interval_holds_for_another_client_that_respects_the_time_to_live(
    database: float, dns: float, ttl: float, interval: float, seed: int
) -> None:
    """An independent client, every 10 ms, whose first failure falls at another moment: its gap is from the old writer's last answer
    to the new one's first."""
    chance = random.Random(seed)
    stops = 8 + chance.random()
    accepts = stops + database
    move = Move(stops, accepts, max(stops, accepts + dns), ttl)
    own = move.client(interval, chance.uniform(0, interval), chance)
    other = move.client(0.01, chance.uniform(0, 0.01), chance)
    lookups = Lookups(
        ttl, interval, led_to_old=move.leads - chance.uniform(0, 0.06), refused=accepts - chance.uniform(0, interval)
    )
    found = rto(own, {NEW}, 3, {"T5": move.leads + chance.uniform(0, 0.06)}, lookups)
    assert found is not None
    gap = (
        next(a.ended for a in other if a.ip == NEW and a.good) - [a.ended for a in other if a.ip == OLD and a.good][-1]
    )
    assert found.low_seconds <= gap <= found.high_seconds
    assert found.client_high_seconds <= found.high_seconds
    assert sum(found.parts.values()) == pytest.approx(found.high_seconds)


def test_the_last_refusal_is_that_of_the_instance_that_was_promoted() -> None:
    def refused(begun: float, ip: str, error: str = "ReadOnlySqlTransaction: cannot execute INSERT") -> Attempt:
        return Attempt(begun, begun + 0.01, False, ip, error)

    other = "10.0.0.3"  # another instance of the target, which stays a reader
    tried = [refused(1.0, NEW), refused(1.5, other), refused(1.8, NEW, "OperationalError: timeout"), good(2.0, NEW)]
    assert last_refused([*tried, refused(2.5, NEW)]) == 1.0
    assert last_refused(tried[:-1]) is None


def test_case_f11_rto_without_a_begin_has_a_lower_bound() -> None:
    lookups = Lookups(1.0, 1.0, led_to_old=4.6)
    # the first failure ended at 2.01; the name led to the old writer until 4.6; served again from 5.0 on
    assert gap_at_least(SERIES[2:], {NEW}, 3, lookups) == pytest.approx(4.6 - 2.01)
    assert gap_at_least(SERIES[2:], {NEW}, 3, None) == pytest.approx(4.0 - 2.01)
    assert gap_at_least(SERIES, {NEW}, 3, lookups) is None  # measured from both sides
    assert gap_at_least(SERIES[2:6], {NEW}, 3, lookups) is None  # not over yet


@pytest.mark.parametrize("step", [-300.0, 0.0, 300.0])
def test_case_e8_marks_of_one_timeline_give_the_parts(step: float) -> None:
    """Whatever the wall clock shows: marks and attempts are of one timeline, here moved as a whole."""
    moved = [Attempt(a.begun + step, a.ended + step, a.good, a.ip) for a in SERIES]
    found = rto(moved, {NEW}, 3, {"T3": 3.5 + step, "T4": 4.25 + step})
    assert found is not None
    assert found.parts == pytest.approx({"detect": 1.01, "decide": 1.49, "database": 0.75, "traffic": 0.76})
