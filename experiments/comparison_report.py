"""The report of a comparison: one HTML file that needs nothing else."""

import html
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

import optchain as oc
from experiments.charts import COLORS, logarithmic, svg
from experiments.compare import Trial
from experiments.evaluate import evaluated
from experiments.intervals import interval
from experiments.logs import read
from experiments.page import table, write_page
from experiments.run import Run
from experiments.standings import Standing, standings
from experiments.tables import Comparison
from optchain.core.describe import in_columns

WIDE = (11.2, 5.2)  # inches
DASHES = ("-", "--", ":", "-.")


def write(comparison: Comparison, found: Sequence[Trial], folder: Path) -> list[Standing]:
    """Write `report.html` in the folder of a comparison; the standings that it shows."""
    ranked = standings(found, comparison.optimizers)
    run = Run(folder)
    style = {one.name: _style(i) for i, one in enumerate(ranked)}
    figures = [
        svg(f"validation loss of {comparison.seeds} fresh seeds, mean and 95 % interval", "validation loss",
            lambda axes: _forest(axes, ranked, style), (11.2, 0.6 + 0.32 * len(ranked))),
        *(
            svg(f"validation loss against {label}: mean of the fresh seeds, 95 % interval", label,
                lambda axes, x=x: _curves(axes, ranked, style, x), WIDE)
            for label, x in (("step", "step"), ("seconds of training", "seconds"))
        ),
        svg("validation loss at each point of the grids, one seed; the best point is filled", _numbers(comparison),
            lambda axes: _tuning(axes, ranked, style), WIDE),
    ]  # fmt: skip
    warnings = "".join(f"<li>{html.escape(line)}</li>" for line in warnings_of(ranked))
    points = len(next(iter(comparison.optimizers.values())).points)
    train = comparison.train
    body = [
        f'<p class="sub">{len(ranked)} optimizers, each tuned by {points} runs with seed {train.seed} and run anew '
        f"with {comparison.seeds} fresh seeds; every run {train.steps} steps of {train.batch} examples. "
        "The best point has the lowest validation loss at the end of its run; the test examples were scored by the "
        "fresh runs only.</p>",
        f"<h2>Standings</h2>\n{table(rows_of(ranked))}",
        f"<ul>{warnings}</ul>" if warnings else "",
        "<h2>Curves</h2>",
        *(f'<div class="chart">{figure}</div><br>' for figure in figures),
        "<details><summary>Chains</summary>",
        *(_chain(comparison, one) for one in ranked),
        "</details>",
        "<details><summary>How to repeat it</summary>",
        f'<div class="card"><pre>{html.escape(run.about["command"])}</pre></div>',
        f'<div class="card"><pre>{html.escape(run.surroundings)}</pre></div>',
        f'<div class="card"><pre>{html.escape(json.dumps(comparison.model_dump(), indent=2))}</pre></div>',
        "</details>",
    ]
    write_page(folder / "report.html", f"{comparison.task.use}: {len(ranked)} optimizers compared", body)
    return ranked


def rows_of(ranked: list[Standing]) -> list[dict[str, str]]:
    """The standings as rows of text."""
    scored = [trial for one in ranked for trial in one.finished]
    metrics = [name for name in scored[0].scores("test") if name != "loss"] if scored else []
    return [
        {
            "optimizer": one.name,
            "best point": ", ".join(f"{key} {x:g}" for key, x in one.fresh[0].point.items()) if one.fresh else "none",
            "validation loss": str(one.loss("validation")),
            "behind the first": str(one.behind(ranked[0], "validation")) if one is not ranked[0] else "",
            "test loss": str(one.loss("test")),
            **{f"test {name.replace('_', ' ')}": str(one.score("test", name)) for name in metrics},
            "diverged": f"{_diverged(one.tuned)} of {len(one.tuned)}, {_diverged(one.fresh)} of {len(one.fresh)}",
            "ms a step": "-" if math.isnan(one.milliseconds) else f"{one.milliseconds:.2f}",
            "compiling": f"{one.compiling:.1f} s",
        }
        for one in ranked
    ]


def lines_of(ranked: list[Standing]) -> list[str]:
    """The standings and what makes them doubtful, in plain lines."""
    rows = rows_of(ranked)
    return [*in_columns([list(rows[0]), *(list(row.values()) for row in rows)]), *warnings_of(ranked)]


def warnings_of(ranked: list[Standing]) -> list[str]:
    """What makes a standing doubtful, in plain lines."""
    edges = [f"{one.name}: {edge}; extend its grid and run again" for one in ranked for edge in one.edges]
    lost = [f"{one.name}: every point of its grid diverged; extend it downwards" for one in ranked if not one.fresh]
    return edges + lost


def _diverged(trials: list[Trial]) -> int:
    return sum(trial.diverged for trial in trials)


def _style(i: int) -> dict[str, Any]:
    return {"color": COLORS[i % len(COLORS)], "linestyle": DASHES[i // len(COLORS) % len(DASHES)], "linewidth": 1.5}


def _numbers(comparison: Comparison) -> str:
    """What the grids vary, in a word."""
    return ", ".join(dict.fromkeys(key.split(".")[-1] for one in comparison.optimizers.values() for key in one.grid))


def _forest(axes: Axes, ranked: list[Standing], style: dict[str, Any]) -> None:
    for i, one in enumerate(ranked):
        found, color = one.loss("validation"), style[one.name]["color"]
        losses = [trial.score("validation") for trial in one.finished]
        axes.plot(losses, [i] * len(losses), "o", color=color, alpha=0.35, markersize=4)
        if losses:
            half = 0 if math.isnan(found.half) else found.half
            axes.errorbar(found.mean, i, xerr=half, color=color, fmt="|", markersize=12, capsize=3, linewidth=1.6)
    axes.set_yticks(range(len(ranked)), [one.name for one in ranked])
    axes.invert_yaxis()


def _curves(axes: Axes, ranked: list[Standing], style: dict[str, Any], x: str) -> None:
    """Means over the fresh seeds, where all of them have been evaluated."""
    lowest, highest = [], []
    for one in ranked:
        logs = [_evaluations(trial.run) for trial in one.finished]
        if not logs:
            continue
        across = [np.mean([row[x] for row in rows]) for rows in zip(*logs, strict=False)]
        found = [interval([row["loss"] for row in rows]) for rows in zip(*logs, strict=False)]
        mean, half = np.array([y.mean for y in found]), np.nan_to_num([y.half for y in found])
        axes.plot(across, mean, label=one.name, **style[one.name])
        axes.fill_between(across, mean - half, mean + half, color=style[one.name]["color"], alpha=0.1, linewidth=0)
        lowest.append(mean.min())
        highest.append(mean[len(mean) // 5])  # what comes before is steep, and the same for all
    if lowest:
        axes.set_ylim(0.98 * min(lowest), 1.02 * max(highest))
        if min(lowest) > 0:
            logarithmic(axes)
        _legend(axes)


def _tuning(axes: Axes, ranked: list[Standing], style: dict[str, Any]) -> None:
    for one in ranked:
        key = next(iter(one.contender.grid))  # further keys lie behind one another
        best = one.fresh[0].point if one.fresh else None
        tuned = sorted((trial.point[key], trial.score("validation"), trial.point == best) for trial in one.tuned)
        values, losses, _ = zip(*tuned, strict=True)
        axes.plot(values, losses, label=one.name, marker="o", markersize=4, markerfacecolor="white", **style[one.name])
        chosen = [(x, y) for x, y, is_best in tuned if is_best]  # none where all diverged
        axes.plot([x for x, _ in chosen], [y for _, y in chosen], "o", color=style[one.name]["color"], markersize=6)
    losses = [trial.score("validation") for one in ranked for trial in one.tuned if not trial.diverged]
    if losses:
        low, high = min(losses), float(np.quantile(losses, 0.9))  # the rest is far above
        axes.set_ylim(low - 0.1 * (high - low), high + 0.1 * (high - low))
    if all(x > 0 for one in ranked for trial in one.tuned for x in trial.point.values()):
        axes.set_xscale("log")
    _legend(axes)


def _legend(axes: Axes) -> None:
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _evaluations(run: Run) -> list[dict[str, float]]:
    """Step, seconds and validation loss of each evaluation, of the average where the chain keeps one."""
    rows = [row["evaluation"] for row in read(run.folder / "metrics.jsonl") if "evaluation" in row]
    return [
        {
            "step": row["step"],
            "seconds": row["seconds"],
            "loss": evaluated(row, "loss"),
        }
        for row in rows
    ]


def _chain(comparison: Comparison, one: Standing) -> str:
    point = one.fresh[0].point if one.fresh else one.tuned[0].point
    config = comparison.config(one.name, point, comparison.train.seed)
    text = str(oc.from_config(config.optimizer))
    return f'<h3>{html.escape(one.name)}</h3><div class="card"><pre>{html.escape(text)}</pre></div>'
