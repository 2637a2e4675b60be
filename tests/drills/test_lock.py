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
from dr_assets.errors import DrError, RefusedError
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
