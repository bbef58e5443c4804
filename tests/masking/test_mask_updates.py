import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import run
from recorded_gradients import drawn
from techniques import tree

import optchain as oc

MASKS = jax.tree.map(lambda x: x > 0, tree(7))


def outside(x, mask):
    return np.asarray(x)[~np.asarray(mask)]


def test_zeroes_what_a_tree_masks_and_nothing_else():
    updates, _ = oc.mask_updates(MASKS).update(tree(1), oc.mask_updates(MASKS).init(tree(0)))
    wanted = jax.tree.map(lambda m, g: np.where(m, g, 0), MASKS, tree(1))
    chex.assert_trees_all_equal(updates, wanted)


def test_finds_masks_by_path_whatever_the_containers():
    class Other(dict):
        pass

    jax.tree_util.register_pytree_with_keys(
        Other,
        lambda x: ([(jax.tree_util.GetAttrKey(key), x[key]) for key in sorted(x)], tuple(sorted(x))),
        lambda keys, values: Other(zip(keys, values, strict=True)),
    )
    given = Other({name: Other(x) if isinstance(x, dict) else x for name, x in MASKS.items()})
    a, b = (oc.mask_updates(masks).update(tree(1), oc.mask_updates(masks).init(tree(0)))[0] for masks in (given, MASKS))
    chex.assert_trees_all_equal(a, b)


@pytest.mark.parametrize("seed", range(3))
def test_an_indicator_sees_step_path_gradient_and_parameter(seed):
    seen, given = set(), drawn(seed, 6)

    def indicator(step, path, g, p):
        seen.add(path)
        return (g * p > 0) & (step % 2 == 0) & (path == "w")

    ours = run(oc.mask_updates(indicator), given)
    p = {name: np.asarray(x) for name, x in given.params.items()}
    for i in range(6):
        u = np.where((given.grads["w"][i] * p["w"] > 0) & (i % 2 == 0), given.grads["w"][i], 0)
        np.testing.assert_array_equal(ours.updates["w"][i], u)
        assert not ours.updates["b"][i].any()
        p["w"] = p["w"] + u
    assert seen == {"w", "b"}


def test_selects_and_does_not_multiply():
    g = {"w": jnp.array([jnp.nan, jnp.inf, 1.0])}
    u, _ = oc.mask_updates({"w": jnp.array([False, False, True])}).update(g, oc.mask_updates(MASKS).init({}))
    assert u["w"].tolist() == [0, 0, 1]


def test_is_a_mask_of_a_link_after_momentum():
    """Momentum goes on behind the mask, and a later link may still move what it zeroes."""
    tx = oc.chain(oc.trace(0.9), oc.mask_updates(MASKS), oc.scale(-0.1))
    params, state = tree(0), tx.init(tree(0))
    for seed in range(3):
        params, state = oc.apply(tx, tree(seed), state, params)
    for p, start, mask in zip(*map(jax.tree.leaves, (params, tree(0), MASKS)), strict=True):
        np.testing.assert_array_equal(outside(p, mask), outside(start, mask))
    assert all(x.all() for x in jax.tree.leaves(jax.tree.map(lambda x: x != 0, state["links"]["trace"]["trace"])))


@pytest.mark.parametrize(
    "where, message",
    [
        ({"kernle": jnp.ones((2, 2), bool)}, "no leaf 'kernel'; did you mean 'kernle'"),
        ({"kernel": jnp.ones(2, bool)}, r"leaf 'kernel': the indicator gives bool\(2,\), expected bool\(2, 2\)"),
        ({"kernel": jnp.ones((2, 2))}, r"gives float32\(2, 2\), expected bool\(2, 2\)"),
        (lambda step, path, g, p: True, r"gives bool\(\), expected bool\(2, 2\)"),
    ],
    ids="path shape dtype scalar".split(),
)
def test_refuses_what_is_no_bool_for_each_entry(where, message):
    params, tx = {"kernel": jnp.ones((2, 2))}, oc.mask_updates(where)
    with pytest.raises(ValueError, match=message):
        tx.update(params, tx.init(params))
