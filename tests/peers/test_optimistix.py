"""Optimistix: `OptaxMinimiser` takes any transformation, hands it `value`, `grad` and `value_fn`, and stops it."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from twin_curves import each_twin, require_same_curves

import optchain as oc

optx: Any = pytest.importorskip("optimistix", reason="optimistix is in the extra `peers`")
pytestmark = pytest.mark.peers

A = jax.random.normal(jax.random.key(0), (20, 3))
TRUE = {"w": jnp.array([1.0, -2.0, 0.5]), "b": jnp.array(0.3)}
START = {"w": jnp.zeros(3), "b": jnp.zeros(())}


def residual(y: Any, args: Any) -> jax.Array:
    return jnp.mean((jnp.tanh(A @ y["w"] + y["b"]) - jnp.tanh(A @ TRUE["w"] + TRUE["b"])) ** 2)


def minimise(tx: Any, steps: int) -> Any:
    solver = optx.OptaxMinimiser(tx, rtol=1e-5, atol=1e-6)
    return optx.minimise(residual, solver, START, max_steps=steps, throw=False)


@each_twin
def test_the_losses_of_a_minimiser_equal_those_with_optax(ours, theirs):
    def train(tx: Any) -> list[float]:
        solver = optx.OptaxMinimiser(tx, rtol=0.0, atol=0.0)
        fn = lambda y, args: (residual(y, args), None)  # noqa: E731
        struct = jax.eval_shape(lambda: residual(START, None))
        state, y, losses = solver.init(fn, START, None, {}, struct, None, frozenset()), START, []
        step = jax.jit(lambda y, state: solver.step(fn, y, None, {}, state, frozenset())[:2])
        for _ in range(30):
            y, state = step(y, state)
            losses.append(state.f)
        return losses

    require_same_curves(train, ours, theirs)


@pytest.mark.parametrize(
    ("ours", "theirs"), [(oc.adam(0.1), optax.adam(0.1)), (oc.lbfgs(), optax.lbfgs())], ids=["adam", "lbfgs"]
)
def test_a_minimiser_stops_where_it_does_with_optax(ours, theirs):
    a, b = (minimise(tx, 500) for tx in (ours, theirs))
    assert a.stats["num_steps"] == b.stats["num_steps"] < 500
    assert bool(a.result == optx.RESULTS.successful)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5), a.value, b.value)
