"""RPO: each definition by hand, then everything against a second implementation on random series."""

import datetime as dt
import itertools
import math
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dr_assets.errors import DrError
from dr_assets.history import samples
from dr_assets.reports.analysis import timeseries
from dr_assets.reports.analysis.rpo import RpoReport, combined, rpo_report
from dr_assets.reports.analysis.what_if import what_if
from tests.support import brute_force as brute

UTC = dt.timezone.utc
START = dt.datetime(2026, 3, 2, tzinfo=UTC)
SECOND = dt.timedelta(seconds=1)


def readings(*pairs: tuple[int, float | None], start: dt.datetime = START, **more: str) -> Any:
    base = {"site": "secondary", "metric": "rpo-lag", "unit": "s", "source": "metric"} | more
    return samples.to_table([{"at": start + at * SECOND, "value": value, **base} for at, value in pairs])


def report(table: Any, seconds: int, start: dt.datetime = START, **more: Any) -> RpoReport:
    return rpo_report("x", table, start, start + seconds * SECOND, 60, **more)


def test_aws_06_a_lag_below_zero_in_the_history_is_unknown_time() -> None:
    """-1 stands for "not replicating" (Aurora user guide, aurora_global_db_status); older histories hold it as a value."""
    row = report(readings((0, 1.0), (60, -1.0), (120, 2.0)), 180).summary.iloc[0]
    assert (row["known_seconds"], row["unknown_seconds"]) == (120, 60)


def test_by_hand_a_gap_a_breach_and_what_is_known() -> None:
    # 0-60: 1 s, 60-120: 90 s (breach), 120-240: 2 s held for two periods, 240-300: unknown, 300-360: 60 s (breach: not under it)
    found = report(readings((0, 1.0), (60, 90.0), (120, 2.0), (300, 60.0)), 360)
    row = found.summary.iloc[0]
    assert (row["known_seconds"], row["unknown_seconds"]) == (300, 60)
    assert row["unknown_share"] == 60 / 360
    assert found.compliance == 180 / 300
    assert row["mean_seconds"] == pytest.approx((60 * 1 + 60 * 90 + 120 * 2 + 60 * 60) / 300)
    # In order: 60 s of 1, 120 s of 2, 60 s of 60, 60 s of 90. Half of 300 s is reached within the second.
    assert (row["p50_seconds"], row["p95_seconds"], row["p99_seconds"], row["max_seconds"]) == (2, 90, 90, 90)
    assert row["breaches"] == 2 and row["breach_seconds"] == 120
    first, second = (found.breaches.iloc[n] for n in (0, 1))
    assert (first["start"], first["end"]) == (START + 60 * SECOND, START + 120 * SECOND)
    assert (first["depth_seconds"], first["over_objective_seconds"], first["ended_by"]) == (90, 30, "recovered")
    assert (second["began"], second["ended_by"]) == ("after unknown time", "period ended")
    (gap,) = found.gaps.to_dict("records")
    assert (gap["start"], gap["duration_seconds"], gap["last_reading_seconds"]) == (START + 240 * SECOND, 60, 2)
    assert gap["bound_seconds"] == 2 + 180  # the reading at 120, 180 s old at the end of the gap


def test_percentiles_lie_exactly_on_their_edge() -> None:
    table = readings(*((n, float(n)) for n in range(100)))
    row = report(table, 100).summary.iloc[0]
    assert (row["p50_seconds"], row["p95_seconds"], row["p99_seconds"], row["max_seconds"]) == (49, 94, 98, 99)


def test_a_reading_of_nothing_ends_what_was_known() -> None:
    found = report(readings((0, 90.0), (30, None)), 60)
    assert found.breaches.iloc[0]["ended_by"] == "readings stopped"
    assert found.summary.iloc[0]["known_seconds"] == 30


def test_a_reading_before_the_period_still_holds() -> None:
    found = report(readings((-100, 70.0)), 60)
    assert found.summary.iloc[0]["known_seconds"] == 20
    assert found.breaches.iloc[0]["began"] == "before the period"
    assert found.breaches.iloc[0]["start"] == START


def test_of_sites_and_sources_the_worst_counts_and_each_is_listed() -> None:
    table = samples.merge(
        readings((0, 1.0), (60, 1.0)),
        readings((30, 9000.0), source="sql", unit="ms"),
        readings((0, 100.0), site="primary"),
    )
    found = report(table, 60)
    assert list(found.summary["scope"]) == ["stack", "primary/metric", "secondary/metric", "secondary/sql"]
    assert list(found.summary["max_seconds"]) == [100, 100, 1, 9]
    assert list(found.summary["known_seconds"]) == [60, 60, 60, 30]


def test_days_weeks_and_months_are_utc_and_complete() -> None:
    start = dt.datetime(2025, 12, 28, 23, 59, tzinfo=UTC)  # a Sunday
    end = dt.datetime(2026, 1, 2, tzinfo=UTC)
    found = rpo_report("x", readings((0, 1.0), (60, 2.0), start=start), start, end, 60)
    assert list(found.days["period"]) == ["2025-12-28", "2025-12-29", "2025-12-30", "2025-12-31", "2026-01-01"]
    assert list(found.days["known_seconds"]) == [60, 120, 0, 0, 0]
    assert list(found.weeks["period"]) == ["2025-W52", "2026-W01"]
    assert list(found.weeks["max_seconds"]) == [1, 2]
    assert list(found.months["period"]) == ["2025-12", "2026-01"]
    assert found.months.iloc[1]["unknown_share"] == 1 and math.isnan(found.months.iloc[1]["compliance"])


def test_a_year_has_365_days() -> None:
    found = report(readings((0, 1.0)), 365 * 86_400)
    assert (len(found.days), len(found.weeks), len(found.months)) == (365, 53, 13)


def test_an_empty_history_is_unknown_throughout_and_never_compliant() -> None:
    for table in (
        samples.SCHEMA.empty_table(),
        readings((0, None), (60, None)),
        readings((0, 1.0), metric="cpu", unit="percent"),
    ):
        found = report(table, 3600)
        assert found.compliance is None and found.unknown_share == 1
        assert len(found.breaches) == 0 and len(found.gaps) == 1
        assert math.isnan(found.gaps.iloc[0]["bound_seconds"])
        assert int(what_if(found.signal, 60).overall.iloc[0]["minutes_unknown"]) == 60
    assert list(combined([])["stack"]) == []


def test_a_drill_is_listed_beside_the_telemetry_before_the_fault(record: Callable[..., dict[str, Any]]) -> None:
    drill = record(START + 50 * SECOND, lost=3.0)  # its T0 is 10 s later
    failed = record(START + 3000 * SECOND, status="failed", parts=(None,) * 4, lost=None)
    before = record(START - 50 * SECOND)
    found = report(readings((0, 1.0), (60, 90.0), (120, 1.0)), 3600, records=[failed, drill, before])
    assert list(found.drills["id"]) == [drill["id"], failed["id"]]
    assert found.drills.iloc[0]["telemetry_seconds"] == 90
    assert found.drills.iloc[0]["lost_seconds"] == 3
    assert list(found.drills["met"]) == ["yes", "unknown"]
    assert math.isnan(found.drills.iloc[1]["lost_seconds"]) and math.isnan(found.drills.iloc[1]["telemetry_seconds"])
    assert found.breaches.iloc[0]["during"] == drill["id"]
    assert list(combined([found])["stack"]) == ["x", "x"]


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(DrError, match="not after its beginning"):
        report(readings((0, 1.0)), 0)
    with pytest.raises(DrError, match="has no zone"):
        rpo_report("x", readings((0, 1.0)), dt.datetime(2026, 1, 1), START, 60)  # noqa: DTZ001
    with pytest.raises(DrError, match="'percent', which is no unit of time"):
        report(readings((0, 1.0), unit="percent"), 60)


def test_what_if_by_hand() -> None:
    # Monday 00:00 to 02:00; lag 5 s in the first hour, 70 s in the second but for its last 30 minutes, which are unknown.
    table = readings(*((60 * n, 5.0) for n in range(60)), *((60 * n, 70.0) for n in range(60, 90)), (90 * 60, None))
    found = what_if(report(table, 7200).signal, 60)
    row = found.overall.iloc[0]
    assert (row["minutes_known"], row["minutes_unknown"], row["within_objective"]) == (90, 30, 60 / 90)
    assert list(found.hours["minutes_known"])[:3] == [60, 30, 0]
    assert list(found.weekdays["minutes_known"]) == [90, 0, 0, 0, 0, 0, 0]
    assert (found.p95[0, 0], found.p95[0, 1], found.known_share[0, 1]) == (5, 70, 0.5)
    assert math.isnan(found.p95[1, 0])


# --- against the second implementation ------------------------------------------------------------------------------------

NIGHTS = [
    dt.datetime(2026, 10, 25, 0, 55, tzinfo=UTC),  # 02:55 in Berlin, 5 minutes before clocks go back
    dt.datetime(2026, 3, 29, 0, 55, tzinfo=UTC),  # they go forward
    dt.datetime(2026, 2, 28, 23, 55, tzinfo=UTC),  # midnight between two months
    dt.datetime(2026, 1, 4, 23, 55, tzinfo=UTC),  # and between two weeks
]
BERLIN = ZoneInfo("Europe/Berlin")


def local(at: dt.datetime, value: float | None, site: str, source: str, unit: str) -> dict[str, Any]:
    """As a source would give it that keeps local time: the wall clock says the same twice in that night."""
    if value is not None and unit == "ms":
        value *= 1000
    return {
        "at": at.astimezone(BERLIN),
        "site": site,
        "metric": "rpo-lag",
        "value": value,
        "unit": unit,
        "source": source,
    }


@st.composite
def histories(draw: st.DrawFn) -> tuple[dt.datetime, list[dict[str, Any]]]:
    start = draw(st.sampled_from(NIGHTS))
    reading = st.builds(
        lambda at, *more: local(start + at * SECOND, *more),
        st.one_of(st.integers(-200, 620), st.sampled_from([-120, 0, 60, 120, 180, 240, 300, 600])),
        st.one_of(st.none(), st.sampled_from([0.0, 0.25, 59.999, 60.0, 61.5, 300.0])),
        st.sampled_from(["primary", "secondary"]),
        st.sampled_from(["metric", "sql"]),
        st.sampled_from(["ms", "s"]),
    )
    return start, draw(st.lists(reading, max_size=14))


@settings(deadline=None, max_examples=70)
@given(histories())
def test_every_figure_equals_the_second_implementation(history: tuple[dt.datetime, list[dict[str, Any]]]) -> None:
    start, rows = history
    length = 600
    found = report(samples.to_table(rows), length, start)
    values = brute.values_of(rows, int(start.timestamp()), length)
    same(found.summary.iloc[0], brute.figures(values, 60))
    for frame, name in (
        (found.days, lambda at: f"{at:%Y-%m-%d}"),
        (found.weeks, lambda at: f"{at:%G-W%V}"),
        (found.months, lambda at: f"{at:%Y-%m}"),
    ):
        groups = brute.by(values, start, name)
        assert list(frame["period"]) == list(groups)
        for (_, row), group in zip(frame.iterrows(), groups.values(), strict=True):
            same(row, brute.figures(group, 60))
    bad = brute.stretches(values, lambda value: value is not None and value >= 60)
    assert spans(found.breaches, start) == bad
    assert list(found.breaches["depth_seconds"]) == [max(v for v in values[a:b] if v is not None) for a, b in bad]
    assert spans(found.gaps, start) == brute.stretches(values, lambda value: value is None)
    minutes = what_if(found.signal, 60).overall.iloc[0]
    expected = brute.figures(values[::60], 60)
    assert (minutes["minutes_known"], minutes["minutes_unknown"]) == (
        expected["known_seconds"],
        expected["unknown_seconds"],
    )
    same(minutes, {name: value for name, value in expected.items() if name[0] in "pm"})
    # However the samples come, through files or in another order, the report is the same.
    again = report(samples.normalise(samples.to_table(rows[::-1])), length, start)
    one_unit = len({row["unit"] for row in rows}) < 2  # files tell units apart by name only
    assert not one_unit or again.summary.equals(found.summary)


def same(row: Any, expected: dict[str, float | None]) -> None:
    for name, value in expected.items():
        if value is None:
            assert math.isnan(row[name]), name
        else:
            assert row[name] == pytest.approx(value, abs=1e-9), name


def spans(frame: Any, start: dt.datetime) -> list[tuple[int, int]]:
    return [
        ((a - start) // SECOND, (b - start) // SECOND)
        for a, b in zip(frame["start"].tolist(), frame["end"].tolist(), strict=True)
    ]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=12))
def test_a_union_counts_each_second_once(intervals: list[tuple[int, int]]) -> None:
    merged = timeseries.union(intervals)
    assert sum(end - begin for begin, end in merged) == brute.total(intervals)
    assert all(a[1] < b[0] for a, b in itertools.pairwise(merged))
