"""Diffrax: the vector field of a differential equation is fitted through its solver."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest
from twin_curves import each_twin, require_same_curves

eqx: Any = pytest.importorskip("equinox", reason="equinox is in the extra `peers`")
diffrax: Any = pytest.importorskip("diffrax", reason="diffrax is in the extra `peers`")
pytestmark = pytest.mark.peers

TIMES = jnp.linspace(0.0, 2.0, 12)
STARTS = jax.random.normal(jax.random.key(0), (8, 2))
PATHS = jax.vmap(
    lambda y: (
        jnp.exp(-0.3 * TIMES)[:, None]
        * jnp.stack(
            [
                y[0] * jnp.cos(2 * TIMES) - y[1] * jnp.sin(2 * TIMES),
                y[0] * jnp.sin(2 * TIMES) + y[1] * jnp.cos(2 * TIMES),
            ],
            1,
        )
    )
)(STARTS)  # damped rotations


def solve(field: Any, start: jax.Array) -> jax.Array:
    term = diffrax.ODETerm(lambda t, y, args: field(y))
    return diffrax.diffeqsolve(
        term, diffrax.Heun(), TIMES[0], TIMES[-1], dt0=0.1, y0=start, saveat=diffrax.SaveAt(ts=TIMES)
    ).ys


@each_twin
def test_a_neural_differential_equation_is_fitted_as_with_optax(ours, theirs):
    def train(tx: Any) -> jax.Array:
        field = eqx.nn.MLP(2, 2, width_size=8, depth=1, activation=jnp.tanh, key=jax.random.key(1))
        moving, rest = eqx.partition(field, eqx.is_inexact_array)

        def loss(moving: Any) -> Any:
            return jnp.mean((jax.vmap(lambda y: solve(eqx.combine(moving, rest), y))(STARTS) - PATHS) ** 2)

        def step(carry: Any, _: Any) -> Any:
            moving, state = carry
            value, grads = jax.value_and_grad(loss)(moving)
            updates, state = tx.update(grads, state, moving)
            return (eqx.apply_updates(moving, updates), state), value

        return jax.jit(lambda m, s: jax.lax.scan(step, (m, s), length=30)[1])(moving, tx.init(moving))

    require_same_curves(train, ours, theirs)
