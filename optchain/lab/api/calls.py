"""`train`, `tune`, `compare` and `find_lr` on objects."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import pydantic

from optchain.lab.api import dimensions
from optchain.lab.api.objects import Objects
from optchain.lab.api.results import Comparison, Run, Study
from optchain.lab.api.tables import Tables
from optchain.lab.api.training import train_in
from optchain.lab.base.errors import InputError
from optchain.lab.base.signals import Interrupted
from optchain.lab.comparison import compare as comparing
from optchain.lab.comparison.tables import Comparison as ComparisonTable
from optchain.lab.runs.config import Config
from optchain.lab.settings.load import explained
from optchain.lab.settings.table import Table
from optchain.lab.settings.train import Train
from optchain.lab.training import experiment
from optchain.lab.tuning import working
from optchain.lab.tuning.tables import Search
from optchain.lab.tuning.tables import Study as StudyTable
from optchain.lab.tuning.tune import Tuning

Made = TypeVar("Made", bound=Table)
COMMAND = "from Python: "


def train(
    *,
    task: Any,
    model: Any,
    optimizer: Any,
    steps: int | None = None,
    batch: Any,
    out: Path | str,
    overwrite: bool = False,
    quiet: bool = False,
    **more: Any,
) -> Run:
    """Train a model, or go on with the run that the same call began.

    An interrupt (Ctrl-C, a notebook's stop) saves what was made and gives a usable `Run`; the same call goes on.

    Args:
        task: `Arrays`, `Examples`, a function or an object whose `load()` gives some, or a table such as
            `{"use": "csv", "path": "data.csv", "target": "price"}`. In any table `use` may be the object itself.
        model: a module of flax.linen, its class, or a function that makes it; of nnx its class or a function of `rngs`.
            A parameter `outputs` or `task` is given what the task says.
        optimizer: a chain, a transformation of optax, a function without arguments that makes one, or the table of a
            chain, `{"adam": {"use": "scale_by_adam"}, ...}`.
        steps: of training; or say `epochs`.
        batch: examples a step.
        out: the run's folder.
        overwrite: whether a run in the folder is removed first.
        quiet: whether nothing is shown meanwhile.
        more: `loss`, `metrics`, `augment`, `gradient` (names or functions), `preprocess`, `perturb`, `adversary`,
            `start` (tables), `grow` (a list of tables), and what the table `[train]` takes, such as `seed`,
            `evaluate_every` or `early_stopping`.

    Returns:
        The run, with its scores, its parameters, `predict` and `report`.

    Raises:
        InputError: naming the argument, what was given and the nearest that would do.
    """
    folder = Path(out)
    objects = Objects(folder)
    tables = Tables(objects)
    resolved = made(Config, setup(tables, task, model, steps, batch, more) | {"optimizer": tables.optimizer(optimizer)})
    built = experiment.build(resolved, "train")
    signal = train_in(folder, built, f"{COMMAND}lab.train", overwrite=overwrite, quiet=quiet, created=objects.write)
    if signal is not None:
        print("interrupted; the same call goes on from there", file=sys.stderr)
    return Run(folder)


def tune(
    *,
    task: Any,
    model: Any,
    optimizer: Any,
    space: Mapping[str, Any],
    steps: int,
    batch: Any,
    out: Path | str,
    overwrite: bool = False,
    quiet: bool = False,
    **more: Any,
) -> Study:
    """Search for the best values of some arguments, or go on with the study that the same call began.

    Args:
        task: as for `train`; so are
        model, optimizer, steps, batch, out, overwrite, quiet: but a function that makes a model or an optimizer may
            take arguments, whose values are searched for.
        space: dimensions by what they vary: `"model.width"` is the argument `width` of the model, `"optimizer.rate"`
            that of the optimizer, `"loss.gamma"` that of the loss, `"train.batch"` the batch. See `choice`, `log`,
            `uniform` and `integers`.
        more: as for `train`, and what the table `[search]` takes, such as `trials`, `seconds`, `sampler`, `pruner`,
            `objective`, `parallel` or `fresh`; its `seed` is `search_seed` here.

    Returns:
        The study, with its best values, its trials, the runs with fresh seeds and `report`.

    Raises:
        InputError: naming the argument or the dimension, what was given and the nearest that would do.
    """
    folder = Path(out)
    objects = Objects(folder)
    tables = Tables(objects, {key: dimensions.first(x) for key, x in space.items()})
    search, others = _searching(tables, more)
    described = setup(tables, task, model, steps, batch, others) | {"optimizer": tables.optimizer(optimizer)}
    study = made(StudyTable, described | {"search": search, "space": tables.placed("space", dict(space))})
    tuning = Tuning(study, folder, "tune", f"{COMMAND}lab.tune")
    tuning.require_valid()
    tuning.prepare(overwrite)
    objects.write()
    try:
        tuning.invite()
        working.search(tuning, quiet)
        tuning.finish()
    except Interrupted:
        print("interrupted; the same call goes on from there", file=sys.stderr)
    return Study(folder)


def compare(
    *,
    task: Any,
    model: Any,
    optimizers: Mapping[str, tuple[Any, Mapping[str, Any]] | dict[str, Any]],
    steps: int,
    batch: Any,
    out: Path | str,
    target: float | None = None,
    overwrite: bool = False,
    **more: Any,
) -> Comparison:
    """Tune several optimizers with equal budgets and compare them on fresh seeds, or go on with that.

    Args:
        task: as for `train`; so are
        model, steps, batch, out, overwrite:
        optimizers: by name a function that makes one, and the space of its arguments, `{"rate": log(1e-4, 1e-1)}`; or a
            table, `{"chain": ..., "space": ...}`.
        target: the validation score whose time is told; the mean of the worst optimizer if left out.
        more: as for `tune`.

    Returns:
        The comparison, with its standings, its studies and `report`.

    Raises:
        InputError: naming the optimizer or the argument, what was given and the nearest that would do.
    """
    folder = Path(out)
    objects = Objects(folder)
    search, others = _searching(Tables(objects), more)
    described = setup(Tables(objects), task, model, steps, batch, others)
    contenders = {}
    for name, contender in optimizers.items():
        if isinstance(contender, dict):
            contenders[name] = Tables(objects).placed(f"optimizers.{name}", contender)
            continue
        optimizer, space = contender
        tables = Tables(objects, {f"optimizer.{key}": dimensions.first(x) for key, x in space.items()})
        contenders[name] = {"chain": tables.optimizer(optimizer), "space": tables.placed("space", dict(space))}
    described |= {"search": search, "optimizers": contenders, "target": target}
    comparison = made(ComparisonTable, described)
    tunings = comparing.studies(comparison, folder, "compare", f"{COMMAND}lab.compare")
    comparing.require_valid(comparison, tunings)
    comparing.prepare(folder, comparison, tunings, f"{COMMAND}lab.compare", overwrite)
    objects.write()
    done: list[str] = []
    try:
        for name in comparing.perform(comparison, tunings):
            done.append(name)
            comparing.write_trials({name: tunings[name] for name in done}, folder / "trials.csv")
    except Interrupted:
        print("interrupted; the same call goes on from there", file=sys.stderr)
    return Comparison(folder)


def setup(tables: Tables, task: Any, model: Any, steps: int | None, batch: Any, more: dict[str, Any]) -> dict[str, Any]:
    """The tables of a setup, from arguments."""
    loop = {name: more[name] for name in more if name in Train.model_fields}
    told = {name: x for name, x in more.items() if name not in loop}
    return tables.setup({"task": task, "model": model, **told}) | {"train": {"steps": steps, "batch": batch, **loop}}


def _searching(tables: Tables, more: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the table `[search]` takes of some arguments, and the others."""
    names = set(Search.model_fields) - {"seed"}
    search = {name: tables.placed(f"search.{name}", x) for name, x in more.items() if name in names}
    if "search_seed" in more:
        search["seed"] = more["search_seed"]
    return search, {name: x for name, x in more.items() if name not in names and name != "search_seed"}


def made(table: type[Made], described: dict[str, Any]) -> Made:
    """The table, or an error in the words of configurations."""
    try:
        return table.model_validate(described, context={"folder": Path()})
    except pydantic.ValidationError as error:
        raise InputError(explained(error)) from None
