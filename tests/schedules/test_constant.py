"""The constant schedule against optax."""

import chex
import numpy as np
import optax

import optchain as oc


def test_agrees_with_optax():
    theirs = optax.constant_schedule(0.3)
    chex.assert_trees_all_close(oc.constant(0.3)(np.arange(10)), np.full(10, theirs(3), np.float32), rtol=0)
