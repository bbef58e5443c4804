"""What holds for every technique that sends a part: feedback, surroundings, errors."""

import functools
import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from techniques import TECHNIQUES
from tiers import one_of_each
from workers import AXIS, DEVICES, drawn, mesh, residual, run, sent, zeros

import optchain as oc

MEANS = {
    "top_k_mean": functools.partial(oc.top_k_mean, 0.1),
    "random_k_mean": functools.partial(oc.random_k_mean, 0.2),
    "demo_mean": functools.partial(oc.demo_mean, 0.1, decay=1.0),
    "sign_mean": oc.sign_mean,
    "qsgd_mean": functools.partial(oc.qsgd_mean, 4),
    "powersgd_mean": functools.partial(oc.powersgd_mean, 1),
    "low_bit_mean": functools.partial(oc.low_bit_mean, 8),
}
SHAPES = {"kernel": (16, 8), "bias": (24,), "scale": ()}
every_mean = pytest.mark.parametrize("name", one_of_each(MEANS, lambda name: name == "powersgd_mean"))


def test_all_of_them_are_here():
    assert set(MEANS) == {name for name, make in TECHNIQUES.items() if ".compression." in make.__module__}


@pytest.mark.parametrize("name", MEANS)
def test_what_is_sent_and_what_is_left_are_the_gradients(name):
    """In shards, and with the devices in a `vmap`, which computes the same."""
    steps, tx, grads = 4, MEANS[name](AXIS), drawn(4, SHAPES)
    ran = run(tx, grads, zeros(SHAPES))

    def loop(grads):
        return jax.lax.scan(lambda s, g: tx.update(g, s)[::-1], tx.init(zeros(SHAPES)), grads)

    state, updates = jax.jit(jax.vmap(loop, axis_name=AXIS, in_axes=1))(grads)
    for leaf, g in grads.items():
        for t in range(1, steps + 1):
            found = ran.updates[leaf][:t].sum(0) + ran.residuals[leaf][t - 1].mean(0)
            np.testing.assert_allclose(found, g[:t].mean(1).sum(0), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(updates[leaf][0], ran.updates[leaf], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(residual(tx, state)[leaf][:, 0], ran.residuals[leaf][-1], rtol=1e-5, atol=1e-5)


def stepping(tx, params, over, split=AXIS, specs=None):
    """One compiled step from outside: the state goes in and out."""
    specs = jax.P() if specs is None else specs
    states = oc.state_specs(tx, params, specs)

    def step(params, state, grads):
        return oc.apply(tx, jax.tree.map(lambda g: g[0], grads), state, params)

    per_device = jax.tree.map(
        lambda spec: jax.P(split, *spec),
        specs if isinstance(specs, dict) else jax.tree.map(lambda _: specs, params),
        is_leaf=lambda x: isinstance(x, jax.P),
    )
    mapped = jax.shard_map(step, mesh=over, in_specs=(specs, states, per_device), out_specs=(specs, states))
    return jax.jit(mapped)


@every_mean
def test_a_checkpoint_resumes_to_the_bit_with_narrow_gradients(name):
    """The residual is in the state, for each device its own, in float32; it is made outside under `jax.set_mesh`."""
    tx = oc.chain(mean=MEANS[name](AXIS), clip=oc.clip_by_global_norm(1.0), adam=oc.adam(0.1))
    params = jax.tree.map(lambda x: x.astype(jnp.bfloat16), zeros(SHAPES))
    grads = [jax.tree.map(lambda g: jnp.asarray(g[t], jnp.bfloat16), drawn(2, SHAPES)) for t in range(2)]  # noqa: B023
    step = stepping(tx, params, mesh())
    with jax.set_mesh(mesh()):
        state = tx.init(params)
    first = step(params, state, grads[0])
    kept = first[1]["links"]["mean"][name]["residual"]
    assert all(x.dtype == jnp.float32 and x.shape == (DEVICES, *SHAPES[leaf]) for leaf, x in kept.items())
    file = io.BytesIO()
    leaves, treedef = jax.tree.flatten(first[1])
    np.savez(file, *leaves)
    file.seek(0)
    restored = treedef.unflatten(list(np.load(file).values()))
    for x, y in zip(*map(jax.tree.leaves, (step(first[0], restored, grads[1]), step(*first, grads[1]))), strict=True):
        np.testing.assert_array_equal(x, y)
    assert any(x.any() for x in kept.values())


@every_mean
def test_a_gradient_that_is_not_finite_on_one_device_changes_nothing(name):
    """The guard after the mean rejects the step on all devices, and no device forgets what it has not sent."""
    tx = oc.chain(mean=MEANS[name](AXIS), rest=oc.guard(oc.chain(oc.clip_by_global_norm(1.0), oc.sgd(0.1))))
    params, grads = zeros(SHAPES), drawn(2, SHAPES)
    step = stepping(tx, params, mesh())
    with jax.set_mesh(mesh()):
        state = tx.init(params)
    params, state = step(params, state, jax.tree.map(lambda g: g[0], grads))
    bad = jax.tree.map(lambda g: g[1], grads)
    bad["kernel"] = bad["kernel"].copy()
    bad["kernel"][3, 2, 1] = np.nan
    after, held = step(params, state, bad)
    for x, y in zip(
        *map(jax.tree.leaves, ((after, held["links"]["mean"]), (params, state["links"]["mean"]))), strict=True
    ):
        np.testing.assert_array_equal(x, y)
    assert oc.metrics(held)["rest.guard.rejected"] == 1
    for x, y in zip(
        *map(jax.tree.leaves, (step(after, held, jax.tree.map(lambda g: g[1], grads))[0], after)), strict=True
    ):
        assert np.isfinite(x).all() and not np.array_equal(x, y)


def test_shards_along_another_axis_are_compressed_each_by_itself():
    """`over_axes` is around the rest of the chain; the clip sees the norm of the whole."""
    over = jax.make_mesh((4, 2), (AXIS, "model"), (AxisType.Auto,) * 2)
    params, specs = zeros({"kernel": (16, 8), "bias": (24,)}), {"kernel": jax.P("model"), "bias": jax.P("model")}
    rest = oc.over_axes(oc.chain(oc.clip_by_global_norm(1.0), oc.sgd(1.0)), "model")
    grads = jax.tree.map(lambda g: g[0, :4], drawn(1, {"kernel": (16, 8), "bias": (24,)}))
    tx = oc.chain(mean=oc.top_k_mean(0.1, AXIS), rest=rest)
    with jax.set_mesh(over):
        state = tx.init(params)
    new, state = stepping(tx, params, over, specs=specs)(params, state, grads)
    kept = state["links"]["mean"]["top_k_mean"]["residual"]
    assert kept["kernel"].shape == (4, 16, 8)
    assert np.linalg.norm(np.concatenate([x.ravel() for x in new.values()])) == pytest.approx(1, rel=1e-5)
    halves = grads["kernel"].reshape(4, 2, 64), np.asarray(kept["kernel"]).reshape(4, 2, 64)
    assert (np.count_nonzero(halves[0] - halves[1], axis=-1) == 6).all()  # a tenth of each shard

    around = oc.over_axes(oc.chain(oc.top_k_mean(0.1, AXIS)), "model")
    with jax.set_mesh(over):
        state = around.init(params)
    with pytest.raises(ValueError, match="top_k_mean: under over_axes leaf 'bias' is split .* stand before over_axes"):
        stepping(around, params, over, specs=specs).trace(params, state, grads)


def test_devices_along_two_axes():
    over = jax.make_mesh((2, 4), ("host", AXIS), (AxisType.Auto,) * 2)
    params, grads = zeros(SHAPES), drawn(1, SHAPES)
    tx = oc.low_bit_mean(8, ("host", AXIS))
    with jax.set_mesh(over):
        state = tx.init(params)
    step = stepping(tx, params, over, ("host", AXIS))
    new, after = step(params, state, jax.tree.map(lambda g: g[0], grads))
    expected = run(oc.low_bit_mean(8, AXIS), grads, params)
    for leaf in SHAPES:
        np.testing.assert_allclose(new[leaf], expected.updates[leaf][0], rtol=1e-5, atol=1e-6)
        assert residual(tx, after)[leaf].shape == (DEVICES, *SHAPES[leaf])


def test_what_a_mask_leaves_out_is_sent_whole():
    tx, grads = oc.sign_mean(AXIS, mask="kernel"), drawn(1, SHAPES)
    ran = run(tx, grads, zeros(SHAPES))
    np.testing.assert_allclose(ran.updates["bias"][0], grads["bias"][0].mean(0), rtol=1e-5, atol=1e-6)
    assert jax.tree.leaves(ran.residuals)[0].shape == (1, DEVICES, 16, 8) and len(jax.tree.leaves(ran.residuals)) == 1
    assert sent(tx, zeros(SHAPES))["all-reduce"].bytes == 4 * (24 + 1)


def test_errors_say_what_to_do():
    tx, params = oc.sign_mean(AXIS), zeros(SHAPES)
    with pytest.raises(
        ValueError, match="sign_mean: there are no devices along 'data' here; step inside jax.shard_map"
    ):
        tx.update(params, tx.init(params))
    specs = oc.state_specs(tx, params, jax.P())
    assert specs["sign_mean"]["residual"]["kernel"] == jax.P(AXIS, None, None)

    def summed(params, x):
        grads = jax.grad(lambda p: jnp.sum(x) * jnp.sum(p["kernel"]))(params)
        return tx.update(grads, tx.init(params))

    shared = jax.shard_map(summed, mesh=mesh(), in_specs=(jax.P(), jax.P(AXIS)), out_specs=(jax.P(), specs))
    with pytest.raises(ValueError, match="sign_mean: the gradient of leaf 'bias' is the same on all .*'data'.*pcast"):
        jax.eval_shape(shared, params, jnp.ones(8))


def test_an_axis_is_named_once():
    for axis in (("d", "d"), (), ["d"], 3):
        with pytest.raises(ValueError, match="top_k_mean: axis must be the name of a mesh axis, or a tuple of several"):
            oc.top_k_mean(0.25, axis=axis)
