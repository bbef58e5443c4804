"""LaProp."""

import jax.numpy as jnp

from optchain.core.kinds import SQUARE, mean
from optchain.core.lift import lift
from optchain.core.numbers import Mean, NonNegative
from optchain.core.numerics import ema, over_root, square
from optchain.core.rule import rule
from optchain.embeddings.sleep import Sleeps, decayed
from optchain.moments.adam import Moments


@rule
class LaProp(Sleeps):
    r"""Takes the running mean of gradients that are already divided by their root mean square.

    .. math::
        \nu \leftarrow b_2 \nu + (1 - b_2) g^2, \qquad
        \mu \leftarrow b_1 \mu + (1 - b_1) \frac{g}{\sqrt{\nu / (1 - b_2^t)} + \epsilon}, \qquad
        u = \frac{\mu}{1 - b_1^t}

    Fields:
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean square, in [0, 1).
        eps: added to the root, in the units of g, at least 0.

    Shapes and dtypes: any; the slots `mu` and `nu` are like the parameter, in float32 or wider. The link keeps the
    weight that each mean has seen, :math:`1 - b^t` or, where b changes, :math:`1 - \prod b`, as two numbers each.

    Differs from the paper: the learning rate multiplies the mean, not each term; equal where the rate is constant.

    References:
        Ziyin, Wang and Ueda, 2020, Algorithm 1. https://arxiv.org/abs/2002.04839
    """

    b1: Mean = 0.9
    b2: Mean = 0.999
    eps: NonNegative = 1e-15
    kinds = {"mu": mean("b1"), "nu": SQUARE}

    def init(self, p):
        return Moments(jnp.zeros_like(p), jnp.zeros_like(p))

    def sleep(self, s, k):
        return Moments(decayed(s.mu, self.b1, k), decayed(s.nu, self.b2, k))

    def update(self, g, s, p, t, seen):
        nu = ema(square(g), s.nu, self.b2)
        mu = ema(over_root(g, nu / seen.b2, self.eps), s.mu, self.b1)
        return mu / seen.b1, Moments(mu, nu)


scale_by_laprop = lift(LaProp, "scale_by_laprop")
