import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from agreement import PARAMS, assert_agree, by_leaf, run, run_float64, run_twin
from recorded_gradients import drawn, scaled
from tiers import one_of_each

import optchain as oc

OPTIONS = [{}, {"min_norm": 0.1, "trust_coefficient": 0.5, "eps": 0.01}]


def paper(gs, p, min_norm=0.0, trust_coefficient=1.0, eps=0.0, rate=0.01):
    """The last line of Algorithm 2 of You et al., with the identity for phi."""
    for g in gs:
        own, other = (max(np.sqrt(np.sum(x**2)), min_norm) for x in (p, g))
        p = p - rate * (g if own == 0 or other == 0 else trust_coefficient * own / (other + eps) * g)
    return {"params": p}


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_the_paper_and_optax(recorded, options):
    ours, twin = (f(**options) for f in (oc.scale_by_trust_ratio, optax.scale_by_trust_ratio))
    exact = by_leaf(paper, recorded.grads, recorded.params, **options)["params"]
    assert_agree(run_float64(ours, recorded, -0.01).params, exact, 1e-11)
    assert_agree(run(ours, recorded, -0.01).params, exact, PARAMS)
    assert_agree(run(ours, recorded, -0.01).params, run_twin(twin, recorded, -0.01).params, PARAMS)


@pytest.mark.parametrize("seed", range(3))
def test_the_step_is_in_proportion_to_the_parameter_whatever_the_units_of_the_gradient(seed):
    given = drawn(seed)
    updates = run(oc.scale_by_trust_ratio(), given, 0.0).updates
    for u, p in zip(jax.tree.leaves(updates), jax.tree.leaves(given.params), strict=True):
        norms = np.sqrt(np.sum(np.asarray(u, np.float64).reshape(len(u), -1) ** 2, axis=1))
        np.testing.assert_allclose(norms, np.linalg.norm(p), rtol=1e-6)
    assert_agree(run(oc.scale_by_trust_ratio(), scaled(given, 2.0**10), 0.0).updates, updates, 1e-6)


def test_passes_where_a_norm_is_zero_and_shows_what_is_not_finite():
    tx, g = oc.scale_by_trust_ratio(), {"born": jnp.ones(2), "idle": jnp.zeros(2), "bad": jnp.array([1.0, np.nan])}
    p = {"born": jnp.zeros(2), "idle": jnp.ones(2), "bad": jnp.ones(2)}
    u, _ = tx.update(g, tx.init(p), p)
    np.testing.assert_array_equal(u["born"], g["born"])
    np.testing.assert_array_equal(u["idle"], 0)
    assert np.all(np.isnan(u["bad"]))
