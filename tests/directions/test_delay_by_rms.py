import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import assert_agree

import optchain as oc


def paper(gs, ps, olds, strength=2.0, b=0.95, eps=1e-7, debias=True):
    """DC-ASGD-a of section 6, debiased on request."""
    nu, updates = 0 * ps[0], []
    for t, (g, p, old) in enumerate(zip(gs, ps, olds, strict=True), 1):
        nu = b * nu + (1 - b) * g**2
        mean = nu / (1 - b**t) if debias else nu
        updates.append(g + strength / np.sqrt(mean + eps) * g * g * (p - old))
    return np.stack(updates), nu


@pytest.mark.parametrize("options", [{}, {"strength": 0.5, "b": 0.5, "eps": 1e-3, "debias": False}, {"b": 0.0}])
def test_agrees_with_the_paper(options):
    gs, ps, olds = (np.random.default_rng(seed).normal(size=(9, 5, 3)) for seed in range(3))
    names = {"b": "decay", "debias": "bias_correction"}
    with jax.enable_x64(True):
        tx = oc.compensate_delay_by_rms(**{names.get(name, name): x for name, x in options.items()})

        def step(state, x):
            g, p, old = x
            return tx.update(g, state, p, stale_params=old)[::-1]

        x = jax.tree.map(jnp.asarray, (gs, ps, olds))
        state, us = jax.lax.scan(step, tx.init(x[1][0]), x)
        expected, nu = paper(gs, ps, olds, **options)
        assert_agree(us, expected, 1e-12)
        assert_agree(state["compensate_delay_by_rms"]["nu"], nu, 1e-12)


def test_a_step_without_stale_parameters_passes_and_is_seen():
    params, tx = {"w": jnp.ones(3)}, oc.compensate_delay_by_rms()
    g = {"w": jnp.array([0.5, -2.0, 0.0])}
    u, state = tx.update(g, tx.init(params), params, stale_params=None)
    np.testing.assert_array_equal(u["w"], g["w"])
    np.testing.assert_allclose(state["compensate_delay_by_rms"]["nu"]["w"], 0.05 * g["w"] ** 2, rtol=1e-5)
