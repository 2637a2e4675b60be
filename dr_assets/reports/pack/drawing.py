"""Matplotlib helpers: render figures to PNG and SVG without a display, pyplot or network.

matplotlib and Pillow are imported inside functions only. Charts never rely on colour alone: a hatch, a marker or a number repeats
it. The colours are Okabe and Ito's and the map is cividis, which are safe for the colour-blind and ordered in grey.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dr_assets import escape

BLUE, ORANGE, VERMILION, GREY = "#0072B2", "#E69F00", "#D55E00", "#999999"
_SETTINGS: Any = {
    "font.size": 9,
    "font.family": "DejaVu Sans",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "hatch.linewidth": 0.6,
    "svg.hashsalt": "dr-assets",
    "figure.dpi": 110,
    # Names hold dollar signs: no text is a formula.
    "text.parse_math": False,
}


@dataclass(frozen=True)
class Picture:
    """`name` is the file name without its extension; `alt` is the text alternative of the picture."""

    name: str
    title: str
    alt: str
    png: bytes
    svg: bytes
    width: float = 10.0  # inches, as drawn

    def preview(self) -> bytes:
        """The PNG in 48 colours: a third of the size, for the event log, which keeps pictures for ever."""
        from PIL import Image

        small = io.BytesIO()
        Image.open(io.BytesIO(self.png)).convert("RGB").quantize(48, dither=Image.Dither.NONE).save(
            small, "PNG", optimize=True
        )
        return small.getvalue()


def render(name: str, title: str, alt: str, width: float, height: float, draw: Callable[[Any], None]) -> Picture:
    """Draw a figure of `width` by `height` inches; `draw` fills a matplotlib Figure. Equal input gives equal bytes."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure)
        figure.suptitle(escape.line(title), fontsize=11, fontweight="bold")
        png, svg = io.BytesIO(), io.BytesIO()
        figure.savefig(png, format="png", metadata={"Software": None})
        figure.set_layout_engine("none")  # the layout is computed already; keep it
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": "dr-assets"})
    return Picture(name, title, alt, png.getvalue(), svg.getvalue(), width)


def no_data(axes: Any, text: str) -> None:
    """A sentence in place of an empty diagram."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color="#444444", fontsize=11)
    axes.set_axis_off()
