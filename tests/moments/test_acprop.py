import jax
import jax.numpy as jnp
import numpy as np
import optax.contrib
import pytest
from agreement import PARAMS, SLOTS, assert_agree, by_leaf, moved, run, run_float64, run_twin
from recorded_gradients import drawn
from tiers import one_of_each

import optchain as oc

RATE = -0.001
ROUNDED = 3 * SLOTS  # 0.999 is 1.3e-8 larger in float32, which makes up to 1.6e-6 after 120 steps
OPTIONS = [{"eps": 1e-3}, {"b1": 0.8, "b2": 0.9, "eps": 1e-2, "eps_root": 1e-8}]


def paper(gs, b1=0.9, b2=0.999, eps=1e-16, eps_root=1e-16, behind=False):
    """ACProp of Zhuang et al., debiased; with `behind` the deviation is from the mean before this gradient."""
    m, s, updates = 0.0, 0.0, []
    for t, g in enumerate(gs, 1):
        s_hat = s / (1 - b2 ** (t - 1)) if t > 1 else 1.0
        updates.append(g / (np.sqrt(s_hat) + eps))
        old, m = m, b1 * m + (1 - b1) * g
        s = b2 * s + (1 - b2) * (g - (old if behind else m)) ** 2 + eps_root
    return {"updates": np.stack(updates), "mu": m, "nu": s}


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_the_paper(entries, options):
    ours, twin = run(oc.scale_by_acprop(**options), entries, RATE), by_leaf(paper, entries.grads, **options)
    assert_agree(ours.state["mu"], twin["mu"], SLOTS)
    assert_agree(ours.state["nu"], twin["nu"], ROUNDED)
    assert_agree(ours.updates, twin["updates"], ROUNDED)
    assert_agree(ours.params, moved(entries.params, twin["updates"], RATE), PARAMS)


def test_is_exact_in_float64(entries):
    ours, twin = run_float64(oc.scale_by_acprop(), entries), by_leaf(paper, entries.grads)
    assert_agree(ours.updates, twin["updates"], 1e-12)


def test_agrees_with_optax_but_for_the_mean_that_deviations_are_from(entries):
    """It takes them from the old mean, 1 / b1 times as large: so are our updates where eps does not matter."""
    options = {"eps": 1e-3, "eps_root": 0.0}
    theirs = run_twin(optax.contrib.scale_by_acprop(**options), entries, RATE)
    assert_agree(
        theirs.params,
        moved(entries.params, by_leaf(paper, entries.grads, behind=True, **options)["updates"], RATE),
        PARAMS,
    )
    none = {"eps": 0.0, "eps_root": 0.0}
    given = drawn(0)
    ours, theirs = run(oc.scale_by_acprop(**none), given), run_twin(optax.contrib.scale_by_acprop(**none), given)
    later = [jax.tree.map(lambda u: u[1:], x.updates) for x in (ours, theirs)]
    assert_agree(later[0], jax.tree.map(lambda u: u / 0.9, later[1]), 1e-4)  # optax debiases in float32


def test_divides_by_the_past_alone():
    """The update is linear in the last gradient, however large it is; Adam's is not."""
    given = drawn(1)
    tx, p = oc.scale_by_acprop(), given.params
    state = {tx.link.name: run(tx, given).state}
    g = jax.tree.map(lambda x: x[0], given.grads)
    one, _ = tx.update(g, state, p)
    ten, _ = tx.update(jax.tree.map(lambda x: 1024 * x, g), state, p)
    assert_agree(ten, jax.tree.map(lambda u: 1024 * u, one), 0)


def test_the_first_gradient_passes_and_zeros_stay():
    tx, p = oc.scale_by_acprop(eps=0.0, eps_root=0.0), jnp.zeros(2)
    state = tx.init(p)
    for first in (True, False):
        u, state = tx.update(jnp.array([3.0, 0.0]), state)
        assert u[1] == 0
        if first:
            assert u[0] == 3
    assert np.isfinite(u).all()
