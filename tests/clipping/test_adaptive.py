import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from agreement import PARAMS, assert_agree, by_leaf, run, run_float64, run_twin
from tiers import one_of_each

import optchain as oc

OPTIONS = [{"clipping": 0.01}, {"clipping": 0.3, "eps": 0.05}, {"clipping": 1e6}]  # clips most units, some, none
RATE = -0.1


def paper(gs, p, clipping, eps=1e-3):
    """Equation 3 of Brock et al., unit by unit; a vector is one unit."""
    p = p.copy()
    units = [np.s_[..., j] for j in range(p.shape[-1])] if p.ndim > 1 else [np.s_[:]]
    for g in gs:
        for unit in units:
            bound = clipping * max(np.sqrt(np.sum(p[unit] ** 2)), eps)
            n = np.sqrt(np.sum(g[unit] ** 2))
            p[unit] += RATE * g[unit] * (bound / n if n > bound else 1.0)
    return {"params": p}


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_the_paper_and_optax(recorded, options):
    ours, exact = oc.adaptive_grad_clip(**options), by_leaf(paper, recorded.grads, recorded.params, **options)["params"]
    assert_agree(run_float64(ours, recorded, RATE).params, exact, 1e-11)
    assert_agree(run(ours, recorded, RATE).params, exact, PARAMS)
    assert_agree(run_twin(optax.adaptive_grad_clip(**options), recorded, RATE).params, exact, PARAMS)


def test_units_of_a_convolution_are_those_of_optax():
    keys = jax.random.split(jax.random.key(0))
    p, g = ({"k": jax.random.normal(key, (3, 3, 4, 5))} for key in keys)
    ours, theirs = oc.adaptive_grad_clip(0.05), optax.adaptive_grad_clip(0.05)
    assert_agree(ours.update(g, ours.init(p), p)[0], theirs.update(g, theirs.init(p), p)[0], 1e-6)


@pytest.mark.oracles
def test_agrees_with_pytorch_optimizer():
    torch = pytest.importorskip("torch", reason="torch is in the extra `oracles`")
    module = pytest.importorskip("pytorch_optimizer", reason="pytorch_optimizer is in the extra `oracles`")
    rng, tx = np.random.default_rng(0), oc.adaptive_grad_clip(0.5)
    p, g = ({"k": rng.normal(size=(6, 5)), "b": rng.normal(size=5)} for _ in range(2))
    twin = {  # which has the outputs first, and multiplies where the norm of the gradient is 1e-6 at least
        name: np.asarray(module.agc(torch.tensor(p[name].T), torch.tensor(g[name].T), 1e-3, 0.5)).T for name in p
    }
    p, g = (jax.tree.map(jnp.float32, x) for x in (p, g))
    assert_agree(tx.update(g, tx.init(p), p)[0], twin, 1e-6)


def test_units_are_clipped_one_by_one():
    p = {"k": jnp.ones((4, 3)), "new": jnp.zeros((4, 1))}
    g = {"k": jnp.array([0.01, 1.0, 100.0])[None] * jnp.ones((4, 3)), "new": jnp.ones((4, 1))}
    tx = oc.adaptive_grad_clip(0.5, eps=0.1)
    u, _ = tx.update(g, tx.init(p), p)
    np.testing.assert_allclose(u["k"], np.tile([0.01, 0.5, 0.5], (4, 1)), rtol=1e-6)
    np.testing.assert_allclose(u["new"], 0.025, rtol=1e-6)  # the norm is 0.5 of 0.1
