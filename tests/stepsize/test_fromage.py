import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from agreement import PARAMS, assert_agree, by_leaf, run, run_float64, run_twin
from torch_twin import run_torch

import optchain as oc


def paper(gs, p, learning_rate):
    """Algorithm 1 of Bernstein et al.; with a norm of 0, as in their code, a plain step."""
    for g in gs:
        own, other = np.sqrt(np.sum(p**2)), np.sqrt(np.sum(g**2))
        p = (p - learning_rate * (own / other if own > 0 and other > 0 else 1.0) * g) / np.sqrt(1 + learning_rate**2)
    return {"params": p}


@pytest.mark.parametrize("rate", [0.001, 0.01, 0.1])
def test_agrees_with_the_paper(recorded, rate):
    exact = by_leaf(paper, recorded.grads, recorded.params, learning_rate=rate)["params"]
    assert_agree(run_float64(oc.fromage(rate), recorded).params, exact, 1e-11)
    assert_agree(run(oc.fromage(rate), recorded).params, exact, PARAMS)


@pytest.mark.oracles
def test_agrees_with_pytorch_optimizer(recorded):
    module = pytest.importorskip("pytorch_optimizer", reason="pytorch_optimizer is in the extra `oracles`")
    twin, _ = run_torch(lambda p: module.Fromage(p, lr=0.01), recorded)
    assert_agree(run_float64(oc.fromage(0.01), recorded).params, twin, 1e-11)


def test_agrees_with_optax_where_no_norm_is_near_zero(recorded):
    moved = recorded._replace(params=jax.tree.map(lambda p: p + 0.1, recorded.params))
    assert_agree(run(oc.fromage(0.01), moved).params, run_twin(optax.fromage(0.01), moved).params, PARAMS)


def test_a_bias_that_begins_at_zero_moves_at_once():
    """optax counts its norm as 1e-6: a step a million times smaller than that of a parameter of norm 1."""
    p, g = {"b": jnp.zeros(2)}, {"b": jnp.array([3.0, 4.0])}
    ours, theirs = ((tx.update(g, tx.init(p), p)[0]["b"]) for tx in (oc.fromage(0.01), optax.fromage(0.01)))
    np.testing.assert_allclose(ours, -0.01 * g["b"] / np.sqrt(1.0001), rtol=1e-6)
    assert np.linalg.norm(theirs) < 2e-8


@pytest.mark.parametrize("rate", [1e-4, 0.01, 1.0])
def test_orthogonal_steps_keep_the_norm(rate):
    """The reason for the shrinking: the step is orthogonal to a parameter whose scale does not matter."""
    tx = oc.fromage_step(rate)

    def step(p, _):
        return p + tx.update(jnp.array([-p[1], p[0]]), tx.init(p), p)[0], None

    p, _ = jax.lax.scan(step, jnp.array([3.0, 4.0]), length=1000)
    np.testing.assert_allclose(np.linalg.norm(p), 5.0, rtol=1e-4)


def test_is_exact_for_small_rates():
    """1 - 1 / sqrt(1 + 1e-8) is 5e-9, which a difference of float32 numbers near 1 would lose."""
    tx, p = oc.fromage_step(1e-4), jnp.array([1.0])
    u, _ = tx.update(jnp.array([0.0]), tx.init(p), p)
    np.testing.assert_allclose(u, -5e-9, rtol=1e-5)
