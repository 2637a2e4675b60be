"""RTO, exposure and readiness: every formula by hand, and the prediction against a second implementation."""

import datetime as dt
import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dr_assets.errors import DrError
from dr_assets.history import documents, samples
from dr_assets.reports.analysis import corrective_actions
from dr_assets.reports.analysis.exposure import exposure_report, of_incidents
from dr_assets.reports.analysis.readiness import Check, history_checks, overdue, readiness
from dr_assets.reports.analysis.rpo import rpo_report
from dr_assets.reports.analysis.rto import predict, rto_report, trend
from tests.support import brute_force as brute
from tests.support import month
from tests.support.records import START, make_record

DAY, SECOND = dt.timedelta(days=1), dt.timedelta(seconds=1)
END = START + 365 * DAY
Record = Callable[..., dict[str, Any]]


def test_a_prediction_by_hand(record: Record) -> None:
    # database 3 or 5, traffic 4 or 6: the sums 10, 12, 12, 14, each a quarter
    found = predict("failover", [record(parts=(1.0, 2.0, 3.0, 4.0)), record(parts=(1.0, 2.0, 5.0, 6.0))])
    assert (found.basis, found.p50_seconds, found.p95_seconds) == (2, 12, 14)
    assert found.parts_median["database"] == 4


def test_no_prediction_rests_on_what_failed_or_is_unknown_or_is_another_scenario(record: Record) -> None:
    found = predict(
        "failover", [record(status="failed"), record(scenario="failback"), record(parts=(1.0, None, 3.0, 4.0))]
    )
    assert (found.basis, found.p50_seconds, found.p95_seconds) == (0, None, None)
    assert predict("failover", []).p50_seconds is None


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(*[st.integers(0, 50).map(float)] * 4), min_size=1, max_size=12))
def test_a_prediction_equals_the_second_implementation(parts: list[Any]) -> None:
    found = predict("failover", [make_record(parts=each) for each in parts])
    sums = sorted(map(sum, itertools.product(*zip(*parts[-10:], strict=True))))
    assert found.p50_seconds == brute.percentile(sums, 50)
    assert found.p95_seconds == brute.percentile(sums, 95)


def test_slower_than_predicted_means_the_whole_interval(record: Record) -> None:
    parts = [(1.0, 2.0, 3.0, 4.0)] * 3 + [(1.0, 2.0, 3.0, 4.4), (1.0, 2.0, 3.0, 4.6)]
    found = rto_report([record(START + n * DAY, parts=each) for n, each in enumerate(parts)], START, END)
    # Predicted 10 s (p95) each time. 10.4 s was measured as 9.9 to 10.4; 10.6 as 10.1 to 10.6, but by then p95 is 10.4.
    assert list(found.events["regression"]) == ["unknown"] * 3 + ["no", "no"]
    slow = rto_report(
        [record(START + n * DAY, parts=each) for n, each in enumerate([*parts[:3], parts[4]])], START, END
    )
    assert list(slow.events["regression"]) == ["unknown"] * 3 + ["yes"]
    assert slow.events.iloc[3]["error_seconds"] == pytest.approx(0.6)
    assert slow.predictions["failover"].basis == 4 and slow.predictions["failback"].p95_seconds is None


def test_the_trend_is_not_moved_by_one_outlier(record: Record) -> None:
    # 10, 12, 14, 100, 18 at intervals of 30 days: the median slope is 2 s (slopes 2,2,30,2,2,44,2,86,2,-82)
    highs = [10.0, 12.0, 14.0, 100.0, 18.0]
    drills = [record(START + 30 * n * DAY, parts=(0.0, 0.0, 0.0, high)) for n, high in enumerate(highs)]
    assert trend(drills) == pytest.approx(2)
    assert math.isnan(trend(drills[:2]))


def test_a_drill_that_failed_half_way_is_listed_without_figures(record: Record) -> None:
    failed = record(parts=(1.0, None, None, None), status="failed", lost=None, exposure=None)
    found = rto_report([failed, {"id": "odd"}], START, END)
    row = found.events.iloc[0]
    assert (row["status"], row["met"], row["regression"], row["detect_seconds"]) == ("failed", "unknown", "unknown", 1)
    assert math.isnan(row["high_seconds"])
    assert found.scenarios.set_index("scenario").loc["failover", ["count", "succeeded", "unknown"]].tolist() == [
        1,
        0,
        1,
    ]


def test_no_records_no_crash() -> None:
    found = rto_report([], START, END)
    assert len(found.events) == 0 and list(found.scenarios["count"]) == [0, 0, 0]
    exposure = exposure_report([], START, END)
    assert exposure.seconds == 0 and len(exposure.days) == 365 and exposure.proofs["last"].isna().all()


def test_exposure_is_a_union_clipped_to_the_period_and_divided_by_day(record: Record) -> None:
    hour = 3600 * SECOND
    records = [
        record(START - hour, exposure=2 * 3600),  # one hour of it lies in the period
        record(START + hour / 2, exposure=3600),  # overlaps the first by half an hour
        record(START + DAY - hour, exposure=None),  # has not ended
    ]
    found = exposure_report(records, START, START + 3 * DAY, now=START + DAY + hour)
    assert found.seconds == 1.5 * 3600 + 2 * 3600
    assert list(found.days["exposure_seconds"]) == [1.5 * 3600 + 3600, 3600, 0]
    assert found.open_since == START + DAY - hour
    assert list(found.intervals["open"]) == ["no", "no", "yes"]
    elsewhere = exposure_report([], START, START + DAY, intervals=[(START + hour, START + 2 * hour, "topology")])
    assert elsewhere.seconds == 3600 and elsewhere.intervals.iloc[0]["source"] == "topology"


def lag(*seconds: tuple[float, float]) -> Any:
    """Readings of 0.5 s, one a minute, from each first second to before each last one after START."""
    each = {"site": "secondary", "metric": "rpo-lag", "value": 0.5, "unit": "s", "source": "metric"}
    return samples.to_table(
        [{"at": START + at * SECOND, **each} for low, high in seconds for at in range(int(low), int(high), 60)]
    )


def test_what_a_drill_left_open_ends_where_protection_is_known_again(record: Record) -> None:
    hour = 3600 * SECOND
    broken = record(START + hour, exposure=None)
    later = record(START + 5 * hour, exposure=1800)

    def end(readings: Any, records: list[dict[str, Any]]) -> tuple[Any, str]:
        found = rpo_report("x", readings, START, START + DAY, 60)
        row = exposure_report(records, START, START + DAY, signal=found.signal, objective_seconds=60).intervals.iloc[0]
        return (None if row["open"] == "yes" else row["end"], row["end_told_by"])

    assert end(lag(), [broken]) == (None, "")
    assert end(lag(), [broken, later]) == (START + 5.5 * hour, f"the record {later['id']}")
    # Readings that stopped with the fault prove nothing; ten minutes of them do not either; an hour of them does.
    assert end(lag((0, 3600)), [broken]) == (None, "")
    assert end(lag((7200, 7800)), [broken]) == (None, "")
    assert end(lag((7200, 10800)), [broken, later]) == (START + 2 * hour, "readings of the lag")
    # They never stopped: the reader never stopped protecting.
    assert end(lag((0, 86400)), [broken]) == (START + hour, "readings of the lag")
    # What a drill measured itself takes precedence over readings.
    assert end(lag((0, 86400)), [later]) == (START + 5.5 * hour, "the record")


def test_a_rebuild_reported_by_the_sensors_is_exposure(record: Record) -> None:
    base = month.incident("events.resynchronizing", 1, START + 100 * SECOND, 0, None, "rebuilding", 0.0, "at least 1")
    ended = {"calm": START.timestamp() + 400, "ended": START.timestamp() + 700}
    still_open = documents.StoredIncident.from_json(base, "x")
    over = documents.StoredIncident.from_json({**base, **ended}, "x")
    other = documents.StoredIncident.from_json({**base, **ended, "topic": "replication"}, "x")
    found = exposure_report([record(exposure=200)], START, END, intervals=of_incidents([over, other]))
    assert found.seconds == 400  # 0 to 200 and 100 to 400
    assert list(found.intervals["end_told_by"]) == ["the record", "the sensors"]
    still = exposure_report([], START, END, now=START + DAY, intervals=of_incidents([still_open]))
    assert still.open_since == START + 100 * SECOND


def test_changes_of_actions_are_applied(record: Record) -> None:
    given = [{"text": "write it", "owner": "", "due": None}, {"text": "try it", "owner": "Ada", "due": "2026-03-10"}]
    drill = record(corrective_actions=given)
    assert overdue([drill], dt.date(2026, 3, 11)) == ["try it (due 2026-03-10, Ada)"]

    def change(**fields: Any) -> documents.ActionChange:
        base = {"schema": "dr-assets/action/1", "record": drill["id"], "by": "Grace", "at": "2026-03-08T10:00:00Z"}
        return documents.ActionChange.from_json({**base, **fields}, "x")

    changes = [
        change(number=1, owner="Joan", due="2026-03-12", done=None, note="asked"),
        change(number=2, done="2026-03-09"),
        change(number=9, done="2026-03-09"),
        change(number=1, due="2026-03-20"),
    ]
    found = corrective_actions.actions([drill], changes)
    assert [(each.owner, each.due, each.done) for each in found] == [
        ("Joan", "2026-03-20", None),
        ("Ada", "2026-03-10", "2026-03-09"),
    ]
    assert overdue([drill], dt.date(2026, 3, 20), changes) == []
    assert overdue([drill], dt.date(2026, 3, 21), changes) == ["write it (due 2026-03-20, Joan)"]
    table = corrective_actions.actions_table(found, dt.date(2026, 3, 21))
    assert list(table["state"]) == ["overdue", "done 2026-03-09"] and table.iloc[0]["note"] == "asked"


def incident(*fields: Any) -> documents.StoredIncident:
    return documents.StoredIncident.from_json(month.incident(*fields), "x")


def test_incidents_as_a_table() -> None:
    at = incident("writer", 1, START, 17, START + 300 * SECOND, "down", None, "at least 1")
    opened = incident("replication", 2, START + 60 * SECOND, 9, None, "late", 61000.0, "at most 60000 ms")
    before = incident("writer", 0, START - DAY, 1, START, "down", 0.0, "at least 1")
    found = corrective_actions.incidents_table([opened, at, before], START, START + DAY)
    assert list(found["topic"]) == ["writer", "replication"]
    assert list(found["noticed_after_seconds"]) == [17, 9]
    assert found.iloc[0]["duration_seconds"] == 300 and math.isnan(found.iloc[1]["duration_seconds"])
    assert list(found["value"].isna()) == [True, False] and found.iloc[1]["value"] == "61000"
    assert len(corrective_actions.incidents_table([], START, END)) == 0


def test_the_trend_rests_on_the_whole_history(record: Record) -> None:
    drills = [record(START + 30 * n * DAY, parts=(0.0, 0.0, 0.0, 10.0 + n)) for n in range(6)]
    row = rto_report(drills, START + 140 * DAY, END).scenarios.set_index("scenario").loc["failover"]
    assert row["count"] == 1 and row["trend_seconds_per_30_days"] == pytest.approx(1)


def test_a_proof_succeeded_within_both_objectives(record: Record) -> None:
    records = [
        record(START),
        record(START + DAY, lost=None),  # unknown is no proof
        record(START + 2 * DAY, parts=(1.0, 2.0, 3.0, 400.0)),
        record(START + 3 * DAY, status="failed"),
    ]
    found = exposure_report(records, START, START + 10 * DAY, restores=[START + 9 * DAY]).proofs.set_index("proof")
    assert found.loc["failover within RTO and RPO", "last"] == START + 60 * SECOND
    assert found.loc["verified restore", "days_ago"] == 1
    assert math.isnan(found.loc["failback within RTO and RPO", "days_ago"])


def test_each_point_belongs_to_a_check() -> None:
    checks = [
        Check("a", True, weight=3),
        Check("b", None, "no answer", blocking=False),
        Check("c", False, "late", weight=0, blocking=False),
    ]
    found = readiness(checks)
    assert (found.ready, found.score) == (True, 75)
    assert list(found.checks["points"]) == [75, 0, 0] and list(found.checks["of"]) == [75, 25, 0]
    assert found.reasons == ("b: no answer", "c: late")
    blocked = readiness([*checks, Check("d", None)])
    assert (blocked.ready, blocked.answer, blocked.reasons[0]) == (False, "no", "d: unknown")
    assert readiness([]).ready is False
    with pytest.raises(DrError, match="called a"):
        readiness([checks[0], checks[0]])


def test_readiness_from_the_history(record: Record) -> None:
    now = START + 100 * DAY
    table = samples.to_table(
        [
            {
                "at": now - 30 * SECOND,
                "site": "secondary",
                "metric": "rpo-lag",
                "value": 900.0,
                "unit": "ms",
                "source": "sql",
            }
        ]
    )
    action = {"text": "write the runbook", "owner": "Ada", "due": "2026-04-01"}
    records = [record(START + n * DAY, corrective_actions=[action] if n == 3 else []) for n in range(4)]

    def passed(reading: Any, known: list[dict[str, Any]]) -> dict[str, bool | None]:
        rpo = rpo_report("x", reading, START, now, 60)
        return {c.name: c.passed for c in history_checks(rpo, rto_report(known, START, now), known, 300, now)}

    assert passed(table, records) == {
        "replication lag now": True,
        "predicted RTO of a failover": True,
        "recent proof": False,
        "corrective actions": False,
        "no regression of the RTO": True,
    }
    empty = passed(samples.SCHEMA.empty_table(), [])
    assert empty["replication lag now"] is None and empty["predicted RTO of a failover"] is None
    assert empty["no regression of the RTO"] is None
    assert overdue(records, dt.date(2026, 4, 2)) == ["write the runbook (due 2026-04-01, Ada)"]
    assert overdue(records, dt.date(2026, 4, 1)) == []
