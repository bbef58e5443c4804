"""The layout of every array of a state on the mesh of its parameters."""

import math
from typing import Any

import jax
import optax

from optchain.core.axes import Axes, along, entry, even
from optchain.core.door import ARRAYS, is_floating
from optchain.core.holes import is_hole
from optchain.core.paths import named_leaves
from optchain.sharding.axes import Apart, Follows, Stacked, followed
from optchain.sharding.over import layout_of, split_over


def shardings(tx: optax.GradientTransformation, params: Any, *, over: str | None = None) -> Any:
    """The sharding of every array of `tx.init(params)`, for `out_shardings`.

    Each array of the state is laid out by the axes of its parameter that it follows:

    1. Each axis of a slot is split over the mesh axes that split the axis of the parameter that it follows, and each
       mesh axis is used once. Adam's `nu` is laid out as the parameter, the row means of Adafactor as its rows.
    2. What is left of the parameter's mesh axes splits a slot that is not a mere part of the parameter's axes (the
       square factors of Shampoo, the projections of GaLore): each along the first axis of the slot that it divides
       evenly. So each device holds its share of such slots as well.
    3. Stacks of matrices that have owners (`distributed`), and the rows of their rest, are split over these.
    4. What `precision(memory="pinned_host")` keeps on the host stays there, laid out as on the devices.
    5. Everything else (counts, metrics, one number for a parameter) is replicated on the devices of the parameters.

    The techniques declare which axes their slots follow; through `over_layers` and `as_matrices` an axis is followed
    where it is one axis of the parameter. In the state of an optax transformation, and of optchain within one, the
    shape decides: a slot with the shape of its parameter, or of its first axes, follows these.

    With `over` the state is also split over that mesh axis, along which the parameters may be copies of one another:
    ZeRO-1 (arXiv:1910.02054, section 5.1). Which axis of each parameter is split `split_over` says. On a mesh with
    automatic axes the compiler needs to be told where the layout changes, else it splits the matrix products too:
    parameters as they are at the start of the step, gradients and parameters as in `split_over(params, over)` before
    `apply`, and the new parameters and state as they came in.

    Args:
        tx: any optax transformation.
        params: arrays, or `jax.ShapeDtypeStruct`s with a sharding; not within `jit` or `shard_map`. What does not move,
            such as an integer, a key, None or a function, needs none.
        over: the name of a mesh axis to split the state over as well, usually that of the data.

    Raises:
        ValueError: a parameter without a sharding or one that is traced, or parameters on several meshes; or their mesh
            has no axis `over`.

    >>> import jax
    >>> import optchain as oc
    >>> layout = jax.NamedSharding(jax.make_mesh((8,), ("x",)), jax.P("x"))
    >>> params = jax.device_put({"w": jax.numpy.ones((64, 32))}, layout)
    >>> layouts = oc.shardings(oc.scale_by_factored_rms(min_dim_size_to_factor=2), params)["scale_by_factored_rms"]
    >>> layouts["nu_row"]["w"].spec, layouts["nu_col"]["w"].spec  # of the shorter and of the longer axis
    (P(None,), P('x',))
    >>> state = jax.jit(oc.scale_by_shampoo().init, out_shardings=oc.shardings(oc.scale_by_shampoo(), params))(params)
    >>> state["scale_by_shampoo"]["right"]["w"].sharding.spec
    P(None, 'x', None)
    >>> whole = jax.device_put({"w": jax.numpy.ones((64, 32))}, layout.update(spec=jax.P()))
    >>> oc.shardings(oc.scale_by_adam(), whole, over="x")["scale_by_adam"]["nu"]["w"].spec
    P('x', None)
    """
    for path, p in named_leaves(params):
        if layout_of(path, p) is None and is_floating(p):
            raise ValueError(f"parameter {path!r} has no sharding; place the parameters first")
    if over is not None:
        params = split_over(params, over)
    ps = jax.tree.leaves(params, is_leaf=is_hole)
    layouts = {layout for p in ps if (layout := getattr(p, "sharding", None)) is not None}
    meshes = {layout.mesh for layout in layouts if isinstance(layout, jax.NamedSharding)}
    if len(meshes) > 1:
        raise ValueError(f"the parameters live on {len(meshes)} meshes; their state has no common layout")
    replicated = jax.NamedSharding(meshes.pop(), jax.P()) if meshes else next(iter(layouts), None)
    state, on_host = shapes_of_state(tx, params)
    slots, treedef = jax.tree.flatten(state, is_leaf=is_hole)
    leaves = []
    for slot, follows in zip(slots, followed(tx, state, params), strict=True):
        follows = follows.rest if isinstance(follows, Apart) else follows
        if is_hole(slot):
            leaves.append(slot)
        elif isinstance(follows, Stacked) and isinstance(replicated, jax.NamedSharding):
            leaves.append(replicated.update(spec=jax.P(follows.owners)))
        elif isinstance(follows, Follows):
            leaves.append(_layout(slot, ps[follows.param], follows.axes, replicated))
        else:
            leaves.append(replicated)
    return jax.tree.map(_in_memory, treedef.unflatten(leaves), on_host)


def shapes_of_state(tx: optax.GradientTransformation, params: Any) -> tuple[Any, Any]:
    """The shapes of `tx.init(params)`, whose parameters may hold what is no array, such as a function, and for each
    array of it whether it is in the memory of the host."""
    leaves, treedef = jax.tree.flatten(params)
    arrays = {i: x for i, x in enumerate(leaves) if isinstance(x, ARRAYS)}
    whole = lambda arrays: [arrays.get(i, x) for i, x in enumerate(leaves)]  # noqa: E731
    init = jax.make_jaxpr(lambda arrays: tx.init(treedef.unflatten(whole(arrays))), return_shape=True)
    jaxpr, state = init(arrays)
    on_host = [x.memory_space == jax.memory.Space.Host for x in jaxpr.out_avals]
    return state, jax.tree.structure(state).unflatten(on_host)


def _in_memory(layout: Any, on_host: bool) -> Any:
    return layout.with_memory_kind("pinned_host") if on_host and layout is not None else layout


def _layout(slot: Any, p: Any, axes: Axes, replicated: Any) -> Any:
    """The layout of a slot that follows these axes of a parameter."""
    if axes == tuple(range(p.ndim)) and slot.shape == p.shape:
        return p.sharding
    if not isinstance(p.sharding, jax.NamedSharding):
        return replicated
    names, sizes = along(p.sharding.spec, axes, slot.shape, p.shape), p.sharding.mesh.shape
    several = slot.ndim >= 2 or slot.size > max(p.shape)  # more than one number for each index of an axis
    if several and (None in axes or len(set(axes)) < len(axes)):
        names = _spread(names, [*along(p.sharding.spec, tuple(range(p.ndim)), p.shape, p.shape)], slot.shape, sizes)
    return jax.NamedSharding(p.sharding.mesh, jax.P(*map(entry, even(names, slot.shape, sizes))))


def _spread(names: list[tuple[str, ...]], of_p: list[tuple[str, ...]], shape: Any, sizes: Any) -> list[tuple[str, ...]]:
    """The mesh axes of a slot with those that only its parameter has, each along the first axis that it divides."""
    used = {name for group in names for name in group}
    for name in (name for group in of_p for name in group if name not in used):
        for j, n in enumerate(shape):
            if n and n % math.prod(sizes[other] for other in (*names[j], name)) == 0:
                names = [*names[:j], (*names[j], name), *names[j + 1 :]]
                break
    return names
