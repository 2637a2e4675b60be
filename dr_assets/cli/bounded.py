"""Parameter type of the CLI for numbers with bounds; NaN and infinity are refused in one line."""

from __future__ import annotations

import math
from typing import Any

import click


class Bounded(click.FloatRange):
    """A finite number from `min` to `max`. click's own range lets NaN through: no comparison with it holds."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number
