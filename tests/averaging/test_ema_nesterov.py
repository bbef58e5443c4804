import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import PARAMS, SLOTS, assert_agree, by_leaf, run, run_float64
from recorded_gradients import STEPS

import optchain as oc

RATE = 0.05


def ema_nesterov(gs, p, betas, decay=0.9):
    """The recursion of the paper: a step of SGD from the point ahead, and the mean of the iterate's own steps."""
    theta, m = p, np.zeros_like(p)
    for t, g in enumerate(gs):
        after = theta + betas[t] * m - RATE * g
        m = decay * m + (1 - decay) * (after - theta)
        theta = after
    return {"theta": theta, "m": m, "y": theta + betas[len(gs)] * m}


def ahead(step):
    return jnp.where((step < 20) | (step >= 110), 0.0, 0.5)


BETAS = [0.0 if t < 20 or t >= 110 else 0.5 for t in range(STEPS + 1)]


@pytest.mark.parametrize("beta,betas", [(0.8, [0.8] * (STEPS + 1)), (ahead, BETAS)], ids=["constant", "scheduled"])
def test_agrees_with_the_paper(recorded, beta, betas):
    ours = run(oc.ema_nesterov(oc.sgd(RATE), beta, 0.9), recorded)
    twin = by_leaf(ema_nesterov, recorded.grads, recorded.params, betas=betas)
    assert_agree(ours.state["ema_nesterov"]["mu"], twin["m"], SLOTS)
    assert_agree(ours.params, twin["y"], PARAMS)
    assert_agree(oc.averaged_params(ours.state, ours.params), twin["theta"], PARAMS)


def test_is_exact_in_float64_but_for_beta(recorded):
    """Beta is float32, of which 0.5 is one number."""
    ours = run_float64(oc.ema_nesterov(oc.sgd(RATE), 0.5, 0.9), recorded)
    assert_agree(
        ours.params, by_leaf(ema_nesterov, recorded.grads, recorded.params, betas=[0.5] * (STEPS + 1))["y"], 1e-12
    )


def test_not_ahead_it_is_the_wrapped_transformation(recorded):
    ours, plain = run(oc.ema_nesterov(oc.adam(0.01), 0.0), recorded), run(oc.adam(0.01), recorded)
    assert_agree(ours.params, plain.params, PARAMS)


def test_accelerates_on_an_ill_conditioned_quadratic():
    scales = jnp.array([1.0, 0.01])

    def trained(tx):
        params = {"w": jnp.ones(2)}

        def step(carry, _):
            params, state = carry
            return oc.apply(tx, {"w": scales * params["w"]}, state, params), None

        (params, state), _ = jax.lax.scan(step, (params, tx.init(params)), length=200)
        final = oc.averaged_params(state, params)
        return float(jnp.sum(scales * (params if final is None else final)["w"] ** 2))

    assert trained(oc.ema_nesterov(oc.sgd(0.5), 0.9, 0.9)) < 0.2 * trained(oc.sgd(0.5))


def test_a_bad_number_is_refused():
    with pytest.raises(ValueError, match="ema_nesterov: beta must lie in"):
        oc.ema_nesterov(oc.sgd(0.1), -0.5)
    with pytest.raises(ValueError, match="ema_nesterov: decay must lie in"):
        oc.ema_nesterov(oc.sgd(0.1), 0.5, 1.0)
