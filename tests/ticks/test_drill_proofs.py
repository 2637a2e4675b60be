"""Drills as `drill_overdue` reads them, on records that real drills left (tests/drills/data)."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from dr_assets import utc
from dr_assets.history.store import FolderStore
from dr_assets.ticks.drill_proofs import drill_samples
from tests.support.monitoring import S

RECORDS = sorted((Path(__file__).resolve().parents[1] / "drills" / "data" / "records" / S).glob("*.json"))
# When the newest of them ended.
ENDED = utc.parse("2026-11-26T18:03:20.797Z")


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    store = FolderStore(tmp_path)
    for path in RECORDS:
        store.write(f"records/{S}/{path.name}", path.read_bytes())
    return store


def ages(store: FolderStore, now: datetime = ENDED) -> dict[str, float | None]:
    """Days by scenario."""
    found = drill_samples(store, S, now, lambda _: None)
    return {each.metric.removesuffix("-age"): each.raw for each in found if each.metric.endswith("-age")}


def test_case_b1_a_drill_that_succeeded_is_zero_days_old(store: FolderStore) -> None:
    assert ages(store) == pytest.approx({"switchover": 0.0, "failover": 0.0, "failback": 0.0}, abs=0.001)
    later = ages(store, ENDED + timedelta(days=40))
    assert later == pytest.approx({"switchover": 40.0, "failover": 40.0, "failback": 40.0}, abs=0.001)


def test_case_b1_an_aborted_drill_proves_nothing(store: FolderStore) -> None:
    store.delete(f"records/{S}/000003.json")  # leaves the failback that was aborted
    assert ages(store)["failback"] is None


def test_case_b1_a_drill_that_missed_an_objective_proves_nothing(store: FolderStore) -> None:
    key = f"records/{S}/000001.json"
    rewrite(store, key, rto={**json.loads(store.read(key))["rto"], "met": None})
    assert ages(store)["switchover"] is None


def test_case_b1_a_drill_that_ends_in_the_future_proves_nothing(store: FolderStore) -> None:
    rewrite(store, f"records/{S}/000001.json", ended_at="2031-11-26T18:02:59.083Z")
    assert ages(store)["switchover"] is None
    assert ages(store)["failover"] == pytest.approx(0.0, abs=0.001)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"null", b"[" * 9000, b'{"status": "succeeded", "scenario": "failover"}']
)
def test_case_b1_a_damaged_record_proves_nothing_and_hides_no_other(store: FolderStore, data: bytes) -> None:
    store.write(f"records/{S}/000005.json", data)
    store.write(f"records/{S}/20261126T180320Z-failover-abc123.json", data)
    assert ages(store) == pytest.approx({"switchover": 0.0, "failover": 0.0, "failback": 0.0}, abs=0.001)


def test_case_b1_the_newest_proof_counts_whatever_its_number(store: FolderStore) -> None:
    rewrite(store, f"records/{S}/000004.json", scenario="switchover", ended_at="2026-11-01T00:00:00.000Z")
    assert ages(store)["switchover"] == pytest.approx(0.0, abs=0.001)


def rewrite(store: FolderStore, key: str, **changes: object) -> None:
    """Change a stored record, hash included, as docs/records.md describes it."""
    import hashlib

    body = {name: value for name, value in {**json.loads(store.read(key)), **changes}.items() if name != "hash"}
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"))
    store.write(key, json.dumps({**body, "hash": hashlib.sha256(canonical.encode()).hexdigest()}).encode())
