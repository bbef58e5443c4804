"""A configuration to begin with, of which every number has a reason."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import pydantic

from optchain.core.paths import named_leaves
from optchain.lab.base.doing import say
from optchain.lab.base.errors import InputError
from optchain.lab.data.examples import Examples
from optchain.lab.data.loading import examples_of, made
from optchain.lab.data.preprocess.missing import Impute
from optchain.lab.data.task import Task
from optchain.lab.probes.advice import data, gradients, length
from optchain.lab.probes.advice.advice import Advice, applied
from optchain.lab.probes.advice.model import of_model
from optchain.lab.runs.config import Config
from optchain.lab.settings.load import explained
from optchain.lab.training import experiment

RATE = "optimizer.lr.learning_rate"
NORM = "optimizer.clip.max_norm"
FIRST_BATCH = 32
# What stands in for what is not known yet.
CHAIN = (
    Advice("optimizer.clip.use", "clip_by_global_norm", ""),
    Advice(NORM, 1e30, ""),
    Advice("optimizer.adam.use", "scale_by_adam", ""),
    Advice("optimizer.lr.use", "scale_by_learning_rate", ""),
    Advice(RATE, 1e-3, ""),
)
STUDY = ("search", "space")  # tables that no run has
KERNELS = "*kernel"  # what Flax calls the matrices of its layers


class Suggestion:
    """What a file says, and what is advised beside it.

    Args:
        said: the tables of the file, which stand as they are.
        folder: of the file.
        source: the file, to name in errors.

    Raises:
        InputError: the file has no table `[task]`.
    """

    def __init__(self, said: Mapping[str, Any], folder: Path, source: str) -> None:
        if "task" not in said:
            has = ", ".join(f"[{name}]" for name in said) or "nothing"
            raise InputError(f"{source}: expected a table [task] that says what the data are; there is {has}")
        self.said, self.folder, self.source = said, folder, source
        self.advice: list[Advice] = []

    @property
    def tables(self) -> dict[str, Any]:
        """The whole configuration."""
        return applied(self.said, self.advice)

    def add(self, *advice: Advice) -> None:
        """Take advice, except where the file says something itself."""
        self.advice += [one for one in advice if not self.says(one.key)]

    def says(self, key: str) -> bool:
        """Whether the file says it: the number itself, or the table, of all but `[task]` and `[train]`."""
        table, _, name = key.partition(".")
        if table not in ("task", "train"):
            return table in self.said
        within = self.said.get(table, {})
        length = {"epochs", "steps"}
        return name.split(".")[0] in within or (name in length and bool(length & set(within)))

    def config(self, *more: Advice) -> Config:
        """The configuration so far, with what is not advised yet filled in.

        Raises:
            InputError: naming the file and the dotted key.
        """
        chain = [] if "optimizer" in self.tables else CHAIN
        tables = applied({name: x for name, x in self.tables.items() if name not in STUDY}, [*chain, *more])
        tables.setdefault("model", {})
        train = tables.setdefault("train", {})
        if not {"steps", "epochs"} & set(train):
            train["steps"] = 1000
        train.setdefault("batch", FIRST_BATCH)
        try:
            return Config.model_validate(tables, context={"folder": self.folder})
        except pydantic.ValidationError as error:
            raise InputError(f"{self.source}: {explained(error)}") from None


def suggest(said: Mapping[str, Any], folder: Path, source: str) -> Suggestion:
    """Look at the data and at the model, and advise on all that a file does not say.

    Args:
        said: the tables of the file.
        folder: of the file.
        source: the file, to name in errors.

    Raises:
        InputError: the file describes no task, or one that cannot be trained.
    """
    found = Suggestion(said, folder, source)
    examples = examples_of(found.config().task)
    found.add(*data.of_split(examples, said["task"]))
    if isinstance(examples, Examples) and data.is_table(examples):
        filled: Any = {"fill": Impute()}  # in any case, for only the rows of the split are looked at
        found.add(*data.of_preparation(examples, made(examples, found.config().task, filled).rows["train"]))
    found.add(*data.of_classes(experiment.load_task(found.config(), examples)))
    task = experiment.load_task(found.config(), examples)  # with the loss that follows from the classes
    found.add(*of_model(task))
    first = min(FIRST_BATCH, task.size)
    if "optimizer" in said:
        found.add(gradients.batch(found.config(), source, task), length.epochs(task.size))
        found.add(*length.evaluations(_steps(found, task.size), "validation" in task.splits))
    else:
        _advise_optimizer(found, task, Advice("train.batch", first, ""))
    experiment.build(found.config(), source, task)
    return found


def _advise_optimizer(found: Suggestion, task: Task, first: Advice) -> None:
    """The rate, the size of batches, the length, and the links of the chain."""
    measured = [] if found.says(first.key) else [first]
    rate = gradients.rate(found.config(*measured), RATE, found.source, task)
    found.add(gradients.batch(found.config(*measured, Advice(RATE, rate, "")), found.source, task))
    batch, used = (found.config(*extra).train.policy.largest for extra in ((), measured))
    why = f"a tenth of that with the lowest loss in a range test from {gradients.LOW:g} to {gradients.HIGH:g}"
    if batch != used:
        rate *= math.sqrt(batch / used)
        why += f" with batches of {used}; times the root of {batch} / {used} (arXiv:2205.10287)"
    rate = float(f"{rate:.2g}")
    found.add(length.epochs(task.size))
    steps = _steps(found, task.size)
    found.add(*length.evaluations(steps, "validation" in task.splits))
    norm = gradients.clip(found.config(Advice(RATE, rate, "")), NORM, found.source, task)
    b2 = length.b2(steps)
    found.add(
        Advice("optimizer.clip.use", "clip_by_global_norm", "so that no single batch moves everything"),
        norm,
        Advice("optimizer.adam.use", "scale_by_adam", "needs the least tuning"),
        b2,
    )
    if _has_kernels(found, task):
        found.add(
            Advice("optimizer.decay.use", "add_decayed_weights", "decoupled: not divided by the second moment"),
            length.decay(steps, rate),
            Advice("optimizer.decay.mask", KERNELS, "the matrices of layers, no biases and no scales"),
        )
    found.add(
        Advice("optimizer.lr.use", "scale_by_learning_rate", "last: it scales the decay too"),
        Advice(f"{RATE}.use", "warmup_cosine", "ends at 0, where the noise of the last steps is gone"),
        Advice(f"{RATE}.peak", rate, why),
        length.warmup(steps, b2.value),
        Advice(f"{RATE}.total", "train.steps", "all of the run"),
    )


def _steps(found: Suggestion, examples: int) -> int:
    """The steps of the configuration so far."""
    steps = found.config().in_steps(examples).train.steps
    assert steps is not None
    return steps


def _has_kernels(found: Suggestion, task: Task) -> bool:
    say("building the model")
    built = experiment.build(found.config(), found.source, task)
    names = [path for path, _ in named_leaves(jax.eval_shape(built.start)["params"])]
    return any(name.endswith(KERNELS[1:]) for name in names)
