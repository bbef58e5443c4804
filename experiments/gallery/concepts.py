"""The drawings of the page of concepts: boxes and arrows."""

from collections.abc import Iterator

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.gallery.picture import BLUE, GREEN, INK, ORANGE, SOFT, Picture, svg
from optchain.lab.reports.charts import STYLE

SIZE = 10.0, 3.0  # inches, and units of the drawings


def pictures() -> Iterator[Picture]:
    """The drawings, which stand in docs/concepts.md too."""
    for name, title, draw, text in (
        ("concepts-chain", "A chain", chain, "Updates pass from link to link; each link keeps its own state, by name."),
        ("concepts-rule", "A rule", rule, "A rule is the law for one array; executions decide where and how it runs."),
        ("concepts-time", "Time", time, "Four calls of accumulate are one update, and the schedule counts updates."),
    ):
        with matplotlib.rc_context(STYLE):
            figure = Figure(figsize=SIZE, layout="constrained")
            axes = figure.add_subplot()
            axes.set(xlim=(0, SIZE[0]), ylim=(0, SIZE[1]), aspect="equal")
            axes.axis("off")
            draw(axes)
        yield Picture(name, title, text, svg(figure))


def chain(axes: Axes) -> None:
    """Gradients, four links with their states, and the one rounding."""
    _text(axes, 0.6, 2.3, "gradients")
    links = {"clip": "", "adam": "mu, nu, count", "decay": "", "lr": "count"}
    for i, (name, slots) in enumerate(links.items()):
        x = 2.0 + 1.7 * i
        _box(axes, x, 2.3, 1.2, 0.7, name, BLUE)
        _arrow(axes, x - 1.1 if i else 1.1, 2.3, x - 0.6, 2.3)
        if slots:
            _box(axes, x, 0.9, 1.2, 0.6, slots, SOFT)
            _arrow(axes, x, 1.2, x, 1.95, both=True)
    _arrow(axes, 7.7, 2.3, 8.3, 2.3)
    _text(axes, 9.1, 2.3, "updates,\nrounded once\nto the dtype of\neach parameter")
    _text(axes, 4.55, 1.75, "float32", ORANGE)
    _text(axes, 4.55, 0.25, 'state["links"]["adam"]["scale_by_adam"]["mu"]', INK, family="monospace")


def rule(axes: Axes) -> None:
    """One law, and the executions that are made of it."""
    _box(axes, 1.6, 1.5, 2.6, 1.5, "rule\n\nupdate(g, s, p, t)\n= (u, s)", BLUE)
    _text(axes, 1.6, 0.3, "one array, float32")
    _arrow(axes, 2.9, 1.5, 3.7, 1.5)
    _box(axes, 4.6, 1.5, 1.8, 1.5, "runner\n\nmasks, schedules,\nmeans, dtypes,\nerrors by path", GREEN)
    ways = ("all leaves", "touched rows", "states in few bits", "shares on a mesh", "packed leaves", "vmapped numbers")
    for i, way in enumerate(ways):
        x, y = 7.0 + 1.9 * (i % 2), 2.5 - 1.0 * (i // 2)
        _box(axes, x, y, 1.7, 0.6, way, ORANGE)
    _arrow(axes, 5.5, 1.5, 6.1, 1.5)


def time(axes: Axes) -> None:
    """Calls, updates and the step that schedules read."""
    for i in range(8):
        _box(axes, 2.1 + 1.0 * i, 2.4, 0.8, 0.5, f"call {i + 1}", SOFT)
    for i in range(2):
        _box(axes, 3.6 + 4.0 * i, 1.5, 3.8, 0.5, f"update: t = {i + 1} of each link within", BLUE)
        _box(axes, 3.6 + 4.0 * i, 0.6, 3.8, 0.5, f"schedules read step {i}", GREEN)
        _arrow(axes, 5.1 + 4.0 * i, 2.13, 5.1 + 4.0 * i, 1.78)
    for y, label in ((2.4, "gradients"), (1.5, "accumulate, 4"), (0.6, "time")):
        _text(axes, 0.75, y, label)


def _box(axes: Axes, x: float, y: float, width: float, height: float, text: str, color: str) -> None:
    patch = matplotlib.patches.FancyBboxPatch(
        (x - width / 2, y - height / 2), width, height, boxstyle="round,pad=0,rounding_size=0.08",
        facecolor=color + "22", edgecolor=color, linewidth=1.4,
    )  # fmt: skip
    axes.add_patch(patch)
    _text(axes, x, y, text)


def _arrow(axes: Axes, x: float, y: float, to_x: float, to_y: float, both: bool = False) -> None:
    style = {"arrowstyle": "<->" if both else "->", "color": INK, "linewidth": 1.2, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", (to_x, to_y), (x, y), arrowprops=style)


def _text(axes: Axes, x: float, y: float, text: str, color: str = INK, **more: str) -> None:
    axes.text(x, y, text, ha="center", va="center", fontsize=9, color=color, **more)
