"""Compares the old writer's preserved rows with the new writer's, and writes a proposal for lost writes. It never applies one.

The proposal is JSON lines, not SQL: each line shows both sides of one row, because a row that only the new writer has may be
one that the old writer deleted in its last moments, or one that was written since. Two states cannot tell these apart, and a
script that looks ready to run would delete what customers entered after the failover.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Literal

import psycopg
from psycopg import sql

from dr_assets import files, utc
from dr_assets.documents import Document, UtcTime
from dr_assets.errors import DrError

OWN = "dr_drill"  # the ledger's schema: its loss is counted, not restored
FETCH_ROWS = 2000  # rows of (key, hash) on this side at a time, for each of the two
BATCH_ROWS = 200  # differing rows whose contents are fetched at once

Action = Literal["insert", "update", "delete"]
Connection = psycopg.Connection[Any]
Key = tuple[Any, ...]  # the key's columns: int, or text

# The same text on both sides whatever the databases' own settings say. Row security off: an error, never rows left out.
_SETTINGS = (
    "set local timezone = 'UTC'",
    "set local datestyle = 'ISO'",
    "set local intervalstyle = 'postgres'",
    "set local bytea_output = 'hex'",
    "set local extra_float_digits = 1",
    "set local search_path = pg_catalog",
    "set local row_security = off",
    "set local client_encoding = 'UTF8'",
    "set local statement_timeout = 0",
)
# Tables (partitions through their parent) with their columns in order, and the key's columns in the key's order.
_TABLES = """
select n.nspname, c.relname, c.relkind = 'p',
       array(select a.attname::text from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
             and a.attgenerated = '' order by a.attname),
       array(select format_type(a.atttypid, a.atttypmod) from pg_attribute a where a.attrelid = c.oid and a.attnum > 0
             and not a.attisdropped and a.attgenerated = '' order by a.attname),
       array(select a.attname::text from pg_index i cross join lateral unnest(i.indkey) with ordinality as k(attnum, n)
             join pg_attribute a on a.attrelid = c.oid and a.attnum = k.attnum
             where i.indrelid = c.oid and i.indisprimary order by k.n)
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and not c.relispartition and c.relpersistence = 'p'
  and n.nspname <> 'information_schema' and n.nspname !~ '^pg_' and n.nspname <> all (%s)
order by 1, 2
"""


class ProposalHeader(Document):
    """The first line of a proposal. `reads`: how to read the lines after it."""

    SCHEMA: ClassVar[str] = "dr-assets/proposal/1"
    made_at: UtcTime
    reads: str


@dataclass(frozen=True)
class Difference:
    """How many rows of one table ("schema.name") would have to be inserted, updated, deleted for the old writer's state."""

    table: str
    insert: int
    update: int
    delete: int


@dataclass(frozen=True)
class Proposal:
    """What the comparison found. `not_compared` names each table that was left out, with the reason."""

    file: Path
    tables: tuple[Difference, ...]
    not_compared: tuple[tuple[str, str], ...]

    @property
    def insert(self) -> int:
        return sum(table.insert for table in self.tables)

    @property
    def update(self) -> int:
        return sum(table.update for table in self.tables)

    @property
    def delete(self) -> int:
        return sum(table.delete for table in self.tables)

    def as_json(self) -> dict[str, Any]:
        """As the record of a drill holds it."""
        return {"file": str(self.file), "insert": self.insert, "update": self.update, "delete": self.delete}


@dataclass(frozen=True)
class _Table:
    schema: str
    name: str
    partitioned: bool
    types: dict[str, str]  # column -> type; generated columns follow from the others and are left out
    key: tuple[str, ...]

    @property
    def label(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def source(self) -> sql.Composable:
        # Rows of inheriting tables belong to those; rows of partitions to their parent.
        return sql.SQL("{}{} as t").format(
            sql.SQL("" if self.partitioned else "only "), sql.Identifier(self.schema, self.name)
        )

    def key_texts(self) -> list[sql.Composable]:
        return [self._key_text(column) for column in self.key]

    def _key_text(self, column: str) -> sql.Composable:
        if self.types[column] in ("smallint", "integer", "bigint"):
            return sql.SQL("t.{}").format(sql.Identifier(column))
        # 1.0 and 1.00 are one key.
        pattern = "trim_scale(t.{})::text" if self.types[column].startswith("numeric") else "t.{}::text"
        return sql.SQL(pattern).format(sql.Identifier(column))

    def order(self) -> sql.Composable:
        """An order this side can repeat: numbers as numbers (by the index), the rest by bytes, whatever the collation."""
        terms = []
        for column, text in zip(self.key, self.key_texts(), strict=True):
            whole = self.types[column] in ("smallint", "integer", "bigint")
            terms.append(text if whole else sql.SQL("convert_to({}, 'UTF8')").format(text))
        return sql.SQL(", ").join(terms)


def propose(old: Connection, new: Connection, file: Path, exclude_schemas: Sequence[str] = (OWN,)) -> Proposal:
    """Compare every table that has a primary key, and write the proposal to `file` (mode 0600: it contains the rows).

    The drill's own schema is left out, unless `exclude_schemas` says otherwise. Both connections must be idle; each is read
    in one read-only snapshot, so the new writer can go on working (its vacuum waits meanwhile). Only keys and SHA-256 hashes
    of the rows travel, by server-side cursors; contents are fetched for rows that differ. Memory here is bounded by the batch
    sizes and the largest rows. Sequences and large objects are not compared; keys that are equal only by their collation or
    type (citext, say) count as different.

    The file appears at once and whole, or not at all. Raises DrError when a server fails, or both are the same one.
    """
    try:
        with _snapshot(old), _snapshot(new):
            if _identity(old) == _identity(new):
                raise DrError(
                    "Both connections lead to the same server: nothing can be compared. "
                    "Give the old writer by its address (DR_RESOLVE), not by a name that moved."
                )
            before, after = _tables(old, exclude_schemas), _tables(new, exclude_schemas)
            with files.writing(file, mode=0o600) as out:
                header = ProposalHeader(
                    made_at=utc.now(),
                    reads="old: the old writer, preserved; new: the writer now; action: what would restore old",
                )
                _line(out, header.to_json())
                tables, skipped = [], []
                for label in sorted({*before, *after}):
                    reason = _incomparable(before.get(label), after.get(label))
                    if reason is None:
                        mark = out.tell()
                        try:
                            with old.transaction(), new.transaction():
                                tables.append(_compare(old, new, before[label], out))
                            continue
                        except (psycopg.Error, _OrderError) as error:
                            if old.broken or new.broken:
                                raise
                            out.seek(mark)
                            out.truncate()
                            reason = str(error).strip()
                    skipped.append((label, reason))
                found = Proposal(file, tuple(tables), tuple(skipped))
                _line(
                    out,
                    {
                        "tables": [vars(table) for table in found.tables],
                        "not_compared": dict(found.not_compared),
                        "insert": found.insert,
                        "update": found.update,
                        "delete": found.delete,
                    },
                )
    except psycopg.Error as error:
        raise DrError(
            f"The comparison of old and new writer ended early: {str(error).strip()}. No proposal was written; try again."
        ) from error
    return found


class _OrderError(Exception):
    """A server does not answer in the order that was asked for."""


@contextmanager
def _snapshot(connection: Connection) -> Iterator[None]:
    """One read-only, repeatable-read transaction. The connection's own settings are put back."""
    before = (connection.isolation_level, connection.read_only)
    connection.isolation_level, connection.read_only = psycopg.IsolationLevel.REPEATABLE_READ, True
    try:
        with connection.transaction():
            for setting in _SETTINGS:
                connection.execute(setting)
            yield
    finally:
        with suppress(psycopg.Error):
            connection.isolation_level, connection.read_only = before


def _identity(connection: Connection) -> Any:
    return connection.execute("select inet_server_addr(), inet_server_port(), pg_postmaster_start_time()").fetchone()


def _tables(connection: Connection, exclude: Sequence[str]) -> dict[str, _Table]:
    found = (
        _Table(schema, name, partitioned, dict(zip(columns, types, strict=True)), tuple(key))
        for schema, name, partitioned, columns, types, key in connection.execute(_TABLES, (list(exclude),))
    )
    return {table.label: table for table in found}


def _incomparable(old: _Table | None, new: _Table | None) -> str | None:
    if old is None or new is None:
        return f"only the {'new' if old is None else 'old'} writer has it"
    if not old.key or not new.key:
        return "it has no primary key"
    if old.key != new.key:
        return f"the primary keys differ: {', '.join(old.key)} at the old writer, {', '.join(new.key)} at the new"
    if old.types != new.types:
        differing = sorted({name for name, _ in set(old.types.items()) ^ set(new.types.items())})
        return f"the columns differ: {', '.join(differing)}"
    return None


def _compare(old: Connection, new: Connection, table: _Table, out: BinaryIO) -> Difference:
    counts: dict[Action, int] = {"insert": 0, "update": 0, "delete": 0}
    batch: list[tuple[Action, Key]] = []
    with ExitStack() as ending:
        sides = [ending.enter_context(_rows(connection, table)) for connection in (old, new)]
        for action, key in _merge(*sides):
            counts[action] += 1
            batch.append((action, key))
            if len(batch) == BATCH_ROWS:
                _write(old, new, table, batch, out)
                batch.clear()
    _write(old, new, table, batch, out)
    return Difference(table.label, counts["insert"], counts["update"], counts["delete"])


@contextmanager
def _rows(connection: Connection, table: _Table) -> Iterator[Iterator[tuple[Key, bytes]]]:
    """(key, hash of the row) in the order of the keys, through a server-side cursor."""
    columns = sql.SQL(", ").join(sql.SQL("t.{}::text").format(sql.Identifier(name)) for name in table.types)
    query = sql.SQL(
        "select {keys}, sha256(convert_to(row({columns})::text, 'UTF8')) from {source} order by {order}"
    ).format(keys=sql.SQL(", ").join(table.key_texts()), columns=columns, source=table.source, order=table.order())
    with connection.cursor("dr_reconcile") as cursor:
        cursor.itersize = FETCH_ROWS
        cursor.execute(query)
        yield ((row[:-1], bytes(row[-1])) for row in cursor)


def _order(key: Key) -> tuple[Any, ...]:
    return tuple(part.encode() if isinstance(part, str) else part for part in key)


def _merge(old: Iterator[tuple[Key, bytes]], new: Iterator[tuple[Key, bytes]]) -> Iterator[tuple[Action, Key]]:
    """What would lead from `new` to `old`; both in strictly ascending order of their keys."""
    old, new = _ascending(old), _ascending(new)
    theirs, ours = next(old, None), next(new, None)
    while theirs is not None or ours is not None:
        if ours is None or (theirs is not None and _order(theirs[0]) < _order(ours[0])):
            assert theirs is not None
            yield "insert", theirs[0]
            theirs = next(old, None)
        elif theirs is None or _order(ours[0]) < _order(theirs[0]):
            yield "delete", ours[0]
            ours = next(new, None)
        else:
            if theirs[1] != ours[1]:
                yield "update", theirs[0]
            theirs, ours = next(old, None), next(new, None)


def _ascending(rows: Iterable[tuple[Key, bytes]]) -> Iterator[tuple[Key, bytes]]:
    before: tuple[Any, ...] | None = None
    for row in rows:
        now = _order(row[0])
        if before is not None and not before < now:
            raise _OrderError("its rows do not come in the order of their keys")
        before = now
        yield row


def _write(old: Connection, new: Connection, table: _Table, batch: Sequence[tuple[Action, Key]], out: BinaryIO) -> None:
    """One line for each differing row, with what each side has of it."""
    if not batch:
        return
    theirs = _contents(old, table, [key for action, key in batch if action != "delete"])
    ours = _contents(new, table, [key for action, key in batch if action != "insert"])
    for action, key in batch:
        _line(
            out,
            {
                "action": action,
                "table": table.label,
                "key": dict(zip(table.key, map(str, key), strict=True)),
                "old": theirs.get(key),
                "new": ours.get(key),
            },
        )


def _contents(connection: Connection, table: _Table, keys: Sequence[Key]) -> dict[Key, dict[str, str | None]]:
    """The rows with these keys: column -> PostgreSQL's own text of the value."""
    if not keys:
        return {}
    names = [f"k{number}" for number in range(len(table.key))]
    same = sql.SQL(" and ").join(
        sql.SQL("t.{} = k.{}::{}").format(sql.Identifier(column), sql.Identifier(name), sql.SQL(table.types[column]))
        for column, name in zip(table.key, names, strict=True)
    )
    query = sql.SQL("select {keys}, {columns} from {source} join unnest({given}) as k({names}) on {same}").format(
        keys=sql.SQL(", ").join(table.key_texts()),
        columns=sql.SQL(", ").join(sql.SQL("t.{}::text").format(sql.Identifier(name)) for name in table.types),
        source=table.source,
        given=sql.SQL(", ").join(
            sql.SQL("{}::text[]").format([str(key[number]) for key in keys]) for number in range(len(names))
        ),
        names=sql.SQL(", ").join(map(sql.Identifier, names)),
        same=same,
    )
    rows = connection.execute(query)  # no parameters: a "%" in a name stays one
    return {row[: len(names)]: dict(zip(table.types, row[len(names) :], strict=True)) for row in rows}


def _line(out: BinaryIO, entry: dict[str, Any]) -> None:
    out.write((json.dumps(entry, ensure_ascii=False) + "\n").encode())
