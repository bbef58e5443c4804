"""A change of a decay changes the future only: in every rule with a `Mean`, the mean of a constant stays it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from techniques import RULES, build

import optchain as oc
from optchain.core.numbers import means
from optchain.core.seen import weight

STEPS, BEFORE = 40, 30
MEANS = {name: means(rule) for name, rule in RULES.items() if means(rule)}
NOT_ZERO = 1 - 1e-9
OPTIONS = {
    "scale_by_acprop": {"b1": NOT_ZERO},  # mu stays near 0, so that the samples (g - mu)**2 of nu are constant
    "scale_by_belief": {"b1": NOT_ZERO},
    "scale_by_adabound": {"gamma": 1e-9},  # the bounds are far away
    "scale_by_prodigy": {"estim_lr_coef": 1e-20},  # the estimate stays what it is at first
    "scale_by_soap": {"eps": 1.0},  # in its bases a constant gradient is diagonal, all else rounding, which eps hides
    "scale_by_kl_soap": {"eps": 1.0},
}
CONSTANT = {"scale_by_belief": {"b1"}}  # for its b1 see the slots below
# Where the update depends on the decay itself: the slots that are means of constants, by their decays.
EXCEPTIONS = {
    "scale_by_radam": {"mu": "b1", "nu": "b2"},  # the rectification counts how many samples b2 averages
    "scale_by_stddev": {"mu": "decay", "nu": "decay"},  # the variance of a constant is what rounding leaves
    "scale_by_yogi": {"mu": "b1"},  # nu is no mean: it moves by steps of (1 - b2) g**2
    "scale_by_dadapt_adam": {"nu": "b2"},  # the corrected rate is inside of the mean mu
    "scale_by_belief": {"mu": "b1"},
}


def tree():
    return {"kernel": jax.random.normal(jax.random.key(0), (4, 3))}


def chained(name, **options):
    """The technique with all that it can correct corrected."""
    fields = [field.name for field in dataclasses.fields(RULES[name])]
    flags = dict.fromkeys((x for x in fields if x.startswith(("bias_correction", "debias"))), True)
    return oc.chain(link=build(name, **{**flags, **options}))


def runs(tx, name, constant=frozenset()):
    """The last update and state with the decays as they are, and with others in the last ten steps."""
    g, names = tree(), [b for b in MEANS[name] if b not in constant]
    decays = [float(getattr(tx.link.links[0][1].link.rule, b)) for b in names]

    @jax.jit
    def run(powers):
        def step(state, power):
            hyper = {f"link.{b}": x**power for b, x in zip(names, decays, strict=True)}
            updates, state = tx.update(g, state, g, hyper=hyper, value=jnp.float32(1e9), hessian=g)
            return state, updates

        state, updates = jax.lax.scan(step, tx.init(g), powers)
        return updates["kernel"][-1], state["links"]["link"][name]

    return [run(jnp.ones(STEPS).at[BEFORE:].set(power)) for power in (1.0, 2.0, 0.1)]


@pytest.mark.parametrize("name", [name for name in MEANS if name not in EXCEPTIONS or name in CONSTANT])
def test_a_change_of_the_decays_leaves_the_means_of_a_constant(name):
    tx = chained(name, **OPTIONS.get(name, {}))
    (plain, _), *changed = runs(tx, name, CONSTANT.get(name, frozenset()))
    assert np.max(np.abs(plain)) > 0
    for update, _ in changed:
        np.testing.assert_allclose(update, plain, rtol=1e-5, atol=1e-5 * np.max(np.abs(plain)))


@pytest.mark.parametrize("name", EXCEPTIONS)
def test_where_the_update_depends_on_the_decay_its_means_do_not(name):
    g = tree()["kernel"]
    for _, own in runs(chained(name), name):
        for slot, decay in EXCEPTIONS[name].items():
            mean = own[slot]["kernel"] / weight(own["seen"][decay]["log"])
            np.testing.assert_allclose(mean, g if slot == "mu" else g**2, rtol=1e-5)


def test_an_override_does_not_undo_the_correction_of_adam():
    tx, g = oc.chain(adam=oc.scale_by_adam()), {"w": jnp.ones(3)}
    step = jax.jit(lambda state, b: tx.update(g, state, g, hyper={"adam.b2": b})[::-1])
    state, _ = jax.lax.scan(step, tx.init(g), jnp.full(200, 0.999))
    np.testing.assert_allclose(step(state, jnp.float32(0.99999))[1]["w"], 1, rtol=1e-5)


def test_a_mean_whose_decay_is_scheduled_is_a_mean():
    tx, g = oc.ema(oc.linear(0.5, 0.999, 1000)), {"w": jnp.ones(3)}
    _, updates = jax.lax.scan(lambda state, g: tx.update(g, state)[::-1], tx.init(g), {"w": jnp.ones((1001, 3))})
    np.testing.assert_allclose(updates["w"], 1, rtol=1e-5)
