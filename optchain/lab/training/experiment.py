"""What a configuration stands for: the task, the network and the optimizer."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

import optchain as oc
from optchain.core.mask import select
from optchain.core.paths import names_of, nearest
from optchain.core.walk import main_numbers
from optchain.lab.base.errors import InputError
from optchain.lab.data import tasks
from optchain.lab.data.task import Task
from optchain.lab.models import network as models
from optchain.lab.settings.tables import Config, with_values
from optchain.lab.training import batch_policies
from optchain.lab.training.chunk import Carry, Parts, Setting, make_start


@dataclasses.dataclass(frozen=True)
class Experiment:
    """All that a run is made of; nothing here changes during the run."""

    config: Config
    task: Task
    model: nn.Module
    tx: optax.GradientTransformation

    def start(self) -> Carry:
        """The carry before the first step."""
        return make_start(self.task, self.parts)(Setting(self.config.train.seed))

    def having(self, config: Config) -> "Experiment":
        """The same experiment with a configuration that differs in the seed, or in numbers of the network or of the
        optimizer."""
        network = models.build(config.model, self.task)
        return dataclasses.replace(self, config=config, model=network, tx=oc.from_config(config.optimizer))

    def parts(self, numbers: dict[str, Any]) -> Parts:
        """What is built with other numbers, maybe traced ones, at dotted keys of the configuration."""
        if not numbers:
            return self._parts(self.config, self.model, self.tx)
        config = with_values(self.config, numbers)
        return self._parts(config, models.build(config.model, self.task), oc.from_config(config.optimizer))

    def _parts(self, config: Config, model: nn.Module, tx: optax.GradientTransformation) -> Parts:
        return Parts(model, tx, batch_policies.build(config.train), config.augment, config.loss, config.train.sampling)


def build(config: Config, source: str) -> Experiment:
    """Load the task and build the network and the optimizer.

    Args:
        config: the configuration.
        source: where it comes from, to name in errors.

    Raises:
        InputError: what the configuration asks for does not exist or does not fit together.
    """
    try:
        task = tasks.load(config.task, config.preprocess)
        _require_fit(config, task)
        model = models.build(config.model, task)
        experiment = Experiment(config, task, model, oc.from_config(config.optimizer))
        _require_batches(config, experiment.tx, len(task.splits["train"][0]))
        _require_descent(config.optimizer, "optimizer")
        carry = jax.eval_shape(experiment.start)
        params = carry["params"]
        if config.loss.penalizes:
            _require_whole(config.loss.penalized, oc.row_tables(experiment.tx), params)
        # The whole update is traced once here, so that what it refuses is an error of the configuration.
        told = {"value": 0.0, "validation": 0.0}
        jax.eval_shape(lambda g, s, p: oc.apply(experiment.tx, g, s, p, **told), params, carry["opt_state"], params)
    except (InputError, ValueError) as error:
        # JAX adds notes of its own, on its frames in the traceback.
        notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()) if note.startswith("in link"))
        raise InputError(f"{source}: {error}{notes}") from error
    return experiment


def _require_descent(links: dict[str, Any], path: str) -> None:
    """No constant learning rate ascends the loss."""
    for name, x in links.items():
        if isinstance(x, dict):
            _require_descent(x, f"{path}.{name}")
        elif name == "learning_rate" and isinstance(x, int | float) and x < 0 and links.get("flip_sign", True):
            cure = f"expected {-x:g}, for the link descends by itself; or flip_sign = false where it has that argument"
            raise InputError(f"{path}.{name} = {x:g} would raise the loss; {cure}")


def _require_batches(config: Config, tx: optax.GradientTransformation, examples: int) -> None:
    policy = batch_policies.build(config.train)
    largest = config.train.policy.largest
    if largest > examples and config.train.sampling != "balanced":  # which draws with replacement
        raise InputError(f"train.batch: {largest} examples, more than the {examples} that are trained on")
    if policy.micro:
        if config.train.sampling == "balanced":
            raise InputError("train.sampling: balanced batches are drawn whole; leave train.batch.micro out")
        if oc.row_tables(tx):
            cure = "leave micro out, or take the optimizer without `rows`"
            raise InputError(f"train.batch.micro: gradients of touched rows cannot be added up; {cure}")
        jax.eval_shape(policy.count, jax.random.key(0), jnp.int32(0), policy.start())
    rates = [name for name in main_numbers(tx) if name.split(".")[-1] == "learning_rate"]
    if config.train.policy.scale_rate != "none" and not rates:
        hint = nearest("learning_rate", main_numbers(tx))
        raise InputError(f"train.batch.scale_rate: no link of optchain's in the optimizer has a learning_rate; {hint}")


def _require_fit(config: Config, task: Task) -> None:
    inputs, model = task.splits["train"][0], config.model
    shape, whole = inputs.shape[1:], np.issubdtype(inputs.dtype, np.integer)
    wanted = "embedding" if task.ids else "transformer" if whole else "network"
    if model.use != wanted:
        what = "ids" if task.ids else "bytes" if whole else "numbers"
        raise InputError(f"model.use: the inputs of task {config.task.use!r} are {what}, expected {wanted!r}")
    halvings = len(getattr(model, "channels", ()))
    if halvings and len(shape) != 3:
        raise InputError(f"model.channels: the inputs of task {config.task.use!r} are vectors, not images")
    if halvings and min(shape[:2]) < 2**halvings:
        raise InputError(f"model.channels: {halvings} convolutions halve images of {shape[0]} x {shape[1]} to nothing")
    if config.augment.of_images and len(shape) != 3:
        raise InputError(f"augment.{config.augment.of_images[0]}: the inputs of task {config.task.use!r} are no images")
    changed = {"augment.noise": config.augment.noise, "loss.mixup": config.loss.mixup}
    for key, value in changed.items():
        if value is not None and whole:
            raise InputError(f"{key}: the inputs of task {config.task.use!r} are whole numbers")
    _require_classes(config, task)


def _require_classes(config: Config, task: Task) -> None:
    """What is said of classes is said of a task that has them, each with a training example."""
    asked = [f"loss.{name}" for name in config.loss.changes_classes]
    asked += ["train.sampling"] if config.train.sampling == "balanced" else []
    if task.classes is None:
        if asked:
            raise InputError(f"{asked[0]}: the targets of task {config.task.use!r} are no classes")
        return
    if config.loss.huber is not None:
        raise InputError(
            f"loss.huber: the loss of task {config.task.use!r} is no squared error, its targets are classes"
        )
    targets = task.splits["train"][1]
    if "train.sampling" in asked and targets.ndim > 1:
        raise InputError(
            f"train.sampling: an example of task {config.task.use!r} is of no one class; expected 'epochs'"
        )
    absent = np.setdiff1d(np.arange(task.classes), targets)
    counted = [key for key in asked if key in ("loss.logit_adjustment", "train.sampling")]
    if len(absent) and counted:
        raise InputError(f"{counted[0]}: there is no training example of class {absent[0]}")


def _require_whole(penalized: Any, tables: Any, params: Any) -> None:
    """A penalty has a gradient in every row, and so is not for tables whose rows are updated where looked up."""
    by_row = select(tables, params) if tables else [False] * len(jax.tree.leaves(params))
    both = zip(names_of(params), select(penalized, params), by_row, strict=True)
    for path, own, rows in both:
        if own and rows:
            cure = "expected others, or weight decay in the chain, which sleeping rows make up for"
            raise InputError(f"loss.penalized: the optimizer updates rows of {path!r}; {cure}")
