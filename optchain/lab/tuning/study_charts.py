"""The charts of a study."""

import math
from collections.abc import Callable, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from optchain.lab.reports.charts import COLORS, POINTS, hovered, logarithmic, svg
from optchain.lab.training.progress import shown
from optchain.lab.tuning.best_so_far import BestSoFar
from optchain.lab.tuning.dimensions import AnyDimension, Choice
from optchain.lab.tuning.front import titled
from optchain.lab.tuning.numbers import Int, Label
from optchain.lab.tuning.objective import Objective
from optchain.lab.tuning.space import Space
from optchain.lab.tuning.trials import Trial

BLUE, ORANGE, _, _, RED, GRAY = COLORS
WIDE = (11.2, 4.2)  # inches


def best_chart(curve: BestSoFar, against: str, xlabel: str, objective: Objective) -> str:
    """The best score so far against a column of the curve."""

    def draw(axes: Axes) -> None:
        x = getattr(curve, against)
        observed = np.isnan(curve.low).all()
        axes.plot(x, curve.score, color=BLUE, linewidth=1.8, drawstyle="steps-post" if observed else "default",
                  marker="o" if len(x) == 1 else None)  # fmt: skip
        if not observed:
            axes.fill_between(x, curve.low, curve.high, color=BLUE, alpha=0.14, linewidth=0)
        if against == "trials":
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))

    return svg(
        f"best {_words(objective)} so far against {against}", xlabel, draw, ylabel=f"validation {_words(objective)}"
    )


def slice_chart(name: str, dimension: AnyDimension, trials: Sequence[Trial], best: Trial, objective: Objective) -> str:
    """The scores against one dimension: finished trials, faintly the last scores of pruned ones, the best filled, and
    diverged ones at the worst edge. Dotted lines are the ends of the range."""

    def draw(axes: Axes) -> None:
        places = _places(axes, dimension)
        mine = [trial for trial in trials if name in trial.labels]
        finished = [trial for trial in mine if trial.state == "finished"]
        pruned = [(places(t.labels[name]), _last(t, objective)) for t in mine if t.state == "pruned"]
        low, high = _frame([trial.score for trial in finished], objective)
        axes.set_ylim(low, high)
        edge = high if objective.sign > 0 else low  # where the worst is
        keep = [(x, y) for x, y in pruned if not math.isnan(y)]
        clipped = [min(max(y, low), high) for _, y in keep]
        axes.plot([x for x, _ in keep], clipped, "o", color=GRAY, alpha=0.28, markersize=4, clip_on=False)
        for trial in finished:
            x, y = places(last_label(trial, name)), min(max(trial.score, low), high)
            axes.plot([x], [y], "o", color=BLUE, markerfacecolor="white", markersize=5, clip_on=False, gid=_gid(trial))
        lost = [places(trial.labels[name]) for trial in mine if trial.state == "diverged"]
        axes.plot(lost, [edge] * len(lost), "v" if objective.sign < 0 else "^", color=RED, markersize=6, clip_on=False)
        if name in best.labels:
            x = places(last_label(best, name))
            axes.plot([x], [best.score], "o", color=ORANGE, markersize=8, zorder=5, gid=_gid(best, "-best"))

    text = svg(name, _short(name), draw, (3.6, 2.5), f"validation {_words(objective)}")
    return hovered(text, {_gid(trial): titled(trial, objective) for trial in trials} | _title_of(best, objective))


def parallel_chart(space: Space, all_trials: Sequence[Trial], objective: Objective) -> str:
    """Each finished trial as a line through its values and its score, coloured by the score."""
    trials = sorted((t for t in all_trials if t.state == "finished"), key=lambda t: -objective.sign * t.score)

    def draw(axes: Axes) -> None:
        low, high = _frame([trial.score for trial in trials], objective)
        norm, colors = Normalize(low, high), matplotlib.colormaps["viridis" if objective.sign < 0 else "viridis_r"]
        for trial in trials:
            heights = [
                _height(dimension, last_label(trial, name)) if name in trial.labels else math.nan
                for name, dimension in space.items()
            ] + [norm(min(max(trial.score, low), high))]
            last = trial is trials[-1]
            color = ORANGE if last else colors(norm(trial.score))
            axes.plot(heights, color=color, alpha=1.0 if last else 0.55, linewidth=2.4 if last else 1.1,
                      marker="o", markersize=5 if last else 2.5, gid=_gid(trial))  # fmt: skip
        ends = [_ends(dimension) for dimension in space.values()] + [(shown(low), shown(high))]
        for i, (bottom, top) in enumerate(ends):
            axes.axvline(i, color="#9aa5b1", linewidth=0.8, zorder=0)
            for y, text, side in ((-0.03, bottom, "top"), (1.03, top, "bottom")):
                axes.text(i, y, text, ha="center", va=side, fontsize=8, color="#52606d")
        axes.set_xticks(range(len(ends)), [*map(_short, space), _words(objective)])
        axes.set_yticks([])
        axes.set_ylim(-0.14, 1.14)
        axes.set_xlim(-0.35, len(ends) - 0.65)
        axes.grid(False)
        axes.spines["left"].set_visible(False)

    text = svg("finished trials by their values and their score", "", draw, WIDE)
    return hovered(text, {_gid(trial): titled(trial, objective) for trial in trials})


def importance_chart(shares: dict[str, float]) -> str:
    """How much of the variance of the scores each dimension accounts for."""

    def draw(axes: Axes) -> None:
        names = list(shares)[::-1]
        axes.barh(range(len(names)), [shares[name] for name in names], color=BLUE, height=0.55)
        axes.set_yticks(range(len(names)), names)
        axes.set_xlim(0, 1)

    return svg("importance", "share of the variance of the score", draw, (11.2, 0.9 + 0.3 * len(shares)))


def learning_chart(trials: Sequence[Trial], best: Trial | None, objective: Objective) -> str:
    """The validation score of every trial over its steps."""

    def draw(axes: Axes) -> None:
        curves = {trial.number: learning_curve(trial, objective) for trial in trials}
        for trial in trials:
            steps, scores = curves[trial.number]
            if trial is best or not steps:
                continue
            pruned, diverged = trial.state == "pruned", trial.state == "diverged"
            color = RED if diverged else GRAY if pruned else BLUE
            axes.plot(steps, scores, color=color, alpha=0.3 if pruned else 0.45, linewidth=0.9)
            if pruned or diverged:
                axes.plot(steps[-1:], scores[-1:], "^" if diverged else "x", color=color, alpha=0.7, markersize=4.5)
        if best is not None:
            steps, scores = curves[best.number]
            axes.plot(steps, scores, color=ORANGE, linewidth=2.4, zorder=5, label=f"trial {best.number}, the best")
        for marker, color, state in (("x", GRAY, "pruned"), ("^", RED, "diverged")):
            if any(trial.state == state for trial in trials):
                axes.plot([], [], marker, color=color, markersize=4.5, label=state)
        every = [y for _, scores in curves.values() for y in scores]
        if every:
            low, high = np.quantile(every, [0.0, 0.97] if objective.sign > 0 else [0.03, 1.0])
            room = 0.04 * (high - low) or 0.1
            axes.set_ylim(low * 0.97 if objective.name == "loss" and low > 0 else low - room, high + room)
            if objective.name == "loss" and low > 0:
                logarithmic(axes)
            axes.legend(fontsize=8)

    return svg(f"validation {_words(objective)} of every trial", "step", draw, WIDE, f"validation {_words(objective)}")


def learning_curve(trial: Trial, objective: Objective) -> tuple[list[int], list[float]]:
    """Steps and validation scores of a trial, means over its runs as far as all of them have come."""
    rows = list(zip(*trial.evaluations, strict=False))
    rows = rows[:: len(rows) // POINTS + 1]
    mean = [objective.sign * float(np.mean([objective.of_row(row) for row in at])) for at in rows]
    return [at[0]["step"] for at in rows], mean


def last_label(trial: Trial, name: str) -> Label:
    """What a trial had of a dimension in the end: a member of a population has changed it."""
    schedule = (trial.schedule or {}).get(name, trial.labels[name])
    return schedule["values"][-1] if isinstance(schedule, dict) else schedule


def _gid(trial: Trial, what: str = "") -> str:
    return f"trial{trial.number}{what}"


def _title_of(best: Trial, objective: Objective) -> dict[str, str]:
    return {_gid(best, "-best"): titled(best, objective)}


def _last(trial: Trial, objective: Objective) -> float:
    scores = learning_curve(trial, objective)[1]
    return scores[-1] if scores else math.nan


def _places(axes: Axes, dimension: AnyDimension) -> Callable[[Label], float]:
    """Set up the axis of a dimension; from its labels to places on it."""
    if isinstance(dimension, Choice):
        order = {label: float(i) for i, label in enumerate(dimension.labels)}
        axes.set_xticks(range(len(order)), [shown(label) for label in order])
        axes.set_xlim(-0.5, len(order) - 0.5)
        return order.__getitem__
    low, high = dimension.ends
    for end in (low, high):
        axes.axvline(end, color=GRAY, linewidth=0.8, linestyle=":")
    if dimension.logarithmic:
        axes.set_xscale("log")
        if high / low < 100:  # too few powers of ten to label only those
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
    elif isinstance(dimension, Int):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return float


def _height(dimension: AnyDimension, label: Label) -> float:
    """Where a value lies between the ends of its dimension, 0 to 1."""
    if isinstance(dimension, Choice):
        labels = list(dimension.labels)
        return labels.index(label) / (len(labels) - 1) if len(labels) > 1 else 0.5
    return dimension.place(label)


def _ends(dimension: AnyDimension) -> tuple[str, str]:
    if isinstance(dimension, Choice):
        labels = list(dimension.labels)
        return shown(labels[0]), shown(labels[-1]) if len(labels) > 1 else ""
    low, high = dimension.ends
    return shown(low), shown(high)


def _frame(scores: Sequence[float], objective: Objective) -> tuple[float, float]:
    """The range of scores that is worth drawing: the worst tenth is far off as a rule."""
    low, high = np.quantile(scores, [0.0, 0.9] if objective.sign > 0 else [0.1, 1.0])
    room = 0.08 * (high - low) or 0.05 * abs(low) or 0.1
    return float(low - room), float(high + room)


def _short(name: str) -> str:
    return ".".join(name.split(".")[-2:])


def _words(objective: Objective) -> str:
    return objective.name.replace("_", " ")
