import numpy as np
import pytest
from workers import AXIS, DEVICES, drawn, run, sent, zeros

import optchain as oc

SHAPES = {"kernel": (60, 40), "bias": (24,), "scale": ()}


def blocks(x):
    """The blocks of a leaf: as few as there can be of 512 entries, as even as they can be."""
    length = -(-x.size // -(-x.size // 512))
    return [x.reshape(-1)[i : i + length] for i in range(0, x.size, length + length % 2)]


@pytest.mark.parametrize(("bits", "top"), [(4, 7), (8, 127)])
def test_each_device_sends_one_of_the_two_levels_around_each_entry(bits, top):
    steps, grads = 4, drawn(4, SHAPES)
    ran = run(oc.qsgd_mean(bits, AXIS), grads, zeros(SHAPES))
    for name, gs in grads.items():
        e = np.zeros(gs.shape[1:])
        for t in range(steps):
            x = np.asarray(gs[t], np.float64) + e
            e = np.asarray(ran.residuals[name][t], np.float64)
            np.testing.assert_allclose(ran.updates[name][t], (x - e).mean(0), rtol=1e-5, atol=1e-5)
            if name == "scale":
                assert not e.any()  # sent whole
                continue
            for one, own in zip(x, x - e, strict=True):
                for entries, levels in zip(blocks(one), blocks(own), strict=True):
                    unit = np.abs(entries).max() / top
                    whole = levels / unit
                    np.testing.assert_allclose(whole, np.round(whole), atol=1e-3)
                    assert (np.abs(levels - entries) < unit * 1.001).all()
                    assert np.round(np.abs(whole)).max() == top


def test_rounding_is_exact_on_average_and_each_devices_own():
    """The same gradient on all devices: their mean is closer to it than one of them."""
    shapes = {"kernel": (60, 40)}
    grads = {name: g * 0 + g[:, :1] for name, g in drawn(1, shapes).items()}
    ran = run(oc.qsgd_mean(4, AXIS), grads, zeros(shapes))
    errors = np.asarray(ran.residuals["kernel"][0], np.float64).reshape(DEVICES, -1)
    alone, together = np.sqrt(np.mean(errors**2)), np.sqrt(np.mean(errors.mean(0) ** 2))
    assert abs(errors.mean()) < 4 * alone / np.sqrt(errors.size)
    assert together < 1.2 * alone / np.sqrt(DEVICES)


@pytest.mark.parametrize("bits", [4, 8])
def test_packed_levels_and_scales_are_sent(bits):
    found = sent(oc.qsgd_mean(bits, AXIS), zeros(SHAPES))
    assert found["all-gather"].bytes == DEVICES * (2400 * bits // 8 + 5 * 4 + 24 * bits // 8 + 4)
    assert found["all-reduce"].bytes == 4  # of the scalar, which is sent whole
    assert set(found) == {"all-gather", "all-reduce"}


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="qsgd_mean: bits must be 4 or 8, got 2"):
        oc.qsgd_mean(2)
