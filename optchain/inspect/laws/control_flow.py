"""Control flow: a step may stand anywhere in a compiled program."""

from typing import Any

import jax
import jax.numpy as jnp

from optchain.inspect.laws.check import Broken, law
from optchain.inspect.laws.steps import compiled, gradients, require_close, take_step


@law
def jit_is_eager(tx: Any, params: Any) -> None:
    """A compiled update is the eager one."""
    grads, state = gradients(params), tx.init(params)
    eager = take_step(tx, (params, state), grads)
    require_close("the result ", compiled(tx)((params, state), grads), eager)


@law
def one_trace(tx: Any, params: Any) -> None:
    """A second step is not a second trace."""
    traces = []

    @jax.jit
    def step(carry: Any, grads: Any) -> Any:
        traces.append(None)
        return take_step(tx, carry, grads)

    carry = (params, tx.init(params))
    for seed in range(3):
        carry = jax.eval_shape(step, carry, gradients(params, seed))
    if len(traces) > 1:
        raise Broken(f"{len(traces)} traces in 3 steps")


@law
def deterministic(tx: Any, params: Any) -> None:
    """The same step is the same to the bit."""
    start, grads = (params, tx.init(params)), gradients(params)
    first, second = compiled(tx)(start, grads), compiled(tx)(start, grads)
    require_close("the result ", first, second, 0, 0)


@law
def scan(tx: Any, params: Any) -> None:
    """Steps within `lax.scan` are steps in a loop."""
    drawn = [gradients(params, seed) for seed in range(3)]
    stacked = jax.tree.map(lambda *gs: jnp.stack(gs), *drawn)
    start = (params, tx.init(params))
    scanned = jax.jit(lambda c: jax.lax.scan(lambda c, g: (take_step(tx, c, g), None), c, stacked)[0])(start)
    looped = start
    for grads in drawn:
        looped = compiled(tx)(looped, grads)
    require_close("the result ", scanned, looped, rtol=1e-4)


@law
def cond(tx: Any, params: Any) -> None:
    """A step may be one branch of `lax.cond`."""
    start, grads = (params, tx.init(params)), gradients(params)
    jax.eval_shape(lambda go, c: jax.lax.cond(go, lambda c: take_step(tx, c, grads), lambda c: c, c), True, start)


@law
def vmap(tx: Any, params: Any) -> None:
    """A batch of steps is a loop of steps."""
    batch = [gradients(params, seed) for seed in range(2)]
    run = jax.jit(jax.vmap(lambda g: take_step(tx, (params, tx.init(params)), g)))
    batched = run(jax.tree.map(lambda *gs: jnp.stack(gs), *batch))
    for i, grads in enumerate(batch):
        single = compiled(tx)((params, tx.init(params)), grads)
        require_close("the result ", jax.tree.map(lambda x, i=i: x[i], batched), single, rtol=1e-4, atol=1e-5)
