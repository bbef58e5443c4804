"""Low-rank adaptation: matrices W that become W + alpha / rank A B, of which A and B are trained.

References:
    Hu et al., 2021, arXiv:2106.09685, section 4.1; with their A and B transposed and in the other order, because Flax
    multiplies with a kernel from the right.
"""

import dataclasses
import zlib
from typing import Any

import jax
import jax.numpy as jnp
from pydantic import Field, PositiveFloat, PositiveInt

from optchain.core.paths import map_named, matches, named_leaves, nearest
from optchain.lab.base.errors import InputError
from optchain.lab.models.functional import Model
from optchain.lab.settings.table import Table

LORA = "lora"  # the name of what is added to the parameters: `lora/Dense_0/kernel/a`


class LoraTable(Table):
    """Which matrices are adapted, and how."""

    rank: PositiveInt
    alpha: PositiveFloat | None = None  # the product A B is multiplied by alpha / rank; the rank itself if left out
    paths: list[str] = Field(["*/kernel"], min_length=1)  # patterns on paths


@dataclasses.dataclass(frozen=True)
class Lora:
    """A model whose parameters have the matrices A (normal, with variance 1 / rows) and B (zero) besides its own. The
    first outputs are those of the model itself."""

    model: Model
    table: LoraTable

    def init(self, key: jax.Array, inputs: Any, given: dict[str, jax.Array] | None = None) -> tuple[Any, Any]:
        params, rest = self.model.init(key, inputs, given)
        if LORA in params:
            raise InputError(f"lora: the model has parameters called {LORA!r} already; give them another name")
        added: dict[str, Any] = {}
        for path, x in self._matrices(params).items():
            inner = added
            for name in path.split("/"):
                inner = inner.setdefault(name, {})
            own = jax.random.fold_in(key, zlib.crc32(path.encode()))
            a = jax.random.normal(own, (x.shape[0], self.table.rank), jnp.float32) / jnp.sqrt(x.shape[0])
            inner |= {"a": a.astype(x.dtype), "b": jnp.zeros((self.table.rank, x.shape[1]), x.dtype)}
        return {**params, LORA: added}, rest

    def apply(
        self, params: Any, rest: Any, inputs: Any, key: jax.Array | None = None, train: bool = False
    ) -> tuple[Any, Any, Any]:
        return self.model.apply(self._merged(params), rest, inputs, key, train)

    def whole(self, params: Any, rest: Any) -> tuple[Any, Any]:
        return self.model.whole(self._merged(params), rest)

    def _merged(self, params: Any) -> Any:
        """The parameters of the model itself."""
        added = dict(named_leaves(params[LORA]))
        alpha = self.table.rank if self.table.alpha is None else self.table.alpha

        def sum_of(path: str, w: jax.Array) -> jax.Array:
            if f"{path}/a" not in added:
                return w
            product = added[f"{path}/a"] @ added[f"{path}/b"]
            return w + (alpha / self.table.rank * product).astype(w.dtype)

        return map_named(sum_of, {name: x for name, x in params.items() if name != LORA})

    def _matrices(self, params: Any) -> dict[str, Any]:
        """What is adapted, by path."""
        leaves = dict(named_leaves(params))
        for i, pattern in enumerate(self.table.paths):
            if not any(matches(path, pattern) for path in leaves):
                raise InputError(f"lora.paths.{i}: {pattern!r} matches no parameter; {nearest(pattern, leaves)}")
        chosen = {path: x for path, x in leaves.items() if any(matches(path, p) for p in self.table.paths)}
        for path, x in chosen.items():
            if x.ndim != 2:
                shape = " x ".join(map(str, x.shape)) or "a number"
                raise InputError(f"lora.paths: {path!r} is {shape}; expected patterns that match matrices alone")
        return chosen
