"""A PostgreSQL pair for each module, in good health before each test."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # the test modules skip themselves where PostgreSQL is missing; this file must load all the same
    from dr_assets.emulator.postgres import PostgresPair


@pytest.fixture(scope="module", autouse=True)
def _in_memory() -> Iterator[None]:
    """Where there is memory to spare the data lie in it: a pair is thousands of small files."""
    before = tempfile.gettempdir()
    with contextlib.suppress(OSError):
        if shutil.disk_usage("/dev/shm").free > 2 << 30 and os.access("/dev/shm", os.W_OK):
            tempfile.tempdir = "/dev/shm"
    yield
    tempfile.tempdir = before


@pytest.fixture(scope="module")
def servers() -> "Iterator[PostgresPair]":
    from dr_assets.emulator.postgres import PostgresPair

    from .pairs import DATABASE, PASSWORD, SECOND, USER

    with PostgresPair() as pair:
        pair.start(USER, PASSWORD, DATABASE)
        pair.attach(SECOND)
        yield pair


@pytest.fixture
def pair(servers: "PostgresPair") -> "PostgresPair":
    """The pair in good health, the first site the writer, with an empty table `entry`, replicated."""
    from .pairs import FIRST, SECOND, USER, until

    servers.heal()
    for site in servers.sites:
        servers.thaw(site)
        if site != servers.writer and servers._standby != site:
            servers.rebuild(site)
        servers.revive(site)
        servers.release(site)
    if servers.writer != FIRST:
        servers.switchover(FIRST)
    servers.exec(FIRST, "drop table if exists entry; create table entry (id int primary key)")
    servers.exec(FIRST, f"alter table entry owner to {USER}")
    identity = "select to_regclass('entry')::oid"  # the table of the test before may be there still, and empty
    until(lambda: servers.exec(SECOND, identity) == servers.exec(FIRST, identity))
    return servers
