"""Grokfast."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.kinds import mean
from optchain.core.lift import lift
from optchain.core.numbers import Decay, NonNegative
from optchain.core.numerics import ema
from optchain.core.rule import rule


class Mean(NamedTuple):
    mu: jax.Array  # like p, running mean of g


@rule
class GrokfastEma:
    r"""Adds a multiple of the running mean of the gradient to it, which amplifies its slow components.

    .. math::
        u = g + \lambda \mu, \qquad \mu \leftarrow \alpha \mu + (1 - \alpha) g

    It stands before the moments. The mean begins as the first gradient.

    Fields:
        alpha: :math:`\alpha`, decay of the mean, in [0, 1).
        lamb: :math:`\lambda`, amplification, at least 0.

    Shapes and dtypes: any; the slot `mu` is like the parameter, in float32 or wider.

    Differs from the paper: nothing; the mean begins as in its code.

    References:
        Lee et al., 2024, section 4 (Grokfast-EMA). https://arxiv.org/abs/2405.20233
    """

    alpha: Decay = 0.98
    lamb: NonNegative = 2.0
    kinds = {"mu": mean("alpha")}

    def init(self, p):
        return Mean(jnp.zeros_like(p))

    def update(self, g, s, p, t):
        mu = jnp.where(t > 1, ema(g, s.mu, self.alpha), g)
        return g + self.lamb * mu, Mean(mu)


grokfast_ema = lift(GrokfastEma, "grokfast_ema")
