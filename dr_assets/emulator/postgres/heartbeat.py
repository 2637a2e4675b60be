"""Replication lag of the standby, measured by a heartbeat on the writer, and Aurora's lag functions on top of it.

`pg_stat_replication.flush_lag` stays near zero in a partition, so it does not measure what a failover would lose. The heartbeat
does: ten times a second a row `(slot, ts, lsn)` records that everything committed by `ts` lies before `lsn`. It has arrived
when the reader is beyond `lsn`: at `lsn` itself the reader misses the row, and has merely missed nothing else.

The functions answer the age of the newest heartbeat that the reader has: now minus its `ts`. Only an arriving heartbeat can
lower it, so in a partition it grows with time and never falls, also while no heartbeat is written and after the ring has
replaced the newest one that arrived (`site.durable` and `site.visible` keep its time). It is NULL while no heartbeat is known
to have arrived; -1 and the epoch mark the writer. In good health it reads up to one period (100 ms).
Source: Aurora user guide, "aurora_global_db_status" and "aurora_global_db_instance_status".
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import deque
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import psycopg
from psycopg import sql

from dr_assets.emulator.postgres.node import Node, cut, wire_of

PERIOD_SECONDS = 0.1
RING = 6000  # rows: ten minutes
FRESH_SECONDS = 1.0

SCHEMA = """
create schema dr_heartbeat;
create table dr_heartbeat.ring (slot int primary key, ts timestamptz not null, lsn pg_lsn not null);
create table dr_heartbeat.site (site text primary key, region text not null, slot name not null,
    durable timestamptz, visible timestamptz);
set allow_system_table_mods = on;

create function dr_heartbeat.age_ms(ts timestamptz) returns double precision language sql volatile
    as $$ select extract(epoch from clock_timestamp() - ts)::float8 * 1000 $$;

create function pg_catalog.aurora_global_db_status() returns table (
    aws_region text, highest_lsn_written bigint, durability_lag_in_msec double precision, rpo_lag_in_msec double precision,
    last_lag_calculation_time timestamptz, feedback_epoch bigint, feedback_xmin bigint)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    me text := current_setting('dr.site');
    behind double precision := dr_heartbeat.age_ms((select max(ts) from dr_heartbeat.ring));
begin
    if pg_is_in_recovery() then  -- a reader knows what has arrived, not what has been written
        return query select region, (select (max(lsn) - '0/0'::pg_lsn)::bigint from dr_heartbeat.ring), -1::float8, -1::float8,
            'epoch'::timestamptz, 0::bigint, 0::bigint from dr_heartbeat.site where site <> me;
        return query select region, (coalesce(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) - '0/0'::pg_lsn)::bigint,
            behind, behind, clock_timestamp(), 0::bigint, 0::bigint from dr_heartbeat.site where site = me;
        return;
    end if;
    return query select region, (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint, -1::float8, -1::float8, 'epoch'::timestamptz,
        0::bigint, 0::bigint from dr_heartbeat.site where site = me;
    return query
        select s.region, (p.flushed - '0/0'::pg_lsn)::bigint, b.ms, b.ms, clock_timestamp(),
            (pg_snapshot_xmax(pg_current_snapshot())::text::bigint >> 32), coalesce(p.xmin, '0')::bigint
        from dr_heartbeat.site s
        join lateral (
            select coalesce(r.flush_lsn, l.restart_lsn) as flushed, r.flush_lsn as confirmed,
                coalesce(l.xmin, r.backend_xmin)::text as xmin
            from pg_replication_slots l left join pg_stat_replication r on r.pid = l.active_pid
            where l.slot_name = s.slot) p on true
        join lateral (
            select dr_heartbeat.age_ms(greatest(s.durable, max(ts) filter (where lsn < p.confirmed))) as ms
            from dr_heartbeat.ring) b on true
        where s.site <> me;
end $$;

create function pg_catalog.aurora_global_db_instance_status() returns table (
    server_id text, session_id text, aws_region text, durable_lsn bigint, highest_lsn_rcvd bigint, feedback_epoch bigint,
    feedback_xmin bigint, oldest_read_view_lsn bigint, visibility_lag_in_msec double precision)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    me text := current_setting('dr.site');
begin
    if pg_is_in_recovery() then
        return query select site, 'MASTER_SESSION_ID', region, (select (max(lsn) - '0/0'::pg_lsn)::bigint from dr_heartbeat.ring),
            null::bigint, null::bigint, null::bigint, null::bigint, null::float8 from dr_heartbeat.site where site <> me;
        return query select site, md5(site)::uuid::text, region,
            (coalesce(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) - '0/0'::pg_lsn)::bigint,
            (coalesce(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) - '0/0'::pg_lsn)::bigint, 0::bigint, 0::bigint,
            (pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::bigint,
            dr_heartbeat.age_ms((select max(ts) from dr_heartbeat.ring)) from dr_heartbeat.site where site = me;
        return;
    end if;
    return query select site, 'MASTER_SESSION_ID', region, (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint, null::bigint,
        null::bigint, null::bigint, null::bigint, null::float8 from dr_heartbeat.site where site = me;
    return query
        select s.site, md5(s.site)::uuid::text, s.region, (p.flushed - '0/0'::pg_lsn)::bigint,
            (p.received - '0/0'::pg_lsn)::bigint, (pg_snapshot_xmax(pg_current_snapshot())::text::bigint >> 32),
            coalesce(p.xmin, '0')::bigint, (p.replayed - '0/0'::pg_lsn)::bigint, b.ms
        from dr_heartbeat.site s
        join lateral (
            select coalesce(r.flush_lsn, l.restart_lsn) as flushed, coalesce(r.replay_lsn, l.restart_lsn) as replayed,
                coalesce(r.write_lsn, l.restart_lsn) as received, r.replay_lsn as confirmed,
                coalesce(l.xmin, r.backend_xmin)::text as xmin
            from pg_replication_slots l left join pg_stat_replication r on r.pid = l.active_pid
            where l.slot_name = s.slot) p on true
        join lateral (
            select dr_heartbeat.age_ms(greatest(s.visible, max(ts) filter (where lsn < p.confirmed))) as ms
            from dr_heartbeat.ring) b on true
        where s.site <> me;
end $$;
"""

NEXT_NUMBER = "select coalesce((select slot + 1 from dr_heartbeat.ring order by ts desc limit 1), 0)"
# The standby's position: from its walsender, else (disconnected) from its replication slot. What it had confirmed by the previous
# heartbeat is stored beside the ring, whose rows are replaced; a new slot's position is no confirmation.
BEAT = """
with beat as (
    insert into dr_heartbeat.ring values (%(number)s, clock_timestamp(), pg_current_wal_lsn())
    on conflict (slot) do update set ts = excluded.ts, lsn = excluded.lsn returning ts, lsn),
confirmed as (
    update dr_heartbeat.site set durable = greatest(durable, %(durable)s), visible = greatest(visible, %(visible)s)
    where slot = %(slot)s and (durable, visible) is distinct from
        (greatest(durable, %(durable)s), greatest(visible, %(visible)s)))
select ts, (lsn - '0/0')::bigint, (coalesce(r.flush_lsn, l.restart_lsn) - '0/0')::bigint,
    (coalesce(r.replay_lsn, r.flush_lsn, l.restart_lsn) - '0/0')::bigint, r.flush_lsn is not null
from beat left join pg_replication_slots l on l.slot_name = %(slot)s left join pg_stat_replication r on r.pid = l.active_pid
"""


@dataclass(frozen=True)
class Lag:
    """The standby's lag in milliseconds: of what it shows (`lag_ms`) and of what it has stored (`rpo_ms`). `measured_at` is UTC."""

    lag_ms: float
    rpo_ms: float
    measured_at: datetime


def install(connection: psycopg.Connection[Any], sites: dict[str, tuple[str, str]], reader: str) -> None:
    """Make the ring and Aurora's functions in the connection's database; `sites`: site -> (region, slot)."""
    connection.execute(SCHEMA)
    with connection.cursor() as cursor:
        rows = [(site, region, slot) for site, (region, slot) in sites.items()]
        cursor.executemany("insert into dr_heartbeat.site (site, region, slot) values (%s, %s, %s)", rows)
    role = sql.Identifier(reader)
    connection.execute(sql.SQL("grant usage on schema dr_heartbeat to {}").format(role))
    connection.execute(sql.SQL("grant select on all tables in schema dr_heartbeat to {}").format(role))


def set_region(node: Node, database: str, site: str, region: str) -> None:
    """What Aurora's functions call the region of a site, from now on."""
    with node.session(database) as connection:
        connection.execute("update dr_heartbeat.site set region = %s where site = %s", (region, site))


def age(node: Node, database: str) -> Lag | None:
    """The age of a standby's newest heartbeat. None where the standby does not answer or has no heartbeat."""
    newest = "select max(ts), clock_timestamp() from dr_heartbeat.ring"
    with contextlib.suppress(psycopg.Error, OSError):
        ts, now = node.sql(newest, database=database, seconds=2)[0]
        if ts:
            return Lag(_ms(now, ts), _ms(now, ts), now)
    return None


class _Track:
    """The heartbeats that have not arrived, and the time of the newest that has."""

    def __init__(self) -> None:
        self._beats: deque[tuple[datetime, int]] = deque(maxlen=RING * 6)
        self.arrived: datetime | None = None

    def add(self, ts: datetime, lsn: int, position: int | None) -> None:
        self._beats.append((ts, lsn))
        while position is not None and self._beats and self._beats[0][1] < position:
            self.arrived = self._beats.popleft()[0]


class Heartbeat:
    """Writes heartbeats at the target server, in a thread of its own, and keeps the newest lag measured there."""

    def __init__(self, database: str) -> None:
        self._database = database
        self._target: tuple[Node, str] | None = None
        self._wire: socket.socket | None = None
        self._latest: tuple[float, Lag] | None = None
        self._lock = threading.Lock()  # over the three above
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    def set_target(self, node: Node | None, slot: str = "") -> None:
        """Write there from now on (None: nowhere) and drop the lag; a heartbeat that hangs at a frozen server is given up."""
        with self._lock:
            self._target = (node, slot) if node else None
            self._latest = None
            if self._wire:
                cut(self._wire)

    @property
    def lag(self) -> Lag | None:
        """As measured at the writer; None without a measurement within the last second."""
        latest = self._latest
        return latest[1] if latest and time.monotonic() - latest[0] < FRESH_SECONDS else None

    def stop(self) -> None:
        """End the thread. Idempotent."""
        self._end.set()
        self.set_target(None)
        self._thread.join(5)

    def _run(self) -> None:
        while not self._end.is_set():
            target = self._target
            if target is None:
                self._end.wait(PERIOD_SECONDS / 5)
                continue
            durable, visible = _Track(), _Track()
            while self._target is target:
                with contextlib.suppress(psycopg.Error, OSError):
                    self._beat(target, durable, visible)
                self._end.wait(PERIOD_SECONDS)

    def _beat(self, target: tuple[Node, str], durable: _Track, visible: _Track) -> None:
        """Until the connection breaks or the target is another."""
        node, slot = target
        with contextlib.closing(node.connect(self._database)) as connection, wire_of(connection) as wire:
            with self._lock:
                if self._target is not target:
                    return
                self._wire = wire
            try:
                # Numbers go on where they ended, so that the newest heartbeats are the last to be replaced.
                (number,) = connection.execute(NEXT_NUMBER).fetchone() or (0,)
                confirmed: dict[str, datetime | None] = {"durable": None, "visible": None}
                while self._target is target:
                    begun = time.monotonic()
                    row = connection.execute(BEAT, {"number": number % RING, "slot": slot, **confirmed}).fetchone()
                    number += 1
                    assert row is not None
                    ts, lsn, flushed, replayed, connected = row
                    durable.add(ts, lsn, flushed)
                    visible.add(ts, lsn, replayed)
                    if connected:
                        confirmed = {"durable": durable.arrived, "visible": visible.arrived}
                    if durable.arrived and visible.arrived and flushed is not None:
                        lag = Lag(_ms(ts, visible.arrived), _ms(ts, durable.arrived), datetime.now(timezone.utc))
                        with self._lock:
                            if self._target is target:
                                self._latest = (time.monotonic(), lag)
                    self._end.wait(max(0.0, PERIOD_SECONDS - (time.monotonic() - begun)))
            finally:
                with self._lock:
                    self._wire = None


def _ms(later: datetime, earlier: datetime) -> float:
    return max(0.0, (later - earlier).total_seconds() * 1000)
