"""Check samples that were read before anything is concluded from them: whose they are, of which day, and what was written. Pure."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dr_assets import escape, utc
from dr_assets.stack import SITES

_KNOWN = {"site": {*SITES, "global"}, "unit": {"ms", "s", "percent", "count", "bool", "days"}}


class ForeignError(Exception):
    """The bytes are not a samples file; the text gives the reason."""


def checked(table: Any, day: dt.date, written: bytes | None) -> Any:
    """The samples, sorted by time, with lags below zero as unknown. Raises ForeignError where they cannot be samples of that day.

    `written`: the digest that their file bears; None: it is of an earlier version, which wrote none.
    """
    if nulls := [name for name in table.column_names if name != "value" and table[name].null_count]:
        raise ForeignError(f"it has samples without {', '.join(nulls)}")
    if written is not None and written != digest(table):
        raise ForeignError("its samples are not those that were written (their digest differs)")
    if not table.num_rows:
        return table
    texts = {name: codes(table, name)[1] for name in table.column_names if _is_text(table[name])}
    for name, known in _KNOWN.items():
        if unknown := set(texts[name]) - known:
            raise ForeignError(f"it has an unknown {name} ({escape.line(min(unknown))[:40]!r})")
    if {"percent", "count", "bool", "days"} & set(texts["unit"]):
        of_time = pc.is_in(table["unit"].cast(pa.string()), pa.array(["ms", "s"]))
        if pc.any(pc.and_(pc.ends_with(table["metric"].cast(pa.string()), "-lag"), pc.invert(of_time))).as_py():
            raise ForeignError("it has a lag that is not given as a time")
    at = table["at"].cast(pa.int64()).to_numpy()
    begin = int(dt.datetime.combine(day, dt.time(), utc.UTC).timestamp() * 1000)
    if at.min() < begin or at.max() >= begin + 86_400_000:
        raise ForeignError(f"it has samples of another day than {day}")
    values = table["value"].to_numpy()  # null: NaN
    if not np.isfinite(values[np.asarray(pc.is_valid(table["value"]))]).all():
        raise ForeignError("it has values that are no numbers")
    if (values < 0).any() and pc.any(
        negative := pc.and_(pc.equal(table["unit"].cast(pa.string()), "ms"), pc.less(table["value"], 0))
    ).as_py():
        known = pc.if_else(pc.fill_null(negative, False), pa.scalar(None, pa.float64()), table["value"])
        table = table.set_column(table.column_names.index("value"), "value", known)
    return table if (at[1:] >= at[:-1]).all() else table.take(pc.sort_indices(table["at"]))


def digest(table: Any) -> bytes:
    """SHA-256 (hex) over the samples, whatever way their columns are stored."""
    found = hashlib.sha256()
    for name in table.column_names:
        if _is_text(table[name]):
            places, texts = codes(table, name)
            found.update(json.dumps([name, texts]).encode())
            found.update(places.astype("<i4").tobytes())
            continue
        known = np.asarray(pc.is_valid(table[name]))
        column = table[name].cast(pa.int64()) if name == "at" else table[name]
        found.update(known.tobytes())
        found.update(pc.fill_null(column, 0).to_numpy().astype("<i8" if name == "at" else "<f8").tobytes())
    return found.hexdigest().encode()


def codes(table: Any, name: str) -> tuple[Any, list[str]]:
    """A text column as places in a list of its texts, and that list, in the order in which they come."""
    column = table[name].unify_dictionaries().combine_chunks()
    if not hasattr(column, "dictionary"):
        column = column.dictionary_encode()
    return column.indices.to_numpy(), column.dictionary.to_pylist()


def _is_text(column: Any) -> bool:
    return bool(pa.types.is_string(column.type) or pa.types.is_dictionary(column.type))
