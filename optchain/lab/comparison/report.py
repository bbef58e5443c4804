"""The report of a comparison: one HTML file that needs nothing else."""

import html
import math
from pathlib import Path

import tomli_w

from optchain.core.describe import in_columns
from optchain.lab.base.intervals import scored
from optchain.lab.comparison.charts import charts
from optchain.lab.comparison.paired import holm
from optchain.lab.comparison.standings import Standing, standings, target_of
from optchain.lab.comparison.tables import Comparison
from optchain.lab.reports.page import card, notes, page_of, table, write_page
from optchain.lab.runs.config import shown_chain
from optchain.lab.runs.facts import named
from optchain.lab.runs.run import Run
from optchain.lab.training.seconds import bound, total
from optchain.lab.tuning import space
from optchain.lab.tuning.outcome import mean
from optchain.lab.tuning.samplers import name_of
from optchain.lab.tuning.tune import Tuning

LEVEL = 0.05  # of the corrected p by t, from which on two optimizers are not told apart
SEEDS = 5  # fewer fresh seeds say little
ADAM, SGD = {"adam", "adamw", "scale_by_adam"}, {"sgd", "momentum", "nesterov", "trace"}


def write(comparison: Comparison, tunings: dict[str, Tuning], folder: Path) -> list[Standing]:
    """Write `report.html` in the folder of a comparison; the standings that it shows."""
    text, ranked = page(comparison, tunings, folder)
    write_page(folder / "report.html", text)
    return ranked


def page(comparison: Comparison, tunings: dict[str, Tuning], folder: Path) -> tuple[str, list[Standing]]:
    """The report of a comparison, and the standings that it shows; nothing is written.

    Args:
        comparison: what is compared.
        tunings: the study of each optimizer, by its name.
        folder: of the comparison.
    """
    ranked, run = standings(tunings), Run(folder)
    name = _score(ranked)
    seeds = comparison.search.fresh
    body = [
        f'<p class="sub">{html.escape(_how(comparison, ranked))}</p>',
        notes(warnings_of(ranked)),
        f"<h2>Standings</h2>\n{table(rows_of(ranked))}",
        f'<p class="sub">{html.escape(_tests(ranked, seeds))}</p>',
        f"<h2>Cost</h2>\n{table(costs_of(ranked, comparison))}",
        f'<p class="sub">{html.escape(_target(ranked, comparison))} Machine: {html.escape(run.surroundings)}.</p>',
        "<h2>Curves</h2>",
        *(f'<div class="chart">{figure}</div>' for figure in charts(comparison, ranked, name)),
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
    return page_of(f"{named(comparison.task)}: {len(ranked)} optimizers compared", body), ranked


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
            **{name: f"{seconds:.1f} s" for name, seconds in standing.seconds.items()},
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
        f"for all, and judged by these alone. Every run {train.length}. The best has "
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
        "first evaluation that reached it, in steps and in seconds of training. Of all optimizers together, "
        f"{bound(total(standing.seconds for standing in ranked)) or 'nothing has taken any time yet'}."
    )


def _score(ranked: list[Standing]) -> str:
    return ranked[0].objective.name.replace("_", " ")


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


def _link(standing: Standing) -> str:
    return f'<a href="studies/{standing.name}/report.html">{standing.name}</a>'


def _chain(standing: Standing) -> str:
    study, winner = standing.tuning.study, standing.outcome.winner
    values = {} if winner is None else winner.schedule or space.values(winner.labels, study.space)
    return f"<h3>{html.escape(standing.name)}</h3>{card(shown_chain(standing.tuning.in_steps(study.config(values))))}"
