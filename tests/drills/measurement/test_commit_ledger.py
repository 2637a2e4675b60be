"""The ledger's writer and its own record: every row has one fate, and none is used twice."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dr_assets.drills.measurement.client_probe import read_attempts
from dr_assets.drills.measurement.commit_ledger import CommitLedger, read_fates, survivors
from dr_assets.drills.measurement.rpo_rto import Attempt, rpo
from dr_assets.postgres.endpoints import ResolutionError
from tests.support.servers import Server

Servers = tuple[Server, Server]
Until = Callable[..., None]


class Endpoint:
    """A name that leads where the test says."""

    def __init__(self, server: Server) -> None:
        self.server: Server | None = server

    def address(self) -> Any:
        if self.server is None:
            raise ResolutionError("global.example.test has no address")
        return self.server.address

    def credentials(self) -> Any:
        assert self.server
        return self.server.credentials

    def writer(self, path: Path, rate: float = 100.0) -> CommitLedger:
        return CommitLedger("d1", path, self.address, self.credentials, rate)


def held(server: Server) -> list[tuple[int, int]]:
    return [
        (w, s) for w, s in server.sql("select writer, seq from dr_drill.dr_ledger where drill = 'd1' order by 1, 2")
    ]


def test_every_acknowledged_row_is_there_with_its_commit_time(servers: Servers, tmp_path: Path, until: Until) -> None:
    writer = Endpoint(servers[0]).writer(tmp_path / "j.jsonl")
    writer.start()
    until(lambda: writer.acknowledged >= 20)
    fates = writer.stop()
    assert held(servers[0]) == sorted(fates.acknowledged) == [(1, n) for n in range(1, len(fates.acknowledged) + 1)]
    assert not fates.unknown | fates.refused
    committed = servers[0].sql("select seq, extract(epoch from committed_at)::float8 from dr_drill.dr_ledger")
    assert all(abs(fates.acknowledged[1, seq] - at) < 1e-5 for seq, at in committed)


def test_the_rate_is_kept(servers: Servers, tmp_path: Path, until: Until) -> None:
    writer = Endpoint(servers[0]).writer(tmp_path / "j.jsonl", rate=20)
    writer.start()
    until(lambda: writer.acknowledged)
    first, begun = writer.acknowledged, time.monotonic()
    time.sleep(1.5)
    rate = (writer.acknowledged - first) / (time.monotonic() - begun)
    writer.stop()
    assert 5 < rate < 23


def test_an_outage_and_another_writer(servers: Servers, tmp_path: Path, until: Until) -> None:
    """The old server dies, the name moves to one that has nothing of it: all that was acknowledged before is lost."""
    endpoint = Endpoint(servers[0])
    writer = endpoint.writer(tmp_path / "j.jsonl")
    writer.start()
    until(lambda: writer.acknowledged >= 10)
    servers[0].kill()
    endpoint.server = None
    time.sleep(0.2)
    before = writer.acknowledged
    endpoint.server = servers[1]
    until(lambda: writer.acknowledged >= before + 10)
    fates = writer.stop()
    assert len(fates.acknowledged) == writer.acknowledged
    with servers[1].connect() as connection:
        found = survivors(connection, "d1")
    counted = rpo(fates.acknowledged, found)
    servers[0].start()
    acknowledged = set(fates.acknowledged)
    assert counted.lost_commits == len(acknowledged - set(held(servers[1])))
    assert acknowledged <= set(held(servers[0])) | set(held(servers[1]))
    assert not set(held(servers[0])) & set(held(servers[1]))  # no number twice
    assert set(held(servers[0])) - acknowledged <= fates.unknown


def test_a_frozen_server_makes_a_row_unknown_and_the_next_one_another_number(
    servers: Servers, tmp_path: Path, until: Until
) -> None:
    endpoint = Endpoint(servers[0])
    writer = endpoint.writer(tmp_path / "j.jsonl")
    writer.start()
    until(lambda: writer.acknowledged >= 5)
    servers[0].freeze()
    endpoint.server = servers[1]
    count = writer.acknowledged
    until(lambda: writer.acknowledged > count + 5, 8)
    servers[0].thaw()
    fates = writer.stop()
    assert len(fates.unknown) == 1
    assert not fates.unknown & set(fates.acknowledged)


def test_a_server_that_takes_no_writes_any_more_is_left(servers: Servers, tmp_path: Path, until: Until) -> None:
    endpoint = Endpoint(servers[0])
    writer = endpoint.writer(tmp_path / "j.jsonl")
    writer.start()
    until(lambda: writer.acknowledged >= 5)
    servers[0].read_only()
    until(lambda: writer.last_error and "read-only" in writer.last_error)
    count = writer.acknowledged
    endpoint.server = servers[1]
    until(lambda: writer.acknowledged > count + 5)
    fates = writer.stop()
    assert fates.refused
    assert not fates.refused & (set(held(servers[0])) | set(held(servers[1])))


def test_connections_that_are_ended_cost_no_acknowledged_row(servers: Servers, tmp_path: Path, until: Until) -> None:
    writer = Endpoint(servers[0]).writer(tmp_path / "j.jsonl", rate=400)
    writer.start()
    until(lambda: writer.acknowledged >= 5)
    for _ in range(10):
        servers[0].sql("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'dr-ledger'")
        time.sleep(0.05)
    fates = writer.stop()
    stored = set(held(servers[0]))
    assert set(fates.acknowledged) <= stored
    assert stored - set(fates.acknowledged) <= fates.unknown


KILLED = """
import sys
from pathlib import Path
from dr_assets.postgres.connection import Credentials
from dr_assets.drills.measurement.client_probe import read_attempts
from dr_assets.secret import Secret
from dr_assets.drills.measurement.commit_ledger import CommitLedger
from dr_assets.postgres.endpoints import Address
port, password, database, path = sys.argv[1:]
writer = CommitLedger("d1", Path(path), lambda: Address("global.example.test", "127.0.0.1", int(port)),
                      lambda: Credentials("dr_test", Secret(password), "h", int(port), database), 2000)
writer.start()
print("begun", flush=True)
sys.stdin.read()
"""


def test_a_writer_that_is_killed_and_its_successor(servers: Servers, tmp_path: Path, until: Until) -> None:
    path = tmp_path / "j.jsonl"
    server = servers[0]
    for _ in range(3):
        child = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(server.port), server.password, server.database, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).resolve().parents[2],
        )
        size = path.stat().st_size if path.exists() else 0
        until(lambda: path.exists() and path.stat().st_size > size + 3000, 20)  # noqa: B023
        os.kill(child.pid, signal.SIGKILL)
        child.communicate()
    fates = read_fates(path)
    writer = Endpoint(server).writer(path)
    writer.start()
    until(lambda: writer.acknowledged >= 5)
    after = writer.stop()
    assert after.writers == {1, 2, 3, 4}
    assert set(fates.acknowledged) <= set(after.acknowledged) <= set(held(server))


def test_a_writer_killed_before_its_first_answer_gives_its_number_to_nobody(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    first = CommitLedger("d1", path, lambda: (_ for _ in ()).throw(ResolutionError("none")), lambda: None, 10)  # type: ignore
    first.start()
    time.sleep(0.1)
    assert read_fates(path).next_writer == 2
    first.stop()


def test_a_ledger_file_that_cannot_be_written_stops_the_writing(servers: Servers, tmp_path: Path, until: Until) -> None:
    writer = Endpoint(servers[0]).writer(tmp_path / "j.jsonl")

    def full(file: Any, entry: dict[str, Any]) -> None:
        if entry["s"] == 3:
            raise OSError(28, "No space left on device")
        CommitLedger._append(writer, file, entry)

    writer._append = full  # type: ignore[method-assign]
    writer.start()
    until(lambda: writer.last_error)
    assert "No space left" in str(writer.last_error)
    time.sleep(0.1)
    assert max(held(servers[0])) == (1, 3)
    assert set(writer.stop().acknowledged) == {(1, 1), (1, 2)}


def test_a_server_without_the_table_holds_nothing(servers: Servers) -> None:
    with servers[0].connect() as connection:
        assert survivors(connection, "d1") == set()


LINES = [
    json.dumps({"w": 1, "s": 0, "fate": "begun"}),
    *(
        json.dumps({"w": 1, "s": n, "fate": "acknowledged", "at": f"2026-11-23T19:02:{n:02d}+00:00"})
        for n in range(1, 9)
    ),
    json.dumps({"w": 1, "s": 9, "fate": "unknown"}),
    json.dumps({"w": 2, "s": 1, "fate": "refused"}),
]


@given(st.integers(0, len("\n".join(LINES))))
def test_a_ledger_file_torn_anywhere_keeps_its_whole_lines(cut: int) -> None:
    import tempfile

    text = "\n".join(LINES)[:cut]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "j.jsonl"
        path.write_text(text)
        fates = read_fates(path)
    whole = [line for line in text.split("\n") if line in LINES]
    assert len(fates.acknowledged) == sum('"acknowledged"' in line for line in whole)
    assert len(fates.unknown) == sum('"unknown"' in line for line in whole)
    assert fates.next_writer == max((json.loads(line)["w"] for line in whole), default=0) + 1


def test_foreign_lines_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    path.write_bytes(b'[]\n7\nnull\n{"w": 1}\n{"w": 1, "s": 2, "fate": "next_writer"}\n\xff\xfe\n' + LINES[1].encode())
    assert set(read_fates(path).acknowledged) == {(1, 1)}
    assert read_fates(tmp_path / "none").next_writer == 1


def test_no_thread_is_left(servers: Servers, tmp_path: Path, until: Until) -> None:
    writer = Endpoint(servers[0]).writer(tmp_path / "j.jsonl")
    writer.start()
    until(lambda: writer.acknowledged)
    writer.stop()
    assert not [thread for thread in threading.enumerate() if thread.name == "ledger"]


def ledger_file(path: Path, rows: int, step: float, step_at: int, late: frozenset[int] = frozenset()) -> Path:
    """Rows 50 ms apart; the database's clock is set by `step` seconds from row `step_at` on; some answers are a second late."""
    lines = [{"w": 1, "s": 0, "fate": "begun", "clock": "boot/time:[1]"}]
    for number in range(1, rows + 1):
        at = 1795700000.0 + number * 0.05
        stamp = datetime.fromtimestamp(at + (step if number >= step_at else 0.0), timezone.utc)
        received = at + 0.002 + (1.0 if number in late else 0.0)
        lines.append({"w": 1, "s": number, "fate": "acknowledged", "at": stamp.isoformat(), "received": received})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.mark.parametrize("step", [-300.0, 300.0, -0.8])
def test_case_e8_lost_time_when_the_clock_of_the_database_is_set(step: float, tmp_path: Path) -> None:
    times, problem = read_fates(ledger_file(tmp_path / "j.jsonl", 40, step, 21)).commit_times()
    # 20 of 40 are lost, over one second
    assert rpo(times, [(1, number) for number in range(1, 21)]).lost_seconds == pytest.approx(1.0)
    assert f"stepped by {step:+.1f} s" in str(problem)


def test_a_late_answer_is_no_step_of_the_clock_of_the_database(tmp_path: Path) -> None:
    fates = read_fates(ledger_file(tmp_path / "j.jsonl", 40, 0.0, 41, late=frozenset({1, 17, 40})))
    assert fates.commit_times()[1] is None


def test_rows_that_no_one_clock_timed_have_the_times_of_the_database(tmp_path: Path) -> None:
    path = ledger_file(tmp_path / "j.jsonl", 10, 0.0, 41)
    older = path.read_text().replace('"clock"', '"x"').replace('"received"', '"y"')
    path.write_text(older)
    fates = read_fates(path)
    assert (fates.commit_times()[0], len(fates.acknowledged)) == (fates.acknowledged, 10)
    assert "the database's clock" in str(fates.commit_times()[1])


def test_case_e8_the_clients_clock_times_every_acknowledged_row(servers: Servers, tmp_path: Path, until: Until) -> None:
    writer = Endpoint(servers[0]).writer(tmp_path / "j.jsonl")
    writer.start()
    until(lambda: writer.acknowledged >= 20)
    fates = writer.stop()
    times, problem = fates.commit_times()
    assert problem is None
    assert times.keys() == fates.acknowledged.keys()
    assert all(0 < times[row] - at < 5 for row, at in fates.acknowledged.items())
    assert sorted(times.values()) == list(times.values())


def test_case_e6_lines_that_no_ledger_and_no_probe_writes_are_left_out(tmp_path: Path) -> None:
    good = {"w": 1, "s": 1, "fate": "acknowledged", "at": "2026-11-27T07:00:00.000Z", "received": 1.0}
    odd = [
        "null", "[]", "7", '"w"', "{}", "[" * 100_000, "9" * 5001, "\x00", '{"w": 1e400, "s": 1}',
        *(json.dumps({**good, "s": 2, **change}) for change in (
            {"w": None}, {"w": []}, {"w": float("nan")}, {"at": 7}, {"at": "0001-01-01T00:00:00+14:00"}, {"fate": []},
        )),
    ]  # fmt: skip
    (tmp_path / "ledger.jsonl").write_text("\n".join([json.dumps(good), *odd]))
    fates = read_fates(tmp_path / "ledger.jsonl")
    assert set(fates.acknowledged) == {(1, 1)} and fates.next_writer == 2
    attempt = {"begun": 1.0, "ended": 2.0, "good": True, "ip": None, "error": None}
    changed = [
        json.dumps({**attempt, **change})
        for change in ({"begun": "1"}, {"begun": None}, {"good": "yes"}, {"ended": float("inf")}, {"ip": 7})
    ]
    (tmp_path / "probe.jsonl").write_text("\n".join([*odd, *changed, json.dumps(attempt)]))
    assert read_attempts(tmp_path / "probe.jsonl") == [Attempt(1.0, 2.0, True)]
