"""Both regions, and a global database over them; every test uses names of its own."""

from collections.abc import Iterator

import pytest

from ..conftest import PRIMARY, SECONDARY, Clients
from .aurora import ENGINE, Pair, Site, common, make_site, writer_arguments


@pytest.fixture(scope="session")
def sites(client: Clients) -> tuple[Site, Site]:
    return make_site(client, PRIMARY, "rdstest", "10.0"), make_site(client, SECONDARY, "rdstest", "10.1")


@pytest.fixture
def east(sites: tuple[Site, Site]) -> Site:
    return sites[0]


@pytest.fixture
def west(sites: tuple[Site, Site]) -> Site:
    return sites[1]


@pytest.fixture
def pair(east: Site, west: Site, name: str) -> Iterator[Pair]:
    east.rds.create_global_cluster(GlobalClusterIdentifier=name, StorageEncrypted=True, **ENGINE)
    made = Pair(name, east, west)
    east.rds.create_db_cluster(**writer_arguments(east, made.primary, GlobalClusterIdentifier=name))
    for n in (1, 2):
        east.add_instance(made.primary, n, AvailabilityZone=east.region + "abc"[n - 1], PromotionTier=n - 1)
    reader = {
        **ENGINE,
        **common(west),
        "DBClusterIdentifier": made.secondary,
        "GlobalClusterIdentifier": name,
        "SourceRegion": PRIMARY,
    }
    west.rds.create_db_cluster(**reader)
    for n in (1, 2):
        west.add_instance(made.secondary, n, AvailabilityZone=west.region + "abc"[n - 1], PromotionTier=n - 1)
    yield made
