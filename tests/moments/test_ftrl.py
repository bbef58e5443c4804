import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import PARAMS, SLOTS, assert_agree, by_leaf, run, run_float64
from tiers import one_of_each

import optchain as oc

OPTIONS = [
    {"learning_rate": 0.1},
    {"learning_rate": 0.05, "beta": 0.5, "l1": 0.001, "l2": 0.01},
    {"learning_rate": 0.5, "beta": 0.1, "l1": 0.1},
]


def paper(p, gs, learning_rate, beta=1.0, l1=0.0, l2=0.0):
    """Algorithm 1 of McMahan et al., entry by entry, from the z that leads to the first parameter."""
    weights, zs, ns = p.copy(), -p * (beta / learning_rate + l2) - np.sign(p) * l1, np.zeros_like(p)
    for g in gs:
        for i in np.ndindex(p.shape):
            if g[i] == 0:
                continue
            sigma = (np.sqrt(ns[i] + g[i] ** 2) - np.sqrt(ns[i])) / learning_rate
            zs[i] += g[i] - sigma * weights[i]
            ns[i] += g[i] ** 2
            if abs(zs[i]) <= l1:
                weights[i] = 0
            else:
                weights[i] = -(zs[i] - np.sign(zs[i]) * l1) / ((beta + np.sqrt(ns[i])) / learning_rate + l2)
    return {"params": weights, "z": zs, "n": ns}


def few(entries):
    """The smaller leaves: the paper is followed in a plain loop over entries."""
    keep = lambda x: x["digits"]["out"]  # noqa: E731
    return type(entries)(keep(entries.params), keep(entries.grads))


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_the_paper(entries, options):
    given = few(entries)
    ours, twin = run(oc.ftrl(**options), given), by_leaf(paper, given.params, given.grads, **options)
    assert_agree(ours.state["n"], twin["n"], SLOTS)
    assert_agree(ours.state["z"], twin["z"], 5 * SLOTS)
    assert_agree(ours.params, twin["params"], PARAMS)


def test_is_exact_in_float64(entries):
    given = few(entries)
    ours, twin = run_float64(oc.ftrl(**OPTIONS[1]), given), by_leaf(paper, given.params, given.grads, **OPTIONS[1])
    assert_agree(ours.params, twin["params"], 1e-11)


def test_a_strong_penalty_makes_exact_zeros():
    params = {"w": jnp.array([1.0, -0.5, 0.0])}
    tx = oc.ftrl(0.1, l1=100.0)
    after, _ = oc.apply(tx, {"w": jnp.array([0.1, 0.1, 0.1])}, tx.init(params), params)
    assert after["w"].tolist() != [0, 0, 0]  # each began where the penalty had already been paid
    for _ in range(3):
        after, state = oc.apply(tx, {"w": jnp.array([300.0, -300.0, 50.0])}, tx.init({"w": jnp.zeros(3)}), params)
    assert after["w"][2] == 0


def test_an_entry_without_gradient_stays_under_any_schedule():
    params = {"w": jnp.array([1.0, -0.5])}
    tx = oc.ftrl(oc.linear(0.1, 0.0, 10))
    state = tx.init(params)
    after = params
    for _ in range(5):
        after, state = jax.jit(lambda s, p: oc.apply(tx, {"w": jnp.array([0.3, 0.0])}, s, p))(state, after)
    assert after["w"][1] == -0.5 and after["w"][0] < 1.0


def test_it_solves_a_sparse_regression():
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(200, 20)), jnp.float32)
    wanted = jnp.zeros(20).at[:3].set(jnp.array([1.0, -2.0, 3.0]))
    tx, params = oc.ftrl(0.5, l1=50.0), {"w": jnp.zeros(20)}

    @jax.jit
    def fit(params):
        grad = jax.grad(lambda p: jnp.mean((x @ p["w"] - x @ wanted) ** 2))
        step = lambda c, _: (oc.apply(tx, grad(c[0]), c[1], c[0]), None)  # noqa: E731
        return jax.lax.scan(step, (params, tx.init(params)), length=500)[0][0]

    found = fit(params)["w"]
    assert jnp.sum(found != 0) == 3
    chex.assert_trees_all_close(found[:3], wanted[:3], atol=0.5)
