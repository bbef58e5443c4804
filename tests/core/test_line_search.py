"""Links that evaluate the loss themselves: L-BFGS and line searches of optax's in our chains."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optchain as oc


def rosenbrock(params):
    x, y = params["x"], params["y"]
    return jnp.sum(100.0 * (y - x**2) ** 2 + (1.0 - x) ** 2)


START = {"x": jnp.array([-1.2, 0.5]), "y": jnp.array([1.0, -0.5])}


def minimized(tx, steps=60, apply=oc.apply):
    def step(carry, _):
        params, state = carry
        value, grads = jax.value_and_grad(rosenbrock)(params)
        told = {"value": value, "grad": grads, "value_fn": rosenbrock}
        return apply(tx, grads, state, params, **told), value

    (params, _), values = jax.jit(lambda c: jax.lax.scan(step, c, length=steps))((START, tx.init(START)))
    return params, values


def plain(tx, grads, state, params, **told):
    updates, state = tx.update(grads, state, params, **told)
    return optax.apply_updates(params, updates), state


def test_lbfgs_of_optax_is_a_link_and_finds_the_minimum():
    params, values = minimized(oc.chain(lbfgs=optax.lbfgs()))
    twin, theirs = minimized(optax.lbfgs(), apply=plain)
    chex.assert_trees_all_close(params, {"x": jnp.ones(2), "y": jnp.ones(2)}, atol=1e-3)
    chex.assert_trees_all_close((params, values), (twin, theirs), rtol=1e-5, atol=1e-6)


def test_its_parts_are_links_among_ours():
    search = optax.scale_by_zoom_linesearch(max_linesearch_steps=20, initial_guess_strategy="one")
    tx = oc.chain(directions=optax.scale_by_lbfgs(), descent=oc.scale(-1.0), search=search)
    params, values = minimized(tx)
    chex.assert_trees_all_close((params, values), minimized(optax.lbfgs(), apply=plain), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("wrap", [oc.guard, lambda tx: oc.accumulate(tx, 1)], ids=["guard", "accumulate"])
def test_it_works_within_wrappers(wrap):
    params, _ = minimized(wrap(oc.chain(lbfgs=optax.lbfgs())))
    chex.assert_trees_all_close(params, {"x": jnp.ones(2), "y": jnp.ones(2)}, atol=1e-3)


def test_a_line_search_takes_the_direction_of_our_moments():
    tx = oc.chain(adam=oc.scale_by_adam(b1=0.0), lr=oc.scale(-1.0), search=optax.scale_by_backtracking_linesearch(20))
    _, values = minimized(tx, 100)
    assert np.all(np.diff(values) <= 1e-6) and values[-1] < 0.5 * values[0]
