"""Inside `shard_map`: a technique is right on one device's shard, or is refused by name, with the axis and the cure."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from techniques import TECHNIQUES, build
from tiers import one_of_each

import optchain as oc
from optchain.core.walk import definitions
from optchain.inspect.laws.steps import every_extra

P = PartitionSpec
REFUSED = r"inside shard_map the (update|parameter) of leaf '(kernel|bias)' varies over the mesh axis 'x'"
DRAWS = {  # which their examples do not
    "add_noise": lambda: oc.add_noise(1.0, 0.5),
    "keep_random": lambda: oc.keep_random(0.5),
    "precision, stochastic": lambda: oc.precision(oc.sgd(0.1), params="stochastic"),
    "precision, slots": lambda: oc.precision(oc.adam(0.1), slots="bfloat16"),
    "dpsgd": lambda: oc.dpsgd(0.1, l2_norm_clip=1.0, noise_multiplier=1.0, seed=0),
}


def mesh():
    return jax.make_mesh((2,), ("x",), (AxisType.Auto,), devices=jax.devices()[:2])


def params():
    keys = jax.random.split(jax.random.key(0))
    return {"bias": jax.random.normal(keys[0], (4,)), "kernel": jax.random.normal(keys[1], (8, 4))}


def steps(tx, params, grads):
    """The parameters after two steps, from a state that is made where they are made."""

    def step(carry, _):
        return oc.apply(tx, grads, carry[1], carry[0], **every_extra()), None

    return jax.lax.scan(step, (params, tx.init(params)), None, length=2)[0][0]


def sharded(function, **how):
    return jax.jit(jax.shard_map(function, mesh=mesh(), in_specs=P("x"), out_specs=P("x"), **how))


def needs_whole_arrays(tx):
    return any(link.mixes for _, link in definitions(tx))


def sort_of(name):
    tx = build(name)
    return type(tx.link), needs_whole_arrays(tx)


@pytest.mark.parametrize("name", one_of_each(TECHNIQUES, sort_of))
def test_right_or_refused(name):
    tx, p = build(name), params()
    step = sharded(functools.partial(steps, tx))
    if needs_whole_arrays(tx):
        with pytest.raises(ValueError, match=f"{REFUSED}|inside a shard_map over it"):  # the latter of owners
            jax.eval_shape(step, p, p)
        return
    for x, y in zip(*map(jax.tree.leaves, (step(p, p), jax.jit(functools.partial(steps, tx))(p, p))), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", DRAWS)
def test_what_draws_by_the_place_of_an_entry_is_refused(name):
    with pytest.raises(ValueError, match=REFUSED):
        jax.eval_shape(sharded(functools.partial(steps, DRAWS[name]())), params(), params())


# Owners along the axis of a shard_map are refused.
WITHOUT_OWNERS = [name for name in TECHNIQUES if name != "distributed"]


@pytest.mark.parametrize("name", one_of_each(WITHOUT_OWNERS, sort_of, pytest.mark.slow))
def test_arrays_that_are_the_same_on_all_devices_are_whole(name):
    """Each device has the gradient of its part of the batch, and they are averaged before the step."""
    tx, p = build(name), params()
    parts = jax.tree.map(lambda x: jnp.stack([x, 2 * x + 1]), p)

    def averaged(p, part):
        return steps(tx, p, jax.lax.pmean(jax.tree.map(lambda x: x[0], part), "x"))

    found = jax.jit(jax.shard_map(averaged, mesh=mesh(), in_specs=(P(), P("x")), out_specs=P()))(p, parts)
    expected = jax.jit(functools.partial(steps, tx))(p, jax.tree.map(lambda x: x.mean(0), parts))
    for x, y in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)


def test_the_error_names_the_technique_the_link_the_leaf_and_the_cure():
    tx = oc.chain(clip=oc.clip_by_global_norm(1.0), sgd=oc.sgd(0.1))
    with pytest.raises(ValueError, match=r"clip_by_global_norm: .* 'bias' varies over the mesh axis 'x'") as error:
        jax.eval_shape(sharded(functools.partial(steps, tx)), params(), params())
    assert "wrap it in oc.over_axes(tx, 'x'), step outside of shard_map, or average" in str(
        error.value
    ) and "pmean(grads, ('x',))" in str(error.value)
    assert "in link 'clip' of chain" in error.value.__notes__


def test_a_mask_leaves_out_what_is_sharded():
    tx = oc.chain(oc.clip_by_global_norm(1.0, mask="bias"), oc.sgd(0.1))
    specs = {"bias": P(), "kernel": P("x")}
    p, run = params(), functools.partial(steps, tx)
    step = jax.jit(jax.shard_map(run, mesh=mesh(), in_specs=(specs, specs), out_specs=specs))
    for x, y in zip(*map(jax.tree.leaves, (step(p, p), jax.jit(run)(p, p))), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-6)


def test_a_link_that_averages_makes_gradients_whole():
    """What enters a technique counts, not what enters the chain."""
    averaged = optax.stateless(lambda updates, _: jax.lax.pmean(updates, "x"))
    run = functools.partial(steps, oc.chain(averaged, oc.clip_by_global_norm(1.0), oc.sgd(0.1)))
    parts = jax.tree.map(lambda x: jnp.concatenate([x, x]), params())
    jax.eval_shape(jax.shard_map(run, mesh=mesh(), in_specs=(P(), P("x")), out_specs=P()), params(), parts)


def test_several_axes_are_all_named():
    both = jax.make_mesh((2, 2), ("x", "y"), (AxisType.Auto,) * 2, devices=jax.devices()[:4])
    run = functools.partial(steps, oc.guard(oc.sgd(0.1)))
    specs = {"bias": P("x"), "kernel": P("x", "y")}
    with pytest.raises(ValueError, match="leaf 'bias' varies over the mesh axis 'x'"):
        jax.eval_shape(jax.shard_map(run, mesh=both, in_specs=(specs, specs), out_specs=specs), params(), params())
    specs = {"kernel": P("x", "y")}
    p = {"kernel": params()["kernel"]}
    with pytest.raises(ValueError, match="varies over the mesh axes 'x', 'y'"):
        jax.eval_shape(jax.shard_map(run, mesh=both, in_specs=(specs, specs), out_specs=specs), p, p)


def test_without_the_check_jax_does_not_say_what_varies():
    """So nothing can be refused: what is documented of `check_vma=False` and `pmap`."""
    jax.eval_shape(sharded(functools.partial(steps, oc.adam(0.1)), check_vma=False), params(), params())
    clipped = sharded(functools.partial(steps, oc.chain(oc.clip_by_global_norm(1.0))), check_vma=False)
    jax.eval_shape(clipped, params(), params())


def test_outside_of_shard_map_nothing_is_refused():
    p = jax.device_put(params(), NamedSharding(mesh(), P("x")))
    jax.eval_shape(functools.partial(steps, oc.clip_by_global_norm(1.0)), p, p)
