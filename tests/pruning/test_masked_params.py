import chex
import jax
import jax.numpy as jnp
import pytest
from techniques import tree

import optchain as oc


def test_is_what_the_first_step_begins_with():
    tx = oc.chain(oc.sparse(oc.sgd(0.0), 0.5))
    params = tree(0)
    start = oc.masked_params(tx.init(params), params)
    assert oc.sparsity(start).total.zeros == 6 + 5
    after, state = oc.apply(tx, tree(1), tx.init(params), params)
    chex.assert_trees_all_equal(after, start)
    chex.assert_trees_all_equal(oc.masked_params(state, after), after)


def test_several_masks_all_hold():
    tx = oc.groups(oc.sparse(oc.sgd(0.1), 0.5), {"deep/*": oc.sparse(oc.adam(0.1), 0.9), "*": {}})
    start = oc.masked_params(tx.init(tree(0)), tree(0))
    assert {leaf.path: leaf.zeros for leaf in oc.sparsity(start)} == {
        "bias": 0,
        "deep/embedding": 9,
        "kernel": 6,
        "scale": 0,
    }


@pytest.mark.parametrize("make", [oc.average_params, oc.polyak_average])
@pytest.mark.parametrize("inside", [True, False])
def test_averages_are_masked_too(make, inside):
    """Outside of `sparse` an average still remembers what was pruned; read by `averaged_params` it does not show."""
    inner, average = oc.chain(oc.add_noise(1.0, 0.0), oc.scale(-0.1)), make()
    schedule = oc.one_shot(step=2)
    tx = oc.sparse(oc.chain(inner, average), 0.5, schedule=schedule)
    if not inside:
        tx = oc.chain(oc.sparse(inner, 0.5, schedule=schedule), average)
    params, state = tree(0), tx.init(tree(0))
    step = jax.jit(lambda g, s, p: oc.apply(tx, g, s, p))
    for seed in range(4):
        params, state = step(tree(seed), state, params)
    found = oc.averaged_params(state)
    chex.assert_trees_all_equal(jax.tree.map(lambda x: x == 0, found), jax.tree.map(lambda x: x == 0, params))
    assert oc.sparsity(found).total.zeros == 11 and not jnp.array_equal(found["kernel"], params["kernel"])


def test_a_state_without_masks_is_refused():
    with pytest.raises(ValueError, match="the state holds no masks"):
        oc.masked_params(oc.sgd(0.1).init(tree(0)), tree(0))
