import chex
import jax
import numpy as np
import optax
from agreement import run, run_twin
from techniques import own

import optchain as oc


def test_agrees_with_the_paper_and_optax(entries):
    ours = run(oc.scale_by_sign(), entries)
    for u, g in zip(jax.tree.leaves(ours.updates), jax.tree.leaves(entries.grads), strict=True):
        np.testing.assert_array_equal(u, np.where(g > 0, 1.0, np.where(g < 0, -1.0, 0.0)))
    chex.assert_trees_all_equal(ours.updates, run_twin(optax.scale_by_sign(), entries).updates)


def test_remembers_nothing():
    assert set(own(oc.scale_by_sign().init({"w": jax.numpy.ones(2)}))) == {"count"}
