"""The RPO report over synthetic years, side by side with the same aggregation in DuckDB and in Polars; prints ratios.

    python -m bench.history [--stacks 2] [--days 365] [--rounds 3] [--keep DIR]

Generates one-minute samples for each stack (one file a day, as the product writes them; with gaps, nulls and breaches). Each side
reads the same files and computes known time, compliance, percentiles and maximum for the whole period, each day, week and
month, and the breaches. The sides take turns, so that a machine that slows down slows all of them; every figure of every stack is
compared. DuckDB and Polars are not dependencies: install them (`pip install duckdb polars`), or they are skipped.

All stacks: one process per core with one thread each, the same for every side, start-up included. For DuckDB and Polars also
one stack after the other in one process with all their threads; the faster of the two counts.
"""

import argparse
import datetime as dt
import importlib
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from dr_assets.history import samples
from dr_assets.history.store import FolderStore
from dr_assets.reports.analysis.rpo import rpo_report

UTC = dt.timezone.utc
START = dt.datetime(2026, 1, 1, tzinfo=UTC)
DAY_MS, HOLD_MS, OBJECTIVE = 86_400_000, 120_000, 60.0
FAMILY = "lag"
Figures = dict[str, list[tuple[float, ...]]]  # group -> rows; all times in ms
THREADS = int(os.environ.get("POLARS_MAX_THREADS", "0"))  # in a worker: one for each of them


# --- the year --------------------------------------------------------------------------------------------------------------


def make(root: Path, stack: str, days: int, seed: int) -> None:
    """One stack's samples: a gamma-distributed lag, slower at night, 0.5 % lost, some nulls, an outage and breaches."""
    rng = np.random.default_rng(seed)
    origin = np.int64(START.timestamp() * 1000)
    for day in range(days):
        at = origin + day * DAY_MS + np.arange(1440, dtype=np.int64) * 60_000
        hour = np.arange(1440) // 60
        value = np.round(rng.gamma(2.0, 300.0, 1440) * np.where(hour < 4, 4.0, 1.0), 1)
        if rng.random() < 0.05:
            first = rng.integers(0, 1400)
            value[first : first + 20] = rng.uniform(60_000, 400_000)
        keep = rng.random(1440) > 0.005
        if rng.random() < 0.02:
            keep[300:600] = False
        at, value, null = at[keep], value[keep], rng.random(int(keep.sum())) < 0.001
        count = len(at)
        table = pa.table(
            {
                "at": pa.array(at).cast(pa.timestamp("ms", "UTC")),
                "site": pa.repeat("secondary", count),
                "metric": pa.repeat("rpo-lag", count),
                "value": pa.array(value, mask=null),
                "unit": pa.repeat("ms", count),
                "source": pa.repeat("metric", count),
            }
        )
        path = root / samples.key_of(stack, FAMILY, START.date() + dt.timedelta(days=day))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(samples.encode(table))  # without the store's flush to disk, which is not what is measured


# --- three sides -----------------------------------------------------------------------------------------------------------


def ours(root: Path, stack: str, days: int) -> Figures:
    end = START + dt.timedelta(days=days)
    table = samples.read(FolderStore(root), stack, FAMILY, START - dt.timedelta(minutes=2), end)
    report = rpo_report(stack, table, START, end, OBJECTIVE)
    names = ["known_seconds", "p50_seconds", "p95_seconds", "p99_seconds", "max_seconds"]
    found = {}
    for group, frame in (
        ("all", report.summary.head(1)),
        ("day", report.days),
        ("week", report.weeks),
        ("month", report.months),
    ):
        rows = frame[frame["known_seconds"] > 0]
        within = (rows["known_seconds"] * rows["compliance"]).round(3)
        found[group] = list(zip(rows["known_seconds"], within, *(rows[name] for name in names[1:]), strict=True))
    found["breaches"] = list(zip(report.breaches["duration_seconds"], report.breaches["depth_seconds"], strict=True))
    return found


SQL = """
create or replace temp table held as
with readings as (
  select epoch_ms("at") as t, max(case unit when 'ms' then value / 1000 else value end) as v
  from read_parquet($files) where metric = 'rpo-lag' group by t)
select t, least(coalesce(lead(t) over (order by t), $stop), t + 120000, $stop) as e, v from readings;
create or replace temp table parts as
with cut as (select t, e, v, (t // 86400000 + 1) * 86400000 as midnight from held where v is not null)
select t, least(e, midnight) - t as n, v from cut union all select midnight, e - midnight, v from cut where e > midnight;
"""
GROUPS = {
    "all": "0",
    "day": "t // 86400000",
    "week": "(t // 86400000 + 3) // 7",
    "month": "date_trunc('month', make_timestamp(t * 1000))",
}
BY_GROUP = """
with ordered as (
  select {group} as g, n, v, sum(n) over (partition by g order by v rows unbounded preceding) as running, sum(n) over (partition by g) as known
  from parts)
select any_value(known) / 1000, coalesce(sum(n) filter (v < 60), 0) / 1000, min(v) filter (running * 100 >= 50 * known),
  min(v) filter (running * 100 >= 95 * known), min(v) filter (running * 100 >= 99 * known), max(v)
from ordered group by g order by g
"""
BREACHES = """
with marked as (select t, e, v, v >= 60 as bad, lag(e) over (order by t) as before, lag(v >= 60) over (order by t) as bad_before from held),
     numbered as (select *, sum(case when bad_before and before = t then 0 else 1 end) over (order by t) as run from marked where bad)
select (max(e) - min(t)) / 1000, max(v) from numbered group by run order by min(t)
"""


def duckdb(root: Path, stack: str, days: int) -> Figures:
    db = importlib.import_module("duckdb").connect(config={"threads": THREADS or os.cpu_count()})
    stop = int(START.timestamp() * 1000) + days * DAY_MS
    create, parts = SQL.strip().split(";")[:2]
    db.execute(create, {"files": f"{root}/samples/{stack}/{FAMILY}/*.parquet", "stop": stop})
    db.execute(parts)
    found = {name: db.execute(BY_GROUP.format(group=group)).fetchall() for name, group in GROUPS.items()}
    return {**found, "breaches": db.execute(BREACHES).fetchall()}


def polars(root: Path, stack: str, days: int) -> Figures:
    pl: Any = importlib.import_module("polars")
    stop = int(START.timestamp() * 1000) + days * DAY_MS
    t, e, v, n = (pl.col(name) for name in "tevn")
    readings = (
        pl.scan_parquet(f"{root}/samples/{stack}/{FAMILY}/*.parquet")
        .filter(pl.col("metric") == "rpo-lag")
        .select(
            pl.col("at").dt.epoch("ms").alias("t"),
            pl.when(pl.col("unit") == "ms").then(pl.col("value") / 1000).otherwise(pl.col("value")).alias("v"),
        )
        .group_by("t")
        .agg(v.max())
        .sort("t")
    )
    held = readings.with_columns(
        pl.min_horizontal(t.shift(-1).fill_null(stop), t + HOLD_MS, pl.lit(stop)).alias("e")
    ).collect()
    cut = held.lazy().filter(v.is_not_null()).with_columns(((t // DAY_MS + 1) * DAY_MS).alias("midnight"))
    midnight = pl.col("midnight")
    parts = pl.concat(
        [
            cut.select("t", (pl.min_horizontal(e, midnight) - t).alias("n"), "v"),
            cut.filter(e > midnight).select(midnight.alias("t"), (e - midnight).alias("n"), "v"),
        ]
    ).collect()
    groups = {
        "all": pl.lit(0),
        "day": t // DAY_MS,
        "week": (t // DAY_MS + 3) // 7,
        "month": pl.from_epoch(t, time_unit="ms").dt.truncate("1mo"),
    }
    running, known = n.cum_sum(), n.sum()
    found = {
        name: parts.lazy()
        .with_columns(group.alias("g"))
        .sort("g", "v")
        .group_by("g", maintain_order=True)
        .agg(
            known=known / 1000,
            within=n.filter(v < OBJECTIVE).sum() / 1000,
            **{f"p{p}": v.filter(running * 100 >= p * known).first() for p in (50, 95, 99)},
            max=v.max(),
        )
        .drop("g")
        .collect()
        .rows()
        for name, group in groups.items()
    }
    bad = (v >= OBJECTIVE).fill_null(False)
    runs = (
        held.lazy()
        .with_columns((bad.shift(1, fill_value=False) & (e.shift(1) == t)).fill_null(False).alias("goes_on"))
        .filter(bad)
        .with_columns((~pl.col("goes_on")).cum_sum().alias("run"))
        .group_by("run", maintain_order=True)
        .agg(duration=(e.max() - t.min()) / 1000, depth=v.max())
        .drop("run")
        .collect()
        .rows()
    )
    return {**found, "breaches": runs}


# --- measuring -------------------------------------------------------------------------------------------------------------


def differ(mine: Figures, other: Figures) -> str:
    for group, rows in mine.items():
        theirs = other[group]
        if len(rows) != len(theirs) or not np.allclose(
            np.array(rows, float), np.array(theirs, float), rtol=1e-9, atol=1e-3
        ):
            return f"differs in {group!r}"
    return "equal"


def timed(side: Callable[[Path, str, int], Figures], root: Path, stack: str, days: int) -> tuple[float, Figures]:
    started = time.perf_counter()
    found = side(root, stack, days)
    return time.perf_counter() - started, found


def work(job: tuple[str, Path, str, int]) -> Figures:
    name, root, stack, days = job
    return SIDES[name](root, stack, days)


def pooled(name: str, root: Path, stacks: list[str], days: int) -> tuple[float, list[Figures]]:
    """All stacks in a process for each core, each with one thread."""
    os.environ["POLARS_MAX_THREADS"] = "1"  # read by a worker when it begins
    try:
        started = time.perf_counter()
        with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
            found = list(pool.map(work, [(name, root, stack, days) for stack in stacks], chunksize=1))
        return time.perf_counter() - started, found
    finally:
        del os.environ["POLARS_MAX_THREADS"]


SIDES: dict[str, Callable[[Path, str, int], Figures]] = {"DR Assets": ours, "DuckDB": duckdb, "Polars": polars}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stacks", type=int, default=2)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="make the files here, and use them when they are there")
    arguments = parser.parse_args()
    sides = ["DR Assets"]
    for name in ("DuckDB", "Polars"):
        try:
            importlib.import_module(name.lower())
            sides.append(name)
        except ImportError:
            print(f"{name} is not installed: not measured (pip install {name.lower()})")
    with tempfile.TemporaryDirectory() as folder:
        root, days = arguments.keep or Path(folder), arguments.days
        stacks = [f"bench{number:03d}" for number in range(arguments.stacks)]
        started = time.perf_counter()
        for number, stack in enumerate(stacks):
            if len(list((root / "samples" / stack / FAMILY).glob("*.parquet"))) != days:
                make(root, stack, days, number)
        print(
            f"{len(stacks)} stacks, {days} days, about {len(stacks) * days * 1440:,} rows; "
            f"made in {time.perf_counter() - started:.0f} s"
        )
        measure(root, stacks, days, sides, arguments.rounds)


def measure(root: Path, stacks: list[str], days: int, sides: list[str], rounds: int) -> None:
    first = stacks[0]
    for name in sides:
        timed(SIDES[name], root, first, days)  # imports and the file cache are not what is compared
    one: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name in sides:
            one[name].append(timed(SIDES[name], root, first, days)[0])
    every: dict[str, tuple[float, str]] = {}
    figures: dict[str, list[Figures]] = {}
    for name in sides:
        seconds, figures[name] = pooled(name, root, stacks, days)
        every[name] = seconds, "processes"
        if name != "DR Assets":
            alone = sum(timed(SIDES[name], root, stack, days)[0] for stack in stacks)
            every[name] = min(every[name], (alone, "threads"))
        print(f"{name}: all in {every[name][0]:.1f} s", flush=True)
    print(f"\n{os.cpu_count()} cores, one stack: median of {rounds} rounds, in turn\n")
    print(f"| | one stack | all {len(stacks)} | by | figures |\n|---|---|---|---|---|")
    for name in sides:
        differences = {differ(mine, other) for mine, other in zip(figures["DR Assets"], figures[name], strict=True)}
        verdict = "reference" if name == "DR Assets" else ", ".join(sorted(differences))
        print(
            f"| {name} | {statistics.median(one[name]):.2f} s | {every[name][0]:.1f} s | {every[name][1]} | {verdict} |"
        )
    others = [name for name in sides if name != "DR Assets"]
    if others:
        best = min(statistics.median(one[name]) for name in others)
        least = min(every[name][0] for name in others)
        print(
            f"\nDR Assets to the faster of the others: one stack {statistics.median(one['DR Assets']) / best:.2f}, "
            f"all {every['DR Assets'][0] / least:.2f}"
        )
    linear(root, stacks, days, rounds)
    here, worker = (
        resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    print(f"most memory of one process: {max(here, worker):.0f} MiB")


def linear(root: Path, stacks: list[str], days: int, rounds: int) -> None:
    """Print the cost of a row as the number of rows grows, and of a day's update as the history grows."""
    for share in (8, 4, 2, 1):
        took = statistics.median(timed(ours, root, stacks[0], days // share)[0] for _ in range(max(rounds, 5)))
        print(f"{days // share} days: {took:.3f} s, {1e6 * took / (days // share * 1440):.2f} µs a row")
    for share in (4, 2, 1):
        some = stacks[: max(len(stacks) // share, 1)]
        took = pooled("DR Assets", root, some, days)[0]
        print(f"{len(some)} stacks: {took:.1f} s, {1e6 * took / (len(some) * days * 1440):.2f} µs a row")
    with tempfile.TemporaryDirectory() as folder:
        alone = Path(folder)
        make(alone, "one", 1, 0)
        for text, place, stack in (("one day", alone, "one"), (f"{days} days", root, stacks[0])):
            print(f"a day's update of a history of {text}: {1000 * update(place, stack):.1f} ms")


def update(root: Path, stack: str) -> float:
    """Median seconds to merge a day of samples into its partition, the flush to disk included."""
    day, seconds = START.date(), []
    for turn in range(9):
        new = [
            {
                "at": START + dt.timedelta(minutes=n),
                "site": "secondary",
                "metric": "rpo-lag",
                "value": float(turn),
                "unit": "ms",
                "source": "bench",
            }
            for n in range(1440)
        ]
        table = samples.to_table(new)
        started = time.perf_counter()
        samples.merge_day(FolderStore(root), stack, FAMILY, day, table, [])
        seconds.append(time.perf_counter() - started)
    old = samples.read(FolderStore(root), stack, FAMILY, START, START + dt.timedelta(days=1))
    import pyarrow.compute as pc

    samples.write_day(
        FolderStore(root), stack, FAMILY, day, old.filter(pc.not_equal(old["source"].cast("string"), "bench"))
    )
    return statistics.median(seconds)


if __name__ == "__main__":
    main()
