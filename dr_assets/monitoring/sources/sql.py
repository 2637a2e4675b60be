"""Source `sql`: whether each site's database takes a write, and how far the reader is behind; also publishes the probe's metric.

Off unless DR_TELEMETRY_SQL is `view` or `publish`: a process that cannot reach the databases would report every writer as down.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import psycopg

from dr_assets import escape
from dr_assets.aws import Aws, explain
from dr_assets.core.freshness import SKEW_SECONDS, Known
from dr_assets.errors import DrError
from dr_assets.monitoring.samples import CONNECTIVITY, REACHABLE, REPLICATION_LAG, RPO_LAG, SQL_LAG, STATE, Sample
from dr_assets.monitoring.sources.source import Answer, Ask
from dr_assets.postgres.connection import Credentials, DatabaseError, connect
from dr_assets.postgres.endpoints import Address, ResolutionError, Resolver
from dr_assets.resources import names
from dr_assets.resources.alarms.rows import ALARM_PROBE_METRIC, PROBE_METRIC, PROBE_NAMESPACE
from dr_assets.resources.row import other
from dr_assets.secret import Secret
from dr_assets.stack import SITES, Site, Stack

SECRET_SECONDS = 900.0

ARRIVAL_SECONDS, RETRY_SECONDS = 0.5, 0.02
BEATS = 200

log = escape.logger(__name__)

# One row for each site, overwritten. Not pg_logical_emit_message: below wal_level `logical` Aurora may refuse it, or give positions
# that are wrong (pg_gather#9, powersync-service#135).
_STATE = "SELECT pg_is_in_recovery(), to_regclass('dr_drill.dr_heartbeat') IS NOT NULL"
_SCHEMA = """
create schema if not exists dr_drill;
create table if not exists dr_drill.dr_heartbeat (site text primary key, written_at timestamptz not null);
"""
_WRITE = (
    "INSERT INTO dr_drill.dr_heartbeat (site, written_at) VALUES (%s, clock_timestamp()) "
    "ON CONFLICT (site) DO UPDATE SET written_at = excluded.written_at"
)
_POSITION = "SELECT pg_current_wal_lsn() - '0/0'::pg_lsn"  # not on Aurora, which reports its lag itself
# The writer's view of every region: -1 is the writer itself, and `last_lag_calculation_time` says when the lags were calculated.
# https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/aurora_global_db_status.html
_AURORA = (
    "SELECT aws_region, durability_lag_in_msec, rpo_lag_in_msec, "
    "extract(epoch FROM clock_timestamp() - last_lag_calculation_time) FROM aurora_global_db_status()"
)
# Elsewhere: how far the reader has replayed and stored the log. Not its replay_lag and flush_lag: they read well, or null, while
# the reader is cut off. Null here: the role may not see it (pg_monitor).
_PLAIN = (
    "SELECT replay_lsn - '0/0'::pg_lsn, flush_lsn - '0/0'::pg_lsn FROM pg_stat_replication "
    "WHERE state = 'streaming' ORDER BY flush_lsn DESC NULLS LAST LIMIT 1"
)


def sql_asks(stacks: Sequence[Stack], aws: Aws, publish: bool) -> Iterator[tuple[str, Ask]]:
    """One for each site. With `publish` each also puts the site's connectivity metric into CloudWatch: the
    connectivity alarms and health checks depend on it."""
    for stack in stacks:
        for site in SITES:
            yield stack.region(site), SqlView(stack, site, aws, Resolver(), publish)


class SqlView:
    """One site's database, asked through its own writer endpoint, as a reader through its reader endpoint."""

    def __init__(self, stack: Stack, site: Site, aws: Aws, resolver: Resolver, publish: bool = False) -> None:
        self._stack, self._site, self._aws = stack, site, aws
        self._resolver, self._publish = resolver, publish
        self._secret: tuple[float, Credentials] | None = None
        self._unpublished = False
        self._beats: list[tuple[float, int]] = []  # when a heartbeat was written (monotonic), and where in the log

    def __call__(self, at: datetime) -> Answer:
        """Raises what reading the secret raises: without credentials nothing is known, neither good nor bad."""
        credentials = self._credentials()
        samples = list(self._ask(at, credentials))
        accepted = next(s.assess(at) for s in samples if s.metric == CONNECTIVITY)
        if self._publish and isinstance(accepted, Known):
            # A region whose API hangs must not delay the database's answer.
            threading.Thread(target=self._put, args=(at, accepted.value == 1.0), daemon=True).start()
        return samples, 1

    def _ask(self, at: datetime, credentials: Credentials) -> Iterator[Sample]:
        reached = False
        try:
            with connect(self._address(credentials), credentials) as connection:
                reader, prepared = connection.execute(_STATE).fetchone()  # type: ignore[misc]
                reached = True
                yield self._sample(at, REACHABLE, 1.0, "a reader" if reader else "a writer")
                if reader:
                    yield self._sample(at, CONNECTIVITY, 0.0, "a reader: takes no writes")
                    return
                if not prepared:
                    connection.execute(_SCHEMA)
                begun = time.monotonic()
                connection.execute(_WRITE, (self._site,))
                yield self._sample(at, CONNECTIVITY, 1.0, "took a write")
                yield from self._lags_or_unknown(at, connection, begun)
        except (DatabaseError, ResolutionError) as error:
            if not reached:
                yield self._sample(at, REACHABLE, 0.0, str(error)[:160])
            yield self._sample(at, CONNECTIVITY, 0.0, str(error)[:160])

    def _address(self, credentials: Credentials) -> Address:
        """Of the site's writer endpoint; while it is inactive its name need not resolve, and the reader endpoint's does.

        Both are resolved at every call. Raises ResolutionError.
        """
        try:
            return self._resolver.resolve(credentials.host, credentials.port)
        except ResolutionError:
            reader = credentials.host.replace(".cluster-", ".cluster-ro-", 1)
            if reader == credentials.host:
                raise
            return self._resolver.resolve(reader, credentials.port)

    def _lags_or_unknown(self, at: datetime, connection: Any, begun: float) -> Sequence[Sample]:
        """The other site's lag. What cannot be read says nothing against the writer, which has just taken a write."""
        try:
            return list(self._lags(at, connection, begun))
        except (psycopg.Error, LookupError, TypeError, ValueError) as error:
            note = f"the lag cannot be read: {type(error).__name__}: {error}"[:160]
            return [self._lag(at, metric, None, note) for metric in (REPLICATION_LAG, RPO_LAG)]

    def _lag(self, at: datetime, metric: str, value: float | None, note: str) -> Sample:
        return Sample(at, self._stack.environment_suffix, other(self._site), "sql", metric, value, SQL_LAG, note)

    def _lags(self, at: datetime, connection: Any, begun: float) -> Iterator[Sample]:
        """The other site's lag, as the writer reports it. A reader that is not attached is unknown."""
        aurora = connection.execute("SELECT to_regproc('aurora_global_db_status') IS NOT NULL").fetchone()[0]
        if aurora:
            row, problem = _lags_of(connection.execute(_AURORA).fetchall(), self._stack.region(other(self._site)))
        else:
            position = int(connection.execute(_POSITION).fetchone()[0])
            self._beats = [*(beat for beat in self._beats if beat[1] < position), (begun, position)][-BEATS:]
            row = self._arrived(connection, position)
            problem = "no reader is attached" if row is None else ""
        for metric, value in zip((REPLICATION_LAG, RPO_LAG), row or (None, None), strict=True):
            note = problem or ("" if value is not None else "not known to the writer")
            yield self._lag(at, metric, None if value is None else float(value), note)

    def _arrived(self, connection: Any, position: int) -> tuple[float | None, float | None] | None:
        """How long ago the newest heartbeat that the reader has replayed, and stored, was written, in milliseconds.

        The one just written gets a moment to arrive. None where no reader is attached; a single None where no heartbeat of
        this process has arrived there yet.
        """
        until = time.monotonic() + ARRIVAL_SECONDS
        while True:
            row = connection.execute(_PLAIN).fetchone()
            if row is None:
                return None
            if all(each is not None and each >= position for each in row) or time.monotonic() >= until:
                now = time.monotonic()
                replayed, stored = (self._age(each, now) for each in row)
                return replayed, stored
            time.sleep(RETRY_SECONDS)

    def _age(self, reached: int | None, now: float) -> float | None:
        there = [when for when, position in self._beats if reached is not None and position <= reached]
        return 1000 * (now - there[-1]) if there else None

    def _sample(self, at: datetime, metric: str, value: float | None, note: str) -> Sample:
        return Sample(at, self._stack.environment_suffix, self._site, "sql", metric, value, STATE, note)

    def _credentials(self) -> Credentials:
        if self._secret is None or time.monotonic() - self._secret[0] > SECRET_SECONDS:
            name = names.secret(self._stack, self._site)
            client = self._aws.client("secretsmanager", self._stack.region(self._site))
            text = Secret(client.get_secret_value(SecretId=name)["SecretString"])
            self._secret = (time.monotonic(), Credentials.from_text(text, name))
        return self._secret[1]

    def _put(self, at: datetime, accepted: bool) -> None:
        try:
            publish_connectivity(self._aws, self._stack, self._site, accepted, at)
        except DrError as error:
            # The alarm's missing data and the rule for an unknown probe raise the alert.
            if not self._unpublished:
                log.warning("the probe's metric of %s is not published: %s", self._site, error)
            self._unpublished = True
        else:
            self._unpublished = False


def _lags_of(rows: Sequence[Sequence[Any]], region: str) -> tuple[tuple[Any, Any] | None, str]:
    """Replication and RPO lag of a region's row (milliseconds), or None and why: other regions' rows are not this site's."""
    found = [row for row in rows if str(row[0]) == region]
    if not found:
        regions = ", ".join(sorted(str(row[0]) for row in rows)) or "none"
        return None, f"no reader is attached in {region}; Aurora names {regions}"
    if len(found) > 1:  # a global database has one cluster in a region; which of them is meant is not known
        return None, f"Aurora gives {len(found)} rows of {region}"
    lag, rpo, age = found[0][1:4]
    if age is None or not -SKEW_SECONDS <= float(age) <= SQL_LAG.age_limit:
        return None, f"Aurora calculated the lag of {region} {'never' if age is None else f'{float(age):.0f} s ago'}"
    return (lag, rpo), ""


def publish_connectivity(aws: Aws, stack: Stack, site: Site, accepted: bool, at: datetime) -> None:
    """Put the site's `WriterConnectivity` (1 or 0) at one-second resolution for the sensors, and `WriterConnectivityMinute` at one
    minute for alarms and health checks. Raises DrError."""
    region = stack.region(site)
    dimensions = [{"Name": "Stack", "Value": stack.environment_suffix}, {"Name": "Site", "Value": site}]
    data = [
        {
            "MetricName": name,
            "Dimensions": dimensions,
            "Timestamp": at,
            "Value": 1.0 if accepted else 0.0,
            "StorageResolution": resolution,
        }
        for name, resolution in ((PROBE_METRIC, 1), (ALARM_PROBE_METRIC, 60))
    ]
    try:
        aws.client("cloudwatch", region).put_metric_data(Namespace=PROBE_NAMESPACE, MetricData=data)
    except Exception as error:
        raise explain(error, "cloudwatch", "put_metric_data", region) from error
