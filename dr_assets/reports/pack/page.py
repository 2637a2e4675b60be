"""The evidence page: one HTML file rendered from the templates beside this module. Whatever comes from data is escaped."""

from __future__ import annotations

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from dr_assets import escape
from dr_assets.reports.pack.sections import Page


@cache
def environment() -> Environment:
    """The templates of this package. Every value is escaped, control and bidirectional characters visibly; an unknown name is an error."""
    return Environment(
        loader=PackageLoader(__package__, "templates"),
        autoescape=True,
        finalize=_visible,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _visible(value: object) -> object:
    return escape.lines(value) if type(value) is str else value


def render(page: Page) -> str:
    """The whole page, which loads nothing from anywhere. Equal input gives equal text."""
    return environment().get_template("page.html.j2").render(page=page)
