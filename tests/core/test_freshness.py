"""A reading is known with a finite value in its range, a time that is past and an age within its limit; everything else is unknown."""

import math
import operator
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dr_assets.core.freshness import SKEW_SECONDS, Assessed, Known, Quantity, Unknown, assess, elapsed, newest

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=timezone.utc)
STATE = Quantity("bool", 0.0, 1.0, 60.0)
# One-minute periods that CloudWatch shows up to two minutes after their end.
LAG = Quantity("ms", 0.0, math.inf, 200.0, covers=60.0)
CPU = Quantity("percent", 0.0, 100.0, 200.0, covers=60.0)
QUANTITIES = st.sampled_from([STATE, LAG, CPU])
VALUES = st.none() | st.floats(allow_nan=True, allow_infinity=True) | st.sampled_from([-1.0, 0.0, 1.0, 250.0])
SECONDS = st.floats(-1e6, 1e6) | st.sampled_from([-60.0, -10.0, 0.0, 10.0, 10.001, 110.0])


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def reason(assessed: Assessed | float) -> str:
    assert isinstance(assessed, Unknown)
    return str(assessed)


@given(value=VALUES, seconds=SECONDS, quantity=QUANTITIES)
def test_what_is_known_is_finite_in_range_past_and_fresh(
    value: float | None, seconds: float, quantity: Quantity
) -> None:
    found = assess(value, at(seconds), NOW, quantity)
    if isinstance(found, Known):
        assert value is not None and math.isfinite(value) and quantity.low <= found.value <= quantity.high
        assert seconds <= SKEW_SECONDS + 1e-3
        assert 0.0 <= found.age <= quantity.age_limit
    else:
        assert found.reason


@given(points=st.lists(st.tuples(SECONDS, VALUES), max_size=6), quantity=QUANTITIES)
def test_case_a8_the_newest_is_never_of_the_future(
    points: list[tuple[float, float | None]], quantity: Quantity
) -> None:
    present = [(at(seconds), value) for seconds, value in points if at(seconds) <= at(SKEW_SECONDS)]
    found = newest([(at(seconds), value) for seconds, value in points], NOW, quantity)
    if present:
        assert found == newest(present, NOW, quantity)
    else:
        assert isinstance(found, Unknown)


@pytest.mark.parametrize(
    ("value", "seconds", "quantity", "expected"),
    [
        (None, 0, LAG, "no reading"),
        (math.nan, 0, LAG, "nan is no value of at least 0 ms"),
        (math.inf, 0, LAG, "inf is no reading"),
        (-1.0, 0, LAG, "-1 is no value of at least 0 ms"),
        (101.0, 0, CPU, "101 is no value of 0 to 100 percent"),
        (-3.0, 0, STATE, "-3 is no value of 0 or 1"),
        (0.5, 0, STATE, "0.5 is no value of 0 or 1"),
        (7.0, 0, STATE, "7 is no value of 0 or 1"),
        (1.0, 110, STATE, "in the future by 110 s: check the clocks of the source and of this host"),
        (1.0, -7200, STATE, "1 is 7200 s old"),
        (250.0, -7200, LAG, "250 is 7140 s old"),
    ],
)
def test_what_cannot_be_believed_is_unknown(
    value: float | None, seconds: float, quantity: Quantity, expected: str
) -> None:
    assert reason(assess(value, at(seconds), NOW, quantity)) == expected


def test_the_age_counts_from_the_end_of_what_a_reading_covers() -> None:
    assert assess(250.0, at(-30), NOW, LAG) == Known(250.0, at(-30), 0.0)
    assert assess(250.0, at(-260), NOW, LAG) == Known(250.0, at(-260), 200.0)
    assert reason(assess(250.0, at(-261), NOW, LAG)) == "250 is 201 s old"
    assert assess(1.0, at(SKEW_SECONDS), NOW, STATE) == Known(1.0, at(SKEW_SECONDS), 0.0)


def test_a_consumer_may_be_stricter_and_never_laxer() -> None:
    assert reason(assess(1.0, at(-30), NOW, STATE, limit=10.0)) == "1 is 30 s old"
    assert reason(assess(1.0, at(-61), NOW, STATE, limit=1e9)) == "1 is 61 s old"


def test_case_a8_a_future_reading_displaces_no_present_one() -> None:
    present, future = (at(-1), 1.0), (at(110), 0.0)
    assert newest([present, future], NOW, STATE) == Known(1.0, at(-1), 1.0)
    assert reason(newest([future], NOW, STATE)).startswith("in the future by 110 s")
    assert reason(newest([], NOW, STATE)) == "no reading"
    # The present one decides whatever it is: an older value is not dug out.
    assert reason(newest([(at(-9), 250.0), (at(-1), -1.0), future], NOW, LAG)).startswith("-1 is no value")
    assert newest([(at(-1), 0.0), (at(-1), 1.0)], NOW, STATE) == Known(1.0, at(-1), 1.0)


def test_an_event_has_an_age_or_never_happened() -> None:
    assert elapsed(at(-90), NOW) == 90.0
    assert elapsed(at(5), NOW) == 0.0
    assert reason(elapsed(None, NOW)) == "never"
    assert reason(elapsed(at(31536000), NOW)).startswith("in the future by 31536000 s")


@pytest.mark.parametrize("assessed", [Known(0.0, NOW, 0.0), Unknown("never")], ids=["known", "unknown"])
@pytest.mark.parametrize("compare", [operator.lt, operator.le, operator.gt, operator.ge, max, min, operator.sub])
def test_assessed_values_neither_order_nor_convert(assessed: Assessed, compare: Callable[[Any, Any], object]) -> None:
    for other in (1.0, assessed, Unknown("no reading")):
        with pytest.raises(TypeError):
            compare(assessed, other)
    conversions: list[Callable[[Any], object]] = [bool, float, int, round]
    for convert in conversions:
        with pytest.raises(TypeError):
            convert(assessed)
