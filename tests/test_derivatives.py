"""Through updates one can differentiate, where all gradients are 0 too: no root or quotient makes a NaN of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from techniques import RULES, build

ROOTS = """
    scale_by_adam scale_by_belief scale_by_acprop scale_by_stddev scale_by_adabound scale_by_adopt scale_by_adadelta
    scale_by_rss scale_by_madgrad scale_by_adahessian ftrl scale_by_novograd scale_by_factored_rms scale_by_came
    scale_by_stable_adam scale_by_dog scale_by_dowg scale_by_lars scale_by_trust_ratio fromage_step scale_by_muon
    scale_by_normuon scale_by_scion clip_by_global_norm clip_by_leaf_norm clip_by_block_rms adaptive_grad_clip
    normalize_by_update_norm clip_by_zscore scale_by_param_block_rms
""".split()


def test_the_list_is_of_rules():
    assert set(ROOTS) <= set(RULES)


@pytest.mark.parametrize("size", [0.0, 1.0])
@pytest.mark.parametrize("name", ROOTS)
def test_the_derivative_of_two_updates_is_finite(name, size):
    tx, g = build(name), {"kernel": jnp.arange(1.0, 13.0).reshape(4, 3), "bias": jnp.zeros(3)}

    @jax.jit
    @jax.value_and_grad
    def moved(factor):
        state, total = tx.init(g), 0.0
        scaled = jax.tree.map(lambda x: factor * size * x, g)
        for _ in range(2):
            updates, state = tx.update(scaled, state, g, value=jnp.ones(()), hessian=scaled)
            total += sum(jnp.sum(x) for x in jax.tree.leaves(updates))
        return total

    assert np.isfinite(moved(1.0)).all()
