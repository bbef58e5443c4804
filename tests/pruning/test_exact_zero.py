"""Pruned weights are exactly 0, whatever steps them."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sparse_runs import many_steps, three_dtypes
from techniques import TECHNIQUES, build
from tiers import one_of_each

import optchain as oc

RATE = oc.scale(-0.01)
# One of each kind: what moves a weight without a gradient (momentum, decay, noise, averages, slow weights), what keeps
# matrices, what finds its rate, what asks for gradients elsewhere, and optax's.
KINDS = {
    "adamw": oc.adamw(0.01, weight_decay=0.1),
    "nesterov": oc.nesterov(0.01),
    "noise": oc.chain(oc.add_noise(eta=1.0, gamma=0.0), oc.trace(0.9), RATE),
    "rprop": oc.rprop(0.01),
    "initial": oc.chain(oc.decay_to_init(0.1), RATE),
    "lookahead": oc.lookahead(oc.chain(oc.add_noise(eta=1.0, gamma=0.0), RATE), 2, 0.5),
    "schedule_free": oc.schedule_free_adamw(0.01),
    "average": oc.chain(oc.adamw(0.01), oc.average_params(0.9)),
    "shampoo": oc.chain(oc.scale_by_shampoo(mask=oc.is_kernel), RATE),
    "prodigy": oc.prodigy(),
    "sam": oc.sam(oc.sgd(0.01), rho=0.05),
    "master": oc.precision(oc.adamw(0.01), params="master"),
    "accumulate": oc.accumulate(oc.adamw(0.01), 2),
    "optax": optax.chain(optax.add_noise(1.0, 0.55, 0), optax.adamw(0.01)),
}


def gradual(tx):
    return oc.sparse(tx, 0.75, schedule=oc.gradual(begin=5, end=25, every=10))


def changing(tx):
    return oc.sparse(tx, 0.75, score="random", schedule=oc.regrow(every=10, grow="random"))


@pytest.mark.parametrize("name", KINDS)
def test_what_is_pruned_is_zero_at_every_step(name):
    found = many_steps(gradual(KINDS[name]), three_dtypes(), 30)
    assert not found.wrong.any() and found.kept[jnp.array([14, 15, 25])].tolist() == [108, 36, 27]
    assert all(np.isfinite(np.asarray(p, np.float32)).all() for own in found.params.values() for p in own.values())


@pytest.mark.parametrize("name", one_of_each(["adamw", "noise", "optax"]))
@pytest.mark.parametrize("make", [gradual, changing])
def test_so_it_is_by_update_and_apply_updates(name, make):
    found = many_steps(make(KINDS[name]), three_dtypes(), 30, update=True)
    assert not found.wrong.any() and found.kept[-1] == 27


def test_so_it_is_with_gradients_narrower_than_the_parameters():
    """An update in their dtype would miss 0 by its rounding where a weight is pruned."""
    params = {"kernel": jnp.linspace(0.1, 1.0, 12).reshape(3, 4)}
    tx = oc.sparse(oc.sgd(0.1), 0.5)
    updates, state = tx.update({"kernel": jnp.ones((3, 4), jnp.bfloat16)}, tx.init(params), params)
    after = optax.apply_updates(params, updates)
    mask = state["sparse"]["masks"]["kernel"]
    assert (after["kernel"] != 0).tolist() == mask.tolist() and (after["kernel"] == 0).sum() == 6


# These need what only their own tests give them.
UNFIT = {"differentially_private_aggregate": "takes the gradients of single examples, and stands before `sparse`"}


@pytest.mark.full
@pytest.mark.parametrize("make", one_of_each([changing, gradual], rest=pytest.mark.slow))
@pytest.mark.parametrize("name", sorted(set(TECHNIQUES) - {"sparse"}))
def test_so_it_is_for_a_thousand_steps_of_every_technique(name, make):
    if name in UNFIT:
        pytest.skip(UNFIT[name])
    found = many_steps(make(build(name)), three_dtypes(), 1000)
    assert not found.wrong.any() and found.kept[-1] == 27
