"""Connect a running PostgreSQL pair to the emulator: its lag to CloudWatch, its addresses to DNS."""

import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dr_assets import files
from dr_assets.emulator import services
from dr_assets.emulator.answers import answers
from dr_assets.emulator.postgres import PostgresPair
from dr_assets.emulator.rds import roles
from dr_assets.emulator.rds.databases import PairDriver
from dr_assets.emulator.route53.nameserver import Nameserver

PERIOD_SECONDS = 0.3


class LiveDatabases:
    """The pair, its nameserver, and a thread that publishes the lag measured on it and lets time pass.

    Args:
        within: runs a function under the lock, as a request would (`Gateway.within`).
        region_dark: whether nothing in a region answers.
        ca_file: where the certificate of the servers' authority is written.

    Attributes:
        driver: moves the pair's writer when RDS does, and takes faults from the control API.
        nameserver: "ip:port" of the DNS server.
    """

    def __init__(
        self, within: Callable[[Callable[[], Any]], Any], region_dark: Callable[[str], bool], ca_file: Path
    ) -> None:
        self._within = within
        pair = PostgresPair()
        files.write(ca_file, pair.authority.pem, mode=0o600)
        self.driver = PairDriver(pair, region_dark)
        roles.attach(self.driver)
        self._dns = Nameserver(
            lambda: within(self.driver.names), lambda name, kind: within(lambda: _zone_record(name, kind))
        )
        self.nameserver = self._dns.address
        self._end = threading.Event()
        threading.Thread(target=self._run, name="live", daemon=True).start()

    def close(self) -> None:
        """End the nameserver and the servers."""
        self._end.set()
        self._dns.stop()
        self.driver.pair.close()

    def _run(self) -> None:
        while not self._end.wait(PERIOD_SECONDS):
            try:
                self._within(lambda: None)
                self.driver.publish(lambda *metrics: self._within(lambda: _publish(*metrics)))
            except Exception:
                traceback.print_exc()


def _zone_record(name: str, kind: str) -> Any:
    """The hosted zones' answer for a name (`health.Answer`), or `None`."""
    if not services.is_installed("route53"):
        return None
    from dr_assets.emulator.route53.backend import resolve

    return resolve(name, kind)


def _publish(region: str, cluster: str, source_region: str, metrics: dict[str, float]) -> None:
    """The lag metrics of a reader, in every account that has such a cluster in that region. `source_region`: the writer's."""
    from moto.cloudwatch.models import cloudwatch_backends
    from moto.rds.models import rds_backends

    services.install("cloudwatch")
    every = {"cluster": {"DBClusterIdentifier": cluster}, "source-region": {"SourceRegion": source_region}}
    chosen = {name: value for part in answers().lag_dimensions.split("+") for name, value in every[part].items()}
    for account in list(rds_backends):
        if cluster in rds_backends[account][region].clusters:
            cloudwatch_backends[account][region].publish("AWS/RDS", chosen, metrics)
