"""Import a day of replication lag from CloudWatch into the history, merged with the samples that the sensors buffered.

Reads AWS, writes only the history. The day's partition is replaced as a whole; importing it again gives the same bytes while
CloudWatch returns the same.

CloudWatch (GetMetricData, API reference): 500 queries a call, 100,800 datapoints an answer, the rest by NextToken; one-minute
datapoints are kept for 15 days. Older days are not filled from the coarser series that remain: a maximum over five minutes is no
reading of any minute. They stay unknown, and a sample without a value marks that.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from dr_assets import escape, utc
from dr_assets.aws import Aws, explain
from dr_assets.core import metric_data
from dr_assets.core.paging import Tokens
from dr_assets.errors import DrError
from dr_assets.history import sample_buffer, samples
from dr_assets.history.store import Store
from dr_assets.resources.alarms import lag_metric
from dr_assets.stack import LAG_SHAPES, SITES, LagShape, Site, Stack

FAMILY = "lag"
# CloudWatch's metric name -> ours. Both in milliseconds, published for the reader's cluster only.
METRICS: Mapping[str, str] = {lag_metric.RPO_LAG: "rpo-lag", lag_metric.REPLICATION_LAG: "replication-lag"}
PERIOD = lag_metric.PERIOD_SECONDS
RETENTION = dt.timedelta(days=15)
QUERIES, DATAPOINTS = 500, 100_800
SOURCE, EXPIRED = "metric", "expired"
_DAY = dt.timedelta(days=1)

log = escape.logger(__name__)


@dataclass(frozen=True)
class ImportedDay:
    """Result of importing one day of one stack.

    minutes           of the day that are over
    known_minutes     of these, minutes with a known RPO reading from any source
    from_cloudwatch   datapoints that CloudWatch returned
    from_sensors      readings merged from the sample buffer
    problems          regions, series and files that could not be read; their samples stay unknown
    error             why the day was not written; None: it was
    """

    stack: str
    day: dt.date
    key: str
    samples: int
    minutes: int
    known_minutes: int
    from_cloudwatch: int
    from_sensors: int
    problems: tuple[str, ...] = field(default=())
    error: DrError | None = None

    @classmethod
    def failed(cls, stack: str, day: dt.date, minutes: int, error: DrError) -> ImportedDay:
        """Nothing was written; what was there stays."""
        return cls(stack, day, samples.key_of(stack, FAMILY, day), 0, minutes, 0, 0, 0, (str(error),), error)

    @property
    def unknown_minutes(self) -> int:
        return self.minutes - self.known_minutes


def import_day(stacks: Sequence[Stack], store: Store, day: dt.date, aws: Aws, now: dt.datetime) -> list[ImportedDay]:
    """Replace the partition `day` (UTC) of every stack; one result for each, also where its `error` kept one from being written.

    Regions are read concurrently. Where one does not answer, the samples of the others and of the sensors are kept and the
    problem is reported: a dark region costs its own samples only, and a later import of the day completes it.

    Raises DrError for a day in the future, and when no region answered (nothing is written then).
    """
    begin = dt.datetime.combine(day, dt.time(), utc.UTC)
    if begin > now:
        raise DrError(f"{day} has not begun: there is nothing to import before {day} 00:00 UTC.")
    until = min(begin + _DAY, now)
    since = max(begin, _minute(now - RETENTION) + dt.timedelta(seconds=PERIOD))
    found: dict[str, list[Mapping[str, Any]]] = {stack.environment_suffix: [] for stack in stacks}
    problems: list[str] = []
    if since < until:
        _read_regions(stacks, aws, since, until, found, problems)
    results = []
    for stack in stacks:
        try:
            results.append(_store(store, stack, day, begin, until, since, found, problems))
        except DrError as error:  # of this stack's files; the others are written all the same
            results.append(ImportedDay.failed(stack.environment_suffix, day, _minutes(begin, until), error))
    return results


def incomplete_days(store: Store, stack: Stack, now: dt.datetime, problems: list[str] | None = None) -> list[dt.date]:
    """The days (UTC) since the first one with samples that are over, still in CloudWatch at one minute, and without a known RPO
    reading of every minute.

    A day is incomplete when its import was early (AWS's metrics are up to two minutes late), a region did not answer, or nothing
    was imported. A gap in AWS's own data leaves it incomplete until CloudWatch has forgotten the day. A day that cannot be read is
    incomplete, and named in `problems`. Raises DrError where the store does not answer.
    """
    today = now.astimezone(utc.UTC).date()
    first = next(iter(samples.days(store, stack.environment_suffix, FAMILY)), today)
    days = (today - dt.timedelta(days=n) for n in range(RETENTION.days - 1, 0, -1))
    found = [] if problems is None else problems
    return [day for day in days if day >= first and _known_minutes_of(store, stack, day, found) < 24 * 60]


def _known_minutes_of(store: Store, stack: Stack, day: dt.date, problems: list[str]) -> int:
    begin = dt.datetime.combine(day, dt.time(), utc.UTC)
    end = begin + _DAY - dt.timedelta(milliseconds=1)  # not the next day's file
    table = samples.read(store, stack.environment_suffix, FAMILY, begin, end, problems=problems)
    return _known_minutes(table, begin)


def _minutes(begin: dt.datetime, until: dt.datetime) -> int:
    return -int(-(until - begin).total_seconds() // 60)


def _minute(at: dt.datetime) -> dt.datetime:
    return at.replace(second=0, microsecond=0)


def _read_regions(
    stacks: Sequence[Stack],
    aws: Aws,
    since: dt.datetime,
    until: dt.datetime,
    found: dict[str, list[Mapping[str, Any]]],
    problems: list[str],
) -> None:
    regions = sorted({stack.region(site) for stack in stacks for site in SITES})
    errors: list[DrError] = []
    with ThreadPoolExecutor(len(regions)) as pool:
        pending = {region: pool.submit(_read_region, stacks, aws, region, since, until) for region in regions}
        for region, answer in pending.items():
            try:
                rows, unread = answer.result()
            except DrError as error:
                errors.append(error)
                problems.append(f"{region}: {error}")
                continue
            problems += unread
            for stack, row in rows:
                found[stack].append(row)
    if len(errors) == len(regions):
        raise errors[0]
    if not errors:
        problems += _without_metric([stack for stack in stacks if not found[stack.environment_suffix]], aws)


def _without_metric(stacks: Sequence[Stack], aws: Aws) -> Iterator[str]:
    """The stacks without a datapoint whose metric CloudWatch does not show at all: that is no gap in the data."""
    for stack in stacks:
        shown: list[LagShape] = []
        for site in SITES:
            try:
                metrics = _listed(aws, stack.region(site))
            except Exception as error:  # it explains a gap; the import does not depend on it
                log.warning("%s", explain(error, "cloudwatch", "list_metrics", stack.region(site)))
                return
            shown += lag_metric.listed(stack.lag_metric_dimensions, lag_metric.shapes(stack, site), metrics)
        if not shown:
            where = " and ".join(stack.region(site) for site in SITES)
            yield f"{stack.environment_suffix}: {lag_metric.no_such_metric(lag_metric.RPO_LAG, where)}"


def _listed(aws: Aws, region: str) -> list[Mapping[str, Any]]:
    client = aws.client("cloudwatch", region)

    def call(_operation: str, _region: str, **params: Any) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = client.list_metrics(**params)
        return answer

    return lag_metric.list_metrics(call, region)


def _read_region(
    stacks: Sequence[Stack], aws: Aws, region: str, since: dt.datetime, until: dt.datetime
) -> tuple[list[tuple[str, Mapping[str, Any]]], list[str]]:
    """Every datapoint of the region as (stack, row), and the problems. Raises DrError with AWS's code and request id."""
    try:
        client = aws.client("cloudwatch", region)
        rows: list[tuple[str, Mapping[str, Any]]] = []
        problems: list[str] = []
        garbled: set[tuple[str, LagShape]] = set()
        found: dict[str, dict[LagShape, list[Mapping[str, Any]]]] = {}
        queries = list(_queries(stacks, region))
        for start in range(0, len(queries), QUERIES):
            batch = queries[start : start + QUERIES]
            ids, answered = [f"q{n}" for n in range(len(batch))], set[int]()
            for result in _pages(client, ids, [query.stat for query in batch], since, until):
                for series in metric_data.parse([result], ids):
                    query = batch[series.n]
                    stack, site, metric = query.stack, query.site, query.metric
                    answered.add(series.n)
                    if result.get("StatusCode") in ("InternalError", "Forbidden"):
                        problems.append(
                            f"{region}: CloudWatch answered {result['StatusCode']} for {metric} of {stack}/{site}"
                        )
                    if series.problem:
                        problems.append(f"{region}: {metric} of {stack}/{site}: {series.problem}")
                        garbled.add((stack, query.shape))
                    for at, value in series.points:
                        if since <= at < until:
                            # Below zero is a mark for "not replicating", and no lag (Aurora user guide).
                            number = value if value >= 0 else None
                            found.setdefault(stack, {}).setdefault(query.shape, []).append(
                                _row(at, site, metric, number, SOURCE)
                            )
            for n in set(range(len(batch))) - answered:
                query = batch[n]
                problems.append(
                    f"{region}: CloudWatch gave no result for {query.metric} of {query.stack}/{query.site} ({query.shape})"
                )
                garbled.add((query.stack, query.shape))
        for name, shape in garbled:  # another series says nothing of what this one would have said
            if shape != lag_metric.SOURCE_ALONE:
                found.get(name, {}).pop(lag_metric.SOURCE_ALONE, None)
        by_name = {stack.environment_suffix: stack for stack in stacks}
        alone = [by_name[name] for name, by_shape in found.items() if set(by_shape) == {lag_metric.SOURCE_ALONE}]
        metrics = _listed(aws, region) if alone else []
        for each in alone:
            here = each.site_in(region)
            shapes = lag_metric.shapes(each, here) if here else {}
            if not lag_metric.source_is_ours(each.lag_metric_dimensions, shapes, metrics):
                del found[each.environment_suffix]
        for name, by_shape in found.items():
            rows += [(name, row) for row in _of_the_cluster(by_shape)]
        return rows, list(dict.fromkeys(problems))
    except DrError:
        raise
    except Exception as error:
        raise explain(error, "cloudwatch", "get_metric_data", region) from error


def _of_the_cluster(by_shape: Mapping[LagShape, Sequence[Mapping[str, Any]]]) -> Iterator[Mapping[str, Any]]:
    """One row for each metric and moment. SourceRegion alone counts only where nothing else was published."""
    own: Mapping[LagShape, Sequence[Mapping[str, Any]]]
    own = {shape: rows for shape, rows in by_shape.items() if shape != lag_metric.SOURCE_ALONE} or by_shape
    taken: set[Any] = set()
    for shape in LAG_SHAPES:
        mine = [row for row in own.get(shape, ()) if (row["metric"], row["at"]) not in taken]
        taken |= {(row["metric"], row["at"]) for row in mine}
        yield from mine


@dataclass(frozen=True)
class _Query:
    stack: str
    site: Site
    metric: str
    shape: LagShape
    stat: Mapping[str, Any]


def _queries(stacks: Sequence[Stack], region: str) -> Iterator[_Query]:
    """Each metric in every shape of its dimensions; a series that does not exist has no datapoints."""
    for stack in stacks:
        site = stack.site_in(region)
        if site is None:
            continue
        for name, metric in METRICS.items():
            for shape, dimensions in lag_metric.shapes(stack, site).items():
                yield _Query(stack.environment_suffix, site, metric, shape, lag_metric.stat(name, dimensions))


def _pages(
    client: Any, ids: Sequence[str], stats: Sequence[Any], since: dt.datetime, until: dt.datetime
) -> Iterator[Any]:
    more: dict[str, Any] = {}
    tokens = Tokens()
    while True:
        answer = client.get_metric_data(
            MetricDataQueries=[
                {"Id": identity, "MetricStat": stat, "ReturnData": True}
                for identity, stat in zip(ids, stats, strict=True)
            ],
            StartTime=since,
            EndTime=until,
            ScanBy="TimestampAscending",
            MaxDatapoints=DATAPOINTS,
            **more,
        )
        yield from answer["MetricDataResults"]
        if not answer.get("NextToken"):
            return
        more = {"NextToken": tokens.follow(answer["NextToken"])}


def _row(at: dt.datetime, site: str, metric: str, value: float | None, source: str) -> dict[str, Any]:
    return {"at": at, "site": site, "metric": metric, "value": value, "unit": "ms", "source": source}


def _store(
    store: Store,
    stack: Stack,
    day: dt.date,
    begin: dt.datetime,
    until: dt.datetime,
    since: dt.datetime,
    found: Mapping[str, Sequence[Mapping[str, Any]]],
    shared_problems: Sequence[str],
) -> ImportedDay:
    s, problems = stack.environment_suffix, list(shared_problems)
    rows = list(found[s])
    buffered, keys = sample_buffer.collect(store, s, FAMILY, day, problems)
    if since > begin:
        rows += [_row(begin, site, metric, None, EXPIRED) for site in SITES for metric in METRICS.values()]
        problems.append(
            f"CloudWatch keeps {PERIOD} s datapoints for {RETENTION.days} days: nothing was imported before {since}"
        )
    table = samples.merge_day(store, s, FAMILY, day, samples.merge(buffered, samples.to_table(rows)), problems)
    key = samples.key_of(s, FAMILY, day)
    for name in keys:  # only now: they are in the day, and a concurrent writer of it keeps them
        store.delete(name)
    known = _known_minutes(table, begin)
    return ImportedDay(
        stack=s,
        day=day,
        key=key,
        samples=table.num_rows,
        minutes=_minutes(begin, until),
        known_minutes=known,
        from_cloudwatch=len(found[s]),
        from_sensors=buffered.num_rows,
        problems=tuple(problems),
    )


def _known_minutes(table: Any, begin: dt.datetime) -> int:
    """Number of minutes of the day with a known RPO reading."""
    import pyarrow.compute as pc

    mine = table.filter(pc.and_(pc.equal(table["metric"], "rpo-lag"), pc.is_valid(table["value"])))
    minutes = {(at - begin) // dt.timedelta(minutes=1) for at in mine["at"].to_pylist()}
    return len(minutes)
