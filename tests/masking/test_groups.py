"""Parameter groups: factors, frozen leaves, transformations of their own, coverage, and the table."""

import tomllib
from typing import NamedTuple

import chex
import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import optchain as oc


def params(dtype=jnp.float32):
    shapes = {
        "embed": {"w": (6, 4)},
        "block": {"kernel": (4, 4), "bias": (4,)},
        "head": {"kernel": (4, 2), "bias": (2,)},
    }
    leaves, treedef = jax.tree.flatten(shapes, is_leaf=lambda x: isinstance(x, tuple))
    keys = jax.random.split(jax.random.key(0), len(leaves))
    drawn = [jax.random.normal(key, shape).astype(dtype) for key, shape in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(treedef, drawn)


def grads(seed, like):
    leaves, treedef = jax.tree.flatten(like)
    keys = jax.random.split(jax.random.key(seed), len(leaves))
    drawn = [jax.random.normal(key, x.shape).astype(x.dtype) for key, x in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(treedef, drawn)


def recipe(**changes):
    """AdamW behind a clip that always clips."""
    numbers = {"rate": 0.01, "decay": 0.1} | changes
    return oc.chain(
        clip=oc.clip_by_global_norm(0.5),
        adam=oc.scale_by_adam(),
        decay=oc.add_decayed_weights(numbers["decay"]),
        lr=oc.scale_by_learning_rate(numbers["rate"]),
    )


RULES = {"embed/*": {"learning_rate": 0.1}, "*/bias": {"weight_decay": 0.0}, "*": {}}


def run(tx, p, n=4, **extra):
    state = tx.init(p)
    for seed in range(1, n + 1):
        p, state = oc.apply(tx, grads(seed, p), state, p, **extra)
    return p, state


def test_factors_are_those_of_a_chain_with_other_numbers():
    """Every leaf steps as in the whole chain with its own numbers; the norm is that of all leaves."""
    p = params()
    found, state = run(oc.groups(recipe(), RULES), p)
    slow, plain, rest = (run(recipe(**x), p)[0] for x in ({"rate": 0.001}, {"decay": 0.0}, {}))
    wanted = {
        "embed": slow["embed"],
        "block": {"kernel": rest["block"]["kernel"], "bias": plain["block"]["bias"]},
        "head": {"kernel": rest["head"]["kernel"], "bias": plain["head"]["bias"]},
    }
    # The other chains take the gradients at the same parameters, for none depends on them.
    chex.assert_trees_all_close(found, wanted, rtol=1e-6, atol=1e-7)
    norm = optax.tree.norm(grads(4, p))
    np.testing.assert_allclose(oc.metrics(state)["clip.norm"], norm, rtol=1e-6)
    assert oc.metrics(state)["step"] == 4


def test_agrees_with_partition_of_optax():
    p = params()
    rules = {"embed/*": oc.FROZEN, "head/*": oc.sgd(0.3, momentum=0.9), "*": {}}
    labels = {"embed": "frozen", "head": "sgd", "block": "adamw"}
    adamw = optax.adamw(0.01, weight_decay=0.1)
    twin = optax.partition({"frozen": optax.set_to_zero(), "sgd": optax.sgd(0.3, 0.9), "adamw": adamw}, labels)
    found, _ = run(oc.groups(oc.adamw(0.01, weight_decay=0.1), rules), p)
    wanted, _ = run(twin, p)
    chex.assert_trees_all_close(found, wanted, rtol=1e-5, atol=1e-6)


def test_frozen_leaves_hold_no_state_and_do_not_move():
    p = jax.tree.map(lambda x: x.at[(0,) * x.ndim].set(-0.0), params(jnp.bfloat16))
    tx = oc.groups(recipe(), {"embed/*": oc.FROZEN, "*": {}})
    state = tx.init(p)
    rest = {name: x for name, x in p.items() if name != "embed"}
    sizes = [sum(x.nbytes for x in jax.tree.leaves(oc.without_metrics(s))) for s in (state, recipe().init(rest))]
    assert sizes[0] == sizes[1]
    bad = {**grads(1, p), "embed": {"w": jnp.full((6, 4), jnp.nan, jnp.bfloat16)}}
    updates, _ = tx.update(bad, state, p)
    chex.assert_trees_all_equal(updates["embed"], jax.tree.map(jnp.zeros_like, p["embed"]))
    after, _ = oc.apply(tx, bad, state, p)
    np.testing.assert_array_equal(
        np.asarray(after["embed"]["w"]).view(np.uint16), np.asarray(p["embed"]["w"]).view(np.uint16)
    )
    chex.assert_tree_all_finite(after)
    assert not np.array_equal(after["head"]["kernel"], p["head"]["kernel"])


def test_the_first_rule_that_matches_wins_and_predicates_are_rules():
    rules = [("head/bias", {"learning_rate": 0.0}), (oc.is_matrix, {"learning_rate": 2.0}), ("*", oc.FROZEN)]
    p = params()
    updates, _ = (tx := oc.groups(oc.sgd(1.0), rules)).update(p, tx.init(p), p)
    factors = {"embed": {"w": 2.0}, "block": {"kernel": 2.0, "bias": 0.0}, "head": {"kernel": 2.0, "bias": 0.0}}
    chex.assert_trees_all_equal(updates, jax.tree.map(lambda f, x: -f * x, factors, p))


@pytest.mark.parametrize(
    "rules, message",
    [
        ({"embd/*": {}, "*": {}}, r"rule 'embd/\*': mask 'embd/\*' matches no parameter"),
        ({"*/kernl": {}, "*": {}}, r"matches no parameter; did you mean '.*/kernel'"),
        ([(lambda path, x: x.ndim > 5, {}), ("*", {})], "rule '<lambda>' matches no parameter"),
        ({"*": {}, "embed/*": {}}, r"rule 'embed/\*' is never used; earlier rules take all that it matches: '\*'"),
        ({"block/*": {}, "head/kernel": {}}, r"no rule takes parameter 'embed/w' and 1 more"),
        (
            {"embed/*": {}, "block/*": {}, "head/kernel": {}},
            "no rule takes parameter 'head/bias'; valid: block/\\*, embed/\\*, head/kernel",
        ),
    ],
    ids="typo typo_near predicate shadowed uncovered uncovered_near".split(),
)
def test_every_parameter_is_covered_and_every_rule_used(rules, message):
    with pytest.raises(ValueError, match=message):
        oc.groups(recipe(), rules).init(params())


@pytest.mark.parametrize(
    "rules, message",
    [
        (
            {"*": {"learning_rat": 0.1}},
            r"rule '\*': tx has no number 'learning_rat'; did you mean",
        ),
        ({"*": {"learning_rate": -1}}, r"rule '\*': learning_rate must lie in \[0, inf\), got -1"),
        ({"*": {"learning_rate": oc.constant(1.0)}}, "factor of learning_rate must be a constant"),
        ({"*": {"b1": 2.0}}, "adam.b1 is the decay of means that has no factors"),
        ({"*": "frosen"}, "expected a table of factors, FROZEN or a transformation, got 'frosen'"),
        ({}, "rules must be a table, or a list of pairs"),
        (["*"], "rules must be a table, or a list of pairs"),
    ],
)
def test_rules_are_checked_when_they_are_written(rules, message):
    with pytest.raises(ValueError, match=message):
        oc.groups(recipe(), rules)


def test_a_number_that_all_leaves_share_has_one_factor():
    p = params()
    differs = oc.groups(recipe(), {"embed/*": {"max_norm": 0.5}, "*": {}})
    with pytest.raises(
        ValueError,
        match="clip_by_global_norm: 'max_norm' is one number for all leaves, but 'head/kernel' and 'embed/w'",
    ):
        differs.update(p, differs.init(p), p)
    clip = oc.groups(oc.clip_by_global_norm(1.0), {"*": {"max_norm": 0.5}})
    updates, _ = clip.update(p, clip.init(p), p)
    np.testing.assert_allclose(optax.tree.norm(updates), 0.5, rtol=1e-6)


def test_overrides_and_metrics_have_the_names_of_the_chain():
    p = params()
    tx = oc.chain(all=oc.groups(recipe(), {"head/*": oc.sgd(0.3), **RULES}))
    hyper = {"all.lr.learning_rate": 0.02, "all.sgd.lr.learning_rate": 0.5}
    found, state = run(tx, p, hyper=hyper)
    wanted, _ = run(oc.groups(recipe(rate=0.02), {"head/*": oc.sgd(0.5), **RULES}), p)
    chex.assert_trees_all_equal(found, wanted)
    shown = oc.metrics(state)
    assert shown["all.lr.learning_rate"] == np.float32(0.02) and shown["all.sgd.lr.learning_rate"] == 0.5
    with pytest.raises(ValueError, match="did you mean 'all.sgd.lr.learning_rate'"):
        run(tx, p, hyper={"all.sgd.lr.learning_rat": 0.5})
    with pytest.raises(ValueError, match="groups has no number 'lr.learning_rat'; did you mean 'lr.lea"):
        run(tx.link.links[0][1], p, hyper={"lr.learning_rat": 0.5})


def test_a_technique_in_groups_keeps_its_metrics():
    tx = oc.chain(
        lr=oc.groups(oc.scale_by_learning_rate(oc.linear(0.0, 1.0, 10)), {"embed/*": {"learning_rate": 0.5}, "*": {}})
    )
    p = params()
    state = tx.init(p)
    for step in range(3):
        updates, state = tx.update(p, state, p)
        np.testing.assert_allclose(oc.metrics(state)["lr.learning_rate"], 0.1 * step, rtol=1e-6)
    np.testing.assert_allclose(updates["embed"]["w"], -0.1 * p["embed"]["w"], rtol=1e-6)
    np.testing.assert_allclose(updates["head"]["bias"], -0.2 * p["head"]["bias"], rtol=1e-6)


@pytest.mark.parametrize(
    "wrap",
    [lambda tx: oc.accumulate(tx, 1), oc.guard, optax.apply_if_finite, lambda tx: optax.MultiSteps(tx, 1)],
    ids="accumulate guard apply_if_finite MultiSteps".split(),
)
def test_factors_pass_through_wrappers_on_both_sides(wrap):
    wrap = wrap if wrap is not optax.apply_if_finite else lambda tx: optax.apply_if_finite(tx, 3)
    p = params()
    wanted, _ = run(oc.groups(recipe(), RULES), p)
    around, _ = run(wrap(oc.groups(recipe(), RULES)), p)
    chex.assert_trees_all_close(around, wanted, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("wrap", [lambda tx: oc.accumulate(tx, 1), oc.guard], ids=["accumulate", "guard"])
def test_factors_reach_links_within_a_wrapper(wrap):
    p = params()
    within, _ = run(oc.groups(wrap(recipe()), RULES), p)
    chex.assert_trees_all_close(within, run(oc.groups(recipe(), RULES), p)[0], rtol=1e-6, atol=1e-7)


def test_groups_within_groups_multiply():
    p = params()
    inner = oc.groups(oc.sgd(1.0), {"*/bias": {"learning_rate": 0.5}, "*": {}})
    tx = oc.groups(inner, {"head/*": {"learning_rate": 0.1}, "*": {}})
    updates, _ = tx.update(p, tx.init(p), p)
    factors = {"embed": {"w": 1.0}, "block": {"kernel": 1.0, "bias": 0.5}, "head": {"kernel": 0.1, "bias": 0.05}}
    chex.assert_trees_all_close(updates, jax.tree.map(lambda f, x: -f * x, factors, p), rtol=1e-6)


def test_jit_traces_once_scan_and_a_sweep_over_a_factor():
    p = params()
    tx = oc.groups(recipe(), {"head/*": oc.sgd(0.3), **RULES})
    step = jax.jit(chex.assert_max_traces(n=1)(lambda g, state, p: oc.apply(tx, g, state, p)))
    found, state = p, tx.init(p)
    for seed in range(1, 5):
        found, state = step(grads(seed, p), state, found)
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *(grads(seed, p) for seed in range(1, 5)))
    scanned, _ = jax.lax.scan(lambda c, g: (oc.apply(tx, g, c[1], c[0]), None), (p, tx.init(p)), stacked)
    chex.assert_trees_all_close((found, state), scanned[:2], rtol=1e-5, atol=1e-6)

    def last(factor):
        return run(oc.groups(recipe(), {"embed/*": {"learning_rate": factor}, "*": {}}), p, n=2)[0]["embed"]["w"]

    swept = jax.jit(jax.vmap(last))(jnp.array([0.0, 0.5]))
    chex.assert_trees_all_close(swept, jnp.stack([last(0.0), last(0.5)]), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(swept[0], p["embed"]["w"])


def test_float16_and_bfloat16_parameters_keep_their_dtype_and_float32_state():
    for dtype in (jnp.bfloat16, jnp.float16):
        p = params(dtype)
        tx = oc.groups(recipe(), {"embed/*": oc.FROZEN, "head/*": optax.adam(0.1), "*": {"learning_rate": 0.5}})
        after, state = run(tx, p)
        chex.assert_trees_all_equal_shapes_and_dtypes(after, p)
        assert all(x.dtype in (jnp.float32, jnp.int32) for x in jax.tree.leaves(state))


def test_checkpoints_and_shardings():
    p = params()
    tx = oc.groups(recipe(), {"embed/*": oc.FROZEN, "head/*": oc.sgd(0.3, momentum=0.9), "*": {}})
    after, state = run(tx, p)
    saved, fresh = oc.without_metrics(state), tx.init(p)
    restored = flax.serialization.from_bytes(oc.without_metrics(fresh), flax.serialization.to_bytes(saved))
    again = oc.with_metrics(restored, fresh)
    chex.assert_trees_all_equal(tx.update(p, again, after), tx.update(p, state, after))
    mesh = jax.make_mesh((2,), ("x",), (jax.sharding.AxisType.Auto,))
    placed = jax.device_put(p, jax.NamedSharding(mesh, jax.P("x")))
    layouts = oc.shardings(tx, placed)
    sharded = jax.jit(tx.init, out_shardings=layouts)(placed)
    for x in jax.tree.leaves(sharded):
        assert x.sharding.is_equivalent_to(jax.NamedSharding(mesh, jax.P("x") if x.ndim else jax.P()), x.ndim)
    chex.assert_trees_all_close(sharded, tx.init(p))


def test_nnx_and_equinox_like_trees_step_as_dicts():
    class Layer(NamedTuple):
        kernel: jax.Array
        bias: jax.Array

    rules = {"*kernel": {"learning_rate": 0.1}, "*bias": oc.FROZEN}
    model = nnx.Linear(4, 2, rngs=nnx.Rngs(0))
    p = {"kernel": model.kernel[...], "bias": model.bias[...]}
    tx = oc.groups(oc.adamw(0.01), rules)
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
    x = jax.random.normal(jax.random.key(1), (8, 4))

    @nnx.jit
    def step(model, optimizer):
        optimizer.update(model, nnx.grad(lambda model: jnp.mean(model(x) ** 2))(model))

    tree, trees, state, states = p, Layer(**p), tx.init(p), tx.init(Layer(**p))
    for _ in range(3):
        step(model, optimizer)
        g = jax.grad(lambda p: jnp.mean((x @ p["kernel"] + p["bias"][None]) ** 2))(tree)
        tree, state = oc.apply(tx, g, state, tree)
        trees, states = oc.apply(tx, Layer(**g), states, trees)
    chex.assert_trees_all_equal(trees._asdict(), tree)
    chex.assert_trees_all_close({"kernel": model.kernel[...], "bias": model.bias[...]}, tree, rtol=1e-5, atol=1e-6)


RECIPE = """
[groups]
use = "groups"
tx.adam = { use = "scale_by_adam" }
tx.decay = { use = "add_decayed_weights", weight_decay = 0.1 }
tx.lr = { use = "scale_by_learning_rate", learning_rate = 0.01 }

[groups.rules]
"embed/*" = "frozen"
"head/*" = { use = "sgd", learning_rate = 0.3 }
"*/bias" = { weight_decay = 0 }
"*" = {}
"""


def test_a_table_is_the_groups_that_it_describes():
    by_hand = oc.groups(
        oc.chain(adam=oc.scale_by_adam(), decay=oc.add_decayed_weights(0.1), lr=oc.scale_by_learning_rate(0.01)),
        {"embed/*": oc.FROZEN, "head/*": oc.sgd(0.3), "*/bias": {"weight_decay": 0.0}, "*": {}},
    )
    assert oc.from_config(tomllib.loads(RECIPE)) == oc.chain(groups=by_hand)
    wrong = {"g": {"use": "groups", "tx": {"use": "sgd", "learning_rate": 1}, "rules": {"*": {"use": "sdg"}}}}
    with pytest.raises(
        ValueError, match=r"optimizer.g.rules.\*.use: there is no technique 'sdg'; did you mean .*'sgd'"
    ):
        oc.from_config(wrong)


def test_layerwise_decay_by_depth():
    p = params()
    rules = oc.layerwise_decay(0.5, ["embed/*", "block/*", "head/*"])
    tx = oc.groups(oc.sgd(1.0), rules)
    updates, _ = tx.update(p, tx.init(p), p)
    factors = {"embed": 0.25, "block": 0.5, "head": 1.0}
    chex.assert_trees_all_equal(
        updates, {name: jax.tree.map(lambda x, f=f: -f * x, p[name]) for name, f in factors.items()}
    )


@pytest.mark.parametrize(
    "factor, layers, message",
    [
        (0.0, ["a"], r"factor must lie in \(0, 1\], got 0"),
        (0.5, "a", "a list of patterns, got 0.5, 'a'"),
        (0.5, ["a", "b", "a"], "the layer 'a' is there 2 times"),
    ],
)
def test_layerwise_decay_refuses(factor, layers, message):
    with pytest.raises(ValueError, match=message):
        oc.layerwise_decay(factor, layers)


def test_the_table_shows_what_each_parameter_is_stepped_with():
    rules = {
        "embed/*": oc.FROZEN,
        "head/*": oc.sgd(0.3),
        "*/bias": {"weight_decay": 0.5, "learning_rate": 2.0},
        "*": {},
    }
    tx = oc.groups(oc.adamw(oc.linear(0.0, 1.0, 10), weight_decay=0.1), rules)
    rows = [line.split("  ") for line in oc.group_table(oc.guard(oc.chain(tx)), params()).splitlines()]
    cells = {row[0].strip(): [cell.strip() for cell in row[1:] if cell.strip()] for row in rows}
    assert cells["path"] == ["shape", "group", "learning_rate", "weight_decay"]
    assert cells["embed/w"] == ["(6, 4)", "embed/* (frozen)", "-", "-"]
    assert cells["head/kernel"] == ["(4, 2)", "head/* (sgd)", "0.3", "-"]
    assert cells["block/bias"] == ["(4,)", "*/bias", "2 * linear(start=0, end=1, steps=10)", "0.05"]
    assert cells["block/kernel"] == ["(4, 4)", "*", "linear(start=0, end=1, steps=10)", "0.1"]
    masked = oc.groups(oc.adamw(1.0, mask=oc.is_matrix), {"*": {}})
    assert "head/bias     (2,)    *      1              -" in oc.group_table(masked, params())
    with pytest.raises(ValueError, match="expected a transformation with one `groups` in it, got 0"):
        oc.group_table(oc.sgd(0.1), params())


def test_a_state_of_something_else_is_an_error():
    p = params()
    with pytest.raises(ValueError, match="groups: the state is one with 'step'"):
        oc.groups(recipe(), RULES).update(p, recipe().init(p), p)
