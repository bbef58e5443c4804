import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from techniques import tree

import optchain as oc

INNERS = {
    "adamw": lambda: oc.adamw(0.01),
    "clip and momentum": lambda: oc.chain(oc.clip_by_global_norm(0.5), oc.momentum(0.1)),
    "optax": lambda: optax.adam(0.01),
}


def micro_batches(n, seed=0):
    return [tree(seed + i) for i in range(1, n + 1)]


def mean(grads, weights=None):
    return jax.tree.map(lambda *g: jnp.asarray(np.average(np.stack(g), axis=0, weights=weights), jnp.float32), *grads)


def take(tx, grads, params, state=None, **extra):
    """The parameters and the state after a step on each gradient; every argument is a list with one entry for each."""
    state = tx.init(params) if state is None else state
    step = jax.jit(lambda g, state, params, extra: oc.apply(tx, g, state, params, **extra))
    for i, g in enumerate(grads):
        params, state = step(g, state, params, {name: values[i] for name, values in extra.items()})
    return params, state


@pytest.mark.parametrize("inner", INNERS)
@pytest.mark.parametrize("every", [1, 3])
def test_equals_the_large_batch(inner, every):
    grads, tx = micro_batches(2 * every), INNERS[inner]()
    found, state = take(oc.accumulate(tx, every), grads, tree(0))
    large, _ = take(tx, [mean(grads[:every]), mean(grads[every:])], tree(0))
    chex.assert_trees_all_close(found, large, rtol=1e-6, atol=1e-6)
    assert state["accumulate"]["emitted"] == 2 and state["accumulate"]["micro"] == 0


def test_the_mean_is_weighted_by_tokens():
    grads, weights = micro_batches(3), [10.0, 0.0, 30.0]
    found, state = take(oc.accumulate(oc.sgd(0.1), 3), grads, tree(0), weight=weights)
    chex.assert_trees_all_close(found, take(oc.sgd(0.1), [mean(grads, weights)], tree(0))[0], rtol=1e-6, atol=1e-6)
    assert state["accumulate"]["dropped"] == 0


def test_nothing_moves_between_steps():
    params, tx = tree(0), oc.accumulate(oc.adamw(0.1), 3)
    state = tx.init(params)
    updates, after = tx.update(tree(1), state, params)
    chex.assert_trees_all_equal(updates, jax.tree.map(jnp.zeros_like, params))
    chex.assert_trees_all_equal(after["inner"], state["inner"])
    chex.assert_trees_all_equal(oc.apply(tx, tree(1), state, params)[0], params)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_micro_batch_that_is_not_finite_is_dropped_and_counted(bad, at):
    grads = micro_batches(6)
    spoiled = [{**g, "bias": g["bias"].at[1].set(bad)} if i == at else g for i, g in enumerate(grads)]
    found, state = take(oc.accumulate(oc.sgd(0.1), 3), spoiled, tree(0))
    kept = [g for i, g in enumerate(grads[:3]) if i != at]
    large, _ = take(oc.sgd(0.1), [mean(kept), mean(grads[3:])], tree(0))
    chex.assert_trees_all_close(found, large, rtol=1e-6, atol=1e-6)
    assert oc.metrics(state)["accumulate.dropped"] == 1 and oc.metrics(state)["accumulate.emitted"] == 2


def test_large_finite_gradients_are_kept():
    """Their squares would overflow float32."""
    params, g = {"w": jnp.zeros(3)}, {"w": jnp.full(3, 1e25)}
    found, state = take(oc.accumulate(oc.scale(-1.0), 2), [g, g], params)
    chex.assert_trees_all_close(found, {"w": jnp.full(3, -1e25)}, rtol=1e-6)
    assert state["accumulate"]["dropped"] == 0


def test_no_step_is_made_where_all_are_dropped():
    nan = jax.tree.map(lambda x: jnp.full_like(x, jnp.nan), tree(0))
    tx = oc.accumulate(oc.adamw(0.1), 2)
    found, state = take(tx, [nan, nan], tree(0))
    chex.assert_trees_all_equal(found, tree(0))
    chex.assert_trees_all_equal(state["inner"], tx.init(tree(0))["inner"])
    grads = micro_batches(2)
    after, state = take(tx, grads, found, state)
    large, _ = take(oc.adamw(0.1), [mean(grads)], tree(0))
    chex.assert_trees_all_close(after, large, rtol=1e-6, atol=1e-6)
    assert (state["accumulate"]["dropped"], state["accumulate"]["emitted"]) == (2, 1)


def counting(calls, result=lambda u: u):
    """An inner transformation that reports each time it really runs."""

    def update(updates, state, params=None, **extra):
        jax.debug.callback(lambda: calls.append(1))
        return jax.tree.map(result, updates), state

    return optax.GradientTransformationExtraArgs(lambda params: {}, update)


def test_the_inner_update_runs_only_at_a_step():
    calls = []
    take(oc.accumulate(counting(calls), 4), micro_batches(8), tree(0))
    jax.effects_barrier()
    assert len(calls) == 2


def test_an_inner_update_that_is_not_finite_does_not_leak_between_steps():
    tx = oc.accumulate(counting([], lambda u: u / 0.0), 3)
    found, state = take(tx, micro_batches(2), tree(0))
    chex.assert_trees_all_equal(found, tree(0))
    assert not np.isfinite(np.asarray(take(tx, micro_batches(1, 2), found, state)[0]["bias"])).all()


def test_extra_arguments_reach_the_inner_transformation():
    def update(updates, state, params=None, *, value, **extra):
        return jax.tree.map(lambda u: u * value, updates), state

    inner = optax.GradientTransformationExtraArgs(lambda params: {}, update)
    tx = oc.chain(accumulate=oc.accumulate(oc.chain(inner=inner, lr=oc.scale_by_learning_rate(0.1)), 2))
    params, state = {"w": jnp.ones(2)}, tx.init({"w": jnp.ones(2)})
    for value in (5.0, 7.0):
        params, state = oc.apply(
            tx, {"w": jnp.ones(2)}, state, params, value=value, hyper={"accumulate.lr.learning_rate": 0.5}
        )
    chex.assert_trees_all_close(params, {"w": jnp.full(2, 1 - 0.5 * 6.0)})


def test_schedules_count_the_steps_made():
    tx = oc.accumulate(oc.chain(lr=oc.scale_by_learning_rate(lambda step: 1.0 + step)), lambda step: 1 + step)
    params, state, seen = {"w": jnp.zeros(1)}, tx.init({"w": jnp.zeros(1)}), []
    for _ in range(6):
        params, state = oc.apply(tx, {"w": jnp.ones(1)}, state, params)
        seen.append(float(params["w"][0]))
    np.testing.assert_allclose(seen, [-1, -1, -3, -3, -3, -6])


def test_the_mean_is_in_float32_for_gradients_in_low_precision():
    params, tx = {"w": jnp.zeros(2)}, oc.accumulate(oc.scale(-1.0), 256)
    grads = [{"w": jnp.full(2, 1 + (i % 2) / 128, jnp.bfloat16)} for i in range(256)]
    found, state = take(tx, grads, params)
    assert state["accumulate"]["mean"]["w"].dtype == jnp.float32
    np.testing.assert_allclose(found["w"], -(1 + 0.5 / 128), rtol=1e-6)


def test_sharded_and_scanned_equals_local():
    mesh = jax.make_mesh((4,), ("x",), (jax.sharding.AxisType.Auto,))
    params = {"w": jnp.arange(16.0).reshape(8, 2)}
    grads = {"w": jnp.sin(jnp.arange(6 * 16.0)).reshape(6, 8, 2)}
    tx = oc.accumulate(oc.adamw(0.1), 3)

    @jax.jit
    def scanned(params, grads):
        return jax.lax.scan(lambda c, g: (oc.apply(tx, g, c[1], c[0]), None), (params, tx.init(params)), grads)[0]

    placed = jax.device_put(
        (params, grads), (jax.NamedSharding(mesh, jax.P("x")), jax.NamedSharding(mesh, jax.P(None, "x")))
    )
    by_hand = take(tx, [{"w": g} for g in grads["w"]], params)
    chex.assert_trees_all_close(scanned(*placed), by_hand, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("every", [0, 0.5, -1, "2"])
def test_a_bad_number_is_refused(every):
    with pytest.raises(ValueError, match="accumulate: every must"):
        oc.accumulate(oc.sgd(0.1), every)
