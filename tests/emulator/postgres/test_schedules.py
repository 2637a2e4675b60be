"""Random schedules of faults and moves on the PostgreSQL pair: never two writers, and a switchover loses nothing."""

from contextlib import suppress

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dr_assets.emulator.postgres import PostgresPair, SwitchoverAbortedError
from dr_assets.errors import DrError

PASSWORD = "pair-password"


def connect(pair: PostgresPair, site: str) -> psycopg.Connection[tuple[object, ...]]:
    ip, port = pair.address(site)
    return psycopg.connect(
        host=ip,
        port=port,
        user="dbadmin",
        password=PASSWORD,
        dbname="transactiondb",
        autocommit=True,
        connect_timeout=2,
        sslmode="disable",
    )


def writable(pair: PostgresPair, site: str) -> bool:
    try:
        with connect(pair, site) as connection:
            connection.execute("create temporary table x (i int)")
    except psycopg.Error:
        return False
    return True


@pytest.mark.exhaustive
@pytest.mark.slow
@settings(max_examples=2, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.sampled_from(["write", "partition", "delay", "drop", "heal", "switchover", "kill", "failover"]),
        min_size=4,
        max_size=7,
    )
)
def test_whatever_happens_one_writer_and_a_switchover_loses_nothing(schedule: list[str]) -> None:
    """Random schedules of faults and moves: never two writers, and what is lost is only ever lost by a failover."""
    pair = PostgresPair()
    written: set[int] = set()
    number = 0
    try:
        pair.start("dbadmin", PASSWORD, "transactiondb")
        pair.attach("secondary")
        with connect(pair, "primary") as connection:
            connection.execute("create table t (i int primary key)")
        for action in schedule:
            target = pair.other(str(pair.writer))
            if action == "write":
                with suppress(psycopg.Error), connect(pair, str(pair.writer)) as connection:
                    for _ in range(20):
                        number += 1
                        connection.execute("insert into t values (%s)", (number,))
                        written.add(number)
            elif action == "switchover":
                with suppress(SwitchoverAbortedError):
                    pair.switchover(target)
                assert written <= rows(pair)
            elif action == "kill":
                pair.kill(str(pair.writer))
            elif action == "failover":
                with suppress(DrError, psycopg.Error):  # a standby that nothing has reached yet cannot take over
                    pair.failover(target)
                    pair.heal()
                    written &= rows(pair)
                    pair.rebuild(pair.other(str(pair.writer)))
            else:
                {
                    "partition": pair.partition,
                    "heal": pair.heal,
                    "drop": pair.drop_in_flight,
                    "delay": lambda: pair.delay(0.3),
                }[action]()
            assert [site for site in pair.sites if writable(pair, site)] in ([], [pair.writer])
    finally:
        pair.close()


def rows(pair: PostgresPair) -> set[int]:
    """What the writer holds; a killed one is started again to be asked."""
    pair.revive(str(pair.writer))
    with connect(pair, str(pair.writer)) as connection:
        return {int(str(row[0])) for row in connection.execute("select i from t")}
