import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from agreement import PARAMS, SLOTS, assert_agree, by_leaf, moved, run, run_float64, run_twin
from recorded_gradients import drawn, of_axes
from techniques import own
from tiers import one_of_each

import optchain as oc

RATE = -0.01
OPTIONS = [{}, {"eps": 1e-3}]


def paper(gs, eps=1e-8):
    """Algorithm SM3-II of Anil et al.; the cover of a matrix is its rows and columns, that of a vector its entries."""
    covers, updates = [(gs.ndim - 2,), tuple(range(gs.ndim - 2))] if gs.ndim > 2 else [()], []
    mu = [0.0 for _ in covers]
    for g in gs:
        nu = np.minimum(mu[0], mu[-1]) + g**2
        mu = [nu.max(axes, keepdims=True) for axes in covers]
        updates.append(g / np.sqrt(nu + eps))
    return {"updates": np.stack(updates), "nu": nu}


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_the_paper(recorded, options):
    ours, twin = run(oc.scale_by_sm3(**options), recorded, RATE), by_leaf(paper, recorded.grads, **options)
    parts = {
        "nu": lambda nu: nu if nu.ndim == 1 else optax.MaskedNode(),
        "nu_row": lambda nu: nu.max(-1) if nu.ndim > 1 else optax.MaskedNode(),
        "nu_col": lambda nu: nu.max(tuple(range(nu.ndim - 1))) if nu.ndim > 1 else optax.MaskedNode(),
    }
    for name, part in parts.items():
        assert_agree(ours.state[name], jax.tree.map(part, twin["nu"]), SLOTS)
    assert_agree(ours.updates, twin["updates"], SLOTS)
    assert_agree(ours.params, moved(recorded.params, twin["updates"], RATE), PARAMS)


def test_is_exact_in_float64(recorded):
    assert_agree(run_float64(oc.scale_by_sm3(), recorded).updates, by_leaf(paper, recorded.grads)["updates"], 1e-12)


def test_the_preset_agrees_with_optax(recorded):
    """Whose cover of more than two axes is another."""
    given = of_axes(recorded, 1, 2)
    assert_agree(run(oc.sm3(0.1), given).params, run_twin(optax.sm3(0.1), given).params, PARAMS)


@pytest.mark.parametrize("seed", range(2))
def test_its_sums_bound_those_of_adagrad(seed):
    given = drawn(seed)
    ours = run(oc.scale_by_sm3(), given).state
    exact = np.sum(np.asarray(given.grads["w"], np.float64) ** 2, 0)
    assert np.all(np.minimum.outer(ours["nu_row"]["w"], ours["nu_col"]["w"]) >= exact * (1 - 1e-6))
    np.testing.assert_allclose(ours["nu"]["b"], np.sum(np.asarray(given.grads["b"]) ** 2, 0), rtol=1e-5)


def test_with_more_axes_rows_are_all_but_the_last():
    p = jnp.ones((2, 3, 4))
    tx = oc.scale_by_sm3(eps=0.0)
    flat, deep = tx.init(p.reshape(6, 4)), tx.init(p)
    assert jax.tree.map(jnp.shape, (own(deep)["nu_row"], own(deep)["nu_col"])) == ((2, 3), (4,))
    g = jax.random.normal(jax.random.key(0), p.shape)
    for _ in range(2):
        (u, deep), (v, flat) = tx.update(g, deep), tx.update(g.reshape(6, 4), flat)
        np.testing.assert_array_equal(u.reshape(6, 4), v)
    u, _ = tx.update(jnp.zeros_like(p), tx.init(p))
    assert not np.any(u)
