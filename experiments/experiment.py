"""What a configuration stands for: the task, the network and the optimizer."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import optax

import optchain as oc
from experiments import models, tasks
from experiments.chunk import Carry, Parts, Setting, make_start
from experiments.data import Task
from experiments.errors import InputError
from experiments.tables import Config, with_numbers


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

    def parts(self, numbers: dict[str, Any]) -> Parts:
        """The network and the optimizer with other numbers, maybe traced ones, at dotted keys of the configuration."""
        if not numbers:
            return Parts(self.model, self.tx)
        config = with_numbers(self.config, numbers)
        return Parts(models.build(config.model, self.task), oc.from_config(config.optimizer))


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
        carry = jax.eval_shape(experiment.start)
        params = carry["params"]
        # The whole update is traced once here, so that what it refuses is an error of the configuration.
        told = {"value": 0.0, "validation": 0.0}
        jax.eval_shape(lambda g, s, p: oc.apply(experiment.tx, g, s, p, **told), params, carry["opt_state"], params)
    except (InputError, ValueError) as error:
        # JAX adds notes of its own, on its frames in the traceback.
        notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()) if note.startswith("in link"))
        raise InputError(f"{source}: {error}{notes}") from error
    return experiment


def _require_fit(config: Config, task: Task) -> None:
    inputs, model = task.splits["train"][0], config.model
    shape, whole = inputs.shape[1:], np.issubdtype(inputs.dtype, np.integer)
    wanted = "embedding" if task.ids else "transformer" if whole else "network"
    if model.use != wanted:
        what = "ids" if task.ids else "bytes" if whole else "numbers"
        raise InputError(f"model.use: the inputs of task {config.task.use!r} are {what}, wanted {wanted!r}")
    halvings = len(getattr(model, "channels", ()))
    if halvings and len(shape) != 3:
        raise InputError(f"model.channels: the inputs of task {config.task.use!r} are vectors, not images")
    if halvings and min(shape[:2]) < 2**halvings:
        raise InputError(f"model.channels: {halvings} convolutions halve images of {shape[0]} x {shape[1]} to nothing")
