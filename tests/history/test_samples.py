"""Samples in Parquet: the same bytes for the same samples, nothing lost, nothing invented, damage named and quarantined."""

import datetime as dt
import os
import random
import re
import signal
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dr_assets.errors import AwsCallError, DrError
from dr_assets.history import samples
from dr_assets.history.store import FolderStore
from tests.fuzz import mutate

UTC = dt.timezone.utc
DAY = dt.date(2026, 10, 25)  # clocks go back in Europe
START = dt.datetime(2026, 10, 25, tzinfo=UTC)
STACK, FAMILY = "l6p3z2w4", "lag"


def row(at: dt.datetime, value: float | None = 1.0, **more: str) -> dict[str, Any]:
    return {
        "at": at,
        "site": "secondary",
        "metric": "rpo-lag",
        "value": value,
        "unit": "ms",
        "source": "metric",
        **more,
    }


def minutes(*values: float | None, start: dt.datetime = START) -> Any:
    return samples.to_table([row(start + dt.timedelta(minutes=n), value) for n, value in enumerate(values)])


def everything(store: FolderStore, **more: Any) -> Any:
    return samples.read(store, STACK, FAMILY, START - dt.timedelta(days=9), START + dt.timedelta(days=9), **more)


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "history")


def test_what_is_written_is_read(store: FolderStore) -> None:
    key = samples.write_day(store, STACK, FAMILY, DAY, minutes(5.0, None, 7.5))
    assert key == "samples/l6p3z2w4/lag/2026-10-25.parquet"
    assert everything(store).to_pylist() == minutes(5.0, None, 7.5).to_pylist()
    assert everything(store, columns=["value"]).to_pydict() == {"value": [5.0, None, 7.5]}
    assert samples.days(store, STACK, FAMILY) == [DAY]
    assert samples.stacks(store) == [STACK]


def test_anything_that_reads_parquet_reads_it(store: FolderStore) -> None:
    key = samples.write_day(store, STACK, FAMILY, DAY, minutes(5.0, None))
    found = pq.read_table(store.root / key)
    assert found.schema.equals(samples.SCHEMA)
    assert found.schema.metadata[b"dr_assets.samples"] == b"1"


def test_the_period_is_half_open_and_days_without_a_file_are_empty(store: FolderStore) -> None:
    samples.write_day(store, STACK, FAMILY, DAY, minutes(1.0, 2.0, 3.0))
    found = samples.read(store, STACK, FAMILY, START + dt.timedelta(minutes=1), START + dt.timedelta(minutes=2))
    assert found["value"].to_pylist() == [2.0]
    assert samples.read(store, STACK, FAMILY, START - dt.timedelta(days=3), START).num_rows == 0
    assert samples.read(store, "gone", FAMILY, START, START + dt.timedelta(days=3), columns=["at"]).column_names == [
        "at"
    ]


def test_of_readings_with_one_key_the_worst_is_kept() -> None:
    at = START
    lag = samples.merge(
        samples.to_table([row(at, None)]), samples.to_table([row(at, 3.0), row(at, 9.0), row(at, float("nan"))])
    )
    assert lag["value"].to_pylist() == [9.0]
    up = samples.normalise(
        samples.to_table([row(at, 1.0, unit="bool"), row(at, 0.0, unit="bool"), row(at, None, unit="bool")])
    )
    assert up["value"].to_pylist() == [0.0]
    other = samples.normalise(samples.to_table([row(at, 1.0, source="sql"), row(at, 2.0)]))
    assert other["source"].to_pylist() == ["metric", "sql"]


rows = st.lists(
    st.builds(
        lambda second, value, site, source: row(START + dt.timedelta(seconds=second), value, site=site, source=source),
        st.integers(0, 6),
        st.one_of(st.none(), st.sampled_from([0.0, 1.5, 2.0, float("inf")])),
        st.sampled_from(["primary", "secondary"]),
        st.sampled_from(["metric", "sql"]),
    ),
    max_size=25,
)


@settings(deadline=None, max_examples=60)
@given(rows, st.randoms(use_true_random=False))
def test_no_order_of_arrival_changes_a_byte(given_rows: list[dict[str, Any]], shuffle: random.Random) -> None:
    data = samples.encode(samples.to_table(given_rows))
    shuffled = given_rows * 2
    shuffle.shuffle(shuffled)
    half = len(shuffled) // 2
    merged = samples.merge(
        samples.to_table(shuffled[:half]), samples.to_table(shuffled[half:]), samples.decode(data, DAY)
    )
    assert samples.encode(merged) == data
    # And a second implementation, in plain Python, keeps the same readings.
    best: dict[Any, float | None] = {}
    for each in given_rows:
        key = (each["at"], each["site"], each["metric"], each["source"])
        value = each["value"] if each["value"] not in (None, float("inf")) else None
        before = best.get(key)
        best[key] = value if before is None else before if value is None else max(value, before)
    found = {(r["at"], r["site"], r["metric"], r["source"]): r["value"] for r in merged.to_pylist()}
    assert found == best
    assert list(found) == sorted(best)


def test_a_night_with_a_second_two_oclock_has_25_hours_in_utc(store: FolderStore) -> None:
    berlin = ZoneInfo("Europe/Berlin")
    first = dt.datetime(2026, 10, 25, 2, 30, tzinfo=berlin)
    again = first.replace(fold=1)
    samples.write_day(store, STACK, FAMILY, DAY, samples.to_table([row(again, 2.0), row(first, 1.0)]))
    assert [r["at"].hour for r in everything(store).to_pylist()] == [0, 1]


def test_bytes_of_a_day_written_twice_are_the_same(store: FolderStore) -> None:
    key = samples.write_day(store, STACK, FAMILY, DAY, minutes(1.0, 2.0))
    before = store.read(key)
    samples.write_day(store, STACK, FAMILY, DAY, everything(store))
    assert store.read(key) == before


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "cannot be read as Parquet"),
        (b"PAR1 nonsense", "cannot be read as Parquet"),
        ("half", "cannot be read as Parquet"),
        ("other", "not a samples file"),
    ],
)
def test_a_damaged_or_foreign_file_is_named_and_quarantined(store: FolderStore, data: Any, message: str) -> None:
    good = samples.write_day(
        store, STACK, FAMILY, DAY + dt.timedelta(days=1), minutes(4.0, start=START + dt.timedelta(days=1))
    )
    if data == "half":
        data = store.read(good)[:-100]
    elif data == "other":
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table({"at": [1]}), sink)
        data = sink.getvalue().to_pybytes()
    key = samples.key_of(STACK, FAMILY, DAY)
    store.write(key, data)
    problems: list[str] = []
    assert everything(store, problems=problems)["value"].to_pylist() == [4.0]
    assert len(problems) == 1 and key in problems[0] and message in problems[0]
    (quarantined,) = store.list("quarantine/")
    assert store.read(quarantined) == data and quarantined in problems[0]
    assert store.list("samples/") == [good]
    everything(store, problems=(again := []))
    assert again == problems


def test_a_file_of_another_name_is_quarantined_too(store: FolderStore) -> None:
    store.write(f"samples/{STACK}/{FAMILY}/notes.txt", b"hello")
    problems: list[str] = []
    assert everything(store, problems=problems).num_rows == 0
    assert "notes.txt" in problems[0] and store.list("samples/") == []


def test_who_may_only_read_still_gets_the_rest(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    samples.write_day(store, STACK, FAMILY, DAY, minutes(4.0))
    store.write(f"samples/{STACK}/{FAMILY}/2026-10-24.parquet", b"no")

    def refuse(key: str, data: bytes) -> None:
        raise DrError("read-only")

    monkeypatch.setattr(store, "write", refuse)
    problems: list[str] = []
    assert everything(store, problems=problems)["value"].to_pylist() == [4.0]
    assert "could not be quarantined (read-only)" in problems[0]


def stamped(version: int, table: Any) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata({samples.VERSION_KEY: str(version).encode()}), sink)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def test_an_older_file_is_upgraded_while_it_is_read(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    old = minutes(3.0, 4.0).drop_columns(["source"])
    monkeypatch.setitem(
        samples.UPGRADES, 0, lambda table: table.append_column("source", pa.array(["metric"] * table.num_rows))
    )
    data = stamped(0, old)
    store.write(samples.key_of(STACK, FAMILY, DAY), data)
    assert everything(store).to_pylist() == minutes(3.0, 4.0).to_pylist()
    assert store.read(samples.key_of(STACK, FAMILY, DAY)) == data


def test_case_e6_a_newer_file_is_named_stays_where_it_is_and_is_never_replaced(store: FolderStore) -> None:
    key, next_day = samples.key_of(STACK, FAMILY, DAY), DAY + dt.timedelta(days=1)
    samples.write_day(store, STACK, FAMILY, next_day, minutes(4.0, start=START + dt.timedelta(days=1)))
    store.write(key, stamped(2, minutes(1.0)))
    problems: list[str] = []
    assert everything(store, problems=problems)["value"].to_pylist() == [4.0]
    assert len(problems) == 1
    assert re.search(r"2026-10-25\.parquet.*version 2.*Update DR Assets", problems[0])
    with pytest.raises(samples.NewerSamplesError, match=r"2026-10-25\.parquet.*version 2.*Update DR Assets"):
        samples.merge_day(store, STACK, FAMILY, DAY, minutes(1.0), problems)
    assert store.list("quarantine/") == [] and store.read(key) == stamped(2, minutes(1.0))


def test_impossible_samples_are_refused(store: FolderStore) -> None:
    with pytest.raises(DrError, match="Divide them by day"):
        samples.write_day(store, STACK, FAMILY, DAY, minutes(1.0, start=START + dt.timedelta(days=1)))
    with pytest.raises(DrError, match="is not a time with a zone"):
        samples.to_table([row(dt.datetime(2026, 1, 1))])  # noqa: DTZ001
    with pytest.raises(DrError, match="lack unit"):
        samples.normalise(minutes(1.0).drop_columns(["unit"]))
    with pytest.raises(DrError, match="1 samples have no site"):
        samples.normalise(minutes(1.0).set_column(1, "site", pa.array([None], pa.string())))
    with pytest.raises(DrError, match="cannot name samples"):
        samples.key_of("../x", FAMILY, DAY)
    assert store.list("") == []


def test_killed_while_writing_the_day_is_whole_and_nothing_is_lost(store: FolderStore) -> None:
    small, large = minutes(*[1.0] * 10), minutes(*[2.0] * 1440)
    samples.write_day(store, STACK, FAMILY, DAY, small)
    for turn in range(12):
        child = os.fork()
        if child == 0:
            while True:
                samples.write_day(store, STACK, FAMILY, DAY, large)
                samples.write_day(store, STACK, FAMILY, DAY, small)
        time.sleep(0.002 * turn)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        problems: list[str] = []
        assert everything(store, problems=problems).num_rows in (10, 1440)
        assert problems == []
    assert samples.days(store, STACK, FAMILY) == [DAY]


def test_of_two_who_merge_into_one_day_at_once_both_are_there(store: FolderStore) -> None:
    children = []
    for place in range(3):
        child = os.fork()
        if child == 0:
            for number in range(place, 30, 3):
                at = START + dt.timedelta(minutes=number)
                samples.merge_day(store, STACK, FAMILY, DAY, samples.to_table([row(at, float(number))]), [])
            os._exit(0)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0, 0]
    assert everything(store)["value"].to_pylist() == [float(number) for number in range(30)]


def test_merging_the_same_again_writes_nothing(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    samples.merge_day(store, STACK, FAMILY, DAY, minutes(1.0, 2.0), [])

    def never(*_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(store, "replace", never)
    assert samples.merge_day(store, STACK, FAMILY, DAY, minutes(1.0), []).num_rows == 2


def test_a_damaged_day_is_quarantined_before_it_is_written_anew(store: FolderStore) -> None:
    key = samples.key_of(STACK, FAMILY, DAY)
    store.write(key, b"half a fi")
    problems: list[str] = []
    assert samples.merge_day(store, STACK, FAMILY, DAY, minutes(1.0), problems).num_rows == 1
    assert len(problems) == 1 and key in problems[0]
    assert everything(store)["value"].to_pylist() == [1.0]


def test_other_writers_that_always_come_first_are_reported(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "replace", lambda *_: False)
    with pytest.raises(DrError, match="other writers kept replacing it"):
        samples.merge_day(store, STACK, FAMILY, DAY, minutes(1.0), [])


# A day that no writer of ours made: pyarrow alone, with the columns of docs/reports.md.
def foreign_day(version: str = "1", **columns: Any) -> bytes:
    whole: dict[str, Any] = {
        "at": pa.array([START, START + dt.timedelta(minutes=1)], pa.timestamp("ms", "UTC")),
        "site": ["secondary"] * 2,
        "metric": ["rpo-lag"] * 2,
        "value": [900.0, 901.0],
        "unit": ["ms"] * 2,
        "source": ["metric"] * 2,
    }
    sink = pa.BufferOutputStream()
    table = pa.table({**whole, **columns}).replace_schema_metadata({"dr_assets.samples": version})
    pq.write_table(table, sink)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def test_case_e6_a_day_without_a_digest_is_read_as_before(store: FolderStore) -> None:
    store.write(samples.key_of(STACK, FAMILY, DAY), foreign_day())
    assert everything(store)["value"].to_pylist() == [900.0, 901.0]
    store.write(samples.key_of(STACK, FAMILY, DAY), foreign_day(value=[-1.0, 5.0]))
    assert everything(store)["value"].to_pylist() == [None, 5.0]  # -1 is Aurora's mark, and no lag


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"site": [None, "primary"]}, "samples without site"),
        ({"at": pa.array([None, START], pa.timestamp("ms", "UTC"))}, "samples without at"),
        ({"unit": ["ms", None]}, "samples without unit"),
        ({"site": ["secondary", "eu-west-1"]}, "unknown site"),
        ({"unit": ["ms", "lightyears"]}, "unknown unit"),
        ({"unit": ["ms", "percent"]}, "not given as a time"),
        ({"value": [float("nan"), 1.0]}, "no numbers"),
        ({"value": [float("inf"), 1.0]}, "no numbers"),
        ({"value": ["900", "1"]}, "value is of another type"),
        ({"at": pa.array([START, START], pa.timestamp("ms"))}, "at is of another type"),
        ({"at": pa.array([START, START + dt.timedelta(days=1)], pa.timestamp("ms", "UTC"))}, "another day"),
        ({"at": pa.array([START - dt.timedelta(days=800), START], pa.timestamp("ms", "UTC"))}, "another day"),
        ({"at": pa.array([-(2**62), 0], pa.int64())}, "at is of another type"),
        ({"site": pa.array([b"\xff\xfe", b"primary"], pa.binary())}, "Invalid UTF8"),
        ({"version": "9" * 5000}, "not a samples file"),
        ({"version": "\u00b2"}, "not a samples file"),
        ({"version": "0"}, "version 0 of the schema is unknown"),
    ],
)
def test_case_e6_samples_that_no_day_can_have_are_named_and_not_used(
    store: FolderStore, columns: dict[str, Any], reason: str
) -> None:
    next_day = DAY + dt.timedelta(days=1)
    samples.write_day(store, STACK, FAMILY, next_day, minutes(4.0, start=START + dt.timedelta(days=1)))
    key = samples.key_of(STACK, FAMILY, DAY)
    store.write(key, foreign_day(**columns))
    problems: list[str] = []
    assert everything(store, problems=problems)["value"].to_pylist() == [4.0]
    assert len(problems) == 1 and key in problems[0] and reason in problems[0]
    assert samples.merge_day(store, STACK, FAMILY, DAY, minutes(1.0), problems)["value"].to_pylist() == [1.0]


def test_case_e6_a_small_file_that_unpacks_to_a_gigabyte_is_refused_before_it_is_read(store: FolderStore) -> None:
    million = 1_000_000
    texts = pa.DictionaryArray.from_arrays(pa.array(np.zeros(million, np.int32)), ["x"])
    columns: dict[str, Any] = dict.fromkeys(("site", "metric", "unit", "source"), texts)
    at = pa.array(np.zeros(million, np.int64)).cast(pa.timestamp("ms", "UTC"))
    table = pa.table({"at": at, "value": np.zeros(million), **columns})
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, table.replace_schema_metadata({"dr_assets.samples": "1"}).schema) as writer:
        for _ in range(11):
            writer.write_table(table)
    data = sink.getvalue().to_pybytes()
    assert len(data) < million
    store.write(samples.key_of(STACK, FAMILY, DAY), data)
    problems: list[str] = []
    before = pa.total_allocated_bytes()
    assert everything(store, problems=problems).num_rows == 0
    assert "11000000 rows" in problems[0] and pa.total_allocated_bytes() - before < 64 << 20


def test_case_e6_a_file_below_a_day_s_folder_is_no_day(store: FolderStore) -> None:
    samples.write_day(store, STACK, FAMILY, DAY, minutes(4.0))
    store.write(f"samples/{STACK}/{FAMILY}/old/{DAY}.parquet", foreign_day())
    store.write("samples/UPPER/lag/2026-10-25.parquet", foreign_day())
    problems: list[str] = []
    assert everything(store, problems=problems)["value"].to_pylist() == [4.0]
    assert len(problems) == 1 and "not the name of a day" in problems[0]
    assert samples.days(store, STACK, FAMILY) == [DAY]
    assert samples.stacks(store) == [STACK]


def flips(data: bytes, places: Iterable[int]) -> Iterator[tuple[int, bytes]]:
    for place in places:
        changed = bytearray(data)
        changed[place // 8] ^= 1 << place % 8
        yield place, bytes(changed)


def day_of_all() -> tuple[bytes, Any]:
    table = samples.normalise(
        samples.to_table(
            [
                row(START + dt.timedelta(minutes=n), None if n == 7 else 900.0 + n, site=site, source=source)
                for n in range(20)
                for site, source in (("primary", "sql"), ("secondary", "metric"))
            ]
        )
    )
    return samples.encode(table), table.to_pylist()


def accepted_flips(places: Iterable[int]) -> list[int]:
    """The bits whose change is not found: the samples are others then, or no samples at all."""
    data, expected = day_of_all()
    found = []
    for place, changed in flips(data, places):
        try:
            same = samples.decode(changed, DAY).to_pylist() == expected
        except (samples.ForeignError, samples.NewerSamplesError):
            continue
        found += [] if same else [place]
    return found


def test_case_e6_a_bit_flip_of_a_day_is_found() -> None:
    seed = mutate.seed()
    bits = len(day_of_all()[0]) * 8
    assert accepted_flips(mutate.generator(seed, "bits").sample(range(bits), 1500)) == [], f"DR_FUZZ_SEED={seed}"


@pytest.mark.exhaustive
def test_case_e6_every_bit_flip_of_a_day_is_found() -> None:
    assert accepted_flips(range(len(day_of_all()[0]) * 8)) == []


def test_case_a10_a_damaged_day_is_named_until_it_is_written_again(store: FolderStore) -> None:
    key = samples.key_of(STACK, FAMILY, DAY)
    samples.write_day(store, STACK, FAMILY, DAY, minutes(4.0))
    store.write(key, store.read(key)[:-7])
    named = []
    for _ in range(3):
        problems: list[str] = []
        assert everything(store, problems=problems).num_rows == 0
        named.append(problems)
    assert len(named[0]) == 1 and named == [named[0]] * 3
    # A period without that day does not need it.
    later: list[str] = []
    samples.read(store, STACK, FAMILY, START + dt.timedelta(days=2), START + dt.timedelta(days=9), problems=later)
    assert later == []
    samples.merge_day(store, STACK, FAMILY, DAY, minutes(4.0), [])
    everything(store, problems=(repaired := []))
    assert repaired == []
    # The copy alone, as it was left by an earlier version.
    store.delete(key)
    everything(store, problems=(lost := []))
    assert lost == named[0]


def test_case_e6_an_object_that_the_store_keeps_back_is_named_and_stays(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3 answers InvalidObjectState for an archived object (S3 API reference, GetObject)."""
    key = samples.write_day(store, STACK, FAMILY, DAY, minutes(4.0))
    next_day = DAY + dt.timedelta(days=1)
    samples.write_day(store, STACK, FAMILY, next_day, minutes(5.0, start=START + dt.timedelta(days=1)))
    read = store.read

    def refuse(name: str) -> bytes:
        if name == key:
            raise AwsCallError("s3 get_object failed: InvalidObjectState.")
        return read(name)

    monkeypatch.setattr(store, "read", refuse)
    problems: list[str] = []
    assert everything(store, problems=problems)["value"].to_pylist() == [5.0]
    assert len(problems) == 1 and key in problems[0] and "InvalidObjectState" in problems[0]


def test_case_e6_a_damaged_day_that_cannot_be_moved_is_not_replaced(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = samples.key_of(STACK, FAMILY, DAY)
    store.write(key, b"damaged")

    def refuse(name: str, data: bytes) -> None:
        raise DrError("full")

    monkeypatch.setattr(store, "write", refuse)
    with pytest.raises(DrError, match=r"could not be quarantined \(full\)"):
        samples.merge_day(store, STACK, FAMILY, DAY, minutes(1.0), [])
    assert store.read(key) == b"damaged"
