import jax.numpy as jnp
import numpy as np
import pytest
from scipy.fft import dctn, idctn
from workers import AXIS, DEVICES, drawn, require_the_law, run, sent, zeros

import optchain as oc

DENSITY, CHUNK = 0.1, 8
# Chunks of 8 x 6 in a matrix, of 6 in a vector, of 8 x 6 in each matrix of a stack; one number is sent whole.
SHAPES = {"kernel": (16, 12), "bias": (18,), "stack": (2, 8, 6), "scale": ()}
LENGTHS = {"kernel": (8, 6), "bias": (6,), "stack": (8, 6), "scale": ()}


def largest(x, lengths):
    """The chunks of one device's array by plain loops: the largest of their frequencies, transformed back."""
    made = np.zeros_like(x)
    lead = x.ndim - len(lengths)
    for corner in np.ndindex(*x.shape[:lead], *(n // m for n, m in zip(x.shape[lead:], lengths, strict=True))):
        cut = tuple(slice(i * m, (i + 1) * m) for i, m in zip(corner[lead:], lengths, strict=True))
        where = (*corner[:lead], *cut)
        found = dctn(x[where], norm="ortho")
        k = max(1, round(DENSITY * found.size))
        least = np.sort(np.abs(found), axis=None)[-k]
        made[where] = idctn(np.where(np.abs(found) >= least, found, 0), norm="ortho")
    return made


def demo(x, name):
    """Algorithm 1 of Peng et al., without a decay: what each device sends, and the mean."""
    own = np.stack([largest(part, LENGTHS[name]) for part in x]) if LENGTHS[name] else x
    return own, own.mean(0)


def test_agrees_with_the_paper():
    grads = drawn(4, SHAPES)
    ran = run(oc.demo_mean(DENSITY, AXIS, decay=1.0, chunk=CHUNK), grads, zeros(SHAPES))
    require_the_law(ran, grads, demo)


def test_the_momentum_decays():
    grads, decay = drawn(3, SHAPES), 0.9
    ran = run(oc.demo_mean(DENSITY, AXIS, decay=decay, chunk=CHUNK), grads, zeros(SHAPES))
    for name, gs in grads.items():
        m = np.zeros(gs.shape[1:])
        for t, g in enumerate(np.asarray(gs, np.float64)):
            own, average = demo(decay * m + g, name)
            m = decay * m + g - own
            np.testing.assert_allclose(ran.updates[name][t], average, rtol=2e-5, atol=2e-5)


def test_values_and_short_places_are_sent():
    found = sent(oc.demo_mean(DENSITY, AXIS, chunk=CHUNK), zeros({"kernel": (16, 12), "scale": ()}))
    assert found["all-gather"].bytes == DEVICES * 4 * round(DENSITY * 48) * (4 + 2)  # four chunks
    assert found["all-reduce"].bytes == 4
    assert set(found) == {"all-gather", "all-reduce"}


def test_a_wave_is_sent_with_one_number():
    """What is one frequency arrives at once; the same entries at random places do not."""
    wave = np.cos(np.pi * (2 * np.arange(64) + 1) * 5 / 128)
    tx = oc.demo_mean(1 / 64)
    for x, whole in ((wave, True), (np.random.default_rng(0).permutation(wave), False)):
        g = {"w": jnp.asarray(x, jnp.float32)}
        updates, _ = tx.update(g, tx.init(g))
        assert np.allclose(updates["w"], x, atol=1e-5) == whole


def test_arguments_are_checked():
    with pytest.raises(ValueError, match=r"demo_mean: density must lie in \(0, 1\], got 0.0"):
        oc.demo_mean(0.0)
    with pytest.raises(ValueError, match="demo_mean: chunk must be at least 1, got 0"):
        oc.demo_mean(0.1, chunk=0)
