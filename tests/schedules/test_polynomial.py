"""The polynomial schedule against optax and torch."""

import chex
import jax
import numpy as np
import optax
import pytest

import optchain as oc

STEPS = np.arange(150)


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0, 3.5])
@pytest.mark.parametrize(("start", "end"), [(1.0, 0.1), (0.0, 1.0)])
def test_agrees_with_optax(start, end, power):
    theirs = optax.polynomial_schedule(start, end, power, 100)
    chex.assert_trees_all_close(oc.polynomial(start, end, power, 100)(STEPS), theirs(STEPS), rtol=0, atol=1e-6)


def test_the_root_has_a_finite_gradient_at_the_end():
    def root(steps):
        return oc.polynomial(1.0, 0.0, 0.5, steps)(10)

    for gradient in (jax.grad(root), jax.jacfwd(root)):
        assert float(gradient(10.0)) == 0.0 and float(gradient(12.0)) > 0.0


@pytest.mark.oracles
def test_agrees_with_torch(torch_rates):
    theirs = torch_rates("PolynomialLR", 1.0, 150, total_iters=100, power=1.7)
    chex.assert_trees_all_close(oc.polynomial(1.0, 0.0, 1.7, 100)(STEPS), np.asarray(theirs), rtol=0, atol=1e-6)
