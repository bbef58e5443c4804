"""What a search finds in as many steps of training as every other: the digits MLP, four numbers of its optimizer."""

import functools
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from matplotlib.axes import Axes
from rich.console import Console
from rich.progress import track

from experiments.benchmarks import record
from experiments.benchmarks.contenders import no_torch
from experiments.benchmarks.searcher import Searcher, created
from optchain import lab

# What the tuner does in a step of its lanes is what is set beside one another here, so it is driven from within.
from optchain.lab.runs.config import Config
from optchain.lab.tuning.lanes import Lanes
from optchain.lab.tuning.programs import Programs
from optchain.lab.tuning.tables import Study

SAMPLERS, PRUNED = ("random", "quasi_random", "tpe", "gp"), ("random", "tpe", "gp")
EVALUATIONS = 9  # in a full trial: three rungs, each three times the one before
SPACE: dict[str, Any] = {
    "optimizer.lr.peak": {"use": "log", "low": 1e-5, "high": 1.0},
    "optimizer.adam.b1": {"use": "float", "low": 0.0, "high": 0.99},
    "optimizer.adam.b2": {"use": "choice", "values": [0.9, 0.99, 0.999]},
    "optimizer.decay.weight_decay": {"use": "log", "low": 1e-4, "high": 10.0},
}

Scores = dict[str, dict[str, float]]  # a configuration's loss and metric on each split: its true quality


def run(studies: int, trials: int, every: int, fresh: int, pruner: str, out: Path) -> Path:
    """Search, judge, print, draw and record; the path of the record."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    methods = contenders(pruner)
    if (reason := no_torch()) is not None:
        print(f"{reason}; gp needs it and is left out")
        methods = {name: search for name, search in methods.items() if search["sampler"] != "gp"}
    else:
        import torch

        torch.set_num_threads(1)  # a process of some ten points: a second thread would only be waited for
    with tempfile.TemporaryDirectory() as folder:
        searchers = [
            Searcher(name, described(search | {"seed": seed}, every), Path(folder) / name / str(seed))
            for name, search in methods.items()
            for seed in range(studies)
        ]
        pool = lanes(searchers[0].study, len(searchers))
        perform(searchers, pool, trials)
        require_chosen(searchers)
        quality = judged(searchers, pool, range(fresh), Path(folder) / "fresh")
    budget = trials * EVALUATIONS * every
    results = [row(searcher, budget, quality) for searcher in searchers]
    standings = summary(results)
    record.show(f"Chosen after {budget} steps, by {studies} studies of each method", standings)
    record.append(out, [*results, *standings])
    draw(searchers, quality, budget, standings, out.with_suffix(".html"))
    print(f"chart: {out.with_suffix('.html')}")
    return out


def contenders(pruner: str) -> dict[str, dict[str, Any]]:
    """The methods by name, each as the table of a search."""
    plain: dict[str, dict[str, Any]] = {name: {"sampler": name} for name in SAMPLERS}
    return plain | {f"{name}, {pruner}": {"sampler": name, "pruner": {"use": pruner}} for name in PRUNED}


def described(search: dict[str, Any], every: int) -> Study:
    """A study by one method. How many trials it makes is decided by their steps, not by its own budget."""
    steps = EVALUATIONS * every
    table: dict[str, Any] = {
        "search": {"trials": 1} | search,
        "space": SPACE,
        "task": {"use": "experiments.tasks.digits:digits", "validation": 360, "test": 360},
        "model": {"hidden": [128]},
        "train": {"steps": steps, "batch": 64, "evaluate_every": every},
        "optimizer": {
            "adam": {"use": "scale_by_adam", "b1": 0.9, "b2": 0.999},
            "decay": {"use": "add_decayed_weights", "weight_decay": 1e-2, "mask": "*/kernel"},
            "lr": {"use": "warmup_cosine", "peak": 1e-3, "warmup": every, "total": steps},
        },
    }
    return Study.model_validate(table)


def lanes(study: Study, width: int) -> Lanes:
    """Lanes for runs of any of the studies: they differ in numbers that one compiled loop takes as arguments."""
    config = study.config({})
    _, program = Programs("search").of(config, list(study.space))
    return Lanes(program, config, width)


def perform(searchers: list[Searcher], pool: Lanes, trials: int) -> None:
    """Let all studies make as many steps as so many full trials have: each has one lane, and all go on together.

    What is in progress when the steps are used up has been paid for, and is of no use any more.
    """
    advances = trials * EVALUATIONS
    console = Console(stderr=True)
    shown = track(range(1, advances + 1), "searching", console=console, disable=not console.is_terminal)
    for advance in shown:
        for searcher in searchers:
            searcher.begin(pool)
        for lane, row in pool.advance():
            lane.owner.hear(pool, lane, row, advance * pool.every)
    for lane in pool.running:
        pool.drop(lane)


def require_chosen(searchers: list[Searcher]) -> None:
    """Every study has a trial that finished.

    Raises:
        InputError: one has none.
    """
    for searcher in searchers:
        if not searcher.chosen:
            endings = ", ".join(searcher.endings) or "none ended"
            raise lab.InputError(
                f"{searcher.method}, seed {searcher.study.search.seed}: no trial finished ({endings}); "
                "expected more --trials"
            )


def judged(searchers: list[Searcher], pool: Lanes, seeds: Sequence[int], folder: Path) -> dict[str, Scores]:
    """The true quality of all that a study has ever chosen, by configuration: means over runs with the same seeds."""
    configs = {key(chosen.config): chosen.config for searcher in searchers for chosen in searcher.chosen}
    jobs = [
        (name, config.model_copy(update={"train": config.train.model_copy(update={"seed": seed})}))
        for name, config in configs.items()
        for seed in seeds
    ]
    width, scores = len(pool.lanes), {name: [] for name in configs}
    for first in range(0, len(jobs), width):
        group = jobs[first : first + width]
        for number, (name, config) in enumerate(group, first):
            pool.begin(created(folder / str(number)), config, name)
        pool.drain()
        splits = {split: pool.scores(split) for split in ("validation", "test")}
        for i, (name, _) in enumerate(group):
            scores[name].append({split: lanes[i] for split, lanes in splits.items()})
    return {name: mean(runs) for name, runs in scores.items()}


def mean(scores: list[Scores]) -> Scores:
    """The mean of each score."""
    return {
        split: {name: statistics.fmean(values[split][name] for values in scores) for name in scores[0][split]}
        for split in scores[0]
    }


def key(config: Config) -> str:
    """A configuration as text."""
    return config.model_dump_json()


def row(searcher: Searcher, budget: int, quality: dict[str, Scores]) -> record.Row:
    """What is recorded of one study."""
    true = [(chosen.step, quality[key(chosen.config)]) for chosen in searcher.chosen]
    return {
        "method": searcher.method,
        "seed": searcher.study.search.seed,
        "steps": budget,
        "trials": len(searcher.endings),
        "pruned": searcher.endings.count("pruned"),
        "diverged": searcher.endings.count("diverged"),
        "thinking_s": searcher.seconds,
        "own_loss": searcher.chosen[-1].score,
        **{f"{split}_{name}": value for split, scores in true[-1][1].items() for name, value in scores.items()},
        "chosen": [{"step": step, "validation_loss": scores["validation"]["loss"]} for step, scores in true],
        "optimizer": searcher.chosen[-1].config.optimizer,
    }


def summary(results: list[record.Row]) -> list[record.Row]:
    """A row for each method: means over its studies with 95 % intervals, and its studies against those of random
    search with the same seeds."""
    rows, of = [], {}
    for result in results:
        of.setdefault(result["method"], []).append(result)
    for method, studies in of.items():
        behind = [a["validation_loss"] - b["validation_loss"] for a, b in zip(studies, of["random"], strict=True)]
        rows.append(
            {
                "method": method,
                "trials": statistics.fmean(study["trials"] for study in studies),
                "own_loss": statistics.fmean(study["own_loss"] for study in studies),
                "validation_loss": str(lab.interval([study["validation_loss"] for study in studies])),
                "behind_random": "-" if method == "random" else str(lab.interval(behind)),
                "test_loss": str(lab.interval([study["test_loss"] for study in studies])),
                "test_accuracy": str(lab.interval([study["test_accuracy"] for study in studies])),
                "thinking_s": statistics.fmean(study["thinking_s"] for study in studies),
            }
        )
    return rows


def draw(
    searchers: list[Searcher], quality: dict[str, Scores], budget: int, standings: list[record.Row], path: Path
) -> None:
    """Write a page with the charts and the table."""
    page = lab.Page("What searches find in as many steps")
    title = "Validation loss, on fresh seeds, of the best configuration so far: mean over the studies"
    curves = functools.partial(_curves, searchers=searchers, quality=quality, budget=budget)
    page.chart(title, "steps of all trials together", curves, log=True)
    ends = {
        method: [so_far(searcher, budget, quality) for searcher in searchers if searcher.method == method]
        for method in dict.fromkeys(searcher.method for searcher in searchers)
    }
    page.forest("At the end: each study, the mean and its 95 % interval", "validation loss", ends)
    page.table([{name.replace("_", " "): record.cell(value) for name, value in row.items()} for row in standings])
    page.write(path)


def _curves(axes: Axes, searchers: list[Searcher], quality: dict[str, Scores], budget: int) -> None:
    """From where all studies of a method have chosen something to the end."""
    lowest, highest = [], []
    for method in dict.fromkeys(searcher.method for searcher in searchers):
        group = [searcher for searcher in searchers if searcher.method == method]
        first = max(searcher.chosen[0].step for searcher in group)
        steps = sorted(
            {budget, *(chosen.step for searcher in group for chosen in searcher.chosen if chosen.step >= first)}
        )
        intervals = [lab.interval([so_far(searcher, step, quality) for searcher in group]) for step in steps]
        middle = np.array([x.mean for x in intervals])
        sampler, _, pruner = method.partition(", ")
        style: Any = {"color": f"C{SAMPLERS.index(sampler)}", "linestyle": "--" if pruner else "-"}
        axes.step(steps, middle, where="post", label=method, linewidth=1.5, **style)
        lowest.append(np.nanmin(middle))
        highest.append(middle[max(0, np.searchsorted(steps, budget / 5, "right") - 1)])  # what comes before is steep
    axes.set_ylim(0.95 * min(lowest), 1.05 * np.nanmax(highest))
    axes.legend(fontsize=8)


def so_far(searcher: Searcher, step: int, quality: dict[str, Scores]) -> float:
    """The true validation loss of what a study had chosen by some step."""
    last = [chosen for chosen in searcher.chosen if chosen.step <= step][-1]
    return quality[key(last.config)]["validation"]["loss"]
