import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from agreement import PARAMS, SLOTS, assert_agree, by_leaf, moved, run, run_float64
from recorded_gradients import drawn, of_axes, scaled
from techniques import own
from tiers import one_of_each
from torch_twin import run_torch

import optchain as oc

RATE = -0.001
OPTIONS = [{}, {"b1": 0.8, "b2": 0.9, "b3": 0.95, "clipping_threshold": 0.3, "eps_residual": 1e-6}]


def divided(x, row, col, rows):
    return x / np.sqrt(row * col / row.sum(rows, keepdims=True))


def paper(gs, b1=0.9, b2=0.999, b3=0.9999, eps=1e-30, eps_residual=1e-16, clipping_threshold=1.0):
    """Algorithm 2 of Luo et al. on matrices of the two longest axes, with sums as there; vectors without confidence."""
    m, updates, matrix = 0.0, [], gs.ndim > 2
    rows, columns = np.argsort((1, *gs.shape[1:]), kind="stable")[-2:] - 1  # a vector has one row
    r, c, R, C, v = 0.0, 0.0, 0.0, 0.0, 0.0
    for g in gs:
        square = g**2 + eps
        if matrix:
            r = b2 * r + (1 - b2) * square.sum(columns, keepdims=True)
            c = b2 * c + (1 - b2) * square.sum(rows, keepdims=True)
            u = divided(g, r, c, rows)
        else:
            v = b2 * v + (1 - b2) * square
            u = g / np.sqrt(v)
        u = u / max(1.0, np.sqrt(np.mean(u**2)) / clipping_threshold)
        m = b1 * m + (1 - b1) * u
        if matrix:
            deviation = (u - m) ** 2 + eps_residual
            R = b3 * R + (1 - b3) * deviation.sum(columns, keepdims=True)
            C = b3 * C + (1 - b3) * deviation.sum(rows, keepdims=True)
        updates.append(divided(m, R, C, rows) if matrix else m)
    return {"updates": np.stack(updates), "mu": m}


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_the_paper(recorded, options):
    ours, twin = run(oc.scale_by_came(**options), recorded, RATE), by_leaf(paper, recorded.grads, **options)
    assert_agree(ours.state["mu"], twin["mu"], 2 * SLOTS)  # an average of quotients, as Adam's updates are
    assert_agree(ours.params, moved(recorded.params, twin["updates"], RATE), PARAMS)


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_is_exact_in_float64(recorded, options):
    ours = run_float64(oc.scale_by_came(**options), recorded)
    assert_agree(ours.updates, by_leaf(paper, recorded.grads, **options)["updates"], 1e-12)


@pytest.mark.oracles
def test_agrees_with_pytorch_optimizer(recorded):
    """It factors the last two axes of all."""
    oracle, given = pytest.importorskip("pytorch_optimizer"), of_axes(recorded, 1, 2)
    params, slots = run_torch(lambda p: oracle.CAME(p, lr=-RATE, eps2=1e-16), given)
    ours = run(oc.scale_by_came(), given, RATE)
    assert_agree(ours.state["mu"], slots["exp_avg"], 2 * SLOTS)
    assert_agree(ours.params, params, PARAMS)


def test_forgets_the_units_of_the_gradient():
    given = drawn(0)
    tx = oc.scale_by_came(eps=1e-38)
    assert_agree(run(tx, scaled(given, 2.0**10)).updates, run(tx, given).updates, 1e-6)


def test_steps_less_where_the_parts_disagree():
    """Of two rows with parts as large, the one whose signs alternate moves less."""
    tx, p = oc.scale_by_came(b3=0.9), jnp.zeros((2, 3))
    state = tx.init(p)
    for i in range(40):
        u, state = tx.update(jnp.array([[1.0] * 3, [(-1.0) ** i] * 3]), state)
    assert float(jnp.abs(u[0]).min()) > 20 * float(jnp.abs(u[1]).max())


def test_memory_is_that_of_one_average_and_of_vectors():
    p = {"w": jnp.zeros((6, 4)), "b": jnp.zeros(4)}
    state = oc.scale_by_came().init(p)
    assert jax.tree.map(jnp.shape, {name: x for name, x in own(state).items() if name != "count"}) == {
        "mu": {"w": (6, 4), "b": (4,)},
        "nu": {"w": optax.MaskedNode(), "b": (4,)},
        "nu_row": {"w": (4,), "b": optax.MaskedNode()},
        "nu_col": {"w": (6,), "b": optax.MaskedNode()},
        "residual_row": {"w": (4,), "b": optax.MaskedNode()},
        "residual_col": {"w": (6,), "b": optax.MaskedNode()},
    }
