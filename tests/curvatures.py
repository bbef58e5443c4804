"""Training with an estimate of the Hessian's diagonal at some of the steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from recorded_gradients import joined, parted
from techniques import own
from torch_twin import run_torch

import optchain as oc

EVERY = 10  # steps between two estimates


def estimates(recorded):
    """Something like curvatures, some of them negative, for every step."""
    return jax.tree.map(lambda g: jnp.sqrt(jnp.abs(g)) * jnp.sign(g + 0.01), recorded.grads)


def trained(tx, recorded, every=EVERY):
    """The parameters and the state after all gradients, with an estimate at every tenth step."""

    def step(carry, x):
        params, state = carry
        t, g, h = x
        took = jax.lax.cond(
            t % every == 0,
            lambda: oc.apply(tx, g, state, params, hessian=h),
            lambda: oc.apply(tx, g, state, params, hessian=None),
        )
        return took, None

    steps = jnp.arange(len(jax.tree.leaves(recorded.grads)[0]))
    params, grads = joined(recorded)
    _, hs = joined(recorded._replace(grads=estimates(recorded)))
    scanned = jax.jit(lambda start, *xs: jax.lax.scan(step, start, xs)[0])
    params, state = scanned((params, tx.init(params)), steps, grads, hs)
    return parted((params, own(state)), recorded)


def run_torch_told(make, recorded, every=EVERY):
    """What `run_torch` returns of an optimizer of pytorch_optimizer that is given the estimates."""
    torch = pytest.importorskip("torch", reason="torch is in the extra `oracles`")
    hs = [torch.tensor(np.asarray(h), dtype=torch.float64) for h in jax.tree.leaves(estimates(recorded))]

    def told(params):
        optimizer, t = make(params), iter(range(len(hs[0])))
        step = optimizer.step

        def given():
            now = next(t)
            step(hessian=[h[now] for h in hs] if now % every == 0 else None)

        optimizer.step = given
        return optimizer

    return run_torch(told, recorded)
