"""A drill's AWS reads, in the target's region, each cached until `fresh()`.

The reads that a recovery needs go only to the region that is to take over. What needs the other region or a global service
stands apart and is left out of a failover.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any

from dr_assets import utc
from dr_assets.aws import Aws, explain
from dr_assets.core.freshness import Assessed, Unknown, assess
from dr_assets.core.topology import Topology, parse_topology
from dr_assets.drills.plan import Scenario
from dr_assets.errors import AwsCallError, DrError, UnansweredError
from dr_assets.postgres.connection import Credentials
from dr_assets.postgres.endpoints import Address, Resolver
from dr_assets.reconcile.stack_state import StackState
from dr_assets.resources import names
from dr_assets.resources.alarms import lag_metric
from dr_assets.resources.aurora.kinds import global_cluster, writer_endpoint
from dr_assets.secret import Secret
from dr_assets.stack import Site, Stack

IDENTITY_SECONDS = 3.0  # how long to wait for an answer that a recovery can do without


# Before and after our clock, so that the newest datapoint is among them although our clock is wrong by an hour.
LAG_WINDOW = timedelta(hours=2)


@dataclass
class AwsView:
    """The stack as a drill observes it.

    Attributes:
        scenario: what is to be done.
        from_site / to_site: the writer now, and the writer to be.
        lag_gate_ms: the most replication lag at which the drill may act (milliseconds).
    """

    stack: Stack
    aws: Aws
    scenario: Scenario
    from_site: Site
    to_site: Site
    lag_gate_ms: float = 1000.0
    resolver: Resolver = field(default_factory=Resolver)

    @property
    def from_region(self) -> str:
        return self.stack.region(self.from_site)

    @property
    def to_region(self) -> str:
        return self.stack.region(self.to_site)

    def fresh(self) -> AwsView:
        """The same view, with nothing remembered of what was read."""
        return replace(self)

    def call(self, service: str, operation: str, region: str, **params: Any) -> dict[str, Any]:
        """One read. Raises UnansweredError, AwsCallError, CredentialsError."""
        try:
            return self.aws.reads().call(service, operation, region, **params)
        except Exception as error:
            raise explain(error, service, operation, region) from error

    def _part(self, service: str, operation: str, part: str, **params: Any) -> Any:
        """One part of an answer in the target's region. Raises AwsCallError where AWS left it out, and like `call`."""
        answer = self.call(service, operation, self.to_region, **params)
        try:
            return answer[part]
        except KeyError as error:
            raise explain(error, service, operation, self.to_region) from error

    def cluster_id(self, site: Site) -> str:
        return names.cluster(self.stack, site)

    # --- read in the target's region -------------------------------------------------------------------------------

    @cached_property
    def global_cluster(self) -> Mapping[str, Any]:
        """The entry of DescribeGlobalClusters. Raises DrError when there is none."""
        name = self.stack.global_cluster_name
        try:
            found = global_cluster(self.aws.reads(), self.to_region, name)
        except Exception as error:
            raise explain(error, "rds", "describe_global_clusters", self.to_region) from error
        if found is None:
            raise DrError(f"There is no global cluster {name}. Run `dr provision` first.")
        return found

    @property
    def topology(self) -> Topology:
        """Raises AwsCallError where AWS's answer cannot be understood."""
        try:
            return parse_topology(self.stack, self.global_cluster)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise explain(error, "rds", "describe_global_clusters", self.to_region) from error

    @property
    def writer_endpoint(self) -> str:
        """The global writer endpoint, which applications use. Raises DrError where AWS gives none."""
        endpoint = self.global_cluster.get("Endpoint")
        if not endpoint:
            raise DrError(f"The global cluster {self.stack.global_cluster_name} has no writer endpoint.")
        return str(endpoint)

    @property
    def target_arn(self) -> str:
        """Raises DrError where the site has no cluster in the global cluster."""
        arn = self.topology.members.get(self.to_site)
        if arn is None:
            raise DrError(f"The {self.to_site} site has no cluster in {self.stack.global_cluster_name}.")
        return arn

    @cached_property
    def target_cluster(self) -> dict[str, Any]:
        found = self.call(
            "rds", "describe_db_clusters", self.to_region, DBClusterIdentifier=self.cluster_id(self.to_site)
        )
        try:
            cluster: dict[str, Any] = found["DBClusters"][0]
        except (LookupError, TypeError) as error:
            raise explain(error, "rds", "describe_db_clusters", self.to_region) from error
        return cluster

    @cached_property
    def target_instances(self) -> Sequence[dict[str, Any]]:
        filters = [{"Name": "db-cluster-id", "Values": [self.cluster_id(self.to_site)]}]
        found: Sequence[dict[str, Any]] = self._part("rds", "describe_db_instances", "DBInstances", Filters=filters)
        return found

    @cached_property
    def credentials(self) -> Credentials:
        """From the target site's secret, as an application at that site reads it."""
        name = names.secret(self.stack, self.to_site)
        text = Secret(self._part("secretsmanager", "get_secret_value", "SecretString", SecretId=name))
        return Credentials.from_text(text, f"{name} in {self.to_region}")

    def target_address(self) -> Address:
        """Where the target answers: its reader endpoint until it is promoted (its writer endpoint need not resolve), then its
        writer endpoint. Raises DrError where the name does not resolve."""
        host = self.target_cluster.get("Endpoint") or self.target_cluster["ReaderEndpoint"]
        return self.resolver.resolve(str(host), self.credentials.port)

    def target_hosts(self) -> tuple[str, ...]:
        """Endpoints of the target's instances, any of which AWS may promote; its reader endpoint where none has one yet."""
        instances = [(item.get("Endpoint") or {}).get("Address") for item in self.target_instances]
        return tuple(host for host in instances if host) or (str(self.target_cluster["ReaderEndpoint"]),)

    def target_writer_endpoint(self) -> str | None:
        """The target's own writer endpoint, which its secret names; inactive until it is promoted."""
        return self._writer_endpoint(self.to_region, self.target_cluster)

    def _writer_endpoint(self, region: str, cluster: Mapping[str, Any]) -> str | None:
        try:
            return writer_endpoint(self.aws.reads(), region, cluster)[0]
        except Exception as error:
            raise explain(error, "rds", "describe_db_cluster_endpoints", region) from error

    def writer_address(self) -> Address:
        """Where the global writer endpoint leads now."""
        found = self.resolver.resolve(self.writer_endpoint, self.credentials.port)
        return replace(found, also=self.cluster_endpoints)

    @cached_property
    def cluster_endpoints(self) -> tuple[str, ...]:
        """Writer endpoints of the clusters that the global writer endpoint may lead to: AWS does not document whether their
        certificates cover that name. The other site's is left out of a failover, whose region may be gone, and unless it answers
        (see `old_writer_names`).
        """
        found: list[str | None] = []
        with suppress(UnansweredError, AwsCallError):
            found.append(self.target_writer_endpoint())
        if self.scenario != "failover":
            there = self.cluster_id(self.from_site)
            with suppress(UnansweredError, AwsCallError):
                clusters = self.call("rds", "describe_db_clusters", self.from_region, DBClusterIdentifier=there)
                # A drill that is resumed finds a secondary there, whose description does not name its writer endpoint.
                found.append(self._writer_endpoint(self.from_region, clusters["DBClusters"][0]))
        return tuple(name for name in found if name)

    def old_writer_names(self) -> tuple[str, ...]:
        """Before a failover: the writer endpoint of the site that is left, while its region still answers; else nothing.

        By it the outage of clients is measured from its beginning where no certificate covers the global writer endpoint. It is no part
        of the recovery: it is asked for once, before anything is done, for seconds, past the drill's circuit breaker, and a failover
        without it goes on.
        """
        if self.scenario != "failover":
            return ()
        apart = Aws(read_timeout=IDENTITY_SECONDS, attempts=1)
        apart.log = self.aws.log
        with suppress(DrError, LookupError, TypeError):
            there = self.cluster_id(self.from_site)
            found = replace(self, aws=apart).call(
                "rds", "describe_db_clusters", self.from_region, DBClusterIdentifier=there
            )
            return (str(found["DBClusters"][0]["Endpoint"]),)
        return ()

    def lag(self) -> Assessed:
        """The newest lag at the target in milliseconds, as `lag_metric.LAG` lets it be believed. Where only the series with SourceRegion
        alone has data, ListMetrics decides whether it is this cluster's.

        Its age is by AWS's clock, which stamped it: ours may be set in the midst of a drill.
        """
        ours, shapes = utc.now(), lag_metric.shapes(self.stack, self.to_site)
        found = self.call(
            "cloudwatch",
            "get_metric_data",
            self.to_region,
            MetricDataQueries=lag_metric.queries(shapes.values()),
            StartTime=ours - LAG_WINDOW,
            EndTime=ours + LAG_WINDOW,
            ScanBy="TimestampDescending",
        )
        now = _date(found) or ours
        try:
            newest = lag_metric.newest(shapes, found["MetricDataResults"], now)
        except (LookupError, TypeError, ValueError) as error:
            return Unknown(f"CloudWatch's answer on the replication lag cannot be understood ({error})")
        if newest is not None and newest[0] != lag_metric.SOURCE_ALONE:
            return assess(newest[2], newest[1].astimezone(utc.UTC), now, lag_metric.LAG)
        configured, metrics = self.stack.lag_metric_dimensions, self._listed()
        if newest is not None and lag_metric.source_is_ours(configured, shapes, metrics):
            return assess(newest[2], newest[1].astimezone(utc.UTC), now, lag_metric.LAG)
        if lag_metric.listed(configured, shapes, metrics):
            return Unknown(f"CloudWatch has no replication lag of the last hours at the {self.to_site} site")
        return Unknown(lag_metric.no_such_metric(lag_metric.REPLICATION_LAG, self.to_region))

    def _listed(self) -> Sequence[Mapping[str, Any]]:
        def call(operation: str, region: str, **params: Any) -> dict[str, Any]:
            return self.call("cloudwatch", operation, region, **params)

        return lag_metric.list_metrics(call, self.to_region)

    # --- the whole stack, both regions and Route 53: never on a failover's path --------------------------------------

    @cached_property
    def state(self) -> StackState:
        """For verifying the stack, which nothing waits for yet: throttling is waited out, as `dr verify` does."""
        patient = Aws()
        patient.log = self.aws.log
        return StackState(self.stack, patient)

    @cached_property
    def verification(self) -> dict[str, tuple[str, str]]:
        """Key -> (status, differing fields or reason), of every resource."""
        found: dict[str, tuple[str, str]] = {}
        for outcome in self.state.verify():
            fields = ", ".join(item.field for item in outcome.drift)
            found[outcome.key] = (outcome.status, fields or outcome.reason)
        return found

    def out_of_sync(self, *parts: str) -> str | None:
        """The resources whose key contains one of `parts` and that are not in sync, as one text; None when all are."""
        bad = [
            f"{key} {status.replace('_', ' ')}{f' ({why})' if why else ''}"
            for key, (status, why) in self.verification.items()
            if status != "in_sync" and (not parts or any(part in key for part in parts))
        ]
        return "; ".join(bad[:5]) + (f" and {len(bad) - 5} more" if len(bad) > 5 else "") if bad else None


def _date(answer: Mapping[str, Any]) -> datetime | None:
    """When AWS gave the answer, by its `Date` header (RFC 9110, 6.6.1); None where there is none."""
    try:
        return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"]).astimezone(utc.UTC)
    except (LookupError, TypeError, ValueError):
        return None
