import jax
import numpy as np
import optax
import pytest
from agreement import PARAMS, SLOTS, assert_agree, by_leaf, moved, run, run_float64, run_twin
from tiers import one_of_each

import optchain as oc

RATE = -0.01
OPTIONS = [{}, {"alpha": 0.5, "beta": 2.0}]


def paper(gs, alpha=1.0, beta=1.0):
    """Equation 6 of Daskalakis et al., weighed as in Mokhtari et al.; the first gradient counts as its own past."""
    before = np.concatenate([gs[:1], gs[:-1]])
    return {"updates": (alpha + beta) * gs - beta * before, "last": gs[-1]}


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_the_paper(entries, options):
    ours, twin = (
        run(oc.scale_by_optimistic_gradient(**options), entries, RATE),
        by_leaf(paper, entries.grads, **options),
    )
    for slot in ("last",):
        assert_agree(ours.state[slot], twin[slot], SLOTS)
    assert_agree(ours.params, moved(entries.params, twin["updates"], RATE), PARAMS)


def test_is_exact_in_float64(entries):
    ours, twin = (
        run_float64(oc.scale_by_optimistic_gradient(**OPTIONS[1]), entries),
        by_leaf(paper, entries.grads, **OPTIONS[1]),
    )
    assert_agree(ours.updates, twin["updates"], 1e-11)


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_optax(entries, options):
    ours = run(oc.scale_by_optimistic_gradient(**options), entries, RATE)
    twin = run_twin(optax.scale_by_optimistic_gradient(**options), entries, RATE)
    assert_agree(ours.updates, twin.updates, SLOTS)
    assert_agree(ours.params, twin.params, PARAMS)


def test_finds_the_saddle_of_a_bilinear_game_that_descent_leaves():
    """x y, over which x descends and y ascends: plain descent spirals away from 0."""

    def play(tx):
        def step(carry, _):
            params, state = carry
            grads = {"x": params["y"], "y": -params["x"]}
            return oc.apply(tx, grads, state, params), None

        params = {"x": jax.numpy.ones(1), "y": jax.numpy.ones(1)}
        (after, _), _ = jax.lax.scan(step, (params, tx.init(params)), length=800)
        return float(optax.tree.norm(after))

    assert play(oc.optimistic_gradient_descent(0.1)) < 0.1 < 2 < play(oc.sgd(0.1))
