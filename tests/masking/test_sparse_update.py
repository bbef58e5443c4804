import chex
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from agreement import PARAMS, SLOTS, assert_agree, by_leaf, moved, run, run_float64
from recorded_gradients import drawn
from techniques import own
from torch_twin import run_torch
from whole_tree import vector

import optchain as oc

RATE, THRESHOLD = -0.001, 2.0**-7

# What rests keeps the rounding of all earlier steps beside a mean that has fallen, and torch rounds too.
THINNED = 2 * SLOTS


def large(g, p):
    return jnp.abs(g) > THRESHOLD


def rms(gs, lazy, decay=0.9, eps=1e-8):
    """RMSProp whose second moment sees the full gradient, or, lazy, rests where the gradient is small."""
    nu, updates = np.zeros(gs.shape[1:]), []
    for g in gs:
        moves = np.abs(g) > THRESHOLD
        new = decay * nu + (1 - decay) * g**2
        nu = np.where(moves, new, nu) if lazy else new
        updates.append(np.where(moves, g / np.sqrt(new + eps), 0))
    return {"updates": np.stack(updates), "nu": nu}


def adam(gs, lazy, b1=0.9, b2=0.999, eps=1e-8):
    """Adam in the same two forms; a lazy entry's bias correction still counts every step."""
    mu, nu, updates = np.zeros(gs.shape[1:]), np.zeros(gs.shape[1:]), []
    for t, g in enumerate(gs, 1):
        moves = np.abs(g) > THRESHOLD
        m, v = b1 * mu + (1 - b1) * g, b2 * nu + (1 - b2) * g**2
        updates.append(np.where(moves, (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps), 0))
        mu, nu = (np.where(moves, m, mu), np.where(moves, v, nu)) if lazy else (m, v)
    return {"updates": np.stack(updates), "mu": mu, "nu": nu}


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("law, technique", [(rms, oc.scale_by_rms), (adam, oc.scale_by_adam)])
def test_agrees_with_numpy(recorded, law, technique, lazy):
    ours, twin = (
        run(oc.sparse_update(technique(), large, lazy), recorded, RATE),
        by_leaf(law, recorded.grads, lazy=lazy),
    )
    slots = {name: x for name, x in twin.items() if name != "updates"}
    assert_agree({name: ours.state[name] for name in slots}, slots, THINNED)
    assert_agree(ours.updates, twin["updates"], SLOTS)
    assert_agree(ours.params, moved(recorded.params, twin["updates"], RATE), PARAMS)


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("law, technique", [(rms, oc.scale_by_rms), (adam, oc.scale_by_adam)])
def test_is_exact_in_float64(recorded, law, technique, lazy):
    ours = run_float64(oc.sparse_update(technique(), large, lazy), recorded)
    twin = by_leaf(law, recorded.grads, lazy=lazy)
    assert_agree(ours.state["nu"], twin["nu"], 1e-12)
    assert_agree(ours.updates, twin["updates"], 1e-12)


@pytest.mark.oracles
def test_lazy_adam_agrees_with_sparse_adam_of_torch(recorded):
    """torch lets eps fade in with the bias correction, so it is made too small to matter."""
    torch = pytest.importorskip("torch", reason="torch is in the extra `oracles`")
    params, slots = run_torch(lambda p: torch.optim.SparseAdam(p, lr=-RATE, eps=1e-30), recorded, sparse=True)
    ours = run(oc.sparse_update(oc.scale_by_adam(eps=1e-30), oc.nonzero, lazy=True), recorded, RATE)
    assert_agree(ours.state["mu"], slots["exp_avg"], THINNED)
    assert_agree(ours.state["nu"], slots["exp_avg_sq"], THINNED)
    assert_agree(ours.params, params, PARAMS)


def test_the_two_forms_differ_in_the_second_moment_of_resting_entries(recorded):
    """What rests decays in the one form and stays in the other; moving again, the decayed entry steps further."""
    full, lazy = (run(oc.sparse_update(oc.scale_by_rms(), large, lazy=x), recorded) for x in (False, True))
    assert np.abs(vector(full.updates)).sum() > 1.1 * np.abs(vector(lazy.updates)).sum()
    assert vector(full.state["nu"]).sum() < 0.9 * vector(lazy.state["nu"]).sum()


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_an_indicator_that_chooses_all_changes_nothing(seed, lazy):
    given, tx = drawn(seed), oc.scale_by_adam()
    ours = run(oc.sparse_update(tx, lambda g, p: jnp.ones_like(g, bool), lazy), given)
    chex.assert_trees_all_equal(ours, run(tx, given))


@pytest.mark.parametrize("seed", range(3))
def test_an_indicator_that_chooses_none_stops_all(seed):
    given, tx = drawn(seed), oc.scale_by_adam()
    full, lazy = (run(oc.sparse_update(tx, lambda g, p: jnp.zeros_like(g, bool), x), given) for x in (False, True))
    chex.assert_trees_all_equal(full.params, given.params)
    chex.assert_trees_all_equal(lazy.params, given.params)
    chex.assert_trees_all_equal(full.state, run(tx, given).state)
    chex.assert_trees_all_equal(
        {k: lazy.state[k] for k in ("mu", "nu")}, {k: own(tx.init(given.params))[k] for k in ("mu", "nu")}
    )


@pytest.mark.usefixtures("strict")
def test_the_indicator_may_read_the_parameter():
    """A pruned parameter, an exact 0, stays pruned; momentum alone would move it."""
    p = {"w": jnp.array([0.0, 1.0, 0.0, -2.0])}
    tx = oc.chain(oc.sparse_update(oc.trace(0.9), lambda g, p: p != 0), oc.scale(-0.1))
    state = tx.init(p)
    for _ in range(3):
        u, state = tx.update({"w": jnp.array([1.0, 1.0, 0.0, 0.0])}, state, p)
        p = optax.apply_updates(p, u)
    assert p["w"][0] == 0 and p["w"][2] == 0 and p["w"][1] < 1 and p["w"][3] == -2


def test_does_not_spread_what_is_not_finite():
    """A NaN outside the indicator stops at it: it is selected away, not multiplied by 0."""
    g, tx = (
        {"w": jnp.array([np.nan, 1.0])},
        oc.sparse_update(oc.scale_by_rms(), lambda g, p: jnp.isfinite(g), lazy=True),
    )
    u, state = tx.update(g, tx.init(g))
    assert u["w"][0] == 0 and own(state)["nu"]["w"][0] == 0 and np.isfinite(u["w"][1])


def test_keeps_the_mask_and_the_numbers_of_the_technique():
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    tx = oc.chain(sparse=oc.sparse_update(oc.scale_by_rms(0.5, mask=oc.is_matrix)))
    u, state = tx.update(params, tx.init(params), hyper={"sparse.decay": 0.0})
    chex.assert_trees_all_close(u, params)
    assert isinstance(own(state["links"]["sparse"])["nu"]["bias"], optax.MaskedNode)
    assert oc.metrics(state)["sparse.decay"] == 0


@pytest.mark.parametrize(
    "tx, message",
    [
        (oc.clip_by_leaf_norm(1.0), "clip_by_leaf_norm looks across entries"),
        (oc.clip_by_global_norm(1.0), r"takes one technique, such as scale_by_rms\(\), got .*clip_by_global_norm"),
        (oc.adam(0.1), r"takes one technique, such as scale_by_rms\(\), got Chain"),
        (oc.sparse_update(oc.scale_by_rms()), "takes one technique"),
        (optax.scale_by_rms(), "takes one technique"),
        ("scale_by_rms", "takes one technique.*'scale_by_rms'"),
    ],
    ids="leaf_norm global_norm chain twice optax string".split(),
)
def test_refuses_what_is_no_elementwise_technique(tx, message):
    with pytest.raises(ValueError, match=message):
        oc.sparse_update(tx)


@pytest.mark.parametrize(
    "indicator, message",
    [
        (lambda g, p: g, r"indicator gives float32\(3,\), expected bool\(3,\)"),
        (lambda g, p: jnp.any(g != 0), r"indicator gives bool\(\), expected bool\(3,\)"),
        (lambda g, p: True, r"indicator gives bool\(\), expected bool\(3,\)"),
    ],
    ids="numbers one_bool python_bool".split(),
)
def test_refuses_an_indicator_without_a_bool_for_each_entry(indicator, message):
    g, tx = {"w": jnp.ones(3)}, oc.sparse_update(oc.scale_by_rms(), indicator)
    with pytest.raises(ValueError, match=f"sparse_scale_by_rms: the {message}"):
        tx.update(g, tx.init(g))


def test_refuses_an_indicator_that_is_no_function():
    with pytest.raises(ValueError, match="sparse_update: indicator must be a function.*'nonzero'"):
        oc.sparse_update(oc.scale_by_rms(), "nonzero")
