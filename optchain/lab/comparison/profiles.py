"""Performance profiles: how often an optimizer is within a factor of the best, over several tasks.

Reference: Dolan and Moré, 2001, arXiv:cs/0102001.
"""

import html
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from optchain.lab.base.errors import InputError
from optchain.lab.comparison import compare
from optchain.lab.comparison.charts import styles
from optchain.lab.comparison.standings import standings, target_of
from optchain.lab.reports.charts import svg
from optchain.lab.reports.page import page_of, table, write_page
from optchain.lab.runs import facts

Costs = dict[str, dict[str, float]]  # by comparison, by optimizer; infinite where it never reached the target
WIDE = (11.2, 4.6)  # inches
ROOM = 1.15  # the axis ends this factor beyond the last step


def write(folders: Sequence[Path], path: Path) -> list[str]:
    """Write the profiles of several comparisons to a file; what they show, in plain lines.

    Raises:
        InputError: fewer than two optimizers are in all of them.
    """
    steps, seconds, names = {}, {}, {}
    for folder in folders:
        comparison, tunings = compare.reopened(folder)
        ranked, names = standings(tunings), names | dict.fromkeys(comparison.optimizers)
        target = target_of(ranked, comparison.target)
        name = f"{facts.named(comparison.task)}: {folder.resolve().name}"
        name = name if name not in steps else str(folder)
        steps[name] = {standing.name: standing.reaching(target, "step") for standing in ranked}
        seconds[name] = {standing.name: standing.reaching(target, "seconds") for standing in ranked}
    common = [name for name in next(iter(steps.values())) if all(name in row for row in steps.values())]
    if len(common) < 2:
        named = "; ".join(f"{folder}: {', '.join(row)}" for folder, row in zip(folders, steps.values(), strict=True))
        raise InputError(f"a profile is of optimizers that are in all comparisons; expected two or more. {named}")
    left = sorted({name for row in steps.values() for name in row} - set(common))
    body = [
        f'<p class="sub">{html.escape(_how(len(steps), left))}</p>',
        *(
            f'<div class="chart">{_chart(what, costs, common, styles(names))}</div>'
            for what, costs in (("steps", steps), ("seconds of training", seconds))
        ),
        f"<h2>Steps to the target</h2>\n{table(_rows(steps, common, '{:g}'))}",
        f"<h2>Seconds of training to the target</h2>\n{table(_rows(seconds, common, '{:.2f}'))}",
    ]
    write_page(path, page_of(f"{len(common)} optimizers on {len(steps)} tasks", body))
    first = {name: profile(steps, common)[name](1.0) for name in common}
    return [f"{name}: the fewest steps on {100 * share:.0f} % of the tasks" for name, share in first.items()]


class Profile:
    """The share of the tasks on which an optimizer takes at most so many times what the best takes."""

    def __init__(self, ratios: Sequence[float]) -> None:
        self.ratios = np.sort(np.array(ratios, float))

    def __call__(self, factor: float) -> float:
        """The share at a factor; infinity never counts as within one."""
        return float(np.mean((self.ratios <= factor) & np.isfinite(self.ratios)))


def profile(costs: Costs, names: Sequence[str]) -> dict[str, Profile]:
    """The profiles of some optimizers. On a task on which none reached the target, none is within any factor."""
    factors: dict[str, list[float]] = {name: [] for name in names}
    for task in costs.values():
        known = {name: math.inf if math.isnan(task[name]) else task[name] for name in names}
        best = min(known.values())
        for name, cost in known.items():
            factors[name].append(cost / best if math.isfinite(cost) else math.inf)
    return {name: Profile(ratios) for name, ratios in factors.items()}


def _chart(what: str, costs: Costs, names: Sequence[str], style: dict[str, dict[str, Any]]) -> str:
    profiles = profile(costs, names)
    ends = [r for curve in profiles.values() for r in curve.ratios if math.isfinite(r)]
    end = ROOM * max(ends, default=1.0)

    def draw(axes: Axes) -> None:
        for name, curve in profiles.items():
            at = np.unique([1.0, *curve.ratios[np.isfinite(curve.ratios)], end])
            axes.step(at, [curve(x) for x in at], where="post", label=name, **style[name])
        axes.set_xlim(1.0, end)
        axes.set_ylim(-0.02, 1.04)
        axes.set_ylabel("share of tasks", color="#52606d")
        axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))

    return svg(f"share of tasks within a factor of the fewest {what} to the target", "factor", draw, WIDE)


def _how(tasks: int, left: Sequence[str]) -> str:
    missing = f" Not in all of them, and left out: {', '.join(left)}." if left else ""
    return (
        f"{tasks} comparisons. On each the cost of an optimizer is the median over the fresh seeds of what it took to "
        "reach the comparison's target; the curve is the share of comparisons on which that is at most so many times "
        f"the cost of the best. At factor 1 it is how often the optimizer was the best.{missing}"
    )


def _rows(costs: Costs, names: Sequence[str], form: str) -> list[dict[str, str]]:
    return [
        {"comparison": task} | {name: form.format(row[name]) if math.isfinite(row[name]) else "never"
                                for name in names}
        for task, row in costs.items()
    ]  # fmt: skip
