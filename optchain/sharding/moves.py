"""How a stack of matrices moves between the layout of its parameters and that of its owners.

Where mesh axes leave one side of the matrices in a step, XLA makes one all-to-all of it; where they leave two sides at
once, it gathers everything. So a stack moves over several layouts, side by side.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import jax
from jax.sharding import AxisType

from optchain.core.axes import entry
from optchain.core.gather import mesh_of, names_of

FREE = jax.P.UNCONSTRAINED
Spec = tuple[Any, ...]  # for each axis the names of mesh axes, or FREE


def way(mesh: Any, x: jax.Array, owners: Sequence[str]) -> list[Spec]:
    """The layouts of a stack from that of its parameters to that of its owners.

    On a mesh with automatic axes nothing says how the sides are laid out, and it is left to the compiler.
    """
    if is_explicit(mesh):
        spec = jax.typeof(x).sharding.spec
        now = [*map(names_of, spec), *[()] * (x.ndim - len(spec))]
        home = {name: side for side, names in enumerate(now) for name in names}
    else:
        now, home = [(), *[FREE] * (x.ndim - 1)], {}
    layouts, moved = [tuple(now)], ()
    for _, names in itertools.groupby(owners, lambda name: home.get(name, name)):
        moved += tuple(names)
        layouts.append((moved, *(_without(side, moved) for side in now[1:])))
    return [*layouts, at_owners(owners, x)]


def at_owners(owners: Sequence[str], x: jax.Array) -> Spec:
    """The layout of a stack that is with its owners."""
    return (tuple(owners), *[()] * (x.ndim - 1))


def through(mesh: Any, x: jax.Array, layouts: Sequence[Spec]) -> jax.Array:
    """The array, brought from layout to layout."""
    if mesh is None:
        return x
    for names in layouts:
        spec = jax.P(*(side if side is FREE else entry(side) for side in names))
        layout = jax.NamedSharding(mesh, spec)
        x = jax.sharding.reshard(x, layout) if is_explicit(mesh) else jax.lax.with_sharding_constraint(x, layout)
    return x


def first_mesh(tree: Any) -> Any:
    """The mesh of the first array, or of the first shape with a sharding, that has one; None where none has."""
    return next((mesh for mesh in map(_mesh_of, jax.tree.leaves(tree)) if mesh is not None and mesh.shape), None)


def is_explicit(mesh: Any) -> bool:
    """Whether arrays on this mesh say how they are laid out."""
    return mesh is not None and AxisType.Explicit in mesh.axis_types


def _without(side: Any, names: tuple[str, ...]) -> Any:
    return side if side is FREE else tuple(name for name in side if name not in names)


def _mesh_of(x: Any) -> Any:
    layout = x.sharding if isinstance(x, jax.ShapeDtypeStruct) else None
    return layout.mesh if isinstance(layout, jax.NamedSharding) else mesh_of(x) if isinstance(x, jax.Array) else None
