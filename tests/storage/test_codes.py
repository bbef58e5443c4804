"""Codes of 4 to 16 bits against plain loops in float64, over extremes, odd shapes and all signs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optchain.core.kinds import DRIFT, SQUARE, SUM, mean
from optchain.storage.codes import code_of
from optchain.storage.rounding import random_bits

KINDS = {
    "mean8": (mean("b1"), 8),
    "drift": (DRIFT, 16),
    "mean4": (mean("b1"), 4),
    "sum": (SUM, 8),
    "square4": (SQUARE, 4),
}
CODES = {name: code_of(*kind) for name, kind in KINDS.items()}
SHAPES = [(7,), (128,), (129,), (3, 257), (5, 4, 24), (2, 3, 8, 4), (1000, 16), (1, 1), (2, 0, 3), (6, 50257)]
every_code = pytest.mark.parametrize("code", CODES.values(), ids=CODES)


def both(code, x, step=0):
    """The array in the code and back, both compiled, and what is kept."""
    x = jnp.asarray(x, jnp.float32)
    bits = random_bits(x.shape, 0, step, "w") if code.random else None
    packed = jax.jit(code.encode)(x, bits)
    assert (packed.codes.shape, packed.scales.shape) == code.shapes(x.shape)
    assert packed.codes.dtype == code.dtype
    return np.asarray(jax.jit(code.decode, static_argnums=1)(packed, x.shape)), packed


def drawn(shape, code, seed=0, decades=1.0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape) * 10.0 ** rng.uniform(-decades, decades, shape)
    return (x if code.signed else x * x).astype(np.float32)


def in_float64(code, x):
    """Both levels next to each entry, with plain loops over blocks."""
    at = code.blocks(x.shape)
    rows = np.abs(x.astype(np.float64)).reshape(-1, at.n)
    low, high = np.zeros_like(rows), np.zeros_like(rows)
    for row, below, above in zip(rows, low, high, strict=True):
        for start in range(0, at.n, at.length):
            block = row[start : start + at.length]
            scale = block.max() or 1.0
            level = (block / scale) ** (1 / code.power) * code.top
            for out, n in ((below, np.floor(level - 1e-3)), (above, np.ceil(level + 1e-3))):
                n = np.where(block == 0, 0, np.clip(n, code.least, code.top))
                out[start : start + at.length] = (n / code.top) ** code.power * scale
    return low.reshape(x.shape), high.reshape(x.shape)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@every_code
def test_each_entry_comes_back_as_a_level_next_to_it(code, shape):
    x = drawn(shape, code)
    back, _ = both(code, x)
    if not x.size:
        return
    low, high = in_float64(code, x)
    size = np.abs(back.astype(np.float64))
    assert (size >= low * (1 - 1e-5)).all() and (size <= high * (1 + 1e-5)).all()
    assert ((np.sign(back) == np.sign(x)) | (back == 0)).all()
    if not code.random:  # the nearer of the two in the root
        root = lambda y: np.abs(y.astype(np.float64)) ** (1 / code.power)  # noqa: E731
        gap = root(high) - root(low)
        assert (np.abs(root(back) - root(x)) <= 0.501 * gap + 1e-6 * root(x)).all()


@every_code
def test_zero_is_zero_and_what_is_positive_stays_positive(code):
    x = drawn((64, 256), code, decades=6)
    x[::3] = 0
    x[:, ::5] = 0
    back, packed = both(code, x)
    assert (back[x == 0] == 0).all() and (np.asarray(packed.scales)[::3] == 0).all()
    if code.least:
        assert (back[x > 0] > 0).all() and (back >= 0).all()
    assert (both(code, np.full((4, 128), -0.0))[0] == 0).all()


@pytest.mark.parametrize("size", [1e-36, 1e-30, 1e-15, 1e15, 1e30, 3e38])
@every_code
def test_extremes_stay_finite_and_near(code, size):
    x = np.full((2, 256), size, np.float32)
    x[:, 1::2] *= 0.5
    back, _ = both(code, x)
    gap = 1 - (1 - 1 / code.top) ** code.power
    assert np.isfinite(back).all()
    np.testing.assert_allclose(back[:, 0], x[:, 0], rtol=1e-6)
    np.testing.assert_allclose(back, x, rtol=2.5 * gap + 1e-5)


@every_code
def test_subnormal_entries_count_as_none_and_harm_no_others(code):
    x = np.asarray([1e-40, 0, 1e-42, 1.0] * 64, np.float32)
    back, _ = both(code, x)
    assert np.isfinite(back).all() and (np.abs(back[x < 0.5]) <= 1.01 / code.top**code.power).all()
    assert (np.abs(both(code, np.full(128, 1e-40))[0]) < 1e-37).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@every_code
def test_what_is_not_finite_stays_visible(code, bad):
    x = np.ones((2, 256), np.float32)
    x[0, 5] = bad
    back, packed = both(code, x)
    assert not np.isfinite(back[0, 5]) and not np.isfinite(np.asarray(packed.scales)[0, 0])
    assert np.isfinite(back[1]).all()  # of another row nothing is lost


@pytest.mark.parametrize("code", [code for code in CODES.values() if code.random], ids=str)
def test_random_rounding_is_exact_on_average(code):
    x = np.tile(np.linspace(0.3, 1, 64, dtype=np.float32), (4096, 1))
    back, _ = both(code, x)
    gap = 1 - (1 - 1 / code.top) ** code.power
    np.testing.assert_allclose(back.mean(0, np.float64), x[0], atol=4 * gap / np.sqrt(len(x)))
    assert len(np.unique(back[:, 20])) == 2


@every_code
def test_what_is_in_code_stays_as_it_is(code):
    back, _ = both(code, drawn((64, 384), code))
    again, _ = both(code, back, step=1)
    assert np.mean(again != back) < 1e-3


@every_code
def test_blocks_are_even_and_an_array_takes_the_bytes_that_it_should(code):
    at = code.blocks((3, 50257))
    assert at.blocks * at.length >= 50257 > (at.blocks - 1) * at.length and at.length <= code.block
    _, packed = both(code, drawn((512, 1024), code))
    size = (packed.codes.nbytes + packed.scales.nbytes) / (512 * 1024)
    assert size == code.bits / 8 + 4 / code.block
