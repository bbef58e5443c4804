import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from agreement import PARAMS, assert_agree, by_leaf, run, run_float64, run_twin

import optchain as oc

RATE = -0.01


def paper(gs, p, min_scale=1e-3):
    """The factor of Algorithm 5 of Shazeer and Stern."""
    for g in gs:
        p = p + RATE * max(min_scale, np.sqrt(np.mean(p**2))) * g
    return {"params": p}


@pytest.mark.parametrize("least", [1e-3, 0.2])
def test_agrees_with_the_paper_and_with_optax(recorded, least):
    ours = run(oc.scale_by_param_block_rms(least), recorded, RATE)
    assert_agree(ours.params, by_leaf(paper, recorded.grads, recorded.params, min_scale=least)["params"], PARAMS)
    assert_agree(ours.params, run_twin(optax.scale_by_param_block_rms(least), recorded, RATE).params, PARAMS)


def test_is_exact_in_float64(recorded):
    ours = run_float64(oc.scale_by_param_block_rms(), recorded, RATE)
    assert_agree(ours.params, by_leaf(paper, recorded.grads, recorded.params)["params"], 1e-12)


def test_scales_with_the_parameters_and_moves_those_that_are_0():
    tx = oc.scale_by_param_block_rms(0.5)
    p = {"large": jnp.array([3.0, -3.0]), "zero": jnp.zeros(2)}
    u, _ = tx.update(jax.tree.map(jnp.ones_like, p), tx.init(p), p)
    assert jax.tree.map(lambda x: x.tolist(), u) == {"large": [3.0, 3.0], "zero": [0.5, 0.5]}
