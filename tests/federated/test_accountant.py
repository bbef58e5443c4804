"""The accountant beside the exact privacy of normal noise, and the guarantees that any epsilon has."""

import subprocess
import sys

import numpy as np
import pytest
from scipy import integrate, optimize, stats

import optchain as oc

DELTA = 1e-4
CASE = {"sampled": 20, "of": 1000, "steps": 50, "delta": DELTA}


@pytest.fixture(scope="module")
def spent():
    """The function, where the package is."""
    pytest.importorskip("dp_accounting", reason="dp-accounting is in the extra `privacy`")
    return oc.privacy_spent


def exact(noise, distance, delta, share=1.0):
    """Epsilon of normal noise between two worlds, which with a probability `share` differ by a distance.

    Half of it is to either side, as that of an update and of its opposite.
    """
    far = 12 * noise + distance
    x = np.linspace(-far, far, 100_001)
    apart = lambda place: (1 - share) * stats.norm.pdf(x, 0, noise) + share * stats.norm.pdf(x, place, noise)  # noqa: E731
    one, other = apart(distance / 2), apart(-distance / 2)

    def beyond(epsilon):
        return integrate.trapezoid(np.maximum(one - np.exp(epsilon) * other, 0), x) - delta

    return optimize.brentq(beyond, 0, 100, xtol=1e-6)


@pytest.mark.parametrize("noise", [1.0, 3.0])
@pytest.mark.parametrize("steps", [1, 4])
def test_without_sampling_it_is_close_above_normal_noise(spent, noise, steps):
    """Steps with all clients are one with noise that is smaller by the root of their number.

    A clipped update changes the sum by up to twice the bound where it becomes its opposite, by the bound where it is
    left out.
    """
    for distance, poisson in ((2, False), (1, True)):
        least = exact(noise / np.sqrt(steps), distance, DELTA)
        found = spent(noise, sampled=100, of=100, steps=steps, delta=DELTA, poisson=poisson)
        assert least <= found <= 1.25 * least


@pytest.mark.parametrize("noise", [0.7, 1.0, 2.0])
def test_with_sampling_it_is_above_one_step_of_two_opposite_updates(spent, noise):
    least = exact(noise, 2, DELTA, share=0.1)
    found = spent(noise, sampled=10, of=100, steps=1, delta=DELTA)
    assert 0.05 < least <= found < spent(noise, sampled=100, of=100, steps=1, delta=DELTA)


@pytest.mark.parametrize("poisson", [False, True])
def test_it_rises_with_all_that_gives_away_more(spent, poisson):
    usual = spent(1.0, **CASE, poisson=poisson)
    more = [{"steps": 100}, {"sampled": 40}, {"of": 500}, {"delta": 1e-6}]
    assert all(spent(1.0, **CASE | change, poisson=poisson) > 1.02 * usual for change in more)
    assert spent(0.8, **CASE, poisson=poisson) > 1.02 * usual > usual / 1.02 > spent(1.2, **CASE, poisson=poisson)
    assert spent(1.0, **CASE | {"steps": 0}, poisson=poisson) == 0 < usual < 100
    assert spent(1.0, **CASE, poisson=True) < spent(1.0, **CASE)  # which hides less


@pytest.mark.parametrize("change", [{"delta": 0.0}, {"delta": 1.0}, {"sampled": 1001}, {"sampled": 0}, {"steps": -1}])
def test_numbers_are_checked(change):
    with pytest.raises(ValueError, match="privacy_spent: got noise_multiplier = 1.0, .*; expected noise_mul"):
        oc.privacy_spent(1.0, **CASE | change)
    with pytest.raises(ValueError, match="privacy_spent: got noise_multiplier = 0.0"):
        oc.privacy_spent(0.0, **CASE)


def test_without_the_package_an_error_says_what_to_install():
    """In a process of its own, where the package cannot be imported; the library needs it for nothing else."""
    program = f"""
import sys
sys.modules["dp_accounting"] = None
import optchain as oc
try:
    oc.privacy_spent(1.0, **{CASE})
except ImportError as error:
    assert "privacy_spent needs the package dp-accounting: pip install 'optchain[privacy]'" in str(error)
    print("said")
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout == "said\n"
