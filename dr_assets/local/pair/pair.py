"""Two servers, one of them the writer: replication between them, switchover, failover, rebuild, and faults on demand.

Imports psycopg and its neighbours. Thread-safe: one operation at a time; faults can be set while one is under way.
"""

import contextlib
import os
import platform
import random
import secrets
import shutil
import socket
import tempfile
import threading
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import psycopg
from psycopg import sql

from dr_assets.errors import DrError
from dr_assets.local.pair.binaries import find_programs
from dr_assets.local.pair.node import Node
from dr_assets.local.pair.transport import Relay

HEARTBEAT_SECONDS = 0.1
RING = 1200  # heartbeats kept: two minutes
PREFIX = "dr-postgres-"


class SwitchoverAbortedError(DrError):
    """The old writer goes on as the writer; nothing was lost and nothing moved."""


@dataclass(frozen=True)
class Lag:
    """How far the reader is behind: of what it has replayed, and of what it holds durably (both milliseconds)."""

    lag_ms: float
    rpo_ms: float
    measured_at: datetime


class PostgresPair:
    """The pair. The first site starts as the writer.

    Addresses are known at once and stay: on Linux each site has a loopback address of its own and the same port, so that
    DNS alone can move clients; elsewhere there is one address and two ports.
    """

    def __init__(self, sites: tuple[str, str] = ("primary", "secondary"), port: int = 5432) -> None:
        self.sites = sites
        self.writer: str | None = None
        self.running = False
        self._addresses, self._held = _reserve(sites, port)
        self._nodes: dict[str, Node] = {}
        self._aside: dict[str, Node] = {}
        self._relays: dict[str, Relay] = {}
        self._root: Path | None = None
        self._database = ""
        self._user = ""
        self._lock = threading.RLock()
        self._ending = threading.Event()
        self._heart: threading.Thread | None = None
        self._slow = 0.0
        self._fence_fails = False

    def address(self, site: str) -> tuple[str, int]:
        """(ip, port) of the site's server."""
        return self._addresses[site]

    def other(self, site: str) -> str:
        return self.sites[1 - self.sites.index(site)]

    # --- life ----------------------------------------------------------------------------------------------------------

    def start(self, username: str, password: str, database: str) -> None:
        """Make the writer: one server, a master user that is no superuser, its database, and the heartbeat."""
        with self._lock:
            self.stop()
            reap()
            self._root = Path(tempfile.mkdtemp(prefix=PREFIX))
            self._root.chmod(0o711)
            (self._root / "owner").write_text(str(os.getpid()))
            programs = find_programs(self._root)
            secret = secrets.token_urlsafe(24)
            for site in self.sites:
                self._nodes[site] = Node(site, programs, self._root / site, *self._addresses[site], secret)
                self._relays[site] = Relay(self._addresses[self.other(site)])
                self._relays[site].start()
            self._user, self._database = username, database
            self.writer = self.sites[0]
            node = self._nodes[self.writer]
            node.init()
            node.configure()
            node.start()
            self._prepare(node, username, password)
            self.running = True
            self._ending.clear()
            self._heart = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
            self._heart.start()

    def _prepare(self, node: Node, username: str, password: str) -> None:
        user, database = sql.Identifier(username), sql.Identifier(self._database)
        with node.connect() as connection:
            connection.execute(
                sql.SQL("create role {} login createdb createrole password {}").format(user, sql.Literal(password))
            )
            # What Aurora's rds_superuser may, as far as a stand-in needs it.
            connection.execute(sql.SQL("grant pg_monitor, pg_signal_backend to {}").format(user))
            connection.execute(sql.SQL("create database {} owner {}").format(database, user))
        with node.connect(self._database) as connection:
            connection.execute("create schema dr_heartbeat")
            connection.execute("create table dr_heartbeat.ring (slot int primary key, ts timestamptz, lsn pg_lsn)")
            connection.execute(sql.SQL("grant usage on schema dr_heartbeat to {}").format(user))
            connection.execute(sql.SQL("grant select on dr_heartbeat.ring to {}").format(user))

    def attach(self, site: str) -> None:
        """Make the other site a streaming standby of the writer, from a base backup."""
        with self._lock:
            self._slot(site)
            node = self._nodes[site]
            node.base_backup(*self._addresses[self._writing()])
            self._follow(site)

    def _follow(self, site: str) -> None:
        self._relays[site].upstream = self._addresses[self.other(site)]
        self._nodes[site].configure(self._relays[site].address, slot=f"dr_{site}")
        self._nodes[site].start()

    def _slot(self, site: str) -> None:
        name = f"dr_{site}"
        with self._nodes[self._writing()].connect() as connection:
            connection.execute(
                "select pg_create_physical_replication_slot(%s, true) where not exists"
                " (select 1 from pg_replication_slots where slot_name = %s)",
                (name, name),
            )

    def stop(self) -> None:
        """End and remove everything. Harmless when nothing runs."""
        self._ending.set()
        if self._heart:
            self._heart.join(5)
            self._heart = None
        with self._lock:
            for node in (*self._nodes.values(), *self._aside.values()):
                node.end()
            for relay in self._relays.values():
                relay.stop()
            self._nodes, self._aside, self._relays, self.writer, self.running = {}, {}, {}, None, False
            if self._root:
                shutil.rmtree(self._root, ignore_errors=True)
                self._root = None

    def close(self) -> None:
        """`stop`, and give the addresses back: the pair cannot be started again."""
        self.stop()
        for held in self._held:
            held.close()

    def _writing(self) -> str:
        if self.writer is None:
            raise DrError("The PostgreSQL pair has not been started.")
        return self.writer

    def set_password(self, password: str) -> None:
        """Of the master user."""
        text = sql.SQL("alter role {} password {}").format(sql.Identifier(self._user), sql.Literal(password))
        self._nodes[self._writing()].sql(text)

    def exec(self, site: str, text: str) -> list[tuple[object, ...]]:
        """Run SQL in the stack's database as the harness' superuser."""
        return self._nodes[site].sql(text, database=self._database)

    # --- moving the writer ---------------------------------------------------------------------------------------------

    def switchover(self, to: str) -> None:
        """Nothing is lost: the old writer is shut down cleanly, the standby proves that it has all of it, then takes over.

        Raises SwitchoverAbortedError, with the old writer writing again, where that cannot be proven.
        """
        with self._lock:
            old, new = self._nodes[self._writing()], self._nodes[to]
            if self.writer == to:
                raise DrError(f"{to} is the writer already")
            try:
                old.stop("fast", wait=10.0)
                self._prove(old, new)
            except (DrError, psycopg.Error) as error:
                old.end()
                old.start()
                raise SwitchoverAbortedError(f"The switchover to {to} was given up: {error}") from error
            self._promote(new)
            self.writer = to
            self._slot(old.name)
            self._follow(old.name)

    def _prove(self, old: Node, new: Node) -> None:
        """The old one says it was shut down, and the new one has replayed beyond its last checkpoint."""
        control = old.control()
        if control["Database cluster state"] != "shut down":
            raise DrError(f"the old writer is {control['Database cluster state']!r}, not shut down")
        last = control["Latest checkpoint location"]
        deadline = time.monotonic() + 5
        while not new.sql("select pg_last_wal_replay_lsn() > %s::pg_lsn", (last,))[0][0]:
            if time.monotonic() > deadline:
                raise DrError(f"the standby has not replayed {last}")
            time.sleep(0.005)

    def failover(self, to: str) -> None:
        """Whatever the old writer's state: fence it where it still runs, promote the standby with what it has."""
        with self._lock:
            if self.writer == to:
                raise DrError(f"{to} is the writer already")
            old = self._nodes[self._writing()]
            if old.alive and not self._fence_fails:
                old.stop("immediate")
            self._promote(self._nodes[to])
            self.writer = to

    def _promote(self, node: Node) -> None:
        if self._slow:
            time.sleep(self._slow)
        node.promote()

    def rebuild(self, site: str) -> None:
        """Make a former writer a standby again: its data kept aside, then rewound; a base backup where that fails."""
        with self._lock:
            node, writer = self._nodes[site], self._nodes[self._writing()]
            if node.alive:
                node.stop("immediate")
            self.release(site)
            aside = node.folder.with_name(f"{site}-aside")
            shutil.copytree(node.folder, aside, symlinks=True, copy_function=_copy)
            if node.programs.user is not None:
                for path in (aside, *aside.rglob("*")):
                    node.programs.own(path)
            self._aside[site] = Node(
                f"{site}-aside", node.programs, aside, node.ip, _free_port(node.ip), node._password
            )
            self._slot(site)
            writer.sql("checkpoint")
            try:
                node.configure()  # pg_rewind reads the settings, and ends the crash recovery of a killed server
                node.rewind(writer.ip, writer.port)
            except DrError:
                node.base_backup(writer.ip, writer.port)
            self._follow(site)

    def kept_aside(self, site: str) -> tuple[str, int] | None:
        """(ip, port) of a read-only server on the data that a rebuilt site had before; None where none are kept."""
        with self._lock:
            node = self._aside.get(site)
            if node is not None and not node.alive:
                node.configure(extra="default_transaction_read_only = on\n")
                node.start()
            return (node.ip, node.port) if node else None

    def release(self, site: str) -> None:
        """Throw away what was kept aside."""
        with self._lock:
            node = self._aside.pop(site, None)
            if node is not None:
                node.end()
                shutil.rmtree(node.folder, ignore_errors=True)

    # --- lag -----------------------------------------------------------------------------------------------------------

    def _beat(self) -> None:
        """Write `(slot, ts, lsn)` ten times a second at whichever server is the writer."""
        connection: psycopg.Connection[object] | None = None
        at: str | None = None
        number = 0
        while not self._ending.wait(HEARTBEAT_SECONDS):
            writer = self.writer
            if connection is not None and writer != at:
                connection.close()
                connection = None
            try:
                if connection is None and writer is not None:
                    connection, at = self._nodes[writer].connect(self._database, timeout=2), writer
                    connection.execute("set statement_timeout = '1s'")
                if connection is not None:
                    connection.execute(
                        "insert into dr_heartbeat.ring values (%s, clock_timestamp(), pg_current_wal_lsn())"
                        " on conflict (slot) do update set ts = excluded.ts, lsn = excluded.lsn",
                        (number % RING,),
                    )
                    number += 1
            except (psycopg.Error, KeyError):
                if connection is not None:
                    connection.close()
                connection = None
        if connection is not None:
            connection.close()

    def lag(self) -> Lag | None:
        """Newest heartbeat minus the newest that the standby has; None where there is no standby or nothing to compare.

        Asked at the writer while it answers; else the standby is asked how old its newest heartbeat is. Both grow with time
        for as long as nothing arrives. (`pg_stat_replication.flush_lag` reads next to nothing in a partition.)
        """
        if self.writer is None or not self._nodes:
            return None
        reader = self.other(self.writer)
        if not self._nodes[reader].alive:
            return None
        now = datetime.now(timezone.utc)
        with contextlib.suppress(psycopg.Error):
            rows = self._nodes[self.writer].sql(_LAG, {"slot": f"dr_{reader}"}, self._database, timeout=2)
            newest, flushed, replayed = rows[0]
            if newest and flushed:
                return Lag(_ms(newest, replayed or flushed), _ms(newest, flushed), now)
        with contextlib.suppress(psycopg.Error):
            rows = self._nodes[reader].sql(
                "select clock_timestamp(), max(ts) from dr_heartbeat.ring", None, self._database
            )
            if rows[0][1]:
                behind = _ms(rows[0][0], rows[0][1])
                return Lag(behind, behind, now)
        return None

    # --- faults ----------------------------------------------------------------------------------------------------------

    def kill(self, site: str) -> None:
        """SIGSTOP, then SIGKILL for the server and all its children."""
        self._nodes[site].kill()

    def freeze(self, site: str) -> None:
        """Connections stay open and nothing answers."""
        self._nodes[site].freeze()

    def thaw(self, site: str) -> None:
        self._nodes[site].thaw()

    def revive(self, site: str) -> None:
        """Start a killed server as it was: an old writer comes back thinking that it still is the writer."""
        if not self._nodes[site].alive:
            self._nodes[site].start()

    def partition(self) -> None:
        """Nothing passes between the servers."""
        for relay in self._relays.values():
            relay.partitioned = True

    def delay(self, seconds: float) -> None:
        """What the writer sends arrives that much later."""
        for relay in self._relays.values():
            relay.delay = seconds

    def drop_in_flight(self) -> None:
        for relay in self._relays.values():
            relay.drop()

    def heal(self) -> None:
        """No partition, no delay, no slow promotion, fencing works."""
        self._slow, self._fence_fails = 0.0, False
        for relay in self._relays.values():
            relay.partitioned, relay.delay = False, 0.0

    def slow_promotion(self, seconds: float) -> None:
        self._slow = seconds

    def fail_fencing(self, on: bool = True) -> None:
        """A failover leaves the old writer running."""
        self._fence_fails = on


# The standby's position: from its walsender, else (disconnected) from where its slot stands.
_LAG = """
with position as (
    select coalesce(r.flush_lsn, s.restart_lsn) as flushed, coalesce(r.replay_lsn, s.restart_lsn) as replayed
    from pg_replication_slots s left join pg_stat_replication r on r.pid = s.active_pid where s.slot_name = %(slot)s)
select max(ts), max(ts) filter (where lsn <= flushed), max(ts) filter (where lsn <= replayed)
from dr_heartbeat.ring, position
"""


def _ms(later: datetime, earlier: datetime) -> float:
    return max(0.0, (later - earlier).total_seconds() * 1000)


def _copy(source: str, target: str) -> None:
    shutil.copy2(source, target)


def _reserve(sites: tuple[str, str], port: int) -> tuple[dict[str, tuple[str, int]], list[socket.socket]]:
    """Addresses that are ours for as long as the sockets live: bound, never listening, so PostgreSQL can bind beside them."""
    if platform.system() == "Linux":
        for _ in range(20):
            net = f"127.{random.randint(1, 254)}.{random.randint(0, 254)}"
            for wanted in (port, 0):
                held: list[socket.socket] = []
                try:
                    chosen = wanted
                    for number in (1, 2):
                        held.append(_bound(f"{net}.{number}", chosen))
                        chosen = held[-1].getsockname()[1]
                except OSError:
                    for one in held:
                        one.close()
                    continue
                return {site: (f"{net}.{n}", chosen) for n, site in enumerate(sites, 1)}, held
        raise DrError("No loopback address is free for PostgreSQL.")
    held = [_bound("127.0.0.1", 0) for _ in sites]
    found = {site: ("127.0.0.1", int(one.getsockname()[1])) for site, one in zip(sites, held, strict=True)}
    for one in held:  # only Linux lets a listener bind beside a bound socket
        one.close()
    return found, []


def _bound(ip: str, port: int) -> socket.socket:
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((ip, port))
    except OSError:
        found.close()
        raise
    return found


def _free_port(ip: str) -> int:
    with _bound(ip, 0) as found:
        return int(found.getsockname()[1])


def reap() -> None:
    """Remove the folders of pairs whose owner is gone (their servers ended with it)."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        try:
            os.kill(int((folder / "owner").read_text()), 0)
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
        except (OSError, ValueError):
            continue
