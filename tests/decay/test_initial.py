import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import PARAMS, assert_agree, by_leaf, run, run_float64
from techniques import own

import optchain as oc

RATE, DECAY = 0.05, 0.3


def towards_start(gs, p):
    """Gradient descent on the loss and the penalty of equation 2 of the paper."""
    start = p
    for g in gs:
        p = p - RATE * (g + DECAY * (p - start))
    return {"params": p, "initial": start}


def chained():
    return oc.chain(decay=oc.decay_to_init(DECAY), lr=oc.scale_by_learning_rate(RATE))


def test_agrees_with_the_paper(entries):
    ours, twin = run(chained(), entries), by_leaf(towards_start, entries.grads, entries.params)
    assert_agree(ours.params, twin["params"], PARAMS)
    chex.assert_trees_all_equal(own(ours.state["links"]["decay"])["initial"], entries.params)


def test_is_exact_in_float64(entries):
    twin = by_leaf(towards_start, entries.grads, entries.params)
    assert_agree(run_float64(chained(), entries).params, twin["params"], 1e-12)


def test_from_zero_it_is_ordinary_decay(entries):
    given = entries._replace(params=jax.tree.map(jnp.zeros_like, entries.params))
    plain = oc.chain(oc.add_decayed_weights(DECAY), oc.scale_by_learning_rate(RATE))
    chex.assert_trees_all_equal(run(chained(), given).params, run(plain, given).params)


def test_begins_with_a_copy_that_can_be_donated_and_asks_for_parameters():
    params, tx = {"w": jnp.ones(4)}, chained()
    step = jax.jit(lambda p, s: oc.apply(tx, {"w": jnp.ones(4)}, s, p), donate_argnums=(0, 1))
    params, state = step(params, tx.init(params))
    np.testing.assert_array_equal(own(state["links"]["decay"])["initial"]["w"], 1.0)
    with pytest.raises(ValueError, match="decay_to_init reads the parameters"):
        tx.update(params, state)
