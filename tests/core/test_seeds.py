"""Seeds: whole numbers and keys, traced or not; each member of a vmapped ensemble draws its own numbers."""

import copy
import inspect
import itertools
import pickle

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from techniques import TECHNIQUES
from tiers import one_of_each

import optchain as oc
from optchain.core.seeds import key_of, words_of
from optchain.storage.rounding import random_bits

MATRIX = {"kernel": jax.random.normal(jax.random.key(1), (6, 4))}
# Five tasks, of which some are in conflict.
TASKS = optax.stateless(
    lambda updates, params: jax.tree.map(
        lambda g: jax.random.normal(jax.random.key(0), (5, *g.shape), g.dtype), updates
    )
)
DRAWING = {
    "add_noise": lambda seed: oc.add_noise(1.0, 0.5, key=seed),
    "keep_random": lambda seed: oc.keep_random(0.5, seed=seed),
    "differentially_private_aggregate": lambda seed: oc.differentially_private_aggregate(1.0, 1.0, key=seed),
    "differentially_private_accumulate": lambda seed: oc.differentially_private_accumulate(
        oc.scale(1.0), 1, 1.0, 1.0, key=seed
    ),
    "dpsgd": lambda seed: oc.dpsgd(0.1, l2_norm_clip=1.0, noise_multiplier=1.0, seed=seed),
    "scale_by_dion": lambda seed: oc.scale_by_dion(rank=2, seed=seed),
    "scale_by_kron": lambda seed: oc.scale_by_kron(seed=seed),
    "scale_by_apollo": lambda seed: oc.scale_by_apollo(rank=2, seed=seed),
    "dion": lambda seed: oc.dion(0.1, rank=2, seed=seed),
    "kron": lambda seed: oc.kron(0.1, seed=seed),
    "delayed": lambda seed: oc.delayed(oc.sgd(0.1), 3, uniform=True, seed=seed),
    "precision": lambda seed: oc.precision(oc.adam(0.013), params="stochastic", slots="bfloat16", seed=seed),
    "random_k_mean": lambda seed: oc.random_k_mean(0.5, seed=seed),
    "qsgd_mean": lambda seed: oc.qsgd_mean(bits=4, seed=seed),
    "powersgd_mean": lambda seed: oc.powersgd_mean(rank=1, seed=seed),
    "sparse": lambda seed: oc.sparse(oc.sgd(0.1), 0.5, score="random", seed=seed),
    "pcgrad": lambda seed: oc.chain(tasks=TASKS, pcgrad=oc.pcgrad(seed=seed)),
    "random_task_weights": lambda seed: oc.chain(tasks=TASKS, weights=oc.random_task_weights(seed=seed)),
    "client_private_mean": lambda seed: oc.client_private_mean(1.0, 1.0, key=seed),
    "keep_params_spectral_norm": lambda seed: oc.keep_params_spectral_norm(0.5, steps=1, seed=seed),
}
# What they draw is what the technique draws that they consist of.
PRESETS = {"dpsgd": "differentially_private_aggregate", "dion": "scale_by_dion", "kron": "scale_by_kron"}
SEEDS = {
    "whole numbers": lambda: jnp.arange(3),
    "keys": lambda: jax.random.split(jax.random.key(7), 3),
    "data of keys": lambda: jax.random.split(jax.random.PRNGKey(7), 3),
}


def stepped(name, seed):
    """The parameters after two steps, the first of which some techniques only look at; after more where few numbers
    are drawn in each."""
    params = jax.tree.map(lambda x: x.astype(jnp.bfloat16), MATRIX) if name == "precision" else MATRIX
    tx = DRAWING[name](seed)
    state = tx.init(params)
    for _ in range(8 if name == "delayed" else 2):
        params, state = oc.apply(tx, params, state, params, client_weights=None)
    return params["kernel"].astype(jnp.float32)


def technique_of(case):
    return PRESETS.get(case[0], case[0])


def test_all_that_take_a_seed_are_here():
    named = {name for name, make in TECHNIQUES.items() if {"seed", "key"} & {*inspect.signature(make).parameters}}
    assert named == set(DRAWING)


@pytest.mark.parametrize(
    "name, kind", one_of_each(itertools.product(DRAWING, ["keys", "whole numbers", "data of keys"]), technique_of)
)
def test_each_member_of_an_ensemble_draws_its_own(name, kind):
    seeds = SEEDS[kind]()
    members = jax.jit(jax.vmap(lambda seed: stepped(name, seed)))(seeds)
    member = jax.jit(lambda seed: stepped(name, seed))(seeds[1])
    chex.assert_trees_all_close(members[1], member, rtol=1e-5, atol=1e-5)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(members[a] - members[b]).max() > 1e-4


@pytest.mark.parametrize("name", ["add_noise", "differentially_private_aggregate"])
def test_a_traced_number_is_the_number(name):
    chex.assert_trees_all_close(jax.jit(lambda seed: stepped(name, seed))(7), stepped(name, 7), rtol=1e-6)


@pytest.mark.parametrize("name", DRAWING)
@pytest.mark.parametrize("seed", [1.5, True, "a", None, jnp.ones(3), jax.random.split(jax.random.key(0))], ids=str)
def test_what_is_no_seed_is_an_error(name, seed):
    argument = "key" if name.startswith(("add_noise", "differentially_private", "dpsgd", "client_private")) else "seed"
    with pytest.raises(ValueError, match=f"{argument} must be a whole number or a key of jax.random, got"):
        DRAWING[name](seed)


def test_words_and_keys_of_seeds():
    key = jax.random.key(7)
    for seed in (7, jnp.int32(7), np.uint32(7), key, jax.random.PRNGKey(7)):
        np.testing.assert_array_equal(jax.random.key_data(key_of(seed)), jax.random.key_data(key))
    assert [int(x) for x in words_of(-1)] == [2**32 - 1] == [int(x) for x in words_of(jnp.int32(-1))]
    assert [int(x) for x in words_of(5 + 2**33)] == [5, 2]  # no two seeds of a machine's clock are one
    np.testing.assert_array_equal(words_of(key), jax.random.key_data(key))
    other = random_bits((9,), 7 + 2**32, 1, "w")
    assert (random_bits((9,), 7, 1, "w") != other).any() and (random_bits((9,), key, 1, "w") != other).any()


def test_a_transformation_with_a_key_prints_compares_and_is_copied():
    tx = oc.chain(noise=oc.add_noise(1.0, 0.5, key=jax.random.key(7)))
    assert "key=key<fry>[]" in str(tx)
    assert copy.deepcopy(tx) == tx == oc.chain(noise=oc.add_noise(1.0, 0.5, key=jax.random.key(7)))
    assert tx != oc.chain(noise=oc.add_noise(1.0, 0.5, key=jax.random.key(8)))
    data = oc.add_noise(1.0, 0.5, key=jax.random.PRNGKey(7))
    assert pickle.loads(pickle.dumps(data)) == data


def test_a_rule_with_a_seed_is_an_argument_of_a_compiled_function():
    rule = oc.add_noise(1.0, 0.5, key=7).link.rule
    assert [float(x) for x in jax.tree.leaves(rule)] == [1.0, 0.5, 7.0]
    g = jnp.ones(5)
    found, _ = jax.jit(lambda rule: rule.update(g, (), None, jnp.float32(1), "w"))(rule)
    np.testing.assert_allclose(found, rule.update(g, (), None, jnp.float32(1), "w")[0], rtol=1e-6)
