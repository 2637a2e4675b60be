"""One format, one parser."""

from datetime import datetime, timedelta, timezone

import pytest

from dr_assets import utc

AT = datetime(2026, 11, 1, 6, 7, 8, 123000, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-01T06:07:08.123Z",
        "2026-11-01T06:07:08.123z",
        "2026-11-01T06:07:08.123+00:00",
        "2026-11-01T06:07:08.123+0000",  # StateChangeTime of an alarm's message
        "2026-11-01T08:07:08.123+02:00",
        "2026-11-01 06:07:08.123000000Z",
        " 2026-11-01T06:07:08.1230Z ",
    ],
)
def test_every_spelling_of_one_moment(text: str) -> None:
    assert utc.parse(text) == AT
    assert utc.parse(text).tzinfo is timezone.utc
    assert utc.to_text(utc.parse(text)) == "2026-11-01T06:07:08.123Z"


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01T00:00:00Z", "2026-11-01T06:07:08"])
def test_no_time_and_no_zone_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        utc.parse(text)


def test_a_time_without_a_zone() -> None:
    assert utc.parse("2026-11-01", assume_utc=True) == datetime(2026, 11, 1, tzinfo=timezone.utc)
    assert utc.parse("2026-11-01T06:07:08.1", assume_utc=True) == AT - timedelta(milliseconds=23)
    with pytest.raises(ValueError, match="no time zone"):
        utc.to_text(AT.replace(tzinfo=None))


def test_epoch_seconds() -> None:
    assert utc.from_epoch(AT.timestamp()) == AT


@pytest.mark.parametrize(
    "value",
    [
        None,
        5,
        ["2026-11-01T06:07:08Z"],
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "1999-12-31T23:59:59Z",
        "2200-01-01T00:00:00Z",
        "2026-11-01T06:07:08Z" + "0" * 5000,
        "2026-11-01T06:07:08.\udce9Z",
        "2026-11-01T06:07:08+99:99",
        "²026-11-01T06:07:08Z",
    ],
)
def test_case_e6_what_is_no_time_is_a_value_error_alone(value: object) -> None:
    with pytest.raises(ValueError):
        utc.parse(value)


@pytest.mark.parametrize("seconds", [1e300, -1e300, 1e18, float("nan"), float("inf")])
def test_case_e6_epoch_seconds_beyond_any_time_are_a_value_error_alone(seconds: float) -> None:
    with pytest.raises(ValueError):
        utc.from_epoch(seconds)
