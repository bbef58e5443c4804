"""One leaf of a larger model: where its entries come from, what they are divided by, and what its slots become."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optchain.inspect.unit_axes import Index

NEW = -1  # a row of a layer that there was not before


@dataclasses.dataclass(frozen=True)
class Source:
    """Where one leaf of the larger model comes from."""

    path: str | None  # of the leaf of the small model, None for a new one
    indices: tuple[Index | None, ...] = ()  # along each axis
    layers: np.ndarray | None = None  # along the first axis, where it counts layers: their numbers before, or NEW
    factor: float = 1.0
    is_zero: bool = False  # what is new begins with 0
    units: int | None = None  # of a new one that begins as the identity of so many units
    noise: float = 0.0
    seed: int = 0

    @property
    def is_changed(self) -> bool:
        """Whether it is more than the leaf of the same path."""
        return self.path is None or self.layers is not None or any(x is not None for x in self.indices)

    def value(self, old: Any, fresh: Any) -> jax.Array:
        """The parameter, from the one before and the one that the larger model begins with."""
        if self.units is not None:
            old = jnp.eye(self.units, dtype=jnp.float32)
        elif self.path is None:
            return jnp.zeros_like(fresh) if self.is_zero else jnp.asarray(fresh)
        if not self.is_changed and self.factor == 1:
            return jnp.asarray(old).astype(fresh.dtype)
        x = self._taken(old) * self.factor / self._over("summed")
        x = (x + self._noise(x)).astype(fresh.dtype)
        return x if self.layers is None else self._layered(x, jnp.zeros_like(fresh) if self.is_zero else fresh)

    def slot(self, old: Any, fresh: Any, degree: int) -> jax.Array:
        r"""A slot of the optimizer that is homogeneous in the gradients, of a degree.

        The gradient of a copy is that of what it is a copy of, over the copies along the axes that are not summed over.
        """
        if self.path is None:
            return fresh
        if not self.is_changed and self.factor == 1:
            return jnp.asarray(old)
        ratio = self.factor * self._over("counts") / self._over("summed")
        x = (self._taken(old) / ratio**degree).astype(fresh.dtype)
        return x if self.layers is None else self._layered(x, fresh)

    def moved(self, old: Any, fresh: Any) -> jax.Array:
        """A way between two parameters, which becomes that between what they become."""
        if self.path is None:
            return fresh
        x = (self._taken(old) * self.factor / self._over("summed")).astype(fresh.dtype)
        return x if self.layers is None else self._layered(x, fresh)

    def _taken(self, old: Any) -> jax.Array:
        x = jnp.asarray(old)
        x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        if self.layers is not None:
            x = x[np.maximum(self.layers, 0)]
        for axis, of in enumerate(self.indices):
            x = x if of is None else jnp.take(x, of.rows, axis)
        return x

    def _over(self, name: str) -> np.ndarray:
        """The product over the axes of the copies, or of those that are summed over."""
        product = np.ones((1,) * len(self.indices))
        for axis, of in enumerate(self.indices):
            if of is not None:
                shape = [1] * len(self.indices)
                shape[axis] = -1
                product = product * getattr(of, name).reshape(shape)
        return product.astype(np.float32)

    def _noise(self, x: jax.Array) -> jax.Array | float:
        """Noise that sums to 0 over the copies of each unit that is summed over, so that the function stays."""
        axis = next((i for i, of in enumerate(self.indices) if of is not None and (of.summed > 1).any()), None)
        if axis is None or not self.noise:
            return 0.0
        of: Any = self.indices[axis]
        draw = np.random.default_rng(self.seed).standard_normal(x.shape, np.float32)
        draw = np.moveaxis(draw, axis, 0)
        sums = np.zeros((of.rows.max() + 1, *draw.shape[1:]), np.float32)
        np.add.at(sums, of.rows, draw)
        mean = sums[of.rows] / of.counts.reshape(-1, *[1] * (draw.ndim - 1))
        return self.noise * jnp.sqrt(jnp.mean(jnp.square(x))) * np.moveaxis(draw - mean, 0, axis).astype(np.float32)

    def _layered(self, x: jax.Array, fresh: Any) -> jax.Array:
        new = (self.layers == NEW).reshape(-1, *[1] * (x.ndim - 1))
        return jnp.where(new, fresh, x)
