"""Reports of the user's own."""

import html
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes

from optchain.lab.base.intervals import interval
from optchain.lab.reports import charts, page
from optchain.lab.runs.run import surroundings

WIDE = (11.2, 4.2)  # inches


class Page:
    """A report of your own that looks like those of the lab: one HTML file that needs no other. Add its parts in order,
    then write it; the versions and the machine stand at its end.

    Args:
        title: its title.
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self._parts: list[str] = []

    def heading(self, text: str) -> None:
        """Add a heading.

        Args:
            text: what it says.
        """
        self.html(f"<h2>{html.escape(text)}</h2>")

    def text(self, text: str) -> None:
        """Add a paragraph.

        Args:
            text: what it says.
        """
        self.html(f"<p>{html.escape(text)}</p>")

    def table(self, rows: Sequence[Mapping[str, object]]) -> None:
        """Add a table.

        Args:
            rows: by the names of their columns. Columns of numbers are aligned at the right.
        """
        self.html(page.table([{name: str(x) for name, x in row.items()} for row in rows]))

    def forest(self, title: str, label: str, scores: Mapping[str, Sequence[float]]) -> None:
        """Add a chart with names one below the other, each with its scores, their mean and its 95 % interval.

        Args:
            title: of the chart.
            label: of the axis with the scores.
            scores: by name; what is NaN is left out.
        """
        rows = [(name, xs, interval([x for x in xs if not math.isnan(x)])) for name, xs in scores.items()]
        self._chart(charts.forest(title, label, rows))

    def chart(self, title: str, label: str, draw: Callable[[Axes], None], *, log: bool = False) -> None:
        """Add a chart of your own.

        Args:
            title: of the chart.
            label: of the horizontal axis.
            draw: a function that draws on the axes of matplotlib that it is called with.
            log: whether the vertical axis is logarithmic.
        """

        def drawn(axes: Axes) -> None:
            draw(axes)
            if log:
                charts.logarithmic(axes)

        self._chart(charts.svg(title, label, drawn, WIDE))

    def code(self, text: str, summary: str = "") -> None:
        """Add text as it is, such as a command.

        Args:
            text: what it says.
            summary: if given, a line that is shown until it is clicked on.
        """
        body = page.card(text)
        folded = f"<details><summary>{html.escape(summary)}</summary>{body}</details>"
        self.html(folded if summary else body)

    def _chart(self, svg: str) -> None:
        self.html(f'<div class="chart">{svg}</div>')

    def html(self, part: str) -> None:
        """Add anything else.

        Args:
            part: HTML, in which what is not markup has been escaped.
        """
        self._parts.append(part)

    def write(self, path: Path | str) -> Path:
        """Write the file; its path.

        Args:
            path: where to; folders on the way are made.
        """
        footer = f"<footer>{html.escape(surroundings())}</footer>"
        page.write_page(Path(path), page.page_of(self.title, [*self._parts, footer]))
        return Path(path)
