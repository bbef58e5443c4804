"""Parameters split over one more axis of their mesh: the layout in which ZeRO-1 steps them."""

import math
from typing import Any

import jax
from jax.core import Tracer

from optchain.core.axes import entry
from optchain.core.gather import names_of as names_of_entry
from optchain.core.holes import is_hole
from optchain.core.paths import named_leaves, nearest


def split_over(params: Any, over: str) -> Any:
    """Parameters as shapes, each laid out as it is and split over one more axis of its mesh.

    The axis of a parameter that is split is the largest of those that hold at least two entries a device, once all
    mesh axes along it have divided it; of several the first. Vectors, and parameters without such an axis, or that
    the mesh axis splits already, keep their layout: their slots are small, and each gather costs a round of messages.
    `flat` splits the state of those that are large.

    Between the backward pass and the step, gradients and parameters belong in this layout (see `shardings`):

        split = jax.tree.map(lambda x: x.sharding, oc.split_over(params, "x"))  # before jit
        g, p = jax.lax.with_sharding_constraint((g, p), split)  # within it; jax.reshard where the axes are explicit

    Args:
        params: arrays, or `jax.ShapeDtypeStruct`s with a sharding; not within `jit` or `shard_map`, where arrays do not
            know their layout. Leaves without a mesh stay as they are.
        over: the name of a mesh axis.

    Raises:
        ValueError: the mesh of a parameter has no such axis, or a parameter is traced.

    >>> import jax
    >>> import optchain as oc
    >>> layout = jax.NamedSharding(jax.make_mesh((8,), ("data",)), jax.P())
    >>> params = jax.device_put({"w": jax.numpy.ones((64, 32)), "b": jax.numpy.ones(32)}, layout)
    >>> {name: x.sharding.spec for name, x in oc.split_over(params, "data").items()}
    {'b': P(), 'w': P('data', None)}
    """
    leaves, treedef = jax.tree.flatten(params, is_leaf=is_hole)
    paths = iter(path for path, _ in named_leaves(params))
    return treedef.unflatten([p if is_hole(p) else _split(next(paths), p, over) for p in leaves])


def layout_of(path: str, p: Any) -> Any:
    """How a parameter is laid out; None for what is no array, and for an array that does not say.

    Raises:
        ValueError: it is traced.
    """
    if isinstance(p, Tracer):
        cure = "take the layouts of the parameters before jit or shard_map, and close over them"
        raise ValueError(f"parameter {path!r} is traced, and what is traced does not know its layout; {cure}")
    return getattr(p, "sharding", None)


def _split(path: str, p: Any, over: str) -> Any:
    layout = layout_of(path, p)
    if layout is None:
        return p
    if isinstance(layout, jax.NamedSharding):
        mesh = layout.mesh
        if over not in mesh.axis_names:
            raise ValueError(
                f"got over={over!r}; the mesh of {path!r} has no such axis: {nearest(over, mesh.axis_names)}"
            )
        names = [*map(names_of_entry, layout.spec), *[()] * (p.ndim - len(layout.spec))]
        best = _largest(p.shape, names, over, mesh.shape)
        if best is not None:
            names[best] = (*names[best], over)
            layout = layout.update(spec=jax.P(*map(entry, names)))
    return jax.ShapeDtypeStruct(p.shape, p.dtype, sharding=layout)


def _largest(shape: tuple[int, ...], names: list[tuple[str, ...]], over: str, sizes: Any) -> int | None:
    """The axis of a parameter to split over one more axis of the mesh, if any."""
    if len(shape) < 2 or sizes[over] == 1 or any(over in group for group in names):
        return None
    parts = [math.prod(sizes[name] for name in (*group, over)) for group in names]
    fits = [i for i, n in enumerate(shape) if n % parts[i] == 0 and n >= 2 * parts[i]]
    return max(fits, key=lambda i: shape[i]) if fits else None
