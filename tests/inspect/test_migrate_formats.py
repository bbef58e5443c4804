"""States carried over to another format of slots or masters: as exact as the coarser of both, and 0 stays 0."""

import io

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optchain as oc
from optchain.storage.split import joined

PARAMS = {"w": jnp.ones((8, 129)), "deep": {"kernel": jnp.ones((3, 4, 40)), "bias": jnp.ones(5)}}
SLOTS = ["float32", "bfloat16", "int16", "int8", "int4", {"mu": "bfloat16", "nu": "int8"}]
# Of the largest entry of its block an entry is off by at most a level's step.
ERRORS = {"float32": 0.0, "bfloat16": 2.0**-8, "int16": 1e-4, "int8": 0.02, "int4": 0.3}


def adam(slots):
    return oc.precision(oc.chain(adam=oc.scale_by_adam(), lr=oc.scale(-0.1)), slots=slots, min_size=100)


def gradients(params, seed=0):
    g = jax.tree.map(lambda p: jax.random.normal(jax.random.key(seed), p.shape), params)
    return jax.tree.map(lambda x: x.at[0].set(0), g)


def trained(tx, params, steps=2):
    state = tx.init(params)
    for seed in range(steps):
        params, state = jax.jit(lambda g, s, p: oc.apply(tx, g, s, p))(gradients(params, seed), state, params)
    return params, state


def slots_of(state, name):
    """One slot of Adam as a float32 array for each parameter, and what of it is stored."""
    return (state["inner"] if "inner" in state else state)["links"]["adam"]["scale_by_adam"][name]


def through_npz(state):
    file = io.BytesIO()
    np.savez(file, **{jax.tree_util.keystr(path): x for path, x in jax.tree.leaves_with_path(state)})
    file.seek(0)
    with np.load(file) as arrays:
        return dict(arrays)


@pytest.mark.parametrize("slots", SLOTS, ids=str)
def test_from_float32_and_back_is_within_the_error_of_the_code_and_exact_for_zeros(slots):
    _, exact = trained(adam("float32"), PARAMS)
    coded, there = oc.migrate_state(exact, adam(slots), PARAMS)
    fresh = adam(slots).init(PARAMS)
    assert jax.tree.structure(coded) == jax.tree.structure(fresh)
    assert [x.dtype for x in jax.tree.leaves(coded)] == [x.dtype for x in jax.tree.leaves(fresh)]
    back, report = oc.migrate_state(coded, adam("float32"), PARAMS)
    assert report.changed == (slots != "float32") and "adam" in report.kept
    words = slots if isinstance(slots, dict) else {"mu": slots, "nu": slots}
    for name in ("mu", "nu") if slots != "float32" else ():
        assert (f"adam.{name}", words[name], "float32") in report.converted
        assert (f"adam.{name}", "float32", words[name]) in there.converted
    for name, word in words.items():
        for x, y in zip(*(jax.tree.leaves(slots_of(state, name)) for state in (exact, back)), strict=True):
            x, y = np.asarray(x), np.asarray(y)
            assert (y[x == 0] == 0).all() and y.dtype == np.float32
            assert (x[0] == 0).all() and (np.abs(x - y) <= ERRORS[word] * np.abs(x).max()).all()
            assert (y == x).all() == (slots == "float32" or (x.size < 100 and slots != "bfloat16"))


@pytest.mark.parametrize("restored", [through_npz, lambda x: flax.serialization.msgpack_restore(_bytes(x))])
@pytest.mark.parametrize(
    ("before", "after"), [("int8", "int4"), ("int4", "int8"), ("bfloat16", "int8"), ("int16", "float32")]
)
def test_a_saved_state_is_restored_in_any_other_format(before, after, restored):
    params, state = trained(adam(before), PARAMS)
    new, _ = oc.migrate_state(restored(state), adam(after), params)
    exact = trained(adam("float32"), PARAMS)[0]
    step = lambda tx, state: oc.apply(tx, gradients(params, 7), state, params)[0]  # noqa: E731
    kept, moved = step(adam(before), state), step(adam(after), new)
    far = lambda a, b: float(sum(jnp.abs(x - y).sum() for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=True)))  # noqa: E731
    assert far(kept, moved) < 0.3 * far(moved, exact)


def _bytes(state):
    return flax.serialization.to_bytes(state)


def test_a_table_that_grows_keeps_its_codes_and_not_while_it_changes_the_format():
    params, larger = {"w": jnp.ones((8, 128))}, {"w": jnp.ones((10, 128))}
    _, state = trained(adam("int8"), params)
    new, report = oc.migrate_state(state, adam("int8"), larger)
    np.testing.assert_array_equal(slots_of(new, "mu")["codes"]["w"][:8], slots_of(state, "mu")["codes"]["w"])
    assert report.grown and not report.converted
    with pytest.raises(ValueError, match=r"adam.mu/w is int8\[8, 128\], which is not a slot of shape \[10, 128\]"):
        oc.migrate_state(state, adam("float32"), larger)


@pytest.mark.parametrize("after", ["master", "split", "split8", "kahan"])
@pytest.mark.parametrize("before", ["master", "split", "kahan"])
def test_masters_and_what_rounding_left_become_one_another(before, after):
    made = lambda word: oc.precision(oc.sgd(1e-3), params=word)  # noqa: E731
    params, state = trained(made(before), {"w": jnp.ones((16, 16), jnp.bfloat16), "b": jnp.ones(3)}, 5)
    new, report = oc.migrate_state(state, made(after), params)
    (x, y), p = (s["precision"]["rest"]["w"] for s in (state, new)), params["w"]

    def whole(word, rest):
        return rest if word == "master" else joined(p, rest) if "split" in word else p.astype("float32") + rest

    assert jax.tree.structure(new) == jax.tree.structure(made(after).init(params))
    error = {"master": 0, "split": 0, "split8": 2.0**-15, "kahan": 2.0**-15}[after]
    np.testing.assert_allclose(whole(after, y), whole(before, x), rtol=error)
    assert report.converted == (() if before == after else (("(precision).rest", before, after),))
