"""The model of a configuration, with what is frozen, adapted, and computed in another way; and its optimizer."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

import optchain as oc
from optchain.lab.base.errors import InputError
from optchain.lab.data.task import Task
from optchain.lab.models import network
from optchain.lab.models.computed import Computed
from optchain.lab.models.frozen import Frozen
from optchain.lab.models.functional import Model
from optchain.lab.models.lora import Lora
from optchain.lab.models.mup import MupTable, Sized, base_shapes
from optchain.lab.models.perturbed import Perturbed
from optchain.lab.runs.config import Config, Setup, chain_of, with_values
from optchain.lab.settings.places import target


def model_of(config: Setup, task: Task) -> Model:
    """The model that a configuration describes, for a task.

    Raises:
        InputError: see `network.build`.
    """
    model: Any = network.build(config.model, task)
    if config.mup is not None:
        if config.lora is not None:
            raise InputError("mup: matrices of a low rank have no known rule; leave out mup or lora")
        model = Sized(model, _base(config, config.mup, task), config.mup)
    if config.perturb is not None:
        model = Perturbed(model, config.perturb)
    freeze, narrow = config.train.freeze, config.train.compute == "bfloat16"
    if narrow or config.train.remat:
        model = Computed(model, jnp.bfloat16 if narrow else None, config.train.remat)
    if config.lora is not None:
        model = Lora(model, config.lora)
        return Frozen(model, tuple(["*"] if freeze is None else freeze), tuple(config.lora.paths))
    return Frozen(model, tuple(freeze)) if freeze else model


def optimizer_of(config: Config, task: Task) -> optax.GradientTransformation:
    """The optimizer of a configuration, whose learning rates follow from a base model where it has one.

    Raises:
        InputError: see `network.build`, of the base model.
        ValueError: naming the dotted key, see `optchain.from_config`, or what has no known rule, see `optchain.mup`.
    """
    tx = chain_of(config)  # first as it is, so that errors name its own keys
    if config.mup is None:
        return tx
    first = jax.tree.map(lambda x: jnp.asarray(x[:1]), task.splits["train"].inputs)
    base = base_shapes(_base(config, config.mup, task), first)
    return oc.from_config(config.mup.around(config.optimizer, base), resolve=target)


def _base(config: Setup, table: MupTable, task: Task) -> Model:
    """The base model: that of the configuration with other values, some of whose numbers may be traced."""
    return network.build(with_values(config, {f"model.{key}": x for key, x in table.base.items()}).model, task)
