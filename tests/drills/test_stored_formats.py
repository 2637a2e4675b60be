"""Records and journals that an earlier version wrote (tests/drills/data, real drills): read as they are, hashes unchanged."""

import hashlib
import json
from pathlib import Path

import pytest

from dr_assets.drills import journal, record
from dr_assets.drills.journal import Act, Baseline, Count, Fence, Journal, JournalDocument, Recovered
from dr_assets.errors import DrError
from dr_assets.history.store import FolderStore

STACK = "l6p3z2w4"
DATA = Path(__file__).parent / "data"
RECORDS = sorted((DATA / "records" / STACK).glob("*.json"))
JOURNALS = [*sorted((DATA / "drills" / STACK).glob("*.json")), DATA / "unfinished.json"]


@pytest.fixture
def store() -> FolderStore:
    return FolderStore(DATA)


def test_the_chain_of_stored_records_verifies(store: FolderStore) -> None:
    assert record.verify_chain(store, STACK) == []
    found = record.load(store, STACK)
    assert [item.status for item in found] == ["succeeded", "aborted", "succeeded", "succeeded"]
    assert [item.scenario for item in found] == ["switchover", "failback", "failback", "failover"]
    assert found[1].rto.met is None
    assert found[1].exposure is None
    assert any("interrupted and resumed" in text for text in found[2].deviations)
    assert {item.name for item in found[3].preconditions} >= {"lag", "someone-hears"}


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_a_stored_record_keeps_its_content_and_its_hash(path: Path, store: FolderStore) -> None:
    before = path.read_bytes()
    number = int(path.stem) - 1
    read = record.load(store, STACK)[number]
    # Text, not values: 2 and 2.0 are equal and have different hashes.
    assert json.dumps(read.to_json(), sort_keys=True) == json.dumps(json.loads(before), sort_keys=True)
    body = {name: value for name, value in json.loads(before).items() if name != "hash"}
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"))
    assert read.hash == hashlib.sha256(canonical.encode()).hexdigest()
    assert path.read_bytes() == before


def test_a_new_record_is_chained_to_stored_ones(store: FolderStore, tmp_path: Path) -> None:
    copy = FolderStore(tmp_path)
    for path in RECORDS:
        copy.write(f"records/{STACK}/{path.name}", path.read_bytes())
    newest = json.loads(RECORDS[-1].read_bytes())
    draft = {name: value for name, value in newest.items() if name not in ("hash", "previous_hash")} | {"id": "another"}
    assert record.append(copy, draft).previous_hash == newest["hash"]
    assert record.verify_chain(copy, STACK) == []


@pytest.mark.parametrize("path", JOURNALS, ids=lambda path: path.stem)
def test_a_stored_journal_is_the_same_bytes_again(path: Path) -> None:
    document = JournalDocument.from_bytes(path.read_bytes(), path.name)
    assert document.to_bytes() == path.read_bytes()
    assert document.plan.hash == document.plan_hash


def test_the_results_of_a_stored_journal_are_typed(store: FolderStore) -> None:
    name = next(path.stem for path in JOURNALS if "failover" in path.stem)
    read = Journal.load(store, STACK, name)
    baseline, counted, fence = read.result(Baseline), read.result(Count), read.result(Fence)
    assert baseline is not None
    assert len(baseline.from_address) == 3
    assert baseline.caller_arn is None
    assert counted is not None
    assert counted.acknowledged > 0
    assert fence is not None
    assert fence.verdict == "unreachable"
    assert "does not answer" in fence.detail
    assert journal.unfinished(store, STACK) == []


def test_a_stored_journal_that_was_interrupted_can_be_resumed(store: FolderStore, tmp_path: Path) -> None:
    copy = FolderStore(tmp_path)
    text = (DATA / "unfinished.json").read_bytes()
    name = json.loads(text)["id"]
    copy.write(f"drills/{STACK}/{name}.json", text)
    assert journal.unfinished(copy, STACK) == [name]
    read = Journal.load(copy, STACK, name)
    assert read.is_done("act")
    assert read.result(Act) == Act(found="not begun")
    assert not read.is_done("recovered")
    assert read.result(Recovered) is None
    assert not read.intend("follow")


def test_a_stored_journal_with_lone_surrogates_is_readable(store: FolderStore, tmp_path: Path) -> None:
    """Earlier versions stored bytes of a command line that are not UTF-8 as JSON escapes of lone surrogates."""
    content = json.loads((DATA / "unfinished.json").read_bytes())
    content["request"] |= {"operator": "caf\udce9", "why": "caf\udce9"}
    content["request"]["overrides"] = [{"precondition": "lag", "reason": "caf\udce9", "by": "caf\udce9"}]
    content["timeline"][0]["text"] = "caf\udce9"
    copy = FolderStore(tmp_path)
    copy.write(f"drills/{STACK}/{content['id']}.json", json.dumps(content).encode())
    assert rb"caf\udce9" in copy.read(f"drills/{STACK}/{content['id']}.json")
    read = Journal.load(copy, STACK, content["id"])
    assert read.document.request.operator == "caf\\udce9"
    assert read.document.request.overrides[0].reason == "caf\\udce9"
    assert read.plan.hash == content["plan_hash"]
    read.intend("follow")
    assert Journal.load(copy, STACK, content["id"]).document == read.document


def test_a_stored_plan_keeps_the_hash_of_a_whole_number_written_as_a_float() -> None:
    content = json.loads((DATA / "unfinished.json").read_bytes())
    content["plan"]["good_probes"] = 5.0
    body = dict(content["plan"])
    steps = [list(step) for step in JournalDocument.from_json(content, "journal").plan.describe()]
    assert steps[3][1] == "wait for 5.0 consecutive good writes through the global writer endpoint"
    canonical = json.dumps([body, steps], sort_keys=True, separators=(",", ":"))
    assert JournalDocument.from_json(content, "x").plan.hash == hashlib.sha256(canonical.encode()).hexdigest()


def test_a_stored_plan_that_is_not_finite_is_refused_by_name_and_still_listed(tmp_path: Path) -> None:
    text = (DATA / "unfinished.json").read_text()
    name = json.loads(text)["id"]
    store = FolderStore(tmp_path)
    content = json.loads(text)
    content["plan"]["lag_gate_ms"] = float("inf")
    store.write(f"drills/{STACK}/{name}.json", json.dumps(content).encode())
    with pytest.raises(DrError, match=r"is not a drill's journal\. .*Infinity is not a number"):
        Journal.load(store, STACK, name)
    problems: list[str] = []
    assert journal.unfinished(store, STACK, problems) == [name]
    assert len(problems) == 1
    assert "Infinity is not a number" in problems[0]


def test_no_unfinished_drill_disappears_and_what_is_no_journal_is_named(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    content = json.loads((DATA / "unfinished.json").read_bytes())
    ended = {"status": "succeeded", "at": "2026-11-26T18:03:25.000Z"}
    for name, text in {
        "a-damaged": json.dumps({"schema": "dr-assets/journal/1", "id": "a-damaged", "ended": None}),
        "b-good": json.dumps({**content, "id": "b-good"}),
        "b-good-proposal": json.dumps({"schema": "dr-assets/drill-proposal/1"}),
        "c-ended": json.dumps({**content, "id": "c-ended", "ended": ended}),
        "d-ended": json.dumps({"schema": "dr-assets/journal/1", "id": "d-ended", "ended": ended}),
        "e-half": "{ half",
        "f-later": json.dumps({"schema": "dr-assets/journal/2", "id": "f-later"}),
        "g-list": "[]",
    }.items():
        store.write(f"drills/{STACK}/{name}.json", text.encode())
    store.write(f"drills/{STACK}/b-good-ledger.jsonl", b"{}")
    problems: list[str] = []
    assert journal.unfinished(store, STACK, problems) == ["a-damaged", "b-good"]
    assert len(problems) == 5
    for name, problem in zip(("a-damaged", "d-ended", "e-half", "f-later", "g-list"), problems, strict=True):
        assert f"drills/{STACK}/{name}.json" in problem
    assert journal.unfinished(store, STACK) == ["a-damaged", "b-good"]


def test_numbers_stay_as_they_were_written_so_that_the_approved_plan_keeps_its_hash() -> None:
    content = json.loads((DATA / "unfinished.json").read_bytes())
    content["plan"]["rate"] = 100  # an integer, as a run configuration may give it
    document = JournalDocument.from_json(content, "journal")
    assert document.to_json()["plan"]["rate"] == 100
    assert not isinstance(document.to_json()["plan"]["rate"], float)
