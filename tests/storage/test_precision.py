"""Storage of parameters and slots: nothing is lost that need not be."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optchain as oc

STEPS = 300


def quadratic(tx, params, steps=STEPS, apply=True):
    """Descend to 0.3 in small steps; the parameters and the state at the end."""

    def step(carry, _):
        params, state = carry
        grads = jax.tree.map(lambda p: p - jnp.asarray(0.3, p.dtype), params)
        if apply:
            return oc.apply(tx, grads, state, params), None
        updates, state = tx.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), None

    return jax.jit(lambda carry: jax.lax.scan(step, carry, length=steps)[0])((params, tx.init(params)))


def start(dtype):
    return {"w": jax.random.normal(jax.random.key(0), (32, 8)).astype(dtype) + 1, "b": jnp.ones(8, dtype)}


def spread(params):
    """How far the parameters are from 0.3, in the mean."""
    return float(np.mean([np.abs(np.asarray(x, np.float32) - 0.3).mean() for x in jax.tree.leaves(params)]))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("params", ["nearest", "stochastic", "kahan", "master"])
def test_small_updates_arrive(params, dtype):
    inner = oc.sgd(1e-3) if dtype == jnp.bfloat16 else oc.sgd(1e-4)
    steps = 5000
    after, _ = quadratic(oc.precision(inner, params=params), start(dtype), steps)
    exact, _ = quadratic(inner, start(jnp.float32), steps)
    stuck = params == "nearest" or (params == "stochastic" and dtype == jnp.float16)
    assert (abs(spread(after) - spread(exact)) > 0.05) == stuck
    chex.assert_type(jax.tree.leaves(after), dtype)


@pytest.mark.parametrize("apply", [True, False])
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_master_weights_are_the_float32_run_rounded(dtype, apply):
    """Both runs see the same gradients: the stored parameters are the rounded master."""
    tx, plain = oc.precision(oc.adamw(1e-3), params="master"), oc.adamw(1e-3)
    low = start(dtype)
    exact = jax.tree.map(lambda p: p.astype(jnp.float32), low)
    state, plain_state = tx.init(low), plain.init(exact)
    for seed in range(50):
        grads = jax.tree.map(lambda p, s=seed: jax.random.normal(jax.random.key(s), p.shape), exact)
        exact, plain_state = oc.apply(plain, grads, plain_state, exact)
        if apply:
            low, state = oc.apply(tx, grads, state, low)
        else:
            updates, state = tx.update(grads, state, low)
            low = optax.apply_updates(low, updates)
        chex.assert_trees_all_close(state["precision"]["rest"], exact, rtol=1e-6)
        chex.assert_trees_all_equal(low, jax.tree.map(lambda x: x.astype(dtype), state["precision"]["rest"]))


@pytest.mark.parametrize("params", ["stochastic", "kahan", "master"])
def test_update_and_apply_land_on_the_same_parameters(params):
    tx = oc.precision(oc.adam(1e-2), params=params)
    one, _ = quadratic(tx, start(jnp.bfloat16))
    other, _ = quadratic(tx, start(jnp.bfloat16), apply=False)
    chex.assert_trees_all_equal(one, other)


def test_what_apply_updates_misses_the_next_step_corrects():
    """A parameter that was changed behind the optimizer's back returns to its master."""
    tx = oc.precision(oc.sgd(0.0), params="master")
    params = {"w": jnp.full(4, 1.5, jnp.bfloat16)}
    state = tx.init(params)
    moved = {"w": jnp.full(4, 77.0, jnp.bfloat16)}
    updates, state = tx.update(moved, state, moved)
    np.testing.assert_array_equal(optax.apply_updates(moved, updates)["w"], params["w"])


def test_float32_parameters_are_stored_as_ever_and_cost_nothing():
    params = start(jnp.float32)
    for mode in ("nearest", "stochastic", "kahan", "master"):
        tx = oc.precision(oc.adam(1e-2), params=mode)
        after, state = quadratic(tx, params, 20)
        chex.assert_trees_all_close(after, quadratic(oc.adam(1e-2), params, 20)[0], rtol=1e-6)
        assert not jax.tree.leaves(state["precision"]["rest"])


def test_slots_in_bfloat16_are_half_as_large_and_the_second_moment_moves():
    params = start(jnp.float32)
    tx = oc.precision(oc.adam(1e-2, b2=0.999), slots="bfloat16")
    after, state = quadratic(tx, params, 2000)
    adam = state["inner"]["links"]["adam"]["scale_by_adam"]
    chex.assert_type([*jax.tree.leaves(adam["mu"]), *jax.tree.leaves(adam["nu"])], jnp.bfloat16)
    chex.assert_type(adam["count"], jnp.int32)
    exact, exact_state = quadratic(oc.adam(1e-2, b2=0.999), params, 2000)
    assert spread(after) < 0.02 and spread(exact) < 0.02
    # Rounding to nearest would freeze nu, for 1 - b2 is less than half a unit in its last place.
    mean = lambda tree: np.mean([np.mean(np.asarray(x, np.float32)) for x in jax.tree.leaves(tree)])  # noqa: E731
    np.testing.assert_allclose(mean(adam["nu"]), mean(exact_state["links"]["adam"]["scale_by_adam"]["nu"]), rtol=0.05)


def test_a_link_may_have_slots_of_its_own_precision():
    tx = oc.chain(adam=oc.precision(oc.scale_by_adam(), slots="bfloat16"), lr=oc.scale(-0.1))
    state = tx.init(start(jnp.float32))
    chex.assert_type(jax.tree.leaves(state["links"]["adam"]["inner"]["scale_by_adam"]["mu"]), jnp.bfloat16)
    updates, after = tx.update(start(jnp.float32), state, start(jnp.float32))
    chex.assert_trees_all_equal_shapes_and_dtypes(after, state)


def test_is_the_same_however_sharded():
    mesh = jax.make_mesh((8,), ("x",), (jax.sharding.AxisType.Auto,))
    tx = oc.precision(oc.adam(1e-2), params="stochastic", slots="bfloat16")
    alone, _ = quadratic(tx, start(jnp.bfloat16), 20)
    sharded = jax.device_put(start(jnp.bfloat16), jax.NamedSharding(mesh, jax.P("x")))
    chex.assert_trees_all_equal(quadratic(tx, sharded, 20)[0], alone)


def test_lost_updates_are_counted():
    params = {"w": jnp.array([1.0, 1.0, 1.0, 0.0], jnp.bfloat16)}
    updates = {"w": jnp.array([1e-3, 1e-1, 0.0, 1e-9])}
    assert oc.lost_updates(updates, params) == 1
    assert oc.lost_updates(updates, jax.tree.map(lambda p: p.astype(jnp.float32), params)) == 0
    tx = oc.precision(oc.scale(1.0), watch=True)
    _, state = oc.apply(tx, updates, tx.init(params), params)
    assert oc.metrics(state)["precision.lost"] == 1


def test_within_the_guard_and_accumulation():
    tx = oc.accumulate(oc.guard(oc.precision(oc.adam(1e-2), params="master")), every=2)
    params = start(jnp.bfloat16)
    state = tx.init(params)
    for g in (1.0, jnp.nan, 1.0, 1.0):
        grads = jax.tree.map(lambda p, g=g: jnp.full_like(p, g), params)
        params, state = oc.apply(tx, grads, state, params)
    chex.assert_trees_all_equal(
        params, jax.tree.map(lambda x: x.astype(jnp.bfloat16), state["inner"]["inner"]["precision"]["rest"])
    )
    assert oc.metrics(state)["accumulate.emitted"] == 2 and oc.metrics(state)["accumulate.dropped"] == 1


@pytest.mark.parametrize(
    "options, message",
    [
        ({"params": "kahn"}, "params is 'kahn'; did you mean 'kahan'"),
        ({"slots": "int7"}, "slots is 'int7'; did you mean"),
        ({"seed": 0.5}, "seed must be a whole number or a key of jax.random, got 0.5"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=f"precision: {message}"):
        oc.precision(oc.adam(0.1), **options)


def test_parameters_are_asked_for():
    tx, params = oc.precision(oc.scale(1.0), params="master"), start(jnp.bfloat16)
    with pytest.raises(ValueError, match="call update\\(grads, state, params\\)"):
        tx.update(params, tx.init(params))
