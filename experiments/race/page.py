"""The page of a race: what to try first, the losses, the charts; as a report, and for the documentation."""

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from experiments.markdown import table
from experiments.race import judged
from experiments.race.measured import Race
from optchain import lab
from optchain.core.describe import in_columns
from optchain.lab.comparison.charts import styles
from optchain.lab.reports.charts import svg

BASIS = "adamw"  # what the others are held beside
FACTORS = 8.0  # of the least steps, to which a profile is drawn
FEW = (1, 3)  # trials, that a table shows beside all of them
WIDE = (11.2, 4.6)  # inches
Chart = tuple[str, str, Callable[[Axes], None], str, tuple[float, float]]  # title, axis, drawing, other axis, inches


def first(race: Race) -> list[dict[str, str]]:
    """What to try first: a row for each optimizer, by its mean distance over the tasks."""
    tasks = race.tasks.values()
    far = [judged.distances(task) for task in tasks]
    chances = [judged.chances(task) for task in tasks]
    level = [judged.level_with_best(task) for task in tasks]
    few = [n for n in FEW if all(n <= len(x) for chance in chances for x in chance.values())]
    rows = []
    for name in judged.ranked(race):
        row = {
            "optimizer": _words(name),
            "distance": _short(lab.interval([x[name] for x in far])),
            **{f"good in {n} trial{'s' if n > 1 else ''}, %": _percent([x[name][n - 1] for x in chances]) for n in few},
            "as good as the best": str(sum(name in names for names in level)),
        }
        if all(BASIS in task.entries for task in tasks):
            behind = [judged.against(task.entries[name], task.entries[BASIS]) for task in tasks]
            apart = [x for x in behind if judged.is_apart(x)]
            row |= {
                f"beats {BASIS}": str(sum(x.mean < 0 for x in apart)),
                f"loses to {BASIS}": str(sum(x.mean > 0 for x in apart)),
            }
            ratios = [task.entries[name].milliseconds / task.entries[BASIS].milliseconds for task in tasks]
            row[f"time / {BASIS}"] = f"{statistics.median(ratios):.2f}"
        sizes = [task.entries[name].bytes for task in tasks]
        low, high = f"{min(sizes):.1f}", f"{max(sizes):.1f}"
        rows.append(row | {"bytes per parameter": low if low == high else f"{low} to {high}"})
    return rows


def losses(race: Race) -> list[dict[str, str]]:
    """The test losses: a row for each optimizer, a column for each task; a star where it is as good as the best."""
    level = {name: judged.level_with_best(task) for name, task in race.tasks.items()}
    return [
        {"optimizer": _words(optimizer)}
        | {
            name: f"{_loss(task, optimizer)}{' *' if optimizer in level[name] else ''}"
            for name, task in race.tasks.items()
        }
        for optimizer in judged.ranked(race)
    ]


def chosen(race: Race) -> list[dict[str, str]]:
    """The best points: a row for each optimizer, a column for each task."""
    return [
        {"optimizer": _words(optimizer)}
        | {
            name: ", ".join(f"{x:.3g}" for x in task.entries[optimizer].best.values())
            for name, task in race.tasks.items()
        }
        for optimizer in judged.ranked(race)
    ]


def facts(race: Race) -> list[dict[str, str]]:
    """A row for each task: its size, and what it took."""
    return [
        {
            "task": name,
            "parameters": f"{task.parameters:,}",
            "steps": str(task.steps),
            "batch": str(task.batch),
            "runs": str(sum(len(entry.trials) + len(entry.fresh) for entry in task.entries.values())),
            "seconds": f"{task.seconds:.0f}",
        }
        for name, task in race.tasks.items()
    ]


def charts_of(race: Race) -> dict[str, Chart]:
    """The charts, by the name of their file."""
    names = judged.ranked(race)
    style = styles(names)
    far = {name: judged.distances(task) for name, task in race.tasks.items()}
    chances = [judged.chances(task) for task in race.tasks.values()]
    soon = {name: judged.steps_to_target(task) for name, task in race.tasks.items()}

    def distance(axes: Axes) -> None:
        for marker, (task, row) in zip("os^Dv*PX", far.items(), strict=False):
            axes.plot([row[name] for name in names], range(len(names)), marker, label=task, alpha=0.75, markersize=6)
        mean = [statistics.mean(row[name] for row in far.values()) for name in names]
        axes.plot(mean, range(len(names)), "|", color="#1f2933", markersize=14, markeredgewidth=2, label="mean")
        axes.set_yticks(range(len(names)), [_words(name) for name in names])
        axes.invert_yaxis()
        axes.legend(fontsize=8)

    def budget(axes: Axes) -> None:
        for name in names:
            mean = np.mean([chance[name] for chance in chances], axis=0)
            axes.plot(np.arange(1, len(mean) + 1), mean, label=_words(name), **style[name])
        axes.set_ylim(-0.02, 1.04)
        axes.legend(fontsize=8)

    def profile(axes: Axes) -> None:
        at = np.geomspace(1.0, FACTORS, 400)
        shares = [judged.within(soon, factor) for factor in at]
        for name in names:
            axes.step(at, [share[name] for share in shares], where="post", label=_words(name), **style[name])
        axes.set_ylim(-0.02, 1.04)
        axes.legend(fontsize=8)

    return {
        "race-distance": (
            "distance from the best test loss: 0 for the best optimizer of a task, 1 for the median one",
            f"distance, at most {judged.CAP:g}", distance, "", (11.2, 0.9 + 0.32 * len(names)),
        ),
        "race-budget": (
            "chance that one of n trials is as good as the best trial of the median optimizer, mean over the tasks",
            "trials", budget, "chance", WIDE,
        ),
        "race-profile": (
            "share of the tasks on which the median optimizer's final loss is reached within a factor of the fewest "
            "steps", "factor", profile, "share of the tasks", WIDE,
        ),
    }  # fmt: skip


def lines_of(race: Race) -> list[str]:
    """What to try first, in plain lines."""
    rows = first(race)
    return in_columns([list(rows[0]), *(list(row.values()) for row in rows)])


def said(race: Race) -> str:
    """How the race was run."""
    task = next(iter(race.tasks.values()))
    entry = next(iter(task.entries.values()))
    return (
        f"{len(task.entries)} optimizers are compared on {len(race.tasks)} small tasks. On each task, every optimizer "
        f"is tuned by trying {len(entry.trials)} points of its search space, the same points on all tasks. The point "
        f"with the lowest validation loss is run again with {len(entry.fresh)} fresh seeds, and judged by the loss on "
        "test examples. The table is sorted by distance. The runs are short and the models small, so the ranking says "
        "little about long training of large models."
    )


def conclusion(race: Race) -> str:
    """What to try first, in a sentence or two."""
    best, level = judged.ranked(race)[0], judged.level_with_first(race)
    if not level:
        return f"Begin with {_words(best)}: over these tasks every other optimizer is farther from the best for sure."
    names = ", ".join(_words(name) for name in level)
    cost = {
        name: statistics.median(x.entries[name].milliseconds for x in race.tasks.values()) for name in (best, *level)
    }
    return (
        f"Begin with {_words(best)}, which has the lowest mean distance. These tasks are too few to tell it apart from "
        f"{names}. Of all of these, a step of {_words(min(cost, key=lambda name: cost[name]))} takes the least time."
    )


def meanings() -> list[dict[str, str]]:
    """What the columns of `first` mean."""
    told = {
        "distance": "(loss - best) / (median - best): 0 for the best optimizer of a task and 1 for the median one, cut "
        f"off at {judged.CAP:g}; the mean over the tasks, with a 95 % interval by Student's t as if the tasks were "
        "drawn from many like them",
        "good in n trials": "the chance that at least one of n trials, drawn at random, has a validation loss as low "
        "as the best trial of the median optimizer; the mean over the tasks",
        "as good as the best": "the number of tasks on which the 95 % interval of the paired difference to the best "
        "optimizer contains 0; a very wide interval does so even if the mean is far from the best",
        f"beats {BASIS}, loses to {BASIS}": "the number of tasks on which the 95 % interval of the paired difference "
        f"to {BASIS} lies below 0, or above it",
        f"time / {BASIS}": f"the time of a step relative to that of {BASIS}; the median over the tasks",
        "bytes per parameter": "the size of the optimizer's state; the smallest and the largest of the tasks",
    }
    return [{"column": name, "meaning": text} for name, text in told.items()]


def write_report(race: Race, path: Path) -> None:
    """Write one HTML file that needs nothing else."""
    page = lab.Page(f"Which optimizer to try first: {len(race.tasks)} tasks")
    page.text(said(race))
    page.text(conclusion(race))
    page.table(first(race))
    page.table(meanings())
    for title, axis, draw, other, size in charts_of(race).values():
        page.html(f'<div class="chart">{svg(title, axis, draw, size, other)}</div>')
    page.heading("Test loss of the fresh seeds")
    page.text("A star marks optimizers that are as good as the best.")
    page.table(losses(race))
    page.heading("Chosen hyperparameters")
    page.text("The best point of each search, in the order of the configuration's spaces.")
    page.table(chosen(race))
    page.heading("Tasks")
    page.table(facts(race))
    for name, task in race.tasks.items():
        page.code("\n".join(task.warnings) or "none", f"Warnings of {name}")
    page.code(f"{race.command}\n{race.machine}", "How to repeat it")
    page.write(path)


def write_docs(race: Race, folder: Path) -> None:
    """Write `race.json`, `race.md` and its charts."""
    pictures = folder / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    for name, (title, axis, draw, other, size) in charts_of(race).items():
        (pictures / f"{name}.svg").write_text(svg(title, axis, draw, size, other) + "\n", encoding="utf-8")
    race.write(folder / "race.json")
    (folder / "race.md").write_text(markdown(race), encoding="utf-8")


def markdown(race: Race) -> str:
    """The page of the documentation."""
    edges = [f"- {name}: {line}" for name, task in race.tasks.items() for line in task.warnings]
    charts = [f"![{title}](pictures/{name}.svg)" for name, (title, *_) in charts_of(race).items()]
    total = sum(task.seconds for task in race.tasks.values())
    parts = [
        "# What to try first",
        f"This page is generated from `race.json` by `{race.command} --docs docs`; do not edit it. The race took "
        f"{total:.0f} s on {race.machine}.",
        said(race),
        f"**{conclusion(race)}**",
        "`configs/race/race.toml` describes each task and has the whole chain and the search space of each optimizer. "
        "In Python, schedule free is `oc.schedule_free_adamw`; evaluate its model at "
        "`oc.averaged_params(state, params)`.",
        table(first(race)),
        table(meanings()),
        *charts,
        "## Test loss of the fresh seeds",
        "Mean and 95 % interval. A star marks optimizers that are as good as the best, or whose interval is too "
        "wide to tell.",
        table(losses(race)),
        "## Chosen hyperparameters",
        "The best point of each search, in the order of the spaces in `configs/race/race.toml`: the learning rate, the "
        "decay of an average, the weight decay.",
        table(chosen(race)),
        "## Tasks",
        table(facts(race)),
        "## Warnings",
        "A best value at an end of its search space means that a wider space might have a better one.",
        "\n".join(edges) or "None.",
    ]
    return "\n\n".join(parts) + "\n"


def _loss(task: judged.Raced, optimizer: str) -> str:
    """The mean test loss and its interval, of those that did not diverge, and how many did."""
    runs = task.entries[optimizer].fresh
    done = [run.test for run in runs if run.test is not None]
    diverged = f", {len(runs) - len(done)} diverged" if len(done) < len(runs) else ""
    return f"{lab.interval(done)}{diverged}"


def _percent(shares: Sequence[float]) -> str:
    return f"{100 * statistics.mean(shares):.0f}"


def _short(mean: lab.Interval) -> str:
    return f"{mean.mean:.2f} ± {mean.half:.2f}"


def _words(name: str) -> str:
    return name.replace("_", " ")
