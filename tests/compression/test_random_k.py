import numpy as np
import pytest
from workers import AXIS, SHAPES, drawn, require_the_law, run, sent, zeros

import optchain as oc

DENSITY = 0.05


def places(ran, steps):
    """For each leaf and step the places that were sent: there no device has kept anything back."""
    return {name: [~ran.residuals[name][t].any(0) for t in range(steps)] for name in SHAPES}


def test_agrees_with_the_paper_at_its_places():
    steps, grads = 5, drawn(5)
    ran = run(oc.random_k_mean(DENSITY, AXIS), grads, zeros())
    chosen = places(ran, steps)
    assert [int(mask.sum()) for mask in chosen["kernel"]] == [48] * steps  # 5 % of 40 x 24
    assert [int(mask.sum()) for mask in chosen["bias"]] == [1] * steps
    in_turn = {name: iter(masks) for name, masks in chosen.items()}

    def random_k(x, name):
        own = np.where(next(in_turn[name]), x, 0)
        return own, own.mean(0)

    require_the_law(ran, grads, random_k)


def test_places_are_others_in_each_step_and_with_each_seed():
    grads = drawn(4)
    by_seed = [places(run(oc.random_k_mean(DENSITY, AXIS, seed), grads, zeros()), 4)["kernel"] for seed in (0, 1)]
    masks = [mask for masks in by_seed for mask in masks]
    overlaps = [int((a & b).sum()) for i, a in enumerate(masks) for b in masks[:i]]
    assert max(overlaps) < 15  # of 48, where 2.4 are expected


def test_values_alone_are_sent_once():
    found = sent(oc.random_k_mean(DENSITY, AXIS), zeros())
    assert set(found) == {"all-reduce"} and found["all-reduce"].bytes == 4 * (48 + 1 + 1)


def test_with_all_entries_it_is_the_mean():
    grads = drawn(2)
    ran = run(oc.random_k_mean(1.0, AXIS), grads, zeros())
    for name in SHAPES:
        np.testing.assert_allclose(ran.updates[name], grads[name].mean(1), rtol=1e-5, atol=1e-6)
        assert not ran.residuals[name].any()


def test_arguments_are_checked():
    with pytest.raises(ValueError, match=r"random_k_mean: density must lie in \(0, 1\], got 1.5"):
        oc.random_k_mean(1.5)
