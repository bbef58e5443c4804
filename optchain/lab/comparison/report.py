"""The report of a comparison: one HTML file that needs nothing else."""

import html
import math
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from optchain.core.describe import in_columns
from optchain.lab.base.intervals import interval, scored
from optchain.lab.comparison.paired import holm
from optchain.lab.comparison.standings import Standing, standings, target_of
from optchain.lab.comparison.tables import Comparison
from optchain.lab.reports.charts import COLORS, forest, logarithmic, svg
from optchain.lab.reports.page import card, notes, table, write_page
from optchain.lab.runs.config import chain_of
from optchain.lab.runs.run import Run
from optchain.lab.tuning import space
from optchain.lab.tuning.best_so_far import best_so_far
from optchain.lab.tuning.dimensions import Choice
from optchain.lab.tuning.outcome import mean
from optchain.lab.tuning.samplers import is_adaptive, name_of
from optchain.lab.tuning.tune import Tuning

WIDE = (11.2, 5.2)  # inches
DASHES = ("-", "--", ":", "-.")
FEW = 6  # optimizers, of more of which the intervals of a search hide one another
LEVEL = 0.05  # of the corrected p by t, from which on two optimizers are not told apart
SEEDS = 5  # fewer fresh seeds say little
ADAM, SGD = {"adam", "adamw", "scale_by_adam"}, {"sgd", "momentum", "nesterov", "trace"}


def write(comparison: Comparison, tunings: dict[str, Tuning], folder: Path) -> list[Standing]:
    """Write `report.html` in the folder of a comparison; the standings that it shows."""
    ranked, run = standings(tunings), Run(folder)
    name = _score(ranked)
    style = {standing.name: _style(i) for i, standing in enumerate(ranked)}
    seeds = comparison.search.fresh
    figures = [
        forest(f"validation {name} of {seeds} fresh seeds, mean and 95 % interval", f"validation {name}",
               [(standing.name, [x.score("validation", standing.objective.name) for x in standing.finished],
                 standing.result) for standing in ranked]),
        *(
            svg(f"validation {name} against {label}: mean of the fresh seeds, 95 % interval", label,
                lambda axes, x=x: _curves(axes, ranked, style, x), WIDE, f"validation {name}")
            for label, x in (("step", "step"), ("seconds of training", "seconds"))
        ),
        *(
            svg(f"best validation {name} so far against {label}{_kind(comparison, ranked)}", label,
                lambda axes, x=x: _budget(axes, ranked, style, x), WIDE, f"validation {name}")
            for label, x in (("trials", "trials"), ("seconds of training and compiling", "seconds"))
        ),
        svg(f"validation {name} of every trial along the first dimension; the best is filled", _numbers(comparison),
            lambda axes: _tuning(axes, ranked, style), WIDE, f"validation {name}"),
    ]  # fmt: skip
    body = [
        f'<p class="sub">{html.escape(_how(comparison, ranked))}</p>',
        notes(warnings_of(ranked)),
        f"<h2>Standings</h2>\n{table(rows_of(ranked))}",
        f'<p class="sub">{html.escape(_tests(ranked, seeds))}</p>',
        f"<h2>Cost</h2>\n{table(costs_of(ranked, comparison))}",
        f'<p class="sub">{html.escape(_target(ranked, comparison))} On {html.escape(run.surroundings)}.</p>',
        "<h2>Curves</h2>",
        *(f'<div class="chart">{figure}</div>' for figure in figures),
        "<h2>Studies</h2>",
        f"<p>{', '.join(_link(standing) for standing in ranked)}</p>",
        "<details><summary>Chains</summary>",
        *(_chain(standing) for standing in ranked),
        "</details>",
        "<details><summary>How to repeat it</summary>",
        card(f"{run.about['command']} --out {folder}\noptchain report {folder}"),
        card(run.surroundings),
        card(tomli_w.dumps(comparison.model_dump(exclude_none=True))),
        "</details>",
    ]
    write_page(folder / "report.html", f"{comparison.task.use}: {len(ranked)} optimizers compared", body)
    return ranked


def rows_of(ranked: list[Standing]) -> list[dict[str, str]]:
    """The standings as rows of text; last the chains as they are written."""
    scored = [run for standing in ranked for run in standing.finished]
    name = ranked[0].objective.name
    others = [other for other in (scored[0].scores("test") if scored else {}) if other != name]
    tests = [standing.behind(ranked[0]) for standing in ranked[1:]]
    corrected = [holm([test.t for test in tests]), holm([test.flips for test in tests])]
    rows = []
    for i, standing in enumerate(ranked):
        behind = {"behind the first": "", "p by t": "", "p by signs": ""} if i == 0 else {
            "behind the first": str(tests[i - 1].difference),
            "p by t": _p(corrected[0][i - 1]),
            "p by signs": _p(corrected[1][i - 1]),
        }  # fmt: skip
        rows.append(
            {
                "optimizer": standing.name,
                "against the first": "the best mean" if i == 0 else _verdict(corrected[0][i - 1]),
                "best point": _point(standing),
                f"validation {_score(ranked)}": str(standing.result),
            }
            | behind
            | {f"test {key.replace('_', ' ')}": str(standing.score("test", key)) for key in [name, *others]}
            | {"diverged": _diverged(standing)}
        )
    for standing in ranked:
        if standing.default:
            rows.append(
                {"optimizer": f"{standing.name}, as written", "best point": "not tuned"}
                | {f"validation {_score(ranked)}": str(mean(standing.default, "validation", name))}
                | {f"test {key.replace('_', ' ')}": str(mean(standing.default, "test", key)) for key in [name, *others]}
                | {"diverged": f"{sum(x.diverged for x in standing.default)} of {len(standing.default)}"}
            )
    return rows


def costs_of(ranked: list[Standing], comparison: Comparison) -> list[dict[str, str]]:
    """What the optimizers cost, as rows of text."""
    target, batch = target_of(ranked, comparison.target), comparison.train.batch
    return [
        {
            "optimizer": standing.name,
            "steps to target": _reached(standing.reaching(target, "step"), "{:g}"),
            "seconds to target": _reached(standing.reaching(target, "seconds"), "{:.2f}"),
            "ms a step": "-" if math.isnan(standing.milliseconds) else f"{standing.milliseconds:.2f}",
            "trials": str(len(standing.outcome.ended)),
            "steps": f"{standing.steps:,}",
            "examples": f"{standing.steps * batch:,}" if isinstance(batch, int) else "by its policy",
            "training": f"{standing.seconds('training'):.1f} s",
            "compiling": f"{standing.seconds('compiling'):.1f} s",
        }
        for standing in ranked
    ]


def lines_of(ranked: list[Standing], comparison: Comparison) -> list[str]:
    """The standings, their costs, and what makes them doubtful, in plain lines."""
    lines = []
    for rows in (rows_of(ranked), costs_of(ranked, comparison)):
        names = list(rows[0])
        lines += in_columns([names, *([row.get(name, "") for name in names] for row in rows)])
    return [*lines, _tests(ranked, comparison.search.fresh), _target(ranked, comparison), *warnings_of(ranked)]


def warnings_of(ranked: list[Standing]) -> list[str]:
    """What makes a standing doubtful, in plain lines."""
    edges = [
        f"{standing.name}: {edge}; extend its space and run again"
        for standing in ranked for edge in standing.outcome.edges
    ]  # fmt: skip
    lost = [
        f"{standing.name}: no trial finished; extend its space downwards"
        for standing in ranked
        if standing.outcome.winner is None
    ]
    seeds = ranked[0].tuning.study.search.fresh
    few = [f"{seeds} fresh seeds; {SEEDS} or more say something"] if seeds < SEEDS else []
    return [*edges, *lost, *few, *_insane(ranked)]


def _insane(ranked: list[Standing]) -> list[str]:
    """A tuned Adam is no worse than tuned SGD, or the budget was too small to tune it."""
    adams = [standing for standing in ranked if _links(standing) & ADAM and standing.finished]
    others = [standing for standing in ranked if _links(standing) & SGD and standing.finished]
    if not adams or not others:
        return []
    adam, sgd = adams[0], others[0]
    difference = adam.behind(sgd).difference
    half = 0.0 if math.isnan(difference.half) else difference.half
    if math.isnan(difference.mean) or difference.mean - half <= 0:
        return []
    problem = f"{adam.name} is worse than {sgd.name} by {difference}, which a tuned Adam is not as a rule"
    return [f"{problem}: the budget is too small, or the space of {adam.name} is elsewhere"]


def _links(standing: Standing) -> set[str]:
    """What the chain itself is made of; not what its links hold."""
    chain = standing.tuning.study.optimizer
    return {str(chain.get("use"))} | {str(link.get("use")) for link in chain.values() if isinstance(link, dict)}


def _how(comparison: Comparison, ranked: list[Standing]) -> str:
    search, train = comparison.search, comparison.train
    counts = sorted({len(standing.outcome.ended) for standing in ranked})
    trials = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    budget = f" and {search.seconds:g} s" if search.seconds else ""
    sampler = name_of(search.sampler).replace("_", " ")
    return (
        f"{len(ranked)} optimizers, each tuned by {trials} trials{budget} ({sampler}), with "
        f"the same seed for the n-th trial of all; the best of each run anew with {search.fresh} fresh seeds, the same "
        f"for all, and judged by these alone. Every run {train.steps} steps of {train.policy} examples. The best has "
        f"the best validation {_score(ranked)}; the test examples were scored by the fresh runs only."
    )


def _tests(ranked: list[Standing], seeds: int) -> str:
    return (
        f"Not told apart: p by t is {LEVEL:g} or more, so that the order may be chance. p: that the difference to the "
        "first, on the same seeds, is chance; by a paired t-test and by flipping the "
        f"signs of the differences, both two-sided with Holm's correction for {len(ranked) - 1} comparisons. Flipping "
        f"the signs of {seeds} differences gives no less than {2 / 2**seeds:.3g} before the correction."
    )


def _target(ranked: list[Standing], comparison: Comparison) -> str:
    target = target_of(ranked, comparison.target)
    whose = "as configured" if comparison.target is not None else "the mean of the last in the standings"
    return (
        f"Target: a validation {_score(ranked)} of {scored(target)}, {whose}; the median over the fresh seeds of the "
        "first evaluation that reached it, in steps and in seconds of training."
    )


def _score(ranked: list[Standing]) -> str:
    return ranked[0].objective.name.replace("_", " ")


def _kind(comparison: Comparison, ranked: list[Standing]) -> str:
    if is_adaptive(comparison.search.sampler):
        return ", as observed"
    shaded = ", 95 % interval" if len(ranked) <= FEW else ""
    return f": expected{shaded}; diverged or pruned counts as the worst of all"


def _verdict(p: float) -> str:
    return "not told apart" if math.isnan(p) or p >= LEVEL else "worse"


def _p(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}" if value >= 0.001 else f"{value:.1g}"


def _point(standing: Standing) -> str:
    winner = standing.outcome.winner
    return "none" if winner is None else ", ".join(f"{key} {words}" for key, words in winner.words.items())


def _reached(value: float, form: str) -> str:
    return "-" if math.isnan(value) else "never" if math.isinf(value) else form.format(value)


def _diverged(standing: Standing) -> str:
    outcome = standing.outcome
    fresh = sum(run.diverged for run in outcome.fresh)
    return f"{outcome.count('diverged')} of {len(outcome.ended)}, {fresh} of {len(outcome.fresh)}"


def _style(i: int) -> dict[str, Any]:
    return {"color": COLORS[i % len(COLORS)], "linestyle": DASHES[i // len(COLORS) % len(DASHES)], "linewidth": 1.5}


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
    finished = [
        sign * trial.score for standing in ranked for trial in standing.outcome.ended if trial.state == "finished"
    ]
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


def _link(standing: Standing) -> str:
    return f'<a href="studies/{standing.name}/report.html">{standing.name}</a>'


def _chain(standing: Standing) -> str:
    study, winner = standing.tuning.study, standing.outcome.winner
    values = {} if winner is None else winner.schedule or space.values(winner.labels, study.space)
    return f"<h3>{html.escape(standing.name)}</h3>{card(str(chain_of(study.config(values))))}"
