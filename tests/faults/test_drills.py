"""Cells of the fault matrix: drills against the embedded AWS with a real PostgreSQL pair behind it."""

from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from dr_assets.drills import record
from dr_assets.emulator import EmbeddedAws
from dr_assets.stack import Stack
from tests.faults.drills import Struck, subject
from tests.faults.matrix import Cell
from tests.faults.ticks import WatchedStore
from tests.support.drills import sql, sql_connection

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
PLANNED, UNPLANNED = subject("switchover"), subject("failover")


@pytest.mark.parametrize("cell", [*PLANNED.parameters(), *UNPLANNED.parameters()])
def test_one_writer_one_promotion_one_record(
    cell: Cell, aws: EmbeddedAws, stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = WatchedStore(tmp_path / "history")
    with monkeypatch.context() as patch:
        struck = Struck(cell, cell.subject, aws, stack, store)
        written = struck.run(patch)
    where = f"{cell}: {written.status}, {written.reason}; {[str(error) for error in struck.errors]}"
    assert record.verify_chain(store, stack.environment_suffix) == [], where
    assert executed(aws) in ([], ["SwitchoverGlobalCluster"], ["FailoverGlobalCluster"]), where
    state = aws.control.database()
    assert writers(stack, state["addresses"]) == [state["writer"]], where
    assert bool(executed(aws)) is (state["writer"] == "secondary"), where
    if written.status == "succeeded":
        assert executed(aws), where
        assert all(item.passed for item in written.postconditions), where
        assert written.rpo.survived == survived(stack, state["addresses"][state["writer"]], written.id), where
    if cell.subject == "switchover" and executed(aws):
        assert written.rpo.lost_commits in (0, None), where
    if written.rpo.lost_commits is None or written.rto.high_seconds is None:
        assert not written.good, where


def executed(aws: EmbeddedAws) -> list[str]:
    """The calls that moved the writer: AWS's own log, without those that it refused."""
    return [
        call["operation"]
        for call in aws.control.calls()
        if call["operation"] in ("SwitchoverGlobalCluster", "FailoverGlobalCluster")
        and call["error_code"] in (None, "lost")  # lost: carried out, and the answer was dropped
    ]


def writers(stack: Stack, addresses: dict[str, list[object]]) -> list[str]:
    """The sites whose server takes a write, tried with plain SQL."""
    found = []
    for site, address in addresses.items():
        with suppress(psycopg.Error), sql_connection(stack, address) as connection:
            connection.execute("create table if not exists public.witness (x int)")
            found.append(site)
    return found


def survived(stack: Stack, address: list[object], drill: str) -> int:
    return int(sql(stack, address, "select count(*) from dr_drill.dr_ledger where drill = %s", drill)[0][0])
