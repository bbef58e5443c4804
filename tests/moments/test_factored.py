import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from agreement import PARAMS, SLOTS, assert_agree, by_leaf, moved, run, run_float64, run_twin
from recorded_gradients import of_axes
from techniques import own
from tiers import one_of_each
from torch_twin import run_torch

import optchain as oc
from optchain.moments.factored import two_largest

RATE = -0.01
OPTIONS = [{"min_dim_size_to_factor": 2}, {"min_dim_size_to_factor": 10, "decay_rate": 0.5, "max_decay": 0.9}]


def paper(gs, decay_rate=0.8, min_dim_size_to_factor=128, eps=1e-30, max_decay=1.0):
    """Algorithm 4 of Shazeer and Stern with sums as there, on each matrix of the two longest axes, and on vectors."""
    shape, updates = gs.shape[1:], []
    factored = len(shape) > 1 and sorted(shape)[-2] >= min_dim_size_to_factor
    rows, columns = np.argsort((1, *shape), kind="stable")[-2:] - 1  # a vector has one row
    r, c, v = 0.0, 0.0, 0.0
    for t, g in enumerate(gs, 1):
        b = min(max_decay, 1 - t**-decay_rate)
        square = g**2 + eps
        if factored:
            r = b * r + (1 - b) * square.sum(columns, keepdims=True)
            c = b * c + (1 - b) * square.sum(rows, keepdims=True)
            v = r * c / r.sum(rows, keepdims=True)
        else:
            v = b * v + (1 - b) * square
        updates.append(g / np.sqrt(v))
    return {"updates": np.stack(updates), "nu": v}


def whole(state, recorded):
    """The mean squares that the slots stand for."""

    def product(p, row, col, nu):
        if row is None:
            return nu
        rows, columns = two_largest(p.shape, 2)
        row = np.expand_dims(row, columns)
        return row * np.expand_dims(col, rows) / row.mean(rows, keepdims=True)

    absent = lambda x: isinstance(x, optax.MaskedNode)  # noqa: E731
    slots = [
        jax.tree.map(lambda x: None if absent(x) else np.asarray(x), state[name], is_leaf=absent)
        for name in ("nu_row", "nu_col", "nu")
    ]
    return jax.tree.map(product, recorded.params, *slots)


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_the_paper(recorded, options):
    ours, twin = run(oc.scale_by_factored_rms(**options), recorded, RATE), by_leaf(paper, recorded.grads, **options)
    assert_agree(whole(ours.state, recorded), twin["nu"], 2 * SLOTS)  # a product of three rounded factors
    assert_agree(ours.updates, twin["updates"], 2 * SLOTS)
    assert_agree(ours.params, moved(recorded.params, twin["updates"], RATE), PARAMS)


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_is_exact_in_float64(recorded, options):
    ours = run_float64(oc.scale_by_factored_rms(**options), recorded)
    assert_agree(ours.updates, by_leaf(paper, recorded.grads, **options)["updates"], 1e-12)


@pytest.mark.parametrize("least", [2, 10])
def test_agrees_with_optax(recorded, least):
    ours = run(oc.scale_by_factored_rms(min_dim_size_to_factor=least), recorded, RATE)
    twin = run_twin(optax.scale_by_factored_rms(min_dim_size_to_factor=least), recorded, RATE)
    assert_agree(ours.state["nu_row"]["digits"]["dense"], twin.state.v_row["digits"]["dense"], SLOTS)
    assert_agree(ours.state["nu_col"]["digits"]["dense"], twin.state.v_col["digits"]["dense"], SLOTS)
    assert_agree(ours.params, twin.params, PARAMS)


@pytest.mark.full
def test_agrees_with_optax_on_more_axes():
    """The two longest axes are factored, wherever they stand; the others count matrices."""
    shapes = {"conv": (2, 3, 4, 5), "heads": (5, 2, 3), "square": (4, 4)}
    keys = jax.random.split(jax.random.key(0), 3)
    grads = {name: jax.random.normal(key, shape) for key, (name, shape) in zip(keys, shapes.items(), strict=True)}
    ours, theirs = (
        oc.scale_by_factored_rms(min_dim_size_to_factor=3),
        optax.scale_by_factored_rms(min_dim_size_to_factor=3),
    )
    u, state = ours.update(grads, ours.init(grads))
    assert_agree(u, theirs.update(grads, theirs.init(grads), grads)[0], SLOTS)
    assert jax.tree.map(jnp.shape, own(state)["nu_row"]) == {"conv": (2, 3, 4), "heads": (2, 3), "square": (4,)}
    assert jax.tree.map(jnp.shape, own(state)["nu_col"]) == {"conv": (2, 3, 5), "heads": (5, 2), "square": (4,)}


def test_which_axes_are_factored():
    found = [two_largest(shape, 3) for shape in ((), (9,), (9, 2), (9, 3), (3, 9), (9, 2, 4), (3, 3, 3))]
    assert found == [None, None, None, (1, 0), (0, 1), (2, 0), (1, 2)]
    with pytest.raises(ValueError, match="min_dim_size_to_factor must be a whole number of at least 1, got 0"):
        oc.scale_by_factored_rms(min_dim_size_to_factor=0)


def test_is_exact_where_the_squares_have_rank_one():
    """The first update is the sign, as without factors."""
    g = jnp.outer(jnp.array([1e-3, 1.0, 30.0]), jnp.array([2.0, -5.0]))
    tx = oc.scale_by_factored_rms(min_dim_size_to_factor=2)
    np.testing.assert_allclose(tx.update(g, tx.init(g))[0], np.sign(g), rtol=1e-6)


def adafactor(gs, p, rate, scaled=True, threshold=1.0, **options):
    """Algorithm 5 of Shazeer and Stern, with its relative step size where rate is None."""
    for t, u in enumerate(paper(gs, **options)["updates"], 1):
        u = u / max(1.0, np.sqrt(np.mean(u**2)) / threshold)
        size = min(1e-2, t**-0.5) if rate is None else rate
        p = p - (max(1e-3, np.sqrt(np.mean(p**2))) if scaled else 1.0) * size * u
    return {"params": p}


def relative(step):
    return jnp.minimum(1e-2, (jnp.float32(step) + 1) ** -0.5)


@pytest.mark.parametrize("scaled", [True, False])
def test_the_preset_is_the_papers_algorithm(recorded, scaled):
    tx = oc.adafactor(relative, min_dim_size_to_factor=2, multiply_by_parameter_scale=scaled)
    twin = by_leaf(adafactor, recorded.grads, recorded.params, rate=None, scaled=scaled, min_dim_size_to_factor=2)
    assert_agree(run(tx, recorded).params, twin["params"], PARAMS)


@pytest.mark.full
def test_the_preset_agrees_with_optax(recorded):
    """With a constant rate: optax multiplies by it before the momentum."""
    options = {"learning_rate": 0.01, "min_dim_size_to_factor": 2, "momentum": 0.9}
    plain = {"multiply_by_parameter_scale": False, "clipping_threshold": 0.5}
    for extra in ({}, plain):
        ours, theirs = oc.adafactor(**options, **extra), optax.adafactor(**options, **extra)
        assert_agree(run(ours, recorded).params, run_twin(theirs, recorded).params, PARAMS)


@pytest.mark.oracles
def test_the_preset_agrees_with_torch(recorded):
    """torch has the paper's relative rate, min(rate, 1 / sqrt(t)), and factors the last two axes of all."""
    torch = pytest.importorskip("torch", reason="torch is in the extra `oracles`")
    given = of_axes(recorded, 1, 2)
    params, _ = run_torch(lambda p: torch.optim.Adafactor(p, lr=0.01, weight_decay=0.0), given)
    ours = run(oc.adafactor(relative, min_dim_size_to_factor=2), given).params
    assert_agree(ours, params, PARAMS)


def test_big_vision_preset_is_adafactor_with_momentum_and_without_scaling(recorded):
    """The recipe of Zhai et al.: decay at most 0.999, no clipping, no parameter scale, momentum 0.9 of the update."""
    tx = oc.big_vision_adafactor(0.01, min_dim_size_to_factor=2, max_decay=0.9)
    twin = optax.chain(
        optax.scale_by_factored_rms(
            min_dim_size_to_factor=2, decay_rate_fn=lambda i, c: jnp.minimum(0.9, 1 - (i + 1.0) ** -c)
        ),
        optax.ema(0.9, debias=False),
        optax.scale(-0.01),
    )
    assert_agree(run(tx, recorded).params, run_twin(twin, recorded).params, PARAMS)
    numbers = {key: float(x) for key, x in oc.metrics(oc.big_vision_adafactor(1.0).init(recorded.params)).items()}
    assert numbers["factored.max_decay"] == np.float32(0.999) and numbers["momentum.decay"] == np.float32(0.9)
