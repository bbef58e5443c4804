"""Normal noise on what the modules within a model answer, of flax.linen and of nnx."""

import contextlib
import contextvars
import dataclasses
import functools
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import nnx

from optchain.core.paths import matches


@dataclasses.dataclass(frozen=True)
class Noise:
    """Whose answers have noise, and which.

    Args:
        layers: patterns on the paths of modules.
        deviation: of what is added; it may be traced.
        key: from which modules of nnx draw; those of flax.linen draw from their own stream `dropout`.
        paths: the modules that were met, other than the model itself, which is none of them.
    """

    layers: list[str]
    deviation: Any
    key: jax.Array
    paths: set[str] = dataclasses.field(default_factory=set)

    def is_on(self, path: str) -> bool:
        """Whether a module has noise, which has then been met."""
        self.paths.add(path)
        return any(matches(path, pattern) for pattern in self.layers)


class Deviation(nnx.RngState):
    """That of a module's noise. As a part of the module it is an argument of what is compiled or traced once within the
    model, such as `nnx.remat`, which would keep what it closes over."""


_OF_NNX: contextvars.ContextVar[Noise | None] = contextvars.ContextVar("noise", default=None)


@contextlib.contextmanager
def noisy(noise: Noise) -> Iterator[None]:
    """Models that are called within have noise on the answers of some of their modules: of their method `__call__`."""

    def of_linen(call: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
        said, module = call(*args, **kwargs), context.module
        if context.method_name != "__call__" or not module.path or not noise.is_on("/".join(module.path)):
            return said
        return _added(said, noise.deviation, lambda: module.make_rng("dropout"))

    token = _OF_NNX.set(noise)
    try:
        with nn.intercept_methods(of_linen):
            yield
    finally:
        _OF_NNX.reset(token)


def as_noisy(model: nnx.Module) -> nnx.Module:
    """A model of nnx in which modules have noise where it is called within `noisy`. It is changed in place.

    nnx has no interceptors: such a module becomes one of a class whose `__call__` adds noise to what that of its own
    class answers. It draws from a stream of its own, as `nnx.Dropout` does.
    """
    noise = _OF_NNX.get()
    if noise is None:
        return model
    within = ((parts, module) for parts, module in nnx.iter_modules(model) if parts and callable(module))
    modules: list[tuple[str, Any]] = [("/".join(map(str, parts)), module) for parts, module in within]
    for path, module in modules:
        if noise.is_on(path):
            module.optchain_noise = nnx.RngStream(jax.random.fold_in(noise.key, zlib.crc32(path.encode())), tag="noise")
            module.optchain_deviation = Deviation(jnp.asarray(noise.deviation, jnp.float32), tag="noise")
            object.__setattr__(module, "__class__", _noisy(type(module)))
    return model


@functools.cache
def _noisy(kind: type[Any]) -> type[Any]:
    """A class of modules with noise on what they answer."""

    class Noisy(kind):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return _added(super().__call__(*args, **kwargs), self.optchain_deviation[...], self.optchain_noise)

    return Noisy


def _added(said: Any, deviation: Any, draw: Callable[[], jax.Array]) -> Any:
    """An answer with noise on each of its real arrays."""

    def of_array(x: Any) -> Any:
        return x + (deviation * jax.random.normal(draw(), x.shape)).astype(x.dtype)

    return jax.tree.map(lambda x: of_array(x) if jnp.issubdtype(x.dtype, jnp.floating) else x, said)
