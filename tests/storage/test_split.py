"""A master split into bfloat16 and its missing bits: nothing is lost with 16 of them, and with 8 nothing on average."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optchain as oc
from optchain.storage import chunks
from optchain.storage.rounding import random_bits
from optchain.storage.split import joined, split

EDGES = [0.0, -0.0, 1, -1, 1 + 2**-8, 1 - 2**-9, 2 - 2**-23, 1 + 2**-8 + 2**-16, 1e-42, -1e-45, 3.38e38, 3.4028235e38]


def words(count=1_000_000):
    word = np.random.default_rng(0).integers(0, 2**32, count, dtype=np.uint64).astype(np.uint32)
    x = np.concatenate([word.view(np.float32), np.asarray(EDGES, np.float32)])
    return jnp.asarray(x[np.isfinite(x)])


def bits_of(x):
    return np.asarray(jax.lax.bitcast_convert_type(x, jnp.uint32))


def test_with_16_bits_every_word_comes_back_bit_for_bit():
    x = words()
    x = x[jnp.abs(x) < 3.3895e38]  # above, the nearest bfloat16 is infinite
    p, rest = jax.jit(split, static_argnums=1)(x, jnp.int16)
    np.testing.assert_array_equal(bits_of(jax.jit(joined)(p, rest)), bits_of(x))
    assert float((p != x.astype(jnp.bfloat16)).mean()) < 2e-5  # ties


def test_with_8_bits_the_error_is_below_the_16th_place_and_none_on_average():
    x = words()
    x = x[(jnp.abs(x) < 3.3e38) & (jnp.abs(x) > 1e-37)]
    p, rest = split(x, jnp.int8, random_bits(x.shape, 0, 0, "w"))
    y = joined(p, rest)
    error = np.abs(np.asarray(y, np.float64) / np.asarray(x, np.float64) - 1)
    assert error.max() <= 2.0**-15
    again = split(y, jnp.int8, random_bits(x.shape, 0, 1, "w"))
    np.testing.assert_array_equal(bits_of(joined(*again)), bits_of(y))
    many = jnp.full(2**18, 1 + 2**-17, jnp.float32)
    mean = np.asarray(joined(*split(many, jnp.int8, random_bits(many.shape, 0, 0, "w"))), np.float64).mean()
    np.testing.assert_allclose(mean, 1 + 2**-17, atol=1e-7)


@pytest.mark.parametrize("dtype", [jnp.int16, jnp.int8])
def test_what_is_not_finite_stays_so(dtype):
    x = jnp.asarray([np.nan, np.inf, -np.inf, 3.4028235e38], jnp.float32)
    y = joined(*split(x, dtype, random_bits(x.shape, 0, 0, "w") if dtype == jnp.int8 else None))
    assert not jnp.isfinite(y[:3]).any() and y[1] > 0 > y[2]


@pytest.mark.parametrize("apply", [True, False])
def test_split_is_the_run_with_master_weights_bit_for_bit(apply):
    params = {"w": jax.random.normal(jax.random.key(0), (64, 8)).astype(jnp.bfloat16), "b": jnp.ones(8)}
    one, other = (oc.precision(oc.adamw(1e-4), params=words) for words in ("split", "master"))
    p, s, q, r = params, one.init(params), params, other.init(params)
    assert s["precision"]["rest"]["w"].dtype == jnp.int16
    for seed in range(20):
        grads = jax.tree.map(lambda x, n=seed: jax.random.normal(jax.random.key(n), x.shape), params)
        q, r = oc.apply(other, grads, r, q)
        if apply:
            p, s = oc.apply(one, grads, s, p)
        else:
            updates, s = one.update(grads, s, p)
            p = jax.tree.map(lambda x, u: (x.astype(jnp.float32) + u).astype(x.dtype), p, updates)
        whole = joined(p["w"], s["precision"]["rest"]["w"])
        np.testing.assert_array_equal(whole, r["precision"]["rest"]["w"])


def test_8_bits_follow_a_small_drift():
    params = {"w": jnp.ones((64, 64), jnp.bfloat16)}
    tx = oc.precision(oc.sgd(1e-6), params="split8")
    state = tx.init(params)
    step = jax.jit(lambda s, p: oc.apply(tx, {"w": jnp.ones((64, 64))}, s, p))
    for _ in range(200):
        params, state = step(state, params)
    drift = 1 - float(joined(params["w"], state["precision"]["rest"]["w"]).mean())
    assert abs(drift / 2e-4 - 1) < 0.05
    assert state["precision"]["rest"]["w"].dtype == jnp.int8


@pytest.mark.parametrize("words", ["split", "split8"])
def test_a_large_leaf_is_split_part_by_part_into_the_same_bits(words, monkeypatch):
    params = {"w": jax.random.normal(jax.random.key(0), (96, 33)).astype(jnp.bfloat16)}
    tx = oc.precision(oc.sgd(1e-3), params=words)
    grads = {"w": jax.random.normal(jax.random.key(1), (96, 33))}
    whole = jax.jit(lambda: oc.apply(tx, grads, tx.init(params), params))()
    monkeypatch.setattr(chunks, "CPU", 2**8)
    parts = jax.jit(lambda: oc.apply(tx, grads, tx.init(params), params))()
    np.testing.assert_array_equal(whole[0]["w"], parts[0]["w"])
    np.testing.assert_array_equal(whole[1]["precision"]["rest"]["w"], parts[1]["precision"]["rest"]["w"])


SUFFIX = {"adam": oc.scale_by_adam(), "decay": oc.add_decayed_weights(0.1, mask="v"), "lr": oc.scale(-0.01)}
TWICE = oc.scale_by_rms()
CHAINS = {
    "adamw": oc.chain(**SUFFIX),
    "after a norm": oc.chain(clip=oc.clip_by_global_norm(1.0), rest=oc.chain(**SUFFIX)),
    "a norm last": oc.chain(**SUFFIX, clip=oc.clip_by_global_norm(1e-3)),
    "watched": oc.chain(**SUFFIX, watch=["adam"]),
    "twice": oc.chain(a=TWICE, clip=oc.clip_by_global_norm(1.0), b=TWICE),
}


@pytest.mark.parametrize("name", ["adamw", *(pytest.param(x, marks=pytest.mark.full) for x in list(CHAINS)[1:])])
def test_links_step_a_part_of_a_large_leaf_after_the_other(name, monkeypatch):
    tx = oc.precision(CHAINS[name], params="split8", slots="int8", min_size=1000)
    shapes = {"v": (48, 256), "w": (33, 301), "small": (4, 200), "b": (3,)}
    drawn = lambda i: {k: jax.random.normal(jax.random.key(i), n).astype(jnp.bfloat16) for k, n in shapes.items()}  # noqa: E731

    def run():
        params, state = drawn(0), tx.init(drawn(0))
        step = jax.jit(lambda g, s, p: oc.apply(tx, g, s, p, factors={"*.eps*": {"w": 2.0}}))
        for i in range(3):
            params, state = step(drawn(i + 1), state, params)
        return params, state

    whole = run()
    monkeypatch.setattr(chunks, "CPU", 2**10)
    parts = run()
    for x, y in zip(*map(jax.tree.leaves, (whole, parts)), strict=True):
        x, y = np.asarray(x, np.float32), np.asarray(y, np.float32)
        assert np.mean(x != y) < 1e-2 or np.allclose(x, y, rtol=1e-5)  # where another fusion rounds another way


@pytest.mark.parametrize("dtype", [jnp.float32, pytest.param(jnp.bfloat16, marks=pytest.mark.full)])
def test_parameters_slots_and_updates_are_never_whole_in_float32(dtype):
    tx = oc.precision(oc.adamw(1e-3), params="split", slots="int8")

    def temporaries(size):
        params, grads = ({"w": jax.ShapeDtypeStruct((size, 1024), x)} for x in (jnp.bfloat16, dtype))
        step = jax.jit(lambda params, state, grads: oc.apply(tx, grads, state, params), donate_argnums=(0, 1))
        compiled = step.lower(params, jax.eval_shape(tx.init, params), grads).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    # Parts are as large in any leaf. On a CPU one array in bfloat16 is copied, as the words that it is sliced as.
    assert temporaries(2048) - temporaries(1024) < 2.2 * 2**20
