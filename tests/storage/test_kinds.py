"""The kinds that rules declare of their slots: each is of a slot that there is, and a square is never negative."""

import jax
import jax.numpy as jnp
import pytest
from techniques import RULES, build, updated
from tiers import one_of_each

from optchain.core.dense import Dense
from optchain.core.kinds import DRIFT, SQUARE, SUM
from optchain.core.numbers import ranges

VARIANTS = {"scale_by_adabound": {"amsgrad": True}}  # of those with a slot that not all of their forms have
DECLARED = [name for name, rule in RULES.items() if rule.kinds]
# Slots like the parameter, or smaller, that stay in float32, and why.
OPEN = {
    "scale_by_adamax": {"nu": "a maximum of magnitudes, which rounding at random would raise"},
    "scale_by_adan": {"last": "a copy: its difference from the next gradient counts"},
    "scale_by_stddev": {"mu": "its square is subtracted from nu", "nu": "what is left of it may be little"},
    "scale_by_sophia": {"h": "a curvature of either sign"},
}


def made(name):
    return build(name, **VARIANTS.get(name, {}))


@pytest.mark.parametrize("name", DECLARED)
def test_a_kind_is_that_of_a_slot_and_names_a_decay_that_there_is(name):
    link, rule = made(name).link, RULES[name]
    assert isinstance(link, Dense)
    assert rule.kinds.keys() <= set(link.Slots._fields)
    for kind in rule.kinds.values():
        assert kind in (SQUARE, SUM, DRIFT) or (kind.word == "mean" and kind.decay in ranges(rule))


@pytest.mark.parametrize("name", one_of_each(DECLARED, lambda name: "nu" in RULES[name].kinds))
def test_what_is_declared_a_square_or_a_sum_is_never_negative(name):
    tx, params = made(name), {"w": jax.random.normal(jax.random.key(0), (6, 4)), "b": jnp.ones(4)}
    state, step = tx.init(params), jax.jit(lambda g, state: updated(tx, g, state, params)[1])
    for seed in range(8):
        grads = jax.tree.map(lambda p, s=seed: 10.0**-s * jax.random.normal(jax.random.key(s), p.shape), params)
        state = step(grads, state)
        for slot, kind in RULES[name].kinds.items():
            if kind in (SQUARE, SUM):
                assert all((x >= 0).all() for x in jax.tree.leaves(state[name][slot]))


@pytest.mark.parametrize("name", OPEN)
def test_what_bears_no_code_is_not_declared(name):
    assert not OPEN[name].keys() & RULES[name].kinds.keys()
