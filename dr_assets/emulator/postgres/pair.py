"""`PostgresPair`: two servers with switchover, failover, rebuild and fault injection.

Thread-safe: one operation at a time; faults, lag and SQL while one is under way.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil

import psycopg

from dr_assets.emulator.postgres.node import Node
from dr_assets.emulator.postgres.servers import Servers
from dr_assets.errors import DrError

CATCH_UP_SECONDS = 5.0
SHUT_DOWN_SECONDS = 10.0  # a clean shutdown waits until the standby has everything


class SwitchoverAbortedError(DrError):
    """The old writer stays the writer; nothing was lost and nothing moved. `reason` is the cause."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The switchover was aborted, the writer is still where it was: {reason}")
        self.reason = reason


class PostgresPair(Servers):
    """The pair: see `Servers` for its life, addresses and attributes."""

    # --- moving the writer ---------------------------------------------------------------------------------------------

    def switchover(self, to: str) -> None:
        """Move the writer without loss: shut the old one down cleanly, prove that the standby has all of it, promote.

        Returns when the old writer streams as a standby again. Raises SwitchoverAbortedError, with the old writer writing
        again, where that cannot be proven; it has not even been interrupted where the standby did not keep up before.
        """
        with self._lock:
            old, new = self._node(self._writing()), self._node(to)
            if self._standby != to:
                raise SwitchoverAbortedError(f"{to} is not a standby.")
            try:
                self._caught_up(old, new)
            except (DrError, psycopg.Error) as error:
                raise SwitchoverAbortedError(str(error)) from error
            self._aim_heartbeat(nowhere=True)
            try:
                old.shut_down(SHUT_DOWN_SECONDS)
                self._prove(old, new)
                self._promote(new)
            except (DrError, psycopg.Error) as error:
                self._resume(old, new)
                raise SwitchoverAbortedError(str(error)) from error
            self.writer, self._standby = to, None
            self._aim_heartbeat()
            self._make_slot(old.site)
            self._follow_or_copy(old.site)

    def _caught_up(self, old: Node, new: Node) -> None:
        """Before anything is stopped: what is written now reaches the standby, and the shutdown finds little to write."""
        with old.session(seconds=CATCH_UP_SECONDS * 3) as connection:
            connection.execute("checkpoint")
            row = connection.execute("select pg_current_wal_flush_lsn()::text").fetchone()
            streams = "select exists(select 1 from pg_stat_replication where application_name = %s and flush_lsn >= %s::pg_lsn)"

            def reached() -> bool:
                found = connection.execute(streams, (new.site, row and row[0])).fetchone()
                return bool(found and found[0])

            new.until(reached, CATCH_UP_SECONDS, "catch up with the writer")
        if not new.sql("select pg_is_in_recovery()")[0][0]:
            raise DrError(f"{new.site} is no standby any more.")

    @staticmethod
    def _prove(old: Node, new: Node) -> None:
        """The old writer shut down cleanly, and the new one has replayed beyond its last checkpoint. DrError otherwise."""
        control = old.control()
        if control["Database cluster state"] != "shut down":
            raise DrError(f"{old.site} is {control['Database cluster state']!r}, not shut down.")
        last = control["Latest checkpoint location"]
        with new.session(seconds=CATCH_UP_SECONDS * 2) as connection:

            def replayed() -> bool:
                row = connection.execute("select pg_last_wal_replay_lsn() > %s::pg_lsn", (last,)).fetchone()
                return bool(row and row[0])

            new.until(replayed, CATCH_UP_SECONDS, f"replay beyond {last}, the old writer's last checkpoint,")

    def _resume(self, old: Node, new: Node) -> None:
        """The old writer writes again. The new one, promoted after all perhaps, must not; it is attached anew if need be."""
        if not new.alive or not self._replays(new):
            new.end()
            self._standby = None
        if old.outage or self._ending.is_set():
            old.end()  # killed or frozen meanwhile: an outage is not undone here
            return
        old.end()
        old.start()
        self._aim_heartbeat()

    @staticmethod
    def _replays(node: Node) -> bool:
        try:
            return bool(node.sql("select pg_is_in_recovery() and not pg_is_wal_replay_paused()")[0][0])
        except psycopg.Error:
            return False

    def failover(self, to: str) -> None:
        """Move the writer whatever the old one's state: fence it if it runs, promote the standby with what it has.

        What the old writer had beyond that stays in its data folder until `rebuild`. Raises DrError when `to` cannot be
        promoted; only where the promotion itself failed was the old writer fenced all the same.
        """
        with self._lock:
            old, new = self._node(self._writing()), self._node(to)
            if self._standby != to:
                raise DrError(f"{to} is not a standby: there is nothing to promote.")
            try:
                new.sql("select 1")
            except psycopg.Error as error:
                raise DrError(f"{to} does not answer, it cannot be promoted: {error}") from error
            self._aim_heartbeat(nowhere=True)
            try:
                if not self._fencing_fails:
                    old.end()
                self._promote(new)
                self.writer, self._standby = to, None
            finally:
                self._aim_heartbeat()

    def separate(self, site: str) -> None:
        """Make the standby a writer of its own beside the other one. Nothing happens where the site is no standby."""
        with self._lock:
            if self._standby == site:
                self._promote(self._node(site))
                self._standby = None
                self._aim_heartbeat()

    def _promote(self, node: Node) -> None:
        if self._slow and self._ending.wait(self._slow):
            raise DrError("The pair was stopped before the promotion.")
        node.promote()

    def rebuild(self, site: str) -> None:
        """Make a former writer (or a lost standby) a standby again.

        A former writer's data are quarantined first, with what was lost: see `quarantined`. Then they are rewound; where that
        fails, replaced by a base backup. Returns when it streams. Raises DrError; may be called again then.
        """
        with self._lock:
            node, writer = self._node(site), self._node(self._writing())
            if node is writer:
                raise DrError(f"{site} is the writer: there is nothing to rebuild.")
            if self._standby == site and node.alive:
                return
            self._connected()
            node.end()
            rewindable = node.is_writer and site not in self._unfinished
            if rewindable:
                # Every copy is kept until it is released: each may hold rows that are nowhere else.
                kept = self._quarantine.setdefault(site, [])
                folder = node.folder.with_name(f"{site}-quarantine-{secrets.token_hex(4)}")
                kept.append(node.copy_to(folder))
                self._unfinished.add(site)  # from here on its data are no longer what it had
            self._make_slot(site)
            writer.sql("checkpoint", seconds=30)  # pg_rewind reads the timeline from the control file
            if rewindable:
                with contextlib.suppress(DrError):
                    node.rewind(writer)
                    self._follow(site)
                    return
                self._copy(site)
            else:
                self._follow_or_copy(site, copy=site in self._unfinished)

    def quarantined(self, site: str) -> tuple[str, int] | None:
        """(ip, port) of a server on what the rebuilt site had before, None where nothing is quarantined.

        It is strictly read-only (a standby without an upstream), and its passwords are those of the time of the loss. The newest, where
        several are kept.
        """
        with self._lock:
            self._known(site)
            for node in self._quarantine.get(site, [])[-1:]:
                if not node.alive:
                    node.configure(read_only=True)
                    node.start()
                return node.address
            return None

    def release(self, site: str) -> None:
        """Delete everything quarantined of a site. Harmless when there is nothing."""
        with self._lock:
            self._known(site)
            for node in self._quarantine.pop(site, []):
                node.end()
                shutil.rmtree(node.folder, ignore_errors=True)

    # --- faults --------------------------------------------------------------------------------------------------------

    def kill(self, site: str) -> None:
        """An outage: SIGSTOP, then SIGKILL, for the server and all its children."""
        self._node(site).kill()

    def freeze(self, site: str) -> None:
        """An outage without an error: connections stay open, nothing answers."""
        self._node(site).freeze()

    def thaw(self, site: str) -> None:
        """End a freeze."""
        self._node(site).thaw()

    def revive(self, site: str) -> None:
        """Start a killed (or fenced) server as it was: an old writer comes back thinking that it still is the writer."""
        with self._lock:
            node = self._node(site)
            if not node.data.exists():
                raise DrError(f"{site} has no data: attach() it.")
            if not node.alive:
                node.start()
                if site != self.writer and not node.is_writer:
                    self._standby = site

    def partition(self) -> None:
        """Pass nothing between the servers, in either direction; connections stay open."""
        self._wire().partition()

    def delay(self, seconds: float) -> None:
        """Deliver what the writer sends so many seconds later."""
        self._wire().delay(seconds)

    def drop_in_flight(self) -> None:
        """Break the connections between the servers; what has not arrived yet never does (it is sent again, if it can be)."""
        self._wire().drop()

    def heal(self) -> None:
        """No partition, no delay, no slow promotion; fencing works. Killed and frozen servers stay so."""
        self._slow, self._fencing_fails = 0.0, False
        self._wire().heal()

    def slow_promotion(self, seconds: float) -> None:
        """Promotions start that much later."""
        self._slow = max(0.0, seconds)

    def fail_fencing(self, on: bool = True) -> None:
        """A failover leaves the old writer running, and writing."""
        self._fencing_fails = on
