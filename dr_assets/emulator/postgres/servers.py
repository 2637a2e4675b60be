"""The processes below `PostgresPair`: two servers, the relay between them, the heartbeat; start, attach, query, stop.

`PostgresPair` adds moves of the writer and faults.
"""

from __future__ import annotations

import atexit
import contextlib
import re
import secrets
import shutil
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, TypeVar

import psycopg
from psycopg import sql

from dr_assets.emulator.postgres import heartbeat, ports, scratch
from dr_assets.emulator.postgres.binaries import find_programs
from dr_assets.emulator.postgres.certificates import CertificateAuthority
from dr_assets.emulator.postgres.heartbeat import Heartbeat, Lag
from dr_assets.emulator.postgres.node import Node
from dr_assets.emulator.postgres.transport import Transport
from dr_assets.errors import DrError

# Its forms differ between PostgreSQL's versions. Privileges on functions belong to one database.
_NO_LOGICAL_MESSAGES = """
do $$
declare message regprocedure;
begin
    for message in select oid::regprocedure from pg_proc where proname = 'pg_logical_emit_message' loop
        execute format('revoke execute on function %s from public', message);
    end loop;
end $$
"""

STREAM_SECONDS = 15.0
EXEC_SECONDS = 60.0
S = TypeVar("S", bound="Servers")


class Servers:
    """The two of them. The first site starts as the writer.

    Addresses are known at once and stay: on Linux each site has a loopback address of its own and the same port, so that
    DNS alone can move clients; elsewhere there is one address and two ports.

    Attributes:
        writer: the site that is the writer; after a failover the new one, even while the old one still takes writes.
        running: whether it has been started.
        authority: signs the servers' certificates; clients verify with its `pem`.
        regions: site -> what Aurora's status functions call its region; set before `start`, the reader's before `attach`.
    """

    def __init__(self, sites: tuple[str, str] = ("primary", "secondary"), port: int = 5432) -> None:
        if len(set(sites)) != 2 or not all(re.fullmatch(r"[\w-]{1,40}", site) for site in sites):
            raise DrError(f"A pair has two sites with names of letters, digits, - and _, not {sites!r}.")
        self.sites = sites
        self.writer: str | None = None
        self.logical_messages = False  # whether pg_logical_emit_message is permitted in databases made from now on
        self.running = False
        self.regions = {site: site for site in sites}
        # Whether users may call pg_logical_emit_message, in databases started from now on.
        self.logical_messages = False
        self._addresses, held = ports.reserve(sites, port)
        self._inner, held_inner = ports.reserve(sites, 0)
        self._unhold = weakref.finalize(self, ports.close, held + held_inner)
        self.authority = CertificateAuthority()
        self._names: dict[str, tuple[str, ...]] = {site: (f"{site}.example.test",) for site in sites}
        self._force_tls = dict.fromkeys(sites, False)
        self._standby: str | None = None
        self._nodes: dict[str, Node] = {}
        self._quarantine: dict[str, list[Node]] = {}
        self._unfinished: set[str] = set()
        self._root: Path | None = None
        self._claim: IO[str] | None = None
        self._transport: Transport | None = None
        self._relays: dict[str, tuple[str, int]] = {}
        self._heartbeat: Heartbeat | None = None
        self._user = self._database = ""
        self._lock = threading.RLock()
        self._ending = threading.Event()
        self._slow = 0.0
        self._fencing_fails = False

    def address(self, site: str) -> tuple[str, int]:
        """(ip, port) of the site's server, running or not."""
        self._known(site)
        return self._addresses[site]

    def configure_tls(self, site: str, names: Sequence[str], force: bool) -> None:
        """The host names that the site's certificate covers, and whether clients without TLS are refused.

        Until it is called the name is `SITE.example.test`, and TLS is optional. Holds for new connections.
        """
        self._known(site)
        if (tuple(names), force) != (self._names[site], self._force_tls[site]):
            self._names[site], self._force_tls[site] = tuple(names), force
            if site in self._nodes:
                self._nodes[site].configure_tls(self.authority.issue(names), force)

    # --- life ----------------------------------------------------------------------------------------------------------

    def start(self, username: str, password: str, database: str) -> None:
        """Make the writer: one server, a master user that is no superuser, its database, and the heartbeat.

        Raises DrError when PostgreSQL is not there or does not start; nothing is left running then.
        """
        with self._lock:
            self.stop()
            self._ending.clear()
            scratch.reap()
            atexit.register(self.stop)
            try:
                self._start(username, password, database)
            except BaseException:
                self.stop()
                raise

    def _start(self, username: str, password: str, database: str) -> None:
        self._root, self._claim = scratch.make()
        root, programs = self._root, find_programs(self._root)
        secret = secrets.token_urlsafe(24)
        self._transport = Transport()
        for site in self.sites:
            address, inner = self._addresses[site], self._inner[site]
            self._nodes[site] = Node(site, programs, root / site, address, inner, secret, self._ending)
            self._nodes[site].configure_tls(self.authority.issue(self._names[site]), self._force_tls[site])
            self._relays[site] = self._transport.relay(self._inner[self.other(site)])
        self._user, self._database, self.writer = username, database, self.sites[0]
        node = self._nodes[self.writer]
        node.init()
        node.configure()
        node.start()
        user = sql.Identifier(username)
        with node.session() as connection:
            # The server gets a verifier, so that no log of its can hold the password.
            connection.execute(
                sql.SQL("create role {} login createdb createrole password {}").format(
                    user, _verifier(connection, username, password)
                )
            )
            if not self.logical_messages:
                connection.execute(_NO_LOGICAL_MESSAGES)
            # What Aurora's rds_superuser may, as far as a stand-in needs it.
            connection.execute(sql.SQL("grant pg_monitor, pg_signal_backend to {}").format(user))
            connection.execute(sql.SQL("create database {} owner {}").format(sql.Identifier(database), user))
        with node.session(database) as connection:
            if not self.logical_messages:
                connection.execute(_NO_LOGICAL_MESSAGES)
            sites = {site: (self.regions[site], self._slot(site)) for site in self.sites}
            heartbeat.install(connection, sites, username)
        self._heartbeat = Heartbeat(database)
        self._aim_heartbeat()
        self.running = True

    def attach(self, site: str) -> None:
        """Make the other site a streaming standby of the writer, from a base backup. Harmless when it is one."""
        with self._lock:
            node, writer = self._node(site), self._node(self._writing())
            if node is writer:
                raise DrError(f"{site} is the writer: only the other site can be attached to it.")
            if self._standby != site or not node.alive:
                self._connected()
                node.end()
                self._make_slot(site)
                heartbeat.set_region(writer, self._database, site, self.regions[site])
                node.base_backup(writer)
                self._follow(site)

    def stop(self) -> None:
        """End and remove everything. Harmless when nothing runs; ends an operation under way. Addresses stay reserved."""
        self._ending.set()
        with self._lock:
            self.running, self.writer, self._standby = False, None, None
            if self._heartbeat:
                self._heartbeat.stop()
            for node in (*self._nodes.values(), *(node for kept in self._quarantine.values() for node in kept)):
                node.end()
            if self._transport:
                self._transport.stop()
            if self._root:
                shutil.rmtree(self._root, ignore_errors=True)
            if self._claim:
                self._claim.close()
            self._root = self._claim = self._transport = self._heartbeat = None
            self._nodes, self._quarantine, self._relays, self._unfinished = {}, {}, {}, set()
            self._slow, self._fencing_fails = 0.0, False
            atexit.unregister(self.stop)

    def close(self) -> None:
        """`stop`, and give the addresses back: the pair cannot be started again."""
        self.stop()
        self._unhold()

    def __enter__(self: S) -> S:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def set_password(self, password: str) -> None:
        """Change the master user's password."""
        with self._lock, self._node(self._writing()).session() as connection:
            verifier = _verifier(connection, self._user, password)
            connection.execute(sql.SQL("alter role {} password {}").format(sql.Identifier(self._user), verifier))

    def exec(self, site: str, sql: str) -> list[tuple[Any, ...]]:
        """Run SQL in the stack's database as a superuser, bypassing privileges: for the harness.

        Answers the rows of the last statement. Raises psycopg's errors; psycopg.OperationalError after 60 s.
        """
        return self._node(site).sql(sql, database=self._database, seconds=EXEC_SECONDS)

    # --- following -----------------------------------------------------------------------------------------------------

    def _connected(self) -> None:
        if self._wire().partitioned:
            raise DrError("The sites are partitioned: heal() before a standby can be made.")

    def _follow_or_copy(self, site: str, copy: bool = False) -> None:
        if not copy:
            with contextlib.suppress(DrError):
                self._follow(site)
                return
        self._copy(site)

    def _copy(self, site: str) -> None:
        node = self._nodes[site]
        node.end()
        node.base_backup(self._nodes[self._writing()])
        self._follow(site)

    def _follow(self, site: str) -> None:
        """Start the site as a standby of the writer, and wait until it streams."""
        node = self._nodes[site]
        node.configure(self._relays[site], self._slot(site))
        node.start()
        streams = "select 1 from pg_stat_replication where application_name = %s and state = 'streaming'"
        with self._nodes[self._writing()].session(seconds=STREAM_SECONDS * 2) as connection:
            node.until(lambda: connection.execute(streams, (site,)).fetchone() is not None, STREAM_SECONDS, "stream")
        self._standby = site
        self._unfinished.discard(site)
        self._aim_heartbeat()

    def _make_slot(self, site: str) -> None:
        slot = self._slot(site)
        with self._nodes[self._writing()].session() as connection:
            left = connection.execute("select 1 from pg_replication_slots where slot_name = %s", (slot,)).fetchone()
            if not left:
                connection.execute("select pg_create_physical_replication_slot(%s, true)", (slot,))

    # --- lag -----------------------------------------------------------------------------------------------------------

    def lag(self) -> Lag | None:
        """The standby's lag in milliseconds; None while unknown: no standby, or no measurement yet.

        As measured at the writer; without a measurement for a second, the age of the standby's newest heartbeat. So it
        grows with time for as long as nothing arrives, in a partition as in an outage of the writer.
        """
        heart, standby = self._heartbeat, self._standby
        node = self._nodes.get(standby or "")
        if heart is None or node is None or not node.alive:
            return None
        return heart.lag or heartbeat.age(node, self._database)

    def _aim_heartbeat(self, nowhere: bool = False) -> None:
        if self._heartbeat:
            writer = None if nowhere else self._nodes[self._writing()]
            self._heartbeat.set_target(writer, self._slot(self.other(writer.site)) if writer else "")

    # --- helpers -------------------------------------------------------------------------------------------------------

    def _known(self, site: str) -> None:
        if site not in self.sites:
            raise DrError(f"{site!r} is no site of this pair; it has {self.sites[0]} and {self.sites[1]}.")

    def other(self, site: str) -> str:
        """The site that is not this one."""
        self._known(site)
        return self.sites[1 - self.sites.index(site)]

    def _slot(self, site: str) -> str:
        return f"dr_site_{self.sites.index(site) + 1}"  # slot names are narrower than site names

    def _node(self, site: str) -> Node:
        self._known(site)
        try:
            return self._nodes[site]
        except KeyError:
            raise DrError("The PostgreSQL pair has not been started: start() it.") from None

    def _writing(self) -> str:
        if self.writer is None:
            raise DrError("The PostgreSQL pair has not been started: start() it.")
        return self.writer

    def _wire(self) -> Transport:
        if self._transport is None:
            raise DrError("The PostgreSQL pair has not been started: start() it.")
        return self._transport


def _verifier(connection: psycopg.Connection[Any], user: str, password: str) -> sql.Literal:
    hashed = connection.pgconn.encrypt_password(password.encode(), user.encode(), b"scram-sha-256")
    return sql.Literal(hashed.decode())
