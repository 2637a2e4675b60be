"""A day from CloudWatch into its partition: paging, batches, retention, dark regions, and the same bytes when done again."""

from __future__ import annotations

import datetime as dt
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError

from dr_assets.errors import DrError
from dr_assets.history import sample_buffer, samples
from dr_assets.history.cloudwatch_import import EXPIRED, ImportedDay, import_day, incomplete_days
from dr_assets.history.store import FolderStore
from dr_assets.stack import Stack, parse_stack

UTC = dt.timezone.utc
DAY = dt.date(2026, 11, 20)
BEGIN = dt.datetime(2026, 11, 20, tzinfo=UTC)
NOW = dt.datetime(2026, 11, 21, 0, 30, tzinfo=UTC)
MINUTE = dt.timedelta(minutes=1)


# (values of the dimensions, sorted; metric) -> datapoints
Series = Mapping[tuple[tuple[str, ...], str], Mapping[dt.datetime, float]]


@dataclass
class CloudWatch:
    """Answers as GetMetricData does: per query, `page` datapoints at a time, the rest by NextToken."""

    series: Series
    page: int = 1000
    error: Exception | None = None
    status: str = "Complete"
    requests: list[dict[str, Any]] = field(default_factory=list)
    metrics: list[dict[str, Any]] = field(default_factory=list)

    def list_metrics(self, **params: Any) -> dict[str, Any]:
        assert params == {"Namespace": "AWS/RDS", "MetricName": "AuroraGlobalDBReplicationLag"}
        return {"Metrics": self.metrics}

    def get_metric_data(self, **params: Any) -> dict[str, Any]:
        self.requests.append(params)
        if self.error:
            raise self.error
        assert len(params["MetricDataQueries"]) <= 500
        low = int(params.get("NextToken", "0"))
        results, more = [], False
        for query in params["MetricDataQueries"]:
            stat = query["MetricStat"]
            assert (stat["Period"], stat["Stat"]) == (60, "Maximum")
            key = (tuple(sorted(item["Value"] for item in stat["Metric"]["Dimensions"])), stat["Metric"]["MetricName"])
            points = sorted(self.series.get(key, {}).items())
            points = [(at, value) for at, value in points if params["StartTime"] <= at < params["EndTime"]]
            some, more = points[low : low + self.page], more or len(points) > low + self.page
            results.append(
                {
                    "Id": query["Id"],
                    "StatusCode": self.status,
                    "Timestamps": [at for at, _ in some],
                    "Values": [value for _, value in some],
                }
            )
        return {"MetricDataResults": results} | ({"NextToken": str(low + self.page)} if more else {})


@dataclass
class Clients:
    regions: Mapping[str, CloudWatch]

    def client(self, service: str, region: str) -> CloudWatch:
        assert service == "cloudwatch"
        return self.regions[region]


def lag(stack: Stack, minutes: int, value: float = 900.0, begin: dt.datetime = BEGIN, shape: str = "both") -> Series:
    """The reader's RPO lag, a reading a minute, with DBClusterIdentifier and SourceRegion or one of them."""
    cluster, writer = f"aurora-secondary-{stack.environment_suffix}", stack.primary_region
    dimensions = {"both": (cluster, writer), "cluster": (cluster,), "source-region": (writer,)}[shape]
    return {(dimensions, "AuroraGlobalDBRPOLag"): {begin + n * MINUTE: value + n for n in range(minutes)}}


def pull(
    store: FolderStore,
    stack: Stack,
    west: CloudWatch,
    east: CloudWatch | None = None,
    day: dt.date = DAY,
    now: dt.datetime = NOW,
) -> ImportedDay:
    aws: Any = Clients({stack.primary_region: east or CloudWatch({}), stack.secondary_region: west})
    (found,) = import_day([stack], store, day, aws, now)
    return found


def rows(store: FolderStore, stack: Stack, day: dt.date = DAY) -> list[dict[str, Any]]:
    begin = dt.datetime.combine(day, dt.time(), UTC)
    found: list[dict[str, Any]] = samples.read(
        store, stack.environment_suffix, "lag", begin, begin + dt.timedelta(days=1)
    ).to_pylist()
    return found


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path)


def test_the_whole_day_comes_however_many_pages_it_takes(store: FolderStore, stack: Stack) -> None:
    west = CloudWatch(lag(stack, 1440), page=100)
    found = pull(store, stack, west)
    assert (found.minutes, found.known_minutes, found.unknown_minutes, found.problems) == (1440, 1440, 0, ())
    assert len(west.requests) == 15
    read = rows(store, stack)
    assert [row["value"] for row in read] == [900.0 + n for n in range(1440)]
    assert {(row["site"], row["metric"], row["unit"], row["source"]) for row in read} == {
        ("secondary", "rpo-lag", "ms", "metric")
    }


def test_pulling_again_gives_the_same_bytes(store: FolderStore, stack: Stack) -> None:
    key = pull(store, stack, CloudWatch(lag(stack, 1440))).key
    first = store.read(key)
    pull(store, stack, CloudWatch(lag(stack, 1440), page=7))
    assert store.read(key) == first


def test_what_cloudwatch_does_not_have_stays_unknown(store: FolderStore, stack: Stack) -> None:
    found = pull(store, stack, CloudWatch(lag(stack, 600)))
    assert (found.known_minutes, found.unknown_minutes) == (600, 840)
    assert len(rows(store, stack)) == 600


def test_today_reaches_to_now(store: FolderStore, stack: Stack) -> None:
    found = pull(store, stack, CloudWatch(lag(stack, 1440)), now=BEGIN + 90 * MINUTE)
    assert (found.minutes, found.known_minutes) == (90, 90)


def test_buffered_samples_are_merged_once_and_deleted(store: FolderStore, stack: Stack) -> None:
    s = stack.environment_suffix
    buffer = sample_buffer.SampleBuffer(store, s, "lag", every=3600.0)
    row = {"site": "secondary", "metric": "rpo-lag", "unit": "ms", "source": "sql"}
    buffer.add([{"at": BEGIN + 10 * MINUTE, "value": 5.0, **row}] * 2)
    buffer.add([{"at": BEGIN + dt.timedelta(days=1), "value": 6.0, **row}])
    assert store.list("seen/") == []
    buffer.flush()
    assert len(store.list("seen/")) == 2  # one for each day
    found = pull(store, stack, CloudWatch(lag(stack, 5)))
    assert (found.from_sensors, found.from_cloudwatch, found.known_minutes) == (1, 5, 6)
    before = store.read(found.key)
    (left,) = store.list("seen/")
    assert "2026-11-21" in left
    again = pull(store, stack, CloudWatch(lag(stack, 5)))
    assert again.from_sensors == 0
    assert store.read(found.key) == before


def test_a_damaged_bundle_is_quarantined_and_named(store: FolderStore, stack: Stack) -> None:
    key = f"{sample_buffer.folder(stack.environment_suffix, 'lag', DAY)}x.parquet"
    store.write(key, b"half a fi")
    found = pull(store, stack, CloudWatch(lag(stack, 3)))
    (problem,) = found.problems
    assert key in problem
    assert "quarantined" in problem
    assert found.known_minutes == 3
    assert store.list("seen/") == []
    assert len(store.list("quarantine/")) == 1


def test_a_dark_region_costs_its_own_samples_and_a_later_pull_completes_them(store: FolderStore, stack: Stack) -> None:
    dark = CloudWatch({}, error=ConnectTimeoutError(endpoint_url="https://monitoring.us-east-1.amazonaws.com"))
    found = pull(store, stack, CloudWatch(lag(stack, 1440)), east=dark)
    assert found.known_minutes == 1440
    (problem,) = found.problems
    assert "us-east-1" in problem
    east = CloudWatch({((f"aurora-primary-{stack.environment_suffix}",), "AuroraGlobalDBRPOLag"): {BEGIN: 1.0}})
    assert pull(store, stack, CloudWatch(lag(stack, 1440)), east=east).samples == 1441


def test_when_no_region_answers_nothing_is_written(store: FolderStore, stack: Stack) -> None:
    pull(store, stack, CloudWatch(lag(stack, 5)))
    before = store.read(samples.key_of(stack.environment_suffix, "lag", DAY))
    refused = ClientError(
        {"Error": {"Code": "AccessDenied", "Message": "no"}, "ResponseMetadata": {"RequestId": "4711"}}, "GetMetricData"
    )
    with pytest.raises(DrError, match="4711"):
        pull(store, stack, CloudWatch({}, error=refused), east=CloudWatch({}, error=refused))
    assert store.read(samples.key_of(stack.environment_suffix, "lag", DAY)) == before


@pytest.mark.parametrize("shape", ["both", "cluster", "source-region"])
def test_aws_04_the_import_finds_the_metric_whatever_its_dimensions(
    store: FolderStore, stack: Stack, shape: str
) -> None:
    found = pull(store, stack, CloudWatch(lag(stack, 1440, shape=shape)))
    assert (found.known_minutes, found.from_cloudwatch, found.problems) == (1440, 1440, ())


def test_aws_04_of_two_shapes_the_one_with_the_cluster_counts(store: FolderStore, stack: Stack) -> None:
    """SourceRegion alone may be of every cluster that replicates from that region."""
    both = {**lag(stack, 1440, 70_000.0, shape="source-region"), **lag(stack, 1440, 900.0)}
    found = pull(store, stack, CloudWatch(both))
    assert found.from_cloudwatch == 1440
    assert rows(store, stack)[0]["value"] == 900.0


def test_aws_04_a_metric_that_does_not_exist_is_reported_as_such(store: FolderStore, stack: Stack) -> None:
    foreign = {"Namespace": "AWS/RDS", "MetricName": "AuroraGlobalDBReplicationLag"}
    others = [{**foreign, "Dimensions": [{"Name": "DBClusterIdentifier", "Value": "somebody-elses"}]}]
    found = pull(store, stack, CloudWatch({}, metrics=others))
    assert found.problems == (
        f"{stack.environment_suffix}: CloudWatch lists no metric AuroraGlobalDBRPOLag with known dimensions in "
        f"{stack.primary_region} and {stack.secondary_region}",
    )


def test_aws_04_a_metric_without_data_that_day_is_a_gap_and_no_problem(store: FolderStore, stack: Stack) -> None:
    cluster = {"Name": "DBClusterIdentifier", "Value": f"aurora-secondary-{stack.environment_suffix}"}
    metric = {"Namespace": "AWS/RDS", "MetricName": "AuroraGlobalDBReplicationLag", "Dimensions": [cluster]}
    found = pull(store, stack, CloudWatch({}, metrics=[metric]))
    assert (found.unknown_minutes, found.problems) == (1440, ())


def test_aws_06_a_negative_lag_is_unknown(store: FolderStore, stack: Stack) -> None:
    found = pull(store, stack, CloudWatch(lag(stack, 10, value=-5.0)))  # -5, -4 … 4
    assert (found.known_minutes, found.unknown_minutes) == (5, 1435)
    assert [row["value"] for row in rows(store, stack)] == [None] * 5 + [0.0, 1.0, 2.0, 3.0, 4.0]


def test_aws_05_a_day_imported_too_early_is_imported_again(store: FolderStore, stack: Stack) -> None:
    """AWS's metrics are up to two minutes late, and a region may have been silent: the day stays on the list."""
    late = dt.timedelta(days=1, minutes=30)
    pull(store, stack, CloudWatch(lag(stack, 1438)))
    assert DAY in incomplete_days(store, stack, BEGIN + late)
    pull(store, stack, CloudWatch(lag(stack, 1440)))
    assert DAY not in incomplete_days(store, stack, BEGIN + late)


def test_aws_05_what_cloudwatch_has_forgotten_is_not_imported_again(store: FolderStore, stack: Stack) -> None:
    """One-minute datapoints are kept for 15 days (CloudWatch API, GetMetricData); today is not over."""
    assert incomplete_days(store, stack, NOW) == []  # nothing was ever imported
    old = BEGIN - dt.timedelta(days=20)
    pull(store, stack, CloudWatch(lag(stack, 5, begin=old)), day=old.date(), now=old + dt.timedelta(days=2))
    days = incomplete_days(store, stack, NOW)
    assert days == [NOW.date() - dt.timedelta(days=n) for n in range(14, 0, -1)]


def test_a_series_that_cloudwatch_could_not_read_is_named(store: FolderStore, stack: Stack) -> None:
    found = pull(store, stack, CloudWatch(lag(stack, 5), status="InternalError"))
    assert len(found.problems) == 2  # one for each metric
    assert all("InternalError" in problem for problem in found.problems)


def test_a_day_that_cloudwatch_has_forgotten_is_marked_and_keeps_what_is_known(
    store: FolderStore, stack: Stack
) -> None:
    pull(store, stack, CloudWatch(lag(stack, 5)))
    west = CloudWatch(lag(stack, 1440))
    found = pull(store, stack, west, now=BEGIN + dt.timedelta(days=40))
    assert west.requests == []
    assert (found.known_minutes, found.from_cloudwatch) == (5, 0)
    (problem,) = found.problems
    assert "15 days" in problem
    marks = [row for row in rows(store, stack) if row["source"] == EXPIRED]
    assert len(marks) == 4  # two metrics at two sites
    assert all(row["value"] is None for row in marks)


def test_the_part_that_cloudwatch_still_has_is_imported(store: FolderStore, stack: Stack) -> None:
    west = CloudWatch(lag(stack, 1440))
    found = pull(store, stack, west, now=BEGIN + dt.timedelta(days=15, hours=12, seconds=30))
    assert west.requests[0]["StartTime"] == BEGIN + dt.timedelta(hours=12, minutes=1)
    assert (found.minutes, found.known_minutes) == (1440, 719)


def test_a_day_to_come_is_refused(store: FolderStore, stack: Stack) -> None:
    with pytest.raises(DrError, match="2026-11-22 has not begun"):
        pull(store, stack, CloudWatch({}), day=dt.date(2026, 11, 22))
    assert store.list("") == []


def test_three_hundred_stacks_take_four_calls_a_region(store: FolderStore, raw_stack: dict[str, Any]) -> None:
    stacks = [parse_stack({**raw_stack, "environment_suffix": f"stack{n:03d}"}) for n in range(300)]
    west = CloudWatch({key: value for stack in stacks for key, value in lag(stack, 2).items()})
    east = CloudWatch({})
    aws: Any = Clients({stacks[0].primary_region: east, stacks[0].secondary_region: west})
    found = import_day(stacks, store, DAY, aws, NOW)
    assert (len(east.requests), len(west.requests)) == (4, 4)  # two metrics in three shapes of dimensions
    assert [each.known_minutes for each in found] == [2] * 300
    assert samples.stacks(store) == sorted(stack.environment_suffix for stack in stacks)


def buffered(store: FolderStore, stack: Stack, minute: int, value: float) -> None:
    row = {"site": "secondary", "metric": "rpo-lag", "unit": "ms", "source": "sql"}
    buffer = sample_buffer.SampleBuffer(store, stack.environment_suffix, "lag")
    buffer.add([{"at": BEGIN + minute * MINUTE, "value": value, **row}])
    buffer.flush()


def test_concurrent_imports_lose_nothing(store: FolderStore, stack: Stack) -> None:
    """The second one comes in between the first one's reading and writing, merges what was buffered meanwhile, and deletes it."""
    buffered(store, stack, 1, 5.0)
    original, turns = store.replace, []

    def late(key: str, data: bytes, before: bytes | None) -> bool:
        if not turns:
            turns.append(key)
            buffered(store, stack, 2, 6.0)
            assert pull(store, stack, CloudWatch(lag(stack, 10))).from_sensors == 2
        return original(key, data, before)

    store.replace = late  # type: ignore[method-assign]
    pull(store, stack, CloudWatch(lag(stack, 3)))
    assert store.list("seen/") == []
    read = rows(store, stack)
    assert [row["value"] for row in read if row["source"] == "sql"] == [5.0, 6.0]
    assert len([row for row in read if row["source"] == "metric"]) == 10


def test_killed_at_any_moment_of_a_pull_nothing_is_lost(store: FolderStore, stack: Stack) -> None:
    for turn in range(8):
        buffered(store, stack, 20 + turn, float(turn))
        child = os.fork()
        if child == 0:
            while True:
                pull(store, stack, CloudWatch(lag(stack, 30)))
        time.sleep(0.004 * turn)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    found = pull(store, stack, CloudWatch(lag(stack, 30)))
    assert found.problems == ()
    read = rows(store, stack)
    assert [row["value"] for row in read if row["source"] == "sql"] == [float(turn) for turn in range(8)]
    assert found.known_minutes == 30
    assert store.list("seen/") == store.list("quarantine/") == []


@pytest.mark.parametrize(
    ("listed", "configured", "known"),
    [
        (("cluster",), "cluster+source-region", 0),  # this cluster's own, silent all day
        (("foreign",), "cluster+source-region", 0),
        (("foreign",), "source-region", 1440),
        ((), "cluster+source-region", 1440),
    ],
)
def test_aws_04_source_region_alone_is_imported_only_where_it_is_this_clusters(
    store: FolderStore, stack: Stack, listed: tuple[str, ...], configured: str, known: int
) -> None:
    """SourceRegion alone may be of every cluster that replicates from that region."""
    names = {"cluster": f"aurora-secondary-{stack.environment_suffix}", "foreign": "another-teams"}
    metrics = [
        {"Dimensions": [{"Name": "DBClusterIdentifier", "Value": names[each]}], "MetricName": "x"} for each in listed
    ]
    of = stack.model_copy(update={"lag_metric_dimensions": configured})
    found = pull(store, of, CloudWatch(lag(stack, 1440, shape="source-region"), metrics=metrics))
    assert found.known_minutes == known


def test_aws_04_a_cluster_known_by_one_metric_is_not_read_by_source_region_in_the_other(
    store: FolderStore, stack: Stack
) -> None:
    foreign = lag(stack, 1440, 70_000.0, shape="source-region")
    own = {(dimensions, "AuroraGlobalDBReplicationLag"): points for (dimensions, _), points in lag(stack, 60).items()}
    pull(store, stack, CloudWatch({**foreign, **own}))
    assert {row["metric"] for row in rows(store, stack)} == {"replication-lag"}


@pytest.mark.parametrize(
    "change",
    [
        lambda result: result.pop("Values"),
        lambda result: result.pop("Timestamps"),
        lambda result: result.pop("Id"),
        lambda result: result.update(Id="q999"),
        lambda result: result.update(Id=["q0"]),
        lambda result: result.update(Values=[*result["Values"], 1.0]),
        lambda result: result.update(Values=["900"] * len(result["Values"])),
        lambda result: result.update(Values=[10**400] * len(result["Values"])),
        lambda result: result.update(Timestamps=[at.replace(tzinfo=None) for at in result["Timestamps"]]),
    ],
)
def test_case_d5_one_garbled_series_is_named_and_the_others_are_imported(
    store: FolderStore, stack: Stack, raw_stack: dict[str, Any], change: Any
) -> None:
    second = parse_stack({**raw_stack, "environment_suffix": "second2"})
    both = CloudWatch({**lag(stack, 5), **lag(second, 7)})
    answer = both.get_metric_data

    def garbled(**params: Any) -> dict[str, Any]:
        found = answer(**params)
        for result in found["MetricDataResults"]:
            if len(result["Values"]) == 5:
                change(result)
        return found

    both.get_metric_data = garbled  # type: ignore[method-assign]
    regions: Any = Clients({stack.primary_region: CloudWatch({}), stack.secondary_region: both})
    first, other = import_day([stack, second], store, DAY, regions, NOW)
    assert (first.known_minutes, other.known_minutes) == (0, 7)
    assert any(f"of {stack.environment_suffix}/secondary" in problem for problem in first.problems) or any(
        f"for rpo-lag of {stack.environment_suffix}/secondary" in problem for problem in first.problems
    )


def test_case_d5_source_region_alone_does_not_stand_in_for_a_garbled_series(store: FolderStore, stack: Stack) -> None:
    """It mixes every global database of the region; ListMetrics need not show ours yet."""
    cloud = CloudWatch({**lag(stack, 5), **lag(stack, 5, 1.0, shape="source-region")})
    answer = cloud.get_metric_data

    def garbled(**params: Any) -> dict[str, Any]:
        found = answer(**params)
        for result in found["MetricDataResults"]:
            if result["Values"] and result["Values"][0] == 900.0:
                del result["Values"]
        return found

    cloud.get_metric_data = garbled  # type: ignore[method-assign]
    regions: Any = Clients({stack.primary_region: CloudWatch({}), stack.secondary_region: cloud})
    (found,) = import_day([stack], store, DAY, regions, NOW)
    assert found.known_minutes == 0


def newer_day() -> bytes:
    table = samples.to_table(
        [{"at": BEGIN, "site": "secondary", "metric": "rpo-lag", "value": 1.0, "unit": "ms", "source": "metric"}]
    )
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata({"dr_assets.samples": "2"}), sink)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def test_case_e6_one_stack_s_file_does_not_end_the_import_of_the_others(
    store: FolderStore, stack: Stack, raw_stack: dict[str, Any]
) -> None:
    second = parse_stack({**raw_stack, "environment_suffix": "second2"})
    key = samples.key_of(stack.environment_suffix, "lag", DAY)
    store.write(key, newer_day())
    regions: Any = Clients(
        {stack.primary_region: CloudWatch({}), stack.secondary_region: CloudWatch({**lag(stack, 5), **lag(second, 7)})}
    )
    first, other = import_day([stack, second], store, DAY, regions, NOW)
    assert (first.samples, first.known_minutes, other.known_minutes) == (0, 0, 7)
    assert first.error is not None and other.error is None
    assert first.problems == (str(first.error),) and key in first.problems[0]
    assert store.read(key) == newer_day()


def test_case_e6_a_bundle_of_another_day_does_not_stop_the_import(store: FolderStore, stack: Stack) -> None:
    """It would come again at every import of the day, for ever."""
    s = stack.environment_suffix
    buffered(store, stack, 3, 5.0)
    (good,) = store.list("seen/")
    for name, data in {
        "a.parquet": samples.encode(samples.to_table([{**ROW, "at": BEGIN + dt.timedelta(days=3)}])),
        "b.parquet": newer_day(),
        "c.parquet": b"\x00" * 40,
        "README": b"hello",
    }.items():
        store.write(f"{sample_buffer.folder(s, 'lag', DAY)}{name}", data)
    found = pull(store, stack, CloudWatch({}))
    assert (found.from_sensors, found.known_minutes) == (1, 1)
    assert [name for name in ("a.parquet", "b.parquet", "c.parquet", "README") if name in " ".join(found.problems)] == [
        "a.parquet",
        "b.parquet",
        "c.parquet",
        "README",
    ]
    left = store.list("seen/")
    assert [key.rsplit("/", 1)[1] for key in left] == ["b.parquet"] and good not in left  # a newer one is intact
    again = [problem for problem in pull(store, stack, CloudWatch({})).problems if "seen/" in problem]
    assert len(again) == 1 and "Update DR Assets" in again[0]


ROW = {"at": BEGIN, "site": "secondary", "metric": "rpo-lag", "value": 1.0, "unit": "ms", "source": "sql"}


@pytest.mark.parametrize(
    "odd",
    [{**ROW, "at": "today"}, {**ROW, "value": "much"}, {**ROW, "site": 7}, {**ROW, "at": dt.datetime(2026, 11, 20)}],  # noqa: DTZ001
)
def test_case_e6_one_reading_that_cannot_be_stored_does_not_keep_the_others(
    store: FolderStore, stack: Stack, odd: dict[str, Any]
) -> None:
    buffer = sample_buffer.SampleBuffer(store, stack.environment_suffix, "lag")
    buffer.add([ROW, odd, {**ROW, "at": BEGIN + MINUTE}])
    buffer.flush()
    assert pull(store, stack, CloudWatch({})).from_sensors == 2


def test_case_e6_an_unreadable_day_does_not_end_the_repair_of_the_others(store: FolderStore, stack: Stack) -> None:
    s, days = stack.environment_suffix, [DAY - dt.timedelta(days=n) for n in (3, 2, 1)]
    for day in days:
        begin = dt.datetime.combine(day, dt.time(), UTC)
        rows = [{**ROW, "at": begin + n * MINUTE} for n in range(1440 if day == days[0] else 1000)]
        samples.write_day(store, s, "lag", day, samples.to_table(rows))
    store.write(samples.key_of(s, "lag", days[1]), newer_day())
    problems: list[str] = []
    found = incomplete_days(store, stack, dt.datetime.combine(DAY, dt.time(0, 30), UTC), problems)
    assert found == [days[1], days[2]]
    assert len(problems) == 1 and str(days[1]) in problems[0]
