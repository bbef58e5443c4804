"""When masks change, and to what: each schedule beside a plain loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sparse_runs import top, trained

import optchain as oc
from optchain.storage.rounding import random_bits

SHAPE, STEPS, RATE = (8, 10), 30, 0.125
PARAMS = {"kernel": jax.random.normal(jax.random.key(0), SHAPE)}
GRADS = {"kernel": jax.random.normal(jax.random.key(1), (STEPS, *SHAPE))}


def run(sparsity, **axes):
    """Masks and parameters after each step of SGD."""
    _, (params, masks, changed) = trained(oc.sparse(oc.sgd(RATE), sparsity, **axes), PARAMS, GRADS)
    return masks["kernel"], params["kernel"], changed


def loop(renew, mask):
    """The same with masks that `renew(t, mask, p, g)` makes."""
    p, masks, params = np.asarray(PARAMS["kernel"]), [], []
    for t, g in enumerate(np.asarray(GRADS["kernel"])):
        mask = renew(t, mask, p, g)
        p = np.where(mask, np.where(mask, p, 0) - np.float32(RATE) * g, 0)
        masks.append(mask)
        params.append(p)
    return np.stack(masks), np.stack(params)


def assert_same(found, wanted):
    np.testing.assert_array_equal(found[0], wanted[0])
    np.testing.assert_allclose(found[1], wanted[1], rtol=1e-6, atol=1e-6)
    assert ((found[1] != 0) <= found[0]).all()


def test_the_first_steps_of_a_regrown_weight_are_as_large_as_documented():
    """Its slots begin at 0, while its link's means count as full: nothing corrects their bias."""
    adam = oc.chain(adam=oc.scale_by_adam(b1=0.5, b2=0.8), lr=oc.scale(-1e-6))
    tx = oc.sparse(adam, 0.5, schedule=oc.regrow(every=100, fraction=0.5))
    p, g = {"kernel": jnp.array([[4.0], [3.0], [2.0], [1.0]])}, {"kernel": jnp.array([[1.0], [1.0], [5.0], [1.0]])}

    def step(carry, _):
        params, state = carry
        new, state = oc.apply(tx, g, state, params)
        return (new, state), new["kernel"][2, 0]

    _, path = jax.jit(lambda: jax.lax.scan(step, (oc.masked_params(tx.init(p), p), tx.init(p)), None, 120))()
    k = np.arange(1, 21)
    assert not path[:100].any()
    np.testing.assert_allclose(-np.diff(path[99:]) / 1e-6, (1 - 0.5**k) / np.sqrt(1 - 0.8**k), rtol=1e-3)


@pytest.mark.parametrize("step", [0, 7])
def test_one_shot(step):
    def renew(t, mask, p, g):
        return top(np.abs(p), 16) if t == step else mask

    found = run(0.8, schedule=oc.one_shot(step))
    assert_same(found, loop(renew, np.ones(SHAPE, bool)))
    assert np.flatnonzero(found[2]).tolist() == ([step] if step else [])


@pytest.mark.parametrize("initial", [0.0, 0.3])
def test_gradual(initial):
    begin, end, every = 3, 18, 4  # the last pruning is no multiple of `every` away from the first

    def renew(t, mask, p, g):
        if not (begin <= t <= end and ((t - begin) % every == 0 or t == end)):
            return mask
        s = 0.8 + (initial - 0.8) * (1 - (t - begin) / (end - begin)) ** 3
        return top(np.where(mask, np.abs(p), -1), 16 + round(80 * (1 - s) - 16))

    found = run(0.8, schedule=oc.gradual(begin, end, every, initial))
    assert_same(found, loop(renew, np.ones(SHAPE, bool)))
    assert (found[0][1:] <= found[0][:-1]).all() and found[0][-1].sum() == 16


def test_gradual_follows_its_equation():
    schedule = oc.gradual(begin=10, end=110, every=1, initial=0.2)
    kept = jnp.stack([schedule.count(t, 1000, 10_000) for t in range(10, 111)])
    wanted = 0.9 + (0.2 - 0.9) * (1 - np.arange(101) / 100) ** 3
    assert np.abs(kept / 10_000 - (1 - wanted)).max() <= 1e-4 and kept[-1] == 1000


GROWN = {"gradient": lambda t, g: np.abs(g), "random": lambda t, g: np.float64(random_bits(SHAPE, 5, t, "kernel") >> 8)}


@pytest.mark.parametrize("grow", GROWN)
@pytest.mark.parametrize("fraction", [0.3, oc.cosine(0.5, 20)])
def test_regrow(grow, fraction):
    def renew(t, mask, p, g):
        if t == 0 or t % 4 or t >= 25:
            return mask
        dropped = round(float(fraction(t) if callable(fraction) else fraction) * 16)
        kept = top(np.where(mask, np.abs(p), -1), 16 - dropped)
        return kept | top(np.where(kept, -1, GROWN[grow](t, g)), dropped)

    first = np.asarray(oc.sparse(oc.sgd(1.0), 0.8, score="random", seed=5).init(PARAMS)["sparse"]["masks"]["kernel"])
    schedule = oc.regrow(every=4, fraction=fraction, grow=grow, end=25)
    found = run(0.8, score="random", schedule=schedule, seed=5)
    assert_same(found, loop(renew, first))
    assert (found[0].sum((1, 2)) == 16).all() and found[2][4] > 0 and not found[2][25:].any()


@pytest.mark.parametrize("distribution", ["uniform", "erk", "global"])
@pytest.mark.parametrize("structure", ["unstructured", "channels"])
def test_regrow_keeps_as_many_for_ever(distribution, structure):
    params = {"a": {"kernel": PARAMS["kernel"]}, "b": {"kernel": PARAMS["kernel"][:, :6]}}
    grads = {"a": GRADS, "b": {"kernel": GRADS["kernel"][:, :, :6]}}
    tx = oc.sparse(
        oc.adam(0.1), 0.5, score="random", distribution=distribution, schedule=oc.regrow(3), structure=structure
    )
    _, (_, masks, changed) = trained(tx, params, grads)
    counts = [masks[name]["kernel"].sum((1, 2)) for name in params]
    assert changed.any() and (counts[0] + counts[1] == counts[0][0] + counts[1][0]).all()
    assert distribution == "global" or (counts[0] == counts[0][0]).all()


@pytest.mark.parametrize("every", [1, 5])
def test_straight_through(every):
    found = run(0.8, schedule=oc.straight_through(every))
    dense, mask = np.asarray(PARAMS["kernel"]), None
    for t, g in enumerate(np.asarray(GRADS["kernel"])):
        mask = top(np.abs(dense), 16) if t % every == 0 else mask
        dense = dense - np.float32(RATE) * g
        np.testing.assert_array_equal(found[0][t], mask)
        np.testing.assert_allclose(found[1][t], np.where(mask, dense, 0), rtol=1e-5, atol=1e-6)


def test_through_a_straight_mask_pruned_weights_come_back_with_their_values():
    masks, params, changed = run(0.5, schedule=oc.straight_through())
    back = masks[1:] & ~masks[:-1]
    assert back.any() and changed[1:].any() and np.abs(params[1:][back]).min() > 1e-3


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: oc.one_shot(-1), "step must be a whole number of at least 0"),
        (lambda: oc.gradual(5, 5, 1), "end must be a whole number of at least 6"),
        (lambda: oc.gradual(0, 5, 0), "every must be"),
        (lambda: oc.gradual(0, 5, 1, initial=1.0), r"initial must lie in \[0, 1\)"),
        (lambda: oc.gradual(0, 5, 1, power=0.0), r"power must lie in \(0, inf\)"),
        (lambda: oc.regrow(0), "every must be"),
        (lambda: oc.regrow(1, fraction=1.5), r"fraction must lie in \[0, 1\]"),
        (lambda: oc.regrow(1, grow="gradeint"), "grow is 'gradeint'.*did you mean 'gradient'"),
        (lambda: oc.regrow(1, drop=3), "drop is 3"),
        (lambda: oc.regrow(1, end=0), "end must be"),
        (lambda: oc.regrow(10, end=10), "end must be a whole number of at least 11"),
        (lambda: oc.straight_through(0), "every must be"),
    ],
)
def test_numbers_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
