"""One drill at a time, and a crash that leaves nothing stuck: the lock; and the journal a drill is resumed from."""

import json
import os
import signal
import threading
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from dr_assets.drills.journal import Act, Journal, unfinished
from dr_assets.drills.lock import LEASE_SECONDS, DrillLock, LockLostError
from dr_assets.drills.plan import Plan
from dr_assets.drills.request import Request
from dr_assets.errors import AwsCallError, DrError, RefusedError
from dr_assets.history.store import FolderStore
from tests.support.approvals import LEE


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path)


def test_of_many_takers_at_once_one_gets_it(store: FolderStore) -> None:
    got, refused = [], []
    ready = threading.Barrier(8)

    def take(name: str) -> None:
        lock = DrillLock(store, "s", name)
        ready.wait()
        try:
            got.append(lock.take())
        except RefusedError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=take, args=(f"drill-{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1
    assert len(refused) == 7
    got[0].release()


def test_a_released_lock_can_be_taken_again_and_the_refusal_names_the_holder(store: FolderStore) -> None:
    with DrillLock(store, "s", "first"):
        with pytest.raises(RefusedError, match=rf"first \(process {os.getpid()}"):
            DrillLock(store, "s", "second").take()
        with DrillLock(store, "another", "third"):
            pass
    with DrillLock(store, "s", "second"):
        pass


def test_a_holder_killed_on_this_machine_does_not_keep_it(store: FolderStore) -> None:
    child = os.fork()
    if child == 0:
        DrillLock(store, "s", "dead").take()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    with DrillLock(store, "s", "next") as lock:
        lock.check()


def test_a_holder_on_another_machine_loses_it_when_its_time_is_over(store: FolderStore) -> None:
    begun = datetime.now(timezone.utc)
    old = DrillLock(store, "s", "far")
    old.take()
    old._ending.set()  # it renews no more, as if its machine were gone
    document = json.loads(store.read("leases/s/00000001.json")) | {"host": "elsewhere"}
    store.write("leases/s/00000001.json", json.dumps(document).encode())
    with pytest.raises(RefusedError, match="on elsewhere"):
        DrillLock(store, "s", "next").take()
    later = begun + timedelta(seconds=LEASE_SECONDS + 10)
    new = DrillLock(store, "s", "next", clock=lambda: later).take()
    with pytest.raises(LockLostError, match="next holds it"):
        old.check()
    old.release()  # does not give away what is another's
    new.check()
    new.release()


def test_a_foreign_lease_file_is_named(store: FolderStore) -> None:
    store.write("leases/s/00000001.json", b"{ half")
    with pytest.raises(DrError, match=r"leases/s/00000001\.json .* is not a lease"):
        DrillLock(store, "s", "x").take()


def begin(store: FolderStore) -> Journal:
    plan = Plan(
        scenario="switchover", stack="s", from_site="primary", to_site="secondary", from_region="r1", to_region="r2"
    )
    return Journal.begin(store, "d1", plan, Request("switchover", "kim", "a test", approval=LEE).approved(()))


def test_intent_is_on_disk_before_the_act_and_repetition_is_known(store: FolderStore) -> None:
    journal = begin(store)
    assert not journal.intend("act")
    assert not Journal.load(store, "s", "d1").is_done("act")
    again = Journal.load(store, "s", "d1")
    assert again.intend("act")
    again.done(Act(found="under way"))
    assert Journal.load(store, "s", "d1").result(Act) == Act(found="under way")
    assert unfinished(store, "s") == ["d1"]
    again.end("succeeded")
    assert unfinished(store, "s") == []


def test_a_mark_stays_where_it_was_first_set(store: FolderStore) -> None:
    journal = begin(store)
    journal.note("first", "probe", "T1")
    journal.note("second", "probe", "T1")
    assert [entry.mark for entry in journal.document.timeline] == ["T1", None]


def test_unknown_and_spoilt_journals_are_named(store: FolderStore) -> None:
    with pytest.raises(DrError, match="There is no drill nope"):
        Journal.load(store, "s", "nope")
    store.write("drills/s/bad.json", b"{")
    with pytest.raises(DrError, match=r"drills/s/bad\.json .* not a drill's journal"):
        Journal.load(store, "s", "bad")
    store.write("drills/s/old.json", b'{"schema": "dr-assets/journal/0"}')
    with pytest.raises(DrError, match="journal/0"):
        Journal.load(store, "s", "old")


@pytest.mark.parametrize(
    "name", ["zzz", "README.md", "9.json", "00000002.json.bak", "²²²²²²²².json", "00000002/x.json"]
)
def test_case_e6_a_foreign_name_among_the_leases_is_named_and_ends_no_drill(
    store: FolderStore, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with DrillLock(store, "s", "d1") as lock:
        store.write(f"leases/s/{name}", b"hello")
        lock.check()
        lock.check()
        assert lock.holder() == "d1"
        with pytest.raises(RefusedError, match="d1"):
            DrillLock(store, "s", "d2").take()
    named = [record.getMessage() for record in caplog.records if name in record.getMessage()]
    assert named and "is not the name of a lease" in named[0]
    with DrillLock(store, "s", "d2") as lock:
        lock.check()


JUNK = [b"", b"{", b"null", b"7", b"[]", b"{}", b"\xff\xfe", b"[" * 100_000, b'{"a": 1}', b"9" * 5000, b"<html></html>"]


@pytest.mark.parametrize("junk", JUNK)
def test_case_e6_what_is_no_lease_does_not_end_a_drill_that_has_acted(store: FolderStore, junk: bytes) -> None:
    """Leases are created whole: bytes that name no drill were written by none. The next drill waits for a person all the same."""
    with DrillLock(store, "s", "d1") as lock:
        store.write("leases/s/00000007.json", junk)
        lock.check()
        store.write("leases/s/00000001.json", junk)  # its own lease, which the next renewal writes again
        lock.check()
        assert lock.holder() is None  # of which nothing is proven
    with pytest.raises(DrError, match=r"leases/s/00000007\.json .* is not a lease"):
        DrillLock(store, "s", "d2").take()


@pytest.mark.parametrize(
    "changes",
    [
        {"drill": "d2"},
        {"drill": "d2", "pid": 10**12},
        {"drill": "d2", "until": "0001-01-01T00:00:00+14:00"},
        {"drill": "d2", "fence": 3},
    ],
    ids=["lease", "pid", "time", "a later version's"],
)
@pytest.mark.parametrize("number", [1, 2])
def test_case_e6_a_lease_of_another_drill_ends_this_one_whatever_else_is_odd_in_it(
    store: FolderStore, changes: dict[str, object], number: int
) -> None:
    lock = DrillLock(store, "s", "d1").take()
    lock._ending.set()
    document = json.loads(store.read("leases/s/00000001.json")) | changes
    store.write(f"leases/s/{number:08d}.json", json.dumps(document).encode())
    with pytest.raises(LockLostError, match="d2 holds it"):
        lock.check()
    lock.release()


def test_case_e6_a_lease_that_the_store_keeps_back_may_be_another_drill_s(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = DrillLock(store, "s", "d1").take()
    lock._ending.set()
    store.write("leases/s/00000002.json", b"{}")
    read = store.read

    def refuse(key: str) -> bytes:
        if key.endswith("2.json"):
            raise AwsCallError("s3 get_object failed: InvalidObjectState.")
        return read(key)

    monkeypatch.setattr(store, "read", refuse)
    with pytest.raises(LockLostError, match=r"leases/s/00000002\.json: s3 get_object failed"):
        lock.check()
    lock.release()


@pytest.mark.parametrize("pid", [0, -1, 2**31, 10**12, 10**400, 1.5, "1", True])
def test_case_e6_a_lease_of_a_process_that_cannot_be_is_no_lease(store: FolderStore, pid: object) -> None:
    with DrillLock(store, "s", "d1"):
        document = json.loads(store.read("leases/s/00000001.json")) | {"pid": pid}
    store.write("leases/s/00000001.json", json.dumps(document).encode())
    assert DrillLock(store, "s", "").holder() is None
    with pytest.raises(DrError, match="is not a lease"):
        DrillLock(store, "s", "d2").take()


def test_case_e6_a_lease_until_2099_of_a_host_that_is_gone_does_not_lock_for_ever(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its clock was ahead, or it was written by hand: it counts for as long as it is renewed."""
    monkeypatch.setattr("dr_assets.drills.lock.LEASE_SECONDS", 0.6)
    with DrillLock(store, "s", "far"):
        document = json.loads(store.read("leases/s/00000001.json"))
    lease = json.dumps(document | {"host": "gone", "until": "2099-01-01T00:00:00.000Z", "released": False})
    store.write("leases/s/00000001.json", lease.encode())
    assert DrillLock(store, "s", "").holder() is None  # nothing proves that the drill runs
    ending = threading.Event()

    def renew() -> None:
        for n in range(1000):
            store.write("leases/s/00000001.json", (lease + " " * n).encode())
            if ending.wait(0.1):
                return

    thread = threading.Thread(target=renew)
    thread.start()
    with pytest.raises(RefusedError, match=r"far .* on gone"):
        DrillLock(store, "s", "d2").take()
    ending.set()
    thread.join()
    with DrillLock(store, "s", "d2") as lock:
        lock.check()


def test_case_e6_a_journal_in_the_place_of_another_s_is_not_resumed(store: FolderStore) -> None:
    begin(store)
    data = store.read("drills/s/d1.json")
    store.write("drills/s/d2.json", data)
    store.write("drills/t/d1.json", data)
    store.write("drills/s/folder/d3.json", data)
    for stack, drill in (("s", "d2"), ("t", "d1")):
        with pytest.raises(DrError, match="is not this drill's journal: it is of the drill 'd1' of the stack 's'"):
            Journal.load(store, stack, drill)
    assert unfinished(store, "s", problems := []) == ["d1", "d2"]
    assert [text for text in problems if "drills/s/d2.json" in text] and [text for text in problems if "d3" in text]


def test_case_e6_an_unreadable_journal_may_be_an_open_one(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(store)

    def refuse(key: str) -> bytes:
        raise AwsCallError("s3 get_object failed: InvalidObjectState.")

    monkeypatch.setattr(store, "read", refuse)
    assert unfinished(store, "s", problems := []) == ["d1"]
    assert "InvalidObjectState" in problems[0]
