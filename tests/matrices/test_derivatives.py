"""Derivatives through three steps of techniques that decompose matrices are those of finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiers import one_of_each

import optchain as oc

DECOMPOSING = ["scale_by_soap", "scale_by_dion", "scale_by_shampoo", "scale_by_galore"]
OTHERS = ["scale_by_kl_soap", "scale_by_kron", "scale_by_fira"]
STEP = 1e-6
# Square, so that no direction of a side is without a first gradient: there SOAP's basis is a choice of rounding errors.
SHAPE = (2, 3, 3)


@pytest.mark.parametrize(
    "name", [*one_of_each(DECOMPOSING, lambda name: name), *one_of_each([DECOMPOSING[0], *OTHERS])[1:]]
)
def test_through_three_updates(name):
    rank = {"rank": 2} if name in ("scale_by_dion", "scale_by_galore", "scale_by_fira") else {}
    tx, generator = getattr(oc, name)(**rank), np.random.default_rng(0)
    gradients, along, weights = (
        [dict(zip("ab", x, strict=True)) for x in generator.normal(size=(3, *SHAPE))] for _ in "gad"
    )

    def moved(h):
        state, total = tx.init(gradients[0]), 0.0
        for g, d, w in zip(gradients, along, weights, strict=True):
            updates, state = tx.update(jax.tree.map(lambda g, d: g + h * d, g, d), state)
            total += sum(jnp.sum(w[leaf] * updates[leaf]) for leaf in w)
        return total

    with jax.enable_x64(True):
        gradients, along, weights = jax.tree.map(jnp.asarray, (gradients, along, weights))
        # With the emitters that the tests turn off to compile sooner, XLA makes a NaN of one of these derivatives.
        backward = jax.jit(jax.grad(moved), compiler_options={"xla_cpu_use_fusion_emitters": True})(0.0)
        ends = [jax.jit(moved)(h) for h in (-STEP, STEP)]
        np.testing.assert_allclose(backward, (ends[1] - ends[0]) / (2 * STEP), rtol=1e-5)


@pytest.mark.parametrize("name", one_of_each([*DECOMPOSING, *OTHERS]))
def test_are_finite_where_the_gradient_is_0_or_of_low_rank(name):
    tx, g = getattr(oc, name)(), {"zero": jnp.zeros((3, 4)), "low": jnp.outer(jnp.arange(4.0), jnp.ones(3))}

    @jax.jit
    @jax.grad
    def slope(factor):
        state, total = tx.init(g), 0.0
        for _ in range(3):
            updates, state = tx.update(jax.tree.map(lambda x: factor * x, g), state)
            total += sum(jnp.sum(x) for x in jax.tree.leaves(updates))
        return total

    assert np.isfinite(slope(1.0))
