import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from agreement import PARAMS, SLOTS, assert_agree
from whole_tree import on_vector, run, run_float64

import optchain as oc


def sgd_hd(gs, p, alpha, beta):
    """Algorithm 4 of Baydin et al."""
    x, last = p, np.zeros_like(p)
    for gradient in gs:
        g = gradient(x)
        alpha = alpha - beta * np.dot(g, last)
        x, last = x - alpha * g, -g
    return {"x": x, "rate": alpha}


def sgdn_hd(gs, p, alpha, beta, mu=0.9):
    """Algorithm 5: Nesterov momentum."""
    x, last, v = p, np.zeros_like(p), np.zeros_like(p)
    for gradient in gs:
        g = gradient(x)
        alpha = alpha - beta * np.dot(g, last)
        v = mu * v + g
        last = -(g + mu * v)
        x = x + alpha * last
    return {"x": x, "rate": alpha}


def adam_hd(gs, p, alpha, beta, b1=0.9, b2=0.999, eps=1e-8):
    """Algorithm 6."""
    x, last, m, v = p, np.zeros_like(p), np.zeros_like(p), np.zeros_like(p)
    for t, gradient in enumerate(gs, 1):
        g = gradient(x)
        alpha = alpha - beta * np.dot(g, last)
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        last = -m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps)
        x = x + alpha * last
    return {"x": x, "rate": alpha}


CASES = [
    (sgd_hd, oc.sgd(1.0), 1e-3, 1e-3),
    (sgdn_hd, oc.nesterov(1.0), 1e-3, 1e-4),
    (adam_hd, oc.adam(1.0), 1e-4, 1e-5),
]


@pytest.mark.parametrize("law, inner, alpha, beta", CASES, ids=["sgd", "nesterov", "adam"])
def test_agrees_with_the_paper(entries, law, inner, alpha, beta):
    twin = on_vector(law, entries, alpha, beta)
    assert abs(twin["rate"] / alpha - 1) > 0.1  # it has moved
    exact, found = (way(oc.hypergradient(inner, alpha, beta), entries) for way in (run_float64, run))
    assert_agree(exact.state["hypergradient"]["rate"], twin["rate"], 1e-10)
    assert_agree(exact.params, twin["x"], 1e-10)
    assert_agree(found.state["hypergradient"]["rate"], twin["rate"], 20 * SLOTS)
    assert_agree(found.params, twin["x"], PARAMS)


def test_is_the_gradient_of_the_loss_by_the_rate():
    """After one step of rate a the loss falls by a as the slope says, which the next rate follows."""
    start, a, b = {"w": jnp.array([1.0, -2.0, 3.0])}, 0.1, 1e-3

    def loss(p):
        return jnp.sum(p["w"] ** 4)

    tx = oc.hypergradient(optax.sgd(1.0), a, b)
    g = jax.grad(loss)(start)
    p, state = oc.apply(tx, g, tx.init(start), start)
    _, state = oc.apply(tx, jax.grad(loss)(p), state, p)
    slope = jax.grad(lambda a: loss({"w": start["w"] - a * g["w"]}))(a)
    np.testing.assert_allclose(oc.metrics(state)["hypergradient.rate"], a - b * slope, rtol=1e-5)


def test_update_and_apply_are_the_same_step():
    p, tx = {"w": jnp.array([1.0, -2.0])}, oc.hypergradient(oc.adam(1.0), 0.1, 0.01)
    state = tx.init(p)
    for _ in range(3):
        updates, other = tx.update(p, state, p)
        after, state = oc.apply(tx, p, state, p)
        chex.assert_trees_all_equal(state, other)
        chex.assert_trees_all_close(after, optax.apply_updates(p, updates), rtol=1e-6)
        p = after


@pytest.mark.parametrize("name", ["learning_rate", "hyper_learning_rate"])
def test_options_are_checked(name):
    options = {"learning_rate": 0.1, "hyper_learning_rate": 0.1} | {name: -0.1}
    with pytest.raises(ValueError, match=rf"hypergradient: {name} must lie in \[0, inf\), got -0.1"):
        oc.hypergradient(oc.sgd(1.0), **options)
