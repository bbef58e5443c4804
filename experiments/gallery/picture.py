"""A picture and what is said of it."""

import io
from typing import NamedTuple

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from optchain.lab.reports.charts import STYLE, text_of

INK, SOFT, BLUE, ORANGE, GREEN = "#1f2933", "#9aa5b1", "#1f5fa8", "#d9661f", "#2f8f5b"


class Picture(NamedTuple):
    """A picture of the gallery."""

    name: str  # of its file, without the ending
    title: str
    text: str  # what is seen, and how it was made
    content: bytes
    ending: str = "svg"


def grid(count: int, columns: int, width: float, height: float) -> tuple[Figure, list]:
    """A figure with so many small axes, each so many inches wide and high."""
    rows = -(-count // columns)
    with matplotlib.rc_context(STYLE | {"font.size": 7.5}):
        figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for one in axes[count:]:
            one.axis("off")
    return figure, list(axes[:count])


def svg(figure: Figure) -> bytes:
    """A figure as SVG."""
    with matplotlib.rc_context(STYLE):
        return text_of(FigureCanvasSVG(figure)).encode()


def png(figure: Figure, dots: int = 110) -> bytes:
    """A figure as PNG, for what has too many points for SVG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dots, metadata={"Software": None})
    return buffer.getvalue()
