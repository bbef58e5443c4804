"""The models: dense layers, with convolutions or an embedding before them or without, or a transformer."""

import inspect
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from optchain.embeddings.linen import Embed
from optchain.lab.base.errors import InputError
from optchain.lab.data.task import Task
from optchain.lab.models import tables
from optchain.lab.models.functional import Model, functional
from optchain.lab.models.transformer import Transformer
from optchain.lab.settings.own import Own

ACTIVATIONS = {
    "gelu": nn.gelu,
    "leaky_relu": nn.leaky_relu,
    "relu": nn.relu,
    "sigmoid": nn.sigmoid,
    "silu": nn.silu,
    "tanh": jnp.tanh,
}


class Dropout(nn.Module):
    """Sets entries to 0 with a probability, which may be traced, and divides the others by that of staying.

    The entries are those that `nn.Dropout`, which branches on its rate, would choose.
    """

    rate: float | jax.Array

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        stays = 1 - self.rate
        return jnp.where(jax.random.bernoulli(self.make_rng("dropout"), stays, x.shape), x / stays, 0)


class Block(nn.Module):
    """What follows a hidden layer: normalization, activation, dropout."""

    activation: Callable[[jax.Array], jax.Array]
    dropout: float | jax.Array
    norm: str

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        if self.norm == "batch":
            x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(x)
        elif self.norm == "layer":
            x = nn.LayerNorm()(x)
        x = self.activation(x)
        never = isinstance(self.dropout, float) and self.dropout == 0
        return x if never or not train else Dropout(self.dropout)(x)


class Network(nn.Module):
    """Convolutions of 3x3, each halving height and width by a mean, then dense layers; the last one is linear."""

    outputs: int | dict[str, int]  # of several heads, each a last layer of its own
    channels: tuple[int, ...]
    hidden: tuple[int, ...]
    block: Callable[[], nn.Module]
    kernel_init: Any
    bias: bool  # of hidden layers; batch normalization would take it away again

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> Any:
        for channels in self.channels:
            x = self.block()(_conv(channels, self.kernel_init, self.bias)(x), train)
            x = nn.avg_pool(x, (2, 2), (2, 2))
        x = x.reshape(x.shape[0], -1)
        for width in self.hidden:
            x = self.block()(nn.Dense(width, self.bias, kernel_init=self.kernel_init)(x), train)
        if isinstance(self.outputs, int):
            return nn.Dense(self.outputs, kernel_init=self.kernel_init)(x)
        heads = self.outputs.items()
        return {name: nn.Dense(size, kernel_init=self.kernel_init, name=f"head_{name}")(x) for name, size in heads}


def _conv(channels: int, kernel_init: Any, bias: bool) -> nn.Conv:
    return nn.Conv(channels, (3, 3), use_bias=bias, kernel_init=kernel_init, conv_general_dilated=convolve)


def convolve(images: jax.Array, kernel: jax.Array, *_: Any, **__: Any) -> jax.Array:
    """The convolution of `nn.Conv` with stride 1 and padding `SAME`, as shifted images and one matrix product.

    XLA's own convolution is about fifty times slower within a loop on a CPU.
    """
    high, wide, inputs, outputs = kernel.shape
    height, width = images.shape[1:3]
    padded = jnp.pad(images, ((0, 0), ((high - 1) // 2, high // 2), ((wide - 1) // 2, wide // 2), (0, 0)))
    shifted = [padded[:, i : i + height, j : j + width] for i in range(high) for j in range(wide)]
    return jnp.concatenate(shifted, axis=-1) @ kernel.reshape(-1, outputs)


class Rows(nn.Module):
    """The rows of an example's ids in one table, side by side, and dense layers over them."""

    ids: int
    width: int
    network: nn.Module

    @nn.compact
    def __call__(self, ids: jax.Array, train: bool) -> jax.Array:
        return self.network(Embed(self.ids, self.width, name="embed")(ids).reshape(len(ids), -1), train)


def build(table: Any, task: Task) -> Model:
    """The model that a configuration describes, for a task.

    Raises:
        InputError: the model of the user's cannot be made, or one that is built in has no number of outputs.
    """
    if isinstance(table, Own):
        return functional(_own(table, task))
    return functional(_built_in(table, task))


def _own(table: Own, task: Task) -> Any:
    """A module of the user's, or a function of `rngs` that makes one."""
    target = table.placed.target
    takes = inspect.signature(target.__init__ if inspect.isclass(target) else target).parameters
    more: dict[str, Any] = {"task": task} if "task" in takes else {}
    if "outputs" in takes and getattr(table, "outputs", None) is None:
        if task.outputs is None:
            raise InputError("model.outputs: missing; the targets do not say how many numbers the model answers with")
        more["outputs"] = task.outputs
    return (lambda rngs: table.build(rngs=rngs, **more)) if "rngs" in takes else table.build(**more)


def _built_in(table: Any, task: Task) -> nn.Module:
    if task.outputs is None:
        raise InputError("model.use: the targets do not say how many outputs a built-in model has; expected your own")
    if isinstance(table, tables.Transformer):
        if not isinstance(task.outputs, int):
            raise InputError("model.use: a transformer has one head, and the task several targets; expected your own")
        return Transformer(table, task.outputs)
    if isinstance(table, tables.Embedding):
        return Rows(task.ids or 0, table.width, _built_in(tables.Network(hidden=table.hidden), task))
    activation = ACTIVATIONS[table.activation]

    def block() -> nn.Module:
        return Block(activation, table.dropout, table.norm)

    widths = tuple(table.channels), tuple(table.widths)
    return Network(task.outputs, *widths, block, kernel_initializer(table), bias=table.norm != "batch")


def kernel_initializer(table: tables.Network) -> Any:
    """The initializer of all kernels; biases begin at zero.

    `xavier`, `he` and `lecun` are normal with the variance 2 / (in + out), 2 / in and 1 / in, and `orthogonal` has
    orthonormal rows or columns; all four times the gain. `truncated_normal` and `uniform` have the configured scale
    whatever the layer's size.

    References:
        Glorot and Bengio, 2010. He et al., 2015, arXiv:1502.01852. Saxe et al., 2014, arXiv:1312.6120.
    """
    scale = 0.0 if table.initializer_scale is None else table.initializer_scale  # the two that need one have one
    match table.initializer:
        case "xavier":
            return _times(table.initializer_gain, nn.initializers.xavier_normal())
        case "he":
            return _times(table.initializer_gain, nn.initializers.he_normal())
        case "lecun":
            return _times(table.initializer_gain, nn.initializers.lecun_normal())
        case "orthogonal":
            return _times(table.initializer_gain, nn.initializers.orthogonal())
        case "truncated_normal":
            return nn.initializers.truncated_normal(scale)
        case "uniform":
            return lambda key, shape, dtype=jnp.float32: jax.random.uniform(key, shape, dtype, -scale, scale)


def _times(gain: Any, initializer: Any) -> Any:
    if gain is None:
        return initializer
    return lambda key, shape, dtype=jnp.float32: (gain * initializer(key, shape, dtype)).astype(dtype)
