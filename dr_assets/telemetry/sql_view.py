"""The database's own view: does the writer take a write, how far behind is the reader; and the probe's metric from it.

May import `aws`, `endpoints`, `drills.database`, `stack`, `errors` and telemetry's nouns. Only where the database can be
reached from here: whoever cannot reach it would take every writer for dead. So it is off unless DR_TELEMETRY_SQL
says `view` or `publish`.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from dr_assets.aws import Aws, explain
from dr_assets.catalog.monitoring import PROBE_METRIC, PROBE_NAMESPACE
from dr_assets.drills.database import Credentials, DatabaseError, connect
from dr_assets.endpoints import ResolutionError, Resolver
from dr_assets.errors import DrError
from dr_assets.stack import SITES, Site, Stack
from dr_assets.telemetry.poll import Source
from dr_assets.telemetry.samples import CONNECTIVITY, REPLICATION_LAG, RPO_LAG, Sample

SECRET_SECONDS = 900.0

# A commit that reaches the log on disk and leaves no row behind.
_WRITE = "SELECT pg_logical_emit_message(true, 'dr-assets', 'heartbeat')"
# Aurora tells the writer's view of every region; -1 is the writer itself.
# https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/aurora_global_db_status.html
_AURORA = "SELECT durability_lag_in_msec, rpo_lag_in_msec FROM aurora_global_db_status() WHERE rpo_lag_in_msec >= 0"
# Elsewhere: how long the standby's replay is behind, by the writer's account; null while there is nothing to replay.
_PLAIN = "SELECT 1000 * extract(epoch FROM replay_lag), 1000 * extract(epoch FROM flush_lag) FROM pg_stat_replication"


def sql_sources(
    stack: Stack, aws: Aws, resolver: Resolver | None = None, publish: bool = True
) -> dict[tuple[str, str], Source]:
    """A source for each site, for `Poller(more=…)`. With `publish` each also puts the site's connectivity metric into
    CloudWatch at one-second resolution: the connectivity alarms and health checks live on it."""
    return {
        (f"sql-{site}", stack.region(site)): SqlView(stack, site, aws, resolver or Resolver(), publish)
        for site in SITES
    }


class SqlView:
    """One site's database, asked through its own cluster endpoint."""

    def __init__(self, stack: Stack, site: Site, aws: Aws, resolver: Resolver, publish: bool = False) -> None:
        self._stack, self._site, self._aws = stack, site, aws
        self._resolver, self._publish = resolver, publish
        self._secret: tuple[float, Credentials] | None = None

    def __call__(self, at: datetime) -> tuple[list[Sample], int]:
        """Raises what reading the secret raises: without credentials nothing is known, neither good nor bad."""
        credentials = self._credentials()
        samples = list(self._ask(at, credentials))
        accepted = next(s.value for s in samples if s.metric == CONNECTIVITY)
        if self._publish and accepted is not None:
            # A region whose API hangs must not delay what the database said.
            threading.Thread(target=self._put, args=(at, accepted), daemon=True).start()
        return samples, 1

    def _ask(self, at: datetime, credentials: Credentials) -> Iterator[Sample]:
        try:
            address = self._resolver.resolve(credentials.host, credentials.port)
            with connect(address, credentials) as connection:
                if connection.execute("SELECT pg_is_in_recovery()").fetchone()[0]:  # type: ignore[index]
                    yield self._sample(at, CONNECTIVITY, 0.0, "a reader: takes no writes")
                    return
                connection.execute(_WRITE)
                yield self._sample(at, CONNECTIVITY, 1.0, "took a write")
                yield from self._lags(at, connection)
        except (DatabaseError, ResolutionError) as error:
            yield self._sample(at, CONNECTIVITY, 0.0, str(error)[:160])

    def _lags(self, at: datetime, connection: Any) -> Iterator[Sample]:
        """What the writer says of the other site."""
        aurora = connection.execute("SELECT to_regproc('aurora_global_db_status') IS NOT NULL").fetchone()[0]
        row = connection.execute(_AURORA if aurora else _PLAIN).fetchone()
        other: Site = "secondary" if self._site == "primary" else "primary"
        for metric, value in zip((REPLICATION_LAG, RPO_LAG), row or (None, None), strict=True):
            # Attached and idle is 0 behind; not attached at all is unknown.
            number = None if row is None else 0.0 if value is None else float(value)
            note = "no reader is attached" if row is None else ""
            yield Sample(at, self._stack.environment_suffix, other, "sql", metric, number, "ms", note)

    def _sample(self, at: datetime, metric: str, value: float | None, note: str) -> Sample:
        return Sample(at, self._stack.environment_suffix, self._site, "sql", metric, value, "bool", note)

    def _credentials(self) -> Credentials:
        if self._secret is None or time.monotonic() - self._secret[0] > SECRET_SECONDS:
            name = f"rds-master-password-{self._site}-{self._stack.environment_suffix}"
            client = self._aws.client("secretsmanager", self._stack.region(self._site))
            document = json.loads(client.get_secret_value(SecretId=name)["SecretString"])
            self._secret = (time.monotonic(), Credentials.from_secret(document))
        return self._secret[1]

    def _put(self, at: datetime, accepted: float) -> None:
        try:
            publish_connectivity(self._aws, self._stack, self._site, accepted >= 1.0, at)
        except DrError:
            return  # the alarm's missing data and our own silence rule tell of it


def publish_connectivity(aws: Aws, stack: Stack, site: Site, accepted: bool, at: datetime) -> None:
    """Put the site's `WriterConnectivity` (1 or 0) at one-second resolution. Raises DrError."""
    region = stack.region(site)
    dimensions = [{"Name": "Stack", "Value": stack.environment_suffix}, {"Name": "Site", "Value": site}]
    datum = {
        "MetricName": PROBE_METRIC, "Dimensions": dimensions, "Timestamp": at, "Value": 1.0 if accepted else 0.0,
        "StorageResolution": 1,
    }  # fmt: skip
    try:
        aws.client("cloudwatch", region).put_metric_data(Namespace=PROBE_NAMESPACE, MetricData=[datum])
    except Exception as error:
        raise explain(error, "cloudwatch", "put_metric_data", region) from error
