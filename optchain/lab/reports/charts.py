"""The curves of runs, as SVG."""

import html
import io
import math
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from optchain.lab.base.intervals import Interval

APART = 0.25  # of a chart's diagonal, between the marks of a curve
COLORS = ("#1f5fa8", "#d9661f", "#2f8f5b", "#8a4fb0", "#b3323f", "#5b6570")
FEW = 8  # entries of a legend within a chart
HANDLE, LINE = 0.6, 0.18  # inches: of a legend beside its text, and from one entry to the next below
LETTERS, NARROW = 10, 15  # of a title and of a legend on an inch
POINTS = 1500  # of a curve: more cannot be told apart at this size
Curve = tuple[list[float], list[float]]
STYLE: Any = {
    "svg.fonttype": "path",
    "svg.hashsalt": "optchain",
    "font.size": 9,
    "axes.edgecolor": "#9aa5b1",
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "grid.color": "#e4e8ee",
    "legend.frameon": False,
}


def chart(
    title: str,
    curves: list[dict[str, Any]],
    log: bool = False,
    level: tuple[str, float] | None = None,
    changes: Sequence[float] = (),
    ylabel: str | None = None,
) -> str:
    """One chart as an `<svg>` element.

    Args:
        title: what is drawn over the steps.
        curves: the arguments of `_draw`; a curve without a label is not in the legend.
        log: a logarithmic axis.
        level: the label and the value of a horizontal line.
        changes: steps of vertical lines, after which something was changed by hand.
        ylabel: of the values; the title if left out.
    """

    def draw(axes: Axes) -> None:
        for curve in curves:
            _draw(axes, **curve)
        if level:
            axes.axhline(level[1], color="#1f2933", linewidth=1, linestyle="--", label=f"{level[0]} {level[1]:.4g}")
        for i, step in enumerate(changes):
            label = "changed by hand" if i == 0 else None
            axes.axvline(step, color="#9aa5b1", linewidth=1, linestyle=":", label=label)
        values = [y for curve in curves for y in curve["points"][1]]
        if log and all(y > 0 for y in values):
            logarithmic(axes)
        elif values and all(isinstance(y, int) for y in values):  # half of a count is none
            axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        if changes or any(curve.get("label") for curve in curves):
            axes.legend(fontsize=8)

    return svg(title, "step", draw, ylabel=title if ylabel is None else ylabel)


def forest(
    title: str,
    xlabel: str,
    rows: Sequence[tuple[str, Sequence[float], Interval]],
    colors: Sequence[str] = COLORS,
) -> str:
    """Names one below the other, each with its scores, their mean and its interval, as an `<svg>` element.

    Args:
        title: what is shown.
        xlabel: what the scores are.
        rows: names, scores, and their means.
        colors: of the rows in their order; after the last comes the first again.
    """

    def draw(axes: Axes) -> None:
        for i, (_, scores, mean) in enumerate(rows):
            color = colors[i % len(colors)]
            axes.plot(scores, [i] * len(scores), "o", color=color, alpha=0.35, markersize=4)
            if len(scores):
                half = 0 if math.isnan(mean.half) else mean.half
                axes.errorbar(mean.mean, i, xerr=half, color=color, fmt="|", markersize=12, capsize=3, linewidth=1.6)
        axes.set_yticks(range(len(rows)), [name for name, _, _ in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)

    return svg(title, xlabel, draw, (11.2, 0.9 + 0.32 * len(rows)))


def svg(
    title: str, xlabel: str, draw: Callable[[Axes], None], size: tuple[float, float] = (5.4, 3.1), ylabel: str = ""
) -> str:
    """What `draw` does to a pair of axes, as an `<svg>` element of so many inches."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.add_subplot()
        draw(axes)
        _move_legend(figure, axes)
        axes.set_title(textwrap.fill(title, int(LETTERS * size[0])), loc="left", fontweight="bold", color="#1f2933")
        axes.set_xlabel(xlabel, color="#52606d")
        if ylabel:
            axes.set_ylabel(ylabel, color="#52606d")
        axes.tick_params(colors="#52606d")
        return text_of(FigureCanvasSVG(figure))


def text_of(canvas: FigureCanvasSVG) -> str:
    """A figure as an `<svg>` element."""
    buffer = io.StringIO()
    canvas.print_svg(buffer, metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def _move_legend(figure: Figure, axes: Axes) -> None:
    """Put a legend of many entries below the chart, which becomes taller by it: within it would cover the curves."""
    handles, labels = axes.get_legend_handles_labels()
    legend = axes.get_legend()
    if legend is None or len(labels) <= FEW:
        return
    legend.remove()
    width, height = figure.get_size_inches()
    columns = max(1, int(width / (HANDLE + max(map(len, labels)) / NARROW)))
    figure.set_size_inches(width, height + LINE * math.ceil(len(labels) / columns))
    figure.legend(handles, labels, fontsize=8, loc="outside lower left", ncols=columns)


def hovered(text: str, titles: dict[str, str]) -> str:
    """A chart whose marks say what they are where the mouse rests on them.

    Args:
        text: the chart.
        titles: by the `gid` that each mark was drawn with.
    """
    for gid, title in titles.items():
        text = text.replace(f'<g id="{gid}">', f"<g><title>{html.escape(title)}</title>")
    return text


def _draw(
    axes: Axes,
    points: Curve,
    label: str,
    color: str,
    faint: bool = False,
    dashed: bool = False,
    dots: bool = False,  # of what jumps from one step to the next, where lines would fill the chart
    mark: float | None = None,  # where the marks begin, from 0 to 1: curves that lie on one another show by them
) -> None:
    steps, values = points
    stride = len(steps) // POINTS + 1
    axes.plot(
        steps[::stride],
        values[::stride],
        label=label or None,
        color=color,
        alpha=0.3 if faint else 1.0,
        linewidth=0.8 if faint else 1.6,
        linestyle="none" if dots else "--" if dashed else "-",
        marker="o" if dots or len(steps) == 1 or mark is not None else None,
        markersize=2 if dots else 4.5,
        markevery=None if len(steps) == 1 or mark is None else (mark * APART, APART),
    )


def logarithmic(axes: Axes) -> None:
    """Give the values a logarithmic axis that is labelled even if it spans less than a power of ten."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    if high / low < 5:
        axes.yaxis.set_major_locator(MaxNLocator(6))
        axes.yaxis.set_major_formatter("{x:g}")
    elif high / low < 100:  # too few powers of ten to label only those
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
