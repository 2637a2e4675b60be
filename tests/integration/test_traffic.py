"""Where `db.<zone>` leads: to the writer, by what the probe last proved, whatever region is dark and whether anybody probes.

Over real DNS, with the whole stack as it is provisioned. Minutes pass in a second.
"""

import time
from collections.abc import Iterator
from datetime import datetime, timezone

import dns.message
import dns.query
import dns.rdatatype
import pytest

from dr_assets.aws import Aws
from dr_assets.cli.demo import environment
from dr_assets.emulator import EmbeddedAws
from dr_assets.monitoring.sources.sql import publish_connectivity
from dr_assets.postgres.endpoints import ResolutionError, Resolver
from dr_assets.resources import names
from dr_assets.stack import SITES, Site, Stack, load_stack
from tests.support.answers import answering
from tests.support.stack import build_replicating

pytestmark = pytest.mark.slow
PACE = 60


@pytest.fixture(scope="module")
def paced() -> Iterator[EmbeddedAws]:
    with EmbeddedAws(databases=True) as aws:
        with environment(aws.env()):
            build_replicating(aws, load_stack())
        aws.control.alarms(pace=PACE)
        yield aws


class Traffic:
    """Clients that ask for `db.<zone>`, and a probe that says what it is told to say."""

    def __init__(self, aws: EmbeddedAws, stack: Stack) -> None:
        self.aws, self.stack, self.dark = aws, stack, ""
        assert aws.nameserver
        self.ip, _, port = aws.nameserver.partition(":")
        self.port = int(port)

    def leads_to(self) -> Site:
        question = dns.message.make_query(f"db.{self.stack.hosted_zone_name}", dns.rdatatype.CNAME)
        (answer,) = dns.query.udp(question, self.ip, timeout=30, port=self.port).answer
        return next(site for site in SITES if f"aurora-{site}-" in str(answer[0]))

    def probe(self, writer: str) -> None:
        """One round of the probe: its write is accepted at the writer alone, and a dark region hears nothing of it."""
        for site in SITES:
            if self.stack.region(site) != self.dark:
                now = datetime.now(timezone.utc)
                publish_connectivity(Aws(read_timeout=5.0, attempts=1), self.stack, site, site == writer, now)

    def goes(self, to: Site, writer: str) -> None:
        """With the probe at work, traffic gets there."""
        deadline = time.monotonic() + 90
        while self.leads_to() != to:
            assert time.monotonic() < deadline, f"traffic did not go to the {to} site"
            self.probe(writer)
            time.sleep(0.2)

    def stays(self, at: Site, writer: str | None) -> None:
        """For five minutes, the probe saying so or (None) nobody saying anything."""
        deadline = time.monotonic() + 5 * 60 / PACE
        while time.monotonic() < deadline:
            if writer is not None:
                self.probe(writer)
            assert self.leads_to() == at
            time.sleep(0.2)

    def darken(self, region: str) -> None:
        self.aws.control.clear_faults()
        self.dark = region
        if region:
            self.aws.control.fault("dark", region=region)


@pytest.fixture
def traffic(paced: EmbeddedAws, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Traffic]:
    for name, value in paced.env().items():
        monkeypatch.setenv(name, value)
    yield Traffic(paced, stack)
    paced.control.clear_faults()


def test_aws_03_the_inactive_writer_endpoint_resolves_or_not(traffic: Traffic) -> None:
    """By default the secondary's writer endpoint has no address before promotion; the other answer is a switch."""
    rds = Aws().client("rds", traffic.stack.secondary_region)
    found = rds.describe_db_cluster_endpoints(DBClusterIdentifier=names.cluster(traffic.stack, "secondary"))
    hosts = {item["EndpointType"]: item["Endpoint"] for item in found["DBClusterEndpoints"]}
    resolver = Resolver(traffic.aws.nameserver)
    reader = resolver.resolve(hosts["READER"], 5432)
    control = traffic.aws.control
    with answering(control, inactive_writer_endpoint="unresolved"), pytest.raises(ResolutionError):
        resolver.resolve(hosts["WRITER"], 5432)
    with answering(control, inactive_writer_endpoint="resolves"):
        assert resolver.resolve(hosts["WRITER"], 5432).ip == reader.ip


def test_traffic_follows_the_writer_and_nothing_else(traffic: Traffic) -> None:
    primary, secondary = traffic.stack.primary_region, traffic.stack.secondary_region
    traffic.stays("primary", None)  # nobody has ever probed
    traffic.stays("primary", "primary")
    traffic.stays("primary", None)  # the probe has died

    traffic.goes("primary", "primary")
    traffic.darken(primary)
    traffic.stays("primary", "nowhere")  # nobody has taken over: there is nowhere better
    traffic.goes("secondary", "secondary")  # promoted, with the old writer's region still dark
    traffic.darken("")
    traffic.stays("secondary", "secondary")
    traffic.stays("secondary", None)  # the probe has died while the writer is away

    traffic.goes("secondary", "secondary")
    traffic.darken(secondary)
    traffic.goes("primary", "primary")  # the other way round
    traffic.darken("")
    traffic.stays("primary", "primary")
