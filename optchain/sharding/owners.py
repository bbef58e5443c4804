"""The devices that own matrices, and the moves of what they step."""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.sharding import get_abstract_mesh

from optchain.core.gather import names_of
from optchain.core.paths import nearest
from optchain.sharding.moves import at_owners, first_mesh, is_explicit, through


@dataclasses.dataclass(frozen=True)
class Owners:
    """The devices along some axes of a mesh, or the only one, where there is no mesh."""

    mesh: Any
    axes: tuple[str, ...]

    @classmethod
    def of(cls, name: str, axes: tuple[str, ...], arrays: list[Any]) -> "Owners":
        """Those on the mesh of the first array that has one.

        Raises:
            ValueError: the mesh has no such axes, or this is inside a `shard_map` over one of them.
        """
        inside = sorted(set(axes) & set(get_abstract_mesh().manual_axes))
        if inside:
            raise ValueError(f"{name}: distributed over {inside}, inside a shard_map over it; step outside of it")
        mesh = first_mesh(arrays)
        names = axes if mesh is None else mesh.axis_names
        for axis in axes:
            if axis not in names:
                raise ValueError(f"{name}: distributed over {axis!r}; {nearest(axis, names)}")
        return cls(mesh, axes)

    @functools.cached_property
    def count(self) -> int:
        """How many there are."""
        return 1 if self.mesh is None else math.prod(self.mesh.shape[name] for name in self.axes)

    def placed(self, x: jax.Array) -> jax.Array:
        """An array whose first axis is that of its owners, with them."""
        return through(self.mesh, x, [at_owners(self.axes, x)])

    def everywhere(self, x: jax.Array) -> jax.Array:
        """An array that is whole on each device."""
        return through(self.mesh, x, [((),) * x.ndim])

    def alone(self, law: Callable[..., Any], places: Any, numerical: Sequence[jax.Array] = ()) -> Any:
        """A law run by each owner on its own places: nothing in it can communicate."""
        if self.mesh is None:
            return law(places, *numerical)
        own, same = jax.P(self.axes), [jax.P()] * len(numerical)
        # JAX cannot check what varies in the LAPACK calls of some rules within a `cond`.
        inside = jax.shard_map(law, mesh=self.mesh, in_specs=(own, *same), out_specs=own, check_vma=False)
        return inside(places, *numerical)

    def sides(self, x: jax.Array) -> tuple[tuple[str, ...], ...]:
        """For each axis of the matrices of a piece, the mesh axes that split it.

        On a mesh with automatic axes nothing says so: what the owners divide is taken to be split over them, along its
        first such axis. Where that is not so, the compiler moves the matrix. Of several mesh axes the last one comes
        first: if parameters are copies along the others, each device cuts its part out of what it has.
        """
        if is_explicit(self.mesh):
            spec = jax.typeof(x).sharding.spec[1:]
            return (*map(names_of, spec), *[()] * (x.ndim - 1 - len(spec)))
        first = next((i for i, n in enumerate(x.shape[1:]) if n % self.count == 0), None)
        return tuple(self.axes[::-1] if i == first else () for i in range(x.ndim - 1))
