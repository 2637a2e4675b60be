"""One drill at a time, and a crash that leaves nothing stuck: the lease; and the journal a drill is resumed from."""

import json
import os
import signal
import threading
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from dr_assets.drills.journal import Journal, unfinished
from dr_assets.drills.lock import LEASE_SECONDS, Lease, LostLeaseError
from dr_assets.errors import DrError, RefusedError
from dr_assets.history.store import FolderStore


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path)


def test_of_many_who_want_it_at_once_one_gets_it(store: FolderStore) -> None:
    got, refused = [], []
    ready = threading.Barrier(8)

    def want(name: str) -> None:
        lease = Lease(store, "s", name)
        ready.wait()
        try:
            got.append(lease.take())
        except RefusedError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=want, args=(f"drill-{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1
    assert len(refused) == 7
    got[0].release()


def test_a_released_lease_can_be_taken_again_and_the_refusal_names_the_holder(store: FolderStore) -> None:
    with Lease(store, "s", "first"):
        with pytest.raises(RefusedError, match=rf"first \(process {os.getpid()}"):
            Lease(store, "s", "second").take()
        with Lease(store, "another", "third"):
            pass
    with Lease(store, "s", "second"):
        pass


def test_a_holder_killed_on_this_machine_does_not_keep_it(store: FolderStore) -> None:
    child = os.fork()
    if child == 0:
        Lease(store, "s", "dead").take()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    with Lease(store, "s", "next") as lease:
        lease.check()


def test_a_holder_on_another_machine_loses_it_when_its_time_is_over(store: FolderStore) -> None:
    begun = datetime.now(timezone.utc)
    old = Lease(store, "s", "far")
    old.take()
    old._end.set()  # it renews no more, as if its machine were gone
    document = json.loads(store.read("leases/s/00000001.json")) | {"host": "elsewhere"}
    store.write("leases/s/00000001.json", json.dumps(document).encode())
    with pytest.raises(RefusedError, match="on elsewhere"):
        Lease(store, "s", "next").take()
    later = begun + timedelta(seconds=LEASE_SECONDS + 10)
    new = Lease(store, "s", "next", clock=lambda: later).take()
    with pytest.raises(LostLeaseError, match="next holds it"):
        old.check()
    old.release()  # does not give away what is another's
    new.check()
    new.release()


def test_a_foreign_lease_file_is_named(store: FolderStore) -> None:
    store.write("leases/s/00000001.json", b"{ half")
    with pytest.raises(DrError, match=r"leases/s/00000001\.json .* is not a lease"):
        Lease(store, "s", "x").take()


def test_intent_is_on_disk_before_the_act_and_repetition_is_known(store: FolderStore) -> None:
    journal = Journal.begin(store, "s", "d1", {"scenario": "switchover"})
    assert not journal.intend("act")
    assert not Journal.load(store, "s", "d1").is_done("act")
    again = Journal.load(store, "s", "d1")
    assert again.intend("act")
    again.done("act", answer=42)
    assert Journal.load(store, "s", "d1").result("act") == {"answer": 42}
    assert unfinished(store, "s") == ["d1"]
    again.end("succeeded")
    assert unfinished(store, "s") == []


def test_a_mark_stays_where_it_was_first_set(store: FolderStore) -> None:
    journal = Journal.begin(store, "s", "d1", {})
    journal.note("first", "probe", "T1")
    journal.note("second", "probe", "T1")
    assert [entry["mark"] for entry in journal.data["timeline"]] == ["T1", None]


def test_unknown_and_spoilt_journals_are_named(store: FolderStore) -> None:
    with pytest.raises(DrError, match="There is no drill nope"):
        Journal.load(store, "s", "nope")
    store.write("drills/s/bad.json", b"{")
    with pytest.raises(DrError, match=r"drills/s/bad\.json .* not a drill's journal"):
        Journal.load(store, "s", "bad")
    store.write("drills/s/old.json", b'{"schema": "dr-assets/journal/0"}')
    with pytest.raises(DrError, match="journal/0"):
        Journal.load(store, "s", "old")
