import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import PARAMS, assert_agree, by_leaf, run, run_float64

import optchain as oc


def paper(gs, p, max_norm, rate):
    """Hinton et al.: after each step the incoming weights of each unit are scaled down to the bound."""
    for g in gs:
        p = p + rate * g
        for j in range(p.shape[-1] if p.ndim > 1 else 0):
            n = np.sqrt(np.sum(p[..., j] ** 2))
            if n > max_norm:
                p[..., j] *= max_norm / n
    return {"params": p}


@pytest.mark.parametrize("max_norm", [0.5, 1.4, 100.0])  # binds all units, some, none
def test_agrees_with_the_paper(recorded, max_norm):
    tx = oc.chain(oc.scale_by_learning_rate(0.1), oc.keep_params_max_norm(max_norm))
    exact = by_leaf(paper, recorded.grads, recorded.params, max_norm=max_norm, rate=-0.1)["params"]
    assert_agree(run_float64(tx, recorded).params, exact, 1e-12)
    assert_agree(run(tx, recorded).params, exact, PARAMS)


@pytest.mark.oracles
def test_agrees_with_torch():
    torch = pytest.importorskip("torch", reason="torch is in the extra `oracles`")
    p = {"k": jax.random.normal(jax.random.key(0), (3, 3, 4, 5))}
    tx = oc.keep_params_max_norm(5.5)
    u, _ = tx.update(jax.tree.map(jnp.zeros_like, p), tx.init(p), p)
    twin = torch.renorm(torch.tensor(np.asarray(p["k"])), p=2, dim=3, maxnorm=5.5).numpy()
    assert not np.array_equal(twin, p["k"])
    assert_agree({"k": p["k"] + u["k"]}, {"k": twin}, 1e-6)


def test_within_the_bound_the_update_passes_exactly():
    p, g = {"k": jnp.ones((2, 3)), "b": jnp.full(3, 100.0)}, {"k": jnp.full((2, 3), 1e-9), "b": jnp.full(3, 1e-9)}
    tx = oc.keep_params_max_norm(3.0)
    u, _ = tx.update(g, tx.init(p), p)
    assert all(np.array_equal(u[name], g[name]) for name in g)


def test_keeps_the_bound_over_many_steps(recorded):
    after = run(oc.chain(oc.sgd(0.3), oc.keep_params_max_norm(1.0)), recorded).params
    for p in jax.tree.leaves(after):
        if p.ndim > 1:
            assert np.linalg.norm(p.reshape(-1, p.shape[-1]), axis=0).max() <= 1 + 1e-6
