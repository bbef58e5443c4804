import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from agreement import PARAMS, assert_agree, by_leaf, run, run_float64, run_twin
from torch_twin import run_torch

import optchain as oc


def paper(gs, p, learning_rate, weight_decay=0.0, trust_coefficient=0.001, momentum=0.9):
    """Algorithm 1 of You, Gitman and Ginsburg; a leaf or gradient of norm 0 has the local rate 1."""
    v = np.zeros_like(p)
    for g in gs:
        own, other = np.sqrt(np.sum(p**2)), np.sqrt(np.sum(g**2))
        local = trust_coefficient * own / (other + weight_decay * own) if own > 0 and other > 0 else 1.0
        v = momentum * v + learning_rate * local * (g + weight_decay * p)
        p = p - v
    return {"params": p}


@pytest.mark.parametrize("weight_decay", [0.0, 0.5])
def test_agrees_with_the_paper(recorded, weight_decay):
    options = {"learning_rate": 2.0, "weight_decay": weight_decay}
    exact = by_leaf(paper, recorded.grads, recorded.params, **options)["params"]
    assert_agree(run_float64(oc.lars(**options), recorded).params, exact, 1e-11)
    assert_agree(run(oc.lars(**options), recorded).params, exact, PARAMS)


@pytest.mark.oracles
def test_agrees_with_pytorch_optimizer(recorded_matrices):
    module = pytest.importorskip("pytorch_optimizer", reason="pytorch_optimizer is in the extra `oracles`")
    twin, _ = run_torch(lambda p: module.LARS(p, lr=2.0, weight_decay=0.5), recorded_matrices)
    assert_agree(run_float64(oc.lars(2.0, weight_decay=0.5), recorded_matrices).params, twin, 1e-11)


def test_agrees_with_optax_without_decay_and_differs_with_it(recorded):
    """optax divides by the norm of the decayed gradient, the paper by the sum of the norms."""
    assert_agree(run(oc.lars(2.0), recorded).params, run_twin(optax.lars(2.0), recorded).params, PARAMS)
    with pytest.raises(AssertionError, match="differs by"):
        assert_agree(run(oc.lars(2.0, 0.5), recorded).params, run_twin(optax.lars(2.0, 0.5), recorded).params, 1e-3)


def test_leaves_outside_the_mask_take_plain_momentum(recorded):
    masked = run(oc.lars(0.1, weight_decay=0.5, mask=oc.is_matrix), recorded).params
    plain, full = run(oc.momentum(0.1), recorded).params, run(oc.lars(0.1, weight_decay=0.5), recorded).params
    for x, without, within in zip(*map(jax.tree.leaves, (masked, plain, full)), strict=True):
        if x.ndim > 1:
            np.testing.assert_array_equal(x, within)
        else:
            np.testing.assert_allclose(x, without, rtol=1e-5, atol=1e-7)


def test_passes_where_a_norm_is_zero():
    tx, p = oc.scale_by_lars(weight_decay=0.1), {"born": jnp.zeros(2), "idle": jnp.ones(2)}
    u, _ = tx.update({"born": jnp.ones(2), "idle": jnp.zeros(2)}, tx.init(p), p)
    np.testing.assert_array_equal(u["born"], 1)
    np.testing.assert_allclose(u["idle"], 0.1, rtol=1e-6)
