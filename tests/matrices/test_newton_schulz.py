import jax.numpy as jnp
import numpy as np
import pytest

from optchain.matrices.newton_schulz import DIVISORS, MUON, orthogonalized, polynomials
from optchain.matrices.polar_express import CUSHION, LEAST, SAFETY, minimax, polar_express

SHAPES = [(12, 5), (5, 12), (7, 7), (1, 6), (6, 1)]

# Algorithm 1 of arXiv 2505.16932, the coefficients as printed there, before the factor of 1.01.
PRINTED = [
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
    (1.891301407787398, -1.2679958271945868, 0.37680408948524835),
    (1.8750014808534479, -1.2500016453999487, 0.3750001645474248),
    (1.875, -1.25, 0.375),
]


def conditioned(shape, seed=0, least=1e-2):
    """A matrix whose singular values lie between `least` and 1, and its polar factor, from NumPy's SVD."""
    u, _, v = np.linalg.svd(np.random.default_rng(seed).normal(size=shape), full_matrices=False)
    sigma = np.geomspace(1, least, len(v))
    return (u * sigma) @ v, u @ v


def composed(coefficients, x):
    for a, b, c in coefficients:
        x = a * x + b * x**3 + c * x**5
    return x


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_polar_express_finds_the_polar_factor(shape):
    """Eight polynomials; at condition 100 the error is that of the last one on what is left, and of float32."""
    x, polar = conditioned(shape)
    found = orthogonalized(jnp.asarray(x, jnp.float32), polar_express(8), 0.0)
    assert np.abs(found - polar).max() < 5e-6


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("given, steps", [(MUON, 5), ("polar_express", 5), ("polar_express", 3)])
def test_maps_singular_values_by_the_polynomials_and_keeps_the_vectors(shape, given, steps):
    x, _ = conditioned(shape, seed=1)
    coefficients = polynomials("test", given, steps)
    u, sigma, v = np.linalg.svd(x, full_matrices=False)
    wanted = (u * composed(coefficients, sigma / np.linalg.norm(sigma))) @ v
    found = orthogonalized(jnp.asarray(x, jnp.float32), coefficients, 0.0)
    assert np.abs(found - wanted).max() < 2e-5


def test_the_polynomials_of_muon_keep_singular_values_near_one():
    x = np.geomspace(3e-3, 1, 1000)
    y = composed((MUON,) * 5, x)
    assert 0.65 < y.min() and y.max() < 1.25


def test_the_polynomials_of_polar_express_are_those_of_the_paper():
    factors = [(SAFETY, SAFETY**3, SAFETY**5)] * 7 + [(1, 1, 1)]
    np.testing.assert_allclose(np.array(polar_express(8)) * factors, PRINTED, rtol=1e-8)


@pytest.mark.parametrize("low", [LEAST, CUSHION, 0.3, 0.9])
def test_a_polynomial_is_nearest_to_one_where_the_error_takes_its_bound_four_times(low):
    """Chebyshev's criterion."""
    x = np.linspace(low, 1, 200_001)
    error = 1 - composed([minimax(low, 1.0)], x)
    bound = np.abs(error).max()
    reached = np.sign(error) * (np.abs(error) > bound * (1 - 1e-6))
    signs = reached[reached != 0]
    assert 1 + np.sum(signs[1:] != signs[:-1]) == 4


def test_polar_express_needs_fewer_polynomials_than_muon():
    x = np.geomspace(LEAST, 1, 1000)
    worst = {n: np.abs(1 - composed(polar_express(n), x)).max() for n in (3, 5, 7)}
    assert worst[7] < 0.01 < worst[5] < 0.2 < worst[3] and np.abs(1 - composed((MUON,) * 7, x)).max() > 0.25


@pytest.mark.parametrize("given", [MUON, "polar_express"])
@pytest.mark.parametrize("size", [1e-30, 1e-15, 1e15, 1e30])
def test_forgets_the_size_of_the_matrix_and_stays_finite(given, size):
    x, coefficients = conditioned((6, 4))[0], polynomials("test", given, 5)
    one, other = (orthogonalized(jnp.asarray(s * x, jnp.float32), coefficients, 0.0) for s in (1.0, size))
    np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_preconditioning_brings_the_largest_singular_value_nearer_to_one(shape):
    """Of the polynomial x: what is divided has none above 1, and its norm is the least that one can divide by."""
    x = jnp.asarray(conditioned(shape)[0], jnp.float32)
    largest = {
        name: np.linalg.norm(orthogonalized(x, ((1.0, 0.0, 0.0),), 0.0, name), 2) for name in ("frobenius", *DIVISORS)
    }
    assert largest["frobenius"] - 1e-6 <= largest["schatten"] <= largest["spectral"] + 1e-6
    assert largest["aol"] <= 1 + 1e-6 and largest["spectral"] == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize("preconditioning", ["frobenius", *DIVISORS])
def test_zero_stays_zero(preconditioning):
    for eps in (0.0, 1e-8):
        assert not orthogonalized(jnp.zeros((4, 3)), polar_express(8), eps, preconditioning).any()


def test_coefficients_are_for_every_step_or_one_after_the_other():
    steps = tuple((float(i), -1.0, 0.5) for i in range(4))
    assert polynomials("test", steps, 4) == steps == polynomials("test", [list(x) for x in steps], 4)
    assert polynomials("test", MUON, 3) == (MUON,) * 3


def test_other_coefficients_are_errors():
    with pytest.raises(
        ValueError, match="scale_by_muon: there are no ns_coeffs 'polar_expres'; did you mean 'polar_express'"
    ):
        polynomials("scale_by_muon", "polar_expres", 5)
    with pytest.raises(ValueError, match=r"ns_coeffs must be three numbers, or three for each step, got \(1.0, 2.0\)"):
        polynomials("scale_by_muon", (1.0, 2.0), 5)
    with pytest.raises(ValueError, match="ns_coeffs has 1 steps, expected ns_steps=2"):
        polynomials("scale_by_muon", (MUON,), 2)
    with pytest.raises(ValueError, match="ns_steps must be a whole number of at least 1, got 0"):
        polynomials("scale_by_muon", "polar_express", 0)
