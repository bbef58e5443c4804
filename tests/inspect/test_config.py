"""Chains from plain data."""

import tomllib

import chex
import jax
import jax.numpy as jnp
import pytest
from techniques import REGISTERED, TECHNIQUES, tree

import optchain as oc

RECIPE = """
watch = ["clip"]

[clip]
use = "clip_by_global_norm"
max_norm = 1

[sparse]
use = "sparse_update"
lazy = true
tx = { use = "scale_by_rms", decay = { use = "linear", start = 0.5, end = 0.9, steps = 10 } }

[inner.belief]
use = "optax.scale_by_belief"

[inner.decay]
use = "add_decayed_weights"
weight_decay = 0.1
mask = ["kernel", "deep/*"]

[lr]
use = "join_schedules"
schedules = [{ use = "linear", start = 0.0, end = 0.1, steps = 5 }, { use = "cosine", start = 0.1, steps = 20 }]
boundaries = [5]
"""


def test_a_table_is_the_chain_that_it_describes():
    import optax

    by_hand = oc.chain(
        clip=oc.clip_by_global_norm(1.0),
        sparse=oc.sparse_update(oc.scale_by_rms(oc.linear(0.5, 0.9, 10)), lazy=True),
        inner=oc.chain(belief=optax.scale_by_belief(), decay=oc.add_decayed_weights(0.1, ["kernel", "deep/*"])),
        lr=oc.scale_by_learning_rate(oc.join_schedules([oc.linear(0.0, 0.1, 5), oc.cosine(0.1, 20)], [5])),
        watch=["clip"],
    )
    built = oc.from_config(tomllib.loads(RECIPE))
    assert str(built) == str(by_hand)
    ends = []
    for tx in (built, by_hand):
        params, state = tree(0), tx.init(tree(0))
        for seed in range(8):
            params, state = oc.apply(tx, tree(seed), state, params)
        ends.append((params, state))
    chex.assert_trees_all_equal(*ends)


@pytest.mark.parametrize("name", [name for name in TECHNIQUES if "tx" not in REGISTERED[name].example])
def test_every_technique_is_found_by_name(name):
    built = oc.from_config({"link": {"use": name, **REGISTERED[name].example}})
    assert built == oc.chain(link=TECHNIQUES[name](**REGISTERED[name].example))


def test_what_a_wrapper_stands_around_is_a_technique_or_a_chain():
    adam, lr = {"use": "scale_by_adam"}, {"use": "scale", "step_size": -0.1}
    one = oc.from_config({"g": {"use": "guard", "patience": 3, "tx": {"use": "accumulate", "every": 2, "tx": adam}}})
    assert one == oc.chain(g=oc.guard(oc.accumulate(oc.scale_by_adam(), 2), patience=3))
    two = oc.from_config({"g": {"use": "guard", "tx": {"adam": adam, "lr": lr}}})
    assert two == oc.chain(g=oc.guard(oc.chain(adam=oc.scale_by_adam(), lr=oc.scale(-0.1))))


def test_a_technique_may_stand_outermost():
    adam, lr = {"use": "scale_by_adam"}, {"use": "scale", "step_size": -0.1}
    built = oc.from_config({"use": "precision", "params": "master", "tx": {"adam": adam, "lr": lr}})
    assert built == oc.precision(oc.chain(adam=oc.scale_by_adam(), lr=oc.scale(-0.1)), params="master")
    params = {"w": jnp.ones(3, jnp.bfloat16)}
    # Within a chain it would see float32 parameters, and keep no master of them.
    assert built.init(params)["precision"]["rest"]["w"].dtype == jnp.float32
    assert oc.from_config({"use": "adamw", "learning_rate": 0.1}) == oc.adamw(0.1)


STALE = """
use = "delayed"
delay = [1, 4]
uniform = true
tx.compensate = { use = "compensate_delay", strength = 0.1 }
tx.slow = { use = "scale_by_staleness" }
tx.sgd = { use = "sgd", learning_rate = 0.05, momentum = 0.9 }
"""


def test_stale_gradients_stand_outermost():
    links = {"compensate": oc.compensate_delay(0.1), "slow": oc.scale_by_staleness(), "sgd": oc.sgd(0.05, momentum=0.9)}
    by_hand = oc.delayed(oc.chain(**links), [1, 4], uniform=True)
    built = oc.from_config(tomllib.loads(STALE))
    assert str(built) == str(by_hand) and oc.from_config(oc.to_config(built)) == built
    ends = []
    for tx in (built, by_hand):
        params, state = tree(0), tx.init(tree(0))
        for seed in range(6):
            params, state = oc.apply(tx, tree(seed), state, params)
        ends.append((params, state))
    chex.assert_trees_all_equal(*ends)
    assert oc.metrics(ends[0][1])["delayed.taken"] > 0


@pytest.mark.parametrize(
    "table, names",
    [
        ({"use": "scale_by_adam"}, {"step", "scale_by_adam.b1"}),
        ({"use": "optax.adabelief", "learning_rate": 0.1}, {"step"}),
        ({"use": "cosine", "start": 0.1, "steps": 5}, {"step", "scale_by_learning_rate.learning_rate"}),
    ],
)
def test_what_is_neither_wrapper_nor_chain_becomes_a_chain_of_one(table, names):
    assert names <= set(oc.metrics(oc.from_config(table).init({"w": jnp.ones(3)})))


@pytest.mark.parametrize(
    "table, message",
    [
        ({}, "optimizer: the chain has no link"),
        ({"use": "precisoin"}, "optimizer.use: there is no technique 'precisoin'; did you mean 'precision'"),
        ({"use": "guard", "tx": {"adam": {"use": "adm"}}}, "optimizer.tx.adam.use: there is no technique 'adm'"),
        (
            {"use": "precision", "bits": 3, "tx": {"use": "scale_by_adam"}},
            "optimizer.bits: precision has no such argument",
        ),
        (3, "optimizer: expected a table of links, got 3"),
        ({"adam": 3}, 'optimizer.adam: expected a table with `use = "technique"`, got 3'),
        ({"adam": {"b1": 0.9}}, "optimizer.adam: expected a table with `use"),
        ({"adam": {"use": "scale_by_adm"}}, "optimizer.adam.use: .*'scale_by_adm'; did you mean 'scale_by_adam'"),
        ({"a": {"use": "optax.adabelif"}}, "optimizer.a.use: .*did you mean 'adabelief'"),
        ({"a": {"use": "chain"}}, "optimizer.a: the chain has no link"),
        (
            {"adam": {"use": "scale_by_adam", "b3": 1}},
            "optimizer.adam.b3: scale_by_adam has no such argument; valid: b1",
        ),
        ({"adam": {"use": "scale_by_adam", "b1": 2}}, r"optimizer.adam: scale_by_adam: b1 must lie in \[0, 1\), got 2"),
        ({"a": {"use": "clip"}}, "optimizer.a: clip: missing a required argument: 'max_delta'"),
        (
            {"lr": {"use": "scale", "step_size": {"use": "cosin"}}},
            "optimizer.lr.step_size.use: .*did you mean 'cosine'",
        ),
        ({"i": {"a": {"use": "adm"}}}, "optimizer.i.a.use: there is no technique 'adm'"),
        ({"A": {"use": "scale_by_adam"}}, "optimizer: 'A' is not a valid link name"),
        ({"adam": {"use": "scale_by_adam"}, "watch": ["adm"]}, "optimizer: watch: no link 'adm'; did you mean 'adam'"),
        ({"a": {"use": "optax.scale_by_adam", "b3": 1}}, "optimizer.a.b3: optax.scale_by_adam has no such argument"),
    ],
)
def test_errors_begin_with_the_dotted_path(table, message):
    with pytest.raises(ValueError, match=message):
        oc.from_config(table)


def test_stacked_numbers_print():
    printed = []
    jax.vmap(lambda x: printed.append(str(oc.scale(x))) or x)(jnp.ones(2))
    assert "traced" in printed[0]
    assert "float32[2]" in str(jax.tree.map(lambda x: jnp.full(2, x), oc.linear(0.1, 0.2, 3)))
