"""Declared layer axes: stacked layers are updated as layers of their own."""

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from techniques import RULES, build, definition, tree
from tiers import one_of_each

import optchain as oc
from optchain.core.joint import Joint
from optchain.core.rule import core_of
from optchain.inspect.laws.steps import every_extra

LAYERS = 3


def unrolled(seed):
    return {f"layers_{i}": tree(10 * seed + i) for i in range(LAYERS)}


def stacked(layers):
    return {"layers": jax.tree.map(lambda *xs: jnp.stack(xs), *(layers[f"layers_{i}"] for i in range(LAYERS)))}


def trained(tx, params, grads):
    state = tx.init(params)
    for g in grads:
        params, state = oc.apply(tx, g, state, params, **every_extra())
    return params


def runner(name):
    """What runs a rule: the definition, and along which axes the rule looks."""
    return definition(name), core_of(build(name).link.rule, 3)


# The random numbers of noise are other ones for each leaf.
@pytest.mark.parametrize("name", one_of_each(sorted(set(RULES) - {"add_noise"}), runner, pytest.mark.slow))
def test_stacked_equals_unrolled(name):
    """Per leaf, to 1e-6 of its largest entry (1e-4 for what iterates on matrices)."""
    grads = [unrolled(seed) for seed in (1, 2, 3)]
    wanted = stacked(trained(build(name), unrolled(0), grads))
    declared = oc.over_layers(build(name), "layers/*")
    found = trained(declared, stacked(unrolled(0)), [stacked(g) for g in grads])
    tolerance = 1e-4 if build(name).link.rule.core_ndim == 2 else 1e-6
    for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(x, y, rtol=0, atol=tolerance * float(jnp.abs(y).max()))


def test_undeclared_layers_share_one_norm_and_declared_ones_do_not():
    grads = {"blocks": jnp.stack([jnp.full((2, 2), 1.0), jnp.full((2, 2), 100.0)])}
    clip = oc.clip_by_leaf_norm(1.0)
    mixed, _ = clip.update(grads, clip.init(grads), grads)
    own = oc.over_layers(clip, "blocks")
    alone, _ = own.update(grads, own.init(grads), grads)
    assert float(jnp.abs(mixed["blocks"][0]).max()) < 0.01
    np.testing.assert_allclose(alone["blocks"], 0.5)


@oc.rule
class Rows:
    """Divides each row by its sum."""

    core_ndim = 1

    def update(self, g, s, p, t):
        assert g.ndim == 1
        return g / g.sum(), s


divide = oc.lift(Rows, "divide_by_sum")


def test_undeclared_axes_are_an_error_and_declared_ones_any_number():
    grads = {"experts": jnp.ones((2, 3, 4)), "head": jnp.ones(5)}
    tx = oc.chain(divide())
    with pytest.raises(ValueError, match=r"divide_by_sum looks across 1 axes: leaf 'experts' has shape \(2, 3, 4\)"):
        tx.init(grads)
    one = oc.over_layers(tx, {"experts": 1})
    with pytest.raises(ValueError, match=r"\(2, 3, 4\), 1 of it layers; declare layers with over_layers"):
        one.init(grads)
    two = oc.over_layers(tx, {"experts": 2})
    updates, _ = two.update(grads, two.init(grads), grads)
    chex.assert_trees_all_close(updates, {"experts": jnp.full((2, 3, 4), 0.25), "head": jnp.full(5, 0.2)})


def test_it_reaches_into_wrappers_groups_and_chains():
    clip = oc.chain(clip=oc.clip_by_leaf_norm(1.0), lr=oc.scale_by_learning_rate(1.0))
    grouped = oc.groups(clip, {"head/*": oc.chain(oc.clip_by_leaf_norm(2.0)), "*": {"learning_rate": 1.0}})
    tx = oc.over_layers(oc.guard(oc.accumulate(grouped, 1)), ["blocks/*", "head/*"])
    grads = {name: {"w": jnp.stack([jnp.ones(4), 100 * jnp.ones(4)])} for name in ("blocks", "head")}
    after = trained(tx, jax.tree.map(jnp.zeros_like, grads), [grads])
    chex.assert_trees_all_close(after, {"blocks": {"w": jnp.full((2, 4), -0.5)}, "head": {"w": jnp.ones((2, 4))}})


def test_the_declaration_is_seen_and_costs_elementwise_techniques_nothing():
    plain, declared = oc.adamw(1e-3), oc.over_layers(oc.adamw(1e-3), "layers/*")
    assert "layers=layers/*" in str(declared) and "layers" not in str(plain)
    params = stacked(unrolled(0))
    jaxprs = [
        str(jax.make_jaxpr(lambda g, tx=tx: tx.update(g, tx.init(params), params))(params)) for tx in (plain, declared)
    ]
    assert jaxprs[0] == jaxprs[1]


@pytest.mark.full
def test_a_scanned_model_is_trained_as_the_same_model_unrolled():
    class Block(nn.Module):
        @nn.compact
        def __call__(self, x, _):
            return nn.tanh(nn.Dense(4)(x)), None

    scanned = nn.scan(Block, variable_axes={"params": 0}, split_rngs={"params": True}, length=LAYERS)(name="layers")

    def model(params, x):
        return scanned.apply({"params": params["layers"]}, x, None)[0]

    def by_hand(params, x):
        for i in range(LAYERS):
            x, _ = Block().apply({"params": params[f"layers_{i}"]}, x, None)
        return x

    x = jax.random.normal(jax.random.key(1), (5, 4))
    start = {"layers": scanned.init(jax.random.key(0), x, None)["params"]}
    alone = {f"layers_{i}": jax.tree.map(lambda p, i=i: p[i], start["layers"]) for i in range(LAYERS)}
    tx = oc.chain(oc.scale_by_adam(), oc.clip_by_leaf_norm(0.5), oc.scale_by_learning_rate(0.1))
    declared = oc.over_layers(tx, "layers/*")
    states = declared.init(start), tx.init(alone)
    for _ in range(5):
        many = jax.grad(lambda p: jnp.sum(model(p, x) ** 2))(start)
        one = jax.grad(lambda p: jnp.sum(by_hand(p, x) ** 2))(alone)
        (start, first), (alone, second) = (
            oc.apply(declared, many, states[0], start),
            oc.apply(tx, one, states[1], alone),
        )
        states = first, second
    chex.assert_trees_all_close(start, stacked(alone), rtol=1e-4, atol=1e-6)


def test_wrong_declarations_are_named():
    params = {"blocks": {"kernel": jnp.ones((2, 3, 3))}}
    with pytest.raises(ValueError, match="layers 'block/\\*' match no parameter; did you mean 'blocks/kernel'"):
        oc.over_layers(oc.adamw(1e-3), "block/*").init(params)
    with pytest.raises(ValueError, match=r"leaf 'blocks/kernel' of shape \(2, 3, 3\) cannot have 4 layer axes"):
        oc.over_layers(oc.adamw(1e-3), {"*": 4}).init(params)
    with pytest.raises(
        ValueError, match=r"the number of layer axes of '\*' must be a whole number of at least 0, got 1.5"
    ):
        oc.over_layers(oc.adamw(1e-3), {"*": 1.5})
    for wrong in (3, [1], None):
        with pytest.raises(ValueError, match="layers must be patterns, a table or a function"):
            oc.over_layers(oc.adamw(1e-3), wrong)
    with pytest.raises(ValueError, match="tx must be a gradient transformation"):
        oc.over_layers("adamw", "*")


def test_a_pattern_may_match_what_another_group_holds():
    tx = oc.over_layers(oc.groups(oc.adamw(1e-3), {"head": oc.FROZEN, "*": {}}), ["blocks", "head"])
    params = {"blocks": jnp.ones((2, 3)), "head": jnp.ones((2, 3))}
    updates, _ = tx.update(params, tx.init(params), params)
    np.testing.assert_array_equal(updates["head"], 0)


def test_joint_techniques_see_all_layers_at_once():
    clip, grads = oc.clip_by_global_norm(1.0), stacked(unrolled(0))
    assert isinstance(clip.link, Joint)
    declared = oc.over_layers(clip, "layers/*")
    chex.assert_trees_all_equal(*(tx.update(grads, tx.init(grads))[0] for tx in (clip, declared)))
