"""Models whose outputs are computed in another precision, or again in the backward pass."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from optchain.lab.models.functional import Model


@dataclasses.dataclass(frozen=True)
class Computed:
    """A model that casts its parameters and its inputs to `dtype` where they are real, and its outputs to float32.

    The parameters themselves, and the rest, keep their dtypes. bfloat16 has the exponents of float32, so that the loss
    need not be scaled.

    References:
        Mixed precision: Micikevicius et al., 2017, arXiv:1710.03740. Remat: Chen et al., 2016, arXiv:1604.06174.
    """

    model: Model
    dtype: Any = None  # None for that of the parameters and inputs
    remat: bool = False  # the backward pass computes what lies between inputs and outputs again and does not keep it

    def init(self, key: jax.Array, inputs: Any, given: dict[str, jax.Array] | None = None) -> tuple[Any, Any]:
        return self.model.init(key, inputs, given)

    def apply(
        self, params: Any, rest: Any, inputs: Any, key: jax.Array | None = None, train: bool = False
    ) -> tuple[Any, Any, Any]:
        apply = functools.partial(self._apply, train=train)
        return (jax.checkpoint(apply) if self.remat and train else apply)(params, rest, inputs, key)

    def whole(self, params: Any, rest: Any) -> tuple[Any, Any]:
        return self.model.whole(params, rest)

    def names(self, inputs: Any) -> dict[str, tuple[Any, ...]]:
        return self.model.names(inputs)

    def _apply(self, params: Any, rest: Any, inputs: Any, key: jax.Array | None, train: bool) -> tuple[Any, Any, Any]:
        if self.dtype is None:
            return self.model.apply(params, rest, inputs, key, train)
        params, inputs = (jax.tree.map(lambda x: _cast(x, self.dtype), tree) for tree in (params, inputs))
        outputs, after, more = self.model.apply(params, rest, inputs, key, train)
        after = jax.tree.map(lambda x, old: x.astype(old.dtype), after, rest)
        return jax.tree.map(lambda x: _cast(x, jnp.float32), outputs), after, _cast(jnp.asarray(more), jnp.float32)


def _cast(x: Any, dtype: Any) -> Any:
    return jnp.asarray(x).astype(dtype) if jnp.issubdtype(jnp.result_type(x), jnp.floating) else x
