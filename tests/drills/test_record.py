"""The record: its shape, its chain, and what happens when something foreign lies among the records."""

import copy
import json
import random
import re
import threading
from pathlib import Path
from typing import Any

import pytest

from dr_assets.drills.record import RecordError, append, load, validate, verify_chain
from dr_assets.drills.record_document import Record, digest
from dr_assets.errors import AwsCallError
from dr_assets.history.store import FolderStore

STACK = "l6p3z2w4"
DOCS = Path(__file__).resolve().parents[2] / "docs" / "records.md"


def document(number: int = 1) -> dict[str, Any]:
    return {
        "schema": "dr-assets/record/1",
        "id": f"20261123T190211Z-failover-{number:06x}",
        "kind": "drill",
        "scenario": "failover",
        "stack": STACK,
        "status": "succeeded",
        "reason": None,
        "started_at": "2026-11-23T19:02:11.000Z",
        "ended_at": "2026-11-23T19:03:40.120Z",
        "who": {"operator": "kim", "approved_by": "lee", "caller_arn": None},
        "why": "quarterly rehearsal",
        "scope": {
            "from_site": "primary",
            "to_site": "secondary",
            "from_region": "us-east-1",
            "to_region": "us-west-2",
            "database": "app",
            "tables": ["dr_drill.dr_ledger"],
        },
        "plan_hash": "0" * 64,
        "product_version": "0.1.0",
        "preconditions": [{"name": "lag", "passed": None, "reason": "no reading"}],
        "overrides": [{"precondition": "lag", "reason": "the region is gone", "by": "lee"}],
        "timeline": [{"mark": "T3", "at": "2026-11-23T19:02:20.000Z", "source": "drill", "text": "called"}],
        "rto": {
            "low_seconds": 1.5,
            "high_seconds": 2,
            "parts": {"detect": 0.5, "decide": 0.5, "database": 1.0, "traffic": None},
            "target_seconds": 60,
            "met": True,
        },
        "rpo": {
            "lost_commits": 3,
            "lost_seconds": 0.4,
            "in_doubt": 1,
            "acknowledged": 100,
            "survived": 97,
            "target_seconds": 1,
            "met": True,
        },
        "exposure": {"from": "2026-11-23T19:02:20.000Z", "until": None, "seconds": None},
        "calls": [
            {
                "region": "us-west-2",
                "service": "rds",
                "operation": "failover_global_cluster",
                "plane": "control",
                "count": 1,
            }
        ],
        "postconditions": [{"name": "one-writer", "passed": True, "reason": None}],
        "deviations": ["slow DNS"],
        "corrective_actions": [{"text": "lower the TTL", "owner": "kim", "due": "2026-12-01"}],
        "reconciliation": {"file": "p.jsonl", "insert": 3, "update": 0, "delete": 0},
    }


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path)


def files(store: FolderStore) -> list[Path]:
    return sorted(path for path in store.root.rglob("*.json"))


def test_records_are_chained_and_read_back(store: FolderStore) -> None:
    written = [append(store, document(number)) for number in range(3)]
    assert written[0].previous_hash is None
    assert [item.previous_hash for item in written[1:]] == [item.hash for item in written[:2]]
    assert load(store, STACK) == written
    assert verify_chain(store, STACK) == []


def test_the_hash_is_over_canonical_json() -> None:
    shuffled = list(document().items())
    random.Random(1).shuffle(shuffled)
    assert digest(dict(shuffled)) == digest(document()) == digest({**document(), "hash": "x"})
    assert re.fullmatch("[0-9a-f]{64}", digest(document()))
    assert digest({**document(), "why": "another"}) != digest(document())


def test_no_field_can_be_left_out_or_of_another_kind() -> None:
    assert validate(document(), chained=False) == []
    for name in document():
        lacking = {key: value for key, value in document().items() if key != name}
        assert f"{name} is missing" in validate(lacking, chained=False)
        assert validate({**document(), name: object()}, chained=False)
    assert validate([], chained=False) == ["it is not a JSON object"]


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        (("kind",), "exercise", "kind is 'exercise'"),
        (("status",), [], "status is list"),
        (("started_at",), "2026-11-23T19:02:11", "started_at is not an ISO 8601 time in UTC"),
        (("started_at",), "2026-11-23T19:02:11+01:00", "started_at is not an ISO"),
        (("surplus",), 1, "surplus is not known"),
        (("rto", "low_seconds"), "fast", "rto.low_seconds is str"),
        (("rto", "low_seconds"), True, "rto.low_seconds is bool"),
        (("rto", "low_seconds"), float("nan"), "it cannot be put as JSON"),
        (("rto", "parts", "detect"), "x", "rto.parts.detect is str"),
        (("rpo", "lost_commits"), 1.5, "rpo.lost_commits is float"),
        (("rpo", "met"), 1, "rpo.met is int"),
        (("who", "operator"), None, "who.operator is NoneType"),
        (("timeline", 0, "mark"), "T9", "timeline[0].mark is 'T9'"),
        (("timeline", 0, "at"), "yesterday", "timeline[0].at is not"),
        (("timeline", 0), "called", "timeline[0] is str"),
        (("preconditions", 0, "passed"), "yes", "preconditions[0].passed is str"),
        (("calls", 0, "count"), None, "calls[0].count is NoneType"),
        (("exposure", "seconds"), "3", "exposure.seconds is str"),
        (("reconciliation", "insert"), None, "reconciliation.insert is NoneType"),
        (("corrective_actions", 0, "owner"), 7, "corrective_actions[0].owner is int"),
    ],
)
def test_what_is_wrong_is_named(path: tuple[Any, ...], value: Any, problem: str, store: FolderStore) -> None:
    spoilt = copy.deepcopy(document())
    place: Any = spoilt
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    assert any(problem in found for found in validate(spoilt, chained=False)), validate(spoilt, chained=False)
    with pytest.raises(RecordError, match="no record"):
        append(store, spoilt)
    assert files(store) == []


def test_a_changed_record_is_found(store: FolderStore) -> None:
    for number in range(3):
        append(store, document(number))
    second = files(store)[1]
    second.write_text(second.read_text().replace('"lost_commits": 3', '"lost_commits": 0'))
    assert verify_chain(store, STACK) == [
        f"records/{STACK}/000002.json: its hash does not fit its content: it was changed after it was written"
    ]
    assert len(load(store, STACK)) == 2


def test_a_changed_record_with_a_new_hash_is_found_too(store: FolderStore) -> None:
    for number in range(3):
        append(store, document(number))
    second = files(store)[1]
    forged = {**json.loads(second.read_text()), "why": "because"}
    second.write_text(json.dumps({**forged, "hash": digest(forged)}))
    assert verify_chain(store, STACK) == [f"records/{STACK}/000003.json: it is not chained to the record before it"]


def test_a_removed_record_is_found(store: FolderStore) -> None:
    for number in range(4):
        append(store, document(number))
    files(store)[1].unlink()
    assert any("000003.json: 1 record(s) before it are missing" in problem for problem in verify_chain(store, STACK))
    files(store)[0].unlink()
    assert any("000003.json: 2 record(s) before it are missing" in problem for problem in verify_chain(store, STACK))


@pytest.mark.parametrize("content", [b"", b'{"schema": "dr-as', b"[]", b"null", b"\xff\xfe", b"{}", b"[" * 100_000])
def test_a_half_written_record_is_named_and_stops_nobody(store: FolderStore, content: bytes) -> None:
    first = append(store, document(1))
    store.write(f"records/{STACK}/000002.json", content)
    third = append(store, document(3))
    assert third.previous_hash == first.hash
    assert files(store)[2].name == "000003.json"
    problems = verify_chain(store, STACK)
    assert problems
    assert all(problem.startswith(f"records/{STACK}/000002.json: ") for problem in problems)
    assert load(store, STACK) == [first, third]


def test_foreign_files_are_named_and_stop_nobody(store: FolderStore) -> None:
    append(store, document(1))
    for name in ("notes.json", "README.txt", "000002.json.bak", "old/000009.json"):
        store.write(f"records/{STACK}/{name}", b"{}")
    append(store, document(2))
    problems = verify_chain(store, STACK)
    assert len(problems) == 4
    assert all("is not the name of a record" in problem for problem in problems)
    assert len(load(store, STACK)) == 2


def test_two_stacks_have_chains_of_their_own(store: FolderStore) -> None:
    append(store, document(1))
    other = append(store, {**document(2), "stack": "other"})
    assert other.previous_hash is None
    assert verify_chain(store, "other") == verify_chain(store, STACK) == []


def test_many_at_once_make_one_chain(store: FolderStore) -> None:
    failures: list[BaseException] = []
    ready = threading.Barrier(8)

    def write(first: int) -> None:
        try:
            ready.wait()
            for number in range(5):
                append(store, document(first * 10 + number))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len({item.id for item in load(store, STACK)}) == 40
    assert verify_chain(store, STACK) == []


def test_nothing_is_ever_overwritten(store: FolderStore) -> None:
    append(store, document(1))
    before = files(store)[0].read_bytes()
    append(store, document(2))
    assert files(store)[0].read_bytes() == before


def test_every_field_is_described_for_readers() -> None:
    text = DOCS.read_text()
    schema = Record.json_schema()
    for group in (schema, *schema["$defs"].values()):
        for name in group["properties"]:
            assert f"`{name}`" in text, name


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b'{"a":' * 3000 + b"1" + b"}" * 3000,
        b"9" * 5001,
        b'{"schema": "dr-assets/record/2", "schema": "dr-assets/record/2"}',
        b"\xff\xfe\x00",
        b"NaN",
    ],
)
@pytest.mark.parametrize("number", [2, 5, 999_999_999])
def test_case_e6_a_damaged_record_does_not_keep_a_drill_from_its_record(
    store: FolderStore, content: bytes, number: int
) -> None:
    append(store, document(1))
    store.write(f"records/l6p3z2w4/{number:06d}.json", content)
    append(store, document(2))
    assert [record.id for record in load(store, "l6p3z2w4")] == [document(1)["id"], document(2)["id"]]
    assert [text for text in verify_chain(store, "l6p3z2w4") if f"{number:06d}.json" in text]


@pytest.mark.parametrize("value", [10**18, 10**400, "1e400", float("nan"), "9" * 5001])
def test_case_e6_a_huge_number_in_a_record_is_named(store: FolderStore, value: Any) -> None:
    written = append(store, document(1)).to_json()
    text = json.dumps({**written, "rto": {**written["rto"], "low_seconds": "HERE"}}).replace('"HERE"', str(value))
    store.write("records/l6p3z2w4/000001.json", text.encode())
    assert load(store, "l6p3z2w4") == []
    assert verify_chain(store, "l6p3z2w4")
    assert append(store, document(2)).id == document(2)["id"]


@pytest.mark.parametrize(
    "name", ["0000001.json", "1.json", "²²²²²².json", "9" * 200 + ".json", "0000000000.json", "x/000001.json"]
)
def test_case_e6_a_name_of_no_record_is_named_and_counts_for_no_number(store: FolderStore, name: str) -> None:
    append(store, document(1))
    store.write(f"records/l6p3z2w4/{name}", b"{}")
    append(store, document(2))
    assert len(load(store, "l6p3z2w4")) == 2
    assert [text for text in verify_chain(store, "l6p3z2w4") if name in text and "not the name of a record" in text]


def test_case_e6_a_folder_in_the_place_of_the_next_record(store: FolderStore) -> None:
    append(store, document(1))
    (store.root / "records/l6p3z2w4/000002.json").mkdir()
    (store.root / "records/l6p3z2w4/000002.json/x").write_bytes(b"")
    append(store, document(2))
    assert len(load(store, "l6p3z2w4")) == 2


def test_case_e6_a_record_that_the_store_keeps_back_is_named(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(store, document(1))
    append(store, document(2))
    read = store.read

    def refuse(key: str) -> bytes:
        if key.endswith("1.json"):
            raise AwsCallError("s3 get_object failed: InvalidObjectState.")
        return read(key)

    monkeypatch.setattr(store, "read", refuse)
    assert [record.id for record in load(store, "l6p3z2w4")] == [document(2)["id"]]
    assert "it cannot be read: s3 get_object failed" in verify_chain(store, "l6p3z2w4")[0]
    append(store, document(3))
