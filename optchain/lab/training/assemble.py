"""The model of a configuration, with what is frozen, adapted, and computed in another way."""

from typing import Any

import jax.numpy as jnp

from optchain.lab.data.task import Task
from optchain.lab.models import network
from optchain.lab.models.computed import Computed
from optchain.lab.models.frozen import Frozen
from optchain.lab.models.functional import Model
from optchain.lab.models.lora import Lora
from optchain.lab.runs.config import Setup


def model_of(config: Setup, task: Task) -> Model:
    """The model that a configuration describes, for a task.

    Raises:
        InputError: see `network.build`.
    """
    model: Any = network.build(config.model, task)
    freeze, narrow = config.train.freeze, config.train.compute == "bfloat16"
    if narrow or config.train.remat:
        model = Computed(model, jnp.bfloat16 if narrow else None, config.train.remat)
    if config.lora is not None:
        model = Lora(model, config.lora)
        return Frozen(model, tuple(["*"] if freeze is None else freeze), tuple(config.lora.paths))
    return Frozen(model, tuple(freeze)) if freeze else model
