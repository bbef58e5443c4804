"""A sweep of learning rates over the digits MLP, run in every way there is: the seconds of each, from its description
to its results."""

import functools
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.benchmarks import record
from experiments.benchmarks.contenders import no_torch
from experiments.benchmarks.timing import interleaved
from optchain import lab

# Each way of running a study that the tuner has is timed beside it, part by part.
from optchain.lab.runs.config import Config
from optchain.lab.runs.run import Run
from optchain.lab.training.evaluate import counted
from optchain.lab.training.experiment import build, load_task
from optchain.lab.training.program import Program
from optchain.lab.training.scoring import models
from optchain.lab.tuning import space
from optchain.lab.tuning.claim import seed_of
from optchain.lab.tuning.lanes import Lanes
from optchain.lab.tuning.tables import Study

RATE, LOW, HIGH = "optimizer.lr.learning_rate", 1e-4, 1e-1
HIDDEN, BATCH = 128, 64
WORKERS = 2

RECOMPILED, ONE_BY_ONE, LANES = "compiled for each rate", "compiled once, one by one", "compiled once, lanes"
TUNE = {
    "tune, parallel none": {"parallel": "none"},
    "tune, parallel vmap": {"parallel": "vmap"},
    "tune, parallel processes": {"parallel": "processes", "workers": WORKERS},
}
TORCH = "Optuna, torch loop"

Way = Callable[[Study, Path], list[float]]  # runs the sweep, with an empty folder; the last validation losses, by rate


def run(rates: int, every: int, evaluations: int, repeats: int, out: Path) -> Path:
    """Measure, print and record; the path of the record."""
    study = described(rates, every, evaluations)
    ways: dict[str, Way] = {RECOMPILED: recompiled, ONE_BY_ONE: one_by_one, LANES: lanes}
    ways |= {name: functools.partial(tuned, own) for name, own in TUNE.items()}
    if (reason := no_torch()) is None:
        ways[TORCH] = torch_loop
    else:
        print(reason)
    losses: dict[str, np.ndarray] = {}

    def sweep(name: str) -> None:
        # None is to profit from what another has compiled.
        jax.clear_caches()
        with tempfile.TemporaryDirectory() as folder:
            losses[name] = np.array(ways[name](study, Path(folder)))

    seconds = interleaved({name: functools.partial(sweep, name) for name in ways}, repeats)
    rows = [row(name, study, seconds, losses) for name in ways]
    record.show("A sweep of learning rates (ratios of the least times)", rows)
    record.append(out, rows)
    return out


def row(name: str, study: Study, seconds: dict[str, list[float]], losses: dict[str, np.ndarray]) -> record.Row:
    """What is shown and recorded of one way."""
    own = min(seconds[name])
    apart = np.abs(losses[name] - losses[ONE_BY_ONE])
    same = name != TORCH  # which begins with other parameters, and draws other batches
    return {
        "way": name,
        "rates": len(losses[name]),
        "steps": study.train.steps,
        "seconds_min": own,
        "seconds_median": statistics.median(seconds[name]),
        "times_faster": min(seconds[RECOMPILED]) / own,
        "times_faster_than_torch": min(seconds[TORCH]) / own if TORCH in seconds else None,
        "best_rate": float(rates_of(study)[int(np.nanargmin(losses[name]))]),
        "best_loss": float(np.nanmin(losses[name])),
        "median_difference": float(np.median(apart)) if same else None,
        "largest_difference": float(apart.max()) if same else None,
    }


def described(rates: int, every: int, evaluations: int) -> Study:
    """The sweep as a study."""
    steps = every * evaluations
    table: dict[str, Any] = {
        "search": {"sampler": "grid", "fresh": 0},
        "space": {RATE: {"use": "log", "low": LOW, "high": HIGH, "points": rates}},
        "task": {"use": "experiments.tasks.digits:digits", "validation": 360, "test": 360},
        "model": {"hidden": [HIDDEN]},
        "train": {"steps": steps, "batch": BATCH, "evaluate_every": every, "checkpoint_every": steps},
        "optimizer": {
            "adam": {"use": "scale_by_adam"},
            "lr": {"use": "scale_by_learning_rate", "learning_rate": LOW},
        },
    }
    return Study.model_validate(table)


def rates_of(study: Study) -> list[float]:
    """The learning rates, in the order of the trials."""
    return [point[RATE] for point in space.grid(study.space)]


def configs(study: Study) -> list[Config]:
    """The configurations of the runs, with the seeds that the tuner gives them."""
    return [
        study.config({RATE: rate}, train={"seed": seed_of(study.search.seed, number, 0)})
        for number, rate in enumerate(rates_of(study))
    ]


def recompiled(study: Study, _: Path) -> list[float]:
    """A loop that has its rate as a constant and is compiled anew for each; what has no rate in it is compiled once."""
    runs = configs(study)
    built = build(runs[0], RECOMPILED)
    shared = Program(built)
    return [trained(Program(built.having(config)), config, shared) for config in runs]


def one_by_one(study: Study, _: Path) -> list[float]:
    """The rates as arguments of one compiled loop, one after the other."""
    runs = configs(study)
    program = Program(build(runs[0], ONE_BY_ONE), (RATE,))
    return [trained(program, config, program) for config in runs]


def trained(program: Program, config: Config, shared: Program) -> float:
    """The last validation loss of a run that is evaluated as often as a trial of the tuner.

    Args:
        program: with the loop.
        config: of the run.
        shared: which initializes and evaluates.
    """
    carry, loss = shared.start(config), float("nan")
    for _ in range(config.train.steps // config.train.evaluate_every):
        carry, logs, _ = program.run(config, carry, config.train.evaluate_every)
        variables = models(carry)
        loss = float(shared.evaluate(variables[counted(variables)], *shared.data["validation"])["loss"])
        jax.tree.map(np.asarray, logs)  # what a loop would write down
    return loss


def lanes(study: Study, folder: Path) -> list[float]:
    """The rates as arguments of one compiled loop, all at once in lanes."""
    configured = configs(study)
    pool = Lanes(Program(build(configured[0], LANES), (RATE,)), configured[0], len(configured))
    runs = [Run(folder / str(number)) for number in range(len(configured))]
    for run, config in zip(runs, configured, strict=True):
        run.folder.mkdir()
        pool.begin(run, config, owner=None)
    pool.drain()
    return [validation_loss(run) for run in runs]


def validation_loss(run: Run) -> float:
    """The last one of a run; NaN if it has diverged."""
    scores = (run.result or {})["scores"]
    return scores["validation"]["parameters"]["loss"] if scores else float("nan")


def tuned(search: dict[str, Any], study: Study, folder: Path) -> list[float]:
    """The tuner, with all that it writes down."""
    changes = {f"search.{name}": x for name, x in search.items()}
    tuned = lab.Configuration(study.model_dump(exclude_none=True), changes, source="sweep").tune(folder, quiet=True)
    tuned.report()
    return [trial["score"] for trial in tuned.trials]


def torch_loop(study: Study, _: Path) -> list[float]:
    """Optuna and a loop as in its tutorials for torch."""
    from experiments.benchmarks import sweep_torch

    return sweep_torch.losses(rates_of(study), load_task(study).splits, HIDDEN, study.train)
