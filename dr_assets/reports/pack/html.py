"""The evidence pack's one page: HTML that needs nothing but itself. Whatever came from a record or a sample is escaped.

May import its neighbours. Knows how things look, not what they mean: `pack.py` says what is on the page.
"""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from dr_assets import utc
from dr_assets.reports.pack.drawing import Picture

ROWS = 400  # more stand in the CSV
UNKNOWN = "unknown"

_CSS = """
:root { color-scheme: light; } * { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; color: #111; margin: 0 auto; padding: 24px; max-width: 1280px; }
h1 { font-size: 26px; margin: 0 0 4px; } h2 { font-size: 20px; margin: 40px 0 8px; border-bottom: 2px solid #111; }
h3 { font-size: 16px; margin: 24px 0 6px; } h4 { font-size: 14px; margin: 10px 0 2px; } p { margin: 6px 0; max-width: 90ch; } a { color: #0b4f8a; }
h1, h3, p, li, figcaption { overflow-wrap: anywhere; } ul { margin: 4px 0; padding-left: 24px; } li { max-width: 100ch; }
nav { margin: 12px 0; } nav a { margin-right: 14px; white-space: nowrap; display: inline-block; }
.answer { font-size: 17px; } .cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 12px; margin: 16px 0; }
.card { border: 1px solid #767676; border-left: 6px solid #767676; padding: 8px 12px; }
.card.good { border-left: 6px solid #009E73; } .card.bad { border-left: 6px double #D55E00; }
.card b { display: block; font-size: 20px; line-height: 1.3; } .card span { color: #333; font-size: 13px; display: block; }
.wide { overflow-x: auto; margin: 8px 0; } table { border-collapse: collapse; font-size: 13px; }
th, td { border: 1px solid #bbb; padding: 3px 7px; text-align: left; vertical-align: top; overflow-wrap: break-word; max-width: 32em; }
th { background: #eee; } td.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.t { white-space: nowrap; } td.u { color: #555; font-style: italic; } td.sign { min-width: 14em; height: 2.4em; }
th [role=button] { cursor: pointer; } th [role=button]:focus-visible { outline: 2px solid #0b4f8a; }
th[aria-sort=ascending] [role=button]::after { content: " \\25B2"; } th[aria-sort=descending] [role=button]::after { content: " \\25BC"; }
caption { text-align: left; font-size: 13px; color: #333; padding: 2px 0; } figure { margin: 12px 0; }
figure img { display: block; max-width: 100%; height: auto; }
figcaption { font-size: 13px; color: #333; } dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 16px; margin: 6px 0; }
dt { font-weight: bold; } dd { margin: 0; overflow-wrap: anywhere; }
.event { margin-bottom: 24px; } .event + .event { border-top: 1px solid #767676; padding-top: 4px; } details { margin: 8px 0; } details > summary { cursor: pointer; }
@media (max-width: 640px) { body { padding: 12px; } dl { display: block; } dd { margin: 0 0 6px; } .cards { grid-template-columns: 1fr 1fr; } }
@media print { @page { size: A4 landscape; margin: 12mm; } body { padding: 0; max-width: none; font-size: 10pt; } nav { display: none; }
 .wide { overflow: visible; } table { font-size: 7.5pt; } th, td { padding: 1px 4px; } thead { display: table-header-group; }
 details::details-content { content-visibility: visible; display: block; } figure img { max-width: 240mm; max-height: 125mm; }
 tr, figure, .card { break-inside: avoid; } h2, h3, h4, caption, h2 + p { break-after: avoid; } h2 { margin-top: 20px; } a { color: inherit; text-decoration: none; } }
"""

_JS = """
document.querySelectorAll("table.sort").forEach(table => table.querySelectorAll("th").forEach((head, column) => {
  const button = head.querySelector("[role=button]");
  button.onkeydown = event => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); button.click(); } };
  button.onclick = () => {
    const up = head.getAttribute("aria-sort") !== "ascending", body = table.tBodies[0];
    table.querySelectorAll("th").forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const value = row => { const text = row.cells[column].dataset.v; return text === "" ? null : isNaN(text) ? text : +text; };
    [...body.rows].sort((a, b) => { const x = value(a), y = value(b);
      if (x === null || y === null) return (x === null) - (y === null);
      const order = typeof x === typeof y ? (x < y ? -1 : x > y ? 1 : 0) : typeof x === "number" ? -1 : 1;
      return order * (up ? 1 : -1); }).forEach(row => body.append(row));
  };
}));
const folded = [...document.querySelectorAll("details:not([open])")];  // paper cannot be unfolded
addEventListener("beforeprint", () => folded.forEach(each => each.open = true));
addEventListener("afterprint", () => folded.forEach(each => each.open = false));
"""


def document(title: str, sections: Sequence[tuple[str, str, str]], top: str) -> str:
    """The whole page. `sections`: anchor, heading, HTML."""
    links = "".join(f'<a href="#{anchor}">{escape(heading)}</a>' for anchor, heading, _ in sections)
    body = "".join(
        f'<section id="{anchor}"><h2>{escape(heading)}</h2>{html}</section>' for anchor, heading, html in sections
    )
    # The policy makes the promise of "no network" one that the browser keeps.
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title><style>{_CSS}</style></head><body><header><h1>{escape(title)}</h1>{top}<nav>{links}</nav></header>"
        f"<main>{body}</main><script>{_JS}</script></body></html>\n"
    )


def paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>"


def items(texts: Iterable[str], nothing: str) -> str:
    found = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return f"<ul>{found}</ul>" if found else paragraph(nothing)


def card(label: str, value: str, more: str, good: bool | None) -> str:
    tone = "good" if good else "bad" if good is False else "open"
    return (
        f'<div class="card {tone}"><span>{escape(label)}</span><b>{escape(value)}</b><span>{escape(more)}</span></div>'
    )


def facts(pairs: Mapping[str, Any]) -> str:
    """A list of names and values; None is unknown."""
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(_plain(value))}</dd>" for name, value in pairs.items())
    return f"<dl>{rows}</dl>"


def _plain(value: Any) -> str:
    if value is None or value == "":
        return UNKNOWN if value is None else "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def figure(picture: Picture) -> str:
    data = base64.b64encode(picture.svg).decode()
    width = round(106 * picture.width)
    size = f"width: {width}px; min-width: {min(640, width)}px"
    return (
        f'<figure><div class="wide"><img alt="{escape(picture.alt, quote=True)}" style="{size}" src="data:image/svg+xml;base64,{data}"></div>'
        f"<figcaption>{escape(picture.alt)} Files: pictures/{picture.name}.png, .svg</figcaption></figure>"
    )


@dataclass(frozen=True)
class Link:
    """A cell that leads to an anchor of the page."""

    text: str
    anchor: str


# Columns that are told as clock time, and as a share in percent; all others of seconds to the millisecond.
_CLOCK = (
    "known_seconds",
    "unknown_seconds",
    "duration_seconds",
    "breach_seconds",
    "seconds_in_period",
    "exposure_seconds",
)
_SHARES = ("unknown_share", "compliance", "within_objective")
_HEADINGS = {
    "start": "start (UTC)",
    "end": "end (UTC)",
    "started_at": "started (UTC)",
    "last": "last (UTC)",
    "hour_utc": "hour (UTC)",
    "weekday_utc": "weekday (UTC)",
    "seconds_in_period": "in the period (h:mm:ss)",
    "during": "drill or incident",
    "trend_seconds_per_30_days": "trend (s in 30 days)",
}


def table(frame: Any, file: str, nothing: str, shown: Any = None, empty: Mapping[str, str] | None = None) -> str:
    """A sortable table of a DataFrame; more than ROWS rows are cut, and that is said.

    `shown`: what stands on the page in place of `frame`, where the CSV has more columns. `empty`: what a missing value of
    a column means, where that is not "unknown".
    """
    if not len(frame):
        return paragraph(nothing)
    view = (frame if shown is None else shown).head(ROWS)
    head = "".join(
        # No <button>: Chromium leaves it out of the heads that it repeats on the next sheet of paper.
        f'<th scope="col"><span role="button" tabindex="0">{escape(heading(name))}</span></th>'
        for name in view.columns
    )
    columns = [_cells(view[name].tolist(), name, (empty or {}).get(name, UNKNOWN)) for name in view.columns]
    rows = "".join(f"<tr>{''.join(row)}</tr>" for row in zip(*columns, strict=True))
    cut = f", the first {ROWS} of {len(frame)} rows" if len(frame) > ROWS else ""
    return (
        f'<div class="wide"><table class="sort"><caption>data/{escape(file)}.csv{cut}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def folded(summary: str, html: str) -> str:
    """To be unfolded by who wants it; open on paper."""
    return f"<details><summary>{escape(summary)}</summary>{html}</details>"


def heading(name: str) -> str:
    """A column's name for people, with its unit."""
    if name in _HEADINGS:
        return _HEADINGS[name]
    if name.endswith("_seconds"):
        return f"{name.removesuffix('_seconds').replace('_', ' ')} ({'h:mm:ss' if name in _CLOCK else 's'})"
    return name.replace("_", " ")


def missing(value: Any) -> bool:
    """None, NaN and NaT: nobody knows."""
    import pandas as pd

    return bool(pd.isna(value))


def _cells(values: Sequence[Any], name: str, empty: str) -> list[str]:
    whole = all(float(value).is_integer() for value in values if _is_number(value) and not missing(value))
    return [_cell(value, name, empty, whole) for value in values]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def _cell(value: Any, name: str, empty: str, whole: bool) -> str:
    if isinstance(value, Link):
        text = escape(value.text)
        return f'<td data-v="{text}"><a href="#{escape(value.anchor, quote=True)}">{text}</a></td>'
    if missing(value):
        return f'<td class="u" data-v="">{escape(empty)}</td>'
    if isinstance(value, dt.datetime):
        return f'<td class="t" data-v="{value.timestamp()}">{value:%Y-%m-%d %H:%M:%S}</td>'
    if _is_number(value):
        return f'<td class="n" data-v="{float(value)!r}">{_figure(float(value), name, whole)}</td>'
    text = str(value)
    return f'<td data-v="{escape(text, quote=True)}">{escape(text)}</td>'


def _figure(value: float, name: str, whole: bool) -> str:
    """`whole`: all figures of the column are whole numbers, so that none needs decimals."""
    if name in _SHARES:
        return share(value)
    if name in _CLOCK:
        return clock(value)
    if whole and abs(value) < 1e15:
        return f"{int(value):,}".replace(",", "\u202f")
    return f"{value:.3f}" if name.endswith("_seconds") else f"{value:.2f}"


def share(value: float) -> str:
    """A share in percent that does not round up to a perfection that was not there."""
    for digits in (2, 4, 6):
        text = f"{100 * value:.{digits}f}"
        if value in (0.0, 1.0) or float(text) not in (0.0, 100.0):
            return f"{text} %"
    return "less than 100 %, by less than a millionth" if value > 0.5 else "more than 0 %, by less than a millionth"


def clock(seconds: float) -> str:
    """`13:24:00`, with days where there are any, and milliseconds where there are some."""
    whole, ms = divmod(round(seconds * 1000), 1000)
    days, rest = divmod(whole, 86_400)
    begin = f"{days} d " if days else ""
    return f"{begin}{rest // 3600}:{rest % 3600 // 60:02d}:{rest % 60:02d}" + (f".{ms:03d}" if ms else "")


def csv(frame: Any) -> bytes:
    """UTF-8, one line each, times as ISO 8601 with Z; an empty cell is unknown. No text begins like a spreadsheet's formula."""
    plain = frame.copy()
    for name in plain.columns:
        if not np.issubdtype(np.asarray(plain[name].to_numpy()).dtype, np.number):
            plain[name] = [_text(value) for value in plain[name].tolist()]
    found: str = plain.to_csv(index=False, lineterminator="\n", float_format="%.9g")
    return found.encode()


def _text(value: Any) -> str:
    if missing(value):
        return ""
    if isinstance(value, dt.datetime):
        return utc.to_text(value)
    text = str(value)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
