"""Small runs of what is stepped by owners, on a mesh of the virtual devices and on one device."""

import jax
import numpy as np
from jax.sharding import AxisType

import optchain as oc

EIGHT = {f"w{i}": (32, 32) for i in range(8)}  # square: an eigenbasis is any one where singular values are 0
KINDS = {"auto": AxisType.Auto, "explicit": AxisType.Explicit}
LR = oc.scale_by_learning_rate(0.01)
MUON = oc.chain(oc.scale_by_muon(), LR)


def mesh(kind="auto", sizes=(8,), names=("x",)):
    return jax.make_mesh(sizes, names, (KINDS[kind],) * len(sizes))


def drawn(shapes, seed, mesh=None, spec=None):
    """Parameters or gradients, on a mesh in one layout or in one by shape, or on one device."""
    keys = jax.random.split(jax.random.key(seed), len(shapes))
    tree = {name: jax.random.normal(key, shape) for key, (name, shape) in zip(keys, shapes.items(), strict=True)}
    if mesh is None:
        return tree
    return {
        name: jax.device_put(x, jax.NamedSharding(mesh, spec(x.shape) if callable(spec) else spec))
        for name, x in tree.items()
    }


def begun(tx, params):
    return jax.jit(tx.init, out_shardings=oc.shardings(tx, params))(params)


def step(tx, params, state, **extra):
    """A compiled step that keeps the layouts of what it steps."""
    layouts = jax.tree.map(lambda x: x.sharding, (params, state))
    return jax.jit(lambda g, s, p: oc.apply(tx, g, s, p, **extra), donate_argnums=(1, 2), out_shardings=layouts)


def after(tx, shapes, steps=3, mesh=None, spec=None, **extra):
    """Parameters and state after some steps."""
    params = drawn(shapes, 0, mesh, spec)
    state = begun(tx, params)
    take = step(tx, params, state, **extra)
    for i in range(steps):
        params, state = take(drawn(shapes, i + 1, mesh, spec), state, params)
    return params, state


def compiled(tx, shapes, mesh=None, spec=None):
    params = drawn(shapes, 0, mesh, spec)
    state = begun(tx, params)
    return step(tx, params, state).lower(drawn(shapes, 1, mesh, spec), state, params).compile(), state


def held(state):
    """Bytes on one device."""
    return sum(x.addressable_shards[0].data.nbytes for x in jax.tree.leaves(state))


def require_equal(found, expected, rtol):
    for (path, x), y in zip(jax.tree.leaves_with_path(found), jax.tree.leaves(expected), strict=True):
        x, y = np.asarray(x), np.asarray(y)
        worst = np.abs(x - y).max(initial=0)
        assert worst <= rtol * np.abs(y).max(initial=0), (jax.tree_util.keystr(path), worst)


def require_the_same(tx, shapes, mesh, spec, axis="x", rtol=1e-6, **extra):
    """The steps by owners are those of one device."""
    expected, _ = after(tx, shapes, **extra)
    found, state = after(oc.distributed(tx, axis), shapes, mesh=mesh, spec=spec, **extra)
    require_equal(found, expected, rtol)
    return found, state
