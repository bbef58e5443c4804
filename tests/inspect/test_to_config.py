"""Chains as plain data, and back."""

import functools
import inspect
import json
import tomllib

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tomli_w
from techniques import TECHNIQUES, build, kind, tree, updated
from tiers import one_of_each

import optchain as oc
from optchain.core.registry import MASK_SCHEDULE, SCHEDULE, registered

MAKERS = {name: entry for name, entry in registered().items() if entry.is_builtin}
LENGTHS = {"start": 0.1, "end": 0.01, "steps": 10, "warmup": 3, "total": 20, "decay": 5}
SCHEDULES = {name: entry for name, entry in MAKERS.items() if entry.kind == SCHEDULE}


def written(tx, **options):
    """The tables of a transformation as they come back from TOML, which has its own order."""
    table = oc.to_config(tx, **options)
    read = tomllib.loads(tomli_w.dumps(table))
    assert read == table == json.loads(json.dumps(table))
    return read


def require_round_trip(tx):
    built = oc.from_config(written(tx))
    # What is neither wrapper nor chain comes back as a chain of it.
    assert built == tx or built == oc.chain(tx)
    assert str(built) == str(tx)
    assert oc.to_config(oc.from_config(oc.to_config(built))) == oc.to_config(built)
    return built


@pytest.mark.parametrize("name", TECHNIQUES)
def test_every_technique_comes_back(name):
    require_round_trip(build(name))


@pytest.mark.parametrize("name", one_of_each(TECHNIQUES, kind))
def test_what_comes_back_steps_the_same(name):
    tx = build(name)
    built, params = oc.from_config(written(tx)), tree(0)

    def two_steps(tx, params, grads):
        step = functools.partial(updated, tx)
        first, state = step(grads, tx.init(params), params)
        return first, step(jax.tree.map(jnp.sin, grads), state, params)[0]

    ends = [jax.jit(functools.partial(two_steps, x))(params, tree(1)) for x in (tx, built)]
    chex.assert_trees_all_equal(*ends)


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_comes_back(name):
    make, example = SCHEDULES[name].make, SCHEDULES[name].example
    required = [key for key, p in inspect.signature(make).parameters.items() if p.default is p.empty]
    schedule = make(
        **(dict.fromkeys(required, 0.5) | {key: x for key, x in LENGTHS.items() if key in required} | example)
    )
    built = require_round_trip(oc.chain(lr=oc.scale_by_learning_rate(schedule)))
    assert built.link.links[0][1].link.rule.learning_rate == schedule


MASK_SCHEDULES = [oc.gradual(1, 9, 2), oc.one_shot(3), oc.regrow(2, fraction=oc.cosine(0.3, 7)), oc.straight_through()]


@pytest.mark.parametrize("schedule", MASK_SCHEDULES, ids=lambda x: type(x).__name__)
def test_every_schedule_of_masks_comes_back(schedule):
    assert len(MASK_SCHEDULES) == sum(entry.kind == MASK_SCHEDULE for entry in MAKERS.values())
    require_round_trip(oc.sparse(oc.scale(-0.1), 0.5, schedule=schedule, structure=[2, 2]))


def test_a_chain_is_the_table_of_its_links():
    tx = oc.chain(
        clip=oc.clip_by_global_norm(1),
        inner=oc.chain(adam=oc.scale_by_adam(b2=np.float32(0.5)), watch=True),
        decay=oc.add_decayed_weights(jnp.asarray(0.25), mask=["kernel", "deep/*"]),
        preset=oc.adamw(oc.warmup_cosine(0.1, 5, 20), weight_decay=0.1),
        lr=oc.scale_by_learning_rate(oc.join_schedules([oc.linear(0, 0.5, 5), oc.constant(0.5)], [5])),
        watch=["clip"],
    )
    table = written(tx)
    assert table == {
        "watch": ["clip"],
        "clip": {"use": "clip_by_global_norm", "max_norm": 1.0},
        "inner": {"watch": ["adam"], "adam": {"use": "scale_by_adam", "b2": 0.5}},
        "decay": {"use": "add_decayed_weights", "weight_decay": 0.25, "mask": ["kernel", "deep/*"]},
        "preset": {
            "use": "adamw",
            "learning_rate": {"use": "warmup_cosine", "peak": 0.1, "warmup": 5.0, "total": 20.0},
            "weight_decay": 0.1,
        },
        "lr": {
            "use": "scale_by_learning_rate",
            "learning_rate": {
                "use": "join_schedules",
                "schedules": [
                    {"use": "linear", "start": 0.0, "end": 0.5, "steps": 5.0},
                    {"use": "constant", "value": 0.5},
                ],
                "boundaries": [5.0],
            },
        },
    }
    assert str(oc.from_config(table)) == str(tx)


CHAIN = oc.chain(adam=oc.scale_by_adam(), lr=oc.scale(-0.1))
WRAPPED = {
    "wrappers": oc.guard(oc.accumulate(oc.precision(CHAIN, params="master"), 2), patience=3),
    "declared": oc.over_layers(oc.guard(oc.as_matrices(oc.muon(0.1), {"qkv": "d (3 k) -> 3 d k"})), {"blocks/*": 1}),
    "groups": oc.groups(CHAIN, {"bias": {"step_size": 0.5}, "embed": oc.FROZEN, "head": CHAIN, "*": {}}),
    "order": oc.groups(CHAIN, {"kernel": {"step_size": 0.5}, "*": oc.FROZEN, "deep/*": CHAIN}),
    "pairs": oc.groups(CHAIN, [[["bias", "scale"], {"step_size": 0.5}], [oc.is_kernel, {}], ["*", oc.FROZEN]]),
    "graft": oc.graft(CHAIN, oc.guard(CHAIN)),
    "rows": oc.rows(oc.adamw(1e-3), tables=["embed"]),
    "mask": oc.add_decayed_weights(0.1, oc.Without(oc.is_matrix, "embed*")),
    "tree": oc.add_decayed_weights(0.1, {"a": True, "b": {"c": False}}),
    "use": oc.chain(use=oc.scale(1.0)),
    "around_use": oc.guard(oc.chain(use=oc.scale(1.0))),
    "same": oc.guard(oc.as_matrices(oc.scale(1.0), {})),
}


@pytest.mark.parametrize("tx", WRAPPED.values(), ids=WRAPPED)
def test_what_is_wrapped_comes_back(tx):
    require_round_trip(tx)


def test_a_function_that_returns_what_it_was_given_is_remembered_apart():
    inner = oc.guard(oc.scale(1.0))
    declared = oc.as_matrices(inner, {})
    assert declared == inner and oc.to_config(inner)["use"] == "guard"
    assert oc.to_config(declared) == {"use": "as_matrices", "tx": oc.to_config(inner), "views": {}}


def test_equal_arguments_of_other_types_are_written():
    assert oc.to_config(oc.scale_by_adam(b1=0.9, b2=jnp.float32(0.999)))["b2"] == float(jnp.float32(0.999))
    assert "b1" not in oc.to_config(oc.scale_by_adam(b1=0.9))


def closure(x):
    return lambda path, p: x


KEPT = oc.guard(oc.scale(1.0))
ERRORS = {
    "lambda": (oc.add_decayed_weights(0.1, mask=lambda path, p: True), r"x.mask: the function <lambda> has no place"),
    "closure": (oc.adamw(0.1, mask=closure(True)), r"x.mask: the function <lambda> has no place; define it in a file"),
    "rate": (oc.scale(lambda step: 0.1), "x.step_size: the function <lambda> has no place"),
    "optax": (oc.guard(optax.adam(0.1)), "x.tx: optax.chain is not a transformation of optchain .*; define it in a"),
    "array": (
        oc.mask_updates({"w": jnp.ones(3, bool)}),
        r"x.where.w: an array of shape \(3,\) has no place in a table; give a number",
    ),
    "key": (oc.add_noise(0.1, 0.5, key=jax.random.key(0)), "x.key: a key .*; give the seed as a whole number"),
    "none": (oc.sparse(oc.scale(1.0), 0.5, mask=None), "x.mask: None differs from the default here"),
    "names": (oc.add_decayed_weights(0.1, {0: True, 1: False}), "x.mask: the key 0 is not a text"),
    "use": (oc.add_decayed_weights(0.1, {"use": True}), "x.mask.use: a key called `use`"),
    "link": (oc.groups(KEPT, {"*": oc.chain(use=KEPT)}), r"x.rules.\*.use: a chain in .*`use`"),
    "empty": (oc.chain(), "x: the chain has no link"),
}


@pytest.mark.parametrize("tx, message", ERRORS.values(), ids=ERRORS)
def test_what_has_no_place_is_an_error(tx, message):
    with pytest.raises(ValueError, match=f"optimizer.a.{message}"):
        oc.to_config(oc.chain(a=oc.chain(x=tx)))


def test_traced_numbers_are_an_error():
    with pytest.raises(ValueError, match="optimizer.step_size: a traced value has no number yet"):
        jax.jit(lambda x: oc.to_config(oc.scale(x)) and x)(1.0)


def test_a_place_may_be_given_for_a_transformation_of_optax():
    made, chosen = optax.scale(-1.0), closure(True)
    places = {id(made): "mine.py:made", id(chosen): "mine.py:chosen"}
    table = written(oc.chain(a=made, b=oc.add_decayed_weights(0.1, chosen)), place=lambda x: places.get(id(x)))
    assert table["a"] == {"use": "mine.py:made"} and table["b"]["mask"] == "mine.py:chosen"


def test_rules_for_several_patterns_are_written_as_pairs():
    tx = oc.groups(oc.scale(1.0), {("kernel", "bias"): {"step_size": 0.5}, "*": {}})
    table = written(tx)
    assert table["rules"] == [[["kernel", "bias"], {"step_size": 0.5}], ["*", {}]]
    assert str(oc.from_config(table)) == str(tx)
