"""A change of a decay changes the future only: in every rule with a `Mean`, the mean of a constant stays it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from techniques import RULES, build
from tiers import one_of_each

import optchain as oc
from optchain.core.numbers import means
from optchain.core.seen import weight

STEPS, BEFORE = 40, 30
NOT_ZERO = 1 - 1e-9
# The law `constant_gradients` is about updates that settle: these do so with other numbers.
SETTLED = {
    "scale_by_acprop": {"b1": NOT_ZERO},  # mu stays near 0, so that the samples (g - mu)**2 of nu are constant
    "scale_by_adabound": {"gamma": 1e-9},  # the bounds are far away
    "scale_by_prodigy": {"estim_lr_coef": 1e-20, "bias_correction": True},  # the estimate stays what it is at first
    "scale_by_soap": {"eps": 1.0},  # in its bases a constant gradient is diagonal, all else rounding, which eps hides
    "scale_by_kl_soap": {"eps": 1.0},
    "scale_by_rms": {"bias_correction": True},
}
# Where the update depends on the decay itself: the slots that are means of constants, by their decays.
MEANS = {
    "scale_by_radam": {"mu": "b1", "nu": "b2"},  # the rectification counts how many samples b2 averages
    "scale_by_stddev": {"mu": "decay", "nu": "decay"},  # the variance of a constant is what rounding leaves
    "scale_by_yogi": {"mu": "b1"},  # nu is no mean: it moves by steps of (1 - b2) g**2
    "scale_by_dadapt_adam": {"nu": "b2"},  # the corrected rate is inside of the mean mu
    "scale_by_belief": {"mu": "b1"},  # nu averages squared distances from mu
}
SETTLING = [name for name, rule in RULES.items() if means(rule) and name not in (*SETTLED, *MEANS)]


@pytest.mark.parametrize("name", [*one_of_each(SETTLED), *one_of_each(SETTLING)])
def test_a_change_of_the_decays_leaves_the_means_of_a_constant(name):
    tx = build(name, **SETTLED.get(name, {}))
    (finding,) = oc.check_laws(tx, {"kernel": tree()}, only=["constant_gradients"]).findings
    assert finding.outcome == "holds"


def tree():
    return jax.random.normal(jax.random.key(0), (4, 3))


@pytest.mark.parametrize("name", MEANS)
def test_where_the_update_depends_on_the_decay_its_means_do_not(name):
    g, tx = {"kernel": tree()}, build(name)
    decays = {b: float(tx.link.numbers[b]) for b in means(RULES[name])}

    @jax.jit
    def run(powers):
        def step(state, power):
            hyper = {b: x**power for b, x in decays.items()}
            return tx.update(g, state, g, hyper=hyper)[1], None

        return jax.lax.scan(step, tx.init(g), powers)[0][name]

    for power in (2.0, 0.1):
        own = run(jnp.ones(STEPS).at[BEFORE:].set(power))
        for slot, decay in MEANS[name].items():
            mean = own[slot]["kernel"] / weight(own["seen"][decay]["log"])
            np.testing.assert_allclose(mean, tree() if slot == "mu" else tree() ** 2, rtol=1e-5)


def test_an_override_does_not_undo_the_correction_of_adam():
    tx, g = oc.chain(adam=oc.scale_by_adam()), {"w": jnp.ones(3)}
    step = jax.jit(lambda state, b: tx.update(g, state, g, hyper={"adam.b2": b})[::-1])
    state, _ = jax.lax.scan(step, tx.init(g), jnp.full(200, 0.999))
    np.testing.assert_allclose(step(state, jnp.float32(0.99999))[1]["w"], 1, rtol=1e-5)


def test_a_mean_whose_decay_is_scheduled_is_a_mean():
    tx, g = oc.ema(oc.linear(0.5, 0.999, 1000)), {"w": jnp.ones(3)}
    _, updates = jax.lax.scan(lambda state, g: tx.update(g, state)[::-1], tx.init(g), {"w": jnp.ones((1001, 3))})
    np.testing.assert_allclose(updates["w"], 1, rtol=1e-5)
