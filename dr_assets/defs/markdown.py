"""Markdown of Dagster's metadata: lists, tables and pictures in which foreign text stays text."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence

import dagster as dg

from dr_assets import escape


def bullets(texts: Iterable[object]) -> dg.MarkdownMetadataValue:
    """A list, or "none"."""
    return dg.MetadataValue.md("\n".join(f"- {escape.markdown(text)}" for text in texts) or "none")


def table(headers: Sequence[str], rows: Iterable[Sequence[object]], more: int = 0) -> dg.MarkdownMetadataValue:
    """A table, or "none"; `more` rows are left out and counted."""
    lines = [f"| {' | '.join(map(escape.markdown, row))} |" for row in rows]
    if not lines:
        return dg.MetadataValue.md("none")
    head = [f"| {' | '.join(map(escape.markdown, headers))} |", f"|{'---|' * len(headers)}"]
    rest = [f"\n{more} more rows: see the pack's CSV."] if more > 0 else []
    return dg.MetadataValue.md("\n".join([*head, *lines, *rest]))


def picture(alt: str, png: bytes) -> dg.MarkdownMetadataValue:
    """An inline image."""
    return dg.MetadataValue.md(f"![{escape.markdown(alt)}](data:image/png;base64,{base64.b64encode(png).decode()})")
