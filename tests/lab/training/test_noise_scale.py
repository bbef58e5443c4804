import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optchain.lab.training.noise_scale import Moments, estimate, follow, noise_scale, start


def test_the_estimates_are_unbiased_on_a_quadratic():
    """The gradient of (x - a)^2 / 2 is x - a: here its mean and covariance over the examples a are chosen."""
    gradient, deviations = jnp.array([0.3, -0.2, 0.1, 0.0]), jnp.array([1.0, 2.0, 0.5, 0.1])
    fewer, count = 4, 8

    def one(key):
        each = gradient[None, None] + deviations[None, None] * jax.random.normal(key, (count, fewer, 4))
        small = (each.mean(1) ** 2).sum(-1).mean()
        return estimate(small, (each.mean((0, 1)) ** 2).sum(), fewer, fewer * count)

    found = jax.vmap(one)(jax.random.split(jax.random.key(0), 20_000))
    wanted = Moments((gradient**2).sum(), (deviations**2).sum())
    for x, mean in zip(found, wanted, strict=True):
        assert float(x.mean()) == pytest.approx(float(mean), abs=4 * float(x.std()) / 20_000**0.5)
    # The running means come to the same quotient.
    means, _ = jax.lax.scan(lambda means, x: (follow(means, x, 0.999), None), start(), found)
    assert float(noise_scale(means)) == pytest.approx(float(wanted.noise / wanted.signal), rel=0.15)


def test_the_quotient_of_the_means_needs_no_correction():
    found = follow(start(), Moments(jnp.float32(2.0), jnp.float32(6.0)), 0.99)
    assert float(noise_scale(found)) == pytest.approx(3.0, rel=1e-5)


@pytest.mark.parametrize(
    "signal, noise, scale", [(0.0, 0.0, 0.0), (-1.0, 2.0, np.inf), (1.0, -2.0, 0.0), (0.5, 1.0, 2.0)]
)
def test_what_is_all_noise_has_an_infinite_scale(signal, noise, scale):
    assert float(noise_scale(Moments(jnp.float32(signal), jnp.float32(noise)))) == scale
