"""Under `over_axes` a step on shards is the step on whole arrays, with no more collectives than it needs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, PartitionSpec
from techniques import TECHNIQUES, build, kind
from tiers import one_of_each

import optchain as oc
from optchain.core.rule import rule
from optchain.inspect.collectives import collectives

P = PartitionSpec
MORE = {  # what the examples of the techniques leave out
    "noise": lambda: oc.add_noise(1.0, 0.5),
    "random entries": lambda: oc.keep_random(0.5),
    "private noise": lambda: oc.dpsgd(0.1, l2_norm_clip=1.0, noise_multiplier=1.0, seed=0),
    "rows": lambda: oc.scale_by_adam_mini(block="row"),
    "columns": lambda: oc.scale_by_adam_mini(block="column"),
    "a view": lambda: oc.as_matrices(oc.scale_by_muon(mask="kernel"), {"kernel": "a b -> b a"}),
    "outputs": lambda: oc.guard(oc.adam(0.1), check_outputs=True, max_norm=300.0),
    "factored where the whole is large enough": lambda: oc.scale_by_factored_rms(min_dim_size_to_factor=3),
}
PARAMS = {"kernel": jnp.arange(1.0, 13.0).reshape(4, 3) / 6, "bias": jnp.array([3.0, -1.0, 2.0, 0.5])}
GRADS = {"kernel": PARAMS["kernel"] ** 2 * 50, "bias": jnp.array([1e3, 1.0, -2.0, 0.0])}
SPLIT = {"kernel": P("x"), "bias": P("x")}


def mesh(*sizes):
    sizes = sizes or (2,)
    devices = jax.devices()[: int(np.prod(sizes))]
    return jax.make_mesh(sizes, ("x", "y")[: len(sizes)], (AxisType.Auto,) * len(sizes), devices=devices)


def stepped(tx, params, grads, **extra):
    """The parameters and the metrics after one step."""
    params, state = oc.apply(tx, grads, tx.init(params), params, **extra)
    return params, oc.metrics(state)


def on_shards(tx, specs=None, over=None, **how):
    specs = SPLIT if specs is None else specs
    run = functools.partial(stepped, tx)
    over = over or mesh()
    return jax.jit(jax.shard_map(run, mesh=over, in_specs=(specs, specs), out_specs=(specs, P()), **how))


def require_equal(tx, found, params=PARAMS, grads=GRADS):
    for x, y in zip(*map(jax.tree.leaves, (found, stepped(tx, params, grads))), strict=True):
        np.testing.assert_allclose(x, y, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("name", one_of_each(TECHNIQUES, kind, pytest.mark.slow))
def test_every_technique_is_equal_or_refused(name):
    oc.check_laws(build(name), only=["over_axes"]).require()


@pytest.mark.parametrize("name", MORE)
def test_more_techniques_are_equal(name):
    oc.check_laws(MORE[name](), only=["over_axes"]).require()


def test_what_has_no_law_for_shards_is_refused():
    with pytest.raises(ValueError, match="under over_axes leaf 'bias' is split over .*'x'.* no law for shards"):
        jax.eval_shape(on_shards(oc.over_axes(oc.sparse(oc.sgd(0.1), 0.5), "x")), PARAMS, GRADS)


@pytest.mark.parametrize("axes", ["x", "y", ("x", "y")])
def test_of_two_mesh_axes_those_that_are_named(axes):
    tx = oc.chain(oc.clip_by_global_norm(1.0), oc.scale_by_trust_ratio(), oc.sgd(0.1))
    names = (axes,) if isinstance(axes, str) else axes
    specs = {"kernel": P(names), "bias": P(names[0])}
    wrapped = oc.over_axes(tx, axes, specs={"bias": specs["bias"]})
    require_equal(tx, on_shards(wrapped, specs, mesh(2, 2))(PARAMS, GRADS))


def test_declarations_within_each_other_add_up():
    tx = oc.chain(oc.clip_by_global_norm(1.0), oc.sgd(0.1))
    specs = {"kernel": P("x"), "bias": P("y")}
    require_equal(tx, on_shards(oc.over_axes(oc.over_axes(tx, "x"), "y"), specs, mesh(2, 2))(PARAMS, GRADS))


def test_a_layer_that_is_whole_on_a_device_needs_no_other():
    tx = oc.over_layers(oc.chain(oc.scale_by_trust_ratio()), {"kernel": 1})
    step = on_shards(oc.over_axes(tx, "x"), {"kernel": P("x")})
    p, g = ({"kernel": tree["kernel"]} for tree in (PARAMS, GRADS))
    require_equal(tx, step(p, g), p, g)
    assert collectives(step.lower(p, g).compile().as_text()) == {}


def test_a_global_norm_is_one_sum_of_a_number():
    tx = oc.over_axes(oc.chain(oc.clip_by_global_norm(1.0), oc.sgd(0.1)), "x")
    assert str(jax.make_jaxpr(on_shards(tx))(PARAMS, GRADS)).count("psum") == 1
    (sent,) = collectives(on_shards(tx).lower(PARAMS, GRADS).compile().as_text()).values()
    assert sent.count == 1


def test_a_leaf_is_gathered_once_and_nothing_is_reduced():
    """Of a matrix technique the gradient and the mean: the result of each gather is the whole array, no more."""
    p, g = ({"kernel": tree["kernel"]} for tree in (PARAMS, GRADS))
    tx = oc.over_axes(oc.chain(oc.scale_by_muon(), oc.scale(-0.1)), "x")
    specs = oc.state_specs(tx, p, P("x"))

    def step(state, p, g):
        return oc.apply(tx, g, state, p)

    run = jax.shard_map(step, mesh=mesh(), in_specs=(specs, P("x"), P("x")), out_specs=(P("x"), specs))
    sent = collectives(jax.jit(run).lower(tx.init(p), p, g).compile().as_text())
    assert {kind: x.bytes for kind, x in sent.items()} == {"all-gather": 2 * p["kernel"].nbytes}


def test_a_leaf_split_over_two_mesh_axes_is_gathered_in_order():
    tx, specs = oc.chain(oc.scale_by_muon()), {"kernel": P(("y", "x"))}
    p, g = ({"kernel": tree["kernel"]} for tree in (PARAMS, GRADS))
    wrapped = oc.over_axes(tx, ("x", "y"), {"*": specs["kernel"]})
    require_equal(tx, on_shards(wrapped, specs, mesh(2, 2))(p, g), p, g)


def test_an_elementwise_step_has_no_collectives():
    compiled = on_shards(oc.over_axes(oc.adamw(0.1), "x")).lower(PARAMS, GRADS).compile()
    assert collectives(compiled.as_text()) == {}


def test_a_guard_rejects_everywhere_and_names_the_leaf():
    tx = oc.guard(oc.adam(0.1))
    bad = GRADS | {"kernel": GRADS["kernel"].at[3, 1].set(jnp.nan)}
    found, shown = on_shards(oc.over_axes(tx, "x"))(PARAMS, bad)
    for x, y in zip(*map(jax.tree.leaves, (found, PARAMS)), strict=True):
        np.testing.assert_array_equal(x, y)
    assert shown["guard.leaf"] == 1 and shown["guard.rejected"] == 1


def test_a_rule_of_ones_own_is_gathered_and_one_of_the_whole_tree_refused():
    @rule
    class Sorted:
        core_ndim = None

        def update(self, g, s, p, t):
            return g - jnp.median(g), s

    tx = oc.chain(oc.lift(Sorted, "minus_median")())
    require_equal(tx, on_shards(oc.over_axes(tx, "x"))(PARAMS, GRADS))

    @rule
    class Whole:
        core_ndim = None

        def update(self, g, s, p, t):
            return jax.tree.map(lambda x: x / jnp.max(g["bias"]), g), s, {}

    tx = oc.chain(oc.lift(Whole, "by_the_bias", oc.core.joint.Joint)())
    with pytest.raises(ValueError, match="by_the_bias: under over_axes"):
        jax.eval_shape(on_shards(oc.over_axes(tx, "x")), PARAMS, GRADS)


def test_transformations_of_optax_may_be_elementwise():
    tx = oc.chain(oc.clip_by_global_norm(1.0), adam=optax.scale_by_adam(), lr=optax.scale(-0.1))
    require_equal(tx, on_shards(oc.over_axes(tx, "x"))(PARAMS, GRADS))
    local = oc.chain(clip=optax.clip_by_global_norm(1.0))
    with pytest.raises(ValueError, match="over_axes: a transformation of optax computes `reduce_sum` of the shards"):
        jax.eval_shape(on_shards(oc.over_axes(local, "x")), PARAMS, GRADS)


def test_outside_of_shard_map_it_is_the_transformation():
    tx = oc.chain(oc.clip_by_global_norm(1.0), oc.adam(0.1))
    wrapped = oc.over_axes(tx, "x")
    assert jax.tree.structure(wrapped.init(PARAMS)) == jax.tree.structure(tx.init(PARAMS))
    require_equal(tx, stepped(wrapped, PARAMS, GRADS))


def test_gradients_follow():
    """The derivative by the rate of what the step makes, through the norm of the whole."""
    tx = oc.chain(oc.clip_by_global_norm(1.0))

    def loss(tx, sum_of, g):
        u, _ = tx.update(g, tx.init(g))
        return sum_of(sum(jnp.sum(x**3) for x in jax.tree.leaves(u)))

    inside = functools.partial(loss, oc.over_axes(tx, "x"), lambda x: jax.lax.psum(x, "x"))
    mapped = jax.shard_map(jax.grad(inside), mesh=mesh(), in_specs=(SPLIT,), out_specs=SPLIT)
    expected = jax.grad(functools.partial(loss, tx, lambda x: x))(GRADS)
    for x, y in zip(*map(jax.tree.leaves, (jax.jit(mapped)(GRADS), expected)), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((oc.sgd(0.1), ()), "axes must be the name of a mesh axis"),
        ((oc.sgd(0.1), "x", {"*": "x"}), "specs must be PartitionSpecs"),
        ((optax.sgd(0.1), "x"), "must be a transformation of optchain"),
        ((oc.distributed(oc.muon(0.1), "x"), "x"), "has owners along"),
    ],
)
def test_arguments_are_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        oc.over_axes(*arguments)


def test_calls_that_do_not_fit_are_errors():
    clip = oc.chain(oc.clip_by_global_norm(1.0))
    with pytest.raises(ValueError, match="this shard_map is not over 'z'; valid: x"):
        jax.eval_shape(on_shards(oc.over_axes(clip, "z")), PARAMS, GRADS)
    with pytest.raises(ValueError, match="check_vma=False"):
        jax.eval_shape(on_shards(oc.over_axes(clip, "x"), check_vma=False), PARAMS, GRADS)
    with pytest.raises(ValueError, match="leaf 'bias' has shape .* and specs say"):
        jax.eval_shape(on_shards(oc.over_axes(clip, "x", {"bias": P()})), PARAMS, GRADS)
    same = {"kernel": P(), "bias": P()}
    forgotten = jax.shard_map(
        functools.partial(stepped, oc.over_axes(clip, "x")), mesh=mesh(), in_specs=(same, P()), out_specs=(same, P())
    )
    jax.eval_shape(forgotten, PARAMS, GRADS)  # all the same on all devices
    parts = jax.tree.map(lambda x: jnp.concatenate([x, x]), GRADS)
    unaveraged = jax.shard_map(
        functools.partial(stepped, oc.over_axes(clip, "x")), mesh=mesh(), in_specs=(same, P("x")), out_specs=(same, P())
    )
    with pytest.raises(ValueError, match="gradient of leaf 'bias' differs between devices .* the parameter does not"):
        jax.eval_shape(unaveraged, PARAMS, parts)
    polyak = functools.partial(stepped, oc.over_axes(oc.scale_by_polyak(), "x"))

    def of_a_part(p, g):
        return polyak(p, g, value=jnp.sum(p["bias"]))

    with pytest.raises(ValueError, match="the scalar 'value' differs between devices"):
        jax.eval_shape(
            jax.shard_map(of_a_part, mesh=mesh(), in_specs=(SPLIT, SPLIT), out_specs=(SPLIT, P())), PARAMS, GRADS
        )
