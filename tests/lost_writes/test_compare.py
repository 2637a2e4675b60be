"""The comparison of two servers, row by row, and the proposal it leaves."""

import json
from pathlib import Path
from typing import Any

import pytest

from dr_assets.errors import DrError
from dr_assets.lost_writes import compare as module
from dr_assets.lost_writes.compare import Proposal, propose
from tests.support.servers import Server

Servers = tuple[Server, Server]


def both(servers: Servers, *statements: str) -> None:
    for server in servers:
        for statement in statements:
            server.sql(statement)


def compared(servers: Servers, path: Path, **more: Any) -> tuple[Proposal, list[dict[str, Any]]]:
    """The proposal, and the lines of its file between head and summary."""
    old, new = servers
    with old.connect() as theirs, new.connect() as ours:
        found = propose(theirs, ours, path, **more)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[0]["schema"] == "dr-assets/proposal/1"
    assert {name: lines[-1][name] for name in ("insert", "update", "delete")} == {
        name: value for name, value in found.as_json().items() if name != "file"
    }
    return found, lines[1:-1]


def test_inserts_updates_and_deletes_with_both_sides_of_each_row(servers: Servers, tmp_path: Path) -> None:
    both(servers, "create table t (id int primary key, v text)", "insert into t values (1, 'a'), (2, 'b'), (3, null)")
    old, new = servers
    old.sql("update t set v = 'lost' where id = 2")
    old.sql("insert into t values (4, 'only old')")
    new.sql("insert into t values (5, 'only new')")
    new.sql("update t set v = '' where id = 3")  # not the same as null
    found, lines = compared(servers, tmp_path / "p.jsonl")
    assert (found.insert, found.update, found.delete) == (1, 2, 1)
    assert lines == [
        {
            "action": "update",
            "table": "public.t",
            "key": {"id": "2"},
            "old": {"id": "2", "v": "lost"},
            "new": {"id": "2", "v": "b"},
        },
        {
            "action": "update",
            "table": "public.t",
            "key": {"id": "3"},
            "old": {"id": "3", "v": None},
            "new": {"id": "3", "v": ""},
        },
        {"action": "insert", "table": "public.t", "key": {"id": "4"}, "old": {"id": "4", "v": "only old"}, "new": None},
        {"action": "delete", "table": "public.t", "key": {"id": "5"}, "old": None, "new": {"id": "5", "v": "only new"}},
    ]
    assert (tmp_path / "p.jsonl").stat().st_mode & 0o777 == 0o600
    assert old.sql("select count(*) from t") == new.sql("select count(*) from t") == [(4,)]  # nothing was applied


def test_equal_servers_want_nothing_whatever_their_settings(servers: Servers, tmp_path: Path) -> None:
    both(
        servers,
        "create table t (at timestamptz primary key, b bytea, f float8, d date, i interval, n numeric, j jsonb, a int[])",
        "insert into t values ('2026-11-23 19:02:11.5+01', '\\xdeadbeef', 0.1::float8 + 0.2, '2026-01-02', '1 day 02:00', 1.50, '{\"b\": 1, \"a\": [2]}', '{1,null}')",
    )
    servers[1].sql(f"alter database {servers[1].database} set timezone = 'Asia/Tokyo'")
    servers[1].sql(f"alter database {servers[1].database} set datestyle = 'German'")
    servers[1].sql(f"alter database {servers[1].database} set bytea_output = 'escape'")
    servers[1].sql(f"alter database {servers[1].database} set extra_float_digits = -3")
    servers[1].sql(f"alter database {servers[1].database} set intervalstyle = 'iso_8601'")
    found, lines = compared(servers, tmp_path / "p.jsonl")
    assert lines == []
    assert [vars(table) for table in found.tables] == [{"table": "public.t", "insert": 0, "update": 0, "delete": 0}]


@pytest.mark.parametrize(
    ("types", "values"),
    [
        (
            "k text",
            ["''", "'a'", "'A'", "'b'", "'ä'", "'Z'", "'a b'", "'ab'", "'😀'", "'%s'", "E'\\n'", "'\"'", "'\\\\'"],
        ),
        ("k uuid", [f"'{n:08x}-0000-4000-8000-000000000000'" for n in (9, 2, 11)]),
        ("k numeric", ["1.0", "10", "9", "-2", "'NaN'"]),
        ("k bigint, l text", ["-5, 'x'", "10, 'b'", "9, 'a'", "10, 'a'"]),
        ("k date, l smallint", ["'2026-01-02', 3", "'2026-01-02', 20"]),
        ("k char(4), l varchar(5)", ["'a', 'b'", "'ab', ''"]),
    ],
)
def test_keys_of_every_kind_meet_their_like(servers: Servers, tmp_path: Path, types: str, values: list[str]) -> None:
    names = ", ".join(part.split()[0] for part in types.split(", "))
    both(servers, f"create table t ({types}, v int, primary key ({names}))")
    both(servers, *[f"insert into t values ({value}, 1)" for value in values[1:]])
    servers[0].sql(f"insert into t values ({values[0]}, 1)")
    found, lines = compared(servers, tmp_path / "p.jsonl")
    assert (found.insert, found.update, found.delete) == (1, 0, 0)
    assert lines[0]["old"]["v"] == "1"
    servers[0].sql("update t set v = 2")
    found, lines = compared(servers, tmp_path / "p.jsonl")
    assert (found.insert, found.update, found.delete) == (1, len(values) - 1, 0)
    assert all(line["old"]["v"] == "2" for line in lines)
    assert all(line["new"]["v"] == "1" for line in lines if line["action"] == "update")


def test_one_number_written_in_two_ways_is_one_key(servers: Servers, tmp_path: Path) -> None:
    both(servers, "create table t (k numeric primary key)")
    servers[0].sql("insert into t values (1.0)")
    servers[1].sql("insert into t values (1.00)")
    found, _ = compared(servers, tmp_path / "p.jsonl")
    assert (found.insert, found.update, found.delete) == (0, 1, 0)


def test_the_ledger_is_left_out_unless_asked_for(servers: Servers, tmp_path: Path) -> None:
    both(servers, "create schema dr_drill", "create table dr_drill.dr_ledger (id int primary key)")
    servers[0].sql("insert into dr_drill.dr_ledger values (1)")
    assert compared(servers, tmp_path / "p.jsonl")[0].insert == 0
    assert compared(servers, tmp_path / "p.jsonl", exclude_schemas=())[0].insert == 1


def test_strange_names_are_quoted(servers: Servers, tmp_path: Path) -> None:
    name = '"odd %s ""schema"""."ta; drop table x; --"'
    both(servers, 'create schema "odd %s ""schema"""', f'create table {name} ("%(k)s" int primary key, "select" text)')
    servers[0].sql(f"insert into {name} values (1, 'x')")
    found, lines = compared(servers, tmp_path / "p.jsonl")
    assert found.insert == 1
    assert lines[0]["old"] == {"%(k)s": "1", "select": "x"}


def test_what_cannot_be_compared_is_named_with_the_reason(servers: Servers, tmp_path: Path) -> None:
    both(
        servers,
        "create table fine (id int primary key)",
        "create table keyless (v int)",
        "create table shape (id int primary key)",
        "create table rekeyed (a int, b int not null)",
    )
    old, new = servers
    old.sql("create table gone (id int primary key)")
    new.sql("create table fresh (id int primary key)")
    new.sql("alter table shape add v int")
    old.sql("alter table rekeyed add primary key (a)")
    new.sql("alter table rekeyed add primary key (b)")
    old.sql("insert into fine values (1)")
    found, _ = compared(servers, tmp_path / "p.jsonl")
    assert found.insert == 1
    assert dict(found.not_compared) == {
        "public.keyless": "it has no primary key",
        "public.shape": "the columns differ: v",
        "public.rekeyed": "the primary keys differ: a at the old writer, b at the new",
        "public.gone": "only the old writer has it",
        "public.fresh": "only the new writer has it",
    }


def test_a_table_that_fails_is_named_and_leaves_no_half_of_its_rows(servers: Servers, tmp_path: Path) -> None:
    both(
        servers,
        "create table a (id int primary key)",
        "insert into a values (1)",
        "create table z (id int primary key)",
    )
    servers[0].sql("insert into a select generate_series(2, 1000)")
    servers[0].sql("insert into z values (7)")
    old, new = servers
    with old.connect() as theirs, new.connect() as ours:
        theirs.execute("create role reader_" + old.database + " login")
        theirs.execute("grant select on z to reader_" + old.database)
        try:
            theirs.execute("set role reader_" + old.database)
            found = propose(theirs, ours, tmp_path / "p.jsonl")
        finally:
            theirs.execute("reset role")
            theirs.execute("drop owned by reader_" + old.database)
            theirs.execute("drop role reader_" + old.database)
    assert [table.table for table in found.tables] == ["public.z"]
    assert "permission denied" in dict(found.not_compared)["public.a"]
    lines = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()][1:-1]
    assert [line["table"] for line in lines] == ["public.z"]


def test_hidden_rows_are_not_taken_for_lost_ones(servers: Servers, tmp_path: Path) -> None:
    both(servers, "create table t (id int primary key)", "insert into t values (1)")
    old, new = servers
    old.sql("alter table t enable row level security")
    role = "filtered_" + old.database
    old.sql(f"create role {role}")
    old.sql(f"grant select on t to {role}")
    try:
        with old.connect() as theirs, new.connect() as ours:
            theirs.execute(f"set role {role}")  # type: ignore[call-overload]
            found = propose(theirs, ours, tmp_path / "p.jsonl")
    finally:
        old.sql(f"drop owned by {role}")
        old.sql(f"drop role {role}")
    assert found.delete == 0
    assert "row-level security" in dict(found.not_compared)["public.t"]


def test_partitions_children_and_generated_columns(servers: Servers, tmp_path: Path) -> None:
    both(
        servers,
        "create table p (id int primary key, twice int generated always as (id * 2) stored) partition by range (id)",
        "create table p1 partition of p for values from (0) to (100)",
        "create table parent (id int primary key)",
        "create table child (primary key (id)) inherits (parent)",
    )
    servers[0].sql("insert into p values (1)")
    servers[0].sql("insert into child values (5)")
    found, lines = compared(servers, tmp_path / "p.jsonl")
    assert {table.table: table.insert for table in found.tables} == {
        "public.child": 1,
        "public.p": 1,
        "public.parent": 0,
    }
    assert {line["table"]: line["old"] for line in lines} == {"public.child": {"id": "5"}, "public.p": {"id": "1"}}


def test_many_rows_pass_in_small_pieces(servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FETCH_ROWS", 70)
    monkeypatch.setattr(module, "BATCH_ROWS", 11)
    both(
        servers,
        "create table t (id int primary key, v text)",
        "insert into t select g, 'v' || g from generate_series(1, 5000) g",
    )
    servers[0].sql("delete from t where id % 100 = 0")
    servers[0].sql("update t set v = 'changed' where id % 100 = 1")
    servers[0].sql("insert into t select g, 'late' from generate_series(5001, 5030) g")
    found, lines = compared(servers, tmp_path / "p.jsonl")
    assert (found.insert, found.update, found.delete) == (30, 50, 50)
    assert [int(line["key"]["id"]) for line in lines] == sorted(int(line["key"]["id"]) for line in lines)
    largest: list[int] = []
    real = module._contents
    monkeypatch.setattr(module, "_contents", lambda c, t, keys: largest.append(len(keys)) or real(c, t, keys))
    compared(servers, tmp_path / "p.jsonl")
    assert max(largest) <= 11


def test_an_independent_count_agrees(servers: Servers, tmp_path: Path) -> None:
    """Random rows on both sides against plain sets."""
    import random

    chance = random.Random(5)
    held: list[dict[int, int]] = []
    both(servers, "create table t (id int primary key, v int)")
    for server in servers:
        rows = {chance.randint(1, 400): chance.randint(1, 3) for _ in range(300)}
        held.append(rows)
        server.sql("insert into t values " + ", ".join(f"({key}, {value})" for key, value in rows.items()))
    old, new = held
    found, lines = compared(servers, tmp_path / "p.jsonl")
    assert found.insert == len(old.keys() - new.keys())
    assert found.delete == len(new.keys() - old.keys())
    assert found.update == sum(old[key] != new[key] for key in old.keys() & new.keys())
    # Applied to a copy of the new side, the proposal gives the old side.
    for line in lines:
        if line["action"] == "delete":
            del new[int(line["key"]["id"])]
        else:
            new[int(line["old"]["id"])] = int(line["old"]["v"])
    assert new == old


def test_one_server_twice_is_refused_and_leaves_no_file(servers: Servers, tmp_path: Path) -> None:
    with servers[0].connect() as one, servers[0].connect() as two, pytest.raises(DrError, match="same server"):
        propose(one, two, tmp_path / "p.jsonl")
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_dies_leaves_no_file_and_the_old_proposal(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both(servers, "create table t (id int primary key)")
    servers[0].sql("insert into t values (1)")
    path = tmp_path / "p.jsonl"
    path.write_text("before")
    real = module._contents

    def dies(connection: Any, table: Any, keys: Any) -> Any:
        servers[0].kill()
        return real(connection, table, keys)

    monkeypatch.setattr(module, "_contents", dies)
    with (
        servers[0].connect() as theirs,
        servers[1].connect() as ours,
        pytest.raises(DrError, match="No proposal was written"),
    ):
        propose(theirs, ours, path)
    assert [item.name for item in tmp_path.iterdir()] == ["p.jsonl"]
    assert path.read_text() == "before"


def test_the_connections_are_left_as_they_were(servers: Servers, tmp_path: Path) -> None:
    both(servers, "create table t (id int primary key)")
    with servers[0].connect() as theirs, servers[1].connect() as ours:
        ours.execute("set timezone = 'Asia/Tokyo'")
        propose(theirs, ours, tmp_path / "p.jsonl", exclude_schemas=["public"])
        ours.execute("insert into t values (1)")
        assert ours.execute("show timezone").fetchone() == ("Asia/Tokyo",)
