"""What the product writes into the database works at wal_level=replica, Aurora's default, and leaves plain rows."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from dr_assets.drills.measurement.client_probe import ClientProbe, write_once
from dr_assets.drills.measurement.commit_ledger import CommitLedger, survivors
from dr_assets.monitoring.sources.sql import SqlView
from dr_assets.postgres.connection import connect
from dr_assets.postgres.endpoints import Address
from dr_assets.stack import Stack
from tests.support.servers import Server


class Here:
    def __init__(self, server: Server) -> None:
        self.server = server

    def resolve(self, host: str, port: int) -> Address:
        return self.server.address


def test_aws_23_the_product_s_sql_needs_no_logical_decoding(
    servers: tuple[Server, Server], stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, until: Any
) -> None:
    """pg_logical_emit_message can be refused or carry wrong positions below wal_level=logical (pg_gather#9)."""
    server = servers[0]
    assert server.sql("show wal_level") == [("replica",)]
    server.sql(f"alter database {server.database} set log_statement = 'all'")
    log = server.folder.parent / f"{server.folder.name}.log"
    begin = log.stat().st_size
    ledger = CommitLedger("d1", tmp_path / "ledger.jsonl", lambda: server.address, lambda: server.credentials, 100)
    probe = ClientProbe("d1", "client", lambda: server.address, lambda: server.credentials, 0.02)
    ledger.start()
    until(lambda: ledger.acknowledged >= 5)
    probe.start()
    until(lambda: len([a for a in probe.attempts if a.good]) >= 5)
    probe.stop()
    fates = ledger.stop()
    assert write_once(server.address, server.credentials, "d1")[0] == "accepted"
    monkeypatch.setattr(SqlView, "_credentials", lambda self: server.credentials)
    view = SqlView(stack, "primary", None, Here(server))  # type: ignore[arg-type]
    for _ in range(2):
        samples, _ = view(datetime.now(timezone.utc))
        assert samples[0].raw == 1.0
        time.sleep(0.01)
    with connect(server.address, server.credentials, read_only=True) as connection:
        assert survivors(connection, "d1") == set(fates.acknowledged) | fates.unknown
    assert server.sql("select site from dr_drill.dr_heartbeat") == [("primary",)]
    assert server.sql("select count(*) from dr_drill.dr_probe") == [(2,)]
    statements = log.read_bytes()[begin:].decode()
    assert "dr_drill.dr_ledger" in statements
    assert "dr_drill.dr_heartbeat" in statements
    assert "logical" not in statements
    assert "slot" not in statements
