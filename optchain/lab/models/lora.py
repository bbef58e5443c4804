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
from optchain.core.views import PartedView, View, view
from optchain.lab.base.errors import InputError
from optchain.lab.models.functional import Model
from optchain.lab.settings.table import Table

LORA = "lora"  # the name of what is added to the parameters: `lora/Dense_0/kernel/a`


class LoraTable(Table):
    """Which matrices are adapted, and how."""

    rank: PositiveInt
    alpha: PositiveFloat | None = None  # the product A B is multiplied by alpha / rank; the rank itself if left out
    paths: list[str] = Field(["*/kernel"], min_length=1)  # patterns on paths
    views: dict[str, str] = {}  # how those of more axes are seen as matrices, by pattern: "d heads k -> d (heads k)"


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
        for path, shape in self._matrices(params).items():
            inner = added
            for name in path.split("/"):
                inner = inner.setdefault(name, {})
            own = jax.random.fold_in(key, zlib.crc32(path.encode()))
            *layers, rows, columns = shape.shape
            a = jax.random.normal(own, (*layers, rows, self.table.rank), jnp.float32) / jnp.sqrt(rows)
            b = jnp.zeros((*layers, self.table.rank, columns), shape.dtype)
            inner |= {"a": a.astype(shape.dtype), "b": b}
        return {**params, LORA: added}, rest

    def apply(
        self, params: Any, rest: Any, inputs: Any, key: jax.Array | None = None, train: bool = False
    ) -> tuple[Any, Any, Any]:
        return self.model.apply(self._merged(params), rest, inputs, key, train)

    def whole(self, params: Any, rest: Any) -> tuple[Any, Any]:
        return self.model.whole(self._merged(params), rest)

    def names(self, inputs: Any) -> dict[str, tuple[Any, ...]]:
        return self.model.names(inputs)

    def _merged(self, params: Any) -> Any:
        """The parameters of the model itself."""
        added = dict(named_leaves(params[LORA]))
        alpha = self.table.rank if self.table.alpha is None else self.table.alpha

        def sum_of(path: str, w: jax.Array) -> jax.Array:
            if f"{path}/a" not in added:
                return w
            product = added[f"{path}/a"] @ added[f"{path}/b"]
            seen = self._view(path, w.shape)
            product = product if seen is None else seen.back(product)
            return w + (alpha / self.table.rank * product).astype(w.dtype)

        return map_named(sum_of, {name: x for name, x in params.items() if name != LORA})

    def _matrices(self, params: Any) -> dict[str, Any]:
        """What is adapted, by path, in the shapes in which it is seen: matrices, maybe of several layers."""
        leaves = dict(named_leaves(params))
        for key, patterns in (("paths", self.table.paths), ("views", self.table.views)):
            for pattern in patterns:
                if not any(matches(path, pattern) for path in leaves):
                    raise InputError(f"lora.{key}: {pattern!r} matches no parameter; {nearest(pattern, leaves)}")
        chosen = {path: x for path, x in leaves.items() if any(matches(path, p) for p in self.table.paths)}
        return {path: self._seen(path, x) for path, x in chosen.items()}

    def _seen(self, path: str, x: Any) -> jax.ShapeDtypeStruct:
        seen = self._view(path, x.shape)
        shape = x.shape if seen is None else seen.shown
        if len(shape) < 2 or (seen is None and len(shape) > 2):
            found = " x ".join(map(str, shape)) or "a number"
            cure = "say in lora.views how it is one, or match matrices alone"
            raise InputError(f"lora.paths: {path!r} is {found}; expected a matrix: {cure}")
        return jax.ShapeDtypeStruct(shape, x.dtype)

    def _view(self, path: str, shape: tuple[int, ...]) -> View | None:
        """How a parameter is seen, where the table says it; the last two axes are those of a matrix."""
        text = next((text for pattern, text in self.table.views.items() if matches(path, pattern)), None)
        if text is None:
            return None
        try:
            seen = view(text, shape)
        except ValueError as error:
            raise InputError(f"lora.views: {path!r}: {error}") from error
        if isinstance(seen, PartedView):
            raise InputError(f"lora.views: {path!r}: {text!r} has parts; expected one matrix")
        return seen
