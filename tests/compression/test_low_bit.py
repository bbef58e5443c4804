import numpy as np
import pytest
from workers import AXIS, DEVICES, drawn, require_the_law, run, sent, zeros

import optchain as oc

SHAPES = {"kernel": (100, 43), "bias": (80,), "scale": ()}  # 4300 entries do not divide by 8 devices


def rounded(x, top):
    """A part in blocks of at most 512 entries, each rounded to even levels of its largest."""
    count = -(-x.size // 512)
    length = -(-x.size // count)
    length += top == 7 and length % 2
    result = np.zeros_like(x)
    for i in range(0, x.size, length):
        scale = np.abs(x[i : i + length]).max()
        level = np.floor(np.abs(x[i : i + length]) / scale * top + 0.5) if scale else 0
        result[i : i + length] = np.sign(x[i : i + length]) * level * scale / top
    return result


def low_bit(top):
    def law(x, name):
        if name == "scale":
            return x, x.mean(0)
        length = -(-x[0].size // DEVICES)
        flat = np.pad(x.reshape(DEVICES, -1), ((0, 0), (0, length * DEVICES - x[0].size)))
        own, mean = np.zeros_like(flat), np.zeros_like(flat[0])
        for owner in range(DEVICES):
            part = slice(owner * length, (owner + 1) * length)
            for device in range(DEVICES):
                own[device, part] = rounded(flat[device, part], top)
            average = own[:, part].mean(0)
            mean[part] = rounded(average, top)
            own[owner, part] -= DEVICES * (average - mean[part])
        return tuple(y[..., : x[0].size].reshape(*y.shape[:-1], *x.shape[1:]) for y in (own, mean))

    return law


@pytest.mark.parametrize(("bits", "top"), [(8, 127), (4, 7)])
def test_agrees_with_plain_loops(bits, top):
    grads = drawn(1, SHAPES)
    require_the_law(run(oc.low_bit_mean(bits, AXIS), grads, zeros(SHAPES)), grads, low_bit(top))


def test_both_errors_are_fed_back():
    """Over many steps of one gradient the mean of the updates is that of the gradients, up to what is left."""
    steps = 20
    grads = {name: g + 0 * drawn(steps, SHAPES)[name] for name, g in drawn(1, SHAPES).items()}
    ran = run(oc.low_bit_mean(4, AXIS), grads, zeros(SHAPES))
    for name, g in grads.items():
        total = np.asarray(ran.updates[name], np.float64).sum(0) + np.asarray(ran.residuals[name][-1]).mean(0)
        np.testing.assert_allclose(total, np.asarray(g, np.float64).mean(1).sum(0), rtol=1e-4, atol=1e-4)
        assert np.abs(ran.residuals[name][-1]).max() < 2.5 * np.abs(g).max()


@pytest.mark.parametrize("bits", [8, 4])
def test_codes_and_scales_are_sent_once_to_their_owner_and_once_back(bits):
    found = sent(oc.low_bit_mean(bits, AXIS), zeros(SHAPES))
    # Of 538 entries of the kernel in two blocks, and of 10 of the bias in one.
    part = (538 + 2 * (bits == 4)) * bits // 8 + 2 * 4 + 10 * bits // 8 + 4
    assert found["all-to-all"].bytes == found["all-gather"].bytes == DEVICES * part
    assert found["all-reduce"].bytes == 4  # of the scalar, which is sent whole
    assert set(found) == {"all-to-all", "all-gather", "all-reduce"}


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="low_bit_mean: bits must be 4 or 8, got 16"):
        oc.low_bit_mean(16)
