"""The charts of a comparison."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from optchain.lab.base.intervals import interval
from optchain.lab.comparison.standings import Standing
from optchain.lab.comparison.tables import Comparison
from optchain.lab.reports.charts import COLORS, forest, logarithmic, svg
from optchain.lab.tuning import space
from optchain.lab.tuning.best_so_far import best_so_far
from optchain.lab.tuning.dimensions import Choice
from optchain.lab.tuning.samplers import is_adaptive

WIDE = (11.2, 5.2)  # inches
DASHES = ("-", "--", ":", "-.")
FEW = 6  # optimizers, of more of which the intervals of a search hide one another


def charts(comparison: Comparison, ranked: list[Standing], name: str) -> list[str]:
    """The scores of the fresh seeds, their curves, the budgets and the trials, each as SVG.

    Args:
        comparison: what was compared.
        ranked: the standings, at least one.
        name: of the score, in words.
    """
    style = styles(comparison.optimizers)  # the same for any standings
    seeds = comparison.search.fresh
    return [
        forest(f"validation {name} of {seeds} fresh seeds, mean and 95 % interval", f"validation {name}",
               [(standing.name, [x.score("validation", standing.objective.name) for x in standing.finished],
                 standing.result) for standing in ranked], [style[standing.name]["color"] for standing in ranked]),
        *(
            svg(f"validation {name} against {label}: mean of the fresh seeds, 95 % interval", label,
                lambda axes, x=x: _curves(axes, ranked, style, x), WIDE, f"validation {name}")
            for label, x in (("step", "step"), ("seconds of training", "seconds"))
        ),
        *(
            svg(f"best validation {name} so far against {label}{_kind(comparison, ranked)}", label,
                lambda axes, x=x: _budget(axes, ranked, style, x), WIDE, f"validation {name}")
            for label, x in (("trials", "trials"), ("seconds of compiling, training and evaluating", "seconds"))
        ),
        svg(f"validation {name} of every trial along the first dimension; the best is filled", _numbers(comparison),
            lambda axes: _tuning(axes, ranked, style), WIDE, f"validation {name}"),
    ]  # fmt: skip


def styles(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """How the curve of each optimizer is drawn, by name, in all charts of all reports.

    Args:
        names: of the optimizers, in the order of the configuration.
    """
    return {
        name: {"color": COLORS[i % len(COLORS)], "linestyle": DASHES[i // len(COLORS) % len(DASHES)], "linewidth": 1.5}
        for i, name in enumerate(names)
    }


def _numbers(comparison: Comparison) -> str:
    """What the spaces vary first, in a word."""
    return ", ".join(
        dict.fromkeys(next(iter(contender.space)).split(".")[-1] for contender in comparison.optimizers.values())
    )


def _curves(axes: Axes, ranked: list[Standing], style: dict[str, Any], x: str) -> None:
    """Means over the fresh seeds, where all of them have been evaluated."""
    best, worst, sign = [], [], ranked[0].objective.sign
    for standing in ranked:
        logs = [run.evaluations for run in standing.finished]
        if not logs:
            continue
        across = [np.mean([row[x] for row in rows]) for rows in zip(*logs, strict=False)]
        intervals = [
            interval([sign * standing.objective.of_row(row) for row in rows]) for rows in zip(*logs, strict=False)
        ]
        mean, half = np.array([y.mean for y in intervals]), np.nan_to_num([y.half for y in intervals])
        axes.plot(across, mean, label=standing.name, **style[standing.name])
        axes.fill_between(across, mean - half, mean + half, color=style[standing.name]["color"], alpha=0.1, linewidth=0)
        best.append(sign * (sign * mean).min())
        worst.append(mean[len(mean) // 5])  # what comes before is steep, and the same for all
    if best:
        low, high = min(best + worst), max(best + worst)
        room = 0.05 * (high - low) or 0.1
        axes.set_ylim(low - room, high + room)
        if sign > 0 and low > room:
            logarithmic(axes)
        _legend(axes)


def _budget(axes: Axes, ranked: list[Standing], style: dict[str, Any], x: str) -> None:
    """The best of so many trials, or of so many seconds."""
    scores, sign = [], ranked[0].objective.sign
    finished = [sign * trial.score for standing in ranked for trial in standing.outcome.ended if trial.counts]
    for standing in ranked:
        # By the worst of all, or an optimizer of which little finished would be ahead.
        worst = sign * max(finished) if finished else None
        curve = best_so_far(standing.outcome.trials, standing.tuning.study.search, sign, worst)
        if curve is None:
            continue
        across, observed = getattr(curve, x), np.isnan(curve.low).all()
        axes.plot(across, curve.score, label=standing.name, drawstyle="steps-post" if observed else "default",
                  marker="o" if len(across) == 1 else None, **style[standing.name])  # fmt: skip
        if not observed and len(ranked) <= FEW:
            axes.fill_between(
                across, curve.low, curve.high, color=style[standing.name]["color"], alpha=0.08, linewidth=0
            )
        scores += [*curve.score]
    if scores:
        # The first of a few trials may be far off, and would leave nothing to be seen of the rest.
        ends = np.quantile(scores, [0.0, 0.85] if sign > 0 else [0.15, 1.0])
        room = 0.08 * (ends[1] - ends[0]) or 0.1
        axes.set_ylim(ends[0] - room, ends[1] + room)
        _legend(axes)
    if x == "trials":
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _tuning(axes: Axes, ranked: list[Standing], style: dict[str, Any]) -> None:
    positive, scores = True, []
    for standing in ranked:
        dimensions = standing.tuning.study.space
        key, dimension = next(iter(dimensions.items()))  # further ones lie behind one another
        places = _places(dimension)
        positive &= all(x > 0 for x in places.values()) if places else dimension.logarithmic
        finished = [trial for trial in standing.outcome.ended if trial.state == "finished"]
        tuned = sorted((places[t.labels[key]] if places else t.labels[key], t.score) for t in finished)
        line = style[standing.name] | ({} if len(dimensions) == 1 else {"linestyle": ""})
        axes.plot(*zip(*tuned, strict=True) if tuned else ([], []), label=standing.name, marker="o", markersize=4,
                  markerfacecolor="white", **line)  # fmt: skip
        winner = standing.outcome.winner
        if winner is not None:
            at = places[winner.labels[key]] if places else winner.labels[key]
            axes.plot([at], [winner.score], "o", color=style[standing.name]["color"], markersize=6, zorder=5)
        scores += [trial.score for trial in finished]
    if scores:
        low, high = np.quantile(scores, [0.0, 0.9] if ranked[0].objective.sign > 0 else [0.1, 1.0])
        axes.set_ylim(low - 0.1 * (high - low), high + 0.1 * (high - low))  # the rest is far off
    if positive:
        axes.set_xscale("log")
    _legend(axes)


def _places(dimension: space.AnyDimension) -> dict[Any, float]:
    """Where the labels of a choice lie on an axis; nothing for a range, whose numbers do themselves."""
    if not isinstance(dimension, Choice):
        return {}
    numbers = [x for x in dimension.labels.values() if isinstance(x, int | float)]
    if len(numbers) == len(dimension.labels):
        return {label: float(x) for label, x in dimension.labels.items()}
    return {label: float(i) for i, label in enumerate(dimension.labels, 1)}


def _legend(axes: Axes) -> None:
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _kind(comparison: Comparison, ranked: list[Standing]) -> str:
    if is_adaptive(comparison.search.sampler):
        return ", as observed"
    shaded = ", 95 % interval" if len(ranked) <= FEW else ""
    return f": expected{shaded}; diverged or pruned counts as the worst of all"
