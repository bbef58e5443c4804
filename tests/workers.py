"""A technique that averages over devices, run on eight of them, each with gradients of its own."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType

import optchain as oc
from optchain.inspect.collectives import Sent, collectives

DEVICES = 8
AXIS = "data"
SHAPES = {"kernel": (40, 24), "bias": (24,), "scale": ()}


class Ran(NamedTuple):
    updates: Any  # by step
    state: Any
    residuals: Any  # by step and device


def mesh():
    return jax.make_mesh((DEVICES,), (AXIS,), (AxisType.Auto,))


def zeros(shapes=None, dtype=jnp.float32):
    return {name: jnp.zeros(shape, dtype) for name, shape in (shapes or SHAPES).items()}


def drawn(steps: int, shapes=None):
    """Gradients by step and device; those of the devices differ in size."""
    generator, tree = np.random.default_rng(0), {}
    for name, shape in (shapes or SHAPES).items():
        sizes = np.linspace(0.5, 2.0, DEVICES).reshape(DEVICES, *[1] * len(shape))
        tree[name] = (generator.normal(size=(steps, DEVICES, *shape)) * sizes).astype(np.float32)
    return tree


def residual(tx: Any, state: Any) -> Any:
    return state[tx.link.name]["residual"]


def run(tx: Any, grads: Any, params: Any) -> Ran:
    """Steps in a loop within one `shard_map`, from a state that begins there."""
    specs = oc.state_specs(tx, params, jax.P())
    per_step = jax.tree.map(lambda spec: jax.P(None, *spec), residual(tx, specs))

    def steps(params, grads):
        def one(state, g):
            new, state = tx.update(jax.tree.map(lambda x: x[0], g), state, params)
            return state, (new, residual(tx, state))

        state, (updates, residuals) = jax.lax.scan(one, tx.init(params), grads)
        return updates, state, residuals

    over = jax.shard_map(
        steps, mesh=mesh(), in_specs=(jax.P(), jax.P(None, AXIS)), out_specs=(jax.P(), specs, per_step)
    )
    return Ran(*jax.jit(over)(params, grads))


def sent(tx: Any, params: Any) -> dict[str, Sent]:
    """The collectives of one compiled update."""
    specs = oc.state_specs(tx, params, jax.P())

    def one(params, grads):
        return tx.update(jax.tree.map(lambda x: x[0], grads), tx.init(params), params)

    over = jax.shard_map(one, mesh=mesh(), in_specs=(jax.P(), jax.P(AXIS)), out_specs=(jax.P(), specs))
    grads = jax.tree.map(lambda p: jnp.zeros((DEVICES, *p.shape), p.dtype), params)
    return collectives(jax.jit(over).lower(params, grads).compile().as_text())


def require_the_law(ran: Ran, grads: Any, law: Any) -> None:
    """Updates and residuals are those of a law for one leaf: from what all devices have to what they send."""
    for name, gs in grads.items():
        e = np.zeros(gs.shape[1:])
        for t, g in enumerate(np.asarray(gs, np.float64)):
            x = g + e
            own, mean = law(x, name)
            e = x - own
            tolerance = functools.partial(np.testing.assert_allclose, rtol=2e-5, atol=2e-5, err_msg=f"{name}, step {t}")
            tolerance(ran.updates[name][t], mean)
            tolerance(ran.residuals[name][t], e)
