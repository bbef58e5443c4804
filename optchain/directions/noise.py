"""Gradient noise."""

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtri

from optchain.core.lift import lift
from optchain.core.numbers import NonNegative, Seed
from optchain.core.numerics import sqrt
from optchain.core.rule import rule
from optchain.storage.rounding import random_bits


@rule
class Noise:
    r"""Adds normal noise of falling variance to the update.

    .. math::
        u = g + \sqrt{\eta / t^\gamma}\, n, \qquad n \sim \mathcal N(0, 1)

    Fields:
        eta: :math:`\eta`, variance at the first update, in the units of :math:`g^2`, at least 0.
        gamma: :math:`\gamma`, exponent of its fall, at least 0; 0.55 in the paper.
        key: of the random numbers, a whole number or a key of `jax.random`, which may be traced: each member of a
            vmapped ensemble draws its own from its own key. They are a hash of key, count, path and element: the same
            however arrays are sharded, and others for each leaf. Stacked layers are one leaf.

    Shapes and dtypes: any.

    Differs from the paper: nothing; its t counts from 0.

    References:
        Neelakantan et al., 2015, equation 1. https://arxiv.org/abs/1511.06807
    """

    eta: NonNegative
    gamma: NonNegative
    key: Seed = 0

    extras = ("path",)
    on_shards = True
    example = {"eta": 0.01, "gamma": 0.55, "key": 0}

    def update(self, g, s, p, t, path):
        noise = normal(random_bits(g.shape, self.key, t, path)).astype(g.dtype)
        return g + sqrt(self.eta / t**self.gamma) * noise, s


def normal(bits: jax.Array) -> jax.Array:
    """Standard normal numbers from uniform random uint32, of which the upper 23 bits are used."""
    # Half a unit off the ends, where the inverse of the distribution is infinite.
    return ndtri(((bits >> 9).astype(jnp.float32) + 0.5) * 2.0**-23)


add_noise = lift(Noise, "add_noise")
