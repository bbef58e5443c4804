import numpy as np
from workers import AXIS, DEVICES, drawn, require_the_law, run, sent, zeros

import optchain as oc


def signs(x, name):
    """Algorithm 1 of Karimireddy et al. on each device; a scalar is sent whole."""
    if name == "scale":
        return x, x.mean(0)
    own = np.stack([np.abs(one).sum() / one.size * np.where(one >= 0, 1, -1) for one in x])
    return own, own.mean(0)


def test_agrees_with_the_paper():
    grads = drawn(5)
    require_the_law(run(oc.sign_mean(AXIS), grads, zeros()), grads, signs)


def test_a_bit_for_each_entry_and_a_scale_are_sent():
    found = sent(oc.sign_mean(AXIS), zeros())
    assert found["all-gather"].bytes == DEVICES * (40 * 24 // 8 + 4 + 24 // 8 + 4)
    assert found["all-reduce"].bytes == 4  # of the scalar, which is sent whole
    assert set(found) == {"all-gather", "all-reduce"}


def test_bits_of_a_size_that_fills_no_byte():
    shapes = {"kernel": (3, 7)}
    grads = drawn(3, shapes)
    require_the_law(run(oc.sign_mean(AXIS), grads, zeros(shapes)), grads, signs)
