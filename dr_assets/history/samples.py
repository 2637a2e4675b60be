"""Samples in Parquet: one file per stack, metric family and day (UTC), the same bytes for the same samples.

A damaged or foreign file is named, quarantined under `quarantine/` and read as a day without samples: unknown time, never an
error and never an invented value. It is named in every report until the day is written again. Files bear checksums of their pages and a
digest of their samples, so that every changed bit is found; those of earlier versions have neither.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dr_assets import escape, utc
from dr_assets.errors import DrError, UnansweredError
from dr_assets.history.quarantine import quarantined
from dr_assets.history.sample_checks import ForeignError, checked, digest
from dr_assets.history.store import Store, quarantine

VERSION = 1
VERSION_KEY, DIGEST_KEY = b"dr_assets.samples", b"dr_assets.sha256"
# What no day of samples comes near: rows, and bytes before compression.
MAX_ROWS, MAX_BYTES = 10_000_000, 256 << 20
SCHEMA = pa.schema(
    [
        pa.field("at", pa.timestamp("ms", "UTC"), nullable=False),
        pa.field("site", pa.string(), nullable=False),
        pa.field("metric", pa.string(), nullable=False),
        pa.field("value", pa.float64()),  # null: the source had no value, or the value is known to be unknown
        pa.field("unit", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
    ],
    metadata={VERSION_KEY: str(VERSION).encode()},
)
COLUMNS: tuple[str, ...] = tuple(SCHEMA.names)
_TEXTS = ("site", "metric", "unit", "source")
_KEY = ("at", "site", "metric", "source")
_IS_TYPE: Mapping[str, Callable[[Any], bool]] = {
    "at": lambda kind: pa.types.is_timestamp(kind) and kind.tz is not None,
    "value": pa.types.is_floating,
    **dict.fromkeys(_TEXTS, lambda kind: pa.types.is_string(kind) or pa.types.is_dictionary(kind)),
}
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_FILE = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})\.parquet")
_DAY = dt.timedelta(days=1)
_MAX_ATTEMPTS = 20
_THREADS = 4  # of little use for local files, of much for S3

_UNTIL = "its day is unknown until it is written again"

# From an older version to the next one: version -> a function from its table to one of version + 1.
UPGRADES: dict[int, Callable[[Any], Any]] = {}


class NewerSamplesError(DrError):
    """A file was written by a later version of this product. It is intact, so it is not quarantined."""


def key_of(stack: str, family: str, day: dt.date) -> str:
    """`samples/{stack}/{family}/{YYYY-MM-DD}.parquet`. Raises DrError for a name that cannot be part of a key."""
    return f"{_folder(stack, family)}{day.isoformat()}.parquet"


def _folder(stack: str, family: str) -> str:
    for name in (stack, family):
        if not _NAME.fullmatch(name):
            raise DrError(f"{name!r} cannot name samples: use lower-case letters, digits, '.', '_' and '-'.")
    return f"samples/{stack}/{family}/"


def to_table(rows: Iterable[Mapping[str, Any]]) -> Any:
    """A table from rows with the columns of SCHEMA. Times in any zone, never naive. Raises DrError."""
    found = list(rows)
    for row in found:
        at = row["at"]
        if not isinstance(at, dt.datetime) or at.tzinfo is None:
            raise DrError(f"{at!r} is not a time with a zone: samples are stamped in UTC, never in local time.")
    # Through UTC first: Arrow would take the zone of the first row for all of them.
    columns: dict[str, list[Any]] = {name: [row[name] for row in found] for name in COLUMNS}
    columns["at"] = [row["at"].astimezone(utc.UTC) for row in found]
    return pa.table(
        {
            name: pa.array(columns[name], pa.timestamp("us", "UTC") if name == "at" else SCHEMA.field(name).type)
            for name in COLUMNS
        }
    ).cast(SCHEMA, safe=False)


def normalise(table: Any) -> Any:
    """The samples in canonical form: SCHEMA's columns and types, sorted, each reading once.

    Sorted by (at, site, metric, source). Of readings with the same key the worst is kept, so that no order of arrival
    changes the result: a known value before an unknown one, then the larger one (of `bool`, where 1 is good, the
    smaller). A value that is not finite is unknown. Raises DrError for a table that lacks a column or a time.
    """
    missing = [name for name in COLUMNS if name not in table.column_names]
    if missing:
        raise DrError(f"The samples lack {', '.join(missing)}; give them the columns {', '.join(COLUMNS)}.")
    table = pa.table([_column(table, field) for field in SCHEMA], schema=SCHEMA).combine_chunks()
    value = table["value"].combine_chunks()
    value = pc.if_else(pc.is_finite(value), value, pa.scalar(None, pa.float64()))
    table = table.set_column(table.schema.get_field_index("value"), SCHEMA.field("value"), value)
    rank = pc.if_else(pc.equal(table["unit"], "bool"), value, pc.negate(value))
    order = pc.sort_indices(
        table.append_column("rank", rank), sort_keys=[(name, "ascending") for name in (*_KEY, "rank", "unit")]
    )
    table = table.take(order)
    return table.filter(pa.array(_first_of_each(table))).replace_schema_metadata(SCHEMA.metadata)


def _column(table: Any, field: Any) -> Any:
    column = table[field.name]
    if column.null_count and not field.nullable:
        raise DrError(f"{column.null_count} samples have no {field.name}: only a value may be unknown.")
    if field.name == "at" and (not pa.types.is_timestamp(column.type) or column.type.tz is None):
        raise DrError(f"The times of the samples are {column.type}: they must be timestamps in UTC.")
    return column.cast(field.type, safe=False)  # below a millisecond is cut off


def _first_of_each(table: Any) -> Any:
    """True for the first row of each run with equal keys."""
    first = np.zeros(table.num_rows, dtype=bool)
    first[:1] = True
    for name in _KEY:
        column = table[name]
        codes = column.cast(pa.int64()) if name == "at" else column.combine_chunks().dictionary_encode().indices
        numbers = codes.to_numpy()
        first[1:] |= numbers[1:] != numbers[:-1]
    return first


def merge(*tables: Any) -> Any:
    """The samples of several tables as one, each reading once; in whatever order they are given."""
    if not tables:
        return SCHEMA.empty_table()
    return normalise(pa.concat_tables([_plain(table) for table in tables]))


def _plain(table: Any) -> Any:
    return pa.table([_column(table, field) for field in SCHEMA], schema=SCHEMA)


def encode(table: Any) -> bytes:
    """The bytes of a file: fixed settings, so that equal samples give equal bytes (with one version of pyarrow)."""
    sink = io.BytesIO()
    table = normalise(table)
    pq.write_table(
        table.replace_schema_metadata({**SCHEMA.metadata, DIGEST_KEY: digest(table)}),
        sink,
        version="2.6",
        compression="snappy",
        use_dictionary=list(_TEXTS),
        column_encoding={"at": "DELTA_BINARY_PACKED", "value": "PLAIN"},
        write_statistics=["at"],
        store_schema=True,
        row_group_size=1 << 20,
        write_page_checksum=True,
    )
    return sink.getvalue()


def write_day(store: Store, stack: str, family: str, day: dt.date, table: Any) -> str:
    """Replace one day's samples, atomically; returns the key. A repetition writes the same bytes.

    Raises DrError when a sample lies outside the day (UTC); nothing is written then.
    """
    key = key_of(stack, family, day)
    store.write(key, _day_bytes(key, day, table))
    return key


def merge_day(store: Store, stack: str, family: str, day: dt.date, table: Any, problems: list[str]) -> Any:
    """Merge samples into one day's, atomically; returns the merged table.

    Concurrent writers lose nothing: the second one merges again with what the first wrote. A damaged file is quarantined and
    named in `problems`. Raises DrError as `write_day`, when other writers keep winning, and when a damaged file cannot be moved;
    NewerSamplesError.
    """
    key = key_of(stack, family, day)
    for _ in range(_MAX_ATTEMPTS):
        before = _bytes(store, key)
        merged = merge(table)
        if before is not None:
            try:
                merged = merge(decode(before, day), table)
            except ForeignError as error:
                text = _quarantine(store, key, before, str(error))
                if _bytes(store, key) == before:
                    raise DrError(
                        f"{text}. Nothing was written: give write access to the history, or remove the file."
                    ) from None
                problems.append(text)
                continue
            except NewerSamplesError as error:
                raise NewerSamplesError(f"{key} in {store.uri}: {error}") from None
        data = _day_bytes(key, day, merged)
        if data == before or store.replace(key, data, before):
            return merged
    raise DrError(
        f"{key} in {store.uri}: other writers kept replacing it at the same time. Nothing was lost: run it again."
    )


def _day_bytes(key: str, day: dt.date, table: Any) -> bytes:
    table = normalise(table)
    start = dt.datetime.combine(day, dt.time(), utc.UTC)
    if table.num_rows:
        first, last = table["at"][0].as_py(), table["at"][-1].as_py()
        if first < start or last >= start + _DAY:
            raise DrError(f"{key} holds {day} in UTC only; the samples run from {first} to {last}. Divide them by day.")
    return encode(table)


def days(store: Store, stack: str, family: str) -> list[dt.date]:
    """The days that have a file, sorted."""
    folder = _folder(stack, family)
    return sorted(day for key in store.list(folder) if (day := _day_of(key, folder)) is not None)


def stacks(store: Store, problems: list[str] | None = None) -> list[str]:
    """Every stack with samples, including destroyed ones. Folders that no stack can have are named in `problems`."""
    names = sorted({key.split("/")[1] for key in store.list("samples/") if key.count("/") >= 3})
    foreign = [name for name in names if not _NAME.fullmatch(name)]
    if problems is not None:
        problems += (escape.line(f"samples/{name}/ is left out: no stack can have that name") for name in foreign)
    return [name for name in names if name not in foreign]


def _day_of(key: str, folder: str) -> dt.date | None:
    match = _FILE.fullmatch(key.removeprefix(folder))
    try:
        return dt.date.fromisoformat(match[1]) if match else None
    except ValueError:  # 2026-02-31
        return None


def read(
    store: Store,
    stack: str,
    family: str,
    start: dt.datetime,
    end: dt.datetime,
    columns: Sequence[str] | None = None,
    problems: list[str] | None = None,
    sources: dict[str, str] | None = None,
) -> Any:
    """The samples with start <= at < end, sorted within each day, text columns dictionary-encoded.

    Days without a file are days without rows. Each file that cannot be used is named in `problems`, and its day is unknown: a damaged
    or foreign one is quarantined, and named again until the day is written again; a newer one, or one that the store keeps back, stays
    where it is. `sources` receives the key and SHA-256 of each file that was read.

    Raises UnansweredError while the store does not answer, DrError where it does not list, and for times without a zone.
    """
    if start.tzinfo is None or end.tzinfo is None:
        raise DrError("The beginning and the end of a period need a zone: give them in UTC.")
    start, end = start.astimezone(utc.UTC), end.astimezone(utc.UTC)
    found = problems if problems is not None else []
    folder = _folder(stack, family)
    wanted: dict[str, dt.date] = {}
    for key in store.list(folder):
        day = _day_of(key, folder)
        if day is None:
            if (data := _bytes(store, key)) is not None:
                found.append(_quarantine(store, key, data, "it is not the name of a day (YYYY-MM-DD.parquet)"))
        elif start.date() <= day <= end.date():
            wanted[key] = day

    def one(key: str) -> Any:
        return read_object(store, key, wanted[key], found, sources)

    if len(wanted) > 2:
        with ThreadPoolExecutor(_THREADS) as pool:
            parts = list(pool.map(one, wanted))
    else:
        parts = [one(key) for key in wanted]
    for key, place in quarantined(store, folder):
        day = _day_of(key, folder)
        if (
            day is not None
            and start.date() <= day <= end.date()
            and not any(escape.line(place) in problem for problem in found)
        ):
            reason = _reason(_bytes(store, place) or b"", day)
            found.append(escape.line(f"{key}: {reason}; quarantined as {place}, {_UNTIL}"))
    parts = [part for part in parts if part is not None]
    if parts:
        # Only the first and the last day can reach beyond the period.
        for edge in {0, len(parts) - 1}:
            parts[edge] = _between(parts[edge], start, end)
        table = pa.concat_tables(parts)
    else:
        table = _loaded_schema(COLUMNS).empty_table()
    return table.select(list(columns)) if columns else table


def read_object(
    store: Store, key: str, day: dt.date, problems: list[str], sources: dict[str, str] | None = None
) -> Any:
    """The samples of one object of that day, whatever its key; None where it is absent or cannot be used (named in `problems`).

    Raises UnansweredError while the store does not answer.
    """
    try:
        data = _bytes(store, key)
        if data is None:  # removed since it was listed
            return None
        table = decode(data, day)
    except UnansweredError:
        raise
    except ForeignError as error:
        problems.append(_quarantine(store, key, data or b"", str(error)))
        return None
    except DrError as error:
        problems.append(escape.line(f"{key} is left out: {error}"))
        return None
    if sources is not None:
        sources[key] = hashlib.sha256(data).hexdigest()
    return table


def _between(table: Any, start: dt.datetime, end: dt.datetime) -> Any:
    at = table["at"]
    low, high = (pa.scalar(time, pa.timestamp("ms", "UTC")) for time in (start, end))
    return table.filter(pc.and_(pc.greater_equal(at, low), pc.less(at, high)))


def _loaded_schema(names: Sequence[str]) -> Any:
    text = pa.dictionary(pa.int32(), pa.string())
    return pa.schema([pa.field(name, text if name in _TEXTS else SCHEMA.field(name).type) for name in names])


def decode(data: bytes, day: dt.date) -> Any:
    """The table in the bytes of a file of that day, upgraded to the current schema.

    Raises NewerSamplesError, and ForeignError for what are no samples of that day: bytes that are changed, too many rows, an unknown
    site or unit, a time of another day. A lag below zero is a mark, and unknown.
    """
    try:
        file = _open(data)
        metadata = file.metadata.metadata or {}
        version = metadata.get(VERSION_KEY, b"")
        if not re.fullmatch(rb"[0-9]{1,9}", version):
            raise ForeignError("it is Parquet, but not a samples file")
        if int(version) > VERSION:
            raise NewerSamplesError(
                f"written in version {int(version)} of the schema, this is version {VERSION}. Update DR Assets to read it."
            )
        rows, size = file.metadata.num_rows, _unpacked(file.metadata)
        if not (0 <= rows <= MAX_ROWS and 0 <= size <= MAX_BYTES):
            raise ForeignError(f"its {rows} rows in {size} bytes are more than a day can have")
        table = file.read(use_threads=False)
        for old in range(int(version), VERSION):
            if old not in UPGRADES:
                raise ForeignError(f"version {old} of the schema is unknown")
            table = UPGRADES[old](table)
        if int(version) < VERSION:
            table, metadata = normalise(table), {}
        table = table.select(list(COLUMNS))
        if odd := [field.name for field in table.schema if not _IS_TYPE[field.name](field.type)]:
            raise ForeignError(f"{', '.join(odd)} is of another type")
        table = table.cast(_loaded_schema(COLUMNS))
        table.validate(full=True)
        return checked(table, day, metadata.get(DIGEST_KEY))
    except (ForeignError, NewerSamplesError):
        raise
    except Exception as error:  # whatever pyarrow raises for bytes that are no Parquet, or other Parquet
        raise ForeignError(f"it cannot be read as Parquet ({escape.line(error)[:120]})") from None


def _unpacked(metadata: Any) -> int:
    return sum(int(metadata.row_group(n).total_byte_size) for n in range(metadata.num_row_groups))


def _open(data: bytes) -> Any:
    def opened(**more: Any) -> Any:
        return pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True, **more)

    try:
        return opened(read_dictionary=list(_TEXTS))
    except KeyError:  # a column is absent: an older or a foreign file
        return opened()


def _bytes(store: Store, key: str) -> bytes | None:
    try:
        return store.read(key)
    except KeyError:
        return None


def _quarantine(store: Store, key: str, data: bytes, reason: str) -> str:
    return escape.line(
        quarantine(store, key, data, reason, _UNTIL if key.startswith("samples/") else "its samples are left out")
    )


def _reason(data: bytes, day: dt.date) -> str:
    try:
        decode(data, day)
    except (ForeignError, NewerSamplesError) as error:
        return str(error)
    return "it was quarantined"
