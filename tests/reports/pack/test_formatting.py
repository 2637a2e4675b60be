"""CSV that no spreadsheet evaluates, read back by a reader of its own that ends rows and cells wherever any program might."""

from __future__ import annotations

import csv
import io
import re

import numpy as np
import pandas as pd
import pytest

from dr_assets.reports.pack import formatting

BEGINS = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
BEFORE = (
    "",
    " ",
    "\t",
    "\r",
    "\n",
    "\r\n",
    "\xa0",
    "\u3000",
    "\x00",
    "\ufeff",
    "\u200b",
    '"',
    "a\r",
    "a\n",
    "a;",
    "a; ",
    "a\t",
    "a\u2028",
)


def cells(data: bytes) -> list[str]:
    """Every cell that a program may see: rows end at CR, LF and CRLF even in quotes, cells at comma, semicolon and tab."""
    text = data.decode()
    wide = [
        cell for row in re.split(r"\r\n|\r|\n", text) for cell in re.split(r'[;\t]|,(?=(?:[^"]*"[^"]*")*[^"]*$)', row)
    ]
    return wide + [cell for row in csv.reader(io.StringIO(text, newline="")) for cell in row]


@pytest.mark.parametrize("before", BEFORE, ids=ascii)
@pytest.mark.parametrize("begin", BEGINS)
def test_case_e7_no_cell_begins_a_formula(before: str, begin: str) -> None:
    text = f"{before}{begin}HYPERLINK(1)"
    frame = pd.DataFrame({"n": [1.0, 2.0], text: [text, "x"], "o": [text, None]})
    for cell in cells(formatting.csv(frame)):
        assert not re.sub(r"^[\s\x00\ufeff\u200b\"]+", "", cell).startswith(BEGINS), ascii(cell)


def test_case_e7_numbers_stay_numbers() -> None:
    frame = pd.DataFrame(
        {"a": [-5.0, "text", None], "b": [-1, np.int64(-2), "=x"], "c": [-0.5, -1.25, np.nan]}, dtype=object
    )
    frame["c"] = frame["c"].astype(float)
    assert formatting.csv(frame).decode().splitlines() == ["a,b,c", "-5.0,-1,-0.5", "text,-2,-1.25", ",'=x,"]


def test_what_is_no_formula_stays_as_it_is() -> None:
    frame = pd.DataFrame({"text": ["a-b", "lag; then 3", "x = 1", "a, b", 'say "x"', "yes"], "flag": [True, False] * 3})
    rows = list(csv.reader(io.StringIO(formatting.csv(frame).decode())))
    assert [row[0] for row in rows[1:]] == frame["text"].tolist()
    assert rows[1][1] == "True"
