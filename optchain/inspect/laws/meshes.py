"""Meshes: parameters may be laid out over devices in any way, and stand in boxes that say how."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType

from optchain.core.transform import ours
from optchain.core.walk import definitions
from optchain.inspect.laws.check import Broken, Refused, Skipped, law
from optchain.inspect.laws.steps import compiled, every_extra, gradients, require_close, take_step
from optchain.sharding.over_axes import over_axes as spread_over
from optchain.sharding.over_axes import state_specs
from optchain.sharding.owned_state import state_by_parameters

SHAPES = {"kernel": (4, 2), "bias": (4,)}


@law
def explicit_mesh(tx: Any, params: Any) -> None:
    """On a mesh with explicit axes updates and state keep their layouts, inside `jax.set_mesh` and without it."""
    del params
    mesh = _mesh(AxisType.Explicit)
    layout = jax.NamedSharding(mesh, jax.P("x"))
    split = {name: jax.ShapeDtypeStruct(shape, jnp.float32, sharding=layout) for name, shape in SHAPES.items()}

    def trace() -> None:
        state = jax.eval_shape(tx.init, split)
        updates, after = jax.eval_shape(lambda g, s, p: tx.update(g, s, p, **every_extra()), split, state, split)
        _require_layouts("the state", after, state)
        _require_layouts("the update", updates, split)

    trace()
    with jax.set_mesh(mesh):
        trace()


@law
def auto_mesh(tx: Any, params: Any) -> None:
    """On a mesh with automatic axes a compiled step is the step on one device."""
    mesh, grads = _mesh(AxisType.Auto), gradients(params)
    expected = compiled(tx)((params, tx.init(params)), grads)

    def laid_out(x: jax.Array) -> jax.Array:
        split = x.ndim and x.shape[0] % mesh.size == 0
        return jax.device_put(x, jax.NamedSharding(mesh, jax.P("x") if split else jax.P()))

    over, gs = jax.tree.map(laid_out, params), jax.tree.map(laid_out, grads)
    pairs = (compiled(tx)((over, tx.init(over)), gs), over), (expected, params)
    results = [(stepped, state_by_parameters(tx, state, ps)) for (stepped, state), ps in pairs]
    require_close("the result ", *results, rtol=1e-4, atol=1e-5)


@law
def shard_map(tx: Any, params: Any) -> None:
    """Inside `jax.shard_map` three steps are those on whole arrays, or an error that names the technique."""
    del params
    mesh = _mesh(AxisType.Auto)
    whole = {name: jax.random.normal(jax.random.key(i), shape) for i, (name, shape) in enumerate(SHAPES.items())}
    # One device has far larger gradients, so that a choice or an estimate that is local is another one.
    grads = [jax.tree.map(lambda g: g.at[:2].multiply(100), gradients(whole, seed)) for seed in range(3)]

    def steps(params: Any, grads: Any) -> Any:
        carry = (params, tx.init(params))
        for gs in grads:
            carry = take_step(tx, carry, gs)
        return carry[0]

    inside = jax.jit(jax.shard_map(steps, mesh=mesh, in_specs=jax.P("x"), out_specs=jax.P("x")))
    try:
        jax.eval_shape(inside, whole, grads)
    except ValueError as error:
        names = [link.name for _, link in definitions(tx)] if ours(tx) else [""]
        if any(name in str(error) for name in names):
            raise Refused(str(error)) from None
        raise
    require_close("the parameters", inside(whole, grads), steps(whole, grads), rtol=1e-5)


@law
def over_axes(tx: Any, params: Any) -> None:
    """Under `oc.over_axes` three steps on shards are those on whole arrays, or an error that names the technique."""
    del params
    if not ours(tx):
        raise Skipped("it is not a transformation of optchain")
    mesh = _mesh(AxisType.Auto)
    # Split along its rows, along its columns, and the same on both devices, which is to be counted once.
    specs = {"kernel": jax.P("x"), "turned": jax.P(None, "x"), "bias": jax.P("x"), "same": jax.P()}
    shapes = {**SHAPES, "turned": (3, 4), "same": (3, 2)}
    whole = {name: jax.random.normal(jax.random.key(i), shape) for i, (name, shape) in enumerate(shapes.items())}
    grads = [jax.tree.map(lambda g: g.at[:2].multiply(100), gradients(whole, seed)) for seed in range(3)]

    def steps(tx: Any, params: Any, grads: Any) -> Any:
        # In a loop, to which the first state must be of the type of the others.
        stacked = jax.tree.map(lambda *gs: jnp.stack(gs), *grads)
        start = (params, tx.init(params))
        return jax.lax.scan(lambda carry, gs: (take_step(tx, carry, gs), None), start, stacked)[0]

    try:
        inner = spread_over(tx, "x", {"turned": specs["turned"]})
        run = functools.partial(steps, inner)
        out = (specs, state_specs(tx, whole, specs))
        inside = jax.jit(jax.shard_map(run, mesh=mesh, in_specs=(specs, [specs] * 3), out_specs=out))
        traced = inside.trace(whole, grads)
    except ValueError as error:
        if any(link.name in str(error) and "over_axes" in str(error) for _, link in definitions(tx)):
            raise Refused(str(error)) from None
        raise
    result, expected = traced.lower().compile()(whole, grads), jax.jit(functools.partial(steps, tx))(whole, grads)
    require_close("the result ", result, expected, rtol=1e-4, atol=1e-5)


@jax.tree_util.register_pytree_node_class
class Box:
    """A node around one array with a name for each axis, as Flax's metadata are."""

    def __init__(self, value: Any, names: tuple[str, ...]) -> None:
        self.value, self.names = value, names

    def tree_flatten(self) -> Any:
        return (self.value,), self.names

    @classmethod
    def tree_unflatten(cls, names: tuple[str, ...], values: Any) -> "Box":
        (value,) = values
        return cls(value, names)


@law
def boxes(tx: Any, params: Any) -> None:
    """Parameters in boxes with metadata are stepped as those in tuples, and come out in their boxes."""
    boxed, tuples = (
        [jax.tree.map(put, tree) for tree in (params, gradients(params))]
        for put in (lambda x: Box(x, ("a", "b", "c")[: x.ndim]), lambda x: (x,))
    )
    inside, state = take_step(tx, (boxed[0], tx.init(boxed[0])), boxed[1])
    if jax.tree.structure(inside) != jax.tree.structure(boxed[0]):
        raise Broken("the boxes of the parameters are others")
    if jax.tree.structure(state) != jax.tree.structure(tx.init(boxed[0])):
        raise Broken("the boxes in the state are others")
    expected, _ = take_step(tx, (tuples[0], tx.init(tuples[0])), tuples[1])
    require_close("the parameters", jax.tree.leaves(inside), jax.tree.leaves(expected), rtol=1e-6)


def _mesh(kind: AxisType) -> jax.sharding.Mesh:
    if len(jax.devices()) < 2:
        raise Skipped("there is one device")
    return jax.make_mesh((2,), ("x",), (kind,), devices=jax.devices()[:2])


def _require_layouts(what: str, result: Any, expected: Any) -> None:
    for (path, x), y in zip(jax.tree.leaves_with_path(result), jax.tree.leaves(expected), strict=True):
        if str(jax.typeof(x)) != str(jax.typeof(y)):
            raise Broken(f"{what}{jax.tree_util.keystr(path)} is {jax.typeof(x)}, expected {jax.typeof(y)}")
