import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import assert_agree, by_leaf, run, run_float64

import optchain as oc


def paper(gs, p, max_norm, rate, steps):
    """Algorithm 1 of Miyato et al. for the largest singular value, and the projection of Gouk et al."""
    v = np.asarray(jax.random.normal(jax.random.key(0), (p.shape[1],), "float64"))
    v = v / np.linalg.norm(v)
    for g in gs:
        p = p + rate * g
        for _ in range(steps):
            u = p @ v / np.linalg.norm(p @ v)
            v = p.T @ u / np.linalg.norm(p.T @ u)
        sigma = u @ p @ v
        p = p / max(1, sigma / max_norm)
    return {"params": p, "right": v}


@pytest.mark.parametrize("max_norm, steps", [(0.5, 1), (1.2, 3), (100.0, 1)])  # binds always, at times, never
def test_agrees_with_the_paper(recorded_matrices, max_norm, steps):
    tx = oc.chain(rate=oc.scale_by_learning_rate(0.1), bound=oc.keep_params_spectral_norm(max_norm, steps=steps))
    with jax.enable_x64(True):
        numbers = {"max_norm": max_norm, "rate": -0.1, "steps": steps}
        twin = by_leaf(paper, recorded_matrices.grads, recorded_matrices.params, **numbers)
    ours = run_float64(tx, recorded_matrices)
    assert_agree(ours.params, twin["params"], 1e-9)
    assert_agree(ours.state["links"]["bound"]["keep_params_spectral_norm"]["right"], twin["right"], 1e-6)


def test_it_comes_to_the_largest_singular_value(recorded_matrices):
    def largest(tx):
        return [np.linalg.svd(p, compute_uv=False)[0] for p in jax.tree.leaves(run(tx, recorded_matrices).params)]

    free = largest(oc.sgd(0.3))
    bound = largest(oc.chain(oc.sgd(0.3), oc.keep_params_spectral_norm(0.8, steps=3)))
    assert max(free) > 1 and max(bound) == pytest.approx(0.8, rel=5e-3)


def test_within_the_bound_the_update_passes_exactly_and_a_zero_matrix_may_leave_zero():
    p, g = {"k": jnp.ones((2, 3))}, {"k": jnp.full((2, 3), 1e-9)}
    tx = oc.keep_params_spectral_norm(3.0)
    u, state = tx.update(g, tx.init(p), p)
    assert np.array_equal(u["k"], g["k"])
    zero = {"k": jnp.zeros((2, 3))}
    u, after = tx.update(zero, state, zero)
    first, second = (x["keep_params_spectral_norm"]["right"]["k"] for x in (state, after))
    assert not u["k"].any() and np.array_equal(first, second) and float(jnp.linalg.norm(first)) == pytest.approx(1)


def test_kernels_of_convolutions_are_seen_as_matrices():
    p = {"k": jax.random.normal(jax.random.key(0), (3, 3, 4, 5))}
    tx = oc.as_matrices(oc.keep_params_spectral_norm(1.0, steps=50), {"k": "a b c d -> (a b c) d"})
    u, _ = tx.update(jax.tree.map(jnp.zeros_like, p), tx.init(p), p)
    assert np.linalg.svd((p["k"] + u["k"]).reshape(36, 5), compute_uv=False)[0] == pytest.approx(1, rel=1e-3)


def test_no_iteration_is_refused():
    with pytest.raises(ValueError, match="keep_params_spectral_norm.*steps"):
        oc.keep_params_spectral_norm(1.0, steps=0).init({"k": jnp.ones((2, 3))})
