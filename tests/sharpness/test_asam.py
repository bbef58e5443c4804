import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import PARAMS, assert_agree
from perturbed_runs import by_hand, trained

import optchain as oc

RATE, RHO, ETA = 0.1, 0.5, 0.01


def perturbed(params, grads):
    """Algorithm 1 of the paper, with T = |w| + eta for all parameters."""
    scales = {name: np.abs(p) + ETA for name, p in params.items()}
    norm = np.sqrt(sum(((scales[name] * g) ** 2).sum() for name, g in grads.items()))
    return {name: p + RHO * scales[name] ** 2 * grads[name] / norm for name, p in params.items()}


def test_agrees_with_the_paper():
    assert_agree(trained(oc.asam(oc.sgd(RATE), RHO, ETA))[0], by_hand(perturbed, RATE), PARAMS)


def test_is_exact_in_float64():
    with jax.enable_x64(True):
        found = jax.tree.map(np.asarray, trained(oc.asam(oc.sgd(RATE), RHO, ETA), jnp.float64)[0])
    assert_agree(found, by_hand(perturbed, RATE), 1e-12)


def test_the_perturbation_scales_with_the_parameters():
    """Without eta, parameters scaled up and gradients scaled down are perturbed by the same share."""
    seen = []
    tx = oc.asam(oc.scale(1.0), 0.5, eta=0.0)
    for factor in (1.0, 8.0):
        params, g = {"w": factor * jnp.array([1.0, 2.0])}, {"w": jnp.array([3.0, 4.0]) / factor}
        tx.update(g, tx.init(params), params, grad_fn=lambda p: seen.append(p) or p)
    np.testing.assert_allclose(seen[1]["w"], 8 * seen[0]["w"], rtol=1e-6)


def test_a_bad_number_is_refused():
    with pytest.raises(ValueError, match="asam: eta must lie in"):
        oc.asam(oc.sgd(0.1), eta=-1.0)
