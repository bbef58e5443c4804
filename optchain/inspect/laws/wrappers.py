"""Wrappers: a transformation works within any other."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from optchain.control.accumulate import accumulate
from optchain.control.extra_means import require_means
from optchain.control.guard import guard
from optchain.inspect.laws.check import Refused, law
from optchain.inspect.laws.steps import (
    compiled,
    every_extra,
    gradients,
    optional,
    require_close,
    require_scan,
    take_step,
    with_every_extra,
)
from optchain.packing.pack import pack
from optchain.packing.packed import packed
from optchain.packing.packed_tree import unpack
from optchain.sharding.owned_state import state_by_owners, state_by_parameters


@law
def masked(tx: Any, params: Any) -> None:
    """It works on some of the leaves."""
    leaves, treedef = jax.tree.flatten(params)
    mask = treedef.unflatten([i % 2 == 0 for i in range(len(leaves))])
    require_scan(optax.masked(tx, mask), params)


@law
def masked_out(tx: Any, params: Any) -> None:
    """It works on none of the leaves."""
    require_scan(optax.masked(tx, jax.tree.map(lambda _: False, params)), params)


@law
def partition(tx: Any, params: Any) -> None:
    """It works as one group of `optax.partition`."""
    leaves, treedef = jax.tree.flatten(params)
    labels = treedef.unflatten(["own" if i % 2 else "other" for i in range(len(leaves))])
    require_scan(optax.partition({"own": tx, "other": optax.sgd(0.1)}, labels), params)


@law
def optax_wrappers(tx: Any, params: Any) -> None:
    """It works in `optax.chain`, `optax.apply_if_finite` and `optax.MultiSteps`."""
    require_scan(optax.apply_if_finite(optax.chain(optax.clip(1.0), tx, optax.scale(0.1)), 3), params)
    require_scan(optax.MultiSteps(with_every_extra(tx), 2).gradient_transformation(), params)


@law
def accumulation(tx: Any, params: Any) -> None:
    """Equal micro-batches accumulated are one step; what reads something of one batch that has no mean is refused."""
    try:
        require_means("accumulate", tx)
    except ValueError as error:
        raise Refused(str(error)) from None
    grads, wrapped = gradients(params), accumulate(tx, 2)
    functions = dict.fromkeys(name for name, x in every_extra().items() if callable(x))
    carry, step = (params, wrapped.init(params)), jax.jit(lambda c, g: take_step(wrapped, c, g, **functions))
    for _ in range(2):
        carry = step(carry, grads)
    require_close("the parameters", carry[0], compiled(tx)((params, tx.init(params)), grads)[0], rtol=1e-4)


@law
def guarded(tx: Any, params: Any) -> None:
    """A rejected step leaves parameters and state as they were, bit for bit."""
    wrapped = guard(tx)
    start: Any = (params, wrapped.init(params))
    bad = jax.tree.map(lambda p: jnp.full_like(p, jnp.nan), params)
    after, state = jax.jit(lambda c, g: take_step(wrapped, c, g))(start, bad)
    require_close("the parameters", after, params, 0, 0)
    require_close("the state ", state["inner"], start[1]["inner"], 0, 0)


@law
def packed_leaves(tx: Any, params: Any) -> None:
    """With packed parameters three steps are the same, and the state can be taken apart and packed again; or an error
    says what cannot be packed."""
    try:
        inner = packed(tx)
        together = pack(inner, params)
    except ValueError as error:
        if not str(error).startswith("pack"):
            raise
        raise Refused(str(error)) from None
    grads = [gradients(params, seed) for seed in range(3)]

    def steps(tx: Any, params: Any, grads: Any) -> Any:
        stacked = jax.tree.map(lambda *gs: jnp.stack(gs), *grads)
        return jax.lax.scan(lambda carry, gs: (take_step(tx, carry, gs), None), (params, tx.init(params)), stacked)[0]

    @jax.jit
    def both(params: Any, together: Any, grads: Any) -> Any:
        buffers, state = steps(inner, together, [pack(inner, gs) for gs in grads])
        back = state_by_owners(inner, state_by_parameters(inner, state, buffers), buffers)
        return steps(tx, params, grads)[0], unpack(buffers), state, back

    alone, unpacked, state, back = both(params, together, grads)
    require_close("packed parameters ", unpacked, alone, rtol=1e-4)
    require_close("the state, taken apart and back, ", back, state, 0, 0)


@law
def nnx_optimizer(tx: Any, params: Any) -> None:
    """It works in `nnx.Optimizer`."""
    nnx, _ = optional("flax.nnx"), params
    model = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)

    @nnx.jit
    def step(model: Any, optimizer: Any) -> None:
        grads = nnx.grad(lambda model: jnp.sum(model(jnp.ones((1, 2))) ** 2))(model)
        optimizer.update(model, grads, **every_extra())

    step(model, optimizer)
    step(model, optimizer)
